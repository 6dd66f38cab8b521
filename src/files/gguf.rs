//! GGUF, llama.cpp's container: metadata (with the tokenizer in it) and quantised tensors in one mapped file.
//!
//! Nothing is allocated for a count, a length or an offset of the file before it is held against the file's size.

use crate::files::FilesError;
use crate::files::gguf_blocks::{self, Kind};
use crate::files::map::Map;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

const FORMAT: &str = "GGUF";
/// Lists in lists deeper than this are no metadata.
const DEPTH_LIMIT: usize = 4;

/// One metadata value; lists of one kind are kept flat. A `u64` beyond `i64` becomes a `Number`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    Bools(Vec<bool>),
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    Texts(Vec<String>),
    Lists(Vec<Value>),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Value::Bool(_) => "a yes or no",
            Value::Integer(_) => "a whole number",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::Bools(_) => "a list of yes and no",
            Value::Integers(_) => "a list of whole numbers",
            Value::Numbers(_) => "a list of numbers",
            Value::Texts(_) => "a list of texts",
            Value::Lists(_) => "a list of lists",
        }
    }
}

/// A tensor of the file. The shape is row-major, as everywhere else: `[rows, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    pub name: String,
    pub shape: Vec<usize>,
    pub kind: Kind,
    /// Where its bytes lie in the file; empty for a kind that is not read.
    range: Range<usize>,
}

impl TensorInfo {
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// An open file, its header read and checked.
#[derive(Debug)]
pub struct Gguf {
    pub metadata: BTreeMap<String, Value>,
    path: PathBuf,
    map: Map,
    version: u32,
    tensors: Vec<TensorInfo>,
}

impl Gguf {
    pub fn open(path: &Path) -> Result<Gguf, FilesError> {
        let map = Map::open(path)?;
        let mut reader = Reader { bytes: &map, at: 0 };
        let header = reader.header().map_err(|reason| FilesError::Unsound {
            path: path.to_path_buf(),
            format: FORMAT,
            reason,
        })?;
        let Header { version, metadata, tensors } = header;
        Ok(Gguf { metadata, path: path.to_path_buf(), map, version, tensors })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// All tensors in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    pub fn tensor(&self, name: &str) -> Result<&TensorInfo, FilesError> {
        self.tensors
            .iter()
            .find(|tensor| tensor.name == name)
            .ok_or_else(|| FilesError::NoTensor { path: self.path.clone(), tensor: name.to_string() })
    }

    /// The elements of a tensor as floats, row by row.
    pub fn floats(&self, name: &str) -> Result<Vec<f32>, FilesError> {
        let mut floats = vec![0.0; self.tensor(name)?.elements()];
        self.dequantize(name, &mut floats)?;
        Ok(floats)
    }

    /// Writes the elements of a tensor as floats, row by row; there must be room for as many as it has. The bytes of the
    /// file are passed over then and do not stay in memory.
    pub fn dequantize(&self, name: &str, floats: &mut [f32]) -> Result<(), FilesError> {
        let tensor = self.tensor(name)?;
        if tensor.kind.block().is_none() {
            return Err(FilesError::TensorKind {
                path: self.path.clone(),
                tensor: name.to_string(),
                kind: tensor.kind.name(),
                known: gguf_blocks::KNOWN,
            });
        }
        gguf_blocks::dequantize(tensor.kind, &self.map[tensor.range.clone()], floats);
        self.map.pass(tensor.range.clone());
        Ok(())
    }

    /// Whether there is such metadata; the getters below need it to be there.
    pub fn has(&self, key: &str) -> bool {
        self.metadata.contains_key(key)
    }

