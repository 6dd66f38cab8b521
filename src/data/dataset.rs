//! Tokenized examples: three parts of flat vectors, and the counts of what was read and left out.

use crate::data::shape::Shape;
use crate::data::template::ChatTemplate;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartName {
    Train,
    Validation,
    Test,
}

impl PartName {
    pub const ALL: [PartName; 3] = [PartName::Train, PartName::Validation, PartName::Test];

    pub fn name(self) -> &'static str {
        match self {
            PartName::Train => "train",
            PartName::Validation => "validation",
            PartName::Test => "test",
        }
    }

    pub fn parse(name: &str) -> Option<PartName> {
        PartName::ALL.into_iter().find(|part| part.name() == name)
    }
}

/// What was read, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows read.
    pub read: u64,
    /// Rows dropped because they were empty.
    pub empty: u64,
    /// Rows dropped because an earlier one is exactly the same.
    pub duplicates: u64,
    /// Rows dropped because their text is not UTF-8.
    pub invalid_utf8: u64,
    /// Rows that a transform of one's own left out.
    #[serde(default)]
    pub left_out: u64,
    /// Examples cut to `max_len`, and the tokens that went.
    pub cut: u64,
    pub cut_tokens: u64,
    /// Examples dropped because they were longer than `max_len`.
    pub dropped_long: u64,
    /// Examples kept, their tokens, and those that are targets.
    pub examples: u64,
    pub tokens: u64,
    pub supervised: u64,
    /// Tokens of the longest example, before it was cut or dropped.
    pub longest: u64,
}

impl Counts {
    /// Adds what another pass counted.
    pub fn add(&mut self, other: &Counts) {
        self.read += other.read;
        self.empty += other.empty;
        self.duplicates += other.duplicates;
        self.invalid_utf8 += other.invalid_utf8;
        self.left_out += other.left_out;
        self.cut += other.cut;
        self.cut_tokens += other.cut_tokens;
        self.dropped_long += other.dropped_long;
        self.examples += other.examples;
        self.tokens += other.tokens;
        self.supervised += other.supervised;
        self.longest = self.longest.max(other.longest);
    }
}

/// One data set, tokenized.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Train, validation, test; a part that was not asked for is empty.
    pub parts: [Arc<Part>; 3],
    pub counts: Counts,
    /// Of the specification, the tokenizer and the files: equal hashes give equal examples.
    pub hash: String,
    pub shape: Shape,
    /// The template that its rows were written with; a string prompt is wrapped in the same.
    pub chat_template: Option<ChatTemplate>,
    /// The different labels of labelled rows, sorted.
    pub labels: Vec<String>,
    /// For each label its tokens as they follow a prompt, with the end token: what a row of another label is
    /// compared with.
    pub label_ids: Vec<Vec<u32>>,
    /// Why what was prepared could not be kept in the cache.
    pub uncached: Option<String>,
    /// The highest token id: a model's vocabulary must reach beyond it.
    pub highest_id: u32,
}

impl Dataset {
    pub fn part(&self, name: PartName) -> &Arc<Part> {
        &self.parts[name as usize]
    }

    /// Joins parts that were just prepared, or read from the cache.
    pub fn new(
        parts: Vec<Part>,
        counts: Counts,
        hash: String,
        shape: Shape,
        labels: Vec<String>,
        chat_template: Option<ChatTemplate>,
    ) -> Dataset {
        let highest_id = parts.iter().flat_map(|part| part.ids.iter().copied()).max().unwrap_or(0);
        let mut parts = parts.into_iter();
        let parts = PartName::ALL.map(|_| Arc::new(parts.next().unwrap_or_else(|| Part::new(vec![]))));
        let label_ids = label_tokens(&parts, &labels);
        Dataset { parts, counts, hash, shape, chat_template, labels, label_ids, uncached: None, highest_id }
    }

    /// The parts that hold examples.
    pub fn part_names(&self) -> Vec<PartName> {
        PartName::ALL.into_iter().filter(|name| !self.part(*name).is_empty()).collect()
    }
}

/// The tokens of each label, from the row in which they were cut least.
fn label_tokens(parts: &[Arc<Part>], labels: &[String]) -> Vec<Vec<u32>> {
    let mut longest: HashMap<&str, &[u32]> = HashMap::new();
    for part in parts {
        for index in 0..if labels.is_empty() { 0 } else { part.len() } {
            let ids = longest.entry(part.row(index).label.unwrap_or_default()).or_default();
            let completion = part.completion_ids(index);
            if completion.len() > ids.len() {
                *ids = completion;
            }
        }
    }
    labels.iter().map(|label| longest.get(label.as_str()).copied().unwrap_or_default().to_vec()).collect()
}

/// The tokens of one example. `supervised[i]` says that token `i` is a target; the first never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example<'a> {
    pub ids: &'a [u32],
    pub supervised: &'a [bool],
}

