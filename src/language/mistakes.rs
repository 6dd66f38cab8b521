//! Why a statement, a setting or a value cannot be read, in words a person can act on.

use crate::events::{Diagnostic, SourceId, Span};
use crate::language::codes;
use crate::language::grammar::Rule;
use crate::language::lexer::{Token, TokenKind};
use pest::error::{Error, ErrorVariant, InputLocation};
use std::ops::Range;

/// What the parser said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The mistake has its message already.
    Reported,
    /// The parser was not asked.
    Unknown,
    /// It could not go on at this place of the whole text.
    At(usize),
    /// It gave up.
    TooLong,
}

impl Failure {
    /// The failure in a slice that begins at `offset`.
    pub fn of(error: &Error<Rule>, offset: usize) -> Failure {
        let position = match error.location {
            InputLocation::Pos(position) | InputLocation::Span((position, _)) => position,
        };
        match error.variant {
            ErrorVariant::ParsingError { .. } => Failure::At(offset + position),
            ErrorVariant::CustomError { .. } => Failure::TooLong,
        }
    }
}

/// What was to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Statement,
    Setting,
    Value,
}

/// The tokens with the mistake.
pub struct Place<'a> {
    pub text: &'a str,
    pub source: SourceId,
    pub tokens: &'a [Token],
    pub range: Range<usize>,
    pub shape: Shape,
}

/// The one message for a failure.
pub fn explain(place: &Place, failure: &Failure) -> Diagnostic {
    let words = Words::of(place);
    if words.tokens.is_empty() {
        return Diagnostic::error(codes::MISSING_VALUE, "a value is missing");
    }
    if *failure == Failure::TooLong {
        return Diagnostic::error(codes::TOO_LONG, "this statement is too long to be read in one piece")
            .at(words.whole())
            .note("give parts of it names with `let`");
    }
    let known = match place.shape {
        Shape::Statement => statement(&words),
        Shape::Setting => setting(&words),
        Shape::Value => None,
    };
    known.unwrap_or_else(|| generic(&words, failure, place.shape))
}

/// The tokens of a place, without newlines and comments.
struct Words<'a> {
    text: &'a str,
    source: SourceId,
    tokens: Vec<&'a Token>,
}

impl<'a> Words<'a> {
    fn of(place: &'a Place) -> Words<'a> {
        let end = place.range.end.min(place.tokens.len());
        let is_content = |token: &&Token| !matches!(token.kind, TokenKind::Newline | TokenKind::Comment);
        let tokens = place.tokens[place.range.start.min(end)..end].iter().filter(is_content).collect();
        Words { text: place.text, source: place.source, tokens }
    }

    fn get(&self, index: usize) -> Option<(TokenKind, &'a str)> {
        let token = self.tokens.get(index)?;
        Some((token.kind, &self.text[token.range.clone()]))
    }

    fn span(&self, index: usize) -> Span {
        let range = &self.tokens[index.min(self.tokens.len() - 1)].range;
        Span::new(self.source, range.start, range.end)
    }

    fn whole(&self) -> Span {
        self.span(0).to(self.span(self.tokens.len() - 1))
    }

    /// The empty place after a token.
    fn after(&self, index: usize) -> Span {
        let span = self.span(index);
        Span { start: span.end, ..span }
    }

    /// The empty place before a token.
    fn before(&self, index: usize) -> Span {
        let span = self.span(index);
        Span { end: span.start, ..span }
    }

    fn written(&self, from: usize, to: usize) -> &'a str {
        &self.text[self.tokens[from].range.start..self.tokens[to].range.end]
    }
}

fn statement(words: &Words) -> Option<Diagnostic> {
    let (kind, first) = words.get(0)?;
    if kind != TokenKind::Name {
        let message = format!(
            "a statement begins with a word such as `tune` or `step`, not with {}",
            found(kind, first)
        );
        return Some(Diagnostic::error(codes::UNEXPECTED, message).at(words.span(0)));
    }
    match first {
        "model" | "data" | "tune" => Some(definition(words, first)),
        "let" => naming(words),
        "include" => include(words),
        "ltune" => Some(
            Diagnostic::error(
                codes::MISPLACED_VERSION,
                "`ltune` is followed by the version of the language and nothing else",
            )
            .at(words.whole())
            .fix(words.whole(), "ltune 1", "write `ltune 1`"),
        ),
        "repeat" => repeat(words),
        "rust" => Some(
            Diagnostic::error(codes::MISSING_BLOCK, "`rust` is followed by Rust in braces")
                .at(words.whole())
                .note("write `rust { fn warm(at: Moment) -> f64 { … } }`"),
        ),
        _ => outside_of_a_block(words, first),
    }
}