    pub fn text(&self, key: &str) -> Result<&str, FilesError> {
        self.typed(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub fn flag(&self, key: &str) -> Result<bool, FilesError> {
        self.typed(key, "a yes or no", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    pub fn integer(&self, key: &str) -> Result<i64, FilesError> {
        self.typed(key, "a whole number", |value| match value {
            Value::Integer(integer) => Some(*integer),
            _ => None,
        })
    }

    /// A number; a whole one is a number too.
    pub fn number(&self, key: &str) -> Result<f64, FilesError> {
        self.typed(key, "a number", |value| match value {
            Value::Number(number) => Some(*number),
            Value::Integer(integer) => Some(*integer as f64),
            _ => None,
        })
    }

    pub fn texts(&self, key: &str) -> Result<&[String], FilesError> {
        self.typed(key, "a list of texts", |value| match value {
            Value::Texts(texts) => Some(texts.as_slice()),
            _ => None,
        })
    }

    pub fn integers(&self, key: &str) -> Result<&[i64], FilesError> {
        self.typed(key, "a list of whole numbers", |value| match value {
            Value::Integers(integers) => Some(integers.as_slice()),
            _ => None,
        })
    }

    pub fn numbers(&self, key: &str) -> Result<&[f64], FilesError> {
        self.typed(key, "a list of numbers", |value| match value {
            Value::Numbers(numbers) => Some(numbers.as_slice()),
            _ => None,
        })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, FilesError> {
        let (path, key) = (self.path.clone(), key.to_string());
        let Some(value) = self.metadata.get(&key) else {
            return Err(FilesError::NoMetadata { path, key });
        };
        read(value).ok_or(FilesError::MetadataKind { path, key, found: value.kind(), wanted })
    }
}

struct Header {
    version: u32,
    metadata: BTreeMap<String, Value>,
    tensors: Vec<TensorInfo>,
}

/// Reads forward through the file; every read is held against its end.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn header(&mut self) -> Result<Header, String> {
        if self.take(4, "its first four bytes")? != b"GGUF" {
            return Err("it does not begin with `GGUF`".into());
        }
        let version = self.u32("its version")?;
        if !(2..=3).contains(&version) {
            let hint = if version.swap_bytes() <= 3 { "big-endian, which" } else { "of a version that" };
            return Err(format!(
                "it is {hint} ltune does not read ({version:#x}); versions 2 and 3 are read"
            ));
        }
        let tensor_count = self.u64("its number of tensors")?;
        let metadata_count = self.u64("its number of metadata entries")?;
        // A metadata entry takes 13 bytes at least, a tensor's description 24.
        self.fits(metadata_count, 13, "metadata entries")?;
        self.fits(tensor_count, 24, "tensors")?;
        let mut metadata = BTreeMap::new();
        for _ in 0..metadata_count {
            let key = self.text("a metadata key")?;
            let kind = self.u32(&key)?;
            let value = self.value(kind, &key, 0)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(format!("metadata `{key}` is given twice"));
            }
        }
        let described = (0..tensor_count).map(|_| self.described()).collect::<Result<Vec<_>, _>>()?;
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(Value::Integer(alignment)) if *alignment > 0 && *alignment <= 1 << 20 => *alignment as usize,
            Some(other) => return Err(format!("metadata `general.alignment` is {other:?}")),
        };
        let tensors = self.place(described, self.at.next_multiple_of(alignment))?;
        Ok(Header { version, metadata, tensors })
    }

    /// A tensor's name, shape, kind and offset into the data, as the header gives them.
    fn described(&mut self) -> Result<(String, Vec<usize>, Kind, u64), String> {
        let name = self.text("a tensor's name")?;
        let dimensions = self.u32(&name)?;
        if dimensions > 4 {
            return Err(format!("tensor `{name}` claims {dimensions} dimensions, and 4 is the most"));
        }
        let mut shape = (0..dimensions)
            .map(|_| {
                let side = self.u64(&name)?;
                usize::try_from(side).map_err(|_| format!("tensor `{name}` claims a side of {side}"))
            })
            .collect::<Result<Vec<usize>, String>>()?;
        shape.reverse();
        let kind = Kind::from_number(self.u32(&name)?);
        let offset = self.u64(&name)?;
        Ok((name, shape, kind, offset))
    }

    /// Checks that each tensor lies inside the file and that no two share a byte or a name.
    fn place(
        &self,
        described: Vec<(String, Vec<usize>, Kind, u64)>,
        start: usize,
    ) -> Result<Vec<TensorInfo>, String> {
        let mut names = BTreeSet::new();
        let mut tensors = Vec::with_capacity(described.len());
        for (name, shape, kind, offset) in described {
            if !names.insert(name.clone()) {
                return Err(format!("tensor `{name}` is described twice"));
            }
            let range = match kind.block() {
                Some(block) => self.range(&name, &shape, block, start, offset)?,
                None => 0..0,
            };
            tensors.push(TensorInfo { name, shape, kind, range });
        }
        let mut order: Vec<&TensorInfo> = tensors.iter().filter(|tensor| !tensor.range.is_empty()).collect();
        order.sort_by_key(|tensor| tensor.range.start);
        match order.windows(2).find(|pair| pair[1].range.start < pair[0].range.end) {
            Some(pair) => Err(format!("tensors `{}` and `{}` share bytes", pair[0].name, pair[1].name)),
            None => Ok(tensors),
        }
    }

    fn range(
        &self,
        name: &str,
        shape: &[usize],
        (elements, bytes): (usize, usize),
        start: usize,
        offset: u64,
    ) -> Result<Range<usize>, String> {
        let columns = shape.last().copied().unwrap_or(1);
        if columns % elements != 0 {
            return Err(format!(
                "tensor `{name}` has {columns} columns, which blocks of {elements} do not fill"
            ));
        }
        let size = shape
            .iter()
            .try_fold(1usize, |count, side| count.checked_mul(*side))
            .and_then(|count| (count / elements).checked_mul(bytes));
        let end = size.and_then(|size| {
            let from = start.checked_add(usize::try_from(offset).ok()?)?;
            Some(from..from.checked_add(size)?)
        });
        let have = self.bytes.len();
        match end {
            Some(range) if range.end <= have => Ok(range),
            Some(range) => Err(format!(
                "tensor `{name}` ends at byte {}, but the file has {have}; fetch or copy it again",
                range.end
            )),
            None => {
                Err(format!("tensor `{name}` claims shape {shape:?} at offset {offset}, beyond any file"))
            }
        }
    }

    fn take(&mut self, count: usize, what: &str) -> Result<&[u8], String> {
        let have = self.bytes.len();
        let end = self.at.checked_add(count).filter(|end| *end <= have);
        let Some(end) = end else {
            return Err(format!("it ends at byte {have}, inside `{what}`; fetch or copy it again"));
        };
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        Ok(self.take(N, what)?.try_into().expect("take gives as many as asked for"))
    }

    fn u32(&mut self, what: &str) -> Result<u32, String> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, String> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A claimed count of things of at least `size` bytes, held against what is left of the file.
    fn fits(&self, count: u64, size: u64, what: &str) -> Result<usize, String> {
        let left = (self.bytes.len() - self.at) as u64;
        if count.checked_mul(size).is_none_or(|needed| needed > left) {
            return Err(format!(
                "it claims {count} {what}, but only {left} bytes follow; fetch or copy it again"
            ));
        }
        Ok(count as usize)
    }

    fn text(&mut self, what: &str) -> Result<String, String> {
        let length = self.u64(what)?;
        let length = self.fits(length, 1, &format!("bytes for `{what}`"))?;
        let bytes = self.take(length, what)?.to_vec();
        String::from_utf8(bytes).map_err(|_| format!("`{what}` is not UTF-8"))
    }

    fn value(&mut self, kind: u32, key: &str, depth: usize) -> Result<Value, String> {
        Ok(match kind {
            7 => Value::Bool(self.boolean(key)?),
            8 => Value::Text(self.text(key)?),
            9 => self.list(key, depth)?,
            6 | 12 => Value::Number(self.float(kind, key)?),
            10 => match self.u64(key)? {
                large if large > i64::MAX as u64 => Value::Number(large as f64),
                small => Value::Integer(small as i64),
            },
            _ => Value::Integer(self.whole(kind, key)?),
        })
    }

    fn boolean(&mut self, key: &str) -> Result<bool, String> {
        match self.array::<1>(key)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("metadata `{key}` is a yes or no, but holds {other}")),
        }
    }

