//! Which bracket closes which: plain matching when all is well, and a guess by indentation when it is not.

use crate::events::{Diagnostic, SourceId, Span};
use crate::language::codes;
use crate::language::lexer::{Token, TokenKind};
use crate::language::rust_text::extent;

/// Brackets may stand this deep in each other; nobody reads more, and the reader's stack stays small.
pub const DEEPEST: usize = 40;

/// Where the brackets of a text end.
#[derive(Debug, Default)]
pub struct Brackets {
    ends: Vec<Option<End>>,
}

/// The end of an opening bracket, as an index of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At this closing bracket.
    Closed(usize),
    /// It was never closed and is taken to end before this token.
    Missing(usize),
}

impl Brackets {
    /// The end of the bracket that opens at this token.
    pub fn end(&self, open: usize) -> Option<End> {
        self.ends[open]
    }

    /// The token after the bracket that opens at this token, or simply the next token.
    pub fn after(&self, index: usize) -> usize {
        match self.ends[index] {
            Some(End::Closed(close)) => close + 1,
            Some(End::Missing(end)) => end.max(index + 1),
            None => index + 1,
        }
    }

    /// Whether each bracket between these tokens has its partner.
    pub fn are_closed(&self, tokens: &[Token], range: std::ops::Range<usize>) -> bool {
        range.clone().all(|index| match self.ends[index] {
            Some(End::Closed(_)) => true,
            Some(End::Missing(_)) => false,
            None => tokens[index].kind != TokenKind::Open && tokens[index].kind != TokenKind::Close,
        })
    }
}

/// Matches all brackets; `Err` when they are nested too deep to go on.
pub fn match_brackets(
    text: &str,
    tokens: &[Token],
    source: SourceId,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Brackets, Diagnostic> {
    if let Some(token) = deeper_than(text, tokens, DEEPEST) {
        let span = Span::new(source, token.range.start, token.range.end);
        let message = format!("brackets stand more than {DEEPEST} deep in each other");
        let label = match token.kind {
            TokenKind::Rust => "the braces in here".to_string(),
            _ => format!("this one is number {}", DEEPEST + 1),
        };
        return Err(Diagnostic::error(codes::NESTED_TOO_DEEP, message)
            .label(span, label)
            .note("close some brackets, or give the inner value a name with `let`"));
    }
    if let Some(ends) = balanced(text, tokens) {
        return Ok(Brackets { ends });
    }
    let mut guess = Guess { text, tokens, source, ends: vec![None; tokens.len()], open: vec![], diagnostics };
    guess.run();
    Ok(Brackets { ends: guess.ends })
}

/// How many brackets are open at the end, when there are some and none is closed wrongly.
pub fn open_at_end(text: &str, tokens: &[Token]) -> Option<usize> {
    let mut open = vec![];
    let mut in_rust = 0;
    for token in tokens {
        match token.kind {
            TokenKind::Rust => in_rust = extent(token.text(text)).open,
            TokenKind::Open => open.push(token.text(text)),
            TokenKind::Close if open.pop().map(partner) != Some(token.text(text)) => return None,
            _ => {}
        }
    }
    Some(open.len() + in_rust).filter(|depth| *depth > 0)
}

fn deeper_than<'a>(text: &str, tokens: &'a [Token], limit: usize) -> Option<&'a Token> {
    let mut depth = 0usize;
    tokens.iter().find(|token| {
        match token.kind {
            TokenKind::Rust => return depth + extent(token.text(text)).deepest > limit,
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > limit
    })
}

fn partner(open: &str) -> &'static str {
    match open {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

fn balanced(text: &str, tokens: &[Token]) -> Option<Vec<Option<End>>> {
    let mut ends = vec![None; tokens.len()];
    let mut open: Vec<usize> = vec![];
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Open => open.push(index),
            TokenKind::Close => {
                let start =
                    open.pop().filter(|start| partner(tokens[*start].text(text)) == token.text(text))?;
                ends[start] = Some(End::Closed(index));
                ends[index] = Some(End::Closed(index));
            }
            _ => {}
        }
    }
    open.is_empty().then_some(ends)
}

