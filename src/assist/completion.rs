//! What may be written where the cursor stands, each candidate with one line about it.

use crate::assist::known::{Known, Name};
use crate::assist::paths::{PathsOf, paths};
use crate::assist::place::{Place, Wanted, form, place};
use crate::data::peek::first_columns;
use crate::data::shape::MEANINGS;
use crate::events::SourceId;
use crate::files::samples;
use crate::language::check::parse_setting;
use crate::language::evaluate::FUNCTIONS;
use crate::language::schema::{Default, Form, FormKind, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::{Value, quoted};
use crate::statements;
use crate::units::Unit;
use serde::Serialize;
use std::ops::Range;
use std::path::Path;

/// The candidates for the piece of text in `range`, best first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Completion {
    pub range: Range<usize>,
    pub candidates: Vec<Candidate>,
}

/// One thing that may be written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// What takes the place of the range.
    pub text: String,
    pub kind: CandidateKind,
    /// One line; may be empty.
    pub summary: String,
    /// The peer's name for it that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CandidateKind {
    Statement,
    Setting,
    /// One of the words of a setting.
    Word,
    Model,
    Data,
    Run,
    /// A `let` name.
    Value,
    Unit,
    Function,
    /// A preposition.
    Clause,
    Column,
    File,
    Folder,
    /// A known sample.
    Sample,
    /// A step of a run.
    Step,
}

/// Asks what may stand at the cursor.
pub fn complete(text: &str, cursor: usize, known: &Known) -> Completion {
    let Some(place) = place(text, cursor) else {
        return Completion { range: cursor..cursor, candidates: vec![] };
    };
    let mut all: Vec<Candidate> = vec![];
    for candidate in place.wanted.iter().flat_map(|wanted| candidates(wanted, &place, known)) {
        if !all.iter().any(|earlier| earlier.text == candidate.text) {
            all.push(candidate);
        }
    }
    Completion { candidates: matching(all, place.written), range: place.range }
}

