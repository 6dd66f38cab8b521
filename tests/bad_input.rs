//! Files that lie, are cut short or are in the wrong encoding: a clear message, exit code 1 or 3, no crash, nothing
//! half-written.

use crate::program::{Folder, Ran, fixture};
use ltune::events::{Event, Out, Sink, Sources};
use ltune::interpreter::{Interpreter, Unit};
use std::path::Path;

/// The program said what is wrong, in its own words, and ended by itself.
fn refused(ran: &Ran, words: &[&str]) {
    let said = &ran.stderr;
    assert!(ran.code == 1 || ran.code == 3, "exit code {}\n{}{said}", ran.code, ran.stdout);
    for word in words {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
    for crash in ["panicked", "L0507", "RUST_BACKTRACE", "Exception raised"] {
        assert!(!said.contains(crash), "{said}");
    }
    assert!(said.contains("error[L0"), "no coded error in:\n{said}");
}

fn copy_of(model: &str, folder: &Folder) -> std::path::PathBuf {
    let copy = folder.path().join("copy");
    std::fs::create_dir_all(&copy).expect("folders can be made");
    for entry in std::fs::read_dir(fixture(model)).expect("the fixture is there") {
        let path = entry.expect("its entries can be read").path();
        std::fs::copy(&path, copy.join(path.file_name().expect("a file has a name")))
            .expect("files can be copied");
    }
    copy
}

const USE: &str =
    "model m { from = \"copy\" }\ngenerate m \"x\" { max = 2 tokens; temperature = 0; raw = on }";

fn edited(file: &str, edit: impl Fn(Vec<u8>) -> Vec<u8>) -> Ran {
    let folder = Folder::new();
    let path = copy_of("tiny", &folder).join(file);
    let bytes = edit(std::fs::read(&path).expect("the file is there"));
    std::fs::write(&path, bytes).expect("files can be written");
    folder.ltune_with(&["-"], USE)
}

#[test]
fn safetensors_that_are_cut_short_are_named() {
    refused(
        &edited("model.safetensors", |bytes| bytes[..bytes.len() - 100].to_vec()),
        &["model.safetensors"],
    );
    refused(&edited("model.safetensors", |bytes| bytes[..4].to_vec()), &["model.safetensors"]);
    refused(&edited("model.safetensors", |_| vec![]), &["model.safetensors"]);
}

#[test]
fn safetensors_whose_header_lies_are_named() {
    let huge = |mut bytes: Vec<u8>| {
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes
    };
    refused(&edited("model.safetensors", huge), &["model.safetensors"]);
    let noise = |mut bytes: Vec<u8>| {
        bytes[8..40].fill(b'{');
        bytes
    };
    refused(&edited("model.safetensors", noise), &["model.safetensors"]);
}

#[test]
fn a_configuration_that_does_not_fit_its_weights_names_the_tensor() {
    let wider = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .expect("text")
            .replace("\"intermediate_size\": 176", "\"intermediate_size\": 180")
            .into()
    };
    refused(&edited("config.json", wider), &["_proj", "176", "180"]);
    refused(&edited("config.json", |_| b"{ not json".to_vec()), &["config.json"]);
    let other = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .expect("text")
            .replace("\"model_type\": \"llama\"", "\"model_type\": \"bert\"")
            .into()
    };
    refused(&edited("config.json", other), &["bert"]);
}

#[test]
fn a_broken_or_missing_tokenizer_is_named() {
    refused(&edited("tokenizer.json", |_| b"{}".to_vec()), &["tokenizer"]);
    let folder = Folder::new();
    std::fs::remove_file(copy_of("tiny", &folder).join("tokenizer.json")).expect("files can be removed");
    refused(&folder.ltune_with(&["-"], USE), &["tokenizer"]);
}

#[test]
fn a_missing_shard_is_named() {
    let folder = Folder::new();
    std::fs::remove_file(copy_of("tiny-llama3", &folder).join("model-00003-of-00009.safetensors"))
        .expect("files can be removed");
    refused(&folder.ltune_with(&["-"], USE), &["model-00003-of-00009.safetensors"]);
}

#[test]
fn a_gguf_file_that_is_none_or_is_cut_short_is_named() {
    for bytes in [
        &b"not a gguf file at all"[..],
        b"GGUF",
        b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"",
    ] {
        let folder = Folder::new();
        folder.write("m.gguf", bytes);
        let ran = folder.ltune_with(&["-"], "model m { from = \"m.gguf\" }\ngenerate m \"x\"");
        refused(&ran, &["m.gguf"]);
    }
}

/// One training step on a data file of these bytes.
fn trained_on(name: &str, bytes: &[u8]) -> (Folder, Ran) {
    let folder = Folder::new();
    folder.fixture("tiny");
    folder.write(name, bytes);
    let script = format!(
        "model m {{ from = \"tiny\" }}\ndata d {{ from = \"{name}\"; split = none }}\n\
         tune a {{ model = m; data = d; batch = 1 x 1 }}\nstep a 1"
    );
    let ran = folder.ltune_with(&["-"], &script);
    (folder, ran)
}

