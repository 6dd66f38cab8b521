//! `show [name]`: what is defined, and every setting with where it came from.

use crate::events::Event;
use crate::events::{Diagnostic, Out, Sources, Table};
use crate::language::schema::{Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::session::Session;
use crate::session::outline::Thing;
use crate::session::record::method_text;
use crate::session::run::time_left;
use crate::statements::settings::settings_table;
use crate::statements::{Action, Check, Checking, Statement};
use crate::units::{counted, grouped};

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
                    method_text(&tune.recipe.method),
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
        Some(Thing::Run(tune)) => (super::tune::STATEMENT.form, &tune.settings),
        Some(Thing::Variable(value)) => {
            let mut table = Table::new("", &["name", "value"]);
            table.row([name.to_string(), value.to_ltune()]);
            return vec![table];
        }
        Some(Thing::Broken(_)) | None => return vec![],
    };
    let mut tables = vec![settings_table(name, form, settings, sources)];
    tables.extend(live(name, session));
    tables
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
    row("trained", format!("{} parameters", grouped(run.trainer.trainables().trained_count())));
    row("a snapshot", crate::units::Bytes(run.trainer.bytes()).to_string());
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
