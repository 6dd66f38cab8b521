//! Safetensors, the weight format of the Hugging Face world: one file, or shards with an index.
//!
//! The header is read here rather than by the `safetensors` crate so that each lie in it is told with the
//! tensor's name and both numbers; the crate is the judge of both directions in the tests.

use crate::files::map::Map;
use crate::files::{FilesError, atomic};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

/// The format's own limit on its header.
const HEADER_LIMIT: u64 = 100_000_000;
const FORMAT: &str = "safetensors";
const KNOWN: &str = "F32, F16, BF16, F64, I64, I32, U8 and BOOL";

/// What one element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    Bool,
    U8,
    F16,
    BF16,
    I32,
    F32,
    I64,
    F64,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::Bool | Dtype::U8 => 1,
            Dtype::F16 | Dtype::BF16 => 2,
            Dtype::I32 | Dtype::F32 => 4,
            Dtype::I64 | Dtype::F64 => 8,
        }
    }

    /// The name in the header.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Bool => "BOOL",
            Dtype::U8 => "U8",
            Dtype::F16 => "F16",
            Dtype::BF16 => "BF16",
            Dtype::I32 => "I32",
            Dtype::F32 => "F32",
            Dtype::I64 => "I64",
            Dtype::F64 => "F64",
        }
    }

    fn parse(name: &str) -> Option<Dtype> {
        use Dtype::*;
        [Bool, U8, F16, BF16, I32, F32, I64, F64].into_iter().find(|dtype| dtype.name() == name)
    }
}

/// A tensor where it lies in the file. The bytes are little-endian and may lie at any address.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

/// A tensor to be written: name, element, shape, little-endian bytes.
pub type Entry<'a> = (String, Dtype, Vec<usize>, Cow<'a, [u8]>);

/// One safetensors file or all shards of a folder, mapped and checked.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    shards: Vec<(PathBuf, Map)>,
    tensors: BTreeMap<String, Placed>,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Placed {
    shard: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

impl Archive {
    /// Opens a file, or a folder with `model.safetensors` or `model.safetensors.index.json`.
    pub fn open(path: &Path) -> Result<Archive, FilesError> {
        let mut archive = Archive {
            path: path.to_path_buf(),
            shards: vec![],
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
        };
        if !path.is_dir() {
            archive.add(path.to_path_buf())?;
            return Ok(archive);
        }
        let (single, index) = (path.join("model.safetensors"), path.join("model.safetensors.index.json"));
        if single.exists() {
            archive.add(single)?;
        } else if index.exists() {
            archive.add_shards(&index)?;
        } else {
            return Err(FilesError::NoWeights { path: path.to_path_buf(), found: what_is_there(path) });
        }
        Ok(archive)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn get(&self, name: &str) -> Option<View<'_>> {
        let placed = self.tensors.get(name)?;
        let bytes = &self.shards[placed.shard].1[placed.range.clone()];
        Some(View { dtype: placed.dtype, shape: &placed.shape, bytes })
    }

    /// The bytes of a tensor have been read and need not stay in memory.
    pub fn pass(&self, name: &str) {
        if let Some(placed) = self.tensors.get(name) {
            self.shards[placed.shard].1.pass(placed.range.clone());
        }
    }

    /// As `get`, where the tensor must be there.
    pub fn expect(&self, name: &str) -> Result<View<'_>, FilesError> {
        self.get(name)
            .ok_or_else(|| FilesError::NoTensor { path: self.path.clone(), tensor: name.to_string() })
    }

    /// The free text entries of the header.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The files that hold the tensors.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|(path, _)| path.as_path())
    }

    fn add_shards(&mut self, index: &Path) -> Result<(), FilesError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let unsound = |reason| FilesError::Unsound { path: index.to_path_buf(), format: FORMAT, reason };
        let text = crate::files::read(index)?;
        let map =
            serde_json::from_slice::<Index>(&text).map_err(|error| unsound(error.to_string()))?.weight_map;
        let mut shards: Vec<&String> = map.values().collect();
        shards.sort();
        shards.dedup();
        for shard in shards {
            let mut parts = Path::new(shard).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                return Err(unsound(format!("shard `{shard}` does not lie beside it")));
            }
            self.add(index.with_file_name(shard))?;
        }
        for (tensor, shard) in &map {
            let placed = self.tensors.get(tensor).map(|placed| &self.shards[placed.shard].0);
            if placed.is_none_or(|file| *file != index.with_file_name(shard)) {
                return Err(unsound(format!(
                    "it places tensor `{tensor}` in `{shard}`, which does not hold it"
                )));
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf) -> Result<(), FilesError> {
        let map = Map::open(&path)?;
        let header = Header::read(&path, &map)?;
        for (name, placed) in header.place(&path, map.len(), self.shards.len())? {
            if self.tensors.contains_key(&name) {
                let reason = format!("tensor `{name}` is in two shards");
                return Err(FilesError::Unsound { path, format: FORMAT, reason });
            }
            self.tensors.insert(name, placed);
        }
        self.metadata.extend(header.metadata);
        self.shards.push((path, map));
        Ok(())
    }
}

