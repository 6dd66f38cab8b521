//! `show rows`: rows as they were read, where they came from, and how many tokens they became.

use crate::data::dataset::Part;
use crate::data::tokenizer::{SpecialTokens, Tokenizer};
use crate::events::{Diagnostic, Event, Out, Table};
use crate::language::codes;
use crate::language::value::Settings;
use crate::session::{Session, sentence};
use crate::statements::show::lens::{Lens, Opened, Which};
use crate::statements::show::without_effect;
use crate::statements::{Action, Checking};
use crate::units::{counted, grouped};

/// Rows shown when nothing else is said.
const ROWS: usize = 8;
/// Letters of a text in a table of several rows.
const LETTERS: usize = 160;

struct ShowRows {
    lens: Lens,
    which: Which,
    max: Option<usize>,
    full: bool,
}

pub fn check(settings: &Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let lens = Lens::check("rows", settings, checking)?;
    let instead = format!("show lengths {}", lens.data.name);
    if !without_effect(&["to"], "show rows", &instead, settings, checking) {
        return None;
    }
    let which = Which::check("rows", 0, settings, checking)?;
    let max = settings.maybe_integer("max").map(|max| max as usize);
    Some(Box::new(ShowRows { lens, which, max, full: settings.flag("full") }))
}

impl Action for ShowRows {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let opened = self.lens.open(session, out)?;
        let count = opened.part.len();
        let rows: Vec<usize> = if self.which.is_empty() {
            (0..count.min(self.max.unwrap_or(ROWS))).collect()
        } else {
            let asked = self.which.up_to(count as u64 - 1).map(|row| row as usize);
            asked.take(self.max.unwrap_or(usize::MAX)).collect()
        };
        let table = match rows.as_slice() {
            [] => return Err(self.outside(count)),
            [row] => self.one(*row, &opened)?,
            rows => self.several(rows, &opened)?,
        };
        out.emit(Event::Table(table));
        Ok(())
    }
}

impl ShowRows {
    fn outside(&self, count: usize) -> Diagnostic {
        let name = self.lens.part_name();
        Diagnostic::error(codes::NO_SUCH_ROW, format!("`{name}` has no row {}", self.which.written()))
            .note(format!("it has {}, counted from 0", counted(count as u64, "row")))
    }

    /// One row with all that is known of it.
    fn one(&self, row: usize, opened: &Opened) -> Result<Table, Diagnostic> {
        let count = grouped(opened.part.len() as u64);
        let mut table = Table::new(format!("{}: row {row} of {count}", self.lens.part_name()), &["", ""]);
        let looked = Looked::at(row, &opened.part, &opened.tokenizer)?;
        let mut line = |what: &str, text: String| table.row([what.to_string(), text]);
        line("place", looked.place.clone());
        line("shape", opened.dataset.shape.name().replace('`', ""));
        let tokens = counted(looked.tokens as u64, "token");
        line("length", format!("{tokens}, {} supervised ({})", looked.supervised, self.lens.tokens_of()));
        for (name, text) in looked.texts() {
            line(name, text.to_string());
        }
        if !looked.texts().iter().any(|(name, _)| *name == "text") {
            line("as tokens", looked.text.clone());
        }
        Ok(table)
    }

    fn several(&self, rows: &[usize], opened: &Opened) -> Result<Table, Diagnostic> {
        let looked: Result<Vec<Looked>, Diagnostic> =
            rows.iter().map(|row| Looked::at(*row, &opened.part, &opened.tokenizer)).collect();
        let looked = looked?;
        let has = |name: &str| looked.iter().any(|row| row.texts().iter().any(|(known, _)| *known == name));
        let names: Vec<&str> = ["prompt", "completion", "label", "rejected", "text"]
            .into_iter()
            .filter(|name| has(name))
            .collect();
        let columns: Vec<&str> =
            [">row", "place", ">tokens", ">supervised"].into_iter().chain(names.clone()).collect();
        let title = format!(
            "{}: {} of {}, {}, {}",
            self.lens.part_name(),
            counted(rows.len() as u64, "row"),
            grouped(opened.part.len() as u64),
            opened.dataset.shape.name().replace('`', ""),
            self.lens.tokens_of()
        );
        let mut table = Table::new(title, &columns);
        for (row, looked) in rows.iter().zip(&looked) {
            let mut cells = vec![
                row.to_string(),
                looked.place.rsplit('/').next().unwrap_or_default().to_string(),
                looked.tokens.to_string(),
                looked.supervised.to_string(),
            ];
            cells.extend(names.iter().map(|name| {
                let text =
                    looked.texts().iter().find(|(known, _)| known == name).map_or("", |(_, text)| *text);
                if self.full { text.to_string() } else { shortened(text) }
            }));
            table.row(cells);
        }
        Ok(table)
    }
}

/// What there is to see of a row.
struct Looked<'a> {
    place: String,
    tokens: usize,
    supervised: usize,
    row: crate::data::dataset::RowText<'a>,
    /// Its tokens as text, special ones by name.
    text: String,
}

impl Looked<'_> {
    fn at<'a>(row: usize, part: &'a Part, tokenizer: &Tokenizer) -> Result<Looked<'a>, Diagnostic> {
        let example = part.example(row);
        let text = tokenizer
            .decode(example.ids, SpecialTokens::Keep)
            .map_err(|error| Diagnostic::error(codes::TOKENIZER, sentence(&error)))?;
        Ok(Looked {
            place: part.place(row),
            tokens: example.ids.len(),
            supervised: example.supervised.iter().filter(|supervised| **supervised).count(),
            row: part.row(row),
            text,
        })
    }

    /// Its texts by name; a row of plain text, or of ids, has only what its tokens say.
    fn texts(&self) -> Vec<(&'static str, &str)> {
        let row = &self.row;
        // Of a labelled row the label is the completion.
        let read = [
            ("prompt", row.prompt),
            ("completion", if row.label.is_some() { "" } else { row.completion }),
            ("label", row.label.unwrap_or_default()),
            ("rejected", row.rejected.unwrap_or_default()),
        ];
        let texts: Vec<(&str, &str)> = read.into_iter().filter(|(_, text)| !text.is_empty()).collect();
        if texts.is_empty() { vec![("text", self.text.as_str())] } else { texts }
    }
}

/// On one line, its middle left out where it is long.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let letters = line.chars().count();
    if letters <= LETTERS {
        return line;
    }
    let begin: String = line.chars().take(LETTERS * 3 / 4).collect();
    let end: String = line.chars().skip(letters - LETTERS / 4).collect();
    format!("{} ⋯ {}", begin.trim_end(), end.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        assert_eq!(shortened("a\n b\tc"), "a b c");
        let short = shortened(&format!("first {}last", "word ".repeat(100)));
        assert!(short.starts_with("first word") && short.ends_with("word last"), "{short}");
        assert!(short.chars().count() <= LETTERS + 3);
    }
}
