//! The grey text behind the cursor: the rest of the only word that fits, what it means, what a value is and costs.

use crate::assist::completion::{Candidate, CandidateKind, complete};
use crate::assist::cost::cost;
use crate::assist::known::Known;
use crate::assist::place::{Place, Wanted, form, place};
use crate::events::SourceId;
use crate::language::cell::value_at_end;
use crate::language::describe::notation;
use crate::language::evaluate::evaluate;
use crate::language::parse::parse_expression;
use crate::language::schema::{Default, FormKind, Setting};

/// What is shown behind the text; `insert` may be taken over, `note` is only to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    pub insert: String,
    pub note: String,
}

impl Hint {
    fn note(note: impl Into<String>) -> Hint {
        Hint { insert: String::new(), note: note.into() }
    }
}

/// The hint for a cursor at the end of the text.
pub fn hint(text: &str, known: &Known) -> Option<Hint> {
    if text.trim().is_empty() || text.ends_with('\n') {
        return None;
    }
    let place = place(text, text.len())?;
    if let Some(note) = cost(&place, known) {
        return Some(Hint::note(note));
    }
    let of_word = || (!place.written.is_empty()).then(|| word(text, &place, known)).flatten();
    let of_value = || value(text, &place, known).map(Hint::note);
    let of_usage = || (text.ends_with(' ') && !place.quoted).then(|| usage(&place)).flatten();
    of_word().or_else(of_value).or_else(of_usage)
}

/// The rest of the only word that begins so, or what the written word means.
fn word(text: &str, place: &Place, known: &Known) -> Option<Hint> {
    let candidates = complete(text, text.len(), known).candidates;
    let begins = |found: &&Candidate| found.text.starts_with(place.written);
    let mut fitting = candidates.iter().filter(begins);
    if let Some(exact) = candidates.iter().find(|found| found.text == place.written) {
        return Some(Hint::note(meaning(exact)));
    }
    let (Some(only), None) = (fitting.next(), fitting.next()) else { return None };
    Some(Hint { insert: only.text[place.written.len()..].to_string(), note: meaning(only) })
}

fn meaning(candidate: &Candidate) -> String {
    match candidate.kind {
        CandidateKind::Value => format!("= {}", candidate.summary),
        CandidateKind::Statement => {
            let usage = form(&candidate.text).map_or("", |form| form.usage);
            let rest = usage.strip_prefix(candidate.text.as_str()).unwrap_or("").trim();
            [rest, candidate.summary.as_str()]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("  ")
        }
        _ => candidate.summary.clone(),
    }
}

/// What the expression that ends here comes to, where that is not what is written.
fn value(text: &str, place: &Place, known: &Known) -> Option<String> {
    let written = match (place.value, place.head.first()) {
        (Some((_, written)), _) => written,
        (None, Some(&"let" | &"print")) => {
            let statement = text.rsplit(['\n', ';']).next().unwrap_or(text);
            match statement.trim_start().strip_prefix("print") {
                Some(rest) => rest,
                None => statement.split_once('=')?.1,
            }
        }
        _ => &text[value_at_end(text, |word| form(word).is_some())?],
    };
    let expr = parse_expression(written, SourceId(0)).ok()?;
    let value = evaluate(&expr, known).ok()?.to_ltune();
    (value != written.trim()).then(|| format!("= {value}"))
}

/// What may follow.
fn usage(place: &Place) -> Option<Hint> {
    if let (Some((setting, "")), [Wanted::Value(_), ..]) = (place.value, place.wanted.as_slice()) {
        return Some(Hint::note(takes(setting)));
    }
    let form = place.form?;
    if form.kind != FormKind::Verb {
        let rest: Vec<&str> = form.usage.split_whitespace().skip(place.head.len()).collect();
        return (!rest.is_empty() && place.value.is_none() && place.entries.is_empty())
            .then(|| Hint::note(rest.join(" ")));
    }
    let parts: Vec<String> = place.wanted.iter().filter_map(part).collect();
    (!parts.is_empty()).then(|| Hint::note(parts.join(" ")))
}

fn part(wanted: &Wanted) -> Option<String> {
    match wanted {
        Wanted::Value(setting) if setting.default == Default::Required => Some(setting.name.to_string()),
        Wanted::Value(setting) => Some(format!("[{}]", setting.name)),
        Wanted::Clause(clause) if clause.required => Some(format!("{} …", clause.word)),
        Wanted::Clause(clause) => Some(format!("[{} …]", clause.word)),
        _ => None,
    }
}

/// What a setting takes, and what it is when it is left out.
pub fn takes(setting: &Setting) -> String {
    let kind = notation(&setting.kind).replace('`', "");
    match setting.default {
        Default::Fixed(literal) => format!("{kind}; default {literal}"),
        Default::Computed(from) => format!("{kind}; default: {from}"),
        Default::Required | Default::Absent => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assist::samples::known;

    fn told(text: &str) -> (String, String) {
        let hint = hint(text, &known()).unwrap_or_default();
        (hint.insert, hint.note)
    }

    fn note(text: &str) -> String {
        told(text).1
    }

    #[test]
    fn the_only_word_that_fits_is_offered_with_its_meaning() {
        assert_eq!(told("tune b { sched"), ("ule".into(), "how the learning rate moves".into()));
        assert_eq!(told("tune b { schedule = lin"), ("ear".into(), "a straight line down".into()));
        assert_eq!(note("tune b { lr"), "peak learning rate");
        assert_eq!(told("ste"), ("p".into(), "[run] [count]  takes optimizer steps".into()));
        assert_eq!(told("s"), <_ as std::default::Default>::default());
    }

    #[test]
    fn values_are_told_before_they_are_asked_for() {
        assert_eq!(note("peak"), "= 3e-4");
        assert_eq!(note("4 * 64"), "= 256");
        assert_eq!(note("let n = 4 * 64"), "= 256");
        assert_eq!(note("print peak * 2"), "= 6e-4");
        assert_eq!(note("tune b { method = lora { rank = 4 * 4"), "= 16");
        assert_eq!(note("4"), "");
        assert_eq!(note("4 *"), "");
    }

    #[test]
    fn costs_come_first() {
        assert_eq!(
            note("tune b { model = base; data = chat; batch = 4 x 2; epochs = 3"),
            "114 steps, about 45.6 s"
        );
        assert_eq!(note("step a 20"), "to step 32 of 38, about 8.00 s");
    }

    #[test]
    fn what_may_follow_is_told_after_a_blank() {
        assert_eq!(note("step "), "[run] [count]");
        assert_eq!(note("plot loss "), "[of …] [to …]");
        assert_eq!(note("tune "), "NAME { … }");
        assert_eq!(note("tune b { lr = "), "number from 0; default: 2e-4 for lora, 2e-5 otherwise");
        assert_eq!(note(""), "");
        assert_eq!(note("tune b {\n"), "");
    }
}
