//! One way to lay out a script: the tokens stay as they are, comments among them; blanks and lines are set anew.
//!
//! Two spaces for each open brace, one space between words, `=` and comments in columns, at most one empty line.
//! What stands on one line stays on one line.

use crate::events::{Diagnostic, SourceId};
use crate::language::lexer::{Token, TokenKind, tokens};
use crate::language::parse::parse;
use crate::units::Unit;
use std::ops::Range;

/// The script laid out, or its syntax errors.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let parsed = parse(text, SourceId(0));
    if parsed.has_errors() {
        return Err(parsed.diagnostics);
    }
    let tokens = tokens(text);
    let mut lines = lines(text, &tokens);
    align_equals(&mut lines);
    align_comments(&mut lines);
    Ok(joined(&lines))
}

/// A line as it will be written.
#[derive(Debug, Default)]
struct Line {
    indent: usize,
    code: String,
    comment: Option<String>,
    /// An empty line stands above it.
    spaced: bool,
    /// Where ` = ` begins, when the line is a setting of its own.
    equals: Option<usize>,
    /// A text that spans lines; nothing in it may move.
    is_fixed: bool,
}

/// Cuts tokens into lines and joins the tokens of each.
fn lines(text: &str, tokens: &[Token]) -> Vec<Line> {
    let mut lines = vec![];
    let mut depth = 0usize;
    let mut newlines = 0;
    let mut start = 0;
    while start < tokens.len() {
        if tokens[start].kind == TokenKind::Newline {
            newlines += 1;
            start += 1;
            continue;
        }
        let is_end = |token: &Token| token.kind == TokenKind::Newline;
        let end = tokens[start..].iter().position(is_end).map_or(tokens.len(), |offset| start + offset);
        let mut line = line(text, tokens, start..end, depth);
        line.spaced = newlines > 1 && !lines.is_empty();
        depth = depth_after(&tokens[start..end], depth);
        if !line.code.is_empty() || line.comment.is_some() {
            lines.push(line);
            newlines = 0;
        }
        start = end;
    }
    without_edges(&mut lines);
    lines
}

/// No empty line directly inside of braces.
fn without_edges(lines: &mut [Line]) {
    for index in 1..lines.len() {
        let opens = lines[index - 1].code.ends_with(['{', '[', '(']) && lines[index - 1].comment.is_none();
        let closes = lines[index].code.starts_with(['}', ']', ')']);
        if opens || closes {
            lines[index].spaced = false;
        }
    }
}

fn depth_after(tokens: &[Token], depth: usize) -> usize {
    tokens.iter().fold(depth, |depth, token| match token.kind {
        TokenKind::Open => depth + 1,
        TokenKind::Close => depth.saturating_sub(1),
        _ => depth,
    })
}

fn line(text: &str, tokens: &[Token], range: Range<usize>, depth: usize) -> Line {
    let content: Vec<&Token> = tokens[range.clone()].iter().collect();
    let (comment, content) = match content.split_last() {
        Some((last, rest)) if last.kind == TokenKind::Comment => (Some(comment_text(last.text(text))), rest),
        _ => (None, &content[..]),
    };
    let content = without_semicolons(content);
    let closing = content.iter().take_while(|token| token.kind == TokenKind::Close).count();
    let goes_on = range.start > 0 && continues(tokens, range.start);
    let mut line =
        Line { indent: depth.saturating_sub(closing) + usize::from(goes_on), comment, ..Line::default() };
    for (index, token) in content.iter().enumerate() {
        let written = token.text(text);
        if index > 0 && has_space(text, content, index) {
            line.code.push(' ');
        }
        if index == 1 && token.kind == TokenKind::Equals && content[0].kind == TokenKind::Name {
            line.equals = Some(line.code.len());
        }
        line.is_fixed |= written.contains('\n');
        line.code.push_str(written);
    }
    line
}

/// `;` at the beginning and the end of a line separates nothing.
fn without_semicolons<'a, 'b>(content: &'a [&'b Token]) -> &'a [&'b Token] {
    let is_code = |token: &&&Token| token.kind != TokenKind::Semicolon;
    let Some(first) = content.iter().position(|token| is_code(&token)) else { return &[] };
    let last = content.iter().rposition(|token| is_code(&token)).unwrap_or(first);
    &content[first..=last]
}

