//! A run goes by the memory that there is, says what it decided, and keeps to it.

use crate::program::{Folder, Ran, numbers, of_type};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Takes about 430 MB in the plain way and 270 MB with activations computed twice, the program included.
const RUN: &str = r#"
model m { init = random { preset = tiny; layers = 8 } }
data r { from = random; rows = 128; length = 128 tokens; split = none }
tune a { model = m; data = r; batch = 64 x 1; epochs = 3; save_every = 2 steps; lr = 1e-2; method = full; cuda_graph = on }
"#;
const LITTLE: &str = "350MiB";

fn ran(folder: &Folder, arguments: &[&str], memory: Option<&str>, input: &str) -> Ran {
    let mut command = folder.command(arguments);
    command.envs(memory.map(|memory| ("LTUNE_MEMORY", memory))).stdin(Stdio::piped());
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
    assert!(line(&little, "checkpointing").contains("by free memory"), "{}", little.stdout);
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
    // Both settings in one script are no mistake: it must replay.
    let checked = ran(&folder, &["check", "runs/a/experiment.ltune"], None, "");
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
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
    assert!(lines[0].contains("off") && lines[0].contains("by free memory"), "{lines:?}");
    assert!(lines[1].contains("on") && lines[1].contains("set at step 1"), "{lines:?}");
    assert!(ran.stdout.contains("a: checkpointing off → on, from step 2 on"), "{}", ran.stdout);
}

const QUANTIZED: &str = r#"
model m { from = "tiny"; load_in_4bit = True }
data r { from = random; rows = 40; length = 24 tokens; split = 80% / 20% }
tune a { model = m; data = r; batch = 2 x 2; steps = 8; lr = 1e-2; method = lora { rank = 4; dropout = 0.1 } }
"#;

#[test]
fn adapters_are_trained_over_weights_of_4_bits_and_saved() {
    let folder = Folder::new();
    folder.fixture("tiny");
    let script = format!(
        "{QUANTIZED}show m\nplan a {{ probe = off }}\nstep a 4\neval a\nundo a 2 steps\nstep a 2\n\
         save a to \"adapter\"\nsave a to \"merged\" {{ as = merged }}\nshow m\nshow"
    );
    let done = ran(&folder, &["-"], None, &script);
    assert_eq!(done.code, 0, "{}\n{}", done.stdout, done.stderr);
    assert!(line(&done, "quantization").contains("nf4"), "{}", done.stdout);
    assert!(line(&done, "memory").contains("in nf4 and f32 on cpu, not loaded yet"), "{}", done.stdout);
    assert!(line(&done, "m  ").contains("parameters in nf4"), "{}", done.stdout);
    assert!(done.stdout.contains("the weights of 4 bits became floats, as they computed; read back"));
    assert!(folder.path().join("adapter/adapter_model.safetensors").is_file());
    // The merged folder is a model of its own.
    let merged =
        "model w { from = \"merged\" }\ndata r { from = random; rows = 4; length = 9 tokens }\neval w on r";
    assert_eq!(ran(&folder, &["-"], None, merged).code, 0);
}

#[test]
fn a_run_over_4_bits_goes_on_from_its_checkpoint_and_not_over_other_weights() {
    let folder = Folder::new();
    folder.fixture("tiny");
    let saving = QUANTIZED.replace("steps = 8", "steps = 8; save_every = 4 steps");
    let whole = losses(&ran(&folder, &["--json", "-"], None, &format!("{saving}step a 8")));
    let on = format!("{saving}load a from \"runs/a/checkpoints/step-4\"\nstep a 4");
    assert_eq!(losses(&ran(&folder, &["--json", "-"], None, &on)), whole[4..]);
    let other = ran(&folder, &["-"], None, &on.replace("load_in_4bit = True", "quantization = none"));
    assert!(other.stderr.contains("was made with another model"), "{}", other.stderr);
}

#[test]
fn weights_of_4_bits_that_would_be_trained_are_refused_before_anything_runs() {
    let folder = Folder::new();
    folder.fixture("tiny");
    for (method, what) in
        [("method = full", "`full` trains"), ("method = last_layers { count = 2 }", "`last_layers` trains")]
    {
        let script = QUANTIZED.replace("method = lora { rank = 4; dropout = 0.1 }", method);
        let refused = ran(&folder, &["-"], None, &format!("print 1\n{script}step a"));
        assert_eq!((refused.code, refused.stdout.as_str()), (3, ""), "{}", refused.stderr);
        let said = format!("{what} weights that model `m` holds in 4 bits");
        assert!(refused.stderr.contains("L0454") && refused.stderr.contains(&said), "{}", refused.stderr);
        assert!(refused.stderr.contains("write `method = lora`"), "{}", refused.stderr);
    }
    let bits = QUANTIZED.replace("load_in_4bit = True", "load_in_8bit = True");
    assert!(ran(&folder, &["-"], None, &bits).stderr.contains("8 bits are not there"));
}

/// With so many bytes of addresses, as `ulimit -v` gives them: no heap of large tensors fits into it, and malloc fails.
fn with_addresses(folder: &Folder, bytes: u64, script: &str) -> Child {
    let mut command: Command = folder.command(&["--json", "--keep-going", "-"]);
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: setrlimit may be called between fork and exec.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_AS, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let mut child = command.stdin(Stdio::piped()).spawn().expect("ltune starts");
    child.stdin.take().expect("it is piped").write_all(script.as_bytes()).expect("it is read");
    child
}

/// The most addresses that a process had while it lived.
fn addresses_of(child: &mut Child) -> u64 {
    let mut most = 0;
    while child.try_wait().expect("it can be waited for").is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap_or("0 kB");
        let kilobytes = line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0);
        most = most.max(kilobytes * 1024);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    most
}

#[test]
#[cfg(target_os = "linux")]
fn a_step_that_runs_out_of_memory_is_undone_and_the_session_goes_on() {
    let folder = Folder::new();
    let run = RUN.replace("64 x 1", "2 x 32").replace("save_every = 2 steps; ", "");
    let usual = addresses_of(&mut with_addresses(&folder, 16 << 30, &format!("{run}step a 2")));
    assert!(usual > 100 << 20, "{usual}");
    let script = format!(
        "{run}step a 2\nset a {{ batch = 64 x 1 }}\nstep a 1\nset a {{ batch = 2 x 32 }}\nstep a 1\nshow a"
    );
    let other = Folder::new();
    let child = with_addresses(&other, usual + (70 << 20), &script);
    let done = Ran::from(child.wait_with_output().expect("ltune ends"));
    for wanted in [
        "L0443",
        "step 3 ran out of memory",
        "the run is as it was after step 2",
        "type `set a { checkpointing = on }`",
        "(as many rows a step",
    ] {
        assert!(done.stdout.contains(wanted), "no {wanted} in {}\n{}", done.stdout, done.stderr);
    }
    let never = ran(&folder, &["--json", "-"], None, &format!("{run}step a 3"));
    assert_eq!(numbers(&of_type(&done.events(), "step"), "loss"), losses(&never));
}
