//! The prompt, through a pseudo-terminal: what a person types and sees.

use crate::program::{Folder, numbers, of_type};
use crate::terminal::Terminal;
use std::time::{Duration, Instant};

const TINY: &str =
    "model m { init = random }; data r { from = random; rows = 64; length = 16 tokens; split = none }";
const TUNE: &str = "tune a { model = m; data = r; batch = 4 x 1; epochs = 4 }";

/// A prompt in a folder of its own, ready to take a cell.
fn open(folder: &Folder) -> Terminal {
    let terminal = Terminal::open(folder, &[]);
    terminal.wait_for("In [1]: ");
    terminal
}

/// The losses that a run has written.
fn losses(folder: &Folder) -> Vec<f64> {
    let text = std::fs::read_to_string(folder.path().join("runs/a/metrics.jsonl")).unwrap_or_default();
    let rows = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    rows.filter_map(|row| row["loss"].as_f64()).collect()
}

fn wait_for_steps(folder: &Folder, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while losses(folder).len() < count {
        assert!(Instant::now() < deadline, "no steps were taken");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn cells_are_numbered_and_values_are_kept() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell("2 + 3");
    terminal.wait_for("Out[1]: 5");
    terminal.cell("let n = 4; n * _");
    terminal.wait_for("Out[2]: 20");
    terminal.cell("_1 + _2");
    terminal.wait_for("Out[3]: 25");
    terminal.cell("print \"no value\"");
    assert!(!terminal.screen().contains("Out[4]"));
    terminal.send("\x04");
    assert_eq!(terminal.code(), 0);
}

#[test]
fn a_cell_goes_on_until_the_parser_finds_it_whole() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell(TINY);
    for line in ["tune a {", "model = m; data = r", "method = lora {", "rank = 4", "}", "}"] {
        terminal.send(line);
        terminal.send("\r");
    }
    terminal.wait_for("In [3]: ");
    let screen = terminal.screen();
    assert!(
        screen.contains("In [2]: tune a {\n  model = m; data = r\n  method = lora {\n    rank = 4\n  }\n}\n"),
        "{screen}"
    );
    assert!(screen.contains("a: lora r 4"), "{screen}");
}

#[test]
fn words_are_completed_and_listed_with_what_they_mean() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.send("ste\t");
    terminal.wait("the word", |terminal| terminal.line().starts_with("In [1]: step"));
    terminal.send("\x15tune b { ep\t");
    terminal.wait("the setting", |terminal| terminal.line().starts_with("In [1]: tune b { epochs = "));
    terminal.send("\x15tune b { schedule = \t");
    terminal.wait_for("cosine_restarts  several half cosines, each from `lr` again");
    terminal.send("\x15model m { from = \"smol\t");
    terminal.wait("the sample", |terminal| {
        terminal.line().starts_with("In [1]: model m { from = \"smollm2-135m\"")
    });
    terminal.send("\x15:he\t");
    terminal.wait("the command", |terminal| terminal.line().starts_with("In [1]: :help"));
}

#[test]
fn files_and_names_of_the_session_are_completed() {
    let folder = Folder::new();
    folder.write("answers.jsonl", "{\"question\": \"a\", \"reply\": \"b\"}\n");
    let mut terminal = open(&folder);
    terminal.cell(TINY);
    terminal.send("data d { from = \"ans\t; columns = { prompt = \"qu\t");
    terminal.wait("both", |terminal| {
        terminal.screen().contains("\"answers.jsonl\"; columns = { prompt = \"question\"")
    });
    terminal.send("\x15show \t");
    terminal.wait_for("64 random rows of 16 tokens");
}