fn definition(words: &Words, noun: &str) -> Diagnostic {
    let shape = format!("write `{noun} NAME {{ … }}`");
    let missing =
        |span, message: String| Diagnostic::error(codes::MISSING_NAME, message).at(span).note(shape.clone());
    match (words.get(1), words.get(2)) {
        (None, _) => missing(words.span(0), format!("`{noun}` needs a name and a block")),
        (Some((TokenKind::Open, "{")), _) => {
            missing(words.span(0), format!("`{noun}` needs a name before its block"))
        }
        (Some((TokenKind::Text, text)), _) => {
            let bare = text.trim_matches('"');
            let diagnostic = missing(words.span(1), "a name is a bare word, without quotes".into());
            match is_simple_name(bare) {
                true => diagnostic.fix(words.span(1), bare, format!("write `{bare}`")),
                false => diagnostic,
            }
        }
        (Some((TokenKind::Name, name)), _) if name.contains('.') => {
            let bare = name.replace('.', "_");
            missing(words.span(1), format!("`{name}` cannot be a name: a name has no `.`")).fix(
                words.span(1),
                bare.clone(),
                format!("write `{bare}`"),
            )
        }
        (Some((TokenKind::Name, name)), None) => {
            Diagnostic::error(codes::MISSING_BLOCK, format!("`{noun} {name}` needs its settings"))
                .at(words.whole())
                .note(format!("write `{noun} {name} {{ … }}`"))
        }
        (Some((TokenKind::Name, name)), Some((TokenKind::Equals, _))) => Diagnostic::error(
            codes::MISSING_BLOCK,
            format!("the block of `{noun} {name}` follows without `=`"),
        )
        .at(words.span(2))
        .fix(words.span(1).to(words.span(2)), name, "remove `=`"),
        (Some((TokenKind::Name, name)), Some((TokenKind::Operator, "-"))) if words.get(3).is_some() => {
            let end = words.tokens.iter().position(|token| token.text(words.text) == "{").unwrap_or(4);
            let dashed = words.written(1, end.max(2) - 1);
            let bare: String = dashed.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
            let span = words.span(1).to(words.span(end.max(2) - 1));
            let message =
                format!("`{dashed}` cannot be a name: a name has letters, digits and `_`, but no `-`");
            let _ = name;
            missing(span, message).fix(span, bare.clone(), format!("write `{bare}`"))
        }
        (Some((TokenKind::Name, name)), Some((kind, other))) => {
            let message = format!("after `{noun} {name}` comes its block, not {}", found(kind, other));
            Diagnostic::error(codes::MISSING_BLOCK, message)
                .at(words.span(2))
                .note(format!("write `{noun} {name} {{ … }}`"))
        }
        (Some((kind, other)), _) => {
            missing(words.span(1), format!("{} cannot be a name", found(kind, other)))
        }
    }
}

fn naming(words: &Words) -> Option<Diagnostic> {
    let (kind, name) = match words.get(1) {
        Some(second) => second,
        None => return Some(needs_name(words, 0, "`let` needs a name and a value".into())),
    };
    if kind != TokenKind::Name || name.contains('.') {
        return Some(needs_name(words, 1, format!("{} cannot be a name", found(kind, name))));
    }
    match (words.get(2), words.get(3)) {
        (Some((TokenKind::Equals, _)), Some(_)) => None,
        (Some((TokenKind::Equals, _)), None) => Some(
            Diagnostic::error(codes::MISSING_VALUE, format!("`let {name} =` has no value"))
                .at(words.whole())
                .note(format!("write `let {name} = 4`")),
        ),
        (None, _) => Some(
            Diagnostic::error(codes::MISSING_VALUE, format!("`let {name}` has no value"))
                .at(words.whole())
                .note(format!("write `let {name} = 4`")),
        ),
        (Some(_), _) => Some(
            Diagnostic::error(codes::MISSING_EQUALS, format!("`=` is missing after `let {name}`"))
                .at(words.span(2))
                .fix(words.before(2), "= ", "write `=`"),
        ),
    }
}

