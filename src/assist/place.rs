//! Where the cursor stands, and so what may be written there: found by the lexer and the schema, so that the text
//! around it need not be whole.

use crate::language::blocks::{Found, choices_of, find_setting};
use crate::language::lexer::{Token, TokenKind, tokens};
use crate::language::schema::{Choice, Clause, Default, Form, FormKind, Kind, Setting};
use crate::language::tree::PREPOSITIONS;
use crate::statements;
use std::ops::Range;

/// The place before which the cursor stands.
#[derive(Debug)]
pub struct Place<'a> {
    /// The statement around it.
    pub form: Option<&'static Form>,
    /// The words of that statement before its block: `tune a`.
    pub head: Vec<&'a str>,
    /// The piece that is being written; inside quotes without the quotes. It ends at the cursor.
    pub range: Range<usize>,
    pub written: &'a str,
    /// Whether the piece stands in quotes.
    pub quoted: bool,
    /// What may stand there.
    pub wanted: Vec<Wanted>,
    /// Names and values of the settings written before it, in the blocks around it, the innermost last.
    pub entries: Vec<(&'a str, &'a str)>,
    /// The setting whose value is being written, and all of that value so far.
    pub value: Option<(&'static Setting, &'a str)>,
}

/// What may be written at a place.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// The word of a statement.
    Statement,
    /// A setting of this block; these stand there already.
    Setting(&'static [Setting], Vec<String>),
    Value(&'static Setting),
    /// A preposition of the statement, with what follows it.
    Clause(&'static Clause),
    /// A unit after a number.
    Unit(&'static Setting),
    /// A value of any kind: `let n = …`.
    Expression,
    /// A meaning of a column: `prompt = …`.
    Meaning,
    /// The name of a column in the file.
    Column,
    /// A script to include.
    Script,
}

/// Looks at the text before the cursor.
pub fn place(text: &str, cursor: usize) -> Option<Place<'_>> {
    let text = &text[..text.floor_char_boundary(cursor)];
    let mut tokens = tokens(text);
    let last = tokens.last().filter(|token| token.range.end == text.len());
    let (range, quoted) = match last.map(|token| (token.kind, token.text(text), token.range.clone())) {
        Some((TokenKind::Comment | TokenKind::SlashComment | TokenKind::Rust, _, _)) => return None,
        Some((TokenKind::Name, _, range)) => (range, false),
        Some((TokenKind::UnclosedText, written, _)) if written.starts_with('f') => return None,
        Some((TokenKind::UnclosedText, written, range)) => (range.start + quotes(written)..range.end, true),
        _ => (text.len()..text.len(), false),
    };
    if !range.is_empty() || quoted {
        tokens.pop();
    }
    let range = with_dot(text, &mut tokens, range);
    let mut walk = Walk { text, frames: vec![Frame::new(Block::Statements)] };
    tokens.into_iter().for_each(|token| walk.take(token));
    Some(walk.place(range, quoted))
}

/// `chat.` is a word that goes on, though the lexer finds two pieces.
fn with_dot(text: &str, tokens: &mut Vec<Token>, range: Range<usize>) -> Range<usize> {
    let [.., name, dot] = tokens.as_slice() else { return range };
    let touches = name.range.end == dot.range.start && dot.range.end == text.len();
    if !range.is_empty() || !touches || name.kind != TokenKind::Name || dot.text(text) != "." {
        return range;
    }
    let start = name.range.start;
    tokens.truncate(tokens.len() - 2);
    start..text.len()
}

/// Bytes before the letters of a text.
fn quotes(written: &str) -> usize {
    match written {
        _ if written.starts_with("\"\"\"") => 3,
        _ if written.starts_with('r') => 2,
        _ => 1,
    }
}

/// What stands between brackets.
#[derive(Clone, Copy)]
enum Block {
    Statements,
    Settings(&'static [Setting]),
    Columns,
    /// `(` or `[`: the same is wanted as before it.
    Items,
    /// The arguments of a function.
    Arguments,
    Unknown,
}

/// An open bracket, or the whole text, and what stands in it since the last separator.
struct Frame<'a> {
    block: Block,
    tokens: Vec<Token>,
    entries: Vec<(&'a str, &'a str)>,
}

impl Frame<'_> {
    fn new(block: Block) -> Self {
        Frame { block, tokens: vec![], entries: vec![] }
    }

    fn is_open_list(&self) -> bool {
        matches!(self.block, Block::Items | Block::Arguments)
    }
}

struct Walk<'a> {
    text: &'a str,
    frames: Vec<Frame<'a>>,
}

