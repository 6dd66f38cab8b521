//! Keys with a meaning of their own: Enter asks the parser whether the cell is whole, `}` finds its column, PageUp looks
//! for what begins like the line.

use crate::frontends::repl::paste::without_prompts;
use crate::language::complete::{Completeness, complete};
use rustyline::{
    Cmd, ConditionalEventHandler, Event, EventContext, EventHandler, KeyCode, KeyEvent, Modifiers,
    RepeatCount,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Spaces that one open bracket indents.
pub const INDENT: usize = 2;

/// Whether the cell waits for more, and how deep the next line stands. After two empty lines it waits no longer: whoever
/// is lost is told what is missing.
pub fn waits(text: &str) -> Option<usize> {
    let text = without_prompts(text);
    if text.trim_start().starts_with(':') {
        return None;
    }
    match complete(&text) {
        Completeness::Incomplete { indent } if indent == 0 || !given_up(&text) => Some(indent),
        _ => None,
    }
}

fn given_up(text: &str) -> bool {
    let mut lines = text.split('\n').rev();
    lines.next().is_some_and(|last| last.trim().is_empty())
        && lines.next().is_some_and(|line| line.trim().is_empty())
        && lines.next().is_some()
}

/// Binds them all. The flag is set when `}` asks for its column.
pub fn bindings() -> (Vec<(KeyEvent, EventHandler)>, Arc<AtomicBool>) {
    let closing = Arc::new(AtomicBool::new(false));
    let key = |code| KeyEvent(code, Modifiers::NONE);
    let bindings = vec![
        (key(KeyCode::Enter), EventHandler::Conditional(Box::new(Enter))),
        (key(KeyCode::Char('}')), EventHandler::Conditional(Box::new(Brace(closing.clone())))),
        (key(KeyCode::PageUp), EventHandler::Simple(Cmd::HistorySearchBackward)),
        (key(KeyCode::PageDown), EventHandler::Simple(Cmd::HistorySearchForward)),
    ];
    (bindings, closing)
}

/// A cell that is not whole gets another line, indented; a whole one is run.
struct Enter;

impl ConditionalEventHandler for Enter {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        waits(context.line())?;
        let before = context.line().get(..context.pos())?;
        let indent = match complete(before) {
            Completeness::Incomplete { indent } => indent,
            _ => 0,
        };
        Some(Cmd::Insert(1, format!("\n{}", " ".repeat(indent))))
    }
}

/// `}` on a line of its own stands where its block began. The completion puts it there: no command of the editor does.
struct Brace(Arc<AtomicBool>);

impl ConditionalEventHandler for Brace {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        closing_line(context.line(), context.pos())?;
        self.0.store(true, Ordering::SeqCst);
        Some(Cmd::Complete)
    }
}

/// Where the line begins that is to become a `}`, and that line as it should be.
pub fn closing_line(text: &str, cursor: usize) -> Option<(usize, String)> {
    let before = text.get(..cursor)?;
    let start = before.rfind('\n')? + 1;
    let blank = &before[start..];
    if blank.is_empty() || !blank.trim().is_empty() {
        return None;
    }
    match complete(before) {
        Completeness::Incomplete { indent } if indent >= INDENT => {
            Some((start, format!("{}}}", " ".repeat(indent - INDENT))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_decides_whether_a_cell_waits() {
        assert_eq!(waits("tune a {"), Some(2));
        assert_eq!(waits("tune a {\n  method = lora {"), Some(4));
        assert_eq!(waits("step a 5"), None);
        assert_eq!(waits("let = 3"), None);
        assert_eq!(waits(":load {"), None);
        assert_eq!(waits("In [3]: tune a {"), Some(2));
    }

    #[test]
    fn two_empty_lines_end_the_waiting_except_in_a_text() {
        assert_eq!(waits("tune a {\n  "), Some(2));
        assert_eq!(waits("tune a {\n\n"), None);
        assert_eq!(waits("let x = \"\"\"a\n\n\n"), Some(0));
    }

    #[test]
    fn a_brace_stands_where_its_block_began() {
        assert_eq!(closing_line("tune a {\n  ", 11), Some((9, "}".into())));
        let nested = "tune a {\n  method = lora {\n    ";
        assert_eq!(closing_line(nested, nested.len()), Some((27, "  }".into())));
        assert_eq!(closing_line("tune a { x", 10), None);
        assert_eq!(closing_line("tune a {\n  lr", 13), None);
    }
}
