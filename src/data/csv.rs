//! CSV and TSV: a header, then a record a row.

use crate::data::encoding;
use crate::data::error::{DataError, Place};
use crate::data::source::{Found, Take};
use crate::data::specification::Format;
use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use serde_json::Value;
use std::io::BufRead;
use std::path::Path;

pub fn read(path: &Path, format: Format, take: Take) -> Result<(), DataError> {
    let mut file = encoding::open(path)?;
    let delimiter = match format {
        Format::Tsv => b'\t',
        _ => delimiter(file.fill_buf().unwrap_or_default()),
    };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(file);
    let place = |number| Place { file: path.display().to_string(), noun: "line", number };
    let broken = |number, what| DataError::Broken { place: place(number), what };
    let fails = |error: csv::Error| match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => broken(
            pos.as_ref().map_or(0, csv::Position::line),
            format!(
                "{len} fields, and the header has {expected_len}; put fields that hold a `{}` in quotes",
                if delimiter == b'\t' { "tab".into() } else { char::from(delimiter).to_string() }
            ),
        ),
        ErrorKind::Io(_) => DataError::Unreadable {
            path: path.to_path_buf(),
            source: std::io::Error::other(error.to_string()),
        },
        _ => broken(error.position().map_or(1, csv::Position::line), error.to_string()),
    };
    let header = reader.byte_headers().map_err(fails)?.clone();
    let names: Option<Vec<&str>> = header.iter().map(|name| std::str::from_utf8(name).ok()).collect();
    let names: Vec<String> = names
        .ok_or_else(|| broken(1, "the header is not UTF-8; convert the file first".into()))?
        .into_iter()
        .map(|name| name.trim().to_string())
        .collect();
    if let Some((_, name)) = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
        return Err(broken(1, format!("two columns are called `{name}`; rename one")));
    }
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(fails)? {
        let line = record.position().map_or(0, csv::Position::line);
        if take(line, row(&names, &record))?.is_break() {
            break;
        }
    }
    Ok(())
}

fn row(names: &[String], record: &ByteRecord) -> Found {
    let texts: Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
    let Ok(texts) = texts else { return Found::InvalidUtf8 };
    let fields = names.iter().zip(texts).map(|(name, text)| (name.clone(), Value::from(text)));
    Found::Row(fields.collect())
}

/// Spreadsheets in many countries write `;`: the header tells.
fn delimiter(head: &[u8]) -> u8 {
    let header = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| header.iter().filter(|byte| **byte == delimiter).count();
    let mut best = b',';
    for other in [b';', b'\t'] {
        if count(other) > count(best) {
            best = other;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    fn rows(content: &[u8]) -> Result<Vec<(u64, Found)>, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), content).expect("written");
        let mut rows = vec![];
        let read = read(file.path(), Format::Csv, &mut |number, found| {
            rows.push((number, found));
            Ok(ControlFlow::Continue(()))
        });
        let name = file.path().display().to_string();
        read.map(|()| rows).map_err(|error| error.to_string().replace(&name, "a.csv"))
    }

    fn row(pairs: &[(&str, &str)]) -> Found {
        Found::Row(pairs.iter().map(|(name, text)| ((*name).to_string(), Value::from(*text))).collect())
    }

    #[test]
    fn quotes_newlines_and_other_delimiters_are_read() {
        let read = rows(b"\xEF\xBB\xBFtext,label\n\"a, \"\"b\"\"\nc\",1\nd,2\n").expect("read");
        assert_eq!(
            read,
            [
                (2, row(&[("text", "a, \"b\"\nc"), ("label", "1")])),
                (4, row(&[("text", "d"), ("label", "2")]))
            ]
        );
        assert_eq!(rows(b"text;label\nx;1\n").expect("read")[0].1, row(&[("text", "x"), ("label", "1")]));
    }

    #[test]
    fn a_row_of_another_width_is_named() {
        assert_eq!(
            rows(b"a,b\n1,2\n1,2,3\n").expect_err("broken"),
            "`a.csv` line 3: 3 fields, and the header has 2; put fields that hold a `,` in quotes"
        );
        assert_eq!(
            rows(b"a,a\n").expect_err("broken"),
            "`a.csv` line 1: two columns are called `a`; rename one"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_spoil_only_their_row() {
        let read = rows(b"a\n\xFF\nb\n").expect("read");
        assert_eq!(read, [(2, Found::InvalidUtf8), (3, row(&[("a", "b")]))]);
    }
}
