//! Parquet: columns in a binary container, read row by row.

use crate::data::error::DataError;
use crate::data::source::Take;
use std::path::Path;

#[cfg(not(feature = "parquet"))]
pub fn read(path: &Path, _: Take) -> Result<(), DataError> {
    Err(DataError::NoParquet { path: path.to_path_buf() })
}

#[cfg(feature = "parquet")]
pub fn read(path: &Path, take: Take) -> Result<(), DataError> {
    use crate::data::source::Found;
    use parquet::file::reader::FileReader;
    use parquet::file::serialized_reader::SerializedFileReader;

    let broken = |what: String| DataError::Unparsable { path: path.to_path_buf(), format: "Parquet", what };
    let file = std::fs::File::open(path)
        .map_err(|source| DataError::Unreadable { path: path.to_path_buf(), source })?;
    let reader = rows::guarded(|| SerializedFileReader::new(file)).map_err(broken)?;
    let mut iterator = rows::guarded(|| reader.get_row_iter(None)).map_err(broken)?;
    for number in 1.. {
        let row = rows::guarded(|| iterator.next().transpose());
        let Some(row) = row.map_err(|what| broken(format!("row {number}: {what}")))? else { break };
        let fields = row.into_columns().into_iter().map(|(name, field)| (name, rows::value(field)));
        if take(number, Found::Row(fields.collect()))?.is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(feature = "parquet")]
mod rows {
    use parquet::errors::ParquetError;
    use parquet::record::Field;
    use serde_json::{Map, Value};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// The library asserts where a file contradicts itself; that is a bad file, not a bug.
    pub fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("the file contradicts itself".into()),
        }
    }

    /// A Parquet value as JSON; what data has no use for (dates, binary) as text.
    pub fn value(field: Field) -> Value {
        match field {
            Field::Null => Value::Null,
            Field::Bool(value) => value.into(),
            Field::Byte(value) => value.into(),
            Field::Short(value) => value.into(),
            Field::Int(value) => value.into(),
            Field::Long(value) => value.into(),
            Field::UByte(value) => value.into(),
            Field::UShort(value) => value.into(),
            Field::UInt(value) => value.into(),
            Field::ULong(value) => value.into(),
            Field::Float(value) => value.into(),
            Field::Double(value) => value.into(),
            Field::Str(text) => text.into(),
            Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned().into(),
            Field::Group(row) => {
                let fields = row.into_columns().into_iter().map(|(name, field)| (name, value(field)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect(),
            other => other.to_string().into(),
        }
    }
}

#[cfg(all(test, feature = "parquet"))]
mod tests {
    use super::*;
    use crate::data::source::Found;
    use serde_json::json;
    use std::ops::ControlFlow;

    #[test]
    fn nested_columns_become_rows() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data/rows.parquet");
        let mut rows = vec![];
        let read = read(&path, &mut |_, found| {
            if let Found::Row(fields) = found {
                rows.push(serde_json::Value::Object(fields));
            }
            Ok(ControlFlow::Continue(()))
        });
        read.expect("read");
        assert_eq!(
            rows[0]["messages"],
            json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}])
        );
        assert_eq!(rows[1]["messages"][1]["content"], "4 — café");
        assert_eq!(rows[1]["score"], serde_json::Value::Null);
    }
}
