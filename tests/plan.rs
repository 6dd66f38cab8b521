//! A plan that can be believed: what it says is what happens, and a plan in a file runs exactly or not at all.

use crate::program::{Folder, Ran, numbers, of_type};
use serde_json::Value;

/// A small run on rows of different lengths.
const DEFINITIONS: &str = r#"
model m { init = random }
data r { from = "rows.jsonl"; split = none }
tune a { model = m; data = r; batch = 2 x 1; lr = 1e-3; method = lora { rank = 4; dropout = 0.1 } }
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("rows.jsonl", rows(8));
    folder
}

fn rows(count: usize) -> String {
    let row = |index: usize| {
        format!("{{\"prompt\": \"row {index}\", \"completion\": \"{}\"}}\n", "word ".repeat(index + 1))
    };
    (0..count).map(row).collect()
}

fn planned(folder: &Folder) -> Value {
    folder.events(&format!("{DEFINITIONS}plan a to \"p.json\" {{ probe = off }}"));
    let text = std::fs::read_to_string(folder.path().join("p.json")).expect("the plan is written");
    serde_json::from_str(&text).expect("a plan is JSON")
}

fn losses(events: &[Value]) -> Vec<f64> {
    numbers(&of_type(events, "step"), "loss")
}

fn run(folder: &Folder, script: &str) -> Ran {
    folder.ltune_with(&["-"], script)
}

#[test]
fn a_plan_in_a_file_runs_to_the_numbers_of_the_script_it_came_from() {
    let folder = folder();
    let plan = planned(&folder);
    assert_eq!((plan["run"].as_str(), plan["plan"]["steps"].as_u64()), (Some("a"), Some(4)));
    let straight = losses(&folder.events(&format!("{DEFINITIONS}run a")));
    assert_eq!(losses(&folder.events("run \"p.json\"")), straight);
    assert_eq!(straight.len() as u64, plan["steps"].as_u64().expect("a number"));
    // Where the definitions are there already, they are used.
    assert_eq!(losses(&folder.events(&format!("{DEFINITIONS}run \"p.json\""))), straight);
    // What the plan defines can be worked on like anything else.
    let after = folder.events("run \"p.json\"\nstep a 1\nshow a");
    assert_eq!(losses(&after).len(), straight.len() + 1);
}

#[test]
fn a_plan_is_checked_before_anything_runs() {
    let folder = folder();
    planned(&folder);
    folder.write("good.ltune", "run \"p.json\"\nstep a 2");
    folder.write("bad.ltune", "run \"p.json\"\nstep b 2");
    assert_eq!(folder.ltune(&["check", "good.ltune"]).code, 0);
    let ran = folder.ltune(&["check", "bad.ltune"]);
    assert!(ran.stderr.contains("`b`"), "{}", ran.stderr);
    std::fs::remove_file(folder.path().join("rows.jsonl")).expect("it was there");
    let ran = run(&folder, "print 1\nrun \"p.json\"");
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("rows.jsonl"), "{}", ran.stderr);
}

#[test]
fn a_plan_refuses_other_data_other_settings_and_other_definitions() {
    let folder = folder();
    planned(&folder);
    let refused = |ran: Ran, what: &str| {
        assert_ne!(ran.code, 0, "{}", ran.stdout);
        assert!(ran.stderr.contains("L0442") && ran.stderr.contains(what), "{what}: {}", ran.stderr);
        assert!(!ran.stdout.contains("loss"), "{}", ran.stdout);
        assert!(ran.stderr.contains("or plan anew: `plan a to \"p.json\"`"), "{}", ran.stderr);
    };
    let other =
        DEFINITIONS.replace("rank = 4", "rank = 8").replace("init = random", "init = random { seed = 7 }");
    let ran = run(&folder, &format!("{other}run \"p.json\""));
    refused(ran, "`m.init.seed`: 42 in the plan, 7 here");
    refused(run(&folder, &format!("{other}run \"p.json\"")), "`a.method.rank`: 4 in the plan, 8 here");
    let set = folder.ltune(&["--set", "a.lr=5e-4", "-c", "run \"p.json\""]);
    refused(set, "`lr`: 0.001 in the plan, 0.0005 now");
    folder.write("rows.jsonl", rows(9));
    refused(run(&folder, "run \"p.json\""), "the data: ");
}

#[test]
fn a_plan_says_what_the_run_says() {
    let folder = folder();
    let ran = run(&folder, &format!("{DEFINITIONS}plan a {{ probe = off }}\nstep a"));
    let line = |start: &str| -> String {
        let found = ran.stdout.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no `{start}` in {}", ran.stdout)).to_string()
    };
    let trains = line("trains").trim_start_matches("trains").trim().to_string();
    assert!(line("run a:").contains(&format!("trains {trains}, 4 steps an epoch")), "{trains}");
}

#[test]
fn a_probe_is_made_once_for_a_shape_of_model_and_batch() {
    let folder = folder();
    let probes = || std::fs::read_dir(folder.path().join("cache/probes")).map_or(0, |files| files.count());
    let time = |script: &str| {
        let ran = run(&folder, &format!("{DEFINITIONS}{script}"));
        ran.stdout.lines().find(|line| line.starts_with("time:")).expect("a plan says its time").to_string()
    };
    assert_eq!(time("plan a { probe = off }"), "time: not probed");
    assert_eq!(probes(), 0);
    assert!(time("plan a").ends_with("this machine was probed now"));
    time("plan a");
    time(
        "tune b { model = m; data = r; batch = 2 x 1; lr = 1e-4; epochs = 9; method = lora { rank = 4; dropout = 0.1 } }\nplan b",
    );
    assert_eq!(probes(), 1);
    time("tune b { model = m; data = r; batch = 4 x 1; method = lora { rank = 4 } }\nplan b");
    assert_eq!(probes(), 2);
}

/// A model whose weights are small beside what a batch of it takes.
const LARGE_BATCH: &str = r#"
model m { init = random { width = 256; ffn = 1024; heads = 4; kv_heads = 4; head_dim = 64; layers = 4 } }
data r { from = random; rows = 512; length = 256 tokens; split = none }
tune a { model = m; data = r; batch = 256 x 1 }
"#;

fn with_little_memory(limit: &str, script: &str) -> Ran {
    let folder = Folder::new();
    folder.write("script.ltune", script);
    folder.command(&["script.ltune"]).env("LTUNE_MEMORY", limit).output().expect("ltune runs").into()
}

#[test]
fn the_smallest_edits_that_fit_are_named_and_are_enough() {
    let plan = format!("{LARGE_BATCH}plan a {{ probe = off }}");
    let ran = with_little_memory("1500MB", &plan);
    assert!(ran.code == 0 && ran.stderr.contains("warning[L0440]: run `a` takes"), "{}", ran.stderr);
    let edit = ran
        .stderr
        .lines()
        .find_map(|line| Some(line.split_once("`batch = ")?.1.split_once('`')?.0.to_string()));
    let edit = edit.unwrap_or_else(|| panic!("{}", ran.stderr));
    let mended = with_little_memory("1500MB", &plan.replace("256 x 1", &edit));
    assert!(!mended.stderr.contains("L0440"), "batch = {edit}: {}", mended.stderr);
}

#[test]
fn what_surely_does_not_fit_is_refused_before_the_weights_are_made() {
    let ran = with_little_memory("1GB", &format!("{LARGE_BATCH}step a"));
    assert!(ran.code != 0 && ran.stderr.contains("error[L0440]"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("model m:"), "{}", ran.stdout);
}
