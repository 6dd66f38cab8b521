//! A row transform of one's own: rows go in as they were read, many at a time, and what comes out is understood as if it
//! had been read.

use crate::data::error::{DataError, Place};
use crate::data::row::{Cell, Row};
use crate::data::source::Fields;
use crate::events::Refusal;
use serde_json::Value;

/// From rows to what becomes of each: `None` leaves it out. An error says which of them it was at, if at one.
pub type TransformFunction = dyn Fn(Vec<Row>) -> Result<Vec<Option<Row>>, (Option<usize>, Refusal)>;

/// A transform by its name.
pub struct Transform {
    pub name: String,
    /// Equal for functions of equal text. A closure has none: its rows are not kept from one session to the next.
    pub fingerprint: Option<String>,
    pub function: Box<TransformFunction>,
}

/// Rows given to a transform at a time.
pub const BATCH: usize = 1000;

impl Transform {
    /// What becomes of rows, which came from these places.
    pub fn apply(
        &self,
        rows: Vec<Fields>,
        place: impl Fn(usize) -> Place,
    ) -> Result<Vec<Option<Fields>>, DataError> {
        let count = rows.len();
        let failed = |index: Option<usize>, refusal: Refusal| DataError::Transform {
            name: self.name.clone(),
            place: index.map_or(String::new(), |index| format!(" at {}", place(index))),
            refusal,
        };
        let given = (self.function)(rows.into_iter().map(row).collect())
            .map_err(|(index, refusal)| failed(index, refusal))?;
        if given.len() != count {
            return Err(failed(None, Refusal::new(format!("it gave {} rows for {count}", given.len()))));
        }
        let fields = |(index, row): (usize, Option<Row>)| {
            row.map(|row| fields(&row)).transpose().map_err(|why| failed(Some(index), Refusal::new(why)))
        };
        given.into_iter().enumerate().map(fields).collect()
    }
}

fn row(fields: Fields) -> Row {
    let cell = |value: Value| match value {
        Value::String(text) => Cell::Text(text),
        other => Cell::Json(other.to_string()),
    };
    Row::new(fields.into_iter().map(|(name, value)| (name, cell(value))).collect())
}

fn fields(row: &Row) -> Result<Fields, String> {
    let value = |(name, cell): &(String, Cell)| {
        let value = match cell {
            Cell::Text(text) => Value::String(text.clone()),
            Cell::Json(json) => serde_json::from_str(json)
                .map_err(|error| format!("it set the column `{name}` to what is no JSON: {error}"))?,
        };
        Ok((name.clone(), value))
    };
    row.cells().iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn apply(
        function: impl Fn(Row) -> Option<Row> + 'static,
        rows: Vec<Value>,
    ) -> Result<Vec<Option<Value>>, String> {
        let each = move |rows: Vec<Row>| Ok(rows.into_iter().map(&function).collect());
        let transform = Transform { name: "t".into(), fingerprint: None, function: Box::new(each) };
        let objects = rows.into_iter().map(|row| match row {
            Value::Object(fields) => fields,
            _ => panic!("an object"),
        });
        let place = |index| Place { file: "a.jsonl".into(), noun: "line", number: index as u64 + 1 };
        let given = transform.apply(objects.collect(), place).map_err(|error| error.to_string())?;
        Ok(given.into_iter().map(|fields| fields.map(Value::Object)).collect())
    }

    #[test]
    fn what_is_not_touched_stays_as_it_was_read() {
        let row =
            json!({"id": 7, "messages": [{"role": "user", "content": "é"}], "x": null, "n": 0.1, "t": "7"});
        assert_eq!(apply(Some, vec![row.clone()]), Ok(vec![Some(row)]));
    }

    #[test]
    fn columns_are_set_renamed_and_removed_and_rows_left_out() {
        let function = |mut row: Row| {
            row.set("text", row.get("q").to_uppercase());
            row.set_json("n", "[1]");
            row.rename("a", "b");
            row.remove("q");
            (row.get("b") != "out" && row.get("none").is_empty()).then_some(row)
        };
        let rows = vec![json!({"q": "x", "a": "in"}), json!({"q": "y", "a": "out"})];
        assert_eq!(apply(function, rows), Ok(vec![Some(json!({"b": "in", "text": "X", "n": [1]})), None]));
    }

    #[test]
    fn what_is_no_json_is_named() {
        let broken = |mut row: Row| {
            row.set_json("n", "[1");
            Some(row)
        };
        let error = apply(broken, vec![json!({})]).unwrap_err();
        assert!(
            error.starts_with("the row transform `t` failed at `a.jsonl` line 1: it set the column `n`"),
            "{error}"
        );
    }

    #[test]
    fn a_row_comes_through_as_bytes() {
        let row = row(json!({"é": "ü\n", "n": [1, null]}).as_object().unwrap().clone());
        let mut bytes = vec![];
        row.write(&mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!((Row::read(&mut rest), rest), (Some(row), &[][..]));
        assert!((0..bytes.len()).all(|end| Row::read(&mut &bytes[..end]).is_none()));
    }
}
