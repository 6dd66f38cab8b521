//! Where each name of a script is defined and where it is used: what renaming, going to a definition and colours ask.

use crate::assist::place::{choice, form, setting};
use crate::events::{SourceId, Span};
use crate::language::evaluate::constant;
use crate::language::rust_text::{functions, places};
use crate::language::schema::{Choice, FormKind, Kind};
use crate::language::scope::NameKind;
use crate::language::tree::{
    Block, Expr, ExprKind, Phrase, Piece, Script, Spanned, Statement, StatementKind, Verb,
};
use std::collections::BTreeMap;

/// Every place at which a name stands.
#[derive(Clone, Debug, Default)]
pub struct Names {
    mentions: Vec<Mention>,
}

/// A name where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Mention {
    pub name: String,
    pub span: Span,
    pub kind: NameKind,
    /// The statement that gives the name its meaning, if this is it.
    pub defines: Option<Span>,
}

impl Names {
    /// The names of scripts that are read as one, such as a script and what it includes. The source of a place is the
    /// index of its script here.
    pub fn of<'a>(scripts: impl IntoIterator<Item = &'a Script>) -> Names {
        let mut walk = Walk { source: SourceId(0), defined: vec![], used: vec![] };
        for (index, script) in scripts.into_iter().enumerate() {
            walk.source = SourceId(index as u32);
            walk.statements(&script.statements);
        }
        let Walk { defined, used, .. } = walk;
        let mut kinds: BTreeMap<&str, NameKind> = BTreeMap::new();
        for definition in &defined {
            kinds.entry(&definition.name).or_insert(definition.kind);
        }
        let meant = |used: Used| {
            let kind = kinds.get(used.name.as_str()).copied().filter(|kind| used.means.fits(*kind))?;
            Some(Mention { name: used.name, span: used.span, kind, defines: None })
        };
        let mut mentions: Vec<Mention> = used.into_iter().filter_map(meant).collect();
        mentions.extend(defined);
        mentions.sort_by_key(|mention| (mention.span.source, mention.span.start));
        Names { mentions }
    }

    pub fn all(&self) -> &[Mention] {
        &self.mentions
    }

    /// The name that a cursor touches.
    pub fn at(&self, source: SourceId, offset: usize) -> Option<&Mention> {
        self.mentions.iter().find(|mention| mention.span.source == source && mention.span.touches(offset))
    }

    /// Every place of a name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Mention> {
        self.mentions.iter().filter(move |mention| mention.name == name)
    }

    pub fn definitions(&self) -> impl Iterator<Item = &Mention> {
        self.mentions.iter().filter(|mention| mention.defines.is_some())
    }
}

/// What a word can stand for where it is used.
#[derive(Clone, Copy)]
enum Means {
    Anything,
    /// The value of a setting: a `let` name, or a function of one's own.
    Value,
    /// `chat.test`
    Part,
}

impl Means {
    fn fits(self, kind: NameKind) -> bool {
        match self {
            Means::Anything => true,
            Means::Value => kind == NameKind::Variable || kind.stands_in().is_some(),
            Means::Part => kind == NameKind::Data,
        }
    }
}

struct Used {
    name: String,
    span: Span,
    means: Means,
}

struct Walk {
    /// Of the script that is being read.
    source: SourceId,
    defined: Vec<Mention>,
    used: Vec<Used>,
}

impl Walk {
    fn statements(&mut self, statements: &[Statement]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &Statement) {
        let span = statement.span;
        match &statement.kind {
            StatementKind::Version(_) | StatementKind::Include { .. } => {}
            StatementKind::Let { name, value } => {
                self.define(name, NameKind::Variable, span);
                self.value(&[Kind::Any], value);
            }
            StatementKind::Definition { noun, name, block } => {
                let kind = match noun.node.as_str() {
                    "model" => NameKind::Model,
                    "data" => NameKind::Data,
                    _ => NameKind::Run,
                };
                self.define(name, kind, span);
                self.block(form(&noun.node).map_or(&[], |form| form.settings), block);
            }
            StatementKind::Repeat { count, body, .. } => {
                self.value(&[Kind::Any], count);
                self.statements(body);
            }
            StatementKind::Rust { text, .. } => self.rust(text, span),
            StatementKind::Verb(verb) => self.verb(verb, span),
        }
    }