    fn float(&mut self, kind: u32, key: &str) -> Result<f64, String> {
        if kind == 6 {
            return self.array(key).map(|bytes| f64::from(f32::from_le_bytes(bytes)));
        }
        self.array(key).map(f64::from_le_bytes)
    }

    fn whole(&mut self, kind: u32, key: &str) -> Result<i64, String> {
        match kind {
            0 => self.array(key).map(|bytes| i64::from(u8::from_le_bytes(bytes))),
            1 => self.array(key).map(|bytes| i64::from(i8::from_le_bytes(bytes))),
            2 => self.array(key).map(|bytes| i64::from(u16::from_le_bytes(bytes))),
            3 => self.array(key).map(|bytes| i64::from(i16::from_le_bytes(bytes))),
            4 => self.array(key).map(|bytes| i64::from(u32::from_le_bytes(bytes))),
            5 => self.array(key).map(|bytes| i64::from(i32::from_le_bytes(bytes))),
            10 => self.u64(key).and_then(|number| {
                i64::try_from(number)
                    .map_err(|_| format!("metadata `{key}` holds {number}, beyond 64 bits with a sign"))
            }),
            11 => self.array(key).map(i64::from_le_bytes),
            other => Err(format!("metadata `{key}` is of the unknown type {other}")),
        }
    }

