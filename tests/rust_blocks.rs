//! `rust { … }`: schedules, metrics and row transforms that a script defines in Rust. What compiles them is an optional
//! feature; these tests are there when it is on, and one when it is off.

use crate::program::{Folder, Ran};

const SCRIPT: &str = r#"model base { init = random { preset = tiny }; tokenizer = bytes }
rust {
  /// Half as much every two steps; the } in this comment and in '}' closes nothing.
  fn halving(at: Moment) -> f64 {
    0.5_f64.powi(((at.step - 1) / 2) as i32)
  }

  fn brief(answer: &Answer) -> f64 {
    1.0 / (1.0 + answer.written.len() as f64)
  }

  fn clean(mut row: Row) -> Option<Row> {
    let question = shout(row.get("q"));
    row.set("prompt", question);
    row.rename("a", "completion");
    row.remove("q");
    (row.get("completion") != "drop me").then_some(row)
  }

  fn shout(text: &str) -> String {
    text.to_uppercase()
  }
}
data rows { from = "rows.jsonl"; split = none; transform = clean }
tune a { model = base; data = rows; batch = 2 x 1; lr = 1e-2; steps = 8; schedule = halving }
"#;

fn rows(count: usize) -> String {
    (0..count)
        .map(|row| {
            let answer = if row == 2 { "drop me".to_string() } else { format!("yes {row}") };
            format!("{{\"q\": \"really {row}?\", \"a\": \"{answer}\", \"id\": {row}}}\n")
        })
        .collect()
}

#[cfg(not(feature = "rust-cells"))]
#[test]
fn without_the_feature_a_block_is_read_and_says_how_to_get_it() {
    let folder = Folder::new();
    folder.write("rows.jsonl", rows(4));
    folder.write("s.ltune", SCRIPT);
    let checked = folder.ltune(&["check", "s.ltune"]);
    assert_eq!(checked.code, 3, "{}", checked.stdout);
    assert_eq!(checked.stderr.matches("error[").count(), 1, "{}", checked.stderr);
    assert!(
        checked.stderr.contains("error[L0605]: this ltune was built without `rust-cells`"),
        "{}",
        checked.stderr
    );
    assert!(checked.stderr.contains("cargo build --release --features rust-cells"), "{}", checked.stderr);
    let formatted = folder.ltune(&["fmt", "--check", "s.ltune"]);
    assert_eq!(formatted.code, 0, "{}{}", formatted.stdout, formatted.stderr);
}

#[test]
fn what_is_wrong_with_the_form_is_told_before_anything_runs() {
    let found = |script: &str| {
        let folder = Folder::new();
        let Ran { code, stdout, stderr } = folder.ltune_with(&["-"], script);
        assert_ne!(code, 0, "{stdout}");
        stderr
    };
    let near = found("rust { fn warm(at: &Moment) -> f64 { 1.0 } }");
    assert!(near.contains("L0606") && near.contains("write `fn warm(at: Moment) -> f64`"), "{near}");
    let none = found("rust { fn warm(step: f64, steps: f64) -> f64 { 1.0 } }");
    assert!(
        none.contains("L0606") && none.contains("a row transform is `fn NAME(row: Row) -> Option<Row>`"),
        "{none}"
    );
    let taken = found("let warm = 3\nrust { fn warm(at: Moment) -> f64 { 1.0 } }");
    assert!(taken.contains("`warm` is a `let` name already"), "{taken}");
    let random = "rust { fn clean(row: Row) -> Option<Row> { Some(row) } }\n\
                  data r { from = random; rows = 8; length = 8 tokens; transform = clean }";
    assert!(found(random).contains("`transform` has no effect on random rows"), "{}", found(random));
    let unknown = found("data r { from = \"r.jsonl\"; transform = clean }");
    assert!(unknown.contains("`clean` is not the name of a row transform"), "{unknown}");
    assert!(unknown.contains("rust { fn NAME(row: Row) -> Option<Row> { … } }"), "{unknown}");
}

#[cfg(feature = "rust-cells")]
mod compiled {
    use super::{SCRIPT, rows};
    use crate::program::{Folder, Ran, numbers, of_type};
    use std::io::Write;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    fn folder() -> Folder {
        let folder = Folder::new();
        folder.write("rows.jsonl", rows(10));
        folder
    }

    fn run(script: &str) -> Ran {
        folder().ltune_with(&["-"], script)
    }