impl<'a> Walk<'a> {
    fn top(&self) -> &Frame<'a> {
        self.frames.last().expect("the whole text is never left")
    }

    fn top_mut(&mut self) -> &mut Frame<'a> {
        self.frames.last_mut().expect("the whole text is never left")
    }

    fn word(&self, token: &Token) -> &'a str {
        &self.text[token.range.clone()]
    }

    fn take(&mut self, token: Token) {
        match token.kind {
            TokenKind::Comment | TokenKind::SlashComment => {}
            TokenKind::Newline | TokenKind::Semicolon if self.top().is_open_list() => {}
            TokenKind::Newline if self.goes_on() => {}
            TokenKind::Newline | TokenKind::Semicolon => self.finish(),
            TokenKind::Open => {
                let block = self.opened(self.word(&token), &token);
                self.top_mut().tokens.push(token);
                self.frames.push(Frame::new(block));
            }
            TokenKind::Close => {
                if self.frames.len() > 1 {
                    self.frames.pop();
                }
                self.top_mut().tokens.push(token);
            }
            _ => self.top_mut().tokens.push(token),
        }
    }

    /// A comma carries a list of a verb over to the next line.
    fn goes_on(&self) -> bool {
        let frame = self.top();
        matches!(frame.block, Block::Statements)
            && frame.tokens.last().is_some_and(|token| token.kind == TokenKind::Comma)
    }

    /// A setting or a statement ends.
    fn finish(&mut self) {
        let text = self.text;
        let frame = self.top_mut();
        if let [name, equals, first, ..] = frame.tokens.as_slice()
            && equals.kind == TokenKind::Equals
        {
            let end = frame.tokens.last().map_or(first.range.end, |last| last.range.end);
            frame.entries.push((&text[name.range.clone()], &text[first.range.start..end]));
        }
        frame.tokens.clear();
        if matches!(frame.block, Block::Statements) {
            frame.entries.clear();
        }
    }

    /// What stands in a bracket that opens here.
    fn opened(&self, bracket: &str, token: &Token) -> Block {
        let frame = self.top();
        let touches = |last: &Token| last.kind == TokenKind::Name && last.range.end == token.range.start;
        if bracket == "(" && frame.tokens.last().is_some_and(touches) {
            let name = frame.tokens.last().map_or("", |last| self.word(last));
            return if ["one_of", "log"].contains(&name) { Block::Items } else { Block::Arguments };
        }
        if bracket != "{" {
            return Block::Items;
        }
        match frame.block {
            Block::Statements => self.block_of_statement(frame),
            Block::Settings(settings) => self.block_of_setting(frame, settings),
            _ => Block::Unknown,
        }
    }

    fn block_of_statement(&self, frame: &Frame) -> Block {
        let Some(first) = frame.tokens.first() else { return Block::Unknown };
        match self.word(first) {
            "repeat" => Block::Statements,
            word => form(word).map_or(Block::Unknown, |form| Block::Settings(form.settings)),
        }
    }

    fn block_of_setting(&self, frame: &Frame, settings: &'static [Setting]) -> Block {
        let [name, equals, rest @ ..] = frame.tokens.as_slice() else { return Block::Unknown };
        let Some(setting) = setting(settings, self.word(name)).filter(|_| equals.kind == TokenKind::Equals)
        else {
            return Block::Unknown;
        };
        match rest.last() {
            None if has_columns(&setting.kind) => Block::Columns,
            None => Block::Unknown,
            Some(word) => choice(choices_of(&setting.kind), self.word(word))
                .map_or(Block::Unknown, |choice| Block::Settings(choice.settings)),
        }
    }

    fn place(&self, range: Range<usize>, quoted: bool) -> Place<'a> {
        let statement = self.frames.iter().rev().find(|frame| matches!(frame.block, Block::Statements));
        let statement = statement.expect("the whole text holds statements");
        let head: Vec<&'a str> = statement.tokens.iter().map(|token| self.word(token)).collect();
        let written = &self.text[range.clone()];
        let (wanted, value) = self.wanted(self.frames.len() - 1, &self.top().tokens);
        Place {
            form: head.first().and_then(|word| form(word)),
            head,
            range,
            written,
            quoted,
            wanted,
            entries: self.frames.iter().flat_map(|frame| frame.entries.iter().copied()).collect(),
            value,
        }
    }

    /// What may stand after these tokens of a frame, and the setting whose value that is.
    fn wanted(&self, index: usize, tokens: &[Token]) -> (Vec<Wanted>, Option<(&'static Setting, &'a str)>) {
        let frame = &self.frames[index];
        match frame.block {
            Block::Statements => (self.in_statement(tokens), None),
            Block::Settings(settings) => self.in_settings(frame, tokens, settings),
            Block::Columns => match tokens {
                [] => (vec![Wanted::Meaning], None),
                [_, equals] if equals.kind == TokenKind::Equals => (vec![Wanted::Column], None),
                _ => (vec![], None),
            },
            Block::Items if index > 0 && !ends_value(tokens.last()) => {
                self.wanted(index - 1, self.before_items(&self.frames[index - 1].tokens))
            }
            Block::Arguments => (vec![Wanted::Expression], None),
            Block::Items | Block::Unknown => (vec![], None),
        }
    }

    /// The tokens before a list or a sweep that has just been opened: `lr = one_of(` wants what `lr = ` wants.
    fn before_items<'t>(&self, tokens: &'t [Token]) -> &'t [Token] {
        let before = &tokens[..tokens.len().saturating_sub(1)];
        match before.split_last() {
            Some((name, rest)) if ["one_of", "log"].contains(&self.word(name)) => rest,
            _ => before,
        }
    }

    fn in_settings(
        &self,
        frame: &Frame<'a>,
        tokens: &[Token],
        settings: &'static [Setting],
    ) -> (Vec<Wanted>, Option<(&'static Setting, &'a str)>) {
        let [name, rest @ ..] = tokens else {
            let given = frame.entries.iter().map(|(name, _)| name.to_string()).collect();
            return (vec![Wanted::Setting(settings, given)], None);
        };
        let [equals, value @ ..] = rest else { return (vec![], None) };
        match setting(settings, self.word(name)).filter(|_| equals.kind == TokenKind::Equals) {
            Some(setting) => {
                let written = self.text[equals.range.end..].trim_start();
                (value_wanted(setting, value), Some((setting, written)))
            }
            None => (vec![], None),
        }
    }

    fn in_statement(&self, tokens: &[Token]) -> Vec<Wanted> {
        let [first, rest @ ..] = tokens else { return vec![Wanted::Statement] };
        match (self.word(first), form(self.word(first))) {
            ("let", _) => {
                let is_value = rest.get(1).is_some_and(|token| token.kind == TokenKind::Equals);
                if is_value && !ends_value(rest.get(2..).and_then(|rest| rest.last())) {
                    vec![Wanted::Expression]
                } else {
                    vec![]
                }
            }
            ("include", _) if rest.is_empty() => vec![Wanted::Script],
            (_, Some(form)) if form.kind == FormKind::Verb => self.in_verb(form, rest),
            _ => vec![],
        }
    }

    fn in_verb(&self, form: &'static Form, rest: &[Token]) -> Vec<Wanted> {
        let is_preposition =
            |token: &Token| token.kind == TokenKind::Name && PREPOSITIONS.contains(&self.word(token));
        if rest.last().is_some_and(|token| token.kind == TokenKind::Close && self.word(token) == "}") {
            return vec![];
        }
        let used: Vec<&str> =
            rest.iter().filter(|token| is_preposition(token)).map(|token| self.word(token)).collect();
        let open = form.clauses.iter().filter(|clause| !used.contains(&clause.word)).map(Wanted::Clause);
        let Some(at) = rest.iter().rposition(is_preposition) else {
            let (mut wanted, needs_more) = self.positional(form, rest);
            if !needs_more {
                wanted.extend(open);
            }
            return wanted;
        };
        let clause = form.clauses.iter().find(|clause| clause.word == self.word(&rest[at]));
        let Some(clause) = clause else { return vec![] };
        let written = &rest[at + 1..];
        let mut wanted = value_wanted(&clause.setting, written);
        if ends_value(written.last()) {
            wanted.extend(open);
        }
        wanted
    }

    /// The positional values that may stand after these tokens; and whether one must.
    fn positional(&self, form: &'static Form, rest: &[Token]) -> (Vec<Wanted>, bool) {
        let groups = groups(rest);
        let goes_on = !rest.is_empty() && !ends_value(rest.last());
        let mut next = 0;
        let mut current = None;
        for group in &groups {
            let fits = |setting: &Setting| self.fits(&setting.kind, &rest[group.clone()]);
            match form.positional[next..].iter().position(fits) {
                Some(found) => next += found,
                None => return (vec![], false),
            }
            current = form.positional.get(next);
            next += 1;
        }
        if let Some(setting) = current.filter(|_| goes_on) {
            return (vec![Wanted::Value(setting)], true);
        }
        let mut wanted = vec![];
        if let (Some(setting), Some(TokenKind::Number)) = (current, rest.last().map(|token| token.kind)) {
            wanted.push(Wanted::Unit(setting));
        }
        for setting in &form.positional[next..] {
            wanted.push(Wanted::Value(setting));
            if setting.default == Default::Required {
                return (wanted, true);
            }
        }
        (wanted, false)
    }

    /// Whether a group of a verb can be meant for a kind, as far as its first token tells.
    fn fits(&self, kind: &Kind, group: &[Token]) -> bool {
        let Some(first) = group.first() else { return false };
        let word = self.word(first);
        match kind {
            Kind::Any => true,
            Kind::AnyOf(kinds) => kinds.iter().any(|kind| self.fits(kind, group)),
            Kind::List { of, .. } => word == "[" || self.fits(of, group),
            Kind::Name(_) | Kind::Part | Kind::Word | Kind::Topic | Kind::Choice(_) | Kind::Bool => {
                first.kind == TokenKind::Name
            }
            Kind::None => word == "none",
            Kind::Text | Kind::Path => first.kind == TokenKind::Text,
            Kind::Prompt => first.kind == TokenKind::Text || word == "[",
            Kind::Columns => word == "{",
            Kind::Condition(_) => first.kind == TokenKind::Name,
            _ => first.kind == TokenKind::Number || word == "(" || word == "-",
        }
    }
}

