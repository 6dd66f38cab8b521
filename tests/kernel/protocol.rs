//! What a front end may expect of any kernel, one named check each: the list of runtimed's kernel-testbed, which is in no
//! registry, and the welcome of JEP 65. Jupyter's own suite (`suites.rs`) looks deeper into some of them.

use crate::kernel::client::{Kernel, RUN};
use jupyter_protocol::{
    CommId, CommInfoRequest, CommMsg, CommOpen, CompleteRequest, ExecuteRequest, HistoryRequest,
    InspectRequest, InterruptRequest, IsCompleteReplyStatus, IsCompleteRequest, JupyterMessage,
    JupyterMessageContent, KernelInfoReply, KernelInfoRequest, ReplyStatus, ShutdownRequest, Stdio,
};
use jupyter_zmq_client::create_client_heartbeat_connection;

/// What is checked, and how.
type Check = (&'static str, fn(&mut Kernel));

/// In this order, on one kernel.
const CHECKS: &[Check] = &[
    ("the heartbeat answers", heartbeat),
    ("whoever listens is welcomed", welcome),
    ("kernel_info is ok", |kernel| assert_eq!(info(kernel).status, ReplyStatus::Ok)),
    ("kernel_info names the language and how to show it", language),
    ("kernel_info names the protocol", |kernel| assert_eq!(info(kernel).protocol_version, "5.3")),
    ("standard output is a stream", |kernel| {
        assert_eq!(streamed(kernel, "print \"hello\"", Stdio::Stdout), "hello\n")
    }),
    ("standard error is a stream of its own", standard_error),
    ("a cell that works is answered with ok", |kernel| {
        assert_eq!(kernel.run("1").reply.status, ReplyStatus::Ok)
    }),
    ("each request begins busy and ends idle", life_cycle),
    ("the input of a cell is told to everybody", |kernel| {
        assert!(kernel.run("1").kinds().contains(&"execute_input"))
    }),
    ("completion answers", completion),
    ("inspection answers", inspection),
    ("a whole cell is complete", |kernel| {
        assert_eq!(completeness(kernel, "step a"), IsCompleteReplyStatus::Complete)
    }),
    ("an open bracket is incomplete", |kernel| {
        assert_eq!(completeness(kernel, "tune a {"), IsCompleteReplyStatus::Incomplete)
    }),
    ("history answers", history),
    ("comm_info answers", comm_info),
    ("a mistake is told once, and in the reply", mistake),
    ("a table is display data", |kernel| {
        assert_eq!(
            kernel.run("let width = 2\nshow").display(),
            ["application/vnd.ltune+json", "text/html", "text/plain"]
        )
    }),
    ("a display is brought up to date in its place", update),
    ("a value is the result of its cell", |kernel| {
        assert!(kernel.run("6 * 7").kinds().contains(&"execute_result"))
    }),
    ("a result is rich: text for people, JSON for programs", rich_result),
    ("nothing waits for input, allowed or not", input),
    ("a comm of an unknown kind is closed at once", comms),
    ("an interrupt is answered, also when nothing runs", interrupt),
    ("cells are counted", count),
    ("whatever is sent names the request it belongs to", parents),
    ("a shutdown is answered and ends the process", shutdown),
];

#[test]
fn the_protocol_is_kept_in_every_point_of_the_list() {
    let mut kernel = Kernel::start();
    for (number, (name, check)) in CHECKS.iter().enumerate() {
        println!("{}. {name}", number + 1);
        check(&mut kernel);
    }
    println!("{} of {} checks", CHECKS.len(), CHECKS.len());
    assert_eq!(CHECKS.len(), 27);
}

fn heartbeat(kernel: &mut Kernel) {
    let beats = async {
        let mut connection = create_client_heartbeat_connection(&kernel.connection).await.unwrap();
        for _ in 0..3 {
            connection.single_heartbeat().await.unwrap();
        }
    };
    kernel.runtime.block_on(beats);
}

/// `Kernel::start` waits for the welcome of its own subscription; here is another listener.
fn welcome(kernel: &mut Kernel) {
    let listened = async {
        let connection = &kernel.connection;
        let mut other =
            jupyter_zmq_client::create_client_iopub_connection(connection, "", "other").await.unwrap();
        other.read().await.unwrap().content
    };
    let first = kernel.runtime.block_on(listened);
    assert!(matches!(first, JupyterMessageContent::IoPubWelcome(welcome) if welcome.subscription.is_empty()));
}

fn info(kernel: &mut Kernel) -> KernelInfoReply {
    match kernel.ask(KernelInfoRequest {}) {
        JupyterMessageContent::KernelInfoReply(reply) => *reply,
        other => panic!("{other:?}"),
    }
}

fn language(kernel: &mut Kernel) {
    let language = info(kernel).language_info;
    assert_eq!((language.name.as_str(), language.file_extension.as_deref()), ("ltune", Some(".ltune")));
    assert!(language.pygments_lexer.is_some() && language.codemirror_mode.is_some());
}

fn streamed(kernel: &mut Kernel, code: &str, name: Stdio) -> String {
    let texts = kernel.run(code).messages.into_iter().filter_map(|message| match message {
        JupyterMessageContent::StreamContent(stream)
            if std::mem::discriminant(&stream.name) == std::mem::discriminant(&name) =>
        {
            Some(stream.text)
        }
        _ => None,
    });
    texts.collect()
}

fn standard_error(kernel: &mut Kernel) {
    let warned = "model w { init = random { preset = tiny } }
data d { from = random; rows = 6; length = 8 tokens }
tune idle { model = w; data = d; lr = 0; epochs = 2 }";
    assert!(streamed(kernel, warned, Stdio::Stderr).contains("warning"));
}

fn life_cycle(kernel: &mut Kernel) {
    for content in [ExecuteRequest::new("1".into()).into(), JupyterMessageContent::from(KernelInfoRequest {})]
    {
        let id = kernel.send(content);
        kernel.replied();
        let states = belonging(kernel, &id).into_iter().filter_map(|message| match message.content {
            JupyterMessageContent::Status(status) => Some(status.execution_state.as_str().to_string()),
            _ => None,
        });
        assert_eq!(states.collect::<Vec<_>>(), ["busy", "idle"]);
    }
}

/// What is heard of a request, up to its end.
fn belonging(kernel: &mut Kernel, id: &str) -> Vec<JupyterMessage> {
    let mut messages = vec![];
    loop {
        let message = kernel.heard();
        if message.parent_header.as_ref().is_none_or(|parent| parent.msg_id != id) {
            continue;
        }
        let is_end = super::client::is_idle(&message.content);
        messages.push(message);
        if is_end {
            return messages;
        }
    }
}

fn completion(kernel: &mut Kernel) {
    let reply = kernel.ask(CompleteRequest { code: "jour".into(), cursor_pos: 4 });
    assert!(matches!(reply, JupyterMessageContent::CompleteReply(reply) if reply.matches == ["journal"]));
}

fn inspection(kernel: &mut Kernel) {
    let reply = kernel.ask(InspectRequest { code: "step".into(), cursor_pos: 4, detail_level: Some(0) });
    assert!(matches!(reply, JupyterMessageContent::InspectReply(reply) if reply.found));
}

fn completeness(kernel: &mut Kernel, code: &str) -> IsCompleteReplyStatus {
    match kernel.ask(IsCompleteRequest { code: code.into() }) {
        JupyterMessageContent::IsCompleteReply(reply) => reply.status,
        other => panic!("{other:?}"),
    }
}

fn history(kernel: &mut Kernel) {
    let reply = kernel.ask(HistoryRequest::Tail { n: 3, output: false, raw: true });
    assert!(matches!(reply, JupyterMessageContent::HistoryReply(reply) if reply.history.len() == 3));
}

fn comm_info(kernel: &mut Kernel) {
    let reply = kernel.ask(CommInfoRequest { target_name: None });
    assert!(matches!(reply, JupyterMessageContent::CommInfoReply(reply) if reply.status == ReplyStatus::Ok));
}

fn mistake(kernel: &mut Kernel) {
    let cell = kernel.run("step a )");
    assert_eq!(cell.reply.status, ReplyStatus::Error);
    assert_eq!(cell.kinds().iter().filter(|kind| **kind == "error").count(), 1);
}

fn update(kernel: &mut Kernel) {
    let mut displays = vec![];
    for message in kernel.run(&format!("{RUN}step a 2\nstep a 30")).messages {
        match message {
            JupyterMessageContent::DisplayData(shown) => {
                displays.push((false, shown.transient.unwrap().display_id))
            }
            JupyterMessageContent::UpdateDisplayData(shown) => {
                displays.push((true, shown.transient.display_id))
            }
            _ => {}
        }
    }
    let (first, last) = (displays.first().unwrap(), displays.last().unwrap());
    assert!(!first.0 && last.0 && first.1.is_some());
    assert!(
        displays
            .iter()
            .filter(|(is_update, _)| *is_update)
            .all(|(_, id)| displays.contains(&(false, id.clone())))
    );
}

fn rich_result(kernel: &mut Kernel) {
    let cell = kernel.run("[1, 2]");
    let shown = cell.messages.iter().find_map(|message| match message {
        JupyterMessageContent::ExecuteResult(result) => Some(serde_json::to_value(&result.data).unwrap()),
        _ => None,
    });
    let shown = shown.expect("there is a result");
    assert_eq!(shown["text/plain"], "[1, 2]");
    assert_eq!(shown["application/vnd.ltune+json"], serde_json::json!([1, 2]));
}

fn input(kernel: &mut Kernel) {
    for allow_stdin in [true, false] {
        let id = kernel
            .send(ExecuteRequest { allow_stdin, ..ExecuteRequest::new("print \"no questions\"".into()) });
        assert_eq!(kernel.finish(&id).reply.status, ReplyStatus::Ok);
    }
}

fn comms(kernel: &mut Kernel) {
    let comm_id = CommId("a-comm".into());
    let id = kernel.send(CommOpen {
        comm_id: comm_id.clone(),
        target_name: "unknown".into(),
        ..CommOpen::default()
    });
    let told = belonging(kernel, &id);
    let closes = |message: &&JupyterMessage| matches!(&message.content, JupyterMessageContent::CommClose(close) if close.comm_id == comm_id);
    assert_eq!(told.iter().filter(closes).count(), 1);
    kernel.send(CommMsg { comm_id, data: Default::default() });
    assert_eq!(kernel.run("1").reply.status, ReplyStatus::Ok);
}

fn interrupt(kernel: &mut Kernel) {
    let reply = kernel.command(InterruptRequest {});
    assert!(matches!(reply, JupyterMessageContent::InterruptReply(reply) if reply.status == ReplyStatus::Ok));
    assert_eq!(kernel.run("1").reply.status, ReplyStatus::Ok);
}

fn count(kernel: &mut Kernel) {
    let counted = |kernel: &mut Kernel| kernel.run("1").reply.execution_count.value();
    let first = counted(kernel);
    let mut silent = ExecuteRequest::new("1".into());
    (silent.silent, silent.store_history) = (true, false);
    let id = kernel.send(silent);
    assert!(kernel.finish(&id).messages.iter().all(|message| message.message_type() == "status"));
    assert_eq!(counted(kernel), first + 1);
}

fn parents(kernel: &mut Kernel) {
    let message = JupyterMessage::new(ExecuteRequest::new("print \"mine\"\nshow".into()), None);
    let id = message.header.msg_id.clone();
    kernel.runtime.block_on(kernel.shell.send(message)).unwrap();
    let reply = kernel.runtime.block_on(kernel.shell.read()).unwrap();
    assert_eq!(reply.parent_header.expect("the reply names its request").msg_id, id);
    for message in belonging(kernel, &id) {
        assert_eq!(message.parent_header.expect("it was looked at").msg_id, id);
        assert_ne!(message.header.msg_id, id);
    }
}

fn shutdown(kernel: &mut Kernel) {
    let reply = kernel.command(ShutdownRequest { restart: false });
    assert!(matches!(reply, JupyterMessageContent::ShutdownReply(reply) if reply.status == ReplyStatus::Ok));
    assert!(kernel.ends());
}
