//! `show [name]`: what is defined, and every setting with where it came from.

use crate::events::Event;
use crate::events::{Diagnostic, Out, Sources, Table};
use crate::language::schema::{Default, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::{Origin, Resolved, Settings, Value};
use crate::session::Session;
use crate::session::outline::Thing;
use crate::session::record::method_text;
use crate::session::training::time_left;
use crate::statements::{Action, Check, Checking, Statement};
use crate::units::{Bytes, counted, grouped};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "show",
    summary: "shows what is defined, or every setting of a name and where it came from",
    usage: "show [name]",
    details: "`show` lists all names. `show a` lists each setting of `a` with its origin: the default, a line of the \
              script, the command line. A live run also says where it is.",
    example: "show a",
    positional: &[Setting::new(
        "name",
        Kind::Name(&[NameKind::Run, NameKind::Model, NameKind::Data, NameKind::Variable]),
        "what to show",
    )
    .optional()
    .example("show a")],
    ..Form::VERB
};

struct Show(Option<String>);

impl Action for Show {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let tables = match &self.0 {
            None => vec![everything(session)],
            Some(name) => one(name, session, &out.sources),
        };
        tables.into_iter().for_each(|table| out.emit(Event::Table(table)));
        Ok(())
    }
}

fn everything(session: &Session) -> Table {
    let mut table = Table::new("", &["name", "is", "what"]);
    for (name, thing) in session.outline.things() {
        let what = match thing {
            Thing::Broken(_) => continue,
            Thing::Variable(value) => value.to_ltune(),
            Thing::Model(model) => model.describe(),
            Thing::Data(data) => data.describe(),
            Thing::Run(tune) => {
                let step = session.runs.get(name).map_or(0, |run| run.trainer.step_count());
                format!(
                    "{} on {} with {}, step {step}",
                    session
                        .runs
                        .get(name)
                        .map_or_else(|| method_text(&tune.recipe.method), |run| run.method_text()),
                    tune.data.name,
                    tune.model.name
                )
            }
        };
        let kind = match thing.kind() {
            NameKind::Run => "run",
            NameKind::Model => "model",
            NameKind::Data => "data",
            NameKind::Variable => "value",
        };
        table.row([name.clone(), kind.to_string(), what]);
    }
    table
}

fn one(name: &str, session: &Session, sources: &Sources) -> Vec<Table> {
    let (form, settings) = match session.outline.get(name) {
        Some(Thing::Model(model)) => (super::model::STATEMENT.form, &model.settings),
        Some(Thing::Data(data)) => (super::data::STATEMENT.form, &data.settings),
        Some(Thing::Run(tune)) => {
            let settings = session.runs.get(name).map_or(&tune.settings, |run| run.settings());
            (super::tune::STATEMENT.form, settings)
        }
        Some(Thing::Variable(value)) => {
            let mut table = Table::new("", &["name", "value"]);
            table.row([name.to_string(), value.to_ltune()]);
            return vec![table];
        }
        Some(Thing::Broken(_)) | None => return vec![],
    };
    let mut table = Table::new(name, &["setting", "value", "from"]);
    rows(form.settings, settings, "", sources, &mut table);
    let mut tables = vec![table];
    tables.extend(live(name, session));
    tables
}

/// One row a setting; those of a choice stand under it.
fn rows(schema: &'static [Setting], settings: &Settings, indent: &str, sources: &Sources, table: &mut Table) {
    for setting in schema {
        match settings.resolved(setting.name) {
            Some(Resolved { value: Value::Choice { word, settings: inner }, origin, .. }) => {
                table.row([format!("{indent}{}", setting.name), word.clone(), origin_text(*origin, sources)]);
                rows(inner_schema(setting.kind, word), inner, &format!("{indent}  "), sources, table);
            }
            Some(Resolved { value, origin, .. }) => {
                table.row([
                    format!("{indent}{}", setting.name),
                    value.to_ltune(),
                    origin_text(*origin, sources),
                ]);
            }
            None => {
                if let Default::Computed(from) = setting.default {
                    table.row([
                        format!("{indent}{}", setting.name),
                        from.to_string(),
                        "computed".to_string(),
                    ]);
                }
            }
        }
    }
}

fn inner_schema(kind: Kind, word: &str) -> &'static [Setting] {
    match kind {
        Kind::Choice(choices) => {
            choices.iter().find(|choice| choice.word == word).map_or(&[], |choice| choice.settings)
        }
        Kind::AnyOf(kinds) => {
            kinds.iter().map(|kind| inner_schema(*kind, word)).find(|found| !found.is_empty()).unwrap_or(&[])
        }
        _ => &[],
    }
}

fn origin_text(origin: Origin, sources: &Sources) -> String {
    match origin {
        Origin::Default => "default".to_string(),
        Origin::CommandLine => "--set".to_string(),
        Origin::Set { step } => format!("set at step {step}"),
        Origin::Script(span) => {
            format!("{}:{}", sources.get(span.source).name, sources.position(span).line)
        }
    }
}

/// Where a run is.
fn live(name: &str, session: &Session) -> Option<Table> {
    let run = session.runs.get(name)?;
    let (step, planned) = (run.trainer.step_count(), run.trainer.planned_steps());
    let mut table = Table::new("", &["state", ""]);
    let mut row = |what: &str, text: String| table.row([what.to_string(), text]);
    row("step", format!("{} of {}", grouped(step), grouped(planned)));
    row(
        "batch",
        format!(
            "{} x {} = {}, {} an epoch, warmup {}",
            run.trainer.recipe().batch.micro,
            run.trainer.recipe().batch.accumulate,
            counted(run.trainer.recipe().batch.rows() as u64, "sequence"),
            counted(run.trainer.steps_per_epoch(), "step"),
            counted(run.warmup_steps(), "step"),
        ),
    );
    if let Some(last) = run.record.steps.last() {
        row("loss", format!("{:.4}", last.loss));
        row("lr", format!("{:.3e}", last.lr));
    }
    if let Some(last) = run.record.evaluations.last() {
        row("eval", format!("{:.4} on {}", last.loss, last.data));
    }
    if let Some(left) = time_left(&run.record.steps, planned.saturating_sub(step)) {
        row("time left", left.to_string());
    }
    row("trained", format!("{} parameters", grouped(run.trainer.trainables().parameter_count())));
    row(
        "snapshots",
        format!(
            "{} held, {} of {}; one takes {}",
            run.held.places().len(),
            Bytes(run.held.bytes()),
            Bytes(run.held.budget()),
            Bytes(run.trainer.bytes())
        ),
    );
    if let Some(folder) = &run.folder {
        row("folder", folder.path.display().to_string());
    }
    Some(table)
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let name = settings.maybe_text("name").map(String::from);
    if let Some(name) = &name
        && checking.outline.run(name).is_some()
    {
        checking.outline.name_run(name);
    }
    Some(Box::new(Show(name)))
}