    /// A function that the script knows, and its uses in the same block.
    fn rust(&mut self, text: &Spanned<String>, statement: Span) {
        let at = |range: std::ops::Range<usize>| {
            let start = text.span.start as usize;
            Span::new(text.span.source, start + range.start, start + range.end)
        };
        for function in functions(&text.node) {
            let Some(kind) = function.kind() else { continue };
            for place in places(&text.node, &function.name) {
                let (name, span) = (function.name.clone(), at(place.clone()));
                match place == function.place {
                    true => self.define(&Spanned::new(name, span), kind, statement),
                    false => self.used.push(Used { name, span: self.here(span), means: Means::Anything }),
                }
            }
        }
    }

    fn define(&mut self, name: &Spanned<String>, kind: NameKind, statement: Span) {
        self.defined.push(Mention {
            name: name.node.clone(),
            span: self.here(name.span),
            kind,
            defines: Some(self.here(statement)),
        });
    }

    fn here(&self, span: Span) -> Span {
        Span { source: self.source, ..span }
    }

    fn verb(&mut self, verb: &Verb, span: Span) {
        let Some(form) = form(&verb.word.node).filter(|form| form.kind == FormKind::Verb) else { return };
        for phrase in &verb.phrases {
            let kinds: Vec<Kind> = match &phrase.preposition {
                None => form.positional.iter().map(|setting| setting.kind).collect(),
                Some(word) => {
                    let clauses = form.clauses.iter().filter(|clause| clause.word == word.node);
                    clauses.map(|clause| clause.setting.kind).collect()
                }
            };
            match kinds.as_slice() {
                [Kind::Word] => self.new_name(phrase, span),
                kinds => phrase.groups.iter().flatten().for_each(|expr| self.value(kinds, expr)),
            }
        }
        if let Some(block) = &verb.block {
            self.block(form.settings, block);
        }
    }

    /// `fork a as b`, `rename a as b`: a run by another name.
    fn new_name(&mut self, phrase: &Phrase, span: Span) {
        for expr in phrase.groups.iter().flatten() {
            if let Some(word) = expr.as_word() {
                self.define(&Spanned::new(word.to_string(), expr.span), NameKind::Run, span);
            }
        }
    }

    fn block(&mut self, settings: &'static [crate::language::schema::Setting], block: &Block) {
        for entry in &block.entries {
            let kind = setting(settings, &entry.name.node).map_or(Kind::Any, |setting| setting.kind);
            self.value(&[kind], &entry.value);
        }
    }

    fn value(&mut self, kinds: &[Kind], expr: &Expr) {
        let any = &[Kind::Any];
        match &expr.kind {
            ExprKind::Number { .. } | ExprKind::Quantity { .. } | ExprKind::Text(_) => {}
            ExprKind::Path(words) => self.path(kinds, words, expr.span),
            ExprKind::Interpolated(pieces) => {
                let values = pieces.iter().filter_map(|piece| match piece {
                    Piece::Value(value) => Some(value),
                    Piece::Text(_) => None,
                });
                values.for_each(|value| self.value(any, value));
            }
            ExprKind::Choice { word, block } => {
                let chosen = choices(kinds).into_iter().find_map(|choices| choice(choices, &word.node));
                self.block(chosen.map_or(&[], |chosen| chosen.settings), block);
            }
            // The columns of a file are no names, unless a `let` is.
            ExprKind::Block(block) => {
                block.entries.iter().for_each(|entry| self.value(&[Kind::Columns], &entry.value));
            }
            ExprKind::Call { name, arguments } => {
                let kinds = if ["one_of", "log"].contains(&name.node.as_str()) { kinds } else { any };
                arguments.iter().for_each(|argument| self.value(kinds, argument));
            }
            ExprKind::List(items) => items.iter().for_each(|item| self.value(kinds, item)),
            ExprKind::Paren(inner) => self.value(kinds, inner),
            ExprKind::Range { start, end, step } => {
                let parts = [Some(start), Some(end), step.as_ref()];
                parts.into_iter().flatten().for_each(|part| self.value(any, part));
            }
            ExprKind::Binary { left, right, .. } | ExprKind::Cross(left, right) => {
                self.value(any, left);
                self.value(any, right);
            }
            ExprKind::Compare { left, right, .. } => {
                let is_metric = kinds.iter().any(|kind| matches!(kind, Kind::Condition(_)));
                if !is_metric {
                    self.value(any, left);
                }
                self.value(any, right);
            }
            ExprKind::Negate(inner) => self.value(any, inner),
            ExprKind::Ratio(shares) => shares.iter().for_each(|share| self.value(any, share)),
        }
    }