    #[test]
    #[ignore = "compiles Rust: seconds"]
    fn rust_blocks_make_the_schedule_the_metric_and_the_rows() {
        let folder = folder();
        let events = folder.events(&format!(
            "{SCRIPT}step a 5\neval a on rows {{ metrics = [loss, brief] }}\njournal to \"j.ltune\""
        ));
        let steps = of_type(&events, "step");
        assert_eq!(numbers(&steps, "lr"), [1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3]);
        let eval = of_type(&events, "eval");
        let brief = eval[0]["brief"].as_f64().unwrap();
        assert!(brief > 0.0 && brief <= 1.0, "{brief}");
        let notes = of_type(&events, "note").iter().map(|note| note["text"].to_string()).collect::<String>();
        assert!(
            notes.contains(
                "halving is a schedule of its own, brief is a metric of its own, clean is a row transform"
            ),
            "{notes}"
        );
        assert!(notes.contains("9 examples") && notes.contains("1 left out by the transform"), "{notes}");
        // The journal and the run's own script hold the block; they give the same numbers.
        let losses = numbers(&steps, "loss");
        let journal = folder.ltune(&["--json", "j.ltune"]);
        assert_eq!(numbers(&of_type(&journal.events(), "step"), "loss"), losses, "{}", journal.stderr);
        let experiment = std::fs::read_to_string(folder.path().join("runs/a/experiment.ltune")).unwrap();
        let again = folder.events(&format!("{experiment}step a 5"));
        assert_eq!(numbers(&of_type(&again, "step"), "loss"), losses);
    }

    #[test]
    #[ignore = "compiles Rust: seconds"]
    fn rust_blocks_are_found_again_on_resume_and_in_a_plan() {
        let folder = folder();
        let script = SCRIPT.replace("steps = 8", "steps = 8; save_every = 2 steps");
        folder.write("whole.ltune", format!("{script}run a"));
        let whole = folder.ltune(&["--json", "whole.ltune"]);
        let losses = numbers(&of_type(&whole.events(), "step"), "loss");
        assert_eq!(losses.len(), 8, "{}", whole.stderr);
        let plan = folder.ltune_with(&["-"], &format!("{script}plan a to \"p.json\""));
        assert_eq!(plan.code, 0, "{}", plan.stderr);
        let planned = folder.events("run \"p.json\"");
        assert_eq!(numbers(&of_type(&planned, "step"), "loss"), losses);
        let other =
            folder.ltune_with(&["-"], &format!("{}run \"p.json\"", script.replace("0.5_f64", "0.9_f64")));
        assert!(other.stderr.contains("its `rust` block is another one in the plan"), "{}", other.stderr);
        folder.ltune_with(&["-"], &format!("{script}step a 4"));
        let resumed = folder.ltune(&["--json", "--resume", "whole.ltune"]);
        assert_eq!(numbers(&of_type(&resumed.events(), "step"), "loss"), losses[4..], "{}", resumed.stderr);
    }

    #[test]
    #[ignore = "compiles Rust: seconds"]
    fn rust_blocks_that_do_not_compile_are_mended_where_they_stand() {
        let ran = run(
            "let n = 1\nrust {\n  fn warm(at: Moment) -> f64 {\n    /* é */ at.stepp as f64\n  }\n  fn other(at: Moment) -> f64 { \"no\" }\n}\n",
        );
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        assert!(ran.stderr.contains("error[L0604]: no field `stepp` on type"), "{}", ran.stderr);
        assert!(ran.stderr.contains("<stdin>:4:16") || ran.stderr.contains(":4:16"), "{}", ran.stderr);
        assert!(ran.stderr.contains("error[L0604]: mismatched types (E0308)"), "{}", ran.stderr);
        assert!(ran.stderr.contains(":6:33"), "{}", ran.stderr);
    }