#[test]
fn grey_hints_say_what_is_meant_and_the_right_arrow_takes_them() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.send("tune b { sched");
    terminal.wait("the hint", |terminal| terminal.is_grey("ule  how the learning rate moves"));
    terminal.send("\x1b[C");
    terminal.wait("the rest of the word", |terminal| {
        terminal.line().starts_with("In [1]: tune b { schedule") && !terminal.is_grey("ule")
    });
    terminal.send("\x154 * 64");
    terminal.wait("the value", |terminal| terminal.is_grey("= 256"));
    terminal.send("\x15");
    terminal.cell(TINY);
    terminal.cell(TUNE);
    terminal.cell("step a 2");
    terminal.send("set a { epochs = 3");
    terminal.wait("no hint on an unknown statement, or its cost", |terminal| {
        terminal.line().contains("epochs = 3")
    });
    terminal.send("\x15tune b { model = m; data = r; batch = 4 x 1; epochs = 3");
    terminal.wait("the cost", |terminal| terminal.is_grey("48 steps, ab"));
}

#[test]
fn history_outlives_the_session_and_keeps_cells_of_several_lines() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell("let width = 41");
    terminal.send("print [1,\r2]\r");
    terminal.wait_for("In [3]: ");
    terminal.send("\x04");
    assert_eq!(terminal.code(), 0);

    let mut terminal = open(&folder);
    terminal.send("\x1b[A");
    terminal.wait("the last cell", |terminal| {
        terminal.screen().contains("In [1]: print [1,\n") && terminal.line().contains("2]")
    });
    terminal.send("\x03");
    terminal.wait("a fresh line", |terminal| terminal.line().trim_end() == "In [1]:");
    terminal.send("\x12width");
    terminal.wait_for("(reverse-i-search)`width': let width = 41");
    terminal.send("\r");
    terminal.wait_for("In [2]: ");
    terminal.cell("width + 1");
    terminal.wait_for("Out[2]: 42");
}

#[test]
fn an_interrupt_keeps_every_whole_step_and_going_on_gives_the_same_numbers() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell(TINY);
    terminal.cell(TUNE);
    terminal.send("step a 100000\r");
    wait_for_steps(&folder, 3);
    terminal.send("\x03");
    terminal.wait_for("everything is kept");
    terminal.wait_for("In [4]: ");
    let taken = losses(&folder).len();
    terminal.cell("step a 4");
    let interrupted = losses(&folder);
    assert_eq!(interrupted.len(), taken + 4);

    let whole = Folder::new();
    let events = whole.events(&format!("{TINY}\n{TUNE}\nstep a {}", taken + 4));
    assert_eq!(numbers(&of_type(&events, "step"), "loss"), interrupted);
}

/// oneDNN's products have the heap for a stack: a handler that began on such a thread would write over what lies there.
#[test]
#[cfg(target_os = "linux")]
fn no_thread_that_computes_is_interrupted_by_a_signal() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell(TINY);
    terminal.cell(TUNE);
    terminal.cell("step a 2");
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGWINCH] {
        let (hearing, threads) = terminal.threads_hearing(signal);
        assert!(hearing == 1 && threads > 1, "{hearing} of {threads} threads hear {signal}");
    }
}

#[test]
fn a_second_interrupt_drops_the_step_and_the_next_one_is_as_if_it_had_never_been() {
    // A step of this run takes a second or so, micro-batch after micro-batch.
    let run = "model m { init = random }; data r { from = random; rows = 8000; length = 64 tokens; split = none }\n\
               tune a { model = m; data = r; batch = 4 x 200; epochs = 4 }";
    let folder = Folder::new();
    folder.write("run.ltune", run);
    let mut terminal = Terminal::open(&folder, &["-i", "run.ltune"]);
    terminal.wait_for("In [1]: ");
    terminal.send("step a 3\r");
    wait_for_steps(&folder, 1);
    let began = Instant::now();
    terminal.send("\x03");
    std::thread::sleep(Duration::from_millis(50));
    terminal.send("\x03");
    terminal.wait_for("In [2]: ");
    let waited = began.elapsed();
    assert_eq!(losses(&folder).len(), 1, "the second step was dropped");
    terminal.cell("step a 1");
    let both = losses(&folder);

    let whole = Folder::new();
    let events = whole.events(&format!("{run}\nstep a 2"));
    let steps = of_type(&events, "step");
    assert_eq!(numbers(&steps, "loss"), both);
    let step = numbers(&steps, "seconds")[1];
    assert!(waited.as_secs_f64() < step.max(1.0), "{waited:?} to drop a step of {step} s");
}

