//! Where rows come from: one file or the files of a folder, each read by the reader of its format.

use crate::data::encoding;
use crate::data::error::{DataError, Place};
use crate::data::specification::Format;
use crate::data::{csv, json, jsonl, parquet, text};
use serde_json::{Map, Value};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The columns of a row, by name.
pub type Fields = Map<String, Value>;

/// What a reader finds where a row should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Row(Fields),
    InvalidUtf8,
}

/// Is given each row with its number, from 1; may break off.
pub type Take<'a> = &'a mut dyn FnMut(u64, Found) -> Result<ControlFlow<()>, DataError>;

/// One file of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub path: PathBuf,
    pub format: Format,
    pub bytes: u64,
}

impl SourceFile {
    /// The file as the user knows it.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// What its rows are counted in.
    pub fn noun(&self) -> &'static str {
        match self.format {
            Format::Text => "document",
            Format::Csv | Format::Tsv | Format::Jsonl => "line",
            Format::Json | Format::Parquet => "row",
        }
    }

    pub fn place(&self, number: u64) -> Place {
        Place { file: self.name(), noun: self.noun(), number }
    }

    pub fn read(&self, take: Take) -> Result<(), DataError> {
        match self.format {
            Format::Text => text::read(&self.path, take),
            Format::Csv | Format::Tsv => csv::read(&self.path, self.format, take),
            Format::Json => json::read(&self.path, take),
            Format::Jsonl => jsonl::read(&self.path, take),
            Format::Parquet => parquet::read(&self.path, take),
        }
    }
}

/// The files at a path, in the order of their names; a folder gives all whose extension is known.
pub fn files(path: &Path, format: Option<Format>) -> Result<Vec<SourceFile>, DataError> {
    if !path.is_dir() {
        return Ok(vec![file(path, format)?]);
    }
    let unreadable = |source| DataError::Unreadable { path: path.to_path_buf(), source };
    let mut paths = vec![];
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?.path();
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if entry.is_file() && !hidden && by_extension(&entry).is_some() {
            paths.push(entry);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(DataError::EmptyFolder { path: path.to_path_buf() });
    }
    paths.iter().map(|path| file(path, format)).collect()
}

fn file(path: &Path, format: Option<Format>) -> Result<SourceFile, DataError> {
    let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => DataError::Missing { path: path.to_path_buf() },
        _ => DataError::Unreadable { path: path.to_path_buf(), source },
    })?;
    if metadata.len() == 0 {
        return Err(DataError::Empty { path: path.to_path_buf() });
    }
    let format = match (format, by_extension(path)) {
        (Some(Format::Text), Some(container)) => by_content(path, container)?,
        (Some(format), _) => format,
        (None, Some(container)) => by_content(path, container)?,
        (None, None) => by_content(path, Format::Text)?,
    };
    Ok(SourceFile { path: path.to_path_buf(), format, bytes: metadata.len() })
}

fn by_extension(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "txt" | "md" | "text" => Some(Format::Text),
        "csv" => Some(Format::Csv),
        "tsv" | "tab" => Some(Format::Tsv),
        "json" => Some(Format::Json),
        "jsonl" | "ndjson" => Some(Format::Jsonl),
        "parquet" => Some(Format::Parquet),
        _ => None,
    }
}

/// What the first bytes say where the name leaves it open: a `.json` file is often JSON lines.
fn by_content(path: &Path, named: Format) -> Result<Format, DataError> {
    let known_name = by_extension(path).is_some();
    if known_name && named != Format::Json {
        return Ok(named);
    }
    let head = encoding::head(path)?;
    if head.starts_with(b"PAR1") {
        return Ok(Format::Parquet);
    }
    let text = String::from_utf8_lossy(&head);
    let text = text.trim_start_matches('\u{FEFF}').trim_start();
    let first_line = text.lines().next().unwrap_or_default();
    let whole_object = text.starts_with('{') && serde_json::from_str::<Fields>(first_line).is_ok();
    Ok(match text.chars().next() {
        Some('{') if whole_object && text.trim_end().contains('\n') => Format::Jsonl,
        Some('{') if known_name => Format::Json,
        Some('{') if whole_object => Format::Jsonl,
        Some('[') if known_name || text[1..].trim_start().starts_with('{') => Format::Json,
        _ => named,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn formats(name: &str, content: &str) -> Format {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        fs::write(&path, content).expect("written");
        files(&path, None).expect("found")[0].format
    }

    #[test]
    fn formats_are_known_by_name_and_by_content() {
        assert_eq!(formats("a.txt", "{}"), Format::Text);
        assert_eq!(formats("a.json", "[{}]"), Format::Json);
        assert_eq!(formats("a.json", "{\"a\": 1}\n{\"a\": 2}\n"), Format::Jsonl);
        assert_eq!(formats("a.json", "{\n\"a\": 1}\n"), Format::Json);
        assert_eq!(formats("a", "[ {\"a\": 1}]"), Format::Json);
        assert_eq!(formats("a", "once upon a time"), Format::Text);
        assert_eq!(formats("a.tab", "text\tlabel"), Format::Tsv);
    }

    #[test]
    fn a_folder_gives_its_files_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.txt", "a.txt", "c.bin", ".hidden.txt"] {
            fs::write(folder.path().join(name), "x").expect("written");
        }
        let files = files(folder.path(), None).expect("found");
        let names: Vec<_> = files.iter().filter_map(|file| file.path.file_name()?.to_str()).collect();
        assert_eq!(names, ["a.txt", "b.txt"]);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let error = files(Path::new("no/such.jsonl"), None).expect_err("missing");
        let expected = "`no/such.jsonl` is not there; write the path of a file or folder, relative to the working directory";
        assert_eq!(error.to_string(), expected);
    }

    /// Sound files of every format, to be damaged.
    const SAMPLES: &[(&str, &[u8])] = &[
        ("a.txt", b"one\ntwo \xC3\xA9\n"),
        ("a.csv", b"text,label\n\"a, \"\"b\"\"\",1\nc,2\n"),
        ("a.tsv", b"text\tlabel\na\t1\n"),
        ("a.json", b"[{\"text\": \"a\", \"n\": [1, 2.5, null]}, {\"text\": \"b\"}]"),
        ("a.jsonl", b"{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n{\"text\": \"b\"}\n"),
        ("a.parquet", include_bytes!("../../tests/fixtures/data/rows.parquet")),
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
        #[test]
        fn no_reader_panics_on_damaged_bytes(
            sample in 0..SAMPLES.len(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            keep in any::<prop::sample::Index>(), cut: bool,
        ) {
            let (name, content) = SAMPLES[sample];
            let mut content = content.to_vec();
            for (place, byte) in edits {
                let place = place.index(content.len());
                content[place] = byte;
            }
            if cut {
                content.truncate(keep.index(content.len()));
            }
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join(name);
            fs::write(&path, content).expect("written");
            if let Ok(files) = files(&path, None) {
                // An error is welcome; a panic is not.
                let _ = files[0].read(&mut |_, _| Ok(ControlFlow::Continue(())));
            }
        }
    }
}
