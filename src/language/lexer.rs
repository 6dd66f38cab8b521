//! Text to tokens, for recovery, highlighting and formatting. It never fails: what is no token is marked so.

use crate::language::rust_text;
use std::ops::Range;

/// A word, number, text, bracket or comment and where it stands. Blanks are between tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub range: Range<usize>,
}

impl Token {
    pub fn text<'a>(&self, source: &'a str) -> &'a str {
        &source[self.range.clone()]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// `tune`, `chat.test`: a dotted path is one token.
    Name,
    Number,
    /// Any of the four kinds of text.
    Text,
    /// A text without its closing quotes.
    UnclosedText,
    /// From `#` to the end of the line.
    Comment,
    Newline,
    /// `;`
    Semicolon,
    Comma,
    /// `(`, `[` or `{`
    Open,
    /// `)`, `]` or `}`
    Close,
    /// `=`
    Equals,
    /// What stands between the braces of `rust { … }`, as it is.
    Rust,
    /// `..`, `+`, `-`, `*`, `/`, `%` and comparisons.
    Operator,
    /// A `'…'` text of other languages.
    SingleQuoted,
    /// A `// …` comment of other languages.
    SlashComment,
    Unknown,
}

impl TokenKind {
    /// Neither a token of the language nor whole: it has its own message, and the parser never sees it.
    pub fn is_broken(self) -> bool {
        matches!(
            self,
            TokenKind::UnclosedText | TokenKind::SingleQuoted | TokenKind::SlashComment | TokenKind::Unknown
        )
    }
}

/// All tokens of a text in order.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = vec![];
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if let Some(blank) = rest.chars().next().filter(|c| is_blank(*c)) {
            at += blank.len_utf8();
            continue;
        }
        let after_number = tokens.last().is_some_and(|last: &Token| last.kind == TokenKind::Number);
        let (kind, length) = if after_number && is_cross(rest) { (TokenKind::Name, 1) } else { token(rest) };
        tokens.push(Token { kind, range: at..at + length });
        at += length;
        if kind == TokenKind::Open && opens_rust(text, &tokens) {
            let length = rust_text::extent(&text[at..]).length;
            if length > 0 {
                tokens.push(Token { kind: TokenKind::Rust, range: at..at + length });
            }
            at += length;
        }
    }
    tokens
}

/// `x` between numbers: of `4x4` it is a word of its own.
fn is_cross(rest: &str) -> bool {
    rest.strip_prefix('x').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether the last token is the brace of a `rust { … }`: the word begins a statement.
fn opens_rust(text: &str, tokens: &[Token]) -> bool {
    let Some((open, before)) = tokens.split_last() else { return false };
    let is_newline = |token: &&Token| token.kind == TokenKind::Newline;
    let words = &before[..before.len() - before.iter().rev().take_while(is_newline).count()];
    let Some((word, before)) = words.split_last() else { return false };
    let begins = before.last().is_none_or(|last| match last.kind {
        TokenKind::Newline | TokenKind::Semicolon => true,
        TokenKind::Open => last.text(text) == "{",
        _ => false,
    });
    begins && word.text(text) == "rust" && open.text(text) == "{"
}

/// Blanks separate tokens and mean nothing; a carriage return is one, so that Windows lines read the same.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\u{feff}')
}

fn token(rest: &str) -> (TokenKind, usize) {
    let mut characters = rest.chars();
    let first = characters.next().expect("a token begins with a character");
    let second = characters.next();
    let single = |kind| (kind, first.len_utf8());
    match first {
        '\n' => single(TokenKind::Newline),
        ';' => single(TokenKind::Semicolon),
        ',' => single(TokenKind::Comma),
        '#' => (TokenKind::Comment, line(rest)),
        '(' | '[' | '{' => single(TokenKind::Open),
        ')' | ']' | '}' => single(TokenKind::Close),
        '"' => text(rest, 0),
        'r' | 'f' if second == Some('"') => text(rest, 1),
        '\'' => single_quoted(rest),
        '/' if second == Some('/') => (TokenKind::SlashComment, line(rest)),
        '.' if second == Some('.') => (TokenKind::Operator, 2),
        '.' if second.is_some_and(|c| c.is_ascii_digit()) => (TokenKind::Number, number(rest)),
        '<' | '>' | '=' | '!' if second == Some('=') => (TokenKind::Operator, 2),
        '=' => single(TokenKind::Equals),
        '<' | '>' | '+' | '-' | '*' | '/' | '%' => single(TokenKind::Operator),
        _ if first.is_ascii_digit() => (TokenKind::Number, number(rest)),
        _ if begins_name(first) => (TokenKind::Name, path(rest)),
        _ => single(TokenKind::Unknown),
    }
}

/// Letters of all alphabets and `_` begin a name; digits may follow.
pub fn begins_name(character: char) -> bool {
    character.is_alphabetic() || character == '_'
}

/// Whether a word has the form of a name.
pub fn is_name(word: &str) -> bool {
    word.starts_with(begins_name) && word.chars().all(continues_name)
}

fn continues_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Bytes up to the end of the line.
fn line(rest: &str) -> usize {
    rest.find('\n').unwrap_or(rest.len())
}

fn name(rest: &str) -> usize {
    rest.find(|c| !continues_name(c)).unwrap_or(rest.len())
}