/// Those that begin with what is written; where none does, those that a peer calls so, or that hold it.
fn matching(all: Vec<Candidate>, written: &str) -> Vec<Candidate> {
    let lower = written.to_lowercase();
    let name = |candidate: &Candidate| candidate.text.trim_start_matches('"').to_lowercase();
    let begins = |candidate: &&Candidate| name(candidate).starts_with(&lower);
    let holds = |candidate: &&Candidate| lower.len() > 1 && name(candidate).contains(&lower);
    let is_peers = |candidate: &&Candidate| candidate.alias.is_some();
    let found = |fits: &dyn Fn(&&Candidate) -> bool| all.iter().filter(fits).cloned().collect::<Vec<_>>();
    [found(&begins), found(&is_peers), found(&holds)]
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

fn candidates(wanted: &Wanted, place: &Place, known: &Known) -> Vec<Candidate> {
    match wanted {
        _ if place.quoted => in_quotes(wanted, place),
        Wanted::Statement => statements::forms().into_iter().map(statement).chain(values(known)).collect(),
        Wanted::Setting(settings, given) => block_settings(settings, given, place.written),
        Wanted::Value(setting) => setting_values(setting, place, known),
        Wanted::Clause(clause) => {
            vec![candidate(clause.word, CandidateKind::Clause, clause.setting.summary)]
        }
        Wanted::Unit(setting) => units(&setting.kind),
        Wanted::Expression => values(known).chain(functions(&["one_of", "log"])).collect(),
        Wanted::Meaning => MEANINGS
            .iter()
            .map(|meaning| candidate(*meaning, CandidateKind::Setting, "what a column means"))
            .collect(),
        Wanted::Column | Wanted::Script => vec![],
    }
}

fn in_quotes(wanted: &Wanted, place: &Place) -> Vec<Candidate> {
    match wanted {
        Wanted::Script => paths(place.written, PathsOf::Scripts),
        Wanted::Column => columns(place),
        Wanted::Value(setting) if takes_path(&setting.kind) => paths(place.written, paths_of(place)),
        Wanted::Value(setting) if setting.name == "targets" => targets(),
        _ => vec![],
    }
}

/// The linears that may get an adapter.
fn targets() -> Vec<Candidate> {
    let names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
    names.into_iter().map(|name| candidate(name, CandidateKind::Word, "a linear of a block")).collect()
}

/// What paths are good for, by the statement they stand in.
fn paths_of(place: &Place) -> PathsOf {
    let setting = place.value.map_or("", |(setting, _)| setting.name);
    match (place.head.first().copied(), setting) {
        (Some("model"), "from") => PathsOf::Models,
        (Some("data"), "from") => PathsOf::Data,
        _ => PathsOf::Any,
    }
}

/// The columns of the file that the block names.
fn columns(place: &Place) -> Vec<Candidate> {
    let from =
        place.entries.iter().rev().find(|(name, _)| ["from", "path", "dataset", "data_files"].contains(name));
    let Some((_, from)) = from else { return vec![] };
    let from = from.trim_matches('"');
    let of_sample =
        samples::find(from).map(|sample| sample.columns.iter().map(|name| name.to_string()).collect());
    let columns: Vec<String> =
        of_sample.unwrap_or_else(|| first_columns(Path::new(from)).unwrap_or_default());
    columns
        .into_iter()
        .map(|column| candidate(column, CandidateKind::Column, format!("a column of {from}")))
        .collect()
}

fn candidate(text: impl Into<String>, kind: CandidateKind, summary: impl Into<String>) -> Candidate {
    Candidate { text: text.into(), kind, summary: summary.into(), alias: None }
}

fn statement(form: &'static Form) -> Candidate {
    candidate(form.name, CandidateKind::Statement, form.summary)
}

/// Settings that are not there yet. A peer's name is understood, and its own is offered.
fn block_settings(settings: &'static [Setting], given: &[String], written: &str) -> Vec<Candidate> {
    let open = settings.iter().filter(|setting| {
        let names = |name: &String| setting.name == name || setting.aliases.contains(&name.as_str());
        !given.iter().any(names)
    });
    let lower = written.to_lowercase();
    let is_peers = |name: &&&str| !lower.is_empty() && name.starts_with(&lower);
    open.map(|setting| {
        let translated = setting.translated.iter().map(|translated| &translated.name);
        let alias = setting.aliases.iter().chain(translated).find(is_peers).copied();
        let alias = alias.filter(|_| !setting.name.starts_with(&lower));
        let summary = match alias {
            Some(alias) => format!("{alias}: {}", setting.summary),
            None => setting.summary.to_string(),
        };
        Candidate { alias, ..candidate(setting.name, CandidateKind::Setting, summary) }
    })
    .collect()
}

fn setting_values(setting: &'static Setting, place: &Place, known: &Known) -> Vec<Candidate> {
    let mut found = kind_values(&setting.kind, setting, place, known);
    if setting.sweepable {
        found.extend(functions(&["one_of", "log"]));
    }
    found.extend(values(known).filter(|value| fits(setting, &value.text, known)));
    found
}

/// Whether a `let` name can stand for a setting.
fn fits(setting: &'static Setting, name: &str, known: &Known) -> bool {
    let form = Form { settings: std::slice::from_ref(setting), ..Form::NOUN };
    parse_setting(&form, setting.name, name, SourceId(0), known).is_ok_and(|(_, value)| {
        // A text without quotes is taken as it stands: then it is not the name that fits.
        value != Value::Text(name.to_string()) && value != Value::Word(name.to_string())
    })
}

fn kind_values(kind: &Kind, setting: &Setting, place: &Place, known: &Known) -> Vec<Candidate> {
    match kind {
        Kind::Choice(choices) => choices
            .iter()
            .map(|choice| candidate(word(choice.word), CandidateKind::Word, choice.summary))
            .collect(),
        Kind::Bool => ["on", "off"]
            .into_iter()
            .map(|word| candidate(word, CandidateKind::Word, by_default(word, setting)))
            .collect(),
        Kind::None => vec![candidate("none", CandidateKind::Word, by_default("none", setting))],
        Kind::Name(kinds) => {
            known.names.iter().filter(|name| kinds.contains(&name.kind)).map(named).collect()
        }
        Kind::Part => parts(known),
        Kind::Path => {
            let paths = paths(place.written, paths_of(place));
            paths.into_iter().map(|path| Candidate { text: quoted(&path.text), ..path }).collect()
        }
        Kind::List { of, .. } => kind_values(of, setting, place, known),
        Kind::AnyOf(kinds) => {
            kinds.iter().flat_map(|kind| kind_values(kind, setting, place, known)).collect()
        }
        Kind::Topic => topics(place.written),
        Kind::Condition(metrics) => metrics
            .iter()
            .map(|metric| candidate(*metric, CandidateKind::Word, "a metric of the run"))
            .collect(),
        Kind::Prompt => functions(&["system", "user", "assistant"]).collect(),
        Kind::Integer { unit: Some(Unit::Steps), .. } if is_a_place(setting) => steps(place, known),
        Kind::Any => functions(&["one_of", "log"]).collect(),
        _ => vec![],
    }
}

/// A step to go to, in contrast to a number of steps to take.
fn is_a_place(setting: &Setting) -> bool {
    ["step", "at"].contains(&setting.name)
}

/// The steps of the run that can be gone to at once.
fn steps(place: &Place, known: &Known) -> Vec<Candidate> {
    let named = place.head.iter().find_map(|word| known.get(word)?.progress.as_ref());
    let last = || known.get(known.last_run.as_deref()?)?.progress.as_ref();
    let Some(progress) = named.or_else(last) else { return vec![] };
    let saved =
        progress.saved.iter().map(|step| candidate(step.to_string(), CandidateKind::Step, "a checkpoint"));
    saved.collect()
}

/// A word as it can stand in a script: one with signs in it stands in quotes.
fn word(word: &str) -> String {
    let is_plain = word.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    if is_plain { word.to_string() } else { quoted(word) }
}

fn by_default(word: &str, setting: &Setting) -> &'static str {
    match setting.default {
        Default::Fixed(literal) if literal == word => "the default",
        _ => "",
    }
}

