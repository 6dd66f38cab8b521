//! The command line: exit codes, options and what it says.

use crate::program::Folder;

const TINY: &str = "model m { init = random }\ndata r { from = random; rows = 64; length = 16 tokens; split = none }\n\
                    tune a { model = m; data = r; batch = 4 x 1 }\n";

#[test]
fn exit_codes_tell_done_failed_usage_and_rejected_apart() {
    let folder = Folder::new();
    assert_eq!(folder.ltune(&["-c", "print 1"]).code, 0);
    assert_eq!(folder.ltune(&["--no-such-option"]).code, 2);
    assert_eq!(folder.ltune(&["missing.ltune"]).code, 2);
    assert_eq!(folder.ltune(&["-c", "stepp a"]).code, 3);
    let failing = format!("{TINY}plot perplexity of a");
    assert_eq!(folder.ltune_with(&["-"], &failing).code, 1);
}

#[test]
fn nothing_runs_when_a_later_line_is_wrong() {
    let folder = Folder::new();
    let ran = folder.ltune_with(&[], &format!("{TINY}print \"first\"\nstep a 2\nstep a twenty\n"));
    assert_eq!(ran.code, 3);
    assert!(!ran.stdout.contains("first"), "{}", ran.stdout);
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn code_files_and_standard_input_run_in_one_session() {
    let folder = Folder::new();
    folder.write("define.ltune", "let width = 21\n");
    let ran = folder.ltune(&["define.ltune", "-c", "let n = width * 2", "-c", "print n"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "42\n"));
    let piped = folder.ltune_with(&["define.ltune", "-"], "print width");
    assert_eq!((piped.code, piped.stdout.as_str()), (0, "21\n"));
}

#[test]
fn set_changes_a_definition_and_is_refused_where_it_changes_nothing() {
    let folder = Folder::new();
    let ran = folder.ltune_with(&["--set", "a.lr=3e-3", "-"], &format!("{TINY}show a"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let line = ran.stdout.lines().find(|line| line.trim_start().starts_with("lr")).expect("show lists lr");
    assert!(line.contains("3e-3") || line.contains("0.003"), "{line}");
    assert!(line.contains("--set"), "{line}");
    for place in ["a.rank", "a.method.rank", "a.lora_r"] {
        let ran = folder.ltune_with(&["--set", &format!("{place}=3"), "-"], &format!("{TINY}show a"));
        let line =
            ran.stdout.lines().find(|line| line.trim_start().starts_with("rank ")).expect("show lists rank");
        assert!(line.contains(" 3 ") && line.contains("--set"), "{line}");
    }
    let ran = folder.ltune_with(&["--set", "b.lr=3e-3", "-"], TINY);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("changes nothing"), "{}", ran.stderr);
    assert_eq!(folder.ltune_with(&["--set", "a.lr=fast", "-"], TINY).code, 3);
    assert_eq!(folder.ltune_with(&["--set", "nonsense", "-"], TINY).code, 2);
}

#[test]
fn keep_going_passes_over_a_failed_statement_and_still_fails() {
    let folder = Folder::new();
    let script = format!("{TINY}plot perplexity of a\nprint \"after\"");
    let ran = folder.ltune_with(&["-"], &script);
    assert!(!ran.stdout.contains("after"));
    let ran = folder.ltune_with(&["--keep-going", "-"], &script);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("after"), "{}", ran.stdout);
}

#[test]
fn quiet_leaves_results_and_diagnostics_only() {
    let folder = Folder::new();
    let ran = folder.ltune_with(&["--quiet", "-"], &format!("{TINY}step a 2\nprint \"result\"\neval a on r"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("result\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("step 1"), "{}", ran.stdout);
}

#[test]
fn fmt_formats_in_place_and_fmt_check_only_says_so() {
    let folder = Folder::new();
    let path = folder.write("a.ltune", "let   n=3 # three\n");
    assert_eq!(folder.ltune(&["fmt", "--check", "a.ltune"]).code, 1);
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "let   n=3 # three\n");
    assert_eq!(folder.ltune(&["fmt", "a.ltune"]).code, 0);
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "let n = 3  # three\n");
    assert_eq!(folder.ltune(&["fmt", "--check", "a.ltune"]).code, 0);
    folder.write("broken.ltune", "let = 3\n");
    assert_eq!(folder.ltune(&["fmt", "broken.ltune"]).code, 3);
}

#[test]
fn check_says_every_mistake_at_once_and_runs_nothing() {
    let folder = Folder::new();
    folder.write("two.ltune", "model m { init = randm }\nstep\nprint 1\n");
    let ran = folder.ltune(&["check", "two.ltune"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("two.ltune:1") && ran.stderr.contains("two.ltune:2"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn explain_doctor_samples_and_help_answer() {
    let folder = Folder::new();
    let explained = folder.ltune(&["explain", "L0102"]);
    assert!(explained.code == 0 && explained.stdout.contains("L0102"), "{}", explained.stdout);
    assert_eq!(folder.ltune(&["explain", "L9999"]).code, 2);
    let helped = folder.ltune(&["help", "tune.lr"]);
    assert!(helped.code == 0 && helped.stdout.contains("learning rate"), "{}", helped.stdout);
    assert!(folder.ltune(&["help"]).stdout.starts_with("statements\n"));
    let slip = folder.ltune(&["help", "stpe"]);
    assert!(slip.code == 3 && slip.stderr.contains("write `step`"), "{}", slip.stderr);
    let doctor = folder.ltune(&["doctor"]);
    assert!(
        doctor.code == 0 && doctor.stdout.contains("libtorch") && doctor.stdout.contains("2.11.0"),
        "{}",
        doctor.stdout
    );
    let samples = folder.ltune(&["samples"]);
    assert!(samples.code == 0 && samples.stdout.contains("smollm2-135m"), "{}", samples.stdout);
    let help = folder.ltune(&["-c", "help step"]);
    assert!(help.code == 0 && help.stdout.contains("step [run] [count]"), "{}", help.stdout);
    for subcommand in ["check", "fmt", "samples", "doctor", "explain"] {
        assert_eq!(folder.ltune(&[subcommand, "--help"]).code, 0);
    }
}

#[test]
fn an_interrupt_ends_at_a_whole_step_and_keeps_everything() {
    let folder = Folder::new();
    let script = format!(
        "{}step a 100000\nprint \"after\"",
        TINY.replace("tune a {", "tune a { save_every = 100000 steps;")
    );
    folder.write("long.ltune", &script);
    let mut child = folder.command(&["--json", "long.ltune"]).spawn().expect("ltune starts");
    let metrics = folder.path().join("runs/a/metrics.jsonl");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 3 {
        assert!(std::time::Instant::now() < deadline, "no steps were taken");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    interrupt(&child);
    let code = child.wait().expect("it ends").code();
    assert_eq!(code, Some(130));
    assert!(folder.path().join("runs/a/checkpoints").is_dir(), "the interrupted run was saved");
}

fn interrupt(child: &std::process::Child) {
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()));
}
