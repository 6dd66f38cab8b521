//! What can be folded: blocks over several lines, and comments above each other.

use crate::frontends::lsp::workspace::{Document, Workspace};
use crate::language::lexer::{Token, TokenKind, tokens};
use lsp_types::{FoldingRange, FoldingRangeKind, FoldingRangeParams};

pub fn ranges(
    _: &Workspace,
    document: &Document,
    _: FoldingRangeParams,
) -> Result<Vec<FoldingRange>, String> {
    let tokens = tokens(&document.text.text);
    let line = |at: usize| document.text.position(at).line;
    let mut ranges = vec![];
    let mut open = vec![];
    for token in &tokens {
        match token.kind {
            TokenKind::Open => open.push(line(token.range.start)),
            TokenKind::Close => ranges.extend(
                open.pop().and_then(|start| fold(start, line(token.range.start).saturating_sub(1), None)),
            ),
            TokenKind::Text => ranges.extend(fold(line(token.range.start), line(token.range.end), None)),
            _ => {}
        }
    }
    for (first, last) in comments(&tokens) {
        ranges.extend(fold(line(first), line(last), Some(FoldingRangeKind::Comment)));
    }
    Ok(ranges)
}

fn fold(start_line: u32, end_line: u32, kind: Option<FoldingRangeKind>) -> Option<FoldingRange> {
    (start_line < end_line).then(|| FoldingRange { start_line, end_line, kind, ..FoldingRange::default() })
}

/// The places of the first and the last of comments that have lines of their own, one below the other.
fn comments(tokens: &[Token]) -> Vec<(usize, usize)> {
    let mut groups: Vec<(usize, usize)> = vec![];
    let mut goes_on = false;
    for (index, token) in tokens.iter().enumerate() {
        let begins_line = index == 0 || tokens[index - 1].kind == TokenKind::Newline;
        match token.kind {
            TokenKind::Comment if begins_line => {
                match groups.last_mut().filter(|_| goes_on) {
                    Some(group) => group.1 = token.range.start,
                    None => groups.push((token.range.start, token.range.start)),
                }
                goes_on = true;
            }
            TokenKind::Newline if !begins_line => {}
            _ => goes_on = false,
        }
    }
    groups
}
