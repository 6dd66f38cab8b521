//! What an editor asks of a script: all that is wrong in it and every name it defines. Nothing runs, nothing is shown.

use super::{Interpreter, ReadText, Unit, internal};
use crate::events::{Diagnostic, Event, Out, Sink, SourceId, Sources, Span};
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

/// Checks a script; a failure of ltune itself is a diagnostic too.
pub fn study(unit: Unit, read: ReadText) -> Study {
    let mut interpreter = Interpreter::new(Out::new(Box::new(Nobody)));
    interpreter.read = read;
    let studied = catch_unwind(AssertUnwindSafe(|| {
        let mut checker = interpreter.checker();
        checker.unit(unit);
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
