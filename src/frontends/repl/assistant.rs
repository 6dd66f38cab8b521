//! What the line editor asks while a person types: it passes the questions on to `assist` and lays out the answers.

use crate::assist::completion::{Candidate, CandidateKind, complete};
use crate::assist::highlight::{Role, highlight};
use crate::assist::hint::{self, Hint};
use crate::assist::known::Known;
use crate::frontends::color::Look;
use crate::frontends::repl::commands;
use crate::frontends::repl::keys::{closing_line, waits};
use crate::frontends::width::terminal_size;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Context, Helper};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What the answers depend on.
pub struct Assistant {
    pub known: Known,
    /// The last cell as its fixes would make it; offered on an empty line.
    pub mended: Option<String>,
    /// Columns that the prompt takes.
    pub prompt_width: usize,
    look: Look,
    /// `}` asks for its column.
    closing: Arc<AtomicBool>,
}

impl Assistant {
    pub fn new(look: Look, closing: Arc<AtomicBool>) -> Assistant {
        Assistant { known: Known::default(), mended: None, prompt_width: 0, look, closing }
    }

    fn columns(&self) -> usize {
        terminal_size(std::io::stdout()).map_or(self.look.width, |(columns, _)| columns)
    }

    /// Columns between the end of the text and the edge of the terminal.
    fn room(&self, text: &str) -> usize {
        let last = text.rsplit('\n').next().unwrap_or("");
        let prompt = if text.contains('\n') { 0 } else { self.prompt_width };
        let columns = self.columns();
        columns.saturating_sub((prompt + last.width()) % columns.max(1) + 1)
    }
}

impl Helper for Assistant {}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(match waits(context.input()) {
            Some(_) => ValidationResult::Incomplete,
            None => ValidationResult::Valid(None),
        })
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        if self.closing.swap(false, Ordering::SeqCst)
            && let Some((start, line)) = closing_line(line, pos)
        {
            return Ok((start, vec![Pair { display: line.clone(), replacement: line }]));
        }
        let (range, candidates) = match commands::complete(line, pos) {
            Some(found) => found,
            None => {
                let found = complete(line, pos, &self.known);
                (found.range, found.candidates)
            }
        };
        let quoted = line[..range.start].ends_with('"');
        let after = if pos == line.len() { After::Nothing } else { After::Text };
        Ok((range.start, pairs(&candidates, quoted, after, self.columns())))
    }
}

/// What stands behind the cursor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Text,
}

/// A menu of one candidate a line, each with what it is.
fn pairs(candidates: &[Candidate], quoted: bool, after: After, columns: usize) -> Vec<Pair> {
    let widest = candidates.iter().map(|candidate| candidate.text.width()).max().unwrap_or(0).min(32);
    let pair = |candidate: &Candidate| {
        let padding = " ".repeat(widest.saturating_sub(candidate.text.width()));
        let line = format!("{}{padding}  {}", candidate.text, candidate.summary);
        let ending = if after == After::Nothing { ending(candidate.kind, quoted) } else { "" };
        // A line as wide as the terminal keeps the menu in one column.
        let display = filled(within(line.trim_end(), columns.saturating_sub(2)), columns.saturating_sub(2));
        Pair { display, replacement: format!("{}{ending}", candidate.text) }
    };
    candidates.iter().map(pair).collect()
}

/// What follows a candidate anyway.
fn ending(kind: CandidateKind, quoted: bool) -> &'static str {
    match kind {
        CandidateKind::Setting if !quoted => " = ",
        CandidateKind::Statement | CandidateKind::Clause => " ",
        CandidateKind::File | CandidateKind::Sample | CandidateKind::Column if quoted => "\"",
        _ => "",
    }
}

/// The text within so many columns.
fn within(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_string();
    }
    let mut used = 0;
    let kept = text.chars().take_while(|letter| {
        used += letter.width().unwrap_or(0);
        used < columns
    });
    kept.collect::<String>().trim_end().to_string() + "…"
}

fn filled(text: String, columns: usize) -> String {
    let space = " ".repeat(columns.saturating_sub(text.width()));
    text + &space
}

/// A hint as the editor shows it.
pub struct Shown {
    display: String,
    insert: String,
}

impl rustyline::hint::Hint for Shown {
    fn display(&self) -> &str {
        &self.display
    }

