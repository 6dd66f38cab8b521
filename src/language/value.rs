//! Checked values and settings: what statements run on. Each value can be written as ltune text again.

use crate::events::Span;
use crate::language::tree::Comparison;
use crate::units::Unit;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt::Write;

/// A value after checking. `to_ltune` writes it so that it parses back to the same value.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Value {
    None,
    Bool(bool),
    Integer(i64),
    Number(f64),
    /// In the unit's own measure: `2GiB` is 2147483648 bytes, `10%` is 10 percent.
    Measure {
        number: f64,
        unit: Unit,
    },
    Text(String),
    /// A bare word, such as a new name.
    Word(String),
    /// One of the words of a setting, with the settings in its block.
    Choice {
        word: String,
        settings: Settings,
    },
    /// The name of a model, a data set or a run.
    Name(String),
    /// `chat` or `chat.test`.
    Part {
        data: String,
        part: Option<String>,
    },
    List(Vec<Value>),
    /// `4 x 2`: sequences in a micro-batch, micro-batches in a step.
    Batch {
        micro: i64,
        accumulate: i64,
    },
    /// Shares that sum to 1.
    Split(Vec<f64>),
    /// Both ends belong to it; `step` is 1 when it was not written.
    Range {
        start: i64,
        end: i64,
        step: i64,
    },
    /// Roles and texts.
    Chat(Vec<(String, String)>),
    /// `eval.loss < 1.8`
    Condition {
        metric: String,
        comparison: Comparison,
        number: f64,
    },
    /// The values a sweep tries, in order.
    Sweep(Vec<Value>),
    /// A shape's column and the column of the file.
    Columns(Vec<(String, String)>),
}

impl Value {
    /// What the value is, with its article, as messages say it.
    pub fn described(&self) -> String {
        match self {
            Value::None => "`none`".into(),
            Value::Bool(true) => "`on`".into(),
            Value::Bool(false) => "`off`".into(),
            Value::Integer(_) | Value::Number(_) => format!("the number `{}`", self.to_ltune()),
            Value::Measure { unit: Unit::Percent, .. } => format!("the share `{}`", self.to_ltune()),
            Value::Measure { unit: Unit::Bytes, .. } => format!("the size `{}`", self.to_ltune()),
            Value::Measure { unit: Unit::Seconds, .. } => format!("the time `{}`", self.to_ltune()),
            Value::Measure { unit, .. } => format!("a number of {}, `{}`", unit.name(), self.to_ltune()),
            Value::Text(_) => "a text".into(),
            Value::Word(word) | Value::Choice { word, .. } => format!("the word `{word}`"),
            Value::Name(name) => format!("the name `{name}`"),
            Value::Part { .. } => format!("the data `{}`", self.to_ltune()),
            Value::List(_) => "a list".into(),
            Value::Batch { .. } => format!("the batch `{}`", self.to_ltune()),
            Value::Split(_) => format!("the split `{}`", self.to_ltune()),
            Value::Range { .. } => format!("the range `{}`", self.to_ltune()),
            Value::Chat(_) => "a chat".into(),
            Value::Condition { .. } => format!("the condition `{}`", self.to_ltune()),
            Value::Sweep(_) => "a sweep of several values".into(),
            Value::Columns(_) => "a block of columns".into(),
        }
    }

    /// The name, when it is one.
    pub fn as_name(&self) -> Option<&str> {
        match self {
            Value::Name(name) => Some(name),
            _ => None,
        }
    }

    /// What sort of value it is, with its article and without its digits: `a share`, `a number of steps`.
    pub fn sort(&self) -> String {
        match self {
            Value::Integer(_) | Value::Number(_) => "a number".into(),
            Value::Measure { unit: Unit::Percent, .. } => "a share".into(),
            Value::Measure { unit: Unit::Bytes, .. } => "a size".into(),
            Value::Measure { unit: Unit::Seconds, .. } => "a time".into(),
            Value::Measure { unit, .. } => format!("a number of {}", unit.name()),
            Value::Batch { .. } => "a batch".into(),
            Value::Split(_) => "a split".into(),
            Value::Range { .. } => "a range".into(),
            Value::Condition { .. } => "a condition".into(),
            Value::Columns(_) => "a block".into(),
            other => other.described(),
        }
    }

