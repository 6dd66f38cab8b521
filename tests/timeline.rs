//! Time travel, through the program: equality to the last bit, whatever was done in between.

use crate::program::{Folder, numbers, of_type};
use proptest::prelude::*;
use serde_json::Value;

/// A tiny run with everything on that could disturb the numbers: dropout, shuffling, accumulation, ragged epochs.
const RUN: &str = r#"
model m { init = random { preset = tiny } }
data r { from = random; rows = 30; length = 24 tokens; split = 80% / 20% }
tune a {
  model = m; data = r; batch = 2 x 2; epochs = 5; lr = 1e-2
  method = lora { rank = 4; dropout = 0.1 }
}
"#;

/// Run, step and loss of each step, in the order in which they were taken.
type Steps = Vec<(String, u64, f64)>;

fn steps(events: &[Value]) -> Steps {
    let number = |event: &Value, name: &str| event[name].as_f64().expect("a number");
    of_type(events, "step")
        .into_iter()
        .map(|event| {
            let run = event["run"].as_str().expect("a name").to_string();
            (run, event["step"].as_u64().expect("a step"), number(event, "loss"))
        })
        .collect()
}

fn losses(statements: &str) -> Vec<f64> {
    losses_of(RUN, statements)
}

fn losses_of(definitions: &str, statements: &str) -> Vec<f64> {
    let folder = Folder::new();
    let events = folder.events(&format!("{definitions}{statements}"));
    steps(&events).into_iter().map(|(.., loss)| loss).collect()
}

const LOOKING: &str = "eval a\ngenerate a \"x\" { max = 3 tokens; seed = 5 }\n";

#[test]
fn going_to_a_step_and_stepping_again_gives_the_same_losses() {
    let found = losses(&format!("step a 6\n{LOOKING}goto a 3\n{LOOKING}step a 3"));
    assert_eq!(found.len(), 9);
    assert_eq!(found[3..6], found[6..9]);
    assert_eq!(found[..6], losses("step a 6"));
}

#[test]
fn taking_steps_back_and_stepping_again_gives_the_same_losses_across_an_epoch_end() {
    let found = losses(&format!("step a 8\n{LOOKING}undo a 4 steps\n{LOOKING}step a 4"));
    assert_eq!(found[4..8], found[8..12]);
}

#[test]
fn a_fork_without_changes_equals_its_parent() {
    let folder = Folder::new();
    let events = folder.events(&format!(
        "{RUN}step a 6\nfork a as b at 3\n{LOOKING}step b 3\nstep a 2\nstep b 2\nfork a as c\nstep a 1\nstep c 1"
    ));
    let of = |name: &str| -> Vec<(u64, f64)> {
        steps(&events)
            .into_iter()
            .filter(|(run, ..)| run == name)
            .map(|(_, step, loss)| (step, loss))
            .collect()
    };
    assert_eq!(of("b"), of("a")[3..8]);
    assert_eq!(of("c"), of("a")[8..]);
}

#[test]
fn full_fine_tuning_last_layers_and_sgd_go_back_exactly_too() {
    for method in [
        "method = full; lr = 1e-3",
        "method = last_layers { count = 1 }; lr = 1e-3",
        "optimizer = sgd; lr = 1e-2",
    ] {
        let definitions =
            RUN.replace("method = lora { rank = 4; dropout = 0.1 }", "").replace("lr = 1e-2", method);
        let found = losses_of(&definitions, "step a 5\nundo a 3 steps\nstep a 3\ngoto a 0\nstep a 2");
        assert_eq!(found[2..5], found[5..8], "{method}");
        assert_eq!(found[..2], found[8..], "{method}");
    }
}

#[test]
fn without_snapshots_the_steps_are_taken_again_and_give_the_same() {
    let definitions = RUN.replace("lr = 1e-2", "lr = 1e-2; snapshots = none");
    let folder = Folder::new();
    let events =
        folder.events(&format!("{definitions}step a 6\ngoto a 3\nstep a 3\nundo a\nredo a\nstep a 1"));
    let found: Vec<f64> = steps(&events).into_iter().map(|(.., loss)| loss).collect();
    assert_eq!(found[3..6], found[6..9]);
    assert_eq!(found, [&losses("step a 6")[..], &losses("step a 7")[3..]].concat());
    let notes = of_type(&events, "note");
    let said =
        |text: &str| notes.iter().any(|note| note["text"].as_str().is_some_and(|note| note.contains(text)));
    assert!(said("no snapshot of step 3 is held; taking 3 steps again from step 0"), "{notes:?}");
}