/// What may follow in the value of a setting.
fn value_wanted(setting: &'static Setting, written: &[Token]) -> Vec<Wanted> {
    match written.last() {
        Some(last) if last.kind == TokenKind::Number => vec![Wanted::Unit(setting)],
        last if ends_value(last) => vec![],
        _ => vec![Wanted::Value(setting)],
    }
}

/// Whether a value can end with this token.
fn ends_value(token: Option<&Token>) -> bool {
    token.is_some_and(|token| {
        matches!(token.kind, TokenKind::Name | TokenKind::Number | TokenKind::Text | TokenKind::Close)
    })
}

/// The values of a verb that stand side by side: `a 20` are two, `loss, lr` is one.
fn groups(tokens: &[Token]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = vec![];
    let mut joined = false;
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate() {
        let is_operand = matches!(token.kind, TokenKind::Name | TokenKind::Number | TokenKind::Text);
        let begins = depth == 0 && !joined && (is_operand || token.kind == TokenKind::Open);
        let is_unit = index > 0
            && token.kind == TokenKind::Name
            && tokens[index - 1].kind == TokenKind::Number
            && depth == 0;
        let is_call = index > 0 && token.range.start == tokens[index - 1].range.end && !groups.is_empty();
        match groups.last_mut() {
            Some(group) if !begins || is_unit || is_call => group.end = index + 1,
            _ => groups.push(index..index + 1),
        }
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        joined = matches!(token.kind, TokenKind::Comma | TokenKind::Operator | TokenKind::Equals);
    }
    groups
}

