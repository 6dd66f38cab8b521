//! A first look at data: format, columns and first rows, without a tokenizer and without reading the rest.

use crate::data::error::DataError;
use crate::data::rows::wanted;
use crate::data::shape::{Columns, Shape};
use crate::data::source::{Fields, Found, files};
use crate::data::specification::{Format, From, Specification};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;

/// Rows looked at.
const ROWS: usize = 3;
/// Letters shown of a value.
const LETTERS: usize = 200;

/// What `check` and `show` tell of data that is not yet read.
#[derive(Clone, Debug, PartialEq)]
pub struct Peek {
    /// None for random rows.
    pub format: Option<Format>,
    pub shape: Shape,
    pub columns: Vec<String>,
    /// The first rows, each value as text and cut short.
    pub rows: Vec<Vec<String>>,
    /// Of all files.
    pub bytes: u64,
    pub files: usize,
}

/// Looks at the first rows; what it can say is wrong is an error with the same words as later.
pub fn peek(specification: &Specification) -> Result<Peek, DataError> {
    let From::Path(path) = &specification.from else {
        let (columns, rows) = (vec!["input_ids".into()], vec![]);
        return Ok(Peek { format: None, shape: Shape::Ids, columns, rows, bytes: 0, files: 0 });
    };
    let files = files(path, specification.format)?;
    let first = &files[0];
    let mut rows: Vec<Fields> = vec![];
    first.read(&mut |_, found| {
        if let Found::Row(fields) = found {
            rows.push(fields);
        }
        Ok(if rows.len() < ROWS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    let Some(row) = rows.first() else {
        return Err(DataError::NoRows { read: 0, why: "there are none".into() });
    };
    let columns: Vec<String> = row.keys().cloned().collect();
    let recognised =
        Columns::recognise(&first.name(), &columns, &specification.columns, wanted(specification))?;
    let rows = rows.iter().map(|row| columns.iter().map(|column| shown(row.get(column))).collect()).collect();
    let bytes = files.iter().map(|file| file.bytes).sum();
    Ok(Peek { format: Some(first.format), shape: recognised.shape, columns, rows, bytes, files: files.len() })
}

/// The columns of the first row, whatever they mean: for those who are about to say it.
pub fn first_columns(path: &Path) -> Result<Vec<String>, DataError> {
    let files = files(path, None)?;
    let mut columns = vec![];
    files[0].read(&mut |_, found| match found {
        Found::Row(fields) => {
            columns = fields.keys().cloned().collect();
            Ok(ControlFlow::Break(()))
        }
        _ => Ok(ControlFlow::Continue(())),
    })?;
    Ok(columns)
}

fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rows_are_enough() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.jsonl");
        let content = format!(
            "{{\"text\": \"{}\", \"n\": 1}}\n{{\"text\": \"b\"}}\n{{\"text\": \"c\"}}\nbroken",
            "é".repeat(300)
        );
        std::fs::write(&path, &content).expect("written");
        let peek = peek(&Specification::new(From::Path(path))).expect("looked");
        assert_eq!(
            (peek.format, peek.shape, peek.bytes),
            (Some(Format::Jsonl), Shape::Text, content.len() as u64)
        );
        assert_eq!(peek.columns, ["text", "n"]);
        assert_eq!(peek.rows[0], [format!("{}…", "é".repeat(200)), "1".into()]);
        assert_eq!(peek.rows.len(), 3);
    }

    #[test]
    fn columns_are_told_before_anybody_knows_what_they_mean() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "{\"question\": \"a\", \"answer\": \"b\"}\nbroken").expect("written");
        assert_eq!(first_columns(&path).expect("looked"), ["question", "answer"]);
        assert!(first_columns(&folder.path().join("missing.jsonl")).is_err());
    }
}