#[test]
fn changed_settings_hold_from_the_next_step_and_undo_takes_them_back() {
    let changed = losses("step a 3\nset a { lr = 1e-3; schedule = constant }\nstep a 3");
    let plain = losses("step a 6");
    assert_eq!(changed[..4], plain[..4], "the loss of step 4 comes before its update");
    assert_ne!(changed[4..], plain[4..]);
    let back = losses(
        "step a 3\nset a { lr = 1e-3; schedule = constant }\nstep a 3\nundo a 3 steps\nundo a\nstep a 3",
    );
    assert_eq!(back[6..], plain[3..]);
    let kept =
        losses("step a 3\nset a { lr = 1e-3; schedule = constant }\nstep a 3\nundo a 3 steps\nstep a 3");
    assert_eq!(kept[6..], changed[3..], "the change was made at step 3, before step 4");
    let redone = losses(
        "step a 3\nset a { lr = 1e-3; schedule = constant }\nstep a 3\nundo a\nundo a\nredo a\nredo a\nstep a 1",
    );
    let on = losses("step a 3\nset a { lr = 1e-3; schedule = constant }\nstep a 4");
    assert_eq!(redone[6..], on[6..]);
}

#[test]
fn frozen_parts_stay_and_unfreezing_is_taken_back_exactly() {
    let plain = losses("step a 6");
    let frozen = losses("step a 3\nfreeze a layers 0\nunfreeze a norms\nstep a 3\ngoto a 2\nstep a 4");
    assert_ne!(frozen[5], plain[5]);
    assert_eq!(frozen[6..10], plain[2..6]);
    let back = losses("step a 3\nfreeze a layers 0\nstep a 2\nundo a\nundo a\nstep a 3");
    assert_eq!(back[5..], plain[3..]);
}

