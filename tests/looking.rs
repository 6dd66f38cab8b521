//! Looking at a run harms nothing: `compare`, `find lr` and `why` leave its numbers as they are, and say what is so.

use crate::program::{Folder, numbers, of_type};
use serde_json::Value;
use std::io::{BufRead, BufReader};

/// Two tiny runs with dropout on, over rows that can be answered.
const RUNS: &str = r#"
model m { init = random { preset = tiny } }
data d { from = "d.jsonl"; split = 80% / 20% }
tune a { model = m; data = d; batch = 3 x 2; epochs = 4; lr = 1e-2; method = lora { rank = 4; dropout = 0.1 } }
tune b { model = m; data = d; batch = 4 x 1; epochs = 2; lr = 3e-3; method = full }
"#;

fn folder() -> Folder {
    let rows = (0..50).map(|row| {
        let (prompt, completion) = (format!("{row} <i>&"), ["red", "blue", "green"][row % 3]);
        format!("{}\n", serde_json::json!({ "prompt": prompt, "completion": completion }))
    });
    let folder = Folder::new();
    folder.write("d.jsonl", rows.collect::<String>());
    folder
}

fn events(statements: &str) -> Vec<Value> {
    folder().events(&format!("{RUNS}{statements}"))
}

fn losses(statements: &str) -> Vec<f64> {
    numbers(&of_type(&events(statements), "step"), "loss")
}

/// The value of the last `value` event.
fn value(events: &[Value]) -> Value {
    of_type(events, "value").last().expect("there is a value")["value"].clone()
}

#[test]
fn comparing_looking_for_a_rate_and_asking_why_change_nothing() {
    let undisturbed = losses("step a 9; step b 3");
    let disturbed = losses(
        "find lr for a { steps = 12 }\nstep a 3\ncompare m, a, b on d.validation\nstep a 3\nfind lr for a { steps = 12 }\n\
         why a\nwhy a step 2\nstep a 3\nstep b 1\nwhy b\ncompare a, b to \"r.html\"\nstep b 2",
    );
    assert_eq!(disturbed, undisturbed);
}

#[test]
fn a_comparison_has_the_numbers_of_eval() {
    let metrics = "{ metrics = [loss, perplexity, token_accuracy, exact_match] }";
    let events = events(&format!(
        "step a 6\neval m on d.validation {metrics}\neval a on d.validation {metrics}\ncompare m, a on d.validation"
    ));
    let evaluations = of_type(&events, "eval");
    let comparison = value(&events);
    for (evaluation, subject) in evaluations.iter().zip(comparison["subjects"].as_array().expect("subjects"))
    {
        assert_eq!(subject["name"], evaluation["model"]);
        for metric in ["loss", "perplexity", "token_accuracy", "exact_match"] {
            assert_eq!(subject["metrics"][metric], evaluation[metric], "{metric}");
        }
    }
}

#[test]
fn changed_examples_are_those_that_account_for_the_difference() {
    let learned = value(&events("run b\ncompare m, b on d.train { metrics = [exact_match]; examples = 2 }"));
    let changed = &learned["changed"][0];
    let (gained, lost) =
        (changed["gained"].as_f64().expect("a count"), changed["lost"].as_f64().expect("a count"));
    let share =
        |index: usize| learned["subjects"][index]["metrics"]["exact_match"].as_f64().expect("a share");
    let rows = changed["rows"].as_f64().expect("a count");
    assert!((rows * (share(1) - share(0)) - (gained - lost)).abs() < 1e-9, "{learned}");
    assert!(gained > 0.0, "the run learned something: {learned}");
    let examples = changed["examples"].as_array().expect("examples");
    assert_eq!(examples.len() as f64, gained + lost);
    for example in examples.iter().filter(|example| example["side"] == "gained") {
        assert_eq!(example["after"].as_str().map(str::trim), example["wanted"].as_str().map(str::trim));
    }
}