#[test]
fn at_the_prompt_ctrl_c_clears_the_line() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.send("let n = ");
    terminal.wait_for("In [1]: let n = ");
    terminal.send("\x03");
    terminal.wait("a fresh line", |terminal| terminal.line().trim_end() == "In [1]:");
    terminal.cell("2");
    terminal.wait_for("Out[1]: 2");
}

#[test]
fn a_paste_is_one_cell_and_runs_when_it_is_entered() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.send("\x1b[200~let n = 20\n\nprint n + 1\n\x1b[201~");
    terminal.wait_for("print n + 1");
    std::thread::sleep(Duration::from_millis(100));
    assert!(!terminal.screen().contains("In [2]"), "{}", terminal.screen());
    terminal.send("\r");
    terminal.wait_for("\n21\n");
    terminal.wait_for("In [2]: ");
}

#[test]
fn pasted_prompts_are_no_part_of_the_cell() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.send("\x1b[200~In [7]: let n = 20\n\nIn [8]: n + 1\nOut[8]: 21\n\x1b[201~\r");
    terminal.wait_for("Out[1]: 21");
    terminal.send("\x1b[A");
    terminal.wait("history without the prompts", |terminal| {
        terminal.screen().contains("In [2]: let n = 20\nn + 1")
    });
}

#[test]
fn enter_repeats_a_step_just_taken_and_nothing_else() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell(TINY);
    terminal.cell(TUNE);
    terminal.cell("step a 2");
    std::thread::sleep(Duration::from_millis(100));
    terminal.cell("");
    terminal.wait_for("step  4/64");
    terminal.cell("let n = 1");
    std::thread::sleep(Duration::from_millis(100));
    terminal.send("\r\r");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(losses(&folder).len(), 4);
    // In a paste an empty line is an empty line.
    terminal.cell("step a");
    terminal.send("\x1b[200~\n\n\x1b[201~");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(losses(&folder).len(), 5);
}

#[test]
fn a_failed_statement_keeps_the_session_and_its_mistake_offers_the_fix() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell(TINY);
    terminal.cell("tune a { model = m; data = r; epoch = 3 }");
    let screen = terminal.screen();
    assert!(screen.contains("error[L0102]: `epoch` is not a setting of `tune`"), "{screen}");
    assert!(screen.contains("In [2]:1:31") && screen.contains("━━━━━"), "{screen}");
    terminal.wait("the offer", |terminal| terminal.is_grey("tune a { model = m; data = r; epochs = 3 }"));
    terminal.send("\x1b[C");
    terminal.wait("the mended cell", |terminal| {
        terminal.line().starts_with("In [3]: tune a { model = m; data = r; epochs = 3 }")
    });
    terminal.cell("");
    terminal.wait_for("a: lora r 16");
    terminal.cell("plot perplexity of a");
    terminal.wait_for("error[L0505]");
    terminal.cell("step a 1");
    terminal.wait_for("step  1/12");
}

#[test]
fn figures_are_charts_in_the_terminal_and_files_on_demand() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell(TINY);
    terminal.cell(TUNE);
    terminal.cell("step a 8");
    terminal.cell("plot loss of a");
    assert!(terminal.screen().contains("loss (nats a token)"), "{}", terminal.screen());
    terminal.cell("plot loss of a to \"loss.svg\"");
    terminal.wait_for("wrote loss.svg");
    assert!(folder.path().join("loss.svg").is_file());
    let chart = terminal.after("In [4]: plot loss of a\n");
    assert!(chart.len() > 10 && chart.iter().all(|line| line.chars().count() <= 80), "{chart:#?}");
}

