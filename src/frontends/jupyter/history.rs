//! The cells of this kernel, for clients that ask what was run before.

use jupyter_protocol::{HistoryEntry, HistoryReply, HistoryRequest};

/// Jupyter counts sessions; this kernel knows its own only.
const SESSION: usize = 1;

#[derive(Default)]
pub struct History {
    cells: Vec<Cell>,
}

struct Cell {
    number: usize,
    input: String,
    output: String,
}

impl History {
    pub fn add(&mut self, number: u64, input: &str, output: &str) {
        self.cells.push(Cell { number: number as usize, input: input.into(), output: output.into() });
    }

    pub fn answer(&self, request: &HistoryRequest) -> HistoryReply {
        let (found, with_output): (Vec<&Cell>, bool) = match request {
            HistoryRequest::Tail { n, output, .. } => (self.last(self.cells.iter().collect(), *n), *output),
            HistoryRequest::Range { start, stop, output, .. } => {
                let within = |cell: &&Cell| (*start as i64..*stop as i64).contains(&(cell.number as i64));
                (self.cells.iter().filter(within).collect(), *output)
            }
            HistoryRequest::Search { pattern, unique, output, n, .. } => {
                let mut found: Vec<&Cell> = self
                    .cells
                    .iter()
                    .filter(|cell| fits(pattern.as_bytes(), cell.input.as_bytes()))
                    .collect();
                if *unique {
                    let later = |index: usize, cell: &Cell| {
                        self.cells[index + 1..].iter().any(|other| other.input == cell.input)
                    };
                    let all = self.cells.iter().enumerate();
                    found = all
                        .filter(|(index, cell)| {
                            fits(pattern.as_bytes(), cell.input.as_bytes()) && !later(*index, cell)
                        })
                        .map(|(_, cell)| cell)
                        .collect();
                }
                (self.last(found, *n), *output)
            }
        };
        HistoryReply::new(found.into_iter().map(|cell| entry(cell, with_output)).collect())
    }

    fn last<'a>(&self, cells: Vec<&'a Cell>, count: i32) -> Vec<&'a Cell> {
        let first = cells.len().saturating_sub(count.max(0) as usize);
        cells[first..].to_vec()
    }
}

fn entry(cell: &Cell, with_output: bool) -> HistoryEntry {
    match with_output {
        true => HistoryEntry::InputOutput(SESSION, cell.number, (cell.input.clone(), cell.output.clone())),
        false => HistoryEntry::Input(SESSION, cell.number, cell.input.clone()),
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
        let mut history = History::default();
        ["a", "b", "a"].iter().enumerate().for_each(|(at, text)| history.add(at as u64 + 1, text, ""));
        let search =
            |unique| HistoryRequest::Search { pattern: "a".into(), unique, output: false, raw: true, n: 9 };
        assert_eq!(history.answer(&search(true)).history.len(), 1);
        assert_eq!(history.answer(&search(false)).history.len(), 2);
        let tail = HistoryRequest::Tail { n: 2, output: true, raw: true };
        assert_eq!(history.answer(&tail).history.len(), 2);
    }
}