    /// Canonical text that parses back to the same value where a value of this kind is wanted.
    pub fn to_ltune(&self) -> String {
        match self {
            Value::None => "none".into(),
            Value::Bool(true) => "on".into(),
            Value::Bool(false) => "off".into(),
            Value::Integer(number) => number.to_string(),
            Value::Number(number) => number_text(*number),
            Value::Measure { number, unit } => measure_text(*number, *unit),
            Value::Text(text) => quoted(text),
            Value::Word(word) | Value::Name(word) => word.clone(),
            Value::Choice { word, settings } if settings.is_empty() => word.clone(),
            Value::Choice { word, settings } => format!("{word} {{ {} }}", settings.to_ltune("; ")),
            Value::Part { data, part: None } => data.clone(),
            Value::Part { data, part: Some(part) } => format!("{data}.{part}"),
            Value::List(values) => format!("[{}]", comma_list(values)),
            Value::Batch { micro, accumulate } => format!("{micro} x {accumulate}"),
            Value::Split(shares) => {
                let shares: Vec<String> = shares.iter().map(|share| percent_text(*share)).collect();
                shares.join(" / ")
            }
            Value::Range { start, end, step: 1 } if start == end => start.to_string(),
            Value::Range { start, end, step: 1 } => format!("{start}..{end}"),
            Value::Range { start, end, step } => format!("{start}..{end} step {step}"),
            Value::Chat(messages) => {
                let calls: Vec<String> =
                    messages.iter().map(|(role, text)| format!("{role}({})", quoted(text))).collect();
                format!("[{}]", calls.join(", "))
            }
            Value::Condition { metric, comparison, number } => {
                format!("{metric} {} {}", comparison.symbol(), plain_number(*number))
            }
            Value::Sweep(values) => format!("one_of({})", comma_list(values)),
            Value::Columns(columns) => {
                let entries: Vec<String> =
                    columns.iter().map(|(name, column)| format!("{name} = {}", quoted(column))).collect();
                format!("{{ {} }}", entries.join("; "))
            }
        }
    }
}

fn comma_list(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(Value::to_ltune).collect();
    texts.join(", ")
}

/// The shorter of the plain and the scientific form that reads back to the same bits; never looks whole.
pub fn number_text(number: f64) -> String {
    let text = plain_number(number);
    if text.contains(['.', 'e']) || !number.is_finite() { text } else { format!("{text}.0") }
}

/// Like `number_text`, with whole numbers written without a point.
pub fn plain_number(number: f64) -> String {
    let plain = format!("{number}");
    let scientific = format!("{number:e}");
    if scientific.len() < plain.len() { scientific } else { plain }
}

/// A share between 0 and 1 as `12.5%`, or as a plain number when hundredths would change its bits.
fn percent_text(share: f64) -> String {
    let rounded = (share * 100.0 * 1e9).round() / 1e9;
    let percent = [rounded, share * 100.0].into_iter().find(|percent| percent / 100.0 == share);
    match percent {
        Some(percent) => format!("{}%", plain_number(percent)),
        None => plain_number(share),
    }
}