    /// A word is first one of the choices, then a name.
    fn path(&mut self, kinds: &[Kind], words: &[String], span: Span) {
        let Some(word) = words.first() else { return };
        let is_choice = || choices(kinds).into_iter().any(|choices| choice(choices, word).is_some());
        let is_word = words.len() == 1 && (constant(word).is_some() || is_choice());
        if is_word || flat(kinds).iter().any(|kind| matches!(kind, Kind::Topic | Kind::Word)) {
            return;
        }
        let takes_names =
            |kind: &Kind| matches!(kind, Kind::Name(_) | Kind::Part | Kind::Any | Kind::Condition(_));
        let means = match words.len() {
            1 if flat(kinds).iter().any(takes_names) => Means::Anything,
            1 => Means::Value,
            _ => Means::Part,
        };
        let span = self.here(Span { end: span.start + word.len() as u32, ..span });
        self.used.push(Used { name: word.clone(), span, means });
    }
}

/// The kinds that a value may have, those in lists and alternatives among them.
fn flat(kinds: &[Kind]) -> Vec<Kind> {
    let inner = |kind: &Kind| match kind {
        Kind::AnyOf(kinds) => flat(kinds),
        Kind::List { of, .. } => flat(std::slice::from_ref(*of)),
        kind => vec![*kind],
    };
    kinds.iter().flat_map(inner).collect()
}

fn choices(kinds: &[Kind]) -> Vec<&'static [Choice]> {
    let found = |kind: Kind| match kind {
        Kind::Choice(choices) => Some(choices),
        _ => None,
    };
    flat(kinds).into_iter().filter_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::parse::parse;

    /// The names with `=` where they are defined.
    fn told(text: &str) -> Vec<String> {
        let script = parse(text, SourceId(0)).script;
        let names = Names::of([&script]);
        let told = |mention: &Mention| {
            let written = &text[mention.span.range()];
            assert_eq!(written, mention.name, "the place is that of the name");
            format!("{written}{}", if mention.defines.is_some() { "=" } else { "" })
        };
        names.all().iter().map(told).collect()
    }

    #[test]
    fn definitions_and_uses_are_found_wherever_names_stand() {
        let text = "let peak = 3e-4\nmodel base { from = \"x\" }\ndata chat { from = \"y\" }\n\
                    tune a { model = base; data = chat; lr = one_of(peak, peak / 2); schedule = cosine { warmup = 3% } }\n\
                    step a 20\nfork a as b { lr = peak }\nplot loss, lr of a, b\neval a on chat.test\n\
                    print f\"é {peak} of {a}\", [peak]\nrun a until eval.loss < peak\nrepeat 3 { step b (peak + 1) }";
        let wanted =
            "peak= base= chat= a= base chat peak peak a a b= peak a b a chat peak a peak a peak b peak";
        assert_eq!(told(text).join(" "), wanted);
    }

    #[test]
    fn functions_of_a_rust_block_are_names_and_their_calls_are_uses() {
        let text = "rust { fn warm(at: Moment) -> f64 { help(at) } fn help(at: Moment) -> f32 { 1.0 }\n\
                    fn twice(at: Moment) -> f64 { warm(at) * 2.0 /* warm */ } fn clean(row: Row) -> Option<Row> { None } }\n\
                    data d { from = \"x\"; transform = clean }\ntune a { schedule = warm }";
        assert_eq!(told(text).join(" "), "warm= twice= warm clean= d= clean a= warm");
    }

    #[test]
    fn choices_words_and_metrics_are_no_names() {
        let text = "let cosine = 1\nlet loss = 2\nlet lora = 8\nlet on = 3\n\
                    tune a { schedule = cosine; method = lora { rank = lora }; packing = on }\nplot loss of a\n\
                    help tune.lr\nfind lr for a";
        assert_eq!(told(text).join(" "), "cosine= loss= lora= on= a= lora a a");
    }

    #[test]
    fn a_data_set_is_no_value_and_a_text_no_name() {
        let text = "data chat { from = chat; columns = { prompt = chat } }\ntune chat { lr = chat }\nshow batch chat 0";
        assert_eq!(told(text).join(" "), "chat= chat= chat");
    }

    #[test]
    fn half_a_script_has_the_names_that_can_be_read() {
        assert_eq!(told("let n = \nmodel m { from = \"a\"\nstep a (n").join(" "), "m=");
    }
}