fn takes_path(kind: &Kind) -> bool {
    match kind {
        Kind::Path => true,
        Kind::AnyOf(kinds) => kinds.iter().any(takes_path),
        Kind::List { of, .. } => takes_path(of),
        _ => false,
    }
}

fn named(name: &Name) -> Candidate {
    let kind = match name.kind {
        NameKind::Model => CandidateKind::Model,
        NameKind::Data => CandidateKind::Data,
        NameKind::Run => CandidateKind::Run,
        NameKind::Variable | NameKind::Schedule | NameKind::Metric | NameKind::Transform => {
            CandidateKind::Value
        }
    };
    let summary = match &name.progress {
        Some(progress) => format!("{}, step {} of {}", name.summary, progress.step, progress.planned),
        None => name.summary.clone(),
    };
    candidate(name.name.clone(), kind, summary)
}

/// Data sets and their parts.
fn parts(known: &Known) -> Vec<Candidate> {
    let data = known.names.iter().filter(|name| name.kind == NameKind::Data);
    data.flat_map(|name| {
        let parts = name.parts.iter().filter(|_| name.parts.len() > 1);
        let parts = parts.map(|part| {
            candidate(format!("{}.{part}", name.name), CandidateKind::Data, format!("the part `{part}`"))
        });
        std::iter::once(named(name)).chain(parts).collect::<Vec<_>>()
    })
    .collect()
}

fn values(known: &Known) -> impl Iterator<Item = Candidate> + '_ {
    let is_numbered = |name: &str| name.strip_prefix('_').is_some_and(|rest| rest.parse::<u64>().is_ok());
    let variables = known.names.iter().filter(|name| name.kind == NameKind::Variable);
    variables.filter(move |name| !is_numbered(&name.name)).map(named)
}

