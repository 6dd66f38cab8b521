//! `metrics.jsonl`: one row a step, evaluation or event, only ever appended to; `metrics.csv` is the same as a table.
//!
//! Rows carry `seq` and `branch`. Going back begins a branch that names its parent and the step it leaves it at;
//! what was taken back stays in the file, and [`History::living`] passes over it.

use crate::files::atomic;
use crate::train::error::TrainError;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub const FILE: &str = "metrics.jsonl";
pub const TABLE: &str = "metrics.csv";

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub seq: u64,
    pub branch: u64,
    /// Seconds since 1970.
    pub time: f64,
    #[serde(flatten)]
    pub entry: Entry,
}

/// What happened. A number that is none is written as null and read back as NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Entry {
    Step {
        step: u64,
        #[serde(deserialize_with = "number")]
        loss: f64,
        #[serde(deserialize_with = "number")]
        lr: f64,
        #[serde(deserialize_with = "number")]
        grad_norm: f64,
        /// Supervised tokens.
        tokens: u64,
        seconds: f64,
        epoch: f64,
    },
    Eval {
        step: u64,
        data: String,
        #[serde(deserialize_with = "number")]
        loss: f64,
        #[serde(deserialize_with = "number")]
        perplexity: f64,
        #[serde(deserialize_with = "number")]
        token_accuracy: f64,
        tokens: u64,
        seconds: f64,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        metrics: BTreeMap<String, f64>,
    },
    /// Something that was done after `step` and left the weights as they were: `set`, `save`, `fork`, `interrupted`.
    Event { event: String, step: u64, note: String },
    /// `undo`, `goto`, `redo` or `resume`: this branch goes on from `step` of `parent`. The note says which statements
    /// were taken back or done again.
    Branch {
        event: String,
        step: u64,
        parent: u64,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
    },
}

impl Entry {
    pub fn step(&self) -> u64 {
        match self {
            Entry::Step { step, .. }
            | Entry::Eval { step, .. }
            | Entry::Event { step, .. }
            | Entry::Branch { step, .. } => *step,
        }
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// The open files of a run.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    rows: File,
    table: File,
    next: u64,
    branch: u64,
}

impl Metrics {
    /// Begins the files in `folder`, or goes on with those that are there, on their last branch.
    pub fn open(folder: &Path) -> Result<Metrics, TrainError> {
        let path = folder.join(FILE);
        let failed = |source| TrainError::Metrics { path: path.clone(), source };
        let history = if path.exists() { read(folder)? } else { History::default() };
        let mut rows = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed)?;
        end_a_torn_line(&mut rows).map_err(failed)?;
        let table_path = folder.join(TABLE);
        atomic::write(&table_path, &csv_text(&history.rows))?;
        let table = OpenOptions::new().append(true).open(&table_path).map_err(failed)?;
        let last = history.rows.last();
        let (next, branch) = last.map_or((0, 0), |row| (row.seq + 1, row.branch));
        Ok(Metrics { path, rows, table, next, branch })
    }

    /// The branch that rows are written to.
    pub fn branch(&self) -> u64 {
        self.branch
    }

    pub fn append(&mut self, entry: Entry) -> Result<Row, TrainError> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        let row = Row { seq: self.next, branch: self.branch, time, entry };
        let mut line = serde_json::to_vec(&row).expect("a row of numbers and text is always JSON");
        line.push(b'\n');
        let written = self.rows.write_all(&line).and_then(|()| self.table.write_all(&csv_line(&row)));
        written.map_err(|source| TrainError::Metrics { path: self.path.clone(), source })?;
        self.next += 1;
        Ok(row)
    }

    /// Goes on from `step` of `parent` on a branch of its own: after an undo, a goto, a redo or a resume.
    pub fn turn(&mut self, event: &str, parent: u64, step: u64, note: &str) -> Result<Row, TrainError> {
        let before = self.branch;
        self.branch = self.next; // never used before, since each branch takes the number of its first row
        let turned = self.append(Entry::Branch { event: event.into(), step, parent, note: note.into() });
        if turned.is_err() {
            self.branch = before;
        }
        turned
    }
}

/// After a kill the last line may be torn; ending it keeps the next row whole.
fn end_a_torn_line(file: &mut File) -> std::io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(());
    }
    file.seek(SeekFrom::Start(length - 1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    if last[0] == b'\n' { Ok(()) } else { file.write_all(b"\n") }
}

/// All rows of a run, in the order they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    pub rows: Vec<Row>,
    /// Lines that could not be read: torn by a kill.
    pub torn: usize,
}

/// Reads `metrics.jsonl` of a run's folder.
pub fn read(folder: &Path) -> Result<History, TrainError> {
    let path = folder.join(FILE);
    let text = std::fs::read(&path).map_err(|source| TrainError::Metrics { path, source })?;
    let mut history = History::default();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(row) => history.rows.push(row),
            Err(_) => history.torn += 1,
        }
    }
    Ok(history)
}

impl History {
    /// The rows of the last branch and of its parents up to where it left them.
    pub fn living(&self) -> Vec<&Row> {
        self.rows.last().map_or(vec![], |last| self.until(last.branch, u64::MAX))
    }

