//! Who may know whom: every `crate::room` in `src/` is checked against the plan of the house (DESIGN §3).

use std::path::{Path, PathBuf};

/// A room and the rooms it may name, beside itself.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("events", &["units"]),
    ("files", &["units", "events"]),
    ("language", &["units", "events", "files"]),
    ("torch", &["units", "events", "files"]),
    ("plot", &["units", "events", "files"]),
    ("model", &["units", "events", "files", "torch", "data"]),
    ("data", &["units", "events", "files", "torch"]),
    ("rust", &["units", "events", "files", "language"]),
    ("generate", &["units", "events", "files", "torch", "model", "data"]),
    ("train", &["units", "events", "files", "torch", "model", "data"]),
    ("evaluate", &["units", "events", "files", "torch", "model", "data", "train", "generate"]),
    (
        "session",
        &[
            "units", "events", "files", "language", "torch", "plot", "model", "data", "generate", "train",
            "evaluate",
        ],
    ),
    (
        "statements",
        &[
            "units", "events", "files", "language", "torch", "plot", "model", "data", "generate", "train",
            "evaluate", "session", "rust",
        ],
    ),
    ("interpreter", &["units", "events", "files", "language", "torch", "session", "statements"]),
    ("assist", &["units", "events", "files", "language", "data", "session", "statements"]),
    (
        "api",
        &[
            "units",
            "events",
            "files",
            "language",
            "torch",
            "plot",
            "model",
            "data",
            "generate",
            "train",
            "evaluate",
            "session",
            "statements",
            "interpreter",
            "assist",
            "frontends",
        ],
    ),
    (
        "frontends",
        &[
            "units",
            "events",
            "files",
            "language",
            "torch",
            "plot",
            "session",
            "statements",
            "interpreter",
            "assist",
        ],
    ),
];

#[test]
fn every_room_knows_only_the_rooms_below_it() {
    let mut wrong = vec![];
    for (room, known) in MAY_KNOW {
        for path in files_of(room) {
            let text = std::fs::read_to_string(&path).expect("sources can be read");
            for (number, line) in text.lines().enumerate() {
                for other in named_rooms(line) {
                    if other != *room && !known.contains(&other) {
                        wrong.push(format!("{}:{}: `{room}` names `{other}`", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_stands_in_the_plan() {
    for entry in std::fs::read_dir(source()).expect("src is there") {
        let name = entry.expect("its entries can be read").file_name().to_string_lossy().into_owned();
        let room = name.trim_end_matches(".rs");
        let outside = ["lib", "main", "build"].contains(&room);
        assert!(outside || MAY_KNOW.iter().any(|(known, _)| *known == room), "`{room}` is not in the plan");
    }
}

#[test]
fn unsafe_code_lives_in_torch_and_files_and_the_capture_of_streams_only() {
    for (room, _) in MAY_KNOW.iter().filter(|(room, _)| !["torch", "files"].contains(room)) {
        for path in files_of(room).iter().filter(|path| !path.ends_with("frontends/jupyter/capture.rs")) {
            let text = std::fs::read_to_string(path).expect("sources can be read");
            assert!(
                !text.contains("unsafe {") && !text.contains("unsafe fn"),
                "{} is unsafe",
                path.display()
            );
        }
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files_of(room: &str) -> Vec<PathBuf> {
    let file = source().join(format!("{room}.rs"));
    let folder = source().join(room);
    let mut files: Vec<PathBuf> = if file.exists() { vec![file] } else { vec![] };
    let mut folders: Vec<PathBuf> = if folder.is_dir() { vec![folder] } else { vec![] };
    assert!(!files.is_empty() || !folders.is_empty(), "`{room}` is neither a file nor a folder");
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a room is a file or a folder") {
            let path = entry.expect("its entries can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The rooms that a line names as `crate::room`.
fn named_rooms(line: &str) -> Vec<&str> {
    line.match_indices("crate::")
        .map(|(at, found)| &line[at + found.len()..])
        .map(|rest| &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())])
        .filter(|room| !room.is_empty())
        .collect()
}
