//! A TextMate grammar from the schema: how editors that know nothing of the language colour it.

use crate::language::blocks::choices_of;
use crate::language::evaluate::FUNCTIONS;
use crate::language::schema::{Form, FormKind, Kind, Setting};
use crate::language::tree::PREPOSITIONS;
use crate::units::SPELLINGS;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A name is letters of all alphabets, digits and `_`.
const NAME: &str = r"[\p{L}_][\p{L}\p{N}_]*";
const NUMBER: &str = r"(?:\d[\d_]*(?:\.\d[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?";

/// The grammar as the text of its file.
pub fn grammar(forms: &[&Form]) -> String {
    let words = Words::of(forms);
    let grammar = json!({
        "comment": "generated from the schema of the language; a test compares, BLESS=1 writes it anew",
        "name": "ltune",
        "scopeName": "source.ltune",
        "fileTypes": ["ltune"],
        "patterns": [
            { "include": "#comment" },
            { "include": "#separator" },
            { "include": "#rust" },
            { "include": "#definition" },
            { "include": "#let" },
            { "include": "#construct" },
            { "include": "#verb" },
            { "include": "#block" },
            { "include": "#value" },
        ],
        "repository": repository(&words),
    });
    let text = serde_json::to_string_pretty(&grammar).expect("texts and lists are JSON");
    text + "\n"
}

/// Every word that the schema knows, by what it is.
#[derive(Default)]
struct Words {
    nouns: BTreeSet<&'static str>,
    verbs: BTreeSet<&'static str>,
    settings: BTreeSet<&'static str>,
    choices: BTreeSet<&'static str>,
}

impl Words {
    fn of(forms: &[&Form]) -> Words {
        let mut words = Words::default();
        for form in forms {
            match form.kind {
                FormKind::Noun => words.nouns.insert(form.name),
                FormKind::Verb => words.verbs.insert(form.name),
                FormKind::Language => false,
            };
            form.settings.iter().for_each(|setting| words.setting(setting));
            let arguments = form.positional.iter().chain(form.clauses.iter().map(|clause| &clause.setting));
            arguments.for_each(|argument| words.choices(&argument.kind));
        }
        words
    }

    fn setting(&mut self, setting: &'static Setting) {
        self.settings.insert(setting.name);
        self.settings.extend(setting.aliases);
        self.settings.extend(setting.translated.iter().map(|translated| translated.name));
        self.choices(&setting.kind);
    }

    fn choices(&mut self, kind: &Kind) {
        match kind {
            Kind::AnyOf(kinds) => return kinds.iter().for_each(|kind| self.choices(kind)),
            Kind::List { of, .. } => return self.choices(of),
            _ => {}
        }
        for choice in choices_of(kind) {
            let words = std::iter::once(choice.word).chain(choice.aliases.iter().copied());
            self.choices.extend(
                words.filter(|word| word.chars().all(|letter| letter.is_alphanumeric() || letter == '_')),
            );
            choice.settings.iter().for_each(|setting| self.setting(setting));
        }
    }
}

/// One of these words and no longer one.
fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut words: Vec<&str> = words.into_iter().collect();
    // The longer of two that begin alike is tried first.
    words.sort_by_key(|word| (std::cmp::Reverse(word.len()), *word));
    format!(r"(?<![\p{{L}}\p{{N}}_.])(?:{})(?![\p{{L}}\p{{N}}_])", words.join("|"))
}

/// A word that begins a statement, on a line, after `;` or in a block: what is followed by `=` is a setting.
fn statement<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    format!(r"(?:^|(?<=[;{{]))[ \t]*({})(?!\s*=)", one_of(words))
}