/// What a person wrote in a row; empty for plain text and for rows of ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowText<'a> {
    pub prompt: &'a str,
    pub completion: &'a str,
    pub label: Option<&'a str>,
    /// The answer that was not chosen, of a preference row.
    pub rejected: Option<&'a str>,
}

/// Examples one after the other in flat vectors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub ids: Vec<u32>,
    pub supervised: Vec<bool>,
    /// Where each example begins, and where the last one ends.
    pub offsets: Vec<usize>,
    pub(in crate::data) text: String,
    /// For each example the ends of prompt, completion, label and rejected in `text`.
    pub(in crate::data) text_ends: Vec<[usize; 4]>,
    /// For each example the file and the line, row or document it came from.
    pub(in crate::data) places: Vec<(u32, u64)>,
    pub(in crate::data) files: Vec<String>,
    /// The tokens of each example that was longer than `max_len`, before it was cut or dropped.
    pub too_long: Vec<u32>,
}

impl Part {
    /// An empty part whose rows come from these files.
    pub fn new(files: Vec<String>) -> Part {
        Part { offsets: vec![0], files, ..Part::default() }
    }

    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    pub fn supervised_tokens(&self) -> usize {
        self.supervised.iter().filter(|supervised| **supervised).count()
    }

    /// Tokens of example `index`.
    pub fn length(&self, index: usize) -> usize {
        self.offsets[index + 1] - self.offsets[index]
    }

    /// Tokens of example `index` that are predicted: targets but for its first token, which nothing stands before.
    pub fn targets(&self, index: usize) -> usize {
        self.example(index).supervised.iter().skip(1).filter(|supervised| **supervised).count()
    }

    /// The examples cut to their first tokens; only what training sees of them is kept.
    pub fn cut(&self, most: usize) -> Part {
        let mut cut = Part::new(vec![]);
        for index in 0..self.len() {
            let Example { ids, supervised } = self.example(index);
            let length = ids.len().min(most);
            let example = Example { ids: &ids[..length], supervised: &supervised[..length] };
            cut.push(example, RowText::default(), (0, 0));
        }
        cut
    }

    /// Bytes that this part takes in memory.
    pub fn bytes(&self) -> u64 {
        let words = self.offsets.len() + 4 * self.text_ends.len() + 2 * self.places.len();
        (4 * self.ids.len() + self.supervised.len() + self.text.len() + 8 * words) as u64
    }

    pub fn longest(&self) -> usize {
        (0..self.len()).map(|index| self.length(index)).max().unwrap_or(0)
    }

    pub fn example(&self, index: usize) -> Example<'_> {
        let range = self.offsets[index]..self.offsets[index + 1];
        Example { ids: &self.ids[range.clone()], supervised: &self.supervised[range] }
    }

    /// The tokens before the last run of targets: what to give a model that is to write the rest.
    pub fn prompt_ids(&self, index: usize) -> &[u32] {
        let example = self.example(index);
        let end = example.supervised.iter().rposition(|supervised| *supervised).map_or(0, |last| last + 1);
        let begin = example.supervised[..end].iter().rposition(|supervised| !*supervised);
        &example.ids[..begin.map_or(0, |last| last + 1)]
    }

    /// The last run of targets.
    pub fn completion_ids(&self, index: usize) -> &[u32] {
        let example = self.example(index);
        let end = example.supervised.iter().rposition(|supervised| *supervised).map_or(0, |last| last + 1);
        &example.ids[self.prompt_ids(index).len().min(end)..end]
    }

    pub fn row(&self, index: usize) -> RowText<'_> {
        let begin = index.checked_sub(1).map_or(0, |before| self.text_ends[before][3]);
        let [prompt, completion, label, rejected] = self.text_ends[index];
        let present = |begin: usize, end: usize| (begin < end).then(|| &self.text[begin..end]);
        RowText {
            prompt: &self.text[begin..prompt],
            completion: &self.text[prompt..completion],
            label: present(completion, label),
            rejected: present(label, rejected),
        }
    }

    /// Where example `index` came from: `chat.jsonl:12`.
    pub fn place(&self, index: usize) -> String {
        let (file, number) = self.places[index];
        format!("{}:{number}", self.files.get(file as usize).map_or("random", String::as_str))
    }

    /// File and line, row or document of example `index`.
    pub fn origin(&self, index: usize) -> (u32, u64) {
        self.places[index]
    }

    /// Adds an example that came from row `place` (file, number).
    pub fn push(&mut self, example: Example<'_>, row: RowText<'_>, place: (u32, u64)) {
        self.ids.extend_from_slice(example.ids);
        self.supervised.extend_from_slice(example.supervised);
        self.offsets.push(self.ids.len());
        let mut end = |text: &str| {
            self.text.push_str(text);
            self.text.len()
        };
        let ends = [
            end(row.prompt),
            end(row.completion),
            end(row.label.unwrap_or_default()),
            end(row.rejected.unwrap_or_default()),
        ];
        self.text_ends.push(ends);
        self.places.push(place);
    }
}