/// The statement of this name.
pub fn form(word: &str) -> Option<&'static Form> {
    statements::find(word).map(|statement| statement.form)
}

/// The setting of this name, or of a peer's name for it.
pub fn setting(settings: &'static [Setting], name: &str) -> Option<&'static Setting> {
    match find_setting(settings, name)? {
        Found::Setting(setting) | Found::Translated(setting, _) => Some(setting),
        Found::HalfOfBatch(_) => settings.iter().find(|setting| matches!(setting.kind, Kind::Batch)),
    }
}

/// The choice of this word, or of a peer's word for it.
pub fn choice(choices: &'static [Choice], word: &str) -> Option<&'static Choice> {
    choices.iter().find(|choice| choice.word == word || choice.aliases.contains(&word))
}

fn has_columns(kind: &Kind) -> bool {
    match kind {
        Kind::Columns => true,
        Kind::AnyOf(kinds) => kinds.iter().any(has_columns),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wanted at the end of a text, in short.
    fn wanted(text: &str) -> Vec<String> {
        let Some(place) = place(text, text.len()) else { return vec!["nothing".into()] };
        let told = |wanted: &Wanted| match wanted {
            Wanted::Statement => "statement".to_string(),
            Wanted::Setting(settings, given) => format!("setting of {} but {given:?}", settings.len()),
            Wanted::Value(setting) => setting.name.to_string(),
            Wanted::Clause(clause) => format!("… {}", clause.word),
            Wanted::Unit(setting) => format!("unit of {}", setting.name),
            other => format!("{other:?}").to_lowercase(),
        };
        place.wanted.iter().map(told).collect()
    }

    #[test]
    fn a_statement_is_wanted_where_one_begins() {
        for text in ["", "st", "step a 5\n", "step a 5; ", "let x = (1\n+ 2)\np", "repeat 3 {\n  "] {
            assert_eq!(wanted(text), ["statement"], "{text}");
        }
    }

    #[test]
    fn blocks_want_their_own_settings_that_are_not_given_yet() {
        let tune = form("tune").expect("there is one").settings.len();
        assert_eq!(wanted("tune a {\n  "), [format!("setting of {tune} but []")]);
        let given = format!("setting of {tune} but [\"lr\", \"batch\"]");
        assert_eq!(wanted("tune a { lr = 1e-4\n batch = 4 x 4; ep"), [given]);
        assert_eq!(wanted("tune a { method = lora { rank = 4; "), ["setting of 6 but [\"rank\"]"]);
        assert_eq!(
            wanted("tune a { method = lora { rank = 4 }\n"),
            [format!("setting of {tune} but [\"method\"]")]
        );
    }

    #[test]
    fn the_value_of_a_setting_is_wanted_behind_its_name() {
        assert_eq!(wanted("tune a { method = "), ["method"]);
        assert_eq!(wanted("tune a { method = lo"), ["method"]);
        assert_eq!(wanted("tune a { learning_rate = "), ["lr"]);
        assert_eq!(wanted("tune a { method = lora "), [""; 0]);
        assert_eq!(wanted("tune a { schedule = cosine { warmup = 3 "), ["unit of warmup"]);
        assert_eq!(wanted("tune a { lr = one_of(1e-4, "), ["lr"]);
        assert_eq!(wanted("tune a { method = lora { targets = [\"q_proj\", \"v"), ["targets"]);
        assert_eq!(wanted("data d { columns = { "), ["meaning"]);
        assert_eq!(wanted("data d { columns = { prompt = \"q"), ["column"]);
        assert_eq!(wanted("model m { nonsense = "), [""; 0]);
    }

    #[test]
    fn verbs_want_their_values_in_order_and_then_their_clauses() {
        assert_eq!(wanted("step "), ["run", "count"]);
        assert_eq!(wanted("step a "), ["count"]);
        assert_eq!(wanted("step a 5 "), ["unit of count"]);
        assert_eq!(wanted("plot "), ["metrics"]);
        assert_eq!(wanted("plot loss, "), ["metrics"]);
        assert_eq!(wanted("plot loss "), ["… of", "… to"]);
        assert_eq!(wanted("plot loss of "), ["of"]);
        assert_eq!(wanted("plot loss of a, b "), ["… to"]);
        assert_eq!(wanted("plot loss of a to \""), ["to"]);
        assert_eq!(wanted("run a until "), ["until"]);
    }

    #[test]
    fn the_written_piece_is_a_word_or_what_stands_in_quotes() {
        let text = "model m { from = \"smol";
        let at = place(text, text.len()).expect("a place");
        assert_eq!((at.written, at.quoted, at.range), ("smol", true, 18..22));
        let text = "eval a on chat.te";
        let at = place(text, text.len()).expect("a place");
        assert_eq!((at.written, at.quoted), ("chat.te", false));
        assert_eq!(
            (at.head.as_slice(), at.form.map(|form| form.name)),
            (&["eval", "a", "on"][..], Some("eval"))
        );
        assert_eq!(wanted("step a # com"), ["nothing"]);
        assert_eq!(wanted("rust { fn a() { st"), ["nothing"]);
        assert_eq!(wanted("rust { fn a() { '}' } }\nst"), ["statement"]);
    }

    #[test]
    fn settings_around_are_known_with_their_values() {
        let text = "tune a { batch = 4 x 2\n method = lora { rank = 8 }\n schedule = cosine { warmup = 3";
        let at = place(text, text.len()).expect("a place");
        assert_eq!(at.entries, [("batch", "4 x 2"), ("method", "lora { rank = 8 }")]);
        assert_eq!(at.value.map(|(setting, written)| (setting.name, written)), Some(("warmup", "3")));
    }

    #[test]
    fn any_text_has_a_place_or_none() {
        let text = "tune a { method = lora { rank = \"é\n ) ] } } f\"{x\n let x = (((( } step , , of of {";
        for cursor in 0..=text.len() + 3 {
            let _ = place(text, cursor.min(text.len()));
        }
    }
}
