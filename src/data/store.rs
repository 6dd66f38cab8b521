//! A prepared data set as a cache file: written atomically, checked when read, rebuilt when it does not hold.

use crate::data::dataset::{Counts, Part};
use crate::data::shape::Shape;
use crate::files::FilesError;
use crate::files::atomic;
use crate::files::hash::sha256;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Raised when the meaning of prepared data changes: older files are then not found.
pub const VERSION: u32 = 2;

const MAGIC: &[u8] = b"ltune data\n";
const HASH: usize = 64;

/// What a cache file holds beside the parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub hash: String,
    pub shape: Shape,
    pub counts: Counts,
    pub labels: Vec<String>,
    /// The source of the chat template in use.
    pub template: Option<String>,
    parts: Vec<PartHeader>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PartHeader {
    tokens: usize,
    examples: usize,
    text: usize,
    files: Vec<String>,
    too_long: Vec<u32>,
}

impl Header {
    pub fn new(
        hash: String,
        shape: Shape,
        counts: Counts,
        labels: Vec<String>,
        template: Option<String>,
    ) -> Header {
        Header { hash, shape, counts, labels, template, parts: vec![] }
    }
}

/// Where the data set of a hash lies.
pub fn path(cache: &Path, hash: &str) -> PathBuf {
    cache.join("data").join(format!("{hash}.tokens"))
}

pub fn write(path: &Path, mut header: Header, parts: &[Part]) -> Result<(), FilesError> {
    header.parts = parts.iter().map(Part::header).collect();
    let json = serde_json::to_vec(&header).map_err(std::io::Error::other);
    let json = json.map_err(|reason| FilesError::from_io("write", path, reason))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend((json.len() as u64).to_le_bytes());
    bytes.extend(json);
    parts.iter().for_each(|part| part.write(&mut bytes));
    bytes.extend(sha256(&bytes).into_bytes());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|reason| FilesError::from_io("write", folder, reason))?;
    }
    atomic::write(path, &bytes)
}

/// The header and parts of a file that is whole; none otherwise, whatever is wrong with it.
pub fn read(path: &Path, hash: &str) -> Option<(Header, Vec<Part>)> {
    let bytes = std::fs::read(path).ok()?;
    let (content, trailer) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
    if sha256(content).as_bytes() != trailer {
        return None;
    }
    let mut reader = Reader(content.strip_prefix(MAGIC)?);
    let length = u64::from_le_bytes(reader.take(8)?.try_into().ok()?);
    let header: Header = serde_json::from_slice(reader.take(usize::try_from(length).ok()?)?).ok()?;
    if header.hash != hash {
        return None;
    }
    let parts: Option<Vec<Part>> = header.parts.iter().map(|part| Part::read(part, &mut reader)).collect();
    Some((header, parts?))
}

/// Gives bytes away from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn numbers(&mut self, count: usize) -> Option<Vec<u64>> {
        let bytes = self.take(count.checked_mul(8)?)?;
        Some(bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
    }
}

impl Part {
    fn header(&self) -> PartHeader {
        let (tokens, examples, text) = (self.ids.len(), self.len(), self.text.len());
        PartHeader { tokens, examples, text, files: self.files.clone(), too_long: self.too_long.clone() }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.ids.iter().flat_map(|id| id.to_le_bytes()));
        bytes.extend(self.supervised.iter().map(|supervised| u8::from(*supervised)));
        bytes.extend(self.text.as_bytes());
        let mut number = |number: u64| bytes.extend(number.to_le_bytes());
        self.offsets.iter().skip(1).for_each(|offset| number(*offset as u64));
        self.text_ends.iter().flatten().for_each(|end| number(*end as u64));
        self.places.iter().for_each(|(file, place)| {
            number(u64::from(*file));
            number(*place);
        });
    }

    fn read(header: &PartHeader, reader: &mut Reader) -> Option<Part> {
        let ids = reader.take(header.tokens.checked_mul(4)?)?;
        let ids = ids.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let supervised = reader.take(header.tokens)?.iter().map(|byte| *byte == 1).collect();
        let text = String::from_utf8(reader.take(header.text)?.to_vec()).ok()?;
        let ends = reader.numbers(header.examples)?;
        let offsets = std::iter::once(0).chain(ends.into_iter().map(|end| end as usize)).collect();
        let text_ends = reader.numbers(header.examples.checked_mul(4)?)?;
        let text_ends =
            text_ends.as_chunks::<4>().0.iter().map(|ends| ends.map(|end| end as usize)).collect();
        let places = reader.numbers(header.examples.checked_mul(2)?)?;
        let places = places.as_chunks::<2>().0.iter().map(|[file, place]| (*file as u32, *place)).collect();
        let (files, too_long) = (header.files.clone(), header.too_long.clone());
        Some(Part { ids, supervised, offsets, text, text_ends, places, files, too_long })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::{Example, RowText};

    fn part() -> Part {
        let mut part = Part::new(vec!["a.jsonl".into()]);
        let row = RowText { prompt: "p", completion: "ç", label: Some("l"), rejected: None };
        part.push(Example { ids: &[1, 2, 70000], supervised: &[false, true, false] }, row, (0, 7));
        part.push(Example { ids: &[4], supervised: &[true] }, RowText::default(), (0, 9));
        part.too_long.push(70);
        part
    }

    #[test]
    fn a_file_gives_back_what_was_written_and_nothing_when_it_is_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path(folder.path(), "abc");
        let counts = Counts { read: 2, ..Counts::default() };
        let header = Header::new("abc".into(), Shape::Completion, counts, vec!["l".into()], None);
        write(&path, header, &[part(), Part::new(vec![])]).expect("written");
        let (header, parts) = read(&path, "abc").expect("whole");
        assert_eq!((header.counts.read, header.labels), (2, vec!["l".to_string()]));
        assert_eq!(parts, [part(), Part::new(vec![])]);
        assert!(read(&path, "other").is_none());
        let bytes = std::fs::read(&path).expect("read");
        for (place, count) in
            [(20, bytes.len()), (bytes.len() - 70, bytes.len()), (0, 30), (0, 0), (0, bytes.len() - 1)]
        {
            let mut damaged = bytes[..count].to_vec();
            if let Some(byte) = damaged.get_mut(place) {
                *byte ^= 1;
            }
            std::fs::write(&path, damaged).expect("written");
            assert!(read(&path, "abc").is_none(), "byte {place} of {count}");
        }
    }

    #[test]
    fn rows_keep_their_words_and_places() {
        let part = part();
        let row = part.row(0);
        assert_eq!((row.prompt, row.completion, row.label, row.rejected), ("p", "ç", Some("l"), None));
        assert_eq!(part.row(1), RowText::default());
        assert_eq!(part.place(1), "a.jsonl:9");
        assert_eq!((part.prompt_ids(0), part.completion_ids(0)), ([1].as_slice(), [2].as_slice()));
    }
}
