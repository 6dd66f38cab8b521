//! What an editor asks of a script: all that is wrong in it and every name it defines. Nothing runs, nothing is shown.

use super::{Interpreter, ReadText, Unit, internal};
use crate::events::{Diagnostic, Event, Out, Sink, SourceId, Sources, Span};
use crate::language::parse::{Parsed, parse};
use crate::language::tree::Script;
use crate::session::outline::Outline;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// A script that was checked.
#[derive(Default)]
pub struct Study {
    /// What the names stand for at the end of the script.
    pub outline: Outline,
    pub diagnostics: Vec<Diagnostic>,
    /// What the places in diagnostics point into; the script itself is the first.
    pub sources: Sources,
    pub included: Vec<Included>,
}

/// A file that the script reads.
pub struct Included {
    /// Without links and dots, if it is there.
    pub file: PathBuf,
    /// The path in the `include`.
    pub at: Span,
    /// Its text; `None` when it cannot be read.
    pub source: Option<SourceId>,
}

/// Reads a script that is the first source of its study; a failure of ltune itself is a diagnostic too.
pub fn read_script(text: &str) -> Parsed {
    let parsed = catch_unwind(|| parse(text, SourceId(0)));
    parsed.unwrap_or_else(|_| Parsed { script: Script::default(), diagnostics: vec![internal()] })
}

/// Checks a script that was read; a failure of ltune itself is a diagnostic too.
pub fn study(unit: Unit, parsed: &Parsed, read: ReadText) -> Study {
    let mut interpreter = Interpreter::new(Out::new(Box::new(Nobody)));
    interpreter.read = read;
    interpreter.out.sources.add(unit.name, unit.text);
    let studied = catch_unwind(AssertUnwindSafe(|| {
        let mut checker = interpreter.checker();
        checker.parsed(parsed, &unit.folder);
        Study {
            outline: checker.outline,
            diagnostics: checker.diagnostics,
            included: checker.included,
            sources: Sources::default(),
        }
    }));
    let mut study = studied.unwrap_or_else(|_| Study { diagnostics: vec![internal()], ..Study::default() });
    study.sources = interpreter.out.sources;
    study
}

/// A sink for events that nobody waits for.
struct Nobody;

impl Sink for Nobody {
    fn accept(&mut self, _event: &Event, _sources: &Sources) {}
}
