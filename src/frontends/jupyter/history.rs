//! The cells that were run, in this kernel and in those before it, for clients that ask. They are kept in a file, a line
//! each; kernels that run at the same time write into the same one.

use crate::files::state;
use jupyter_protocol::{HistoryEntry, HistoryReply, HistoryRequest};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

const NAME: &str = "notebooks.jsonl";
/// So many cells of former sessions are remembered.
const REMEMBERED: usize = 5_000;

#[derive(Default)]
pub struct History {
    /// The number of this session, once it has one.
    session: usize,
    cells: Vec<Cell>,
    file: Option<File>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Cell {
    session: usize,
    /// Counts the cells of a session from 1; 0 marks its beginning.
    number: usize,
    input: String,
    output: String,
}

impl History {
    pub fn add(&mut self, number: u64, input: &str, output: &str) {
        self.open();
        let (input, output) = (input.to_string(), output.to_string());
        let cell = Cell { session: self.session, number: number as usize, input, output };
        if let Some(file) = &mut self.file {
            // A history that cannot be kept is no reason to trouble anyone.
            let _ = file.write_all(line(&cell).as_bytes());
        }
        self.cells.push(cell);
    }

    /// Reads the file when it is first needed: no kernel starts later for it.
    fn open(&mut self) {
        if self.session > 0 {
            return;
        }
        self.session = 1;
        if let Ok(folder) = state::folder()
            && let Ok((file, cells)) = opened(&folder.join(NAME))
        {
            self.take(file, cells);
        }
    }

    fn take(&mut self, file: File, cells: Vec<Cell>) {
        self.session = cells.last().map_or(1, |last| last.session);
        self.cells = cells.into_iter().filter(|cell| cell.number > 0).collect();
        self.file = Some(file);
    }

    pub fn answer(&mut self, request: &HistoryRequest) -> HistoryReply {
        self.open();
        let all = self.cells.iter();
        let (found, with_output): (Vec<&Cell>, bool) = match request {
            HistoryRequest::Tail { n, output, .. } => (last(all.collect(), *n), *output),
            HistoryRequest::Range { session, start, stop, output, .. } => {
                let session = self.named(session.unwrap_or(0));
                let numbers = i64::from(*start)..i64::from(*stop);
                let asked =
                    |cell: &&Cell| cell.session as i64 == session && numbers.contains(&(cell.number as i64));
                (all.filter(asked).collect(), *output)
            }
            HistoryRequest::Search { pattern, unique, output, n, .. } => {
                let fitting = all.filter(|cell| fits(pattern.as_bytes(), cell.input.as_bytes()));
                let mut found: Vec<&Cell> = fitting.collect();
                if *unique {
                    found = once(found);
                }
                (last(found, *n), *output)
            }
        };
        HistoryReply::new(found.into_iter().map(|cell| entry(cell, with_output)).collect())
    }

    /// Jupyter counts sessions from 1; 0 is the present one, −1 the one before it.
    fn named(&self, session: i32) -> i64 {
        match session {
            ..=0 => self.session as i64 + i64::from(session),
            _ => i64::from(session),
        }
    }
}

/// The file and what is in it, ending with a mark that begins a session of its own.
fn opened(path: &Path) -> std::io::Result<(File, Vec<Cell>)> {
    let mut file = File::options().read(true).append(true).create(true).open(path)?;
    // Two kernels that start at once get different numbers. A disk without locks is as good as it can be.
    let _ = file.lock();
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let mut cells: Vec<Cell> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let session = cells.iter().map(|cell| cell.session).max().unwrap_or(0) + 1;
    if cells.len() > 2 * REMEMBERED {
        cells.drain(..cells.len() - REMEMBERED);
        file.set_len(0)?;
        file.write_all(cells.iter().map(line).collect::<String>().as_bytes())?;
    }
    let mark = Cell { session, number: 0, input: String::new(), output: String::new() };
    file.write_all(line(&mark).as_bytes())?;
    let _ = file.unlock();
    cells.push(mark);
    Ok((file, cells))
}

fn line(cell: &Cell) -> String {
    serde_json::to_string(cell).unwrap_or_default() + "\n"
}

/// The last so many.
fn last(cells: Vec<&Cell>, count: i32) -> Vec<&Cell> {
    let first = cells.len().saturating_sub(count.max(0) as usize);
    cells[first..].to_vec()
}

/// Of cells with the same text, the last.
fn once(cells: Vec<&Cell>) -> Vec<&Cell> {
    let mut seen = HashSet::new();
    let mut found: Vec<&Cell> = cells.into_iter().rev().filter(|cell| seen.insert(&cell.input)).collect();
    found.reverse();
    found
}

fn entry(cell: &Cell, with_output: bool) -> HistoryEntry {
    let (input, output) = (cell.input.clone(), cell.output.clone());
    match with_output {
        true => HistoryEntry::InputOutput(cell.session, cell.number, (input, output)),
        false => HistoryEntry::Input(cell.session, cell.number, input),
    }
}

/// Shell patterns of `*` and `?`.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == text[from] => (at, from) = (at + 1, from + 1),
            _ => match star {
                Some((place, tried)) => {
                    (at, from) = (place + 1, tried + 1);
                    star = Some((place, tried + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(path: &Path) -> History {
        let (file, cells) = opened(path).unwrap();
        let mut history = History::default();
        history.take(file, cells);
        history
    }

    fn inputs(reply: HistoryReply) -> Vec<(usize, usize, String)> {
        let entries = reply.history.into_iter();
        let parts = entries.map(|entry| match entry {
            HistoryEntry::Input(session, number, input) => (session, number, input),
            HistoryEntry::InputOutput(session, number, (input, output)) => {
                (session, number, format!("{input} → {output}"))
            }
        });
        parts.collect()
    }

    #[test]
    fn patterns_are_those_of_a_shell() {
        for (pattern, text, expected) in
            [("step*", "step a", true), ("*a", "step a", true), ("s?ep", "step", true), ("a*b", "acd", false)]
        {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_search_can_name_each_cell_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = kept(&folder.path().join(NAME));
        ["a", "b", "a"].iter().enumerate().for_each(|(at, text)| history.add(at as u64 + 1, text, ""));
        let search =
            |unique| HistoryRequest::Search { pattern: "a".into(), unique, output: false, raw: true, n: 9 };
        assert_eq!(inputs(history.answer(&search(true))), [(1, 3, "a".into())]);
        assert_eq!(history.answer(&search(false)).history.len(), 2);
        let tail = HistoryRequest::Tail { n: 2, output: true, raw: true };
        assert_eq!(history.answer(&tail).history.len(), 2);
    }

    #[test]
    fn sessions_see_those_before_them_and_keep_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let (mut first, mut second) = (kept(&path), kept(&path));
        first.add(1, "step a", "");
        second.add(1, "6 * 7", "42");
        drop((first, second));
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "half a li").unwrap();
        let mut third = kept(&path);
        third.add(1, "undo a", "");
        let range = |session| HistoryRequest::Range { session, start: 1, stop: 2, output: true, raw: true };
        assert_eq!(inputs(third.answer(&range(None))), [(3, 1, "undo a → ".into())]);
        assert_eq!(inputs(third.answer(&range(Some(-1)))), [(2, 1, "6 * 7 → 42".into())]);
        assert_eq!(inputs(third.answer(&range(Some(1)))), [(1, 1, "step a → ".into())]);
        let tail = HistoryRequest::Tail { n: 2, output: false, raw: true };
        assert_eq!(inputs(third.answer(&tail)), [(2, 1, "6 * 7".into()), (3, 1, "undo a".into())]);
    }
}
