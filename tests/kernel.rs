//! The kernel, spoken to over its sockets as a notebook does.

mod client;
mod endurance;
mod protocol;
pub mod suites;

use crate::program::Folder;
use client::{Kernel, RUN};
use jupyter_protocol::{
    CompleteRequest, ExecuteRequest, HistoryEntry, HistoryRequest, InspectRequest, InterruptRequest,
    IsCompleteRequest, JupyterMessageContent, ReplyStatus, ShutdownRequest,
};
use std::time::{Duration, Instant};

#[test]
fn a_cell_prints_shows_and_has_a_value() {
    let mut kernel = Kernel::start();
    let cell = kernel.run("print \"hello\"\n6 * 7");
    assert_eq!(cell.reply.status, ReplyStatus::Ok);
    assert_eq!(cell.printed(), "hello\n");
    assert_eq!(cell.kinds(), ["status", "execute_input", "stream", "execute_result"]);
    let cell = kernel.run("let n = 2\nshow");
    assert_eq!(cell.display(), ["application/vnd.ltune+json", "text/html", "text/plain"]);
    let mut request = ExecuteRequest::new("_1 + n".into());
    request.user_expressions = Some([("double".to_string(), "n * 2".to_string())].into());
    let id = kernel.send(request);
    let expressions = kernel.finish(&id).reply.user_expressions.expect("they are answered");
    assert_eq!(serde_json::to_value(&expressions["double"]).unwrap()["data"]["text/plain"], "4");
}

#[test]
fn a_cell_that_defines_can_be_run_again_at_any_time() {
    let mut kernel = Kernel::start();
    for _ in 0..3 {
        let cell = kernel.run(RUN);
        assert_eq!(cell.reply.status, ReplyStatus::Ok, "{:?}", cell.reply.error);
        kernel.run("step a 2");
    }
    assert_eq!(kernel.losses().len(), 6, "the run went on");
    let cell = kernel.run(&RUN.replace("rank = 4", "rank = 8"));
    assert_eq!(cell.reply.error.expect("that is another run").ename, "L0412");
}

#[test]
fn a_failed_cell_is_one_error_and_the_cells_behind_it_are_not_run() {
    let mut kernel = Kernel::start();
    let id = kernel.send(ExecuteRequest::new("step nothing\neval nothing".into()));
    let behind = kernel.send(ExecuteRequest::new("print \"no\"".into()));
    let cell = kernel.finish(&id);
    assert_eq!(cell.reply.status, ReplyStatus::Error);
    assert_eq!(cell.kinds().iter().filter(|kind| **kind == "error").count(), 1);
    assert_eq!(cell.reply.error.expect("it is told").ename, "L0103");
    let aborted = kernel.finish(&behind);
    assert_eq!((aborted.reply.status.clone(), aborted.printed()), (ReplyStatus::Aborted, String::new()));
    assert_eq!(kernel.run("1").reply.status, ReplyStatus::Ok);
}

#[test]
fn an_interrupt_in_the_middle_of_a_step_changes_no_number() {
    let mut kernel = Kernel::start();
    let training = kernel.send(ExecuteRequest::new(format!("{RUN}step a 2000")));
    kernel.wait_for_a_step();
    // What is asked while it trains is answered while it trains.
    let reply = kernel.ask(CompleteRequest { code: "step a".into(), cursor_pos: 6 });
    assert!(
        matches!(reply, JupyterMessageContent::CompleteReply(reply) if reply.matches.contains(&"a".into()))
    );
    let reply = kernel.ask(InspectRequest { code: "a".into(), cursor_pos: 1, detail_level: None });
    assert!(matches!(reply, JupyterMessageContent::InspectReply(reply) if reply.found));
    let reply = kernel.ask(IsCompleteRequest { code: "tune b {".into() });
    assert!(matches!(reply, JupyterMessageContent::IsCompleteReply(reply) if reply.indent == "  "));
    assert!(matches!(kernel.command(InterruptRequest {}), JupyterMessageContent::InterruptReply(_)));
    let cell = kernel.finish(&training);
    assert_eq!(cell.reply.error.expect("it was stopped").ename, "Interrupted");
    let stopped = kernel.losses().len();
    assert!((1..2000).contains(&stopped), "{stopped}");
    let last = stopped + 20;
    assert_eq!(kernel.run("step a 20").reply.status, ReplyStatus::Ok);
    assert_eq!(kernel.losses().len(), last);

    let mut never = Kernel::start();
    let cell = never.run(&format!("{RUN}step a {last}\nplot loss of a"));
    assert_eq!(cell.reply.status, ReplyStatus::Ok, "{}", cell.printed());
    assert!(cell.kinds().contains(&"update_display_data"));
    assert_eq!(never.losses(), kernel.losses());
    assert_eq!(never.run("plot loss of a").display(), ["image/png", "image/svg+xml", "text/plain"]);
}

