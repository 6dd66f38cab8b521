//! What went wrong in a session, as one error that reads as the diagnostics do.

use crate::events::{Diagnostic, Sources};
use crate::frontends::color::Look;
use crate::frontends::render;
use std::fmt;

/// Everything that was found wrong, each with its place, its code and, where there is one, the fix.
///
/// `Display` and `Debug` both show the diagnostics as a terminal would, so that `?` in a notebook, `unwrap` and a `main`
/// that returns a `Result` say what to do. The session is as it was before the statement that failed.
pub struct Error {
    diagnostics: Vec<Diagnostic>,
    text: String,
}

impl Error {
    pub(super) fn new(diagnostics: Vec<Diagnostic>, sources: &Sources) -> Error {
        let drawn = diagnostics.iter().map(|found| render::diagnostic(found, sources, &Look::PLAIN));
        let text = drawn.collect::<Vec<_>>().join("\n\n");
        Error { diagnostics, text }
    }

    /// One that belongs to no place in a text.
    pub(super) fn of(diagnostic: Diagnostic) -> Error {
        Error::new(vec![diagnostic], &Sources::default())
    }

    /// What was found, in order; there is at least one.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The code of the first: `L0102`. `ltune explain L0102` says more.
    pub fn code(&self) -> &'static str {
        self.diagnostics.first().map_or("", |found| found.code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
