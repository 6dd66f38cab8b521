//! What a `data` block means: where rows come from and how they become examples.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where rows come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// A file, or a folder whose files are read in the order of their names.
    Path(PathBuf),
    /// Random token ids, for benchmarks: every token but the first is supervised.
    Random { rows: usize, length: usize, seed: u64 },
}

/// How a file holds its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One document a file, or a row of a `text` column.
    Text,
    Csv,
    Tsv,
    Json,
    Jsonl,
    Parquet,
}

impl Format {
    pub const ALL: [Format; 6] =
        [Format::Text, Format::Csv, Format::Tsv, Format::Json, Format::Jsonl, Format::Parquet];

    pub fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Json => "json",
            Format::Jsonl => "jsonl",
            Format::Parquet => "parquet",
        }
    }

    pub fn parse(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// What happens to an example of more than `max_len` tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverLength {
    /// Its first `max_len` tokens are kept.
    #[default]
    Cut,
    Drop,
    Error,
}

/// Which tokens are targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    /// What the model is to write: the completion, or every assistant message of a chat.
    #[default]
    Completion,
    All,
    /// Messages of these roles.
    Roles(Vec<String>),
}

/// One `data` block, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Specification {
    pub from: From,
    /// Detected from the file's name and first bytes when left out.
    pub format: Option<Format>,
    /// Meaning to column: `prompt` to `question`.
    pub columns: BTreeMap<String, String>,
    /// Shares of train, validation and test; one share leaves everything in train.
    pub split: Vec<f64>,
    pub shuffle: bool,
    /// In tokens.
    pub max_len: usize,
    pub over_length: OverLength,
    pub packing: bool,
    pub loss_on: LossOn,
    /// Whether an end-of-text token closes each document or completion.
    pub eos: bool,
    pub seed: u64,
    /// `none`, a built-in name, a `.jinja` file or Jinja source; left out: the tokenizer's own.
    pub template: Option<String>,
    /// Reads no more rows than this.
    pub rows_limit: Option<usize>,
}

impl Specification {
    /// Every default, for rows from `from`.
    pub fn new(from: From) -> Specification {
        Specification {
            from,
            format: None,
            columns: BTreeMap::new(),
            split: vec![0.95, 0.05],
            shuffle: true,
            max_len: 1024,
            over_length: OverLength::Cut,
            packing: false,
            loss_on: LossOn::Completion,
            eos: true,
            seed: 42,
            template: None,
            rows_limit: None,
        }
    }
}