#[test]
fn a_connection_file_that_is_none_is_told() {
    let folder = Folder::new();
    folder.write("c.json", "{}");
    for file in ["c.json", "missing.json"] {
        let ran = folder.ltune(&["kernel", "--connection-file", file]);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("error[L0530]"), "{}", ran.stderr);
    }
}

#[test]
fn cursors_count_code_points_also_beyond_the_basic_plane() {
    let mut kernel = Kernel::start();
    kernel.run("let größe = 3");
    // Each of the letters in front is two units of UTF-16, four bytes of UTF-8 and one code point.
    let code = "print \"𝔘𝔫𝔦🦙\"; print grö";
    let length = code.chars().count();
    let reply = kernel.ask(CompleteRequest { code: code.into(), cursor_pos: length });
    let JupyterMessageContent::CompleteReply(reply) = reply else { panic!("{reply:?}") };
    assert_eq!(
        (reply.matches, reply.cursor_start, reply.cursor_end),
        (vec!["größe".into()], length - 3, length)
    );
    let reply =
        kernel
            .ask(InspectRequest { code: "\"🦙🦙\"; größe".into(), cursor_pos: 9, detail_level: None });
    let JupyterMessageContent::InspectReply(reply) = reply else { panic!("{reply:?}") };
    assert!(reply.found && serde_json::to_string(&reply.data).unwrap().contains('3'));
    // A cursor that stands nowhere is the end of the text.
    let reply = kernel.ask(CompleteRequest { code: "🦙".into(), cursor_pos: 4_000_000_000 });
    assert!(matches!(reply, JupyterMessageContent::CompleteReply(reply) if reply.cursor_end == 1));
}

fn remembered(kernel: &mut Kernel, request: HistoryRequest) -> Vec<(usize, usize, String, String)> {
    let reply = kernel.ask(request);
    let JupyterMessageContent::HistoryReply(reply) = reply else { panic!("{reply:?}") };
    let entries = reply.history.into_iter().map(|entry| match entry {
        HistoryEntry::Input(session, line, input) => (session, line, input, String::new()),
        HistoryEntry::InputOutput(session, line, (input, output)) => (session, line, input, output),
    });
    entries.collect()
}

#[test]
fn history_goes_back_beyond_the_session() {
    let mut kernel = Kernel::start();
    kernel.run("let n = 6");
    kernel.run("n * 7");
    kernel.run("n * 7");
    let mut kernel = kernel.restart();
    kernel.run("print \"new\"");
    let mut silent = ExecuteRequest::new("print \"unseen\"".into());
    (silent.silent, silent.store_history) = (true, false);
    let id = kernel.send(silent);
    kernel.finish(&id);
    let line =
        |session, line, input: &str, output: &str| (session, line, input.to_string(), output.to_string());
    let tail = HistoryRequest::Tail { n: 2, output: false, raw: true };
    assert_eq!(remembered(&mut kernel, tail), [line(1, 3, "n * 7", ""), line(2, 1, "print \"new\"", "")]);
    let range = |session| HistoryRequest::Range { session, start: 1, stop: 3, output: true, raw: true };
    assert_eq!(remembered(&mut kernel, range(Some(0))), [line(2, 1, "print \"new\"", "")]);
    let before = [line(1, 1, "let n = 6", ""), line(1, 2, "n * 7", "42")];
    assert_eq!(remembered(&mut kernel, range(Some(-1))), before);
    assert_eq!(remembered(&mut kernel, range(Some(1))), before);
    let search =
        HistoryRequest::Search { pattern: "n ?*".into(), unique: true, output: true, raw: true, n: 9 };
    assert_eq!(remembered(&mut kernel, search), [line(1, 3, "n * 7", "42")]);
}