fn path(rest: &str) -> usize {
    let mut length = name(rest);
    while let Some(after) = rest[length..].strip_prefix('.') {
        if !after.starts_with(begins_name) {
            break;
        }
        length += 1 + name(after);
    }
    length
}

fn digits(rest: &str) -> usize {
    rest.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(rest.len())
}

fn number(rest: &str) -> usize {
    let mut length = digits(rest);
    if let Some(fraction) =
        rest[length..].strip_prefix('.').filter(|f| f.starts_with(|c: char| c.is_ascii_digit()))
    {
        length += 1 + digits(fraction);
    }
    if let Some(exponent) = rest[length..].strip_prefix(['e', 'E']) {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            length += 1 + (exponent.len() - unsigned.len()) + digits(unsigned);
        }
    }
    length
}

/// A text after `prefix` bytes of `r` or `f`.
fn text(rest: &str, prefix: usize) -> (TokenKind, usize) {
    let raw = rest.starts_with('r');
    if prefix == 0 && rest.starts_with("\"\"\"") {
        return closed(rest, 3, "\"\"\"", rest.len(), raw);
    }
    closed(rest, prefix + 1, "\"", line(rest), raw)
}

/// Looks for the closing quotes between `start` and `end`; a backslash hides the character after it, except in raw texts.
fn closed(rest: &str, start: usize, quotes: &str, end: usize, raw: bool) -> (TokenKind, usize) {
    let mut at = start;
    while at < end {
        let here = &rest[at..end];
        if here.starts_with(quotes) {
            return (TokenKind::Text, at + quotes.len());
        }
        let mut characters = here.chars();
        let character = characters.next().expect("`at` is before the end");
        at += character.len_utf8();
        if character == '\\' && !raw {
            at += characters.next().map_or(0, char::len_utf8);
        }
    }
    let unclosed = rest[..end].trim_end_matches('\r').len();
    (TokenKind::UnclosedText, if quotes.len() == 3 { end } else { unclosed })
}

/// An apostrophe with a partner on the same line is a text of another language, without one a stray sign.
fn single_quoted(rest: &str) -> (TokenKind, usize) {
    match rest[1..line(rest)].find('\'') {
        Some(close) => (TokenKind::SingleQuoted, close + 2),
        None => (TokenKind::Unknown, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(TokenKind, &str)> {
        tokens(text).iter().map(|token| (token.kind, token.text(text))).collect::<Vec<_>>()
    }

    #[test]
    fn numbers_names_and_ranges_are_told_apart() {
        assert_eq!(
            kinds("1e-6..1_000 chat.test 2GiB .5"),
            [
                (TokenKind::Number, "1e-6"),
                (TokenKind::Operator, ".."),
                (TokenKind::Number, "1_000"),
                (TokenKind::Name, "chat.test"),
                (TokenKind::Number, "2"),
                (TokenKind::Name, "GiB"),
                (TokenKind::Number, ".5"),
            ]
        );
    }

    #[test]
    fn the_cross_of_a_batch_needs_no_blanks() {
        let number = |digits| (TokenKind::Number, digits);
        let cross = (TokenKind::Name, "x");
        assert_eq!(kinds("4x16 2 x2"), [number("4"), cross, number("16"), number("2"), cross, number("2")]);
        assert_eq!(kinds("x4"), [(TokenKind::Name, "x4")]);
    }

    #[test]
    fn texts_end_at_their_own_quotes() {
        assert_eq!(kinds(r#""a\"b" c"#), [(TokenKind::Text, r#""a\"b""#), (TokenKind::Name, "c")]);
        assert_eq!(kinds(r#"r"a\" b"#), [(TokenKind::Text, r#"r"a\""#), (TokenKind::Name, "b")]);
        assert_eq!(kinds("\"\"\"a\n\"b\" \"\"\""), [(TokenKind::Text, "\"\"\"a\n\"b\" \"\"\"")]);
        assert_eq!(kinds("\"a\nb")[0], (TokenKind::UnclosedText, "\"a"));
        assert_eq!(kinds("'a' it's")[0], (TokenKind::SingleQuoted, "'a'"));
    }

    #[test]
    fn the_rust_of_a_block_is_one_token_where_a_statement_begins() {
        let rust = |text: &str| {
            kinds(text)
                .into_iter()
                .find(|(kind, _)| *kind == TokenKind::Rust)
                .map(|(_, text)| text.to_string())
        };
        assert_eq!(rust("rust { fn a() { '}' } }\nstep a").as_deref(), Some(" fn a() { '}' } "));
        assert_eq!(rust("step a; rust\n{\n# x\n}").as_deref(), Some("\n# x\n"));
        assert_eq!(rust("rust { fn a() {").as_deref(), Some(" fn a() {"));
        assert_eq!(rust("tune a { rust = b { c = 1 } }"), None);
        assert_eq!(rust("rust {}"), None);
    }

    #[test]
    fn a_text_that_ends_in_a_backslash_is_unclosed() {
        assert_eq!(
            kinds("\"a\\\nb"),
            [(TokenKind::UnclosedText, "\"a\\"), (TokenKind::Newline, "\n"), (TokenKind::Name, "b")]
        );
        assert_eq!(kinds("\"\\"), [(TokenKind::UnclosedText, "\"\\")]);
    }
}
