//! `show [name]`: what is defined, and every setting with where it came from; `show batch`, `show rows` and
//! `show lengths`: what the model is given.

mod batch;
mod lengths;
mod lens;
mod rows;

use crate::events::Event;
use crate::events::{Diagnostic, Out, Sources, Table};
use crate::language::codes;
use crate::language::schema::{Choice, Clause, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::{Settings, Value};
use crate::session::Session;
use crate::session::load::weights_text;
use crate::session::outline::Thing;
use crate::session::record::method_text;
use crate::session::training::time_left;
use crate::statements::settings::settings_table;
use crate::statements::{Action, Check, Checking, Statement};
use crate::units::{Bytes, Unit, counted, grouped};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "show",
    summary: "shows what is defined, the settings of a name, or what the model is given",
    usage: "show [batch | rows | lengths] [name] [which] [for model] [to \"lengths.svg\"] [{ max = 8 rows; full = on }]",
    details: "`show` lists all names. `show a` lists each setting of `a` with its origin: the default, a line of the \
              script, the command line. A live run also says where it is.\n\n\
              `show batch a 31` shows the tokens of step 31 of run `a`: those that are supervised, where examples begin, and \
              padding; without a number those of its next step. `show batch chat 0` shows the first micro-batch of \
              an epoch on `chat`, counted from 0. `show rows chat.test 0..4` shows rows as they were read, counted from 0. \
              `show lengths chat` shows how long they are, and what batches of them waste.\n\n\
              Data has no tokenizer of its own: it is seen as the run that uses it sees it, else with the model last \
              defined; `for` names another run or model.",
    example: "show a\nshow batch chat 0",
    positional: &[
        Setting::new(
            "what",
            Kind::AnyOf(&[
                Kind::Choice(VIEWS),
                Kind::Name(&[NameKind::Run, NameKind::Model, NameKind::Data, NameKind::Variable]),
            ]),
            "a name, for its settings; or what to see of a run or of data",
        )
        .optional()
        .example("show a"),
        Setting::new(
            "name",
            Kind::AnyOf(&[Kind::Name(&[NameKind::Run, NameKind::Data]), Kind::Part]),
            "a run, data or a part of it; left out, the run last named, else the data last defined",
        )
        .optional()
        .example("show rows chat.test"),
        Setting::new(
            "which",
            Kind::list(&Kind::Range),
            "steps of a run, counted from 1; micro-batches or rows of data, counted from 0",
        )
        .computed("a run's next step; the first micro-batch; the first rows")
        .example("show rows chat 0..4"),
    ],
    clauses: &[
        Clause::new(
            "for",
            Setting::new(
                "for",
                Kind::Name(&[NameKind::Run, NameKind::Model]),
                "whose tokenizer and batches data is seen with; left out, the run that uses it, else the model last defined",
            )
            .optional()
            .example("for base"),
        ),
        Clause::new(
            "to",
            Setting::new("to", Kind::Path, "an .svg or .png file for the picture of lengths")
                .optional()
                .example("to \"lengths.svg\""),
        ),
    ],
    settings: &[
        Setting::new(
            "max",
            Kind::Integer { min: 1, max: 1 << 32, unit: Some(Unit::Rows) },
            "rows shown at most",
        )
        .computed("8, or all rows that `which` names")
        .example("max = 8 rows"),
        Setting::new("full", Kind::Bool, "shows long texts and stretches of tokens whole")
            .or("off")
            .example("full = on"),
    ],
    ..Form::VERB
};

const VIEWS: &[Choice] = &[
    Choice::new("batch", "the tokens of a micro-batch: what is supervised, where examples begin, padding"),
    Choice::new("rows", "rows as they were read: place, texts, counts of tokens"),
    Choice::new("lengths", "how long the rows are, and what batches of them waste"),
];

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
            Thing::Own(_) if session.outline.block(name).is_some() => "of a `rust` block".to_string(),
            Thing::Own(_) => "added by the Rust program".to_string(),
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
            NameKind::Schedule => "schedule",
            NameKind::Metric => "metric",
            NameKind::Transform => "transform",
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
        Some(Thing::Own(_) | Thing::Broken(_)) | None => return vec![],
    };
    let mut tables = vec![settings_table(name, form, settings, sources)];
    tables.extend(live(name, session).or_else(|| weights(name, session)));
    tables
}

/// What a model takes.
fn weights(name: &str, session: &Session) -> Option<Table> {
    let model = session.outline.model(name)?;
    let mut table = Table::new("", &["weights", ""]);
    let is_loaded = if session.loaded(&model).is_some() { "loaded" } else { "not loaded yet" };
    table.row(["memory".into(), format!("{}, {is_loaded}", weights_text(&model)?)]);
    Some(table)
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
    if let tch::Device::Cuda(index) = run.trainer.base().device
        && let Ok(memory) = crate::torch::cuda::memory(index)
    {
        let [now, most, held] = [memory.allocated, memory.most_allocated, memory.reserved].map(Bytes);
        row("memory", format!("{now} in tensors of cuda:{index}, {most} at the most; {held} held"));
    }
    if let Some(folder) = &run.folder {
        row("folder", folder.path.display().to_string());
    }
    Some(table)
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let is_bare = ["name", "which", "for", "to", "max"].iter().all(|part| !settings.is_given(part));
    let word = settings.maybe_word("what");
    match (settings.get("what"), word) {
        // A thing may be called as a view is; the word alone then means the thing.
        (Some(Value::Choice { .. }), Some(word)) if !is_bare || checking.outline.get(word).is_none() => {
            view(word, &settings, checking)
        }
        // Only rows have parts: `show chat.test`.
        (None, _) if settings.maybe_part("name").is_some() => view("rows", &settings, checking),
        (_, name) => settings_of(name.map(String::from), &settings, checking),
    }
}

fn view(word: &str, settings: &Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    match word {
        "batch" => batch::check(settings, checking),
        "rows" => rows::check(settings, checking),
        _ => lengths::check(settings, checking),
    }
}

fn settings_of(
    name: Option<String>,
    settings: &Settings,
    checking: &mut Checking,
) -> Option<Box<dyn Action>> {
    let (view, of) =
        (if settings.is_given("to") { "lengths" } else { "rows" }, name.as_deref().unwrap_or("NAME"));
    let is_run = checking.outline.run(of).is_some();
    let instead = if view == "rows" && is_run && settings.is_given("which") { "batch" } else { view };
    let what = name.as_ref().map_or("show".to_string(), |name| format!("show {name}"));
    let parts = ["name", "which", "for", "to", "max", "full"];
    if !without_effect(&parts, &what, &format!("show {instead} {of}"), settings, checking) {
        return None;
    }
    if let Some(name) = &name
        && is_run
    {
        checking.outline.name_run(name);
    }
    Some(Box::new(Show(name)))
}

/// Refuses parts of the statement that do nothing in this view; whether there were none.
fn without_effect(
    parts: &[&str],
    what: &str,
    instead: &str,
    settings: &Settings,
    checking: &mut Checking,
) -> bool {
    let Some(part) = parts.iter().find(|part| settings.is_given(part)) else { return true };
    let found = match *part {
        "which" => "a number".to_string(),
        "name" => "a second name".to_string(),
        part => format!("`{part}`"),
    };
    let place = checking.place(settings, part);
    checking.report(
        Diagnostic::error(codes::NO_EFFECT, format!("{found} has no effect on `{what}`"))
            .at(place)
            .note(format!("`{instead}` takes it; `help show` says more")),
    );
    false
}
