//! Which text encoding a file has: UTF-8 is read, the others are named.

use crate::data::error::DataError;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes looked at.
const HEAD: usize = 4096;
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Begins of files that are no text, and what to do with each.
const PACKED: &[(&[u8], &str)] = &[
    (b"\x1F\x8B", "gunzip"),
    (b"PK\x03\x04", "unzip"),
    (b"\x28\xB5\x2F\xFD", "unzstd"),
    (b"BZh", "bunzip2"),
    (b"\xFD7zXZ\x00", "unxz"),
];

/// Opens a text file behind its byte order mark, or says why it is not UTF-8.
pub fn open(path: &Path) -> Result<BufReader<File>, DataError> {
    let unreadable = |source| DataError::Unreadable { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut head = vec![];
    file.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(unreadable)?;
    let skip = check(path, &head)?;
    file.seek(SeekFrom::Start(skip as u64)).map_err(unreadable)?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// The first bytes of a file, few if it is short.
pub fn head(path: &Path) -> Result<Vec<u8>, DataError> {
    let unreadable = |source| DataError::Unreadable { path: path.to_path_buf(), source };
    let mut head = vec![];
    let file = File::open(path).map_err(unreadable)?;
    file.take(HEAD as u64).read_to_end(&mut head).map_err(unreadable)?;
    Ok(head)
}

/// How many bytes of a mark come before the text.
fn check(path: &Path, head: &[u8]) -> Result<usize, DataError> {
    if head.is_empty() {
        return Err(DataError::Empty { path: path.to_path_buf() });
    }
    if head.starts_with(MARK) {
        return Ok(MARK.len());
    }
    if let Some((_, how)) = PACKED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(DataError::Packed { path: path.to_path_buf(), how });
    }
    match other_encoding(head) {
        Some(encoding) => Err(DataError::Encoding { path: path.to_path_buf(), encoding }),
        None => Ok(0),
    }
}

/// UTF-16 and UTF-32 by their marks, or by where their zero bytes lie.
fn other_encoding(head: &[u8]) -> Option<&'static str> {
    let marks: [(&[u8], &str); 4] = [
        (b"\xFF\xFE\0\0", "UTF-32LE"),
        (b"\0\0\xFE\xFF", "UTF-32BE"),
        (b"\xFF\xFE", "UTF-16LE"),
        (b"\xFE\xFF", "UTF-16BE"),
    ];
    if let Some((_, encoding)) = marks.iter().find(|(mark, _)| head.starts_with(mark)) {
        return Some(encoding);
    }
    let zeros = |first: usize| head.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, half) = (zeros(0), zeros(1), head.len() / 2);
    match half {
        4.. if odd > half / 2 && even * 4 < odd => Some("UTF-16LE"),
        4.. if even > half / 2 && odd * 4 < even => Some("UTF-16BE"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(head: &[u8]) -> Result<usize, String> {
        check(Path::new("a.txt"), head).map_err(|error| error.to_string())
    }

    #[test]
    fn a_utf8_mark_is_passed_over() {
        assert_eq!(checked(b"\xEF\xBB\xBFtext"), Ok(3));
        assert_eq!(checked("täxt".as_bytes()), Ok(0));
    }

    #[test]
    fn other_encodings_are_named_with_the_way_out() {
        let little: Vec<u8> = "one line".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "one line".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(
            checked(&little),
            Err("`a.txt` is UTF-16LE text; convert it first: `iconv -f UTF-16LE -t UTF-8 a.txt > utf8.txt`"
                .into())
        );
        assert!(checked(&big).is_err_and(|message| message.contains("UTF-16BE")));
        assert!(checked(b"\xFF\xFEa\0").is_err_and(|message| message.contains("UTF-16LE")));
        assert_eq!(checked(b"\x1F\x8Bxx"), Err("`a.txt` is packed; unpack it first: `gunzip a.txt`".into()));
        assert_eq!(checked(b""), Err("`a.txt` is empty; it needs at least one row".into()));
    }
}