/// Says what a folder without safetensors has instead, and what to do.
fn what_is_there(path: &Path) -> String {
    let names: Vec<String> = std::fs::read_dir(path)
        .map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    if names.iter().any(|name| name.ends_with(".bin") || name.ends_with(".pth") || name.ends_with(".pt")) {
        return "it has only pickled weights, which can run code when they are read; \
                save them as safetensors with `save_pretrained` first"
            .into();
    }
    match names.iter().find(|name| name.ends_with(".gguf")) {
        Some(name) => format!(
            "it has no `model.safetensors`; name the GGUF file itself: `{}`",
            path.join(name).display()
        ),
        None => "it has neither `model.safetensors` nor `model.safetensors.index.json`".into(),
    }
}

#[derive(Deserialize)]
struct Described {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The header as it is written, in its order.
#[derive(Default)]
struct Header {
    tensors: Vec<(String, Described)>,
    metadata: BTreeMap<String, String>,
    /// Where the data begins in the file.
    start: usize,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Header, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        header.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else {
                        let described = map
                            .next_value()
                            .map_err(|error| A::Error::custom(format!("tensor `{name}`: {error}")))?;
                        header.tensors.push((name, described));
                    }
                }
                Ok(header)
            }
        }
        from.deserialize_map(Entries)
    }
}

impl Header {
    fn read(path: &Path, bytes: &[u8]) -> Result<Header, FilesError> {
        let unsound = |reason| FilesError::Unsound { path: path.to_path_buf(), format: FORMAT, reason };
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
            return Err(unsound(format!("it has only {} bytes; fetch or copy it again", bytes.len())));
        };
        let length = u64::from_le_bytes(*length);
        if length > HEADER_LIMIT {
            return Err(unsound(format!("its header claims {length} bytes, and {HEADER_LIMIT} is the most")));
        }
        let Some(header) = rest.get(..length as usize) else {
            let have = rest.len();
            return Err(unsound(format!(
                "its header claims {length} bytes, but only {have} follow; fetch or copy it again"
            )));
        };
        let mut header: Header =
            serde_json::from_slice(header).map_err(|error| unsound(format!("its header: {error}")))?;
        header.start = 8 + length as usize;
        Ok(header)
    }

    /// Checks that the tensors cover the data exactly, each as large as its shape says.
    fn place(&self, path: &Path, size: usize, shard: usize) -> Result<Vec<(String, Placed)>, FilesError> {
        let unsound = |reason| FilesError::Unsound { path: path.to_path_buf(), format: FORMAT, reason };
        let available = size - self.start;
        let mut order: Vec<&(String, Described)> = self.tensors.iter().collect();
        order.sort_by_key(|(_, described)| described.data_offsets);
        let mut end = 0;
        let mut placed = Vec::with_capacity(order.len());
        for (name, described) in order {
            let Some(dtype) = Dtype::parse(&described.dtype) else {
                return Err(FilesError::TensorKind {
                    path: path.to_path_buf(),
                    tensor: name.clone(),
                    kind: described.dtype.clone(),
                    known: KNOWN,
                });
            };
            let (from, to) = described.data_offsets;
            let needed = described.shape.iter().try_fold(dtype.size(), |size, side| size.checked_mul(*side));
            if to < from || needed != Some(to - from) {
                let shape = &described.shape;
                return Err(unsound(format!(
                    "tensor `{name}` of shape {shape:?} and {} does not fill its bytes {from} to {to}",
                    dtype.name()
                )));
            }
            if to > available {
                return Err(unsound(format!(
                    "tensor `{name}` ends at byte {to} of the data, but only {available} are there; fetch or copy it again"
                )));
            }
            if from != end {
                return Err(unsound(format!(
                    "tensor `{name}` begins at byte {from} of the data, but the one before it ends at {end}"
                )));
            }
            end = to;
            let range = self.start + from..self.start + to;
            placed.push((name.clone(), Placed { shard, dtype, shape: described.shape.clone(), range }));
        }
        if end != available {
            return Err(unsound(format!(
                "its tensors end at byte {end} of the data, but {available} are there"
            )));
        }
        let mut names: Vec<&String> = self.tensors.iter().map(|(name, _)| name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(unsound(format!("tensor `{}` is described twice", twice[0])));
        }
        Ok(placed)
    }
}