/// Whether the line before ended in a comma outside of brackets, or in an operator inside of them.
fn continues(tokens: &[Token], start: usize) -> bool {
    let is_content = |token: &&Token| !matches!(token.kind, TokenKind::Newline | TokenKind::Comment);
    let mut depth = 0usize;
    let mut last = None;
    for token in tokens[..start].iter().rev().filter(is_content) {
        last = last.or(Some(token.kind));
        match token.kind {
            TokenKind::Close => depth += 1,
            TokenKind::Open if depth == 0 => return false,
            TokenKind::Open => depth -= 1,
            _ => {}
        }
        if last != Some(TokenKind::Comma) {
            return false;
        }
        if depth == 0 && token.kind == TokenKind::Semicolon {
            return true;
        }
    }
    last == Some(TokenKind::Comma)
}

/// Whether a space stands before this token of a line.
fn has_space(text: &str, content: &[&Token], index: usize) -> bool {
    let (previous, token) = (content[index - 1], content[index]);
    let (before, here) = (previous.text(text), token.text(text));
    let touches = previous.range.end == token.range.start;
    match (previous.kind, token.kind) {
        (TokenKind::Rust, _) | (_, TokenKind::Rust) => false,
        (_, TokenKind::Comma | TokenKind::Semicolon) => false,
        (TokenKind::Open, TokenKind::Close) => false,
        (TokenKind::Open, _) => before == "{",
        (_, TokenKind::Close) => here == "}",
        (TokenKind::Name, TokenKind::Open) if here == "(" => !touches,
        (TokenKind::Number, TokenKind::Operator) if here == "%" => false,
        (TokenKind::Number, TokenKind::Name) => !is_byte_unit(here),
        (_, TokenKind::Operator) if here == ".." => is_spaced_range(text, content, index),
        (TokenKind::Operator, _) if before == ".." => is_spaced_range(text, content, index - 1),
        (TokenKind::Operator, _) if matches!(before, "-" | "+") => !is_sign(text, content, index - 1),
        _ => true,
    }
}

fn is_byte_unit(unit: &str) -> bool {
    matches!(Unit::parse(unit), Some((Unit::Bytes, _)))
}

/// `0..12` is set tight, `1e-6 .. 1e-3` with spaces: between plain whole numbers and names there are none.
fn is_spaced_range(text: &str, content: &[&Token], index: usize) -> bool {
    let is_short = |token: Option<&&Token>| {
        token.is_some_and(|token| {
            let written = token.text(text);
            let is_whole = token.kind == TokenKind::Number
                && written.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
            is_whole || (token.kind == TokenKind::Name && !written.contains('.'))
        })
    };
    let has_unit = index >= 2
        && content[index - 1].kind == TokenKind::Name
        && content[index - 2].kind == TokenKind::Number;
    let before = index.checked_sub(1).and_then(|before| content.get(before));
    !is_short(before) || !is_short(content.get(index + 1)) || has_unit
}

/// Whether `-` or `+` is a sign and not an operator: no value stands before it.
fn is_sign(text: &str, content: &[&Token], index: usize) -> bool {
    let Some(before) = index.checked_sub(1).map(|before| content[before]) else { return false };
    match before.kind {
        TokenKind::Equals | TokenKind::Comma | TokenKind::Open | TokenKind::Semicolon => true,
        TokenKind::Operator => before.text(text) != "%",
        _ => false,
    }
}

/// `#comment` becomes `# comment`; rulers like `#----` stay.
fn comment_text(comment: &str) -> String {
    let comment = comment.trim_end();
    match comment[1..].chars().next() {
        Some(first) if first.is_alphanumeric() => format!("# {}", &comment[1..]),
        _ => comment.to_string(),
    }
}

/// The `=` of settings on lines below each other stand in one column.
fn align_equals(lines: &mut [Line]) {
    for group in groups(lines, |line| line.equals.is_some() && !line.code.is_empty()) {
        let column = lines[group.clone()].iter().filter_map(|line| line.equals).max().unwrap_or(0);
        for line in &mut lines[group] {
            if let Some(equals) = line.equals {
                line.code.insert_str(equals - 1, &" ".repeat(column - equals));
            }
        }
    }
}

