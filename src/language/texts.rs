//! What stands between quotes: escapes, the pieces of `f"…"`, and what can be wrong there.

use crate::events::{Diagnostic, SourceId, Span};
use crate::language::codes;
use crate::language::lexer::{Token, TokenKind};
use std::ops::Range;

/// The text a literal stands for. Escapes that do not exist are left as they are; `mistakes` has named them.
pub fn unquoted(literal: &str) -> String {
    if let Some(raw) = literal.strip_prefix("r\"") {
        return raw[..raw.len() - 1].to_string();
    }
    if literal.len() >= 6 && literal.starts_with("\"\"\"") {
        let inner = &literal[3..literal.len() - 3];
        let inner = inner.strip_prefix("\r\n").or(inner.strip_prefix('\n')).unwrap_or(inner);
        return unescaped(inner);
    }
    unescaped(&literal[1..literal.len() - 1])
}

/// Escapes read.
pub fn unescaped(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(backslash) = rest.find('\\') {
        text.push_str(&rest[..backslash]);
        let (character, length) = escape(&rest[backslash..]).unwrap_or(('\\', 1));
        text.push(character);
        rest = &rest[backslash + length..];
    }
    text + rest
}

/// The escape at the beginning of this text, and its length.
fn escape(text: &str) -> Option<(char, usize)> {
    let character = match text[1..].chars().next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        '0' => '\0',
        '"' => '"',
        '\\' => '\\',
        'u' => return unicode_escape(text),
        _ => return None,
    };
    Some((character, 2))
}

/// `\u{e9}` or `\u00e9`, with the pairs that JSON writes for characters beyond four digits.
fn unicode_escape(text: &str) -> Option<(char, usize)> {
    if let Some(braced) = text.strip_prefix("\\u{") {
        let end = braced.find('}')?;
        let code = u32::from_str_radix(&braced[..end], 16).ok()?;
        return Some((char::from_u32(code)?, end + 4));
    }
    let first = four_digits(text)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 6));
    }
    let second = four_digits(text.get(6..)?)?;
    let pair = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
    let character = char::decode_utf16(pair).next()?.ok()?;
    Some((character, 12))
}

fn four_digits(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}

/// Everything that is wrong inside of tokens. A token that cannot be parsed at all is marked as broken.
pub fn mistakes(text: &str, tokens: &mut [Token], source: SourceId, diagnostics: &mut Vec<Diagnostic>) {
    for index in 0..tokens.len() {
        let token = &tokens[index];
        let span = Span::new(source, token.range.start, token.range.end);
        let written = token.text(text);
        match token.kind {
            TokenKind::UnclosedText => diagnostics.push(unclosed(written, span)),
            TokenKind::SingleQuoted => diagnostics.push(single_quoted(written, span)),
            TokenKind::SlashComment => diagnostics.push(slash_comment(written, span)),
            TokenKind::Unknown => diagnostics.push(unknown(written, span, tokens, index)),
            TokenKind::Text if !written.starts_with('r') => {
                unknown_escapes(written, span, diagnostics);
                if written.starts_with('f') && !braces_pair(written, span, diagnostics) {
                    tokens[index].kind = TokenKind::Unknown;
                }
            }
            _ => {}
        }
    }
}

fn unclosed(written: &str, span: Span) -> Diagnostic {
    if written.starts_with("\"\"\"") {
        let opening = Span { end: span.start + 3, ..span };
        return Diagnostic::error(codes::UNCLOSED_TEXT, "this text is never closed")
            .label(opening, "no `\"\"\"` ends it")
            .fix(Span { start: span.end, ..span }, "\"\"\"", "write `\"\"\"` at its end");
    }
    Diagnostic::error(codes::UNCLOSED_TEXT, "this text is not closed on its line")
        .label(span, "no `\"` ends it")
        .note("a text over several lines is written between `\"\"\"` and `\"\"\"`")
        .fix(Span { start: span.end, ..span }, "\"", "write `\"` at the end of the line")
}

fn single_quoted(written: &str, span: Span) -> Diagnostic {
    let double = crate::language::value::quoted(&written[1..written.len() - 1]);
    Diagnostic::error(codes::UNKNOWN_CHARACTER, "texts are written in double quotes").at(span).fix(
        span,
        double.clone(),
        format!("write `{double}`"),
    )
}

fn slash_comment(written: &str, span: Span) -> Diagnostic {
    Diagnostic::error(codes::COMMENT_SIGN, "comments begin with `#`, not with `//`").at(span).fix(
        span,
        format!("#{}", &written[2..]),
        "write `#`",
    )
}

