//! The only way out: everything a run prints, saves or sends is an `Event`; front ends are sinks.

use serde::Serialize;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Which text a span points into: an index into `Sources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SourceId(pub u32);

/// A half-open range of bytes in one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    pub source: SourceId,
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(source: SourceId, start: usize, end: usize) -> Span {
        Span { source, start: start as u32, end: end as u32 }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { source: self.source, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Whether a cursor stands in it or at one of its ends.
    pub fn touches(self, cursor: usize) -> bool {
        (self.start as usize..=self.end as usize).contains(&cursor)
    }
}

/// A script, a cell or an included file: its name as the user knows it, and its text.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub text: Arc<str>,
    pub lines: Lines,
}

/// Where the lines of a text begin, in bytes: found once, so that each of many places is told at once.
#[derive(Clone, Debug)]
pub struct Lines(Arc<[u32]>);

impl Lines {
    pub fn of(text: &str) -> Lines {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Lines(std::iter::once(0).chain(newlines.map(|(at, _)| at as u32 + 1)).collect())
    }

    /// The line, from zero, that a place of the text stands in.
    pub fn line(&self, at: usize) -> usize {
        self.0.partition_point(|start| *start as usize <= at) - 1
    }

    /// Where a line, from zero, begins; `None` behind the last one.
    pub fn start(&self, line: usize) -> Option<usize> {
        self.0.get(line).map(|start| *start as usize)
    }
}

/// A line and column, both from 1; columns count Unicode characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// Every source read in this session, so that a span can always be shown.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    all: Vec<Source>,
}

impl Sources {
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> SourceId {
        let text = text.into();
        self.all.push(Source { name: name.into(), lines: Lines::of(&text), text });
        SourceId(self.all.len() as u32 - 1)
    }

    pub fn get(&self, id: SourceId) -> &Source {
        &self.all[id.0 as usize]
    }

    pub fn text(&self, span: Span) -> &str {
        self.get(span.source).text.get(span.range()).unwrap_or("")
    }

    pub fn position(&self, span: Span) -> Position {
        let Source { text, lines, .. } = self.get(span.source);
        let at = text.floor_char_boundary(span.start as usize);
        let line = lines.line(at);
        let column = text[lines.start(line).unwrap_or(0)..at].chars().count();
        Position { line: line + 1, column: column + 1 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Note,
    Warning,
    Error,
}

/// A place and what is the matter there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    pub span: Span,
    pub text: String,
}

/// An edit that would mend the script: the text to put in place of the span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fix {
    pub span: Span,
    pub replacement: String,
    /// What the edit does, in the imperative: "write `epochs = 3`".
    pub title: String,
}

/// One thing to tell the user: plain data, drawn by each front end in its own way.
/// Messages are lower case, names in backticks, both numbers, and the next step as a note.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Stable: `L0012`. `ltune explain L0012` says more.
    pub code: &'static str,
    pub message: String,
    /// The first label is the main place.
    pub labels: Vec<Label>,
    pub notes: Vec<String>,
    pub fixes: Vec<Fix>,
}

impl Diagnostic {
    pub fn error(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, code, message)
    }

    pub fn warning(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, code, message)
    }

    fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity, code, message: message.into(), labels: vec![], notes: vec![], fixes: vec![] }
    }

    pub fn at(self, span: Span) -> Diagnostic {
        self.label(span, "")
    }

    pub fn label(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    pub fn fix(mut self, span: Span, replacement: impl Into<String>, title: impl Into<String>) -> Diagnostic {
        self.fixes.push(Fix { span, replacement: replacement.into(), title: title.into() });
        self
    }

    /// With the place of a refusal, if it has one.
    pub fn refused(self, refusal: &Refusal) -> Diagnostic {
        match refusal.at {
            Some(span) => self.at(span),
            None => self,
        }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The main place, if it has one.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }
}

/// One optimizer step of a run. `loss` is the mean over the step's supervised tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    pub run: String,
    pub step: u64,
    pub loss: f64,
    pub lr: f64,
    pub grad_norm: f64,
    /// Supervised tokens of the step.
    pub tokens: u64,
    pub seconds: f64,
    /// Passes over the training rows so far, with a fraction.
    pub epoch: f64,
    /// The planned last step of the run.
    pub planned: u64,
}

/// A run went to another place in its time, or began there as a fork.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Move {
    pub run: String,
    /// `undo`, `redo`, `goto` or `fork`.
    pub verb: String,
    /// The steps it was at and is at.
    pub from: u64,
    pub to: u64,
    /// What was taken back beside steps; may be empty.
    pub note: String,
    pub seconds: f64,
}

/// The held-out numbers of a model or a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The name asked for: a run or a model.
    pub model: String,
    pub data: String,
    pub loss: f64,
    pub perplexity: f64,
    pub token_accuracy: f64,
    /// Supervised tokens.
    pub tokens: u64,
    pub seconds: f64,
    /// The optimizer step the model was at, for a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Further metrics asked for, by name.
    #[serde(flatten, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub metrics: std::collections::BTreeMap<String, f64>,
}

/// What a model wrote.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Generation {
    pub model: String,
    pub prompt: String,
    pub text: String,
    pub tokens: Vec<i64>,
    pub seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// Work under way. `done == total` ends it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// The same for all events of one piece of work.
    pub task: String,
    pub done: u64,
    /// Zero when it is not known.
    pub total: u64,
    /// `steps`, `rows`, `bytes`, `tokens`.
    pub unit: String,
    /// A short tail: loss, rate.
    pub note: String,
}

/// How a cell of a table is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Align {
    Left,
    Right,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Column {
    pub name: String,
    pub align: Align,
}

/// A table of text cells; one text, every front end lays it out itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    pub title: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns by name; a name that begins with `>` is set to the right.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Table {
        let columns = columns
            .iter()
            .map(|name| match name.strip_prefix('>') {
                Some(name) => Column { name: name.into(), align: Align::Right },
                None => Column { name: (*name).into(), align: Align::Left },
            })
            .collect();
        Table { title: title.into(), columns, rows: vec![] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

/// One line, band or set of dots.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub mark: Mark,
    /// The same number in every panel and figure is the same colour: one number a run.
    pub color: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    Line,
    /// The unsmoothed values behind a smoothed line.
    Faint,
    Dots,
    Bars,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Panel {
    /// With its unit: `loss (nats a token)`, `tokens a second`.
    pub y_label: String,
    pub log_y: bool,
    pub series: Vec<Series>,
}

/// A figure as plain numbers; `plot` draws it as SVG, PNG or terminal text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub title: String,
    pub x_label: String,
    pub log_x: bool,
    pub panels: Vec<Panel>,
}

/// A micro-batch as the model is given it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Batch {
    /// Which one it is, and as whom it is laid out.
    pub title: String,
    pub rows: Vec<BatchRow>,
    /// Rows of it that are not shown.
    pub left_out: usize,
    /// Where a person reads it, a longer stretch of tokens of one sort shows its two ends only.
    #[serde(skip)]
    pub longest_stretch: usize,
}

/// One row of a micro-batch: an example, or several that are packed into it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchRow {
    /// Where each of its examples came from: `chat.jsonl:12`.
    pub places: Vec<String>,
    pub tokens: Vec<BatchToken>,
    /// Positions behind them that hold nothing.
    pub padding: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchToken {
    pub id: i64,
    /// Its part of the text; empty when a later token completes the character.
    pub text: String,
    /// The model learns to write it.
    pub supervised: bool,
    /// An example begins with it.
    pub starts: bool,
}

/// What leaves the interpreter.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    Version {
        schema: &'static str,
        ltune: &'static str,
        libtorch: String,
    },
    Diagnostic(Diagnostic),
    /// A whole line or lines, without the last newline.
    Text {
        text: String,
    },
    /// What happened on the way, for a person to follow; `--quiet` leaves it out.
    Note {
        text: String,
    },
    /// A piece of text as it is made; the whole follows in `Generation`.
    Piece {
        text: String,
    },
    Table(Table),
    Batch(Batch),
    Step(Step),
    Move(Move),
    Eval(Evaluation),
    Generation(Generation),
    Progress(Progress),
    /// `path` when it was written to a file, else to be shown.
    Figure {
        path: Option<String>,
        figure: Figure,
    },
    /// Something was written: a model, an adapter, a checkpoint.
    Saved {
        name: String,
        path: String,
        /// How it was verified; empty when it was not.
        note: String,
    },
    /// `text` is the value as people read it.
    Value {
        name: Option<String>,
        text: String,
        value: serde_json::Value,
    },
}

/// Why a function that somebody wrote gave no value, and where in a text that is, if it stands in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    pub at: Option<Span>,
}

impl Refusal {
    /// One without a place.
    pub fn new(why: impl Into<String>) -> Refusal {
        Refusal { why: why.into(), at: None }
    }
}

/// A front end: turns events into its own form.
pub trait Sink {
    fn accept(&mut self, event: &Event, sources: &Sources);
}

/// Asks the work under way to stop; shared with signal handlers and front ends.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    level: AtomicU8,
    last: Mutex<Option<Instant>>,
}

impl Cancel {
    /// A second request within this time means: now.
    pub const WINDOW: Duration = Duration::from_secs(2);

    /// Asks to stop at the next whole step; asked again within two seconds, to abort the step.
    pub fn request(&self) {
        self.request_at(Instant::now());
    }

    fn request_at(&self, now: Instant) {
        // A lock that a panicking thread left is as good as any: it holds a time and no more.
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let again = last.is_some_and(|before| now.duration_since(before) <= Cancel::WINDOW);
        *last = Some(now);
        self.0
            .level
            .store(if again { 2 } else { self.0.level.load(Ordering::SeqCst).max(1) }, Ordering::SeqCst);
    }

    /// Stop at the next boundary that keeps everything.
    pub fn stop(&self) -> bool {
        self.0.level.load(Ordering::SeqCst) >= 1
    }

    /// Stop now; what is not whole is dropped.
    pub fn abort(&self) -> bool {
        self.0.level.load(Ordering::SeqCst) >= 2
    }

    pub fn clear(&self) {
        self.0.level.store(0, Ordering::SeqCst);
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What a statement holds while it runs: the sink, the texts that spans point into, the cancel flag.
pub struct Out {
    pub sources: Sources,
    pub cancel: Cancel,
    sink: Box<dyn Sink>,
}

impl Out {
    pub fn new(sink: Box<dyn Sink>) -> Out {
        Out { sources: Sources::default(), cancel: Cancel::default(), sink }
    }

    pub fn emit(&mut self, event: Event) {
        self.sink.accept(&event, &self.sources);
    }

    pub fn text(&mut self, text: impl Into<String>) {
        self.emit(Event::Text { text: text.into() });
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.emit(Event::Note { text: text.into() });
    }

    pub fn diagnostic(&mut self, diagnostic: Diagnostic) {
        self.emit(Event::Diagnostic(diagnostic));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let mut sources = Sources::default();
        let id = sources.add("x", "a\nçb");
        assert_eq!(sources.position(Span::new(id, 0, 1)), Position { line: 1, column: 1 });
        assert_eq!(sources.position(Span::new(id, 4, 5)), Position { line: 2, column: 2 });
    }

    #[test]
    fn a_first_cancel_stops_and_a_second_aborts() {
        let cancel = Cancel::default();
        assert!(!cancel.stop());
        cancel.request();
        assert!(cancel.stop() && !cancel.abort());
        cancel.request();
        assert!(cancel.abort());
        cancel.clear();
        assert!(!cancel.stop());
    }

    #[test]
    fn a_second_cancel_after_two_seconds_is_a_first_one_again() {
        let (cancel, now) = (Cancel::default(), Instant::now());
        cancel.request_at(now);
        cancel.request_at(now + Duration::from_secs(3));
        assert!(cancel.stop() && !cancel.abort());
        cancel.request_at(now + Duration::from_secs(4));
        assert!(cancel.abort());
    }
}