/// Guesses where unclosed brackets were meant to end. A line that is not indented deeper than the line of the bracket
/// ends it, unless it is a setting `name = …` of an open block.
struct Guess<'a> {
    text: &'a str,
    tokens: &'a [Token],
    source: SourceId,
    ends: Vec<Option<End>>,
    open: Vec<usize>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Guess<'_> {
    fn run(&mut self) {
        for index in 0..self.tokens.len() {
            match self.tokens[index].kind {
                TokenKind::Newline => self.give_up_at_line(index),
                TokenKind::Open => self.open.push(index),
                TokenKind::Close => self.close(index),
                _ => {}
            }
        }
        while !self.open.is_empty() {
            self.give_up(self.tokens.len());
        }
    }

    fn give_up_at_line(&mut self, newline: usize) {
        let skipped = |token: &&Token| matches!(token.kind, TokenKind::Newline | TokenKind::Comment);
        let first = newline + self.tokens[newline..].iter().take_while(skipped).count();
        let Some(token) = self.tokens.get(first) else { return };
        if token.kind == TokenKind::Close {
            return;
        }
        let is_entry = token.kind == TokenKind::Name
            && self.tokens.get(first + 1).is_some_and(|next| next.kind == TokenKind::Equals);
        let column = self.indentation(first);
        while let Some(open) = self.open.last() {
            let is_block = self.tokens[*open].text(self.text) == "{";
            if column > self.indentation(*open) || (is_block && is_entry) {
                break;
            }
            self.give_up(newline);
        }
    }

    fn close(&mut self, index: usize) {
        let close = self.tokens[index].text(self.text);
        let begins_line = index == 0 || self.tokens[index - 1].kind == TokenKind::Newline;
        let column = self.indentation(index);
        let fits = |guess: &Self, open: usize| partner(guess.tokens[open].text(guess.text)) == close;
        let fits_column = |guess: &Self, open: usize| begins_line && guess.indentation(open) == column;
        while let Some(open) = self.open.last().copied() {
            let below = &self.open[..self.open.len() - 1];
            let better_below = below.iter().any(|below| fits(self, *below) && fits_column(self, *below));
            if fits(self, open) && (fits_column(self, open) || !better_below) {
                self.open.pop();
                self.ends[open] = Some(End::Closed(index));
                self.ends[index] = Some(End::Closed(index));
                return;
            }
            if !below.iter().any(|below| fits(self, *below)) {
                break;
            }
            self.give_up(index);
        }
        self.diagnostics.push(
            Diagnostic::error(codes::UNOPENED_BRACKET, format!("`{close}` closes nothing"))
                .label(self.span(index), "no bracket is open here")
                .fix(self.span(index), "", format!("remove `{close}`")),
        );
    }

    /// Takes the innermost open bracket to end before this token.
    fn give_up(&mut self, end: usize) {
        let Some(open) = self.open.pop() else { return };
        self.ends[open] = Some(End::Missing(end));
        let bracket = self.tokens[open].text(self.text);
        let close = partner(bracket);
        let is_content = |token: &&Token| !matches!(token.kind, TokenKind::Newline | TokenKind::Comment);
        let last = self.tokens[open..end].iter().rev().find(is_content).unwrap_or(&self.tokens[open]);
        let here = Span::new(self.source, last.range.end, last.range.end);
        let on_own_line =
            bracket == "{" && self.text[self.tokens[open].range.start..last.range.end].contains('\n');
        let insert = match (bracket, on_own_line) {
            ("{", true) => format!("\n{}}}", " ".repeat(self.indentation(open))),
            ("{", false) => " }".to_string(),
            _ => close.to_string(),
        };
        self.diagnostics.push(
            Diagnostic::error(codes::UNCLOSED_BRACKET, format!("`{bracket}` is never closed"))
                .label(self.span(open), format!("no `{close}` belongs to this"))
                .fix(here, insert, format!("write `{close}` here")),
        );
    }

    /// The column of the first token on the line of this token.
    fn indentation(&self, index: usize) -> usize {
        let start = self.tokens[index].range.start;
        let line = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        self.text[line..].find(|c| c != ' ' && c != '\t').unwrap_or(0)
    }

    fn span(&self, index: usize) -> Span {
        let range = &self.tokens[index].range;
        Span::new(self.source, range.start, range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::lexer::tokens;

    fn unclosed(text: &str) -> Vec<(usize, String)> {
        let mut diagnostics = vec![];
        let tokens = tokens(text);
        match_brackets(text, &tokens, SourceId(0), &mut diagnostics).expect("not deep");
        diagnostics.iter().map(|d| (d.labels[0].span.start as usize, d.message.clone())).collect()
    }

    #[test]
    fn an_unclosed_bracket_ends_with_its_line() {
        let text = "let x = (1 + 2\nmodel base { from = \"a\" }\nprint (x)\n";
        assert_eq!(unclosed(text), [(8, "`(` is never closed".into())]);
    }

    #[test]
    fn indentation_tells_which_brace_is_missing() {
        let text = "tune a {\n  method = lora { rank = 16\n  lr = 2e-4\n}\nstep a 5\n";
        assert_eq!(unclosed(text), [(text.find("{ rank").unwrap(), "`{` is never closed".into())]);
    }

    #[test]
    fn a_stray_bracket_is_one_error() {
        assert_eq!(unclosed("step a 5)\nstep a 5"), [(8, "`)` closes nothing".into())]);
    }
}