fn repository(words: &Words) -> Value {
    let (nouns, verbs) = (statement(words.nouns.iter().copied()), statement(words.verbs.iter().copied()));
    let functions = one_of(FUNCTIONS.iter().map(|(name, _)| *name));
    let units = SPELLINGS.iter().map(|spelling| spelling.text).filter(|text| *text != "%");
    let known_settings = one_of(words.settings.iter().copied());
    json!({
        "comment": { "name": "comment.line.number-sign.ltune", "match": "#.*$" },
        "separator": { "name": "punctuation.terminator.ltune", "match": ";" },
        // Braces in Rust's texts and comments are left to the grammar of Rust.
        "rust": {
            "begin": format!(r"{}[ \t]*(\{{)", statement(["rust"])),
            "beginCaptures": captures(&["keyword.control.ltune", "punctuation.section.block.begin.ltune"]),
            "end": r"\}",
            "endCaptures": { "0": { "name": "punctuation.section.block.end.ltune" } },
            "contentName": "meta.embedded.block.rust",
            "patterns": [{ "include": "#rust-braces" }, { "include": "source.rust" }],
        },
        "rust-braces": {
            "begin": r"\{",
            "end": r"\}",
            "patterns": [{ "include": "#rust-braces" }, { "include": "source.rust" }],
        },
        "definition": {
            "match": format!(r"{nouns}[ \t]+({NAME})"),
            "captures": captures(&["storage.type.ltune", "entity.name.type.ltune"]),
        },
        "let": {
            "match": format!(r"{}[ \t]+({NAME})[ \t]*(=)", statement(["let"])),
            "captures": captures(&["storage.type.ltune", "variable.other.constant.ltune", "keyword.operator.assignment.ltune"]),
        },
        "construct": { "name": "keyword.control.ltune", "match": statement(["let", "include", "repeat", "ltune"]) },
        // A verb and its phrases end with the line, unless a comma carries the list over.
        "verb": {
            "begin": verbs,
            "beginCaptures": captures(&["keyword.control.ltune"]),
            "end": r"(?=[;{}])|(?<![,\s])[ \t]*$",
            "patterns": [
                { "include": "#comment" },
                {
                    "match": format!(r"((?<![\p{{L}}\p{{N}}_])as)[ \t]+({NAME})"),
                    "captures": captures(&["keyword.other.preposition.ltune", "entity.name.type.ltune"]),
                },
                { "name": "keyword.other.preposition.ltune", "match": one_of(PREPOSITIONS.iter().copied()) },
                { "include": "#value" },
            ],
        },
        "block": {
            "begin": r"\{",
            "beginCaptures": { "0": { "name": "punctuation.section.block.begin.ltune" } },
            "end": r"\}",
            "endCaptures": { "0": { "name": "punctuation.section.block.end.ltune" } },
            "patterns": [{ "include": "#setting" }, { "include": "$self" }],
        },
        "setting": {
            "patterns": [
                {
                    "match": format!(r"({known_settings})[ \t]*(=)(?!=)"),
                    "captures": captures(&["support.type.property-name.ltune", "keyword.operator.assignment.ltune"]),
                },
                {
                    "match": format!(r"({NAME}(?:\.{NAME})*)[ \t]*(=)(?!=)"),
                    "captures": captures(&["variable.other.property.ltune", "keyword.operator.assignment.ltune"]),
                },
            ],
        },
        "value": {
            "patterns": [
                { "include": "#text" },
                { "include": "#number" },
                { "name": "constant.language.ltune", "match": one_of(["on", "off", "true", "false", "True", "False", "yes", "no", "none", "None", "null"]) },
                { "name": "support.function.ltune", "match": format!(r"{functions}(?=\()") },
                { "name": "support.constant.ltune", "match": one_of(words.choices.iter().copied()) },
                { "name": "variable.other.ltune", "match": format!(r"{NAME}(?:\.{NAME})*") },
                { "name": "keyword.operator.ltune", "match": r"\.\.|[=!<>]=|[-+*/<>]" },
                { "name": "punctuation.separator.ltune", "match": "," },
                { "name": "punctuation.section.brackets.ltune", "match": r"[\[\]()]" },
            ],
        },
        "number": {
            "patterns": [
                {
                    "match": format!(r"(?<![\p{{L}}\p{{N}}_])({NUMBER})[ \t]*(%|{})", one_of(units).trim_start_matches(r"(?<![\p{L}\p{N}_.])")),
                    "captures": captures(&["constant.numeric.ltune", "keyword.other.unit.ltune"]),
                },
                // `4 x 4`
                {
                    "match": format!(r"(?<![\p{{L}}\p{{N}}_])({NUMBER})[ \t]+(x)(?=[ \t]*[\d(])"),
                    "captures": captures(&["constant.numeric.ltune", "keyword.operator.ltune"]),
                },
                { "name": "constant.numeric.ltune", "match": format!(r"(?<![\p{{L}}\p{{N}}_]){NUMBER}") },
            ],
        },
        "text": {
            "patterns": [
                quoted("string.quoted.triple.ltune", "\"\"\"", "\"\"\"", &["#escape"]),
                quoted("string.quoted.other.raw.ltune", r#"(?<![\p{L}\p{N}_])r""#, "\"|$", &[]),
                quoted("string.interpolated.ltune", r#"(?<![\p{L}\p{N}_])f""#, "\"|$", &["#escape", "#brace", "#interpolation"]),
                quoted("string.quoted.double.ltune", "\"", "\"|$", &["#escape"]),
            ],
        },
        "escape": { "name": "constant.character.escape.ltune", "match": r#"\\(?:[ntr0"\\]|u\{[0-9a-fA-F]+\}|u[0-9a-fA-F]{4})"# },
        "brace": { "name": "constant.character.escape.ltune", "match": r"\{\{|\}\}" },
        "interpolation": {
            "name": "meta.interpolation.ltune",
            "begin": r"\{",
            "beginCaptures": { "0": { "name": "punctuation.section.interpolation.begin.ltune" } },
            "end": r#"\}|(?=")|$"#,
            "endCaptures": { "0": { "name": "punctuation.section.interpolation.end.ltune" } },
            "patterns": [{ "include": "#value" }],
        },
    })
}

fn captures(names: &[&str]) -> Value {
    let named =
        names.iter().enumerate().map(|(index, name)| ((index + 1).to_string(), json!({ "name": name })));
    Value::Object(named.collect())
}

fn quoted(name: &str, begin: &str, end: &str, inside: &[&str]) -> Value {
    let inside: Vec<Value> = inside.iter().map(|include| json!({ "include": include })).collect();
    json!({ "name": name, "begin": begin, "end": end, "patterns": inside })
}
