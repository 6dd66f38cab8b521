//! Plain text: one document a file.

use crate::data::encoding;
use crate::data::error::DataError;
use crate::data::source::{Fields, Found, Take};
use serde_json::Value;
use std::io::Read;
use std::path::Path;

pub fn read(path: &Path, take: Take) -> Result<(), DataError> {
    let mut bytes = vec![];
    let unreadable = |source| DataError::Unreadable { path: path.to_path_buf(), source };
    encoding::open(path)?.read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
        DataError::InvalidUtf8 { path: path.to_path_buf(), line: line as u64 + 1, byte: valid as u64 + 1 }
    })?;
    let fields = Fields::from_iter([("text".to_string(), Value::String(text))]);
    take(1, Found::Row(fields)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    #[test]
    fn a_byte_that_is_not_utf8_is_named_with_its_line() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"one\ntwo \xFF").expect("written");
        let error = read(file.path(), &mut |_, _| Ok(ControlFlow::Continue(()))).expect_err("invalid");
        assert!(error.to_string().contains("is not UTF-8: byte 9 on line 2"), "{error}");
    }
}