#[test]
fn what_a_live_run_keeps_is_refused_with_the_way_out() {
    let folder = Folder::new();
    folder.write("s.ltune", format!("{RUN}step a 2\nset a {{ method = lora {{ rank = 8 }} }}"));
    let ran = folder.ltune(&["s.ltune"]);
    assert_eq!(ran.code, 3, "it is found before anything runs: {}", ran.stdout);
    assert!(ran.stderr.contains("`method` cannot change on run `a`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("fork a as a2 at 0"), "{}", ran.stderr);
    let fresh = losses("step a 2\nfork a as b at 0 { method = lora { rank = 8 } }\nstep b 2");
    let alone = losses_of(&RUN.replace("rank = 4", "rank = 8"), "step a 2");
    assert_eq!(fresh[2..], alone);
}

#[test]
fn a_run_can_be_dropped_and_renamed() {
    let folder = Folder::new();
    let events = folder
        .events(&format!("{RUN}step a 2\nfork a as b\nstep b 1\ndrop b\nrename a as c\nstep c 1\nhistory c"));
    assert_eq!(steps(&events).last().map(|(run, step, _)| (run.as_str(), *step)), Some(("c", 3)));
    assert!(folder.path().join("runs/c/metrics.jsonl").is_file() && folder.path().join("runs/b").is_dir());
    assert!(!folder.path().join("runs/a").exists());
}

/// The session's journal, run in a folder of its own.
fn replayed(script: &str) -> (Steps, String, Steps) {
    let folder = Folder::new();
    let first =
        folder.events(&format!("{script}\njournal to \"session.ltune\"\njournal all to \"all.ltune\""));
    let journal = std::fs::read_to_string(folder.path().join("session.ltune")).expect("it is written");
    let again = Folder::new();
    let second = again.events(&journal);
    let all = std::fs::read_to_string(folder.path().join("all.ltune")).expect("it is written");
    let everything = Folder::new();
    assert_eq!(steps(&everything.events(&all)), steps(&first), "everything again:\n{all}");
    (steps(&first), journal, steps(&second))
}

/// The last loss that was had at each step of each run: what is living at the end.
fn last_of_each(steps: &[(String, u64, f64)]) -> std::collections::BTreeMap<(String, u64), f64> {
    steps.iter().map(|(run, step, loss)| ((run.clone(), *step), *loss)).collect()
}

#[test]
fn a_session_of_thirty_mixed_verbs_replays_to_the_same_losses() {
    let script = format!(
        "{RUN}{}",
        r#"let peak = 2e-3
step a 4
eval a
generate a "x" { max = 3 tokens }
set a { lr = peak }
step 2
undo a 1 steps
step a 3
fork a as b at 5 { schedule = constant }
step b 3
plot loss of a, b to "both.svg"
freeze a layers 0
step a 2
undo a
undo a
step a 1
step b 1
goto a 3
eval a on r.train
step a 2
undo a
undo a
step a 1
repeat 2 { step b 1; eval b }
fork b as c
step c 2
undo c 1 steps
drop c
rename b as d
step d 1
set d { clip = none }
step d
goto a 6
step a 2
eval d
print peak"#
    );
    let (first, journal, second) = replayed(&script);
    let (first, second) = (last_of_each(&first), last_of_each(&second));
    for (place, loss) in &second {
        assert_eq!(first.get(place), Some(loss), "{place:?}\n{journal}");
    }
    for run in ["a", "b", "d"] {
        let last = |found: &std::collections::BTreeMap<(String, u64), f64>| {
            found.keys().filter(|(name, _)| name == run).map(|(_, step)| *step).max()
        };
        assert!(last(&second).is_some(), "{journal}");
    }
    assert!(!journal.contains("undo") && !journal.contains("goto"), "{journal}");
    assert!(journal.contains("seed = "), "the drawn seed is written out:\n{journal}");
}

/// One verb of a random session.
#[derive(Clone, Debug)]
enum Verb {
    Step(u64),
    Undo,
    UndoSteps(u64),
    Redo,
    Goto(u64),
    Set(u64),
    Freeze(u64),
    Look,
    Fork(u64),
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        4 => (1u64..4).prop_map(Verb::Step),
        2 => Just(Verb::Undo),
        2 => (1u64..4).prop_map(Verb::UndoSteps),
        2 => Just(Verb::Redo),
        2 => (0u64..8).prop_map(Verb::Goto),
        2 => (1u64..5).prop_map(Verb::Set),
        1 => (0u64..2).prop_map(Verb::Freeze),
        1 => Just(Verb::Look),
        1 => (0u64..6).prop_map(Verb::Fork),
    ]
}

fn script(verbs: &[Verb]) -> String {
    let mut text = String::new();
    for (index, verb) in verbs.iter().enumerate() {
        text += &match verb {
            Verb::Step(count) => format!("step a {count}\n"),
            Verb::Undo => "undo a\n".to_string(),
            Verb::UndoSteps(count) => format!("undo a {count} steps\n"),
            Verb::Redo => "redo a\n".to_string(),
            Verb::Goto(step) => format!("goto a {step}\n"),
            Verb::Set(lr) => format!("set a {{ lr = {lr}e-3 }}\n"),
            Verb::Freeze(layer) => format!("freeze a layers {layer}\n"),
            Verb::Look => LOOKING.to_string(),
            Verb::Fork(step) => format!("fork a as f{index} at {step}\nstep f{index} 2\n"),
        };
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was done, the journal gives every living step the loss that it had, and with snapshots thrown away the
    /// same session gives the same numbers.
    #[test]
    fn any_session_replays_to_the_same_losses(verbs in prop::collection::vec(verb(), 4..14)) {
        let statements = script(&verbs);
        let run = |definitions: &str| {
            let folder = Folder::new();
            // Some verbs ask for what is not there; the session goes on.
            let ran = folder.ltune_with(&["--json", "--keep-going", "-"], &format!("{definitions}step a 1\n{statements}journal to \"j.ltune\""));
            let events = ran.events();
            let failed = of_type(&events, "diagnostic").iter().any(|found| found["code"] == "L0507" || found["code"] == "L0207");
            let was_refused = ran.code == 3; // before anything ran, as when the same layers are frozen twice
            assert!(!failed && (ran.code <= 1 || was_refused), "{statements}\n{}\n{}", ran.stdout, ran.stderr);
            (!was_refused).then(|| {
                let journal = std::fs::read_to_string(folder.path().join("j.ltune"));
                (steps(&events), journal.expect("it is written"))
            })
        };
        let Some((first, journal)) = run(RUN) else { return Err(TestCaseError::reject("refused")) };
        let again = Folder::new();
        let ran = again.ltune_with(&["--json", "-"], &journal);
        prop_assert!(ran.code == 0, "{}\n{statements}\n{journal}", ran.stdout);
        let second = steps(&ran.events());
        let known = last_of_each(&first);
        for ((name, step), loss) in last_of_each(&second) {
            // A fork may take steps itself that its parent took back.
            let found = known.get(&(name.clone(), step)).or_else(|| known.get(&("a".to_string(), step)));
            let anywhere = first.iter().any(|(_, at, had)| *at == step && *had == loss);
            prop_assert!(found == Some(&loss) || anywhere, "{name} {step}: {loss}\n{statements}\n{journal}");
        }
        let thin = run(&RUN.replace("lr = 1e-2", "lr = 1e-2; snapshots = none"));
        prop_assert_eq!(Some(first), thin.map(|(steps, _)| steps));
    }
}

#[test]
fn a_fork_of_steps_that_were_taken_back_is_replayed_by_the_fork() {
    let script = "step a 3\nundo a 2 steps\nfork a as b at 2\nstep b 2\nstep a 1";
    let (first, journal, second) = replayed(&format!("{RUN}{script}"));
    let (first, second) = (last_of_each(&first), last_of_each(&second));
    for step in [3, 4] {
        let place = ("b".to_string(), step);
        assert!(
            first.contains_key(&place) && first.get(&place) == second.get(&place),
            "{place:?}\n{journal}"
        );
    }
}

#[test]
fn freezing_what_is_frozen_changes_nothing_also_after_a_statement_that_failed() {
    let folder = Folder::new();
    let ran = folder.ltune_with(
        &["--json", "--keep-going", "-"],
        &format!(
            "{RUN}step a 1\nfreeze a layers 0\nundo a 9 steps\nfreeze a layers 0\njournal to \"j.ltune\""
        ),
    );
    let events = ran.events();
    let codes: Vec<&str> =
        of_type(&events, "diagnostic").iter().filter_map(|found| found["code"].as_str()).collect();
    assert_eq!(codes, ["L0419", "L0146"], "{}", ran.stdout);
    let journal = std::fs::read_to_string(folder.path().join("j.ltune")).expect("it is written");
    assert_eq!(journal.matches("freeze a layers 0").count(), 1, "{journal}");
}

#[test]
fn equal_places_have_equal_bytes() {
    // Adapters saved at the same place, reached in different ways, are the same file.
    let adapter = |statements: &str| {
        let folder = Folder::new();
        folder.events(&format!("{RUN}{statements}\nsave a to \"out\""));
        std::fs::read(folder.path().join("out/adapter_model.safetensors")).expect("it is written")
    };
    let wanted = adapter("step a 3");
    for way in [
        "step a 5\nundo a 2 steps",
        "step a 5\ngoto a 3",
        "step a 3\nset a { lr = 1e-3 }\nstep a 2\nundo a\nundo a",
        "step a 2\nfork a as b\nstep b 2\nstep a 1\ndrop b",
        "step a 6\ngoto a 1\ngoto a 6\ngoto a 3",
        "step a 3\nundo a\nredo a",
    ] {
        assert!(adapter(way) == wanted, "{way}");
    }
}

#[test]
fn numbers_of_a_branch_are_plotted_and_written_as_they_live() {
    let folder = Folder::new();
    let events = folder
        .events(&format!("{RUN}step a 4\nundo a 2 steps\nset a {{ lr = 1e-3 }}\nstep a 1\nplot loss of a"));
    let figure = of_type(&events, "figure")[0];
    let points = figure["figure"]["panels"][0]["series"][0]["points"].as_array().expect("points");
    assert_eq!(points.len(), 3);
    let moves = of_type(&events, "move");
    assert_eq!((moves[0]["from"].as_u64(), moves[0]["to"].as_u64()), (Some(4), Some(2)));
    let rows = std::fs::read_to_string(folder.path().join("runs/a/metrics.jsonl")).expect("it is written");
    assert_eq!(
        rows.lines().filter(|line| line.contains("\"type\":\"step\"")).count(),
        5,
        "nothing is rewritten"
    );
    let _ = numbers(&of_type(&events, "step"), "loss");
}