#[test]
fn data_in_a_wrong_encoding_or_of_no_shape_is_named() {
    let utf16: Vec<u8> = "\u{feff}{\"text\": \"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused(&trained_on("d.jsonl", &utf16).1, &["d.jsonl", "UTF-16"]);
    refused(&trained_on("d.jsonl", b"").1, &["d.jsonl", "empty"]);
    refused(&trained_on("d.jsonl", b"{\"text\": \"a\"}\n[1, 2]\n").1, &["d.jsonl"]);
    refused(&trained_on("d.json", b"[{\"text\": \"a\"},").1, &["d.json"]);
    refused(&trained_on("d.parquet", b"PAR1 nonsense PAR1").1, &["d.parquet"]);
    refused(&trained_on("d.jsonl", &b"\x00\x01\x02\x03".repeat(50)).1, &["d.jsonl"]);
}

#[test]
fn a_run_that_fails_before_its_first_step_leaves_no_folder() {
    let (folder, ran) = trained_on("d.jsonl", b"{\"text\": \"a\"}\nnot json\n");
    refused(&ran, &["d.jsonl", "2"]);
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_said_and_nothing_is_left() {
    let folder = Folder::new();
    folder.write("out", "a file where a folder should be");
    let script = "model m { init = random }\nsave m to \"out/m\" { as = merged }";
    let ran = folder.ltune_with(&["-"], script);
    refused(&ran, &["out"]);
    assert_eq!(
        std::fs::read(folder.path().join("out")).expect("it is there"),
        b"a file where a folder should be"
    );
}

/// A file system of one megabyte, where this machine lets us mount one.
fn small_disk(at: &Path) -> bool {
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=300k", "tmpfs"])
        .arg(at)
        .stderr(std::process::Stdio::null())
        .status();
    mounted.is_ok_and(|status| status.success())
}

#[test]
fn a_full_disk_is_said_and_nothing_half_written_is_left() {
    let folder = Folder::new();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).expect("folders can be made");
    if !small_disk(&disk) {
        println!("skipped: this machine does not let us mount a small disk");
        return;
    }
    let ran = folder.ltune_with(&["-"], "model m { init = random }\nsave m to \"disk/m\" { as = merged }");
    let left: Vec<_> = std::fs::read_dir(&disk).expect("it can be read").collect();
    let unmounted = std::process::Command::new("umount").arg(&disk).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    refused(&ran, &["disk/m"]);
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_script_that_is_not_utf8_names_the_byte() {
    let folder = Folder::new();
    folder.write("bad.ltune", b"print \"\xff\"");
    let ran = folder.ltune(&["bad.ltune"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("bad.ltune") && ran.stderr.contains("UTF-8"), "{}", ran.stderr);
}

#[test]
fn hundreds_of_open_brackets_are_refused_at_once() {
    let folder = Folder::new();
    for bracket in ["(", "[", "{"] {
        let ran = folder.ltune_with(&["-"], &format!("let a = {}", bracket.repeat(400)));
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.lines().count() < 40, "{}", ran.stderr);
    }
}

#[test]
fn a_model_larger_than_the_memory_is_refused_before_it_takes_it() {
    let folder = Folder::new();
    let script = "model m { init = random { width = 16384; layers = 2000 } }\ngenerate m \"x\"";
    refused(&folder.ltune_with(&["-"], script), &["L0208", "is free"]);
}

#[test]
fn a_script_with_any_line_lost_doubled_or_cut_is_refused_or_read_and_never_crashes() {
    struct Crashes;
    impl Sink for Crashes {
        fn accept(&mut self, event: &Event, _sources: &Sources) {
            if let Event::Diagnostic(found) = event {
                assert!(found.code != "L0507" && found.code != "L0207", "{found:?}");
            }
        }
    }
    let check = |text: String| {
        let unit = Unit { name: "script".into(), text: text.clone(), folder: "".into() };
        let mut interpreter = Interpreter::new(Out::new(Box::new(Crashes)));
        let checked =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| interpreter.check(vec![unit])));
        assert!(checked.is_ok(), "{text}");
    };
    for name in ["quickstart.ltune", "time-travel.ltune"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name);
        let script = std::fs::read_to_string(path).expect("the script is there");
        let lines: Vec<&str> = script.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let with = |put: &[&str]| [&lines[..index], put, &lines[index + 1..]].concat().join("\n");
            check(with(&[]));
            check(with(&[line, line]));
            let half = line.char_indices().nth(line.chars().count() / 2).map_or(0, |(at, _)| at);
            check(with(&[&line[..half]]));
            check(with(&[&line[half..]]));
        }
    }
}