    fn list(&mut self, key: &str, depth: usize) -> Result<Value, String> {
        if depth == DEPTH_LIMIT {
            return Err(format!("metadata `{key}` nests lists deeper than {DEPTH_LIMIT}"));
        }
        let kind = self.u32(key)?;
        let count = self.u64(key)?;
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => 12,
            other => return Err(format!("metadata `{key}` lists the unknown type {other}")),
        };
        let count = self.fits(count, size, &format!("entries in `{key}`"))?;
        Ok(match kind {
            6 | 12 => Value::Numbers((0..count).map(|_| self.float(kind, key)).collect::<Result<_, _>>()?),
            7 => Value::Bools((0..count).map(|_| self.boolean(key)).collect::<Result<_, _>>()?),
            8 => Value::Texts((0..count).map(|_| self.text(key)).collect::<Result<_, _>>()?),
            9 => Value::Lists((0..count).map(|_| self.list(key, depth + 1)).collect::<Result<_, _>>()?),
            _ => Value::Integers((0..count).map(|_| self.whole(kind, key)).collect::<Result<_, _>>()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    /// Builds the bytes of a small file, true or lying.
    #[derive(Clone, Default)]
    struct Made {
        entries: Vec<u8>,
        entry_count: u64,
        tensors: Vec<u8>,
        tensor_count: u64,
        data: Vec<u8>,
    }

    fn text(text: &str) -> Vec<u8> {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes
    }

    impl Made {
        fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Made {
            self.entries.extend(text(key));
            self.entries.extend(kind.to_le_bytes());
            self.entries.extend(value);
            self.entry_count += 1;
            self
        }

        fn tensor(mut self, name: &str, sides: &[u64], kind: u32, offset: u64) -> Made {
            self.tensors.extend(text(name));
            self.tensors.extend((sides.len() as u32).to_le_bytes());
            sides.iter().for_each(|side| self.tensors.extend(side.to_le_bytes()));
            self.tensors.extend(kind.to_le_bytes());
            self.tensors.extend(offset.to_le_bytes());
            self.tensor_count += 1;
            self
        }

        fn data(mut self, data: &[u8]) -> Made {
            self.data = data.to_vec();
            self
        }

        fn bytes(&self) -> Vec<u8> {
            let mut bytes = b"GGUF\x03\0\0\0".to_vec();
            bytes.extend(self.tensor_count.to_le_bytes());
            bytes.extend(self.entry_count.to_le_bytes());
            bytes.extend(&self.entries);
            bytes.extend(&self.tensors);
            bytes.resize(bytes.len().next_multiple_of(32), 0);
            bytes.extend(&self.data);
            bytes
        }

        fn open(&self) -> Result<Gguf, String> {
            opened(&self.bytes())
        }
    }

    fn opened(bytes: &[u8]) -> Result<Gguf, String> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x.gguf");
        fs::write(&path, bytes).unwrap();
        Gguf::open(&path).map_err(|error| {
            let text = error.to_string();
            text.split_once("is not a sound GGUF file: ")
                .map_or(text.clone(), |(_, reason)| reason.to_string())
        })
    }

    fn list(kind: u32, count: u64, items: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes(), count.to_le_bytes().as_slice(), items].concat()
    }

    fn small() -> Made {
        let words = [text("a"), text("çb")].concat();
        Made::default()
            .entry("general.architecture", 8, &text("llama"))
            .entry("llama.block_count", 4, &2u32.to_le_bytes())
            .entry("llama.rope.freq_base", 6, &1e5f32.to_le_bytes())
            .entry("tokenizer.ggml.add_bos_token", 7, &[1])
            .entry("tokenizer.ggml.tokens", 9, &list(8, 2, &words))
            .entry("tokenizer.ggml.token_type", 9, &list(5, 2, &[1, 0, 0, 0, 255, 255, 255, 255]))
            .entry("tokenizer.ggml.scores", 9, &list(6, 1, &0.5f32.to_le_bytes()))
            .tensor("w", &[3, 2], 0, 0)
            .tensor("h", &[2], 1, 32)
            .data(
                &[
                    (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect(),
                    vec![0; 8],
                    vec![0, 0x3c, 0, 0xc0],
                ]
                .concat(),
            )
    }

    #[test]
    fn metadata_and_tensors_are_read() {
        let file = small().open().unwrap();
        assert_eq!(file.version(), 3);
        assert_eq!(file.text("general.architecture").unwrap(), "llama");
        assert_eq!(file.integer("llama.block_count").unwrap(), 2);
        assert_eq!(file.number("llama.block_count").unwrap(), 2.0);
        assert_eq!(file.number("llama.rope.freq_base").unwrap(), 1e5);
        assert!(file.flag("tokenizer.ggml.add_bos_token").unwrap());
        assert_eq!(file.texts("tokenizer.ggml.tokens").unwrap(), ["a", "çb"]);
        assert_eq!(file.integers("tokenizer.ggml.token_type").unwrap(), [1, -1]);
        assert_eq!(file.numbers("tokenizer.ggml.scores").unwrap(), [0.5]);
        assert_eq!(file.tensor("w").unwrap().shape, [2, 3]);
        assert_eq!(file.floats("w").unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(file.floats("h").unwrap(), [1.0, -2.0]);
    }

    #[test]
    fn what_is_asked_for_in_vain_is_named() {
        let file = small().open().unwrap();
        let told = |error: FilesError| error.to_string().split_once("x.gguf`").unwrap().1.to_string();
        assert_eq!(told(file.text("no").unwrap_err()), " has no metadata `no`");
        assert_eq!(
            told(file.text("llama.block_count").unwrap_err()),
            ": metadata `llama.block_count` is a whole number, but a text is needed"
        );
        assert_eq!(told(file.floats("v").unwrap_err()), " has no tensor `v`");
        let strange = Made::default().tensor("s", &[256], 23, 0).open().unwrap();
        assert!(told(strange.floats("s").unwrap_err()).starts_with(": tensor `s` is IQ4_XS, which ltune"));
    }

    #[test]
    fn each_lie_is_told_before_anything_is_allocated() {
        let lie = |made: Made| made.open().unwrap_err();
        let huge = u64::MAX.to_le_bytes();
        assert_eq!(
            opened(b"").unwrap_err(),
            "it ends at byte 0, inside `its first four bytes`; fetch or copy it again"
        );
        assert_eq!(opened(b"ggml12345").unwrap_err(), "it does not begin with `GGUF`");
        assert!(opened(b"GGUF\x01\0\0\0").unwrap_err().contains("versions 2 and 3 are read"));
        assert!(opened(b"GGUF\0\0\0\x03").unwrap_err().contains("big-endian"));
        let mut counts = small();
        counts.tensor_count = 1 << 60;
        assert!(lie(counts).starts_with("it claims 1152921504606846976 tensors, but only "));
        let mut entries = small();
        entries.entry_count = u64::MAX;
        assert!(lie(entries).contains("metadata entries, but only "));
        assert!(lie(Made::default().entry("k", 8, &huge)).contains("bytes for `k`, but only "));
        assert!(
            lie(Made::default().entry("k", 9, &list(10, u64::MAX / 2, &[])))
                .contains("entries in `k`, but only")
        );
        assert!(lie(Made::default().entry("k", 77, &[])).contains("unknown type 77"));
        assert!(lie(Made::default().entry("k", 7, &[9])).contains("holds 9"));
        let deep = (0..9).fold(list(0, 0, &[]), |inner, _| list(9, 1, &inner));
        assert!(lie(Made::default().entry("k", 9, &deep)).contains("deeper than 4"));
        assert!(lie(Made::default().entry("k", 7, &[1]).entry("k", 7, &[1])).contains("given twice"));
        assert!(lie(Made::default().tensor("w", &[1; 5], 0, 0)).contains("claims 5 dimensions"));
        assert!(lie(Made::default().tensor("w", &[u64::MAX, 8], 0, 0)).contains("beyond any file"));
        assert!(lie(Made::default().tensor("w", &[4], 0, u64::MAX)).contains("beyond any file"));
        assert!(lie(Made::default().tensor("w", &[33], 8, 0)).contains("33 columns, which blocks of 32"));
        assert!(lie(Made::default().tensor("w", &[4], 0, 0)).contains("but the file has"));
        let twice = Made::default().tensor("w", &[1], 0, 0).tensor("w", &[1], 0, 4).data(&[0; 8]);
        assert_eq!(lie(twice), "tensor `w` is described twice");
        let shared = Made::default().tensor("v", &[2], 0, 0).tensor("w", &[1], 0, 4).data(&[0; 8]);
        assert_eq!(lie(shared), "tensors `v` and `w` share bytes");
        assert!(lie(small().entry("general.alignment", 4, &[0; 4])).contains("general.alignment"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_cut_or_changed_file_never_panics(cut in 0usize..600, changes in prop::collection::vec((0usize..600, any::<u8>()), 1..4)) {
            let whole = small().bytes();
            prop_assert!(opened(&whole[..cut.min(whole.len() - 1)]).is_err());
            let mut changed = whole.clone();
            for (at, byte) in changes {
                let at = at % changed.len();
                changed[at] = byte;
            }
            if let Ok(file) = opened(&changed) {
                for tensor in file.tensors() {
                    if let Ok(floats) = file.floats(&tensor.name) {
                        prop_assert_eq!(floats.len(), tensor.shape.iter().product::<usize>());
                    }
                }
            }
        }
    }
}
