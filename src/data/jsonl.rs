//! JSON lines: one object a line.

use crate::data::encoding;
use crate::data::error::{DataError, Place};
use crate::data::source::{Fields, Found, Take};
use serde_json::Value;
use std::io::BufRead;
use std::path::Path;

pub fn read(path: &Path, take: Take) -> Result<(), DataError> {
    let mut reader = encoding::open(path)?;
    let mut line = vec![];
    for number in 1.. {
        line.clear();
        let count = reader.read_until(b'\n', &mut line);
        if count.map_err(|source| DataError::Unreadable { path: path.to_path_buf(), source })? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let found = match std::str::from_utf8(&line) {
            Err(_) => Found::InvalidUtf8,
            Ok(line) => Found::Row(object(line).map_err(|what| DataError::Broken {
                place: Place { file: path.display().to_string(), noun: "line", number },
                what,
            })?),
        };
        if take(number, found)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn object(line: &str) -> Result<Fields, String> {
    match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(format!(
            "{} stands where an object in {{ }} should be; mend or remove the line",
            kind(&other)
        )),
        Err(error) => Err(format!("{}; mend or remove the line", explain(&error))),
    }
}

/// What a JSON value is, in a word.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// serde's message without its line, which is always 1 here, but with the column.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text).to_string();
    format!("not JSON at column {}: {what}", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    fn rows(content: &[u8]) -> Result<Vec<(u64, Found)>, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), content).expect("written");
        let mut rows = vec![];
        let read = read(file.path(), &mut |number, found| {
            rows.push((number, found));
            Ok(ControlFlow::Continue(()))
        });
        let name = file.path().display().to_string();
        read.map(|()| rows).map_err(|error| error.to_string().replace(&name, "a.jsonl"))
    }

    #[test]
    fn blank_lines_are_passed_over_and_bad_bytes_are_found() {
        let rows = rows(b"\xEF\xBB\xBF{\"a\": 1}\r\n\n{\"a\": \"\xFF\"}\n{\"a\": 2}").expect("read");
        let numbers: Vec<u64> = rows.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 3, 4]);
        assert_eq!(rows[1].1, Found::InvalidUtf8);
    }

    #[test]
    fn a_broken_line_is_named() {
        assert_eq!(
            rows(b"{\"a\": 1}\n{\"a\": \n").expect_err("broken"),
            "`a.jsonl` line 2: not JSON at column 0: EOF while parsing a value; mend or remove the line"
        );
        assert_eq!(
            rows(b"[1]\n").expect_err("broken"),
            "`a.jsonl` line 1: a list stands where an object in { } should be; mend or remove the line"
        );
    }
}