#[test]
fn a_signal_interrupts_as_a_notebook_does() {
    let mut kernel = Kernel::start();
    let training = kernel.send(ExecuteRequest::new(format!("{RUN}step a 2000")));
    kernel.wait_for_a_step();
    kernel.signal(libc::SIGINT);
    assert_eq!(kernel.finish(&training).reply.error.expect("it was stopped").ename, "Interrupted");
    assert!(!kernel.losses().is_empty());
    // Between cells there is nothing to stop.
    kernel.signal(libc::SIGINT);
    assert_eq!(kernel.run("step a 2").reply.status, ReplyStatus::Ok);
    kernel.signal(libc::SIGTERM);
    assert!(kernel.ends());
}

#[test]
fn a_second_interrupt_drops_the_step_and_nothing_else() {
    let mut kernel = Kernel::start();
    let long = "model m { init = random { preset = tiny } }
data r { from = random; rows = 4000; length = 128 tokens }
tune a { model = m; data = r; batch = 4 x 1000; epochs = 4 }
step a";
    let began = Instant::now();
    let training = kernel.send(ExecuteRequest::new(long.into()));
    // It reads its data first; then the step takes long.
    while kernel.heard().content.message_type() != "stream" {}
    std::thread::sleep(Duration::from_millis(800));
    kernel.command(InterruptRequest {});
    std::thread::sleep(Duration::from_millis(300));
    kernel.command(InterruptRequest {});
    let asked = Instant::now();
    let cell = kernel.finish(&training);
    assert_eq!(cell.reply.error.expect("it was stopped").ename, "Interrupted");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?} after {:?}", asked.elapsed(), began.elapsed());
    assert!(!kernel.has_steps(), "the step was not whole");
    assert_eq!(kernel.run("set a { lr = 1e-3 }\nshow a").reply.status, ReplyStatus::Ok);
}

#[test]
fn a_kernel_whose_notebook_is_gone_does_not_outlive_it() {
    let mut parent = std::process::Command::new("sleep").arg("600").spawn().expect("there is a `sleep`");
    let variables = [("JPY_PARENT_PID", parent.id().to_string())];
    let mut kernel = Kernel::start_in(Folder::new(), client::connection(), &variables);
    assert_eq!(kernel.run("1").reply.status, ReplyStatus::Ok);
    kernel.send(ExecuteRequest::new(format!("{RUN}step a 2000")));
    kernel.wait_for_a_step();
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(kernel.ends());
}

#[test]
fn a_shutdown_while_training_keeps_every_whole_step() {
    let mut kernel = Kernel::start();
    kernel.send(ExecuteRequest::new(format!("{RUN}step a 2000")));
    kernel.wait_for_a_step();
    kernel.command(ShutdownRequest { restart: true });
    assert!(kernel.ends());
    let folder = std::mem::replace(&mut kernel.folder, Folder::new());
    let mut again = Kernel::start_in(folder, kernel.connection.clone(), &[]);
    let kept = again.losses().len();
    assert!(kept > 0);
    let cell = again.run(&format!("{RUN}load a from \"runs/a\"\nstep a 5"));
    assert_eq!(cell.reply.status, ReplyStatus::Ok, "{:?}", cell.reply.error);
    let mut never = Kernel::start();
    never.run(&format!("{RUN}step a {}", kept + 5));
    let losses = again.losses();
    assert_eq!(never.losses()[..], losses[..], "{kept} steps were kept");
}
