//! Whether a cell is finished: the one question every prompt asks before it runs something.

use crate::events::SourceId;
use crate::language::brackets::open_at_end;
use crate::language::lexer::{TokenKind, tokens};
use crate::language::parse::parse;
use serde::Serialize;

/// What a prompt should do with the text so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Completeness {
    /// Run it.
    Complete,
    /// Ask for another line, indented by so many spaces.
    Incomplete { indent: usize },
    /// No further line can mend it.
    Invalid,
}

/// Asks the lexer what is still open, and the parser for all else.
pub fn complete(text: &str) -> Completeness {
    let tokens = tokens(text);
    let is_content = |kind: TokenKind| !matches!(kind, TokenKind::Newline | TokenKind::Comment);
    let last = tokens.iter().rev().find(|token| is_content(token.kind));
    let is_open_text = |written: &str| written.starts_with("\"\"\"");
    if last.is_some_and(|token| token.kind == TokenKind::UnclosedText && is_open_text(token.text(text))) {
        return Completeness::Incomplete { indent: 0 };
    }
    if tokens.iter().any(|token| token.kind.is_broken()) {
        return Completeness::Invalid;
    }
    if let Some(depth) = open_at_end(text, &tokens) {
        let is_too_deep = depth > crate::language::brackets::DEEPEST;
        return if is_too_deep {
            Completeness::Invalid
        } else {
            Completeness::Incomplete { indent: 2 * depth }
        };
    }
    if last.is_some_and(|token| token.kind == TokenKind::Comma) {
        return Completeness::Incomplete { indent: 2 };
    }
    if parse(text, SourceId(0)).has_errors() { Completeness::Invalid } else { Completeness::Complete }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_complete_when_nothing_is_open() {
        assert_eq!(complete("step a 5"), Completeness::Complete);
        assert_eq!(complete(""), Completeness::Complete);
        assert_eq!(complete("tune a {\n  lr = 1e-4\n}"), Completeness::Complete);
        assert_eq!(complete("rust {\n  fn a() { '}' }\n}"), Completeness::Complete);
    }

    #[test]
    fn open_brackets_texts_and_commas_ask_for_more() {
        assert_eq!(complete("tune a {"), Completeness::Incomplete { indent: 2 });
        assert_eq!(complete("tune a {\n  method = lora {"), Completeness::Incomplete { indent: 4 });
        assert_eq!(complete("rust {\n  fn a() {\n    if x {"), Completeness::Incomplete { indent: 6 });
        assert_eq!(complete("let x = \"\"\"abc\n"), Completeness::Incomplete { indent: 0 });
        assert_eq!(complete("plot loss, # more"), Completeness::Incomplete { indent: 2 });
    }

    #[test]
    fn what_no_line_can_mend_is_invalid() {
        assert_eq!(complete("step a )"), Completeness::Invalid);
        assert_eq!(complete("let x = \"abc"), Completeness::Invalid);
        assert_eq!(complete(&"(".repeat(400)), Completeness::Invalid);
        assert_eq!(complete("let = 3"), Completeness::Invalid);
    }
}