fn needs_name(words: &Words, index: usize, message: String) -> Diagnostic {
    Diagnostic::error(codes::MISSING_NAME, message).at(words.span(index)).note("write `let NAME = VALUE`")
}

fn include(words: &Words) -> Option<Diagnostic> {
    if let Some((TokenKind::Text, _)) = words.get(1) {
        return None;
    }
    let diagnostic =
        Diagnostic::error(codes::MISSING_VALUE, "`include` needs the path of a script, in quotes");
    if words.tokens.len() < 2 {
        return Some(diagnostic.at(words.span(0)).note("write `include \"models.ltune\"`"));
    }
    let last = words.tokens.len() - 1;
    let quoted = format!("\"{}\"", words.written(1, last));
    let span = words.span(1).to(words.span(last));
    Some(diagnostic.at(span).fix(span, quoted.clone(), format!("write `include {quoted}`")))
}

fn repeat(words: &Words) -> Option<Diagnostic> {
    let shape = "write `repeat 3 { step a 10 }`";
    match words.get(1) {
        None | Some((TokenKind::Open, "{")) => Some(
            Diagnostic::error(codes::MISSING_VALUE, "`repeat` needs a count").at(words.span(0)).note(shape),
        ),
        Some(_) if !words.tokens.iter().any(|token| token.text(words.text) == "{") => {
            let message = "`repeat` needs the statements to repeat";
            Some(Diagnostic::error(codes::MISSING_BLOCK, message).at(words.whole()).note(shape))
        }
        Some(_) => None,
    }
}

fn outside_of_a_block(words: &Words, first: &str) -> Option<Diagnostic> {
    let (TokenKind::Equals, _) = words.get(1)? else { return None };
    Some(
        Diagnostic::error(codes::UNEXPECTED, format!("`{first} = …` stands outside of a block"))
            .at(words.span(0).to(words.span(1)))
            .fix(words.before(0), "let ", format!("name a value: `let {first} = …`"))
            .note("a setting belongs into the block of its noun; `set a { … }` changes one of a run"),
    )
}

fn setting(words: &Words) -> Option<Diagnostic> {
    let (kind, name) = words.get(0)?;
    if kind != TokenKind::Name {
        let message = format!("a setting begins with its name, not with {}", found(kind, name));
        let diagnostic =
            Diagnostic::error(codes::MISSING_NAME, message).at(words.span(0)).note("write `name = value`");
        let is_quoted_name = kind == TokenKind::Text && is_simple_name(name.trim_matches('"'));
        return Some(match is_quoted_name {
            true => diagnostic.fix(words.span(0), name.trim_matches('"'), "remove the quotes"),
            false => diagnostic,
        });
    }
    match (words.get(1), words.get(2)) {
        (None, _) => Some(
            Diagnostic::error(codes::MISSING_VALUE, format!("`{name}` has no value"))
                .at(words.span(0))
                .note(format!("write `{name} = …`")),
        ),
        (Some((TokenKind::Equals, _)), None) => Some(
            Diagnostic::error(codes::MISSING_VALUE, format!("`{name} =` has no value")).at(words.whole()),
        ),
        (Some((TokenKind::Equals, _)), Some(_)) => list_without_brackets(words),
        (Some((TokenKind::Operator, "==")), _) => Some(
            Diagnostic::error(codes::MISSING_EQUALS, "`==` compares; a setting is given with one `=`")
                .at(words.span(1))
                .fix(words.span(1), "=", "write `=`"),
        ),
        (Some((TokenKind::Operator, sign)), _) => Some(
            Diagnostic::error(
                codes::MISSING_EQUALS,
                format!("a setting is written `{name} = value`, found `{sign}`"),
            )
            .at(words.span(1)),
        ),
        (Some((TokenKind::Open, "{")), _) => Some(
            Diagnostic::error(
                codes::MISSING_EQUALS,
                format!("`{name} {{ … }}` is a value without the name of its setting"),
            )
            .at(words.span(0))
            .note(format!("write `setting = {name} {{ … }}`, as in `method = lora {{ rank = 16 }}`")),
        ),
        (Some(_), _) => Some(
            Diagnostic::error(codes::MISSING_EQUALS, format!("`=` is missing after `{name}`"))
                .at(words.span(0).to(words.span(1)))
                .fix(words.before(1), "= ", format!("write `{name} = …`")),
        ),
    }
}

