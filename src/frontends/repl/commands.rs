//! Commands of the prompt itself: they begin with `:` and are no statements of the language.

use crate::assist::completion::{Candidate, CandidateKind};
use crate::assist::hint::Hint;
use crate::assist::paths::{PathsOf, paths};
use crate::events::{Diagnostic, Event, Table};
use crate::frontends::repl::{Flow, Repl};
use crate::language::codes;
use crate::language::suggest::nearest;
use std::ops::Range;

/// A command: its table is the one source of `:help`, completion and hints.
pub struct Command {
    pub name: &'static str,
    /// What follows it; empty for nothing.
    pub argument: &'static str,
    pub summary: &'static str,
    run: fn(&mut Repl, &str) -> Result<Flow, Diagnostic>,
}

const fn command(
    name: &'static str,
    argument: &'static str,
    summary: &'static str,
    run: fn(&mut Repl, &str) -> Result<Flow, Diagnostic>,
) -> Command {
    Command { name, argument, summary, run }
}

pub const COMMANDS: &[Command] = &[
    command(":help", "", "lists these commands and the keys", |repl, _| repl.help()),
    command(":vars", "", "lists every name and what it stands for", |repl, _| repl.variables()),
    command(":time", "[statement]", "times a statement; alone, turns timing on or off", Repl::time),
    command(":mode", "emacs | vi", "chooses the keys of the line editor", Repl::mode),
    command(":save", "FILE.ltune", "writes the cells of this session as a script", Repl::save),
    command(":load", "FILE.ltune", "runs a script in this session", Repl::load),
    command(":edit", "[cell]", "opens a cell, the last one if none is named, in $EDITOR", Repl::edit),
    command(":reset", "", "begins a fresh session; runs are kept in their folders", |repl, _| repl.reset()),
    command(":quit", "", "leaves, as Ctrl-D does", |_, _| Ok(Flow::Leave)),
];

/// Keys that are worth knowing.
const KEYS: &[(&str, &str)] = &[
    ("Enter", "runs a cell that is whole; on an empty line, repeats a `step` just taken"),
    ("Tab", "completes, and lists what may follow"),
    ("right arrow", "takes the grey hint over"),
    ("up, down", "through the lines of a cell, then through earlier cells"),
    ("PageUp", "the last cell that begins like this one"),
    ("Ctrl-R", "searches earlier cells"),
    ("Ctrl-C", "at work: stops after this optimizer step; again at once: drops it; at the prompt: clears"),
    ("Ctrl-D", "leaves, and says where the runs are"),
];

/// Does what a line that begins with `:` says; a beginning that only one command has is enough.
pub fn run(repl: &mut Repl, line: &str) -> Result<Flow, Diagnostic> {
    let (name, argument) = split(line.trim());
    let mut fitting = COMMANDS.iter().filter(|command| command.name.starts_with(name) && name.len() > 1);
    let exact = COMMANDS.iter().find(|command| command.name == name);
    match (exact, fitting.next(), fitting.next()) {
        (Some(command), _, _) | (None, Some(command), None) => (command.run)(repl, argument),
        _ => Err(unknown(name)),
    }
}

fn split(line: &str) -> (&str, &str) {
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (name, argument.trim())
}

fn unknown(name: &str) -> Diagnostic {
    let diagnostic =
        Diagnostic::error(codes::UNKNOWN_COMMAND, format!("`{name}` is not a command of the prompt"));
    let names = COMMANDS.iter().map(|command| command.name);
    match nearest(name, names) {
        Some(near) if name.len() > 1 => diagnostic.note(format!("did you mean `{near}`?")),
        _ => diagnostic.note("`:help` lists them"),
    }
}

/// What may follow in a line that begins with `:`; none for other lines.
pub fn complete(line: &str, cursor: usize) -> Option<(Range<usize>, Vec<Candidate>)> {
    let written = line.get(..cursor)?;
    let start = written.len() - written.trim_start().len();
    let command = written[start..].starts_with(':').then(|| &written[start..])?;
    let Some((name, argument)) = command.split_once(' ') else {
        let fitting = COMMANDS.iter().filter(|known| known.name.starts_with(command));
        let candidates = fitting.map(|known| Candidate {
            text: format!("{}{}", known.name, if known.argument.is_empty() { "" } else { " " }),
            kind: CandidateKind::Unit,
            summary: known.summary.into(),
            alias: None,
        });
        return Some((start..cursor, candidates.collect()));
    };
    let argument = argument.trim_start();
    let range = cursor - argument.len()..cursor;
    let candidates = match name {
        ":load" | ":save" => paths(argument, PathsOf::Scripts),
        ":mode" => ["emacs", "vi"].into_iter().filter(|mode| mode.starts_with(argument)).map(word).collect(),
        _ => vec![],
    };
    Some((range, candidates))
}

fn word(text: &str) -> Candidate {
    Candidate { text: text.into(), kind: CandidateKind::Word, summary: String::new(), alias: None }
}

/// The rest of the only command that fits, with what it does.
pub fn hint(line: &str) -> Option<Hint> {
    let written = line.trim_start();
    if let Some((name, "")) = written.split_once(' ') {
        let command = COMMANDS.iter().find(|command| command.name == name)?;
        return Some(Hint { insert: String::new(), note: command.argument.into() });
    }
    let mut fitting = COMMANDS.iter().filter(|command| command.name.starts_with(written));
    let (Some(command), None) = (fitting.next(), fitting.next()) else { return None };
    let note = [command.argument, command.summary].join("  ");
    Some(Hint { insert: command.name[written.len()..].into(), note: note.trim().into() })
}

/// What `:help` shows.
pub fn overview() -> [Event; 3] {
    let mut commands = Table::new("commands", &["command", "what it does"]);
    for command in COMMANDS {
        let usage = format!("{} {}", command.name, command.argument);
        commands.row([usage.trim_end().to_string(), command.summary.to_string()]);
    }
    let mut keys = Table::new("keys", &["key", "what it does"]);
    for (key, what) in KEYS {
        keys.row([key.to_string(), what.to_string()]);
    }
    let more = "`help` lists the statements, `help step` explains one; `name?` shows what a name stands for.\n\
                A value alone is shown and kept as `_`; that of cell 3 is `_3`.";
    [Event::Table(commands), Event::Table(keys), Event::Text { text: more.into() }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_completed_and_hinted() {
        let texts = |line: &str| -> Vec<String> {
            let (_, found) = complete(line, line.len()).unwrap_or_default();
            found.into_iter().map(|candidate| candidate.text).collect()
        };
        assert_eq!(texts(":h"), [":help"]);
        assert_eq!(texts(":mode v"), ["vi"]);
        assert_eq!(complete("step", 4), None);
        assert_eq!(hint(":ed").map(|hint| hint.insert).as_deref(), Some("it"));
        assert_eq!(hint(":zzz"), None);
    }

    #[test]
    fn an_unknown_command_names_the_nearest() {
        assert_eq!(unknown(":hlep").notes, ["did you mean `:help`?"]);
        assert_eq!(unknown(":").notes, ["`:help` lists them"]);
    }
}
