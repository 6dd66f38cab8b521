//! The Rust between the braces of `rust { … }`: where it ends, how it is coloured, and which functions it defines. It is
//! read by pieces, so that a brace in a text, a character or a comment is none.

use crate::language::scope::NameKind;
use std::ops::Range;

/// How far the Rust of a block reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes up to the brace that closes the block, or to the end of the text.
    pub length: usize,
    /// Braces that are still open there.
    pub open: usize,
    /// As deep as braces stand in each other.
    pub deepest: usize,
}

/// Follows Rust that begins behind a `{`.
pub fn extent(rest: &str) -> Extent {
    let mut extent = Extent::default();
    while extent.length < rest.len() {
        let (kind, length) = piece(&rest[extent.length..]);
        match (kind, &rest[extent.length..extent.length + length]) {
            (Kind::Sign, "}") if extent.open == 0 => return extent,
            (Kind::Sign, "}") => extent.open -= 1,
            (Kind::Sign, "{") => {
                extent.open += 1;
                extent.deepest = extent.deepest.max(extent.open);
            }
            _ => {}
        }
        extent.length += length;
    }
    extent
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Blank,
    Comment,
    /// A string or a character, of any sort.
    Text,
    /// A name, a keyword or a number.
    Word,
    /// Any other character.
    Sign,
}

/// The first piece of some Rust, and its bytes.
fn piece(rest: &str) -> (Kind, usize) {
    let first = rest.chars().next().expect("a piece begins with a character");
    if first.is_whitespace() {
        return (Kind::Blank, first.len_utf8());
    }
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if let Some(length) = raw_string(rest) {
        return (Kind::Text, length);
    }
    match first {
        '"' => (Kind::Text, string(rest)),
        '\'' => character(rest).map_or((Kind::Sign, 1), |length| (Kind::Text, length)),
        _ if continues_word(first) => (Kind::Word, rest.find(|c| !continues_word(c)).unwrap_or(rest.len())),
        _ => (Kind::Sign, first.len_utf8()),
    }
}

