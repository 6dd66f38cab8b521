//! What can be wrong with data, each with the place and the next step to take.

use crate::units::counted;
use std::fmt;
use std::path::PathBuf;

/// A row of the source: the file and what its rows are counted in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// `line`, `row` or `document`.
    pub noun: &'static str,
    /// From 1.
    pub number: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {} {}", self.file, self.noun, self.number)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("`{path}` is not there; write the path of a file or folder, relative to the working directory")]
    Missing { path: PathBuf },
    #[error("`{path}` cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("`{path}` is empty; it needs at least one row")]
    Empty { path: PathBuf },
    #[error(
        "`{path}` holds no file that can be read as data; known are .txt, .md, .csv, .tsv, .json, .jsonl and .parquet"
    )]
    EmptyFolder { path: PathBuf },
    #[error(
        "`{path}` is {encoding} text; convert it first: `iconv -f {encoding} -t UTF-8 {path} > utf8.txt`"
    )]
    Encoding { path: PathBuf, encoding: &'static str },
    #[error("`{path}` is packed; unpack it first: `{how} {path}`")]
    Packed { path: PathBuf, how: &'static str },
    #[error("`{path}` is not UTF-8: byte {byte} on line {line}; convert it first, or cut the byte out")]
    InvalidUtf8 { path: PathBuf, line: u64, byte: u64 },
    #[error("{place}: {what}")]
    Broken { place: Place, what: String },
    #[error("`{path}` cannot be read as {format}: {what}")]
    Unparsable { path: PathBuf, format: &'static str, what: String },
    #[error(
        "this ltune was built without Parquet, so `{path}` cannot be read; build with `--features parquet`, or convert it to JSONL"
    )]
    NoParquet { path: PathBuf },
    #[error(
        "the columns of `{file}` ({found}) form no known shape; known are {known}; \
         or say which is which, for example `columns = {{ prompt = \"{example}\"; completion = \"…\" }}`"
    )]
    UnknownShape { file: String, found: String, known: &'static str, example: String },
    #[error("`columns` names `{column}` for `{meaning}`, and `{file}` has no such column; it has {found}")]
    MissingColumn { file: String, meaning: String, column: String, found: String },
    #[error("`columns` knows no `{meaning}`; known are {known}")]
    UnknownMeaning { meaning: String, known: &'static str },
    #[error("{place} has no `{field}`, which rows of shape {shape} need; it has {found}")]
    MissingField { place: Place, field: String, shape: &'static str, found: String },
    #[error("no row is left of the {read} read ({why}); look at the file, or at `columns`")]
    NoRows { read: u64, why: String },
    #[error("{} cannot be split into {parts} parts; write `split = none`, or give more rows", counted(*rows as u64, "row"))]
    TooFewRows { rows: usize, parts: usize },
    #[error("the shares of `split` are {shares:?}; they must be one to three positive numbers")]
    Split { shares: Vec<f64> },
    #[error(
        "{place} has {tokens} tokens, and `max_len` is {max_len}; raise `max_len`, or write `too_long = cut` or `drop`"
    )]
    TooLong { place: Place, tokens: usize, max_len: usize },
    #[error("{place} has no supervised token: {why}")]
    NothingSupervised { place: Place, why: String },
    #[error(
        "{place}: token {id} is beyond the tokenizer's vocabulary of {vocabulary}; these ids were made with another tokenizer"
    )]
    BeyondVocabulary { place: Place, id: i64, vocabulary: usize },
    #[error(
        "rows of shape {shape} need a chat template, and this tokenizer has none; \
         write `template = \"chatml\"`, or give the path of a `.jinja` file"
    )]
    NoTemplate { shape: &'static str },
    #[error("template `{name}` is neither a known one ({known}), nor a file, nor Jinja source")]
    UnknownTemplate { name: String, known: String },
    #[error("the chat template cannot be parsed: {what}")]
    TemplateSyntax { what: String },
    #[error("the chat template fails: {what}")]
    TemplateFails { what: String },
    #[error(
        "{place}: the chat template writes message {message} (`{role}`) differently once more messages follow, \
         so its tokens cannot be told apart; write `loss_on = all`, or choose another `template`"
    )]
    NoPrefix { place: Place, message: usize, role: String },
    #[error("`{path}` holds no tokenizer: {what}")]
    NoTokenizer { path: PathBuf, what: String },
    #[error("the tokenizer in `{path}` cannot be read: {what}")]
    Tokenizer { path: PathBuf, what: String },
    #[error(
        "pre-tokenizer `{name}` is not known; known are {known}; give the tokenizer as a folder with a `tokenizer.json`"
    )]
    PreTokenizer { name: String, known: String },
    #[error("text cannot be tokenized: {what}")]
    Encode { what: String },
    #[error("tokens cannot be turned into text: {what}")]
    Decode { what: String },
    #[error("the row transform `{name}` failed{place}: {}", refusal.why)]
    Transform { name: String, place: String, refusal: crate::events::Refusal },
    #[error("stopped")]
    Stopped,
    #[error(transparent)]
    Files(#[from] crate::files::FilesError),
}