    #[test]
    #[ignore = "compiles Rust: seconds"]
    fn rust_blocks_that_fail_are_told_and_the_session_lives_on() {
        let script = "rust {\n  fn breaks(at: Moment) -> f64 {\n    if at.step == 3 {\n      panic!(\"no third step\");\n    }\n    1.0\n  }\n\
                      fn nan(at: Moment) -> f64 { if at.step > 1 { f64::NAN } else { 1.0 } }\n\
                      fn dies(at: Moment) -> f64 { if at.step > 1 { std::process::abort() } else { 1.0 } }\n}\n\
                      model base { init = random { preset = tiny } }\n\
                      data rows { from = random; rows = 40; length = 16 tokens; split = none }\n\
                      tune a { model = base; data = rows; batch = 4 x 1; schedule = breaks }\n\
                      fork_not\n";
        let script = script.replace("fork_not\n", "step a 5\nset a { schedule = nan }\nstep a 5\nset a { schedule = dies }\nstep a 1\nset a { schedule = constant }\nstep a 1\nset a { schedule = dies }\nprint \"alive\"\n");
        let folder = folder();
        folder.write("s.ltune", script);
        let ran = folder.ltune(&["--keep-going", "s.ltune"]);
        let Ran { stdout, stderr, .. } = &ran;
        assert!(
            stderr.contains(
                "error[L0601]: run `a`: the schedule `breaks` failed at step 3: it panicked: no third step"
            ),
            "{stderr}"
        );
        assert!(stderr.contains("s.ltune:4:7"), "{stderr}");
        assert!(stderr.contains("the schedule `nan` gave NaN for step 3"), "{stderr}");
        assert!(
            stderr.contains("the schedule `dies` failed at step 3: its process died (signal: 6 (SIGABRT)"),
            "{stderr}"
        );
        assert!(stdout.contains("step  3/") && stdout.contains("alive"), "{stdout}");
    }

    #[test]
    #[ignore = "compiles Rust: seconds"]
    fn rust_blocks_that_spin_end_at_ctrl_c_and_leave_no_process() {
        let folder = folder();
        let script = "rust { fn spins(at: Moment) -> f64 { while at.step == 2 {} 1.0 } }\n\
                      model base { init = random { preset = tiny } }\n\
                      data rows { from = random; rows = 40; length = 16 tokens; split = none }\n\
                      tune a { model = base; data = rows; batch = 4 x 1; schedule = spins; save_every = 1 steps }\nstep a 3\n";
        folder.write("s.ltune", script);
        let child = folder.command(&["s.ltune"]).stdin(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        let saved = folder.path().join("runs/a/checkpoints/step-1");
        let started = Instant::now();
        while !saved.exists() && started.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(100));
        }
        std::thread::sleep(Duration::from_millis(500));
        let interrupt =
            || std::process::Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap();
        interrupt();
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert!(
            ran.stderr.contains("the schedule `spins` failed at step 2: it was interrupted"),
            "{}",
            ran.stderr
        );
        let left = std::process::Command::new("ps").args(["--ppid", &pid.to_string()]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout).lines().count(), 1, "no child is left");
    }

    #[test]
    #[ignore = "compiles Rust: seconds"]
    fn rust_blocks_take_fifty_thousand_rows_in_seconds() {
        let folder = Folder::new();
        let mut file = std::fs::File::create(folder.path().join("rows.jsonl")).unwrap();
        file.write_all(rows(50_000).as_bytes()).unwrap();
        let plain = "model base { init = random { preset = tiny }; tokenizer = bytes }\n\
                     data rows { from = \"rows.jsonl\"; split = none; columns = { prompt = \"q\"; completion = \"a\" } }\nshow rows rows 0";
        let timed = |script: &str| {
            let started = Instant::now();
            let ran = folder.ltune_with(&["-"], script);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            (started.elapsed(), ran)
        };
        let (without, _) = timed(plain);
        let (with, ran) = timed(&format!("{SCRIPT}show rows rows 0"));
        println!("50 000 rows: {without:?} as they are, {with:?} through a transform, compiling included");
        assert!(ran.stdout.contains("49 999 examples"), "{}", ran.stdout);
        assert!(with < without + Duration::from_secs(60), "{with:?} and {without:?}");
    }

    #[test]
    #[ignore = "compiles Rust: seconds"]
    fn rust_blocks_print_into_the_session_and_are_not_compiled_twice() {
        let block = "rust { fn tells(at: Moment) -> f64 { println!(\"asked for {}\", at.step); 1.0 } }\n";
        let script = format!(
            "{block}{block}model base {{ init = random {{ preset = tiny }} }}\n\
             data rows {{ from = random; rows = 40; length = 16 tokens; split = none }}\n\
             tune a {{ model = base; data = rows; batch = 4 x 1; schedule = tells }}\nstep a 2\n"
        );
        let ran = run(&script);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("asked for 1") && ran.stdout.contains("asked for 2"), "{}", ran.stdout);
        assert_eq!(
            ran.stdout.matches("rust: tells is").count() + ran.stderr.matches("rust: tells is").count(),
            1
        );
    }
}
