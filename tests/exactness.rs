//! The promise in numbers: equality to the last bit, on the CPU, through the program.

use crate::program::{Folder, numbers, of_type};

/// A tiny run with everything on that could disturb the numbers.
const RUN: &str = r#"
model m { init = random { preset = tiny } }
data r { from = random; rows = 60; length = 24 tokens; split = 80% / 20% }
tune a {
  model = m; data = r; batch = 3 x 2; epochs = 4; lr = 1e-2
  method = lora { rank = 4; dropout = 0.1 }
}
"#;

fn losses(statements: &str) -> Vec<f64> {
    let folder = Folder::new();
    let events = folder.events(&format!("{RUN}{statements}"));
    numbers(&of_type(&events, "step"), "loss")
}

#[test]
fn ten_steps_and_ten_steps_are_twenty_steps() {
    let whole = losses("step a 20");
    assert_eq!(whole.len(), 20);
    assert_eq!(losses("step a 10; step a 10"), whole);
    assert!(whole[19] < whole[0], "it learns: {whole:?}");
}

#[test]
fn evaluating_and_generating_in_between_changes_nothing() {
    let between = losses(
        "step a 5\neval a\ngenerate a \"x\" { max = 5 tokens; seed = 3 }\nstep a 5\neval m on r\nstep a 10",
    );
    assert_eq!(between, losses("step a 20"));
}

#[test]
fn a_script_run_twice_gives_the_same_numbers_twice_and_keeps_both_folders() {
    let folder = Folder::new();
    let script = format!("{RUN}step a 4");
    let first = folder.events(&script);
    let second = folder.events(&script);
    assert_eq!(numbers(&of_type(&first, "step"), "loss"), numbers(&of_type(&second, "step"), "loss"),);
    assert!(folder.path().join("runs/a/metrics.jsonl").is_file());
    assert!(folder.path().join("runs/a.1/metrics.jsonl").is_file());
}

#[test]
fn a_run_taken_up_from_a_checkpoint_goes_on_as_if_it_had_never_stopped() {
    let whole = losses("step a 12");
    let folder = Folder::new();
    let definitions = RUN.replace("epochs = 4", "epochs = 4; save_every = 6 steps");
    let first = folder.events(&format!("{definitions}step a 6"));
    let second = folder.events(&format!("{definitions}load a from \"runs/a\"\nstep a 6"));
    let taken = [first, second].map(|events| numbers(&of_type(&events, "step"), "loss")).concat();
    assert_eq!(taken, whole);
}

#[test]
fn the_resolved_experiment_that_a_run_writes_runs_to_the_same_numbers() {
    let folder = Folder::new();
    let first = folder.events(&format!("{RUN}step a 3"));
    let script =
        std::fs::read_to_string(folder.path().join("runs/a/experiment.ltune")).expect("it is written");
    let second = folder.events(&format!("{script}\nstep a 3"));
    assert_eq!(numbers(&of_type(&first, "step"), "loss"), numbers(&of_type(&second, "step"), "loss"));
}

#[test]
fn a_run_that_continues_an_adapter_is_taken_up_like_any_other() {
    let folder = Folder::new();
    folder.events(&format!("{RUN}step a 2\nsave a to \"adapter\""));
    let definitions = RUN.replace("rank = 4; dropout = 0.1", "from = \"adapter\"; dropout = 0.1");
    let saving = definitions.replace("epochs = 4", "epochs = 4; save_every = 3 steps");
    let whole = numbers(&of_type(&folder.events(&format!("{definitions}step a 6")), "step"), "loss");
    let first = folder.events(&format!("{saving}step a 3"));
    let second = folder.events(&format!("{saving}load a from \"runs/a\"\nstep a 3"));
    let taken = [first, second].map(|events| numbers(&of_type(&events, "step"), "loss")).concat();
    assert_eq!(taken, whole);
}