#[test]
fn names_can_be_asked_for() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell(TINY);
    terminal.cell(TUNE);
    terminal.send("a?\r");
    terminal.wait_for("a is a run: lora r 16, alpha 32 on r with m");
    terminal.send("tune.lr?\r");
    terminal.wait_for("lr: peak learning rate");
    terminal.send("nonsense?\r");
    terminal.wait_for("nothing is known of `nonsense`");
    terminal.cell("m");
    terminal.wait_for("init       ");
}

#[test]
fn commands_of_the_prompt_do_what_their_help_says() {
    let folder = Folder::new();
    let mut terminal =
        Terminal::with(&folder, &[], &[("TERM", "xterm"), ("EDITOR", "sed -i s/20/30/")], (200, 80));
    terminal.wait_for("In [1]: ");
    terminal.send(":help\r");
    terminal.wait_for(":reset");
    terminal.send(":vars\r");
    terminal.wait_for("nothing is defined yet");
    terminal.cell("let n = 20");
    terminal.send(":vars\r");
    terminal.wait_for("n     value  20");
    terminal.send(":time print n\r");
    terminal.wait_for("took ");
    terminal.wait_for("In [3]: ");
    terminal.send(":edit 1\r");
    terminal.wait_for("In [3]: let n = 30");
    terminal.cell("");
    terminal.send(":save session.ltune\r");
    terminal.wait_for("wrote session.ltune: 3 cells");
    let saved = std::fs::read_to_string(folder.path().join("session.ltune")).expect("it is written");
    assert_eq!(saved, "ltune 1\n\nlet n = 20\nprint n\nlet n = 30\n");
    terminal.send(":reset\r");
    terminal.wait_for("a fresh session");
    terminal.send(":load session.ltune\r:mode vi\r");
    terminal.wait_for("the keys are now those of vi");
    assert!(terminal.screen().contains(":load session.ltune\n20\n"), "{}", terminal.screen());
    terminal.send(":hlep\r");
    terminal.wait_for("did you mean `:help`?");
    terminal.send(":quit\r");
    assert_eq!(terminal.code(), 0);
}

#[test]
fn leaving_keeps_the_runs_and_says_where_they_are() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell(TINY);
    terminal.cell(TUNE);
    terminal.cell("step a 2");
    terminal.send("\x04");
    terminal.wait_for("run a is at step 2 of 64, kept in runs/a");
    assert_eq!(terminal.code(), 0);
    assert!(folder.path().join("runs/a/checkpoints/step-2").is_dir());
}

#[test]
fn a_session_that_is_ended_while_it_trains_keeps_what_was_trained() {
    for (signal, code) in [("-TERM", 143), ("-HUP", 129)] {
        let folder = Folder::new();
        let mut terminal = open(&folder);
        terminal.cell(TINY);
        terminal.cell(TUNE);
        terminal.send("step a 100000\r");
        wait_for_steps(&folder, 3);
        terminal.signal(signal);
        assert_eq!(terminal.code(), code);
        let step = losses(&folder).len();
        assert!(folder.path().join(format!("runs/a/checkpoints/step-{step}")).is_dir());
    }
    // At the prompt too.
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell(&format!("{TINY}; {TUNE}; step a 2"));
    terminal.signal("-TERM");
    assert_eq!(terminal.code(), 143);
    assert!(folder.path().join("runs/a/checkpoints/step-2").is_dir());
}

#[test]
fn what_is_typed_while_a_run_trains_is_taken_next() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell(TINY);
    terminal.cell(TUNE);
    terminal.send("step a 40\r");
    wait_for_steps(&folder, 1);
    terminal.send(":quit\r");
    assert_eq!(terminal.code(), 0);
    assert_eq!(losses(&folder).len(), 40);
}

