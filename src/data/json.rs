//! JSON: a list of objects, read one by one.

use crate::data::encoding;
use crate::data::error::{DataError, Place};
use crate::data::jsonl::kind;
use crate::data::source::{Fields, Found, Take};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::io::Read;
use std::path::Path;

/// Keys under which files wrap their list of rows.
const WRAPPERS: [&str; 5] = ["data", "rows", "train", "examples", "instances"];

pub fn read(path: &Path, take: Take) -> Result<(), DataError> {
    let mut bytes = vec![];
    let unreadable = |source| DataError::Unreadable { path: path.to_path_buf(), source };
    encoding::open(path)?.read_to_end(&mut bytes).map_err(unreadable)?;
    // Bytes that are not UTF-8 spoil their row, not the file: they are replaced, and the row is found by that.
    let text = String::from_utf8_lossy(&bytes);
    let mended = matches!(text, std::borrow::Cow::Owned(_));
    let mut rows = Rows { path, take, mended, number: 0, failed: None, stopped: false };
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let parsed = (&mut rows).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (rows.failed, parsed) {
        (Some(error), _) => Err(error),
        (None, Err(error)) if !rows.stopped => Err(DataError::Unparsable {
            path: path.to_path_buf(),
            format: "JSON",
            what: format!("{error}, after row {}", rows.number),
        }),
        _ => Ok(()),
    }
}

/// Gives each element of the list away as soon as it is parsed.
struct Rows<'a, 'b> {
    path: &'a Path,
    take: Take<'b>,
    mended: bool,
    number: u64,
    failed: Option<DataError>,
    stopped: bool,
}

impl Rows<'_, '_> {
    /// An error only serves to leave the parser.
    fn give<E: Error>(&mut self, value: Value) -> Result<(), E> {
        self.number += 1;
        let found = match value {
            value if self.mended && holds_replacement(&value) => Found::InvalidUtf8,
            Value::Object(fields) => Found::Row(fields),
            other => {
                let place = Place { file: self.path.display().to_string(), noun: "row", number: self.number };
                let what = format!("{} stands where an object in {{ }} should be", kind(&other));
                self.failed = Some(DataError::Broken { place, what });
                return Err(E::custom("stopped"));
            }
        };
        match (self.take)(self.number, found) {
            Ok(flow) if flow.is_continue() => return Ok(()),
            Ok(_) => self.stopped = true,
            Err(error) => self.failed = Some(error),
        }
        Err(E::custom("stopped"))
    }
}

fn holds_replacement(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(char::REPLACEMENT_CHARACTER),
        Value::Array(items) => items.iter().any(holds_replacement),
        Value::Object(fields) => fields.values().any(holds_replacement),
        _ => false,
    }
}

impl<'de> DeserializeSeed<'de> for &mut Rows<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Rows<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element::<Value>()? {
            self.give(value)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = Fields::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            fields.insert(key, value);
        }
        let wrapped = WRAPPERS.iter().find(|key| {
            fields
                .get(**key)
                .and_then(Value::as_array)
                .is_some_and(|items| items.iter().all(Value::is_object))
        });
        match wrapped.and_then(|key| fields.remove(*key)) {
            Some(Value::Array(items)) => items.into_iter().try_for_each(|item| self.give(item)),
            _ => self.give(Value::Object(fields)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    fn rows(content: &[u8], limit: usize) -> Result<Vec<Found>, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), content).expect("written");
        let mut rows = vec![];
        let read = read(file.path(), &mut |_, found| {
            rows.push(found);
            Ok(if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        });
        let name = file.path().display().to_string();
        read.map(|()| rows).map_err(|error| error.to_string().replace(&name, "a.json"))
    }

    #[test]
    fn a_list_and_a_wrapped_list_are_rows() {
        assert_eq!(rows(b"[{\"a\": 1}, {\"a\": 2}]", 9).expect("read").len(), 2);
        assert_eq!(rows(b"{\"version\": 1, \"data\": [{\"a\": 1}, {\"a\": 2}]}", 9).expect("read").len(), 2);
        assert_eq!(rows(b"{\"text\": \"only one\"}", 9).expect("read").len(), 1);
    }

    #[test]
    fn the_first_rows_are_had_without_the_rest() {
        assert_eq!(rows(b"[{\"a\": 1}, {\"a\": 2}, not json", 2).expect("read").len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert_eq!(
            rows(b"[{\"a\": 1},\n {\"a\": ]", 9).expect_err("broken"),
            "`a.json` cannot be read as JSON: expected value at line 2 column 8, after row 1"
        );
        assert_eq!(
            rows(b"[{\"a\": 1}, 7]", 9).expect_err("broken"),
            "`a.json` row 2: a number stands where an object in { } should be"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_spoil_only_their_row() {
        let rows = rows(b"[{\"a\": \"\xFF\"}, {\"a\": \"b\"}]", 9).expect("read");
        assert_eq!(rows[0], Found::InvalidUtf8);
        assert!(matches!(rows[1], Found::Row(_)));
    }
}
