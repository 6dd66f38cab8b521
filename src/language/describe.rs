//! What a setting takes, in words: for messages, for help and for the reference.

use crate::language::schema::{Bounds, Kind};
use crate::language::scope::NameKind;
use crate::language::suggest::alternatives;
use crate::language::value::plain_number;
use crate::units::Unit;

/// With its article, to stand after "takes": `a number of steps or epochs`, `` `on` or `off` ``.
pub fn wanted(kind: &Kind) -> String {
    match kind {
        Kind::Integer { unit: Some(unit), .. } => unit_noun(*unit),
        Kind::Integer { .. } => "a whole number".into(),
        Kind::Number(_) => "a number".into(),
        Kind::Fraction => "a number from 0 to 1".into(),
        Kind::Measure { units, .. } => units_noun(units),
        Kind::Text => "a text in quotes".into(),
        Kind::Path => "a path or a known name in quotes".into(),
        Kind::Bool => "`on` or `off`".into(),
        Kind::None => "`none`".into(),
        Kind::Choice(choices) => {
            let words: Vec<&str> = choices.iter().map(|choice| choice.word).collect();
            alternatives(&words)
        }
        Kind::Name(kinds) => format!("the name of {}", names_noun(kinds)),
        Kind::Word => "a bare word".into(),
        Kind::Topic => "a word, such as `tune` or `tune.lr`".into(),
        Kind::Part => "a data set or a part of one, such as `chat.test`".into(),
        Kind::List { of, .. } => format!("a list, each item {}", wanted(of)),
        Kind::Batch => "a batch such as `4 x 4`".into(),
        Kind::Split => "shares such as `90% / 5% / 5%`".into(),
        Kind::Columns => "a block such as `{ prompt = \"question\" }`".into(),
        Kind::Prompt => "a text or a chat such as `[user(\"…\")]`".into(),
        Kind::Condition(metrics) => {
            format!("a condition such as `{} < 1.8`", metrics.first().unwrap_or(&"loss"))
        }
        Kind::Range => "a range such as `0..12`".into(),
        Kind::AnyOf(kinds) => either(kinds),
        Kind::Any => "a value".into(),
    }
}

/// How a kind is written, for the reference: `integer from 1`, `text`, `steps | epochs | %`.
pub fn notation(kind: &Kind) -> String {
    match kind {
        Kind::Integer { min, max, unit } => {
            let unit =
                unit.map_or("whole number".to_string(), |unit| format!("whole number of {}", unit.name()));
            let bounds = Bounds {
                min: if *min == i64::MIN { f64::NEG_INFINITY } else { *min as f64 },
                max: if *max == i64::MAX { f64::INFINITY } else { *max as f64 },
                ..Bounds::ANY
            };
            format!("{unit}{}", limits(&bounds))
        }
        Kind::Number(bounds) => format!("number{}", limits(bounds)),
        Kind::Fraction => "number from 0 to 1, or a share".into(),
        Kind::Measure { units, bounds, .. } => {
            let units: Vec<&str> = units.iter().map(|unit| unit.name()).collect();
            format!("number of {}{}", units.join(" or "), limits(bounds))
        }
        Kind::Text => "text".into(),
        Kind::Path => "path".into(),
        Kind::Name(kinds) => names_noun(kinds).trim_start_matches("a ").into(),
        Kind::Word => "new name".into(),
        Kind::Topic => "word".into(),
        Kind::Part => "data set or part".into(),
        Kind::List { of, .. } => format!("list of {}", notation(of)),
        Kind::Batch => "micro-batch x accumulation".into(),
        Kind::Split => "shares that sum to 100%".into(),
        Kind::Columns => "block of columns".into(),
        Kind::Prompt => "text or chat".into(),
        Kind::Condition(metrics) => format!("condition on {}", alternatives(metrics)),
        Kind::Range => "range".into(),
        Kind::AnyOf(kinds) => {
            let kinds: Vec<String> = kinds.iter().map(notation).collect();
            kinds.join(", or ")
        }
        other => wanted(other),
    }
}

/// ` above 0`, ` from 1 to 64`, or nothing.
pub fn limits(bounds: &Bounds) -> String {
    let lower = match (bounds.min.is_finite(), bounds.open_min) {
        (false, _) => String::new(),
        (true, true) => format!(" above {}", plain_number(bounds.min)),
        (true, false) => format!(" from {}", plain_number(bounds.min)),
    };
    let upper = match (bounds.max.is_finite(), bounds.open_max) {
        (false, _) => String::new(),
        (true, true) => format!(" below {}", plain_number(bounds.max)),
        (true, false) => format!(" to {}", plain_number(bounds.max)),
    };
    lower + &upper
}

fn either(kinds: &[Kind]) -> String {
    let kinds: Vec<String> = kinds.iter().map(wanted).collect();
    match kinds.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => kinds.join(""),
    }
}

fn unit_noun(unit: Unit) -> String {
    match unit {
        Unit::Percent => "a share such as `10%`".into(),
        Unit::Bytes => "a size such as `2GiB`".into(),
        Unit::Seconds => "a time such as `5 min`".into(),
        _ => format!("a number of {}", unit.name()),
    }
}

/// `a number of steps or epochs, or a share such as `10%``
fn units_noun(units: &[Unit]) -> String {
    let is_count = |unit: &&Unit| !matches!(unit, Unit::Percent | Unit::Bytes | Unit::Seconds);
    let counts: Vec<&str> = units.iter().filter(is_count).map(|unit| unit.name()).collect();
    let mut nouns: Vec<String> = vec![];
    if !counts.is_empty() {
        nouns.push(format!("a number of {}", counts.join(" or ")));
    }
    nouns.extend(units.iter().filter(|unit| !is_count(unit)).map(|unit| unit_noun(*unit)));
    nouns.join(", or ")
}

/// `a run`, `a model or a run`
pub fn names_noun(kinds: &[NameKind]) -> String {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.described()).collect();
    kinds.join(" or ")
}
