//! `freeze run PART` and `unfreeze run PART`: what is trained from the next step on.

use crate::events::{Diagnostic, Out};
use crate::language::codes;
use crate::language::schema::{Choice, Form, Kind, Role, Setting};
use crate::language::scope::NameKind;
use crate::language::value::{Origin, Settings, Value, quoted};
use crate::session::Session;
use crate::statements::run::one_run;
use crate::statements::set::change;
use crate::statements::tune::recipe::merged;
use crate::statements::{Action, Check, Checking, Statement};
use crate::train::recipe::Recipe;

pub const FREEZE: Statement = Statement { form: &FREEZE_FORM, check: Check::Verb(freeze) };
pub const UNFREEZE: Statement = Statement { form: &UNFREEZE_FORM, check: Check::Verb(unfreeze) };

const POSITIONAL: &[Setting] = &[
    Setting::new("run", Kind::Name(&[NameKind::Run]), "the run").computed("the run last named"),
    Setting::new(
        "part",
        Kind::AnyOf(&[
            Kind::Choice(&[
                Choice::new("layers", "transformer blocks, by their numbers from 0"),
                Choice::new("embeddings", "the embedding of tokens"),
                Choice::new("head", "the output head"),
                Choice::new("norms", "all norms"),
                Choice::new("attention", "the attention of all blocks"),
                Choice::new("mlp", "the mlp of all blocks"),
                Choice::new("all", "everything"),
            ]),
            Kind::Text,
        ]),
        "a part of the model, or tensor names with `*`",
    ),
    Setting::new("range", Kind::Range, "which layers, both ends included").optional(),
];

const FREEZE_FORM: Form = Form {
    name: "freeze",
    summary: "stops training a part of the model from the next step on",
    usage: "freeze [run] layers 0..3 | embeddings | head | norms | attention | mlp | all | \"NAME\"",
    details: "What was trained so far stays as it is, with its moments, for when it is unfrozen. The last rule that \
              matches a tensor wins; with lora a rule means the adapters.",
    example: "freeze a layers 0..3",
    positional: POSITIONAL,
    role: Role::Trains,
    ..Form::VERB
};

const UNFREEZE_FORM: Form = Form {
    name: "unfreeze",
    summary: "trains a part of the model from the next step on",
    usage: "unfreeze [run] layers 0..3 | embeddings | head | norms | attention | mlp | all | \"NAME\"",
    details: "A tensor of the base is copied when it is unfrozen: the base is shared and never changes.",
    example: "unfreeze a norms",
    positional: POSITIONAL,
    role: Role::Trains,
    ..Form::VERB
};

struct Freeze {
    verb: &'static str,
    run: String,
    rule: String,
    tail: String,
}

impl Action for Freeze {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let run = session.run(&self.run, out)?;
        let (settings, recipe) = frozen(run.settings(), &self.rule, Some(run.lineage.step()));
        let result = run.amend(settings, recipe, self.verb, &self.tail, out);
        session.publish(&self.run);
        result
    }
}

/// The settings of a run with another rule of freezing after those it has.
pub fn frozen(current: &Settings, rule: &str, set_at: Option<u64>) -> (Settings, Recipe) {
    merged(current, &given(current, rule), set_at)
}

fn given(current: &Settings, rule: &str) -> Settings {
    let rules = current.words("freeze").into_iter().chain([rule.to_string()]);
    let mut given = Settings::new();
    given.insert("freeze", Value::List(rules.map(Value::Text).collect()), Origin::CommandLine);
    given
}

/// `layers 0..3`, or `not layers 0..3` to train them.
pub fn rule(verb: &str, settings: &Settings) -> String {
    let pattern = match (settings.get("part"), settings.get("range")) {
        (Some(Value::Choice { word, .. }), Some(range)) => format!("{word} {}", range.to_ltune()),
        (Some(Value::Choice { word, .. }), None) => word.clone(),
        _ => settings.text("part").to_string(),
    };
    if verb == "unfreeze" { format!("not {pattern}") } else { pattern }
}

fn freeze(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    check("freeze", &settings, checking)
}

fn unfreeze(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    check("unfreeze", &settings, checking)
}

fn check(verb: &'static str, settings: &Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let run = settings.word("run").to_string();
    one_run(&run, checking.place(settings, "run"), checking)?;
    checking.outline.name_run(&run);
    layers_have_numbers(verb, settings, checking)?;
    let rule = rule(verb, settings);
    if let Some((current, _)) = checking.outline.settings_of(&run) {
        change(&run, &given(&current, &rule), checking)?;
    }
    let tail = match (settings.get("part"), settings.get("range")) {
        (Some(Value::Text(name)), _) => quoted(name),
        (_, Some(range)) => format!("layers {}", range.to_ltune()),
        (_, None) => settings.word("part").to_string(),
    };
    Some(Box::new(Freeze { verb, run, rule, tail }))
}

fn layers_have_numbers(verb: &str, settings: &Settings, checking: &mut Checking) -> Option<()> {
    let layers = settings.maybe_choice("part").is_some_and(|(word, _)| word == "layers");
    let place = checking.place(settings, if layers { "part" } else { "range" });
    let diagnostic = match (layers, settings.get("range")) {
        (true, None) => {
            Diagnostic::error(codes::MISSING_SETTING, format!("`{verb} … layers` does not say which")).note(
                format!(
                    "write, for example, `{verb} a layers 0..3`; `attention`, `mlp` and `all` need no numbers"
                ),
            )
        }
        (false, Some(_)) => Diagnostic::error(codes::TOO_MANY_VALUES, "only `layers` takes numbers")
            .note(format!("write, for example, `{verb} a layers 0..3`")),
        _ => return Some(()),
    };
    checking.report(diagnostic.at(place));
    None
}
