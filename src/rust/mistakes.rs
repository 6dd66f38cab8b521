//! What rustc says of a block, with its places in the script.

use crate::events::Diagnostic;
use crate::language::codes;
use crate::language::rust_text::Function;
use crate::rust::Block;
use crate::rust::process::{END, variant};
use evcxr::CompilationError;
use std::ops::Range;
use std::path::Path;

const ROW: &str = include_str!("../data/row.rs");
const ANSWER: &str = include_str!("../evaluate/answer.rs");
const PRELUDE: &str = include_str!("prelude.rs");

/// What evcxr is given: the prelude, the block in a module of its own, and the call that answers requests.
pub struct Program {
    pub text: String,
    /// Where the block begins in it.
    start: usize,
}

impl Program {
    pub fn new(block: &str, functions: &[Function], socket: &Path) -> Program {
        let before = format!(
            "mod ltune {{\npub mod row {{\n{ROW}}}\npub mod answer {{\n{ANSWER}}}\n{PRELUDE}}}\n\
             mod block {{ pub const LTUNE_LINE: u32 = line!(); use super::ltune::{{Answer, Moment, Row}};"
        );
        let entry = |function: &Function| {
            let kind = function.kind().map_or("", variant);
            format!("super::ltune::Function::{kind}({})", function.name)
        };
        let entries: Vec<String> = functions.iter().map(entry).collect();
        let text = format!(
            "{before}{block}\npub const LTUNE_FUNCTIONS: &[super::ltune::Function] = &[{}];\n}}\n\
             ltune::serve({:?}, {END:?}, block::LTUNE_LINE, block::LTUNE_FUNCTIONS);\n",
            entries.join(", "),
            socket.display().to_string(),
        );
        Program { text, start: before.len() }
    }

    /// From one line and column to another, as bytes of the block; none outside of it.
    fn range(&self, from: (usize, usize), to: (usize, usize)) -> Option<Range<usize>> {
        let at = |(line, column)| self.offset(line, column)?.checked_sub(self.start);
        let (start, end) = (at(from)?, at(to)?);
        Some(start..end.max(start))
    }

    /// The byte of a line and a column, both counted from 1, columns in characters.
    fn offset(&self, line: usize, column: usize) -> Option<usize> {
        let line = self.text.split('\n').nth(line.checked_sub(1)?)?;
        let start = line.as_ptr() as usize - self.text.as_ptr() as usize;
        let within = line.char_indices().nth(column.checked_sub(1)?).map_or(line.len(), |(at, _)| at);
        Some(start + within)
    }
}

/// Every mistake as a diagnostic.
pub fn diagnostics(block: &Block, program: &Program, mistakes: &[CompilationError]) -> Vec<Diagnostic> {
    let errors = mistakes.iter().filter(|mistake| mistake.level() != "warning");
    let mut found: Vec<Diagnostic> = errors.map(|mistake| diagnostic(block, program, mistake)).collect();
    found.dedup_by(|left, right| left == right);
    if found.is_empty() {
        found.push(Diagnostic::error(codes::RUST, "the `rust` block does not compile"));
    }
    found
}

fn diagnostic(block: &Block, program: &Program, mistake: &CompilationError) -> Diagnostic {
    const HELPS: usize = 2;
    let code = mistake.code().map_or(String::new(), |code| format!(" ({code})"));
    let mut diagnostic = Diagnostic::error(codes::RUST, format!("{}{code}", mistake.message()));
    let mut spanned: Vec<_> = mistake.spanned_messages().iter().collect();
    spanned.sort_by_key(|message| !message.is_primary);
    for message in spanned {
        let range = message.span.as_ref().and_then(|span| {
            program.range((span.start_line, span.start_column), (span.end_line, span.end_column))
        });
        if let Some(range) = range.filter(|range| range.end <= block.text.len()) {
            let label = if message.label.starts_with("error:") { "" } else { message.label.as_str() };
            diagnostic = diagnostic.label(block.span(range), label);
        }
    }
    for help in mistake.help().into_iter().take(HELPS) {
        let help = help.split("\n\n").map(str::trim).collect::<Vec<_>>().join(": ");
        diagnostic = diagnostic.note(help);
    }
    diagnostic
}