fn continues_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Comments stand in each other; one that is not closed goes to the end.
fn block_comment(rest: &str) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 {
        let Some(next) = rest[at..].find(['/', '*']) else { return rest.len() };
        at += next;
        match rest.get(at..at + 2) {
            Some("/*") => (at, depth) = (at + 2, depth + 1),
            Some("*/") => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

/// `r"…"`, `br#"…"#`: no escapes, and as many `#` behind as before.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let marked = &rest[prefix.len()..];
    let marks = marked.find(|c| c != '#')?;
    let inside = marked[marks..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(marks));
    let end = inside.find(&close).map_or(inside.len(), |end| end + close.len());
    Some(prefix.len() + marks + 1 + end)
}

fn string(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'x'`, `'\n'`, `'\u{7d}'`; the apostrophe of a lifetime or a label is none.
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first != '\\' {
        let (at, close) = characters.next()?;
        return (close == '\'' && first != '\'').then_some(at + 1);
    }
    characters.next()?;
    let (at, _) = characters.take_while(|(_, c)| *c != '\n').find(|(_, c)| *c == '\'')?;
    Some(at + 1)
}

/// What a piece of Rust is to those who colour it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Comment,
    Text,
    Number,
    Keyword,
}

const KEYWORDS: &[&str] = &[
    "as", "break", "const", "continue", "else", "enum", "false", "fn", "for", "if", "impl", "in", "let",
    "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "self", "Self", "static", "struct",
    "trait", "true", "type", "use", "where", "while",
];

/// The pieces that have a colour, in order.
pub fn colours(text: &str) -> Vec<(Range<usize>, Colour)> {
    let colour = |(kind, range): (Kind, Range<usize>)| {
        let written = &text[range.clone()];
        let colour = match kind {
            Kind::Comment => Colour::Comment,
            Kind::Text => Colour::Text,
            Kind::Word if written.starts_with(|c: char| c.is_ascii_digit()) => Colour::Number,
            Kind::Word if KEYWORDS.contains(&written) => Colour::Keyword,
            _ => return None,
        };
        Some((range, colour))
    };
    pieces(text).filter_map(colour).collect()
}

/// The places of a word that is no part of a text or a comment.
pub fn places(text: &str, word: &str) -> Vec<Range<usize>> {
    let is_word = |(kind, range): &(Kind, Range<usize>)| *kind == Kind::Word && text[range.clone()] == *word;
    pieces(text).filter(is_word).map(|(_, range)| range).collect()
}

fn pieces(text: &str) -> impl Iterator<Item = (Kind, Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= text.len() {
            return None;
        }
        let (kind, length) = piece(&text[at..]);
        at += length;
        Some((kind, at - length..at))
    })
}

/// A function of a block that stands in no other item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// Where the name stands.
    pub place: Range<usize>,
    /// From `fn` to what it gives.
    pub signature: Range<usize>,
    /// The types of its parameters, without blanks.
    pub parameters: Vec<String>,
    /// The type of what it gives, without blanks; empty when it gives nothing.
    pub gives: String,
}

/// What a function has to look like to be used by its name: the kind, its parameter, what it gives, and how it is written.
pub const SIGNATURES: &[(NameKind, &str, &str, &str)] = &[
    (NameKind::Schedule, "Moment", "f64", "fn NAME(at: Moment) -> f64"),
    (NameKind::Metric, "&Answer", "f64", "fn NAME(answer: &Answer) -> f64"),
    (NameKind::Transform, "Row", "Option<Row>", "fn NAME(row: Row) -> Option<Row>"),
];

impl Function {
    /// What the name stands for in a script; none for a function that only the block itself uses.
    pub fn kind(&self) -> Option<NameKind> {
        let [parameter] = self.parameters.as_slice() else { return None };
        let fits =
            |(_, takes, gives, _): &&(NameKind, &str, &str, &str)| parameter == takes && self.gives == *gives;
        SIGNATURES.iter().find(fits).map(|(kind, ..)| *kind)
    }

    /// The kind that it nearly is: its parameter is of that type, borrowed or not.
    pub fn nearly(&self) -> Option<NameKind> {
        let [parameter] = self.parameters.as_slice() else { return None };
        let bare = |written: &str| written.trim_start_matches('&').trim_start_matches("mut ").to_string();
        let near = |(_, takes, ..): &&(NameKind, &str, &str, &str)| bare(takes) == bare(parameter);
        SIGNATURES.iter().find(near).map(|(kind, ..)| *kind)
    }
}

/// How a function of a kind is written.
pub fn signature(kind: NameKind, name: &str) -> String {
    let found = SIGNATURES.iter().find(|(known, ..)| *known == kind);
    found.map_or(String::new(), |(.., written)| written.replace("NAME", name))
}

/// The functions that stand in no other item, in order.
pub fn functions(text: &str) -> Vec<Function> {
    let code: Vec<Range<usize>> = pieces(text)
        .filter(|(kind, _)| !matches!(kind, Kind::Blank | Kind::Comment))
        .map(|(_, range)| range)
        .collect();
    let reader = Reader { text, code };
    let mut found = vec![];
    let mut at = 0;
    while at < reader.code.len() {
        match reader.word(at) {
            "fn" => found.extend(reader.function(at)),
            "{" | "(" | "[" => at = reader.end(at),
            _ => {}
        }
        at += 1;
    }
    found
}

/// Rust without blanks and comments.
struct Reader<'a> {
    text: &'a str,
    code: Vec<Range<usize>>,
}

impl<'a> Reader<'a> {
    fn word(&self, at: usize) -> &'a str {
        self.code.get(at).map_or("", |range| &self.text[range.clone()])
    }

    /// Where the bracket closes that opens here.
    fn end(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for at in open..self.code.len() {
            match self.word(at) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth = depth.saturating_sub(1),
                _ => continue,
            }
            if depth == 0 {
                return at;
            }
        }
        self.code.len()
    }

    fn function(&self, at: usize) -> Option<Function> {
        let name = self.word(at + 1);
        let open = at + 2;
        if self.word(open) != "(" || !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return None;
        }
        let close = self.end(open);
        let gives =
            if self.word(close + 1) == "-" && self.word(close + 2) == ">" { close + 3 } else { close + 1 };
        let stops = |at: &usize| ["{", "where", ";", ""].contains(&self.word(*at));
        let end = (gives..=self.code.len()).find(stops).unwrap_or(self.code.len());
        Some(Function {
            name: name.to_string(),
            place: self.code[at + 1].clone(),
            signature: self.code[at].start..self.code.get(end.max(at + 1) - 1)?.end,
            parameters: self.parameters(open + 1..close),
            gives: self.joined(gives..end),
        })
    }

    /// The types between the parentheses, cut at commas that stand in no other bracket.
    fn parameters(&self, range: Range<usize>) -> Vec<String> {
        let mut types = vec![];
        let (mut depth, mut start) = (0i32, range.start);
        for at in range.clone() {
            match self.word(at) {
                "(" | "[" | "{" | "<" => depth += 1,
                ")" | "]" | "}" | ">" => depth -= 1,
                "," if depth == 0 => {
                    types.push(self.type_in(start..at));
                    start = at + 1;
                }
                _ => {}
            }
        }
        if start < range.end {
            types.push(self.type_in(start..range.end));
        }
        types
    }

    fn type_in(&self, range: Range<usize>) -> String {
        let colon = range.clone().find(|at| self.word(*at) == ":");
        self.joined(colon.map_or(range.start, |colon| colon + 1)..range.end)
    }

    /// The pieces without blanks, but for one between two words.
    fn joined(&self, range: Range<usize>) -> String {
        let mut joined = String::new();
        for at in range {
            let word = self.word(at);
            if joined.ends_with(continues_word) && word.starts_with(continues_word) {
                joined.push(' ');
            }
            joined.push_str(word);
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_texts_characters_and_comments_are_none() {
        let whole = [
            "fn a() { \"}\" }",
            "fn a() { '}' }",
            "fn a() { b'}'; '\\''; '\\u{7d}' }",
            "fn a<'a>(x: &'a str) -> &'a str { 'b: loop { break 'b } x }",
            "// }\nfn a() {}",
            "/* } /* } */ } */ fn a() {}",
            "fn a() { r\"}\\\"; r#\"}\"}\"#; br##\"}\"#}\"## }",
            "fn r#type() { format!(\"{{{}}}\", 1) }",
            "fn a() { \"a \\\" } \\\\\" }",
        ];
        for text in whole {
            assert_eq!(extent(&format!("{text}}} rest")).length, text.len(), "{text}");
            assert_eq!(
                extent(text),
                Extent { length: text.len(), open: 0, deepest: extent(text).deepest },
                "{text}"
            );
        }
        assert_eq!(extent("fn a() { {"), Extent { length: 10, open: 2, deepest: 2 });
    }

    fn told(text: &str) -> Vec<String> {
        let told = |found: &Function| format!("{} {:?} {}", found.name, found.parameters, found.gives);
        functions(text).iter().map(told).collect()
    }

    #[test]
    fn functions_are_known_by_what_they_take_and_give() {
        assert_eq!(told("fn warm(at: Moment) -> f64 { 1.0 }"), ["warm [\"Moment\"] f64"]);
        assert_eq!(told("pub fn m ( a : & Answer ) -> f64 where f64: Copy { 1.0 }"), ["m [\"&Answer\"] f64"]);
        assert_eq!(
            told("fn r(mut row: Row) -> Option < Row > { None }\nfn h(a: &mut Vec<(u8, u8)>, b: [u8; 2]) {}"),
            ["r [\"Row\"] Option<Row>", "h [\"&mut Vec<(u8,u8)>\", \"[u8;2]\"] "]
        );
        assert_eq!(told("mod m { fn inner() {} } impl X { fn method(&self) {} } // fn no() {}"), [""; 0]);
        assert_eq!(told("fn"), [""; 0]);
        assert_eq!(told("fn a("), ["a [] "]);
    }

    #[test]
    fn the_signature_decides_what_a_function_is() {
        let kind = |text: &str| functions(text)[0].kind();
        assert_eq!(kind("fn a(at: Moment) -> f64 {}"), Some(NameKind::Schedule));
        assert_eq!(kind("fn a(a: &Answer) -> f64 {}"), Some(NameKind::Metric));
        assert_eq!(kind("fn a(row: Row) -> Option<Row> {}"), Some(NameKind::Transform));
        assert_eq!(kind("fn a(at: Moment) -> f32 {}"), None);
        let function = &functions("fn a(a: Answer) -> f64 {}")[0];
        assert_eq!((function.kind(), function.nearly()), (None, Some(NameKind::Metric)));
        assert_eq!(signature(NameKind::Metric, "brief"), "fn brief(answer: &Answer) -> f64");
    }

    #[test]
    fn any_text_is_read_to_its_end() {
        for text in ["'", "\"", "r#", "r#\"", "/*", "//", "'\\", "'é", "é'", "b'", "\\", "fn é(é: Row) ->"]
        {
            assert_eq!(extent(text).length, text.len(), "{text}");
            let _ = (functions(text), colours(text));
        }
    }
}