    /// The rows of a branch and of its parents up to a step.
    pub fn until(&self, branch: u64, step: u64) -> Vec<&Row> {
        let mut living: Vec<&Row> = vec![];
        let mut branch = Some(branch);
        let mut until = step;
        let mut before = u64::MAX;
        while let Some(number) = branch {
            branch = None;
            let rows = self.rows.iter().filter(|row| row.branch == number && row.seq < before);
            for row in rows.collect::<Vec<_>>().into_iter().rev() {
                if let Entry::Branch { step, parent, .. } = row.entry {
                    until = until.min(step);
                    before = row.seq;
                    branch = Some(parent).filter(|parent| *parent != number);
                } else if row.entry.step() <= until {
                    living.push(row);
                }
            }
        }
        living.reverse();
        living
    }
}

const COLUMNS: [&str; 16] = [
    "seq",
    "branch",
    "time",
    "type",
    "step",
    "loss",
    "lr",
    "grad_norm",
    "tokens",
    "seconds",
    "epoch",
    "data",
    "perplexity",
    "token_accuracy",
    "event",
    "note",
];

fn csv_text(rows: &[Row]) -> Vec<u8> {
    let mut text = COLUMNS.join(",").into_bytes();
    text.push(b'\n');
    text.extend(rows.iter().flat_map(csv_line));
    text
}

fn csv_line(row: &Row) -> Vec<u8> {
    let value = serde_json::to_value(row).expect("a row of numbers and text is always JSON");
    let cells = COLUMNS.map(|column| match value.get(column) {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(number) => number.to_string(),
    });
    let mut writer = csv::WriterBuilder::new().from_writer(vec![]);
    writer.write_record(&cells).expect("writing to memory does not fail");
    writer.into_inner().expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Entry {
        Entry::Step {
            step,
            loss: 1.0 / (step as f64 + 3.0),
            lr: 1e-4,
            grad_norm: 0.5,
            tokens: 64,
            seconds: 0.25,
            epoch: 0.5,
        }
    }

    fn living(folder: &Path) -> Vec<(u64, u64)> {
        read(folder).unwrap().living().iter().map(|row| (row.branch, row.entry.step())).collect()
    }

    #[test]
    fn rows_come_back_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(folder.path()).unwrap();
        let written: Vec<Row> = (1..=3).map(|at| metrics.append(step(at)).unwrap()).collect();
        assert_eq!(read(folder.path()).unwrap().rows, written);
        assert_eq!(written.iter().map(|row| row.seq).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_loss_that_is_no_number_is_null_and_comes_back_as_nan() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(folder.path()).unwrap();
        let Entry::Step { step, lr, grad_norm, tokens, seconds, epoch, .. } = step(1) else { panic!() };
        metrics.append(Entry::Step { step, loss: f64::NAN, lr, grad_norm, tokens, seconds, epoch }).unwrap();
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(text.contains("\"loss\":null"), "{text}");
        let Entry::Step { loss, .. } = read(folder.path()).unwrap().rows[0].entry else { panic!() };
        assert!(loss.is_nan());
    }

    #[test]
    fn what_was_undone_stays_in_the_file_and_leaves_the_living_branch() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(folder.path()).unwrap();
        (1..=5).for_each(|at| drop(metrics.append(step(at)).unwrap()));
        metrics.turn("undo", 0, 3, "").unwrap();
        metrics.append(step(4)).unwrap();
        assert_eq!(living(folder.path()), [(0, 1), (0, 2), (0, 3), (5, 4)]);
        metrics.turn("undo", 5, 2, "`set a { lr = 1e-4 }` taken back").unwrap(); // beyond the branch's own beginning
        metrics.append(step(3)).unwrap();
        assert_eq!(living(folder.path()), [(0, 1), (0, 2), (7, 3)]);
        metrics.turn("redo", 0, 5, "").unwrap();
        assert_eq!(living(folder.path()), [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]);
        assert_eq!(read(folder.path()).unwrap().rows.len(), 10);
    }

    #[test]
    fn a_line_torn_by_a_kill_costs_itself_only() {
        let folder = tempfile::tempdir().unwrap();
        Metrics::open(folder.path()).unwrap().append(step(1)).unwrap();
        let path = folder.path().join(FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"seq\":1,\"bra");
        std::fs::write(&path, text).unwrap();
        Metrics::open(folder.path()).unwrap().append(step(2)).unwrap();
        let history = read(folder.path()).unwrap();
        assert_eq!(history.torn, 1);
        assert_eq!(history.rows.iter().map(|row| row.entry.step()).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn the_table_holds_the_same_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(folder.path()).unwrap();
        metrics.append(step(1)).unwrap();
        metrics
            .append(Entry::Event { event: "set".into(), step: 1, note: "lr = 1e-4, \"x\"".into() })
            .unwrap();
        let text = std::fs::read_to_string(folder.path().join(TABLE)).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next().unwrap(), COLUMNS.join(","));
        assert!(lines.next().unwrap().contains(",step,1,0.25,0.0001,0.5,64,0.25,0.5,"), "{text}");
        assert!(lines.next().unwrap().ends_with("set,\"lr = 1e-4, \"\"x\"\"\""), "{text}");
        drop(Metrics::open(folder.path()).unwrap());
        assert_eq!(std::fs::read_to_string(folder.path().join(TABLE)).unwrap(), text);
    }
}
