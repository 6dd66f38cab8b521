//! Stopping in every way there is, and going on as if one had never stopped.

use crate::program::{Folder, Ran, of_type};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

const RUN: &str = r#"
model m { init = random { preset = tiny } }
data r { from = random; rows = 60; length = 24 tokens; split = 80% / 20% }
tune a {
  model = m; data = r; batch = 3 x 2; epochs = 8; lr = 2e-3; save_every = 3 steps; eval_every = 5 steps
  method = lora { rank = 4; dropout = 0.1 }
}
"#;

/// Everything that a session does to a run and its fork.
const SESSION: &str = "step a 14\nset a { lr = 1e-3; schedule = constant }\nstep a 10\nfork a as b at 20 { clip = none }\nstep b 12\ngoto a 18\nstep a 9\nrun b until epoch 5\n";

fn start(folder: &Folder, arguments: &[&str], script: &str) -> Child {
    let mut child = folder.command(arguments).stdin(Stdio::piped()).spawn().expect("ltune starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(script.as_bytes()).expect("the script is read");
    child
}

/// The loss of every step of the living branch, from the run's own metrics.
fn living(folder: &Folder, run: &str) -> BTreeMap<u64, f64> {
    let history =
        ltune::train::metrics::read(&folder.path().join("runs").join(run)).expect("metrics are there");
    let step = |entry: &ltune::train::metrics::Entry| match entry {
        ltune::train::metrics::Entry::Step { step, loss, .. } => Some((*step, *loss)),
        _ => None,
    };
    history.living().iter().filter_map(|row| step(&row.entry)).collect()
}

fn wanted(script: &str) -> [BTreeMap<u64, f64>; 2] {
    let folder = Folder::new();
    folder.events(script);
    ["a", "b"].map(|run| living(&folder, run))
}

/// A small generator, so that the moments differ from kill to kill and the test does not depend on a clock.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn killed_at_fifty_random_moments_a_session_goes_on_as_if_it_never_was() {
    let script = format!("{RUN}{SESSION}");
    let wanted = wanted(&script);
    let (mut kills, mut state, mut finished) = (0, 7, 0);
    let mut folder = Folder::new();
    while kills < 50 {
        let mut child = start(&folder, &["--json", "--resume", "-"], &script);
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        // A number of lines and then some time: in the middle of a step, of a checkpoint, of an evaluation, of the start.
        let count = next(&mut state) % 12;
        let seen = lines.by_ref().take(count as usize).filter(Result::is_ok).count();
        std::thread::sleep(Duration::from_micros(next(&mut state) % 30_000));
        if seen < count as usize {
            let status = child.wait().expect("it ends");
            assert!(status.success(), "it ended by itself, with {status}");
            assert_eq!(["a", "b"].map(|run| living(&folder, run)), wanted);
            (folder, finished) = (Folder::new(), finished + 1);
            continue;
        }
        child.kill().expect("it is there to be killed");
        child.wait().expect("it ends");
        kills += 1;
    }
    let ran: Ran = folder.ltune_with(&["--json", "--resume", "-"], &script);
    assert_eq!(ran.code, 0, "after {finished} whole sessions: {}{}", ran.stdout, ran.stderr);
    assert_eq!(["a", "b"].map(|run| living(&folder, run)), wanted);
}

#[test]
fn resuming_passes_over_what_checkpoints_hold_and_says_so() {
    let folder = Folder::new();
    let script = format!("{RUN}{SESSION}");
    folder.events(&script);
    let ran = folder.ltune_with(&["--json", "--resume", "-"], &script);
    let events = ran.events();
    let taken = of_type(&events, "step").len();
    assert!(taken < 20, "of 52 steps at most three after each checkpoint are taken again, found {taken}");
    let notes: Vec<&str> = of_type(&events, "note").iter().filter_map(|note| note["text"].as_str()).collect();
    assert!(notes.iter().any(|note| note.contains("are passed over")), "{notes:?}");
    assert!(!folder.path().join("runs/a.1").exists(), "the folder is gone on with");
}

#[test]
fn an_interrupt_ends_at_a_whole_step_and_going_on_equals_never_having_been_interrupted() {
    let script = format!("{}step a 40\n", RUN.replace("save_every = 3 steps; ", ""));
    let whole = Folder::new();
    whole.events(&script);
    let folder = Folder::new();
    let mut child = start(&folder, &["--json", "-"], &script);
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let is_fifth = |line: &String| line.contains("\"type\":\"step\"") && line.contains("\"step\":5,");
    let seen = lines.by_ref().map_while(Result::ok).any(|line| is_fifth(&line));
    assert!(seen);
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(rest.iter().any(|line| line.contains("everything is kept")), "{rest:?}");
    let reached = living(&folder, "a").len();
    assert!((5..40).contains(&reached), "{reached}");
    let ran = folder.ltune_with(&["--json", "--resume", "-"], &script);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(of_type(&ran.events(), "step").len(), 40 - reached, "nothing is taken twice");
    assert_eq!(living(&folder, "a"), living(&whole, "a"));
}

#[test]
fn a_setting_that_changed_is_applied_on_resume_and_said() {
    let folder = Folder::new();
    folder.events(&format!("{RUN}step a 6"));
    let changed = RUN.replace("lr = 2e-3", "lr = 5e-4");
    let events =
        folder.ltune_with(&["--json", "--resume", "-"], &format!("{changed}step a 4\nstep a 6")).events();
    let steps: Vec<u64> = of_type(&events, "step").iter().filter_map(|step| step["step"].as_u64()).collect();
    assert_eq!(steps, [7, 8, 9, 10], "the script's ten steps, of which six are done");
    let notes: Vec<&str> = of_type(&events, "note").iter().filter_map(|note| note["text"].as_str()).collect();
    assert!(
        notes.iter().any(|note| note.contains("lr 2e-3 → 5e-4") || note.contains("settings differ")),
        "{notes:?}"
    );
    let lr = of_type(&events, "step")[0]["lr"].as_f64().expect("a number");
    let before = Folder::new();
    let set = before.events(&format!("{RUN}step a 6\nset a {{ lr = 5e-4 }}\nstep a 4"));
    assert_eq!(Some(lr), of_type(&set, "step")[6]["lr"].as_f64());
}

#[test]
fn other_data_is_refused_with_the_way_out() {
    let folder = Folder::new();
    folder.events(&format!("{RUN}step a 6"));
    let other = RUN.replace("rows = 60", "rows = 50");
    let ran = folder.ltune_with(&["--json", "--resume", "-"], &format!("{other}step a 6"));
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let events = ran.events();
    let errors = of_type(&events, "diagnostic");
    let text = errors.last().map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains("data") && text.contains("without `--resume`"), "{text}");
}

#[test]
fn a_loaded_run_keeps_the_changes_that_led_to_its_checkpoint() {
    let folder = Folder::new();
    let first = folder.events(&format!("{RUN}step a 4\nset a {{ lr = 1e-3 }}\nfreeze a layers 0\nstep a 5"));
    let second = folder.events(&format!("{RUN}load a from \"runs/a/checkpoints/step-6\"\nstep a 3\nundo a\nundo a 3 steps\nstep a 2\nhistory a"));
    let losses = |events: &[Value]| -> Vec<f64> {
        of_type(events, "step").iter().filter_map(|step| step["loss"].as_f64()).collect()
    };
    assert_eq!(losses(&second)[..3], losses(&first)[6..]);
    assert_eq!(losses(&second)[3..], losses(&first)[3..5], "beyond the checkpoint into the past");
}