/// `targets = q_proj, v_proj`
fn list_without_brackets(words: &Words) -> Option<Diagnostic> {
    let mut depth = 0;
    let comma = words.tokens.iter().position(|token| {
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth -= 1,
            _ => {}
        }
        depth == 0 && token.kind == TokenKind::Comma
    })?;
    let last = words.tokens.len() - 1;
    let list = format!("[{}]", words.written(2, last));
    let span = words.span(2).to(words.span(last));
    Some(
        Diagnostic::error(codes::STRAY_COMMA, "a list of values stands in brackets")
            .at(words.span(comma))
            .fix(span, list.clone(), format!("write `{list}`")),
    )
}

/// The message that only knows where it went wrong.
fn generic(words: &Words, failure: &Failure, shape: Shape) -> Diagnostic {
    let Failure::At(position) = *failure else {
        return Diagnostic::error(codes::UNEXPECTED, "this cannot be read").at(words.whole());
    };
    let index = words.tokens.iter().position(|token| token.range.end > position);
    let Some(index) = index else {
        let last = words.tokens.len() - 1;
        let (_, text) = words.get(last).expect("there is a last token");
        return Diagnostic::error(codes::MISSING_VALUE, format!("a value is missing after `{text}`"))
            .at(words.span(last));
    };
    let (kind, text) = words.get(index).expect("the index was found");
    let Some((previous_kind, previous)) = index.checked_sub(1).and_then(|before| words.get(before)) else {
        return Diagnostic::error(codes::UNEXPECTED, format!("{} cannot stand here", found(kind, text)))
            .at(words.span(index));
    };
    let wants_value =
        matches!(previous_kind, TokenKind::Operator | TokenKind::Equals | TokenKind::Comma | TokenKind::Open)
            && !(previous == "%" || previous == "{");
    if wants_value {
        let message = format!("a value is missing between `{previous}` and `{}`", clipped(text));
        let diagnostic =
            Diagnostic::error(codes::MISSING_VALUE, message).at(words.span(index - 1).to(words.span(index)));
        return if text == "/" {
            diagnostic.note("a path stands in quotes: `\"/data/a.jsonl\"`")
        } else {
            diagnostic
        };
    }
    let next = words.get(index + 1).map(|(kind, _)| kind);
    let second = match (kind, previous_kind, next) {
        (TokenKind::Name, _, Some(TokenKind::Equals)) => Some(index),
        (TokenKind::Equals, TokenKind::Name, _) if index > 2 => Some(index - 1),
        _ => None,
    };
    if let Some(second) = second.filter(|_| shape == Shape::Setting) {
        return Diagnostic::error(codes::UNEXPECTED, "two settings on one line are separated by `;`")
            .label(words.span(second), "a second one begins here")
            .fix(words.after(second - 1), ";", "write `;`");
    }
    if shape == Shape::Statement && (kind == TokenKind::Equals || next == Some(TokenKind::Equals)) {
        let first = words.get(0).map_or("", |(_, first)| first);
        return Diagnostic::error(
            codes::UNEXPECTED,
            format!("the settings of `{first}` stand in a block at its end"),
        )
        .at(words.span(index))
        .note(format!("write `{first} … {{ name = value }}`"));
    }
    let message = format!("{} cannot follow `{}`", found(kind, text), clipped(previous));
    let diagnostic = Diagnostic::error(codes::UNEXPECTED, message).at(words.span(index));
    match shape {
        Shape::Setting if is_value(kind) && is_value(previous_kind) => {
            diagnostic.note("a setting has one value; a list stands in brackets, a text in quotes")
        }
        _ => diagnostic,
    }
}

fn is_value(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Name | TokenKind::Number | TokenKind::Text)
}

fn found(kind: TokenKind, text: &str) -> String {
    let text = clipped(text);
    match kind {
        TokenKind::Number => format!("the number `{text}`"),
        TokenKind::Text => format!("the text `{text}`"),
        _ => format!("`{text}`"),
    }
}

/// Long texts are cut in messages.
fn clipped(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    if line.chars().count() <= 40 && line.len() == text.len() {
        return text.to_string();
    }
    let start: String = line.chars().take(37).collect();
    format!("{start}…")
}

fn is_simple_name(text: &str) -> bool {
    text.starts_with(crate::language::lexer::begins_name)
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}
