//! `run [run] [until …]`: trains to the planned end, or until something is so; `run "p.json"`: exactly a plan.

use crate::events::{Diagnostic, Out, Span};
use crate::language::codes;
use crate::language::schema::{Bounds, Clause, Form, Kind, Role, Setting};
use crate::language::scope::{NameKind, Scope};
use crate::language::value::{Settings, Value};
use crate::session::Session;
use crate::session::folder::RunFolder;
use crate::session::plan_file::PlanFile;
use crate::session::training::Goal;
use crate::statements::{Action, Check, Checking, Statement};
use crate::units::{Unit, counted};
use std::path::PathBuf;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

/// What a run can go on until.
const METRICS: &[&str] = &["loss", "lr", "grad_norm", "eval.loss", "eval.perplexity", "eval.token_accuracy"];

const FORM: Form = Form {
    name: "run",
    summary: "trains to the planned end, or until something is so",
    usage: "run [run | \"plan.json\"] [until epoch N | until METRIC < NUMBER]",
    details: "At the end it writes a checkpoint and `loss.svg` into the run's folder. `eval.loss` is the validation loss \
              that `eval_every` measures. `run \"p.json\"` runs what `plan a to \"p.json\"` wrote: it defines the model, \
              the data and the fine-tune of the plan, and refuses if weights, tokenizer, data or settings are others now.",
    example: "run a",
    positional: &[Setting::new(
        "run",
        Kind::AnyOf(&[Kind::Name(&[NameKind::Run]), Kind::Path]),
        "the run, or a plan to run as it stands there",
    )
    .computed("the run last named")
    .example("run \"p.json\"")],
    clauses: &[Clause::new(
        "until",
        Setting::new(
            "until",
            Kind::AnyOf(&[
                Kind::Condition(METRICS),
                Kind::Measure { units: &[Unit::Epochs], bare: Some(Unit::Epochs), bounds: Bounds::POSITIVE },
            ]),
            "an epoch, or a condition on a metric",
        )
        .computed("the planned end")
        .example("until eval.loss < 1.8"),
    )],
    settings: &[
        Setting::new("resume", Kind::Bool, "goes on from the last checkpoint in the run's folder").or("off")
    ],
    role: Role::Trains,
    ..Form::VERB
};

struct Train {
    run: String,
    goal: Goal,
    resume: bool,
    plan: Option<PathBuf>,
}

impl Action for Train {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        if let Some(path) = &self.plan {
            PlanFile::read(path)?.must_hold(path, session, out)?;
        }
        if self.resume {
            session.resume(&self.run, &RunFolder::path_of(&self.run), out)?;
        }
        if session.train(&self.run, &self.goal, out)? {
            session.run(&self.run, out)?.finish(out)?;
        }
        Ok(())
    }
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let plan = plan_file(&settings);
    let run = match &plan {
        None => trainable(&settings, checking)?,
        Some(_) => planned(&settings, checking)?,
    };
    let goal = match settings.maybe("until") {
        None => Goal::PlannedEnd,
        Some(Value::Measure { number, .. }) => Goal::Epoch(*number),
        Some(Value::Condition { metric, comparison, number }) => {
            let evaluates = checking.outline.run(&run).is_some_and(|tune| tune.recipe.eval_every.is_some());
            if metric.starts_with("eval.") && !evaluates {
                let place = checking.place(&settings, "until");
                checking.report(
                    Diagnostic::error(
                        codes::NO_EFFECT,
                        format!("`{metric}` is never measured on run `{run}`"),
                    )
                    .at(place)
                    .note(format!("write, for example, `eval_every = 50 steps` in `tune {run}`")),
                );
                return None;
            }
            Goal::Metric { name: metric.clone(), comparison: *comparison, number: *number }
        }
        Some(other) => unreachable!("the schema promises a stretch or a condition, found {other:?}"),
    };
    Some(Box::new(Train { run, goal, resume: settings.flag("resume"), plan }))
}

fn plan_file(settings: &Settings) -> Option<PathBuf> {
    match settings.get("run") {
        Some(Value::Text(path)) => Some(PathBuf::from(path)),
        _ => None,
    }
}

/// The run of a plan, which is the one last named: what the plan describes was defined before this is checked.
fn planned(settings: &Settings, checking: &mut Checking) -> Option<String> {
    if settings.is_given("until") {
        checking.report(
            Diagnostic::error(codes::CONTRADICTION, "both a plan and `until` are given")
                .label(checking.place(settings, "until"), "this")
                .label(checking.place(settings, "run"), "the plan")
                .note("leave `until` out: a plan says how far it goes"),
        );
        return None;
    }
    let name = checking.outline.last_run()?;
    checking.outline.start(&name);
    checking.outline.write(RunFolder::path_of(&name));
    Some(name)
}

/// The run that a training verb names: one that can be trained, which will have steps from here on.
pub fn trainable(settings: &Settings, checking: &mut Checking) -> Option<String> {
    let name = settings.word("run").to_string();
    one_run(&name, checking.place(settings, "run"), checking)?;
    checking.outline.start(&name);
    checking.outline.write(RunFolder::path_of(&name));
    Some(name)
}

/// Refuses a family where one run is needed.
pub fn one_run(name: &str, place: Span, checking: &mut Checking) -> Option<()> {
    let tune = checking.outline.run(name)?;
    let Some(family) = &tune.family else { return Some(()) };
    let members = counted(family.members.len() as u64, "member");
    checking.report(
        Diagnostic::error(codes::FAMILY, format!("`{name}` is a family of {members}, not one run"))
            .at(place)
            .note(format!("`plan {name}` lists them; give one value for each setting to train")),
    );
    None
}