/// Comments behind code on lines below each other stand in one column.
fn align_comments(lines: &mut [Line]) {
    for group in groups(lines, |line| !line.code.is_empty() && line.comment.is_some() && !line.is_fixed) {
        let width = |line: &Line| line.indent * 2 + line.code.chars().count();
        let column = lines[group.clone()].iter().map(width).max().unwrap_or(0);
        for line in &mut lines[group] {
            let padding = column - width(line);
            line.code.push_str(&" ".repeat(padding));
        }
    }
}

/// Runs of neighbouring lines of one depth that have a property.
fn groups(lines: &[Line], has: impl Fn(&Line) -> bool) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = vec![];
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| has(line)) {
        match groups.last_mut() {
            Some(group) if group.end == index && !line.spaced && lines[index - 1].indent == line.indent => {
                group.end += 1
            }
            _ => groups.push(index..index + 1),
        }
    }
    groups
}

fn joined(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        if line.spaced {
            text.push('\n');
        }
        text.push_str(&"  ".repeat(line.indent));
        text.push_str(&line.code);
        if let Some(comment) = &line.comment {
            text.push_str(if line.code.is_empty() { "" } else { "  " });
            text.push_str(comment);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &str) -> String {
        format(text).expect("no syntax error")
    }

    #[test]
    fn settings_and_comments_stand_in_columns() {
        let text = "tune a{\n model=base#the model\n\n\n   data  =  chat   # the data\n  method=lora{rank=16;alpha=32}\n}\n";
        let wanted = "tune a {\n  model = base  # the model\n\n  data   = chat  # the data\n  method = lora { rank = 16; alpha = 32 }\n}\n";
        assert_eq!(formatted(text), wanted);
        assert_eq!(formatted(wanted), wanted);
    }

    #[test]
    fn values_are_spaced_evenly() {
        let line = |text: &str| formatted(text).trim_end().to_string();
        assert_eq!(line("let x=1+2*-3"), "let x = 1 + 2 * -3");
        assert_eq!(line("let x = log( 1e-6..1e-3 ,7 )"), "let x = log(1e-6 .. 1e-3, 7)");
        assert_eq!(line("freeze a layers 0 .. 12 step 2"), "freeze a layers 0..12 step 2");
        assert_eq!(
            line("data d {split=90 %/10%;b=2 GiB;n=512tokens}"),
            "data d { split = 90% / 10%; b = 2GiB; n = 512 tokens }"
        );
        assert_eq!(line("step a (n+1)"), "step a (n + 1)");
        assert_eq!(line("plot loss,lr of a ,b to \"x.svg\";"), "plot loss, lr of a, b to \"x.svg\"");
        assert_eq!(line("tune a{}"), "tune a {}");
        assert_eq!(line("tune a{batch=4x4}"), "tune a { batch = 4 x 4 }");
        assert_eq!(line("run a until eval.loss<1.8"), "run a until eval.loss < 1.8");
        // A value of a verb knows no `x`: apart these would be three values.
        assert!(format("run a until eval.loss < 1x8").is_err());
    }

    #[test]
    fn lists_over_lines_are_indented() {
        let text = "let x = [\n1,\n2 # two\n]\nplot loss,\nlr of a\n";
        assert_eq!(formatted(text), "let x = [\n  1,\n  2  # two\n]\nplot loss,\n  lr of a\n");
    }

    #[test]
    fn a_text_over_lines_stays_as_it_is() {
        let text = "let x = \"\"\"\n   a\n b   \"\"\"  # end\n";
        assert_eq!(formatted(text), text);
    }

    #[test]
    fn the_rust_of_a_block_stays_as_it_is() {
        let text = "rust {\n   fn a( at:Moment )->f64 { 1.0 }\n\n\n  // x\n}  # end\n\nrust { fn b() {} }\n";
        assert_eq!(formatted(text), text);
        assert_eq!(
            formatted("repeat 2 {\nrust{\n fn a() {}\n}\n}"),
            "repeat 2 {\n  rust {\n fn a() {}\n}\n}\n"
        );
    }

    #[test]
    fn a_script_with_errors_is_not_touched() {
        assert!(format("tune a {").is_err());
    }
}