    fn completion(&self) -> Option<&str> {
        (!self.insert.is_empty()).then_some(self.insert.as_str())
    }
}

impl Hinter for Assistant {
    type Hint = Shown;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Shown> {
        if pos < line.len() {
            return None;
        }
        let hint = match &self.mended {
            Some(mended) if line.is_empty() => {
                let first = mended.lines().next().unwrap_or("");
                let more = if mended.contains('\n') { " …" } else { "" };
                let note = format!("{first}{more}  (right arrow: the cell with its fixes)");
                return self
                    .shown(Hint { insert: String::new(), note }, line)
                    .map(|shown| Shown { insert: mended.clone(), ..shown });
            }
            _ if line.trim_start().starts_with(':') => commands::hint(line)?,
            _ => hint::hint(line, &self.known)?,
        };
        self.shown(hint, line)
    }
}

impl Assistant {
    /// Without colours a hint could be taken for what was typed: it stands as a comment then, and nothing is inserted.
    fn shown(&self, hint: Hint, line: &str) -> Option<Shown> {
        let room = self.room(line);
        let gap = if line.is_empty() || hint.note.is_empty() { "" } else { "  " };
        if !self.look.color {
            let note = within(&format!("  # {}", hint.note), room);
            return (!hint.note.is_empty() && room > 12)
                .then(|| Shown { display: note, insert: String::new() });
        }
        let display = within(&format!("{}{gap}{}", hint.insert, hint.note), room);
        (display.width() >= hint.insert.width()).then_some(Shown { display, insert: hint.insert })
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if line.trim_start().starts_with(':') {
            return Cow::Owned(format!("\x1b[35m{line}\x1b[0m"));
        }
        let mut colored = String::with_capacity(line.len() * 2);
        let mut at = 0;
        for (range, role) in highlight(line) {
            colored.push_str(&line[at..range.start]);
            colored.push_str(&format!("\x1b[{}m{}\x1b[0m", code(role), &line[range.clone()]));
            at = range.end;
        }
        colored.push_str(&line[at..]);
        Cow::Owned(colored)
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, default: bool) -> Cow<'b, str> {
        if default { Cow::Owned(format!("\x1b[32m{prompt}\x1b[0m")) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[90m{hint}\x1b[0m"))
    }

    fn highlight_candidate<'c>(&self, candidate: &'c str, _: CompletionType) -> Cow<'c, str> {
        match candidate.split_once("  ") {
            Some((text, summary)) => Cow::Owned(format!("{text}  \x1b[90m{summary}\x1b[0m")),
            None => Cow::Borrowed(candidate),
        }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
    }
}

/// The ANSI colour of a role: the sixteen that every theme has.
fn code(role: Role) -> &'static str {
    match role {
        Role::Statement => "1;35",
        Role::Setting => "36",
        Role::Number | Role::Unit => "33",
        Role::Text => "32",
        Role::Comment => "90",
        Role::Broken => "4;31",
        Role::Plain => "0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str, kind: CandidateKind, summary: &str) -> Candidate {
        Candidate { text: text.into(), kind, summary: summary.into(), alias: None }
    }

    #[test]
    fn a_menu_has_one_line_a_candidate_within_the_terminal() {
        let long = "x ".repeat(100);
        let candidates = [
            candidate("lr", CandidateKind::Setting, "peak learning rate"),
            candidate("rank", CandidateKind::Setting, &long),
        ];
        let pairs = pairs(&candidates, false, After::Nothing, 40);
        assert!(
            pairs.iter().all(|pair| pair.display.width() == 38),
            "{pairs:?}",
            pairs = pairs.iter().map(|p| &p.display).collect::<Vec<_>>()
        );
        assert!(pairs[0].display.starts_with("lr    peak learning rate"));
        assert_eq!(pairs[0].replacement, "lr = ");
    }

    #[test]
    fn colours_change_no_letter() {
        let (_, closing) = crate::frontends::repl::keys::bindings();
        let assistant = Assistant::new(Look::PLAIN, closing);
        let line = "tune a { lr = 1e-4 } # é";
        let colored = assistant.highlight(line, 0).into_owned();
        let mut plain = String::new();
        let mut rest = colored.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            plain.push_str(before);
            rest = after.split_once('m').map_or("", |(_, after)| after);
        }
        assert_eq!(plain + rest, line);
    }
}