fn unknown(written: &str, span: Span, tokens: &[Token], index: usize) -> Diagnostic {
    let after_name = index > 0 && tokens[index - 1].kind == TokenKind::Name;
    if written == ":" && after_name {
        return Diagnostic::error(codes::MISSING_EQUALS, "a setting is written `name = value`, without `:`")
            .at(span)
            .fix(span, " =", "write `=`");
    }
    let message = match written.chars().next() {
        Some(control) if control.is_control() || !control.is_ascii() => {
            format!(
                "the character `{}` (U+{:04X}) means nothing here",
                control.escape_debug(),
                control as u32
            )
        }
        _ => format!("the character `{written}` means nothing here"),
    };
    let diagnostic = Diagnostic::error(codes::UNKNOWN_CHARACTER, message).at(span);
    match written {
        "“" | "”" | "„" => diagnostic.note("texts are written in straight double quotes: `\"…\"`"),
        "–" | "−" | "—" => {
            diagnostic.note("this is not the minus sign `-`").fix(span, "-", "write `-`")
        }
        "×" => diagnostic.note("a batch is written `4 x 4`").fix(span, "x", "write `x`"),
        "…" => diagnostic.note("a range is written `0..12`").fix(span, "..", "write `..`"),
        "." | "~" | "\\" => diagnostic.note("a path stands in quotes: `\"./data.jsonl\"`"),
        "'" => diagnostic.note("texts are written in double quotes: `\"…\"`"),
        _ => diagnostic,
    }
}

fn unknown_escapes(written: &str, span: Span, diagnostics: &mut Vec<Diagnostic>) {
    let mut at = 0;
    while let Some(backslash) = written[at..].find('\\').map(|found| at + found) {
        if let Some((_, length)) = escape(&written[backslash..]) {
            at = backslash + length;
            continue;
        }
        let following = written[backslash + 1..].chars().next().map_or(0, char::len_utf8);
        let place = part_of(span, backslash..backslash + 1 + following);
        let name = &written[backslash..backslash + 1 + following];
        diagnostics.push(
            Diagnostic::error(codes::UNKNOWN_ESCAPE, format!("`{name}` is not an escape"))
                .at(place)
                .note("escapes are \\n, \\t, \\r, \\0, \\\", \\\\ and \\u{e9}; in r\"…\" a backslash is a backslash")
                .fix(place, format!("\\{name}"), "write the backslash twice"),
        );
        at = backslash + 1 + following;
    }
}

/// Whether each `{` of an `f"…"` has its `}`; a lone one is reported.
fn braces_pair(written: &str, span: Span, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let mut open = None;
    let mut at = 2;
    let inner_end = written.len() - 1;
    while at < inner_end {
        let rest = &written[at..inner_end];
        let doubled = rest.starts_with("{{") || rest.starts_with("}}");
        match rest.as_bytes()[0] {
            b'{' | b'}' if doubled && open.is_none() => at += 1,
            b'{' if open.is_none() => open = Some(at),
            b'}' if open.is_some() => open = None,
            b'{' | b'}' => break,
            b'\\' if open.is_some() => break,
            b'\\' => at += rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
        at += written[at..].chars().next().map_or(1, char::len_utf8);
    }
    if at >= inner_end && open.is_none() {
        return true;
    }
    let place = open.unwrap_or(at);
    diagnostics.push(
        Diagnostic::error(codes::INTERPOLATION, "this brace of an `f\"…\"` text has no partner")
            .at(part_of(span, place..place + 1))
            .note("a value stands between `{` and `}` and holds no quotes and no braces; a brace itself is written `{{` or `}}`"),
    );
    false
}

fn part_of(span: Span, range: Range<usize>) -> Span {
    Span { start: span.start + range.start as u32, end: span.start + range.end as u32, ..span }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::lexer::tokens;

    fn messages(text: &str) -> Vec<String> {
        let mut diagnostics = vec![];
        mistakes(text, &mut tokens(text), SourceId(0), &mut diagnostics);
        diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect()
    }

    #[test]
    fn escapes_are_read_and_raw_texts_left_alone() {
        assert_eq!(unquoted(r#""a\n\"\\\u{e9}\u00e9""#), "a\n\"\\éé");
        assert_eq!(unquoted(r#""\ud83d\ude00""#), "😀");
        assert_eq!(unquoted(r#"r"a\n""#), "a\\n");
        assert_eq!(unquoted("\"\"\"\nfirst\nsecond\"\"\""), "first\nsecond");
        assert_eq!(unquoted("\"\""), "");
    }

    #[test]
    fn mistakes_inside_of_tokens_are_named() {
        assert_eq!(messages("\"a\\d\""), ["`\\d` is not an escape"]);
        assert_eq!(messages("'a'"), ["texts are written in double quotes"]);
        assert_eq!(messages("// hello"), ["comments begin with `#`, not with `//`"]);
        assert_eq!(messages("\"abc\nd"), ["this text is not closed on its line"]);
        assert_eq!(messages("lr: 1"), ["a setting is written `name = value`, without `:`"]);
        assert_eq!(messages("f\"{a} {{b}} {c\""), ["this brace of an `f\"…\"` text has no partner"]);
        assert_eq!(messages("4 × 4"), ["the character `×` (U+00D7) means nothing here"]);
        assert!(messages("f\"{a} {{ }} \\\" \"").is_empty());
    }
}