#[test]
fn a_report_is_one_page_with_every_text_escaped() {
    let folder = folder();
    folder.events(&format!("{RUNS}step a 4\nstep b 4\ncompare m, a, b on d.train to \"out/report.html\""));
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).expect("it is written");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for foreign in ["<script", "<link", "<img", "src=", "<i>&", "@import"] {
        assert!(!page.contains(foreign), "the page holds `{foreign}`");
    }
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http"), "nothing comes from elsewhere");
    for wanted in ["<svg", "Settings that differ", "method", "Conditions", "2.11.0", "data d {"] {
        assert!(page.contains(wanted), "the page lacks `{wanted}`");
    }
}

#[test]
fn the_same_comparison_writes_the_same_page() {
    let folder = folder();
    folder.events(&format!("{RUNS}step a 2\ncompare m, a to \"one.html\"\ncompare m, a to \"two.html\""));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("it is written");
    assert_eq!(read("one.html"), read("two.html"));
}

#[test]
fn what_why_says_is_what_the_step_was() {
    let events = events("step a 6\nwhy a step 4");
    let step = &of_type(&events, "step")[3];
    let why = value(&events);
    for number in ["step", "loss", "lr", "grad_norm"] {
        assert_eq!(why[number], step[number], "{number}");
    }
    let rows = why["rows"].as_array().expect("rows");
    let weighted =
        |row: &Value| row["loss"].as_f64().expect("a loss") * row["supervised"].as_f64().expect("a count");
    let mean = rows.iter().map(weighted).sum::<f64>() / step["tokens"].as_f64().expect("a count");
    assert!((mean - step["loss"].as_f64().expect("a loss")).abs() < 1e-9);
}

#[test]
fn a_range_test_ends_where_it_is_told_and_writes_its_picture() {
    let folder = folder();
    let events = folder.events(&format!(
        "{RUNS}find lr for b to \"lr.svg\" {{ lowest = 1e-5; highest = 1e-3; steps = 11 }}"
    ));
    let found = value(&events);
    let trials = found["trials"].as_array().expect("trials");
    assert_eq!(trials.len(), 11);
    let lr = |index: usize| trials[index]["lr"].as_f64().expect("a number");
    assert!((lr(0) - 1e-5).abs() < 1e-18 && (lr(10) - 1e-3).abs() < 1e-15);
    assert_eq!(trials[0]["loss"], trials[0]["untouched"]);
    assert_eq!(of_type(&events, "figure")[0]["path"], "lr.svg");
    assert!(folder.path().join("lr.svg").is_file());
}

#[test]
fn answers_that_would_cost_much_are_not_written_unasked() {
    let folder = Folder::new();
    let row = |row: usize| serde_json::json!({ "prompt": row, "completion": "so it goes ".repeat(10) });
    folder.write("d.jsonl", (0..30).map(|index| format!("{}\n", row(index))).collect::<String>());
    let events = folder.events(
        "model m { init = random }\nmodel n { init = random { seed = 2 } }\n\
         data d { from = \"d.jsonl\"; split = none }\ncompare m, n on d",
    );
    let notes = of_type(&events, "note");
    let said = notes
        .iter()
        .filter_map(|note| note["text"].as_str())
        .any(|text| text.starts_with("exact_match is not measured: each would write up to 3 570 tokens"));
    assert!(said, "{notes:?}");
    assert_eq!(value(&events)["changed"], serde_json::json!([]));
}

#[test]
fn an_interrupted_range_test_leaves_the_run_as_it_was() {
    let folder = folder();
    folder.write("long.ltune", format!("{RUNS}find lr for a {{ steps = 10000; highest = 1e-6 }}\nstep a 1"));
    let mut child = folder.command(&["--json", "long.ltune"]).spawn().expect("ltune starts");
    let mut lines = BufReader::new(child.stdout.take().expect("standard output is piped")).lines();
    let mut next = || lines.next().map(|line| line.expect("a line"));
    while let Some(line) = next() {
        if line.contains("\"find lr for a\"") {
            break;
        }
    }
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()));
    let rest: Vec<String> = std::iter::from_fn(next).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(rest.iter().any(|line| line.contains("10 000 steps; the run is as it was")), "{rest:?}");
    assert!(!rest.iter().any(|line| line.contains("\"type\":\"step\"")), "the next statement did not run");
}
