//! The value at the end of a cell: `width * 2` is no statement, but a prompt and a notebook show it.

use crate::events::SourceId;
use crate::language::lexer::{Token, TokenKind, tokens};
use crate::language::parse::parse_expression;
use std::ops::Range;

/// Where the last line of a cell is a value and no statement. A lone word can be either: a name, or a mistyped statement.
pub fn value_at_end(text: &str, is_statement: impl Fn(&str) -> bool) -> Option<Range<usize>> {
    let tokens = tokens(text);
    if tokens.iter().any(|token| token.kind.is_broken()) {
        return None;
    }
    let piece = last_piece(&tokens)?;
    let (first, last) = (&tokens[piece.start], &tokens[piece.end - 1]);
    if first.kind == TokenKind::Name && is_statement(first.text(text)) {
        return None;
    }
    let range = first.range.start..last.range.end;
    parse_expression(&text[range.clone()], SourceId(0)).is_ok().then_some(range)
}

/// The tokens after the last newline or `;` that ends a statement, without comments.
fn last_piece(tokens: &[Token]) -> Option<Range<usize>> {
    let mut depth = 0usize;
    let mut piece: Option<Range<usize>> = None;
    let mut ended = true;
    let mut previous = TokenKind::Newline;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Comment => continue,
            TokenKind::Newline if depth > 0 || previous == TokenKind::Comma => continue,
            TokenKind::Newline | TokenKind::Semicolon if depth == 0 => ended = true,
            kind => {
                if kind == TokenKind::Open {
                    depth += 1;
                } else if kind == TokenKind::Close {
                    depth = depth.saturating_sub(1);
                }
                let start = if ended { index } else { piece.as_ref().map_or(index, |piece| piece.start) };
                piece = Some(start..index + 1);
                ended = false;
            }
        }
        previous = token.kind;
    }
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<&str> {
        let is_statement = |word: &str| ["let", "print", "step", "plot", "tune"].contains(&word);
        value_at_end(text, is_statement).map(|range| &text[range])
    }

    #[test]
    fn an_expression_on_the_last_line_is_a_value() {
        assert_eq!(value("2 + 3"), Some("2 + 3"));
        assert_eq!(value("let n = 2\nn * 4 # twice\n"), Some("n * 4"));
        assert_eq!(value("let n = 2; (n\n + 1)"), Some("(n\n + 1)"));
        assert_eq!(value("\"text\""), Some("\"text\""));
    }

    #[test]
    fn statements_are_no_values() {
        assert_eq!(value("step a 5"), None);
        assert_eq!(value("stepp a 5"), None);
        assert_eq!(value("2 + 3\nstep"), None);
        assert_eq!(value("plot loss,\n lr"), None);
        assert_eq!(value("2 +"), None);
        assert_eq!(value(""), None);
    }
}
