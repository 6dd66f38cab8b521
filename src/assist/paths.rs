//! Files, folders and known samples that a path may name.

use crate::assist::completion::{Candidate, CandidateKind};
use crate::files::samples::{self, SampleKind};
use crate::units::Bytes;
use std::path::Path;

/// What a path is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathsOf {
    Models,
    Data,
    Scripts,
    Any,
}

/// A folder with more entries is not listed to its end.
const MOST: usize = 500;

/// What a path that begins so may become: samples first, then folders and files by name.
pub fn paths(written: &str, of: PathsOf) -> Vec<Candidate> {
    let mut found = if written.contains('/') { vec![] } else { known_samples(of) };
    found.retain(|sample| sample.text.starts_with(written));
    let (folder, begin) = match written.rfind('/') {
        Some(slash) => written.split_at(slash + 1),
        None => ("", written),
    };
    let place = if folder.is_empty() { Path::new(".") } else { Path::new(folder) };
    let Ok(entries) = std::fs::read_dir(place) else { return found };
    let mut paths: Vec<Candidate> =
        entries.take(MOST).flatten().filter_map(|entry| path(&entry, folder, begin, of)).collect();
    paths.sort_by(|left, right| left.text.cmp(&right.text));
    found.extend(paths);
    found
}

fn known_samples(of: PathsOf) -> Vec<Candidate> {
    let kind = match of {
        PathsOf::Models => SampleKind::Model,
        PathsOf::Data => SampleKind::Data,
        PathsOf::Scripts | PathsOf::Any => return vec![],
    };
    let wanted = samples::SAMPLES.iter().filter(|sample| sample.kind == kind);
    wanted
        .map(|sample| Candidate {
            text: sample.name.into(),
            kind: CandidateKind::Sample,
            summary: format!("sample: {}", sample.what),
            alias: None,
        })
        .collect()
}

fn path(entry: &std::fs::DirEntry, folder: &str, begin: &str, of: PathsOf) -> Option<Candidate> {
    let name = entry.file_name().into_string().ok()?;
    let hidden = name.starts_with('.') && !begin.starts_with('.');
    if hidden || !name.starts_with(begin) || name.contains(['"', '\\', '\n']) {
        return None;
    }
    let path = entry.path();
    let metadata = std::fs::metadata(&path).ok()?;
    if metadata.is_dir() {
        let is_model = of == PathsOf::Models && path.join("config.json").exists();
        let (end, summary) = if is_model { ("", "a Hugging Face folder") } else { ("/", "") };
        let text = format!("{folder}{name}{end}");
        return Some(Candidate { text, kind: CandidateKind::Folder, summary: summary.into(), alias: None });
    }
    let summary = Bytes(metadata.len()).to_string();
    fits(&name, of).then(|| Candidate {
        text: format!("{folder}{name}"),
        kind: CandidateKind::File,
        summary,
        alias: None,
    })
}

fn fits(name: &str, of: PathsOf) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or("");
    match of {
        PathsOf::Models => extension == "gguf",
        PathsOf::Data => {
            ["jsonl", "json", "csv", "tsv", "txt", "md", "parquet", "ndjson"].contains(&extension)
        }
        PathsOf::Scripts => extension == "ltune",
        PathsOf::Any => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(written: &str, of: PathsOf) -> Vec<String> {
        paths(written, of).into_iter().map(|found| found.text).collect()
    }

    #[test]
    fn only_files_of_use_are_offered_and_folders_always() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = format!("{}/", folder.path().display());
        for file in ["a.jsonl", "b.gguf", "c.ltune", ".hidden.jsonl"] {
            std::fs::write(folder.path().join(file), "x").expect("written");
        }
        std::fs::create_dir_all(folder.path().join("model")).expect("made");
        std::fs::write(folder.path().join("model/config.json"), "{}").expect("written");
        let named = |names: &[&str]| names.iter().map(|name| format!("{place}{name}")).collect::<Vec<_>>();
        assert_eq!(texts(&place, PathsOf::Data), named(&["a.jsonl", "model/"]));
        assert_eq!(texts(&place, PathsOf::Models), named(&["b.gguf", "model"]));
        assert_eq!(texts(&format!("{place}c"), PathsOf::Scripts), named(&["c.ltune"]));
        assert_eq!(texts(&format!("{place}nothing/"), PathsOf::Any), [""; 0]);
    }

    #[test]
    fn samples_stand_first() {
        assert_eq!(texts("smol", PathsOf::Models), ["smollm2-135m"]);
        assert_eq!(texts("aclsum", PathsOf::Data), ["aclsum"]);
    }
}