#[test]
fn a_window_that_changes_its_size_is_no_trouble() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    let long = "print 1111111111 + 2222222222 + 3333333333 + 4444444444";
    terminal.send(long);
    terminal.wait_for("4444444444");
    terminal.resize(60, 40);
    std::thread::sleep(Duration::from_millis(100));
    terminal.send(" + 1");
    terminal.send("\r");
    terminal.wait_for("\n11111111111\n");
    terminal.cell("help step");
    let help = terminal.after("In [2]: help step\n");
    assert!(help.len() > 5 && help.iter().all(|line| line.chars().count() <= 40), "{help:#?}");
    terminal.resize(60, 100);
    terminal.cell("2");
    terminal.wait_for("Out[3]: 2");
}

#[test]
fn without_colour_nothing_is_coloured_and_hints_stand_as_comments() {
    let folder = Folder::new();
    let mut terminal = Terminal::with(&folder, &[], &[("TERM", "xterm"), ("NO_COLOR", "1")], (60, 80));
    terminal.wait_for("In [1]: ");
    terminal.send("tune b { sched");
    terminal.wait_for("tune b { sched  # how the learning rate moves");
    terminal.send("\x15");
    terminal.cell("tune b { epoch = 3 }");
    terminal.cell("2");
    let bytes = terminal.bytes();
    let text = String::from_utf8_lossy(&bytes);
    let colored = text.match_indices("\x1b[").filter(|(at, _)| {
        let rest = &text[at + 2..];
        rest.find(|letter: char| letter.is_ascii_alphabetic()).is_some_and(|end| rest[end..].starts_with('m'))
    });
    assert_eq!(colored.count(), 0, "{text:?}");
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let folder = Folder::new();
    let mut terminal = Terminal::with(&folder, &[], &[("TERM", "dumb")], (60, 80));
    terminal.wait_for("In [1]: ");
    terminal.cell("print [1,\r2]");
    terminal.wait_for("\n1 2\n");
    terminal.cell(TINY);
    terminal.cell(TUNE);
    terminal.cell("step a 3");
    terminal.wait_for("step  3/64");
    terminal.send("stepp");
    terminal.send("\x03");
    terminal.wait("the prompt again", |terminal| terminal.line().trim_end() == "In [5]:");
    terminal.send("\x04");
    terminal.wait_for("run a is at step 3 of 64, kept in runs/a");
    let bytes = terminal.bytes();
    assert!(!bytes.contains(&0x1b), "{:?}", String::from_utf8_lossy(&bytes));
    assert_eq!(terminal.code(), 0);
}

#[test]
fn scripts_can_go_before_the_prompt_and_a_pipe_is_still_a_script() {
    let folder = Folder::new();
    folder.write("define.ltune", "let width = 21\nprint \"ready\"\n");
    let mut terminal = Terminal::open(&folder, &["-i", "define.ltune", "-c", "let n = width * 2"]);
    terminal.wait_for("ready");
    terminal.wait_for("In [1]: ");
    terminal.cell("n");
    terminal.wait_for("Out[1]: 42");
    let piped = folder.ltune_with(&[], "print 2\n");
    assert_eq!((piped.code, piped.stdout.as_str()), (0, "2\n"));
    let piped = folder.ltune_with(&["-i", "define.ltune"], "print width\n");
    assert_eq!((piped.code, piped.stdout.as_str()), (0, "ready\n21\n"));
}

#[test]
fn live_progress_has_loss_rate_and_a_small_curve_and_is_gone_afterwards() {
    let folder = Folder::new();
    let mut terminal = open(&folder);
    terminal.cell(TINY);
    terminal.cell("tune a { model = m; data = r; batch = 4 x 16; epochs = 400 }");
    terminal.send("step a 100000\r");
    terminal.wait("the live line", |terminal| {
        let screen = terminal.screen();
        let live = screen.lines().find(|line| line.contains("tok/s"));
        live.is_some_and(|line| line.contains("loss") && line.contains("left") && line.contains(['▁', '█']))
    });
    terminal.send("\x03");
    terminal.wait_for("In [4]: ");
    assert!(!terminal.screen().contains("tok/s"), "{}", terminal.screen());
    assert!(!terminal.screen().contains("^C"), "{}", terminal.screen());
}