const BYTE_UNITS: &[(f64, &str)] =
    &[(1073741824.0, "GiB"), (1048576.0, "MiB"), (1024.0, "KiB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
const TIME_UNITS: &[(f64, &str)] = &[(3600.0, " h"), (60.0, " min")];

/// A number with its unit, in the largest spelling that keeps it whole: `2GiB`, `5 min`, `512 tokens`, `3%`.
pub fn measure_text(number: f64, unit: Unit) -> String {
    let larger: &[(f64, &str)] = match unit {
        Unit::Bytes => BYTE_UNITS,
        Unit::Seconds => TIME_UNITS,
        _ => &[],
    };
    let whole = |factor: f64| number >= factor && number % factor == 0.0 && number < 1e15;
    if let Some((factor, name)) = larger.iter().find(|(factor, _)| whole(*factor)) {
        return format!("{}{name}", plain_number(number / factor));
    }
    let number_part = plain_number(number);
    match unit {
        Unit::Percent => format!("{number_part}%"),
        Unit::Bytes => format!("{number_part}B"),
        Unit::Steps | Unit::Epochs | Unit::Tokens | Unit::Rows | Unit::Layers if number == 1.0 => {
            format!("1 {}", unit.name().trim_end_matches('s'))
        }
        _ => format!("{number_part} {}", unit.name()),
    }
}

/// A text in plain quotes, with escapes where they are needed.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{{{:x}}}", control as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Where a setting's value came from; `show` prints it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Default,
    /// A place in a script or a cell.
    Script(Span),
    /// `--set a.lr=1e-4`
    CommandLine,
    /// A `set` that took effect before this step.
    Set {
        step: u64,
    },
    /// Left to ltune, which went by the free memory when the run began.
    Memory,
}

impl Origin {
    /// Whether a person chose the value, in whatever way.
    pub fn is_chosen(self) -> bool {
        !matches!(self, Origin::Default | Origin::Memory)
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Resolved {
    pub value: Value,
    pub origin: Origin,
    /// The name it was written under, when that was a peer's name for the setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

/// Settings by name, in the order of the schema. Settings without a value are not in it.
///
/// The plain getters are for settings that the schema gives a value (required, or with a fixed default) and panic
/// otherwise: that is a mistake in a schema, not in a script. The `maybe_` forms are for all others; there `none`
/// counts as absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    entries: Vec<(String, Resolved)>,
}

impl Settings {
    pub fn new() -> Settings {
        Settings::default()
    }

    /// Adds a setting or replaces its value in place.
    pub fn insert(&mut self, name: impl Into<String>, value: Value, origin: Origin) {
        self.place(name.into(), Resolved { value, origin, alias: None });
    }

    /// Adds a setting, or replaces it in place, with all that is known of it.
    pub fn place(&mut self, name: String, resolved: Resolved) {
        match self.entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = resolved,
            None => self.entries.push((name, resolved)),
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Resolved> {
        let index = self.entries.iter().position(|(known, _)| known == name)?;
        Some(self.entries.remove(index).1)
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.resolved(name).map(|resolved| &resolved.value)
    }

    pub fn resolved(&self, name: &str) -> Option<&Resolved> {
        self.entries.iter().find(|(known, _)| known == name).map(|(_, resolved)| resolved)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Resolved)> {
        self.entries.iter().map(|(name, resolved)| (name.as_str(), resolved))
    }

    /// Peers' names that were written and the settings they stand for.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter_map(|(name, resolved)| Some((resolved.alias.as_deref()?, name)))
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Only what a person chose, inside of choices too.
    pub fn given(&self) -> Settings {
        let mut given = Settings::new();
        for (name, resolved) in self.iter().filter(|(name, _)| self.is_given(name)) {
            let value = match &resolved.value {
                Value::Choice { word, settings } => {
                    Value::Choice { word: word.clone(), settings: settings.given() }
                }
                other => other.clone(),
            };
            given.place(name.to_string(), Resolved { value, ..resolved.clone() });
        }
        given
    }

    /// The names of models, data and runs that stand in it, and where a default put them.
    pub fn names(&self) -> Vec<(&str, Origin)> {
        fn collect<'a>(value: &'a Value, origin: Origin, found: &mut Vec<(&'a str, Origin)>) {
            match value {
                Value::Name(name) => found.push((name, origin)),
                Value::List(values) => values.iter().for_each(|value| collect(value, origin, found)),
                _ => {}
            }
        }
        let mut found = vec![];
        self.iter().for_each(|(_, resolved)| collect(&resolved.value, resolved.origin, &mut found));
        found
    }

    /// Whether a person chose the value, in whatever way.
    pub fn is_given(&self, name: &str) -> bool {
        self.resolved(name).is_some_and(|resolved| resolved.origin.is_chosen())
    }

    /// The place in a script that gave the value.
    pub fn span(&self, name: &str) -> Option<Span> {
        match self.resolved(name)?.origin {
            Origin::Script(span) => Some(span),
            _ => None,
        }
    }

    /// The value if it is there and is not `none`.
    pub fn maybe(&self, name: &str) -> Option<&Value> {
        self.get(name).filter(|value| **value != Value::None)
    }

    pub fn maybe_integer(&self, name: &str) -> Option<i64> {
        match self.maybe(name)? {
            Value::Integer(number) => Some(*number),
            Value::Number(number) | Value::Measure { number, .. } if number.fract() == 0.0 => {
                Some(*number as i64)
            }
            _ => None,
        }
    }

    /// The number of an integer, a number or a measure (in the measure's own unit).
    pub fn maybe_number(&self, name: &str) -> Option<f64> {
        match self.maybe(name)? {
            Value::Integer(number) => Some(*number as f64),
            Value::Number(number) | Value::Measure { number, .. } => Some(*number),
            _ => None,
        }
    }

    pub fn maybe_text(&self, name: &str) -> Option<&str> {
        match self.maybe(name)? {
            Value::Text(text) | Value::Word(text) | Value::Name(text) => Some(text),
            Value::Choice { word, .. } => Some(word),
            _ => None,
        }
    }

    pub fn maybe_flag(&self, name: &str) -> Option<bool> {
        match self.maybe(name)? {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The word of a choice, a name or a new name.
    pub fn maybe_word(&self, name: &str) -> Option<&str> {
        match self.maybe(name)? {
            Value::Word(word) | Value::Name(word) | Value::Choice { word, .. } => Some(word),
            _ => None,
        }
    }

    pub fn maybe_choice(&self, name: &str) -> Option<(&str, &Settings)> {
        match self.maybe(name)? {
            Value::Choice { word, settings } => Some((word, settings)),
            _ => None,
        }
    }

    pub fn maybe_measure(&self, name: &str) -> Option<(f64, Unit)> {
        match self.maybe(name)? {
            Value::Measure { number, unit } => Some((*number, *unit)),
            _ => None,
        }
    }

    pub fn maybe_list(&self, name: &str) -> Option<&[Value]> {
        match self.maybe(name)? {
            Value::List(values) => Some(values),
            _ => None,
        }
    }

    /// A data set and its part: `chat.test`.
    pub fn maybe_part(&self, name: &str) -> Option<(&str, Option<&str>)> {
        match self.maybe(name)? {
            Value::Part { data, part } => Some((data, part.as_deref())),
            Value::Name(data) => Some((data, None)),
            _ => None,
        }
    }

    pub fn integer(&self, name: &str) -> i64 {
        self.maybe_integer(name).unwrap_or_else(|| self.wanting(name, "a whole number"))
    }

    pub fn number(&self, name: &str) -> f64 {
        self.maybe_number(name).unwrap_or_else(|| self.wanting(name, "a number"))
    }

    pub fn text(&self, name: &str) -> &str {
        self.maybe_text(name).unwrap_or_else(|| self.wanting(name, "a text"))
    }

    pub fn flag(&self, name: &str) -> bool {
        self.maybe_flag(name).unwrap_or_else(|| self.wanting(name, "`on` or `off`"))
    }

    pub fn word(&self, name: &str) -> &str {
        self.maybe_word(name).unwrap_or_else(|| self.wanting(name, "a word"))
    }

    pub fn choice(&self, name: &str) -> (&str, &Settings) {
        self.maybe_choice(name).unwrap_or_else(|| self.wanting(name, "a choice"))
    }

    pub fn measure(&self, name: &str) -> (f64, Unit) {
        self.maybe_measure(name).unwrap_or_else(|| self.wanting(name, "a measure"))
    }

    pub fn list(&self, name: &str) -> &[Value] {
        self.maybe_list(name).unwrap_or_else(|| self.wanting(name, "a list"))
    }

    /// The words, names or texts of a list.
    pub fn words(&self, name: &str) -> Vec<String> {
        let word = |value: &Value| match value {
            Value::Text(text) | Value::Word(text) | Value::Name(text) => text.clone(),
            Value::Choice { word, .. } => word.clone(),
            other => other.to_ltune(),
        };
        self.maybe_list(name).unwrap_or_default().iter().map(word).collect()
    }

    /// Micro-batch and accumulation.
    pub fn batch(&self, name: &str) -> (i64, i64) {
        match self.get(name) {
            Some(Value::Batch { micro, accumulate }) => (*micro, *accumulate),
            _ => self.wanting(name, "a batch"),
        }
    }

    fn wanting<T>(&self, name: &str, wanted: &str) -> T {
        panic!("the schema promises {wanted} for `{name}`, found {:?}", self.get(name))
    }

    /// `rank = 16; alpha = 32` with the given separator.
    pub fn to_ltune(&self, separator: &str) -> String {
        let entries: Vec<String> =
            self.iter().map(|(name, resolved)| format!("{name} = {}", resolved.value.to_ltune())).collect();
        entries.join(separator)
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (name, resolved) in &self.entries {
            map.serialize_entry(name, resolved)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_their_shorter_form_and_keep_their_kind() {
        assert_eq!(Value::Number(2e-4).to_ltune(), "2e-4");
        assert_eq!(Value::Number(0.01).to_ltune(), "0.01");
        assert_eq!(Value::Number(4.0).to_ltune(), "4.0");
        assert_eq!(Value::Integer(4).to_ltune(), "4");
    }

    #[test]
    fn measures_are_written_in_the_largest_spelling_that_keeps_them_whole() {
        assert_eq!(measure_text(2147483648.0, Unit::Bytes), "2GiB");
        assert_eq!(measure_text(300.0, Unit::Seconds), "5 min");
        assert_eq!(measure_text(90.5, Unit::Seconds), "90.5 s");
        assert_eq!(measure_text(3.0, Unit::Percent), "3%");
        assert_eq!(measure_text(512.0, Unit::Tokens), "512 tokens");
        assert_eq!(measure_text(1.0, Unit::Steps), "1 step");
        assert_eq!(Value::Split(vec![0.9, 0.05, 0.05]).to_ltune(), "90% / 5% / 5%");
    }

    #[test]
    fn texts_are_quoted_with_the_escapes_they_need() {
        assert_eq!(quoted("a \"b\"\n\\ é \u{1}"), r#""a \"b\"\n\\ é \u{1}""#);
    }

    #[test]
    fn none_counts_as_absent_for_the_maybe_getters() {
        let mut settings = Settings::new();
        settings.insert("clip", Value::None, Origin::CommandLine);
        assert_eq!(settings.maybe_number("clip"), None);
        assert!(settings.is_given("clip"));
        settings.insert("clip", Value::Number(1.0), Origin::Default);
        assert_eq!(settings.number("clip"), 1.0);
        assert!(!settings.is_given("clip"));
        assert_eq!(settings.len(), 1);
    }
}