fn functions<'a>(names: &'a [&'a str]) -> impl Iterator<Item = Candidate> + 'a {
    let wanted = FUNCTIONS.iter().filter(|(name, _)| names.contains(name));
    wanted.map(|(name, usage)| candidate(format!("{name}("), CandidateKind::Function, *usage))
}

fn units(kind: &Kind) -> Vec<Candidate> {
    let unit = |unit: &Unit| candidate(unit.name(), CandidateKind::Unit, "");
    match kind {
        Kind::Integer { unit: Some(own), .. } => vec![unit(own)],
        Kind::Measure { units, .. } => units.iter().map(unit).collect(),
        Kind::AnyOf(kinds) => kinds.iter().flat_map(units).collect(),
        _ => vec![],
    }
}

/// What `help` explains: statements, and the settings of the one that is named.
fn topics(written: &str) -> Vec<Candidate> {
    let Some((owner, _)) = written.split_once('.') else {
        return statements::forms().into_iter().map(statement).collect();
    };
    let settings =
        form(owner).map_or(&[][..], |form| if form.kind == FormKind::Noun { form.settings } else { &[] });
    settings
        .iter()
        .map(|setting| {
            candidate(format!("{owner}.{}", setting.name), CandidateKind::Setting, setting.summary)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assist::samples::known;

    fn texts(text: &str) -> Vec<String> {
        complete(text, text.len(), &known()).candidates.into_iter().map(|found| found.text).collect()
    }

    #[test]
    fn statements_are_completed_with_what_they_do() {
        let found = complete("st", 2, &known());
        assert_eq!((found.range, found.candidates[0].text.as_str()), (0..2, "step"));
        assert_eq!(found.candidates[0].summary, "takes optimizer steps");
        assert!(texts("").len() > 10);
    }

    #[test]
    fn settings_that_stand_there_already_are_not_offered() {
        assert_eq!(texts("tune b { l"), ["lr"]);
        assert!(!texts("tune b { lr = 1e-4; ").contains(&"lr".to_string()));
        assert!(!texts("tune b { learning_rate = 1e-4; ").contains(&"lr".to_string()));
        assert_eq!(texts("tune b { method = lora { r"), ["rank", "rank_stabilized"]);
    }

    #[test]
    fn a_peers_name_leads_to_our_own() {
        let found = complete("tune b { lora_r", 15, &known()).candidates;
        assert!(found.is_empty(), "a setting of the method is not one of the tune: {found:?}");
        let found = complete("tune b { learning_r", 19, &known()).candidates;
        assert_eq!((found.len(), found[0].text.as_str()), (1, "lr"));
        assert!(found[0].summary.starts_with("learning_rate: "), "{}", found[0].summary);
    }

    #[test]
    fn values_names_parts_and_units_are_completed() {
        assert_eq!(texts("tune b { method = "), ["lora", "full", "last_layers"]);
        assert_eq!(texts("tune b { model = "), ["base"]);
        assert_eq!(texts("tune b { schedule = cos"), ["cosine", "cosine_restarts"]);
        assert_eq!(texts("tune b { lr = o"), ["one_of("]);
        assert_eq!(texts("tune b { lr = pe"), ["peak"]);
        assert_eq!(texts("tune b { schedule = cosine { warmup = 3 "), ["steps", "epochs", "%"]);
        assert_eq!(texts("eval a on chat."), ["chat.train", "chat.validation"]);
        assert_eq!(texts("plot loss of "), ["a"]);
        assert_eq!(texts("model m { init = random { preset = smol"), ["\"smollm2-135m\""]);
        assert_eq!(texts("help tune.l"), ["tune.lr"]);
    }

    #[test]
    fn files_samples_and_columns_are_completed_in_quotes() {
        assert_eq!(texts("model m { from = \"smol"), ["smollm2-135m"]);
        assert_eq!(texts("data d { from = acl"), ["\"aclsum\""]);
        assert_eq!(texts("data d { from = \"reuters-r8\"; columns = { text = \""), ["text", "label"]);
        assert!(texts("data d { columns = { pro").contains(&"prompt".to_string()));
    }

    #[test]
    fn what_only_holds_the_letters_is_offered_when_nothing_begins_with_them() {
        assert_eq!(texts("tune b { stopp"), ["early_stopping"]);
        assert_eq!(texts("tune b { zzz"), [""; 0]);
    }

    #[test]
    fn every_summary_is_one_line() {
        for text in ["", "tune b { ", "data d { ", "model m { ", "generate a { ", "plot "] {
            for found in complete(text, text.len(), &known()).candidates {
                assert!(!found.summary.contains('\n'), "{}", found.text);
            }
        }
    }
}