/// Writes one file, atomically: widest elements first and then by name, so that each tensor is aligned.
pub fn write(path: &Path, entries: &[Entry], metadata: &BTreeMap<String, String>) -> Result<(), FilesError> {
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), serde_json::json!(metadata));
    }
    let mut end = 0;
    for (name, dtype, shape, bytes) in &order {
        let needed = dtype.size() * shape.iter().product::<usize>();
        assert_eq!(needed, bytes.len(), "tensor `{name}` of shape {shape:?} has another number of bytes");
        let offsets = [end, end + bytes.len()];
        header.insert(
            name.clone(),
            serde_json::json!({ "dtype": dtype.name(), "shape": shape, "data_offsets": offsets }),
        );
        end += bytes.len();
    }
    let mut header = serde_json::Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    atomic::write_with(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        order.iter().try_for_each(|(_, _, _, bytes)| file.write_all(bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;
    use std::fs;

    fn entries() -> Vec<Entry<'static>> {
        let floats: Vec<u8> = (0..6).flat_map(|index| (index as f32).to_le_bytes()).collect();
        vec![
            ("b.bool".into(), Dtype::Bool, vec![3], Cow::Owned(vec![1, 0, 1])),
            ("a.weight".into(), Dtype::F32, vec![2, 3], Cow::Owned(floats)),
            ("half".into(), Dtype::BF16, vec![1, 1], Cow::Owned(vec![0x80, 0x3f])),
            ("none".into(), Dtype::I64, vec![0, 4], Cow::Owned(vec![])),
        ]
    }

    fn metadata() -> BTreeMap<String, String> {
        BTreeMap::from([("format".into(), "pt".into())])
    }

    fn written() -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("model.safetensors");
        write(&path, &entries(), &metadata()).unwrap();
        (home, path)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (home, path) = written();
        for opened in [path.as_path(), home.path()] {
            let archive = Archive::open(opened).unwrap();
            assert_eq!(archive.names().collect::<Vec<_>>(), ["a.weight", "b.bool", "half", "none"]);
            assert_eq!(archive.metadata(), &metadata());
            for (name, dtype, shape, bytes) in entries() {
                let view = archive.get(&name).unwrap();
                assert_eq!((view.dtype, view.shape, view.bytes), (dtype, shape.as_slice(), bytes.as_ref()));
            }
            assert!(archive.expect("c").unwrap_err().to_string().ends_with("has no tensor `c`"));
        }
    }

    #[test]
    fn the_reference_library_reads_the_same_from_ours_and_we_from_its() {
        let (home, path) = written();
        let bytes = fs::read(&path).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let ours = Archive::open(&path).unwrap();
        assert_eq!(theirs.len(), 4);
        for (name, view) in theirs.iter() {
            let our = ours.get(name).unwrap();
            assert_eq!(
                (our.shape, our.bytes, our.dtype.name()),
                (view.shape(), view.data(), &*view.dtype().to_string())
            );
        }
        let again = home.path().join("theirs.safetensors");
        let plain =
            safetensors::serialize(theirs.tensors(), Some([("format".into(), "pt".into())].into())).unwrap();
        fs::write(&again, &plain).unwrap();
        let ours_again = Archive::open(&again).unwrap();
        assert_eq!(ours_again.names().collect::<Vec<_>>(), ours.names().collect::<Vec<_>>());
    }

    #[test]
    fn shards_are_one_archive_and_a_lying_index_is_named() {
        let home = tempfile::tempdir().unwrap();
        let all = entries();
        write(&home.path().join("one.safetensors"), &all[..2], &metadata()).unwrap();
        write(&home.path().join("two.safetensors"), &all[2..], &metadata()).unwrap();
        let index = |map: &str| {
            let text = format!("{{\"metadata\":{{\"total_size\":1}},\"weight_map\":{map}}}");
            fs::write(home.path().join("model.safetensors.index.json"), text).unwrap();
            Archive::open(home.path())
                .map(|archive| archive.names().count())
                .map_err(|error| error.to_string())
        };
        let map = r#"{"a.weight":"one.safetensors","b.bool":"one.safetensors","half":"two.safetensors"}"#;
        assert_eq!(index(map), Ok(4));
        let absent = index(r#"{"x":"one.safetensors"}"#).unwrap_err();
        assert!(
            absent.ends_with("it places tensor `x` in `one.safetensors`, which does not hold it"),
            "{absent}"
        );
        assert!(index(r#"{"x":"../one.safetensors"}"#).unwrap_err().contains("does not lie beside it"));
        assert!(
            index(r#"{"x":"three.safetensors"}"#).unwrap_err().ends_with("three.safetensors` does not exist")
        );
        assert!(index("7").unwrap_err().contains("is not a sound safetensors file"));
    }

    #[test]
    fn a_folder_without_safetensors_says_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let message = || Archive::open(home.path()).unwrap_err().to_string();
        assert!(message().contains("neither `model.safetensors`"));
        fs::write(home.path().join("x.gguf"), "").unwrap();
        assert!(message().contains("name the GGUF file itself"));
        fs::write(home.path().join("pytorch_model.bin"), "").unwrap();
        assert!(message().contains("`save_pretrained`"));
    }

    fn with_header(header: &str, data: usize) -> String {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x.safetensors");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        fs::write(&path, bytes).unwrap();
        let error = Archive::open(&path).unwrap_err().to_string();
        error.split_once("x.safetensors`").unwrap().1.to_string()
    }

    #[test]
    fn each_lie_is_told_with_tensor_and_numbers() {
        let one = |dtype, shape, from, to| {
            format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}}}"#)
        };
        let unsound = " is not a sound safetensors file: ";
        assert_eq!(
            with_header(&one("F32", "[4]", 0, 16), 12),
            format!(
                "{unsound}tensor `w` ends at byte 16 of the data, but only 12 are there; fetch or copy it again"
            )
        );
        assert_eq!(
            with_header(&one("F32", "[5]", 0, 16), 16),
            format!("{unsound}tensor `w` of shape [5] and F32 does not fill its bytes 0 to 16")
        );
        assert_eq!(
            with_header(&one("F32", "[4]", 4, 20), 20),
            format!("{unsound}tensor `w` begins at byte 4 of the data, but the one before it ends at 0")
        );
        assert_eq!(
            with_header(&one("F32", "[4]", 0, 16), 20),
            format!("{unsound}its tensors end at byte 16 of the data, but 20 are there")
        );
        assert!(
            with_header(&one("F8_E4M3", "[4]", 0, 4), 4).starts_with(": tensor `w` is F8_E4M3, which ltune")
        );
        assert!(with_header(&one("F32", "[9223372036854775807, 8]", 0, 16), 16).contains("does not fill"));
        assert!(
            with_header(r#"{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}"#, 0)
                .contains("tensor `w`: ")
        );
        let twice = r#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
        assert!(with_header(twice, 2).ends_with("tensor `w` is described twice"));
        assert!(with_header("", 0).contains("its header: "));
    }

    #[test]
    fn a_cut_or_changed_file_never_panics() {
        let (home, path) = written();
        let whole = fs::read(&path).unwrap();
        let short = home.path().join("short");
        let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
        let cases = (0..whole.len(), 0..whole.len(), any::<u8>());
        let held = TestRunner::new(config).run(&cases, |(cut, at, byte)| {
            fs::write(&short, &whole[..cut]).unwrap();
            prop_assert!(Archive::open(&short).is_err());
            let mut changed = whole.clone();
            changed[at] = byte;
            fs::write(&short, &changed).unwrap();
            let Ok(archive) = Archive::open(&short) else { return Ok(()) };
            for name in archive.names() {
                let view = archive.get(name).unwrap();
                prop_assert_eq!(view.bytes.len(), view.dtype.size() * view.shape.iter().product::<usize>());
            }
            Ok(())
        });
        held.unwrap();
    }
}
