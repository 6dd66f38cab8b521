//! A run goes by the memory that there is, says what it decided, and keeps to it.

use crate::program::{Folder, Ran, numbers, of_type};
use std::io::Write;

/// Takes about 430 MB in the plain way and 270 MB with activations computed twice, the program included.
const RUN: &str = r#"
model m { init = random { preset = tiny; layers = 8 } }
data r { from = random; rows = 128; length = 128 tokens; split = none }
tune a { model = m; data = r; batch = 64 x 1; epochs = 3; save_every = 2 steps; lr = 1e-2; method = full }
"#;
const LITTLE: &str = "350MiB";

fn ran(folder: &Folder, arguments: &[&str], memory: Option<&str>, input: &str) -> Ran {
    let mut command = folder.command(arguments);
    command.envs(memory.map(|memory| ("LTUNE_MEMORY", memory))).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().expect("ltune starts");
    child.stdin.take().expect("standard input is piped").write_all(input.as_bytes()).expect("it is read");
    Ran::from(child.wait_with_output().expect("ltune ends"))
}

fn losses(ran: &Ran) -> Vec<f64> {
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    numbers(&of_type(&ran.events(), "step"), "loss")
}

/// The line of a table that begins with this word.
fn line<'a>(ran: &'a Ran, word: &str) -> &'a str {
    let found = ran.stdout.lines().find(|line| line.trim_start().starts_with(word));
    found.unwrap_or_else(|| panic!("no `{word}` in {}\n{}", ran.stdout, ran.stderr))
}

#[test]
fn activations_are_computed_twice_where_memory_demands_it_and_the_numbers_stay() {
    let folder = Folder::new();
    let script = format!("{RUN}plan a {{ probe = off }}\nstep a 2\nshow a\njournal");
    let little = ran(&folder, &["-"], Some(LITTLE), &script);
    assert_eq!(little.code, 0, "{}", little.stderr);
    assert!(line(&little, "checkpointing").contains("on"), "{}", little.stdout);
    assert!(line(&little, "checkpointing").contains("auto, by the free memory"), "{}", little.stdout);
    assert!(line(&little, "activations  computed").contains("8 blocks"), "{}", little.stdout);
    assert!(little.stdout.contains("set a { checkpointing = on }"), "{}", little.stdout);
    let state = std::fs::read_to_string(folder.path().join("runs/a/checkpoints/step-2/state.json"));
    assert!(state.expect("a checkpoint is there").contains("\"checkpointing\": \"on\""));

    // What was decided is kept where there is more memory: by `load`, by `--resume`, and by the experiment's script.
    let loaded = ran(&folder, &["-"], None, &format!("{RUN}load a from \"runs/a\"\nstep a 1\nshow a"));
    assert!(line(&loaded, "checkpointing").contains("on"), "{}{}", loaded.stdout, loaded.stderr);
    folder.write("again.ltune", format!("{RUN}step a 4\nshow a"));
    let resumed = ran(&folder, &["--resume", "again.ltune"], None, "");
    assert!(line(&resumed, "checkpointing").contains("on"), "{}{}", resumed.stdout, resumed.stderr);
    assert!(!resumed.stdout.contains("its settings differ"), "{}", resumed.stdout);
    let experiment = std::fs::read_to_string(folder.path().join("runs/a/experiment.ltune"));
    assert!(experiment.expect("it is written").contains("checkpointing = on"));
}

#[test]
fn with_room_and_without_it_the_losses_are_the_same() {
    let step = format!("{RUN}step a 3");
    let little = losses(&ran(&Folder::new(), &["--json", "-"], Some(LITTLE), &step));
    assert_eq!(little, losses(&ran(&Folder::new(), &["--json", "-"], None, &step)));
    assert_eq!(little.len(), 3);
}

#[test]
fn a_run_with_room_keeps_its_activations_until_it_is_told_otherwise() {
    let folder = Folder::new();
    let small = RUN.replace("64 x 1", "2 x 1").replace("rows = 128", "rows = 8");
    let script = format!(
        "{small}step a 1\nshow a\nset a {{ gradient_checkpointing = True }}\nshow a\nset a {{ checkpointing = auto }}"
    );
    let ran = ran(&folder, &["-"], None, &script);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("checkpointing")).collect();
    assert!(lines[0].contains("off") && lines[0].contains("auto, by the free memory"), "{lines:?}");
    assert!(lines[1].contains("on") && lines[1].contains("set at step 1"), "{lines:?}");
    assert!(ran.stdout.contains("a: checkpointing off → on, from step 2 on"), "{}", ran.stdout);
}
