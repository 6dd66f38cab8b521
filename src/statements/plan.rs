//! `plan [run]`: what a fine-tune will do and take, before any of it is done.

use crate::data::dataset::Counts;
use crate::events::{Diagnostic, Event, Out, Severity, Table};
use crate::language::schema::{Choice, Clause, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::{Settings, measure_text};
use crate::session::definitions::{Family, TuneDefinition};
use crate::session::folder::RunFolder;
use crate::session::forecast::Forecast;
use crate::session::plan_file::PlanFile;
use crate::session::record::method_text;
use crate::session::run::as_decided;
use crate::session::{Session, fit};
use crate::statements::run::one_run;
use crate::statements::settings::settings_table;
use crate::statements::{Action, Check, Checking, Statement};
use crate::train::duration::Duration;
use crate::train::plan::Plan;
use crate::train::probe::Freshness;
use crate::train::recipe::Recipe;
use crate::units::{Bytes, Seconds, Unit, counted, grouped};
use serde_json::json;
use std::path::PathBuf;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "plan",
    summary: "says what a fine-tune will do and take, before any of it is done",
    usage: "plan [run] [to \"p.json\"]",
    details: "Tokenizes the data but loads no weights: every setting with its origin, rows, tokens, padding, steps, \
              warmup, what is trained, memory by component at its peak, time, and the files to be written. Memory is \
              that of a step acted out without numbers. Time comes from a probe of this machine, two or three seconds \
              with a few blocks of the model's shape, which is kept for the next plan. If there is no room for the run, \
              the smallest edits that make it fit are named. `to \"p.json\"` writes the plan with the whole experiment, and \
              `run \"p.json\"` runs exactly that. A `tune` with sweeps lists its members.",
    example: "plan a",
    positional: &[Setting::new("run", Kind::Name(&[NameKind::Run]), "the run").computed("the run last named")],
    clauses: &[Clause::new(
        "to",
        Setting::new("to", Kind::Path, "a file for the plan, which `run` takes")
            .optional()
            .example("to \"p.json\""),
    )],
    settings: &[Setting::new(
        "probe",
        Kind::Choice(&[
            Choice::new("kept", "measures the machine once for each shape of model and batch"),
            Choice::new("fresh", "measures it now"),
            Choice::new("off", "says no times"),
        ]),
        "where times come from",
    )
    .or("kept")
    .example("probe = fresh")],
    ..Form::VERB
};

struct Show {
    run: String,
    to: Option<PathBuf>,
    /// None to say no times.
    probe: Option<Freshness>,
}

impl Action for Show {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let tune = session.tune(&self.run)?;
        if let Some(family) = &tune.family {
            let table = self.members(session, &tune, family, out)?;
            out.emit(Event::Table(table));
            return Ok(());
        }
        let forecast = session.forecast(&tune, out)?;
        session.data_rules(&tune, &forecast.dataset, out)?;
        let duration = self.duration(session, &forecast, &forecast.recipe)?;
        let settings = as_decided(tune.settings.clone(), &forecast.recipe);
        let form = super::tune::STATEMENT.form;
        out.emit(Event::Table(settings_table(&tune.name, form, &settings, &out.sources)));
        out.emit(Event::Table(table(&tune, &forecast)));
        out.emit(Event::Table(memory(&forecast.plan)));
        out.text(room_text(&forecast));
        out.text(time_text(&forecast.plan, &tune.recipe, duration.as_ref()));
        if let Some(complaint) = fit::complaint(&tune, &forecast) {
            out.diagnostic(Diagnostic { severity: Severity::Warning, ..complaint });
        }
        match &self.to {
            Some(path) => self.write(path.clone(), session, &tune, &forecast, duration.as_ref(), out),
            None => Ok(()),
        }
    }
}

impl Show {
    fn duration(
        &self,
        session: &mut Session,
        forecast: &Forecast,
        recipe: &Recipe,
    ) -> Result<Option<Duration>, Diagnostic> {
        let Some(freshness) = self.probe else { return Ok(None) };
        session.duration(forecast, recipe, freshness)
    }

    /// A row a member: what is its own, steps, peak, time.
    fn members(
        &self,
        session: &mut Session,
        tune: &TuneDefinition,
        family: &Family,
        out: &mut Out,
    ) -> Result<Table, Diagnostic> {
        let title = format!("{}: {}", tune.name, counted(family.members.len() as u64, "member"));
        let mut table = Table::new(title, &[">member", "settings", ">steps", ">memory", ">time"]);
        for (index, member) in family.members.iter().enumerate() {
            let one = TuneDefinition { recipe: member.recipe.clone(), family: None, ..tune.clone() };
            let forecast = session.forecast(&one, out)?;
            // Measuring one member takes seconds; members that differ in numbers alone share a measurement.
            let duration = if index < MEMBERS_TIMED {
                self.duration(session, &forecast, &forecast.recipe)?
            } else {
                None
            };
            table.row([
                (index + 1).to_string(),
                member.text.clone(),
                grouped(forecast.plan.steps),
                Bytes(forecast.plan.peak_bytes()).to_string(),
                duration.map_or("-".to_string(), |duration| Seconds(duration.steps).to_string()),
            ]);
        }
        Ok(table)
    }

    fn write(
        &self,
        path: PathBuf,
        session: &mut Session,
        tune: &TuneDefinition,
        forecast: &Forecast,
        duration: Option<&Duration>,
        out: &mut Out,
    ) -> Result<(), Diagnostic> {
        let planned = planned_json(&forecast.plan, &forecast.recipe, duration);
        let steps = forecast.plan.steps;
        PlanFile::new(session, tune, &forecast.dataset, steps, planned, out)?.write(&path)?;
        let path = path.display().to_string();
        let note = format!("`run \"{path}\"` runs it");
        out.emit(Event::Saved { name: format!("the plan of {}", tune.name), path, note });
        Ok(())
    }
}

/// So many members of a family are timed.
const MEMBERS_TIMED: usize = 16;

fn table(tune: &TuneDefinition, forecast: &Forecast) -> Table {
    let (recipe, plan) = (&forecast.recipe, &forecast.plan);
    let mut table = Table::new(format!("plan of {}", tune.name), &["what", "how much"]);
    let mut row = |what: &str, text: String| table.row([what.to_string(), text]);
    row("method", method_text(&recipe.method));
    row(
        "trains",
        format!(
            "{} of {} parameters ({:.2} %)",
            grouped(plan.trainable),
            grouped(plan.all_parameters()),
            100.0 * plan.trainable_share()
        ),
    );
    row("rows", format!("{} in {}", counted(plan.examples, "example"), counted(plan.rows, "sequence")));
    row("cut", cut_text(&forecast.dataset.counts));
    row(
        "tokens",
        format!(
            "{} an epoch, {} supervised, {:.1} % padding beside them",
            grouped(plan.tokens),
            grouped(plan.supervised),
            100.0 * plan.padding_waste()
        ),
    );
    row(
        "batch",
        format!(
            "{} x {} = {}, the longest {}",
            recipe.batch.micro,
            recipe.batch.accumulate,
            counted(plan.rows_per_step, "sequence"),
            counted(plan.longest, "token")
        ),
    );
    row(
        "steps",
        format!(
            "{} an epoch, {} planned ({}), warmup {}",
            grouped(plan.steps_per_epoch),
            grouped(plan.steps),
            measure_text((plan.epochs * 1000.0).round() / 1000.0, Unit::Epochs),
            grouped(plan.warmup_steps)
        ),
    );
    if plan.recomputed > 0 {
        let blocks = counted(plan.recomputed, "block");
        row("activations", format!("computed twice in {blocks}, which keep nothing but what goes into them"));
    }
    row(
        "arithmetic",
        format!("{} a step, {} in all", operations(plan.flops_per_step()), operations(plan.flops())),
    );
    row("files", files_text(&tune.name, plan, recipe));
    table
}

/// What `max_len` took off.
fn cut_text(counts: &Counts) -> String {
    if counts.cut + counts.dropped_long == 0 {
        return "no example is longer than `max_len`".to_string();
    }
    let share = 100.0 * counts.cut as f64 / counts.examples.max(1) as f64;
    let mut text = format!(
        "{} ({share:.1} %) to `max_len`, {} left off",
        counted(counts.cut, "example"),
        counted(counts.cut_tokens, "token")
    );
    if counts.dropped_long > 0 {
        text += &format!("; {} dropped", counted(counts.dropped_long, "longer one"));
    }
    text
}

/// What `run` writes into the run's folder.
fn files_text(run: &str, plan: &Plan, recipe: &Recipe) -> String {
    let size = Bytes(plan.checkpoint_bytes());
    let checkpoints = match plan.checkpoints(recipe) {
        Some(1) => format!("a checkpoint of {size}"),
        Some(count) => {
            format!("{} of {size} = {}", counted(count, "checkpoint"), Bytes(count * plan.checkpoint_bytes()))
        }
        None => format!("checkpoints of {size} by the clock"),
    };
    let best = if recipe.keep_best { ", the best" } else { "" };
    format!("{}: {checkpoints}{best}, metrics, experiment, loss.svg", RunFolder::path_of(run).display())
}

/// `1.24 TFLOP`
fn operations(count: f64) -> String {
    let units = ["", "k", "M", "G", "T", "P", "E"];
    let thousands = (count.max(1.0).log10() / 3.0).floor().min(6.0);
    format!("{:.2} {}FLOP", count / 1e3f64.powf(thousands), units[thousands as usize])
}

fn memory(plan: &Plan) -> Table {
    let mut table = Table::new("memory at its peak", &["component", ">bytes"]);
    for component in plan.memory.iter().filter(|component| component.bytes > 0) {
        table.row([component.name.to_string(), Bytes(component.bytes).to_string()]);
    }
    table.row(["together".to_string(), Bytes(plan.peak_bytes()).to_string()]);
    table
}

fn room_text(forecast: &Forecast) -> String {
    match forecast.room {
        Some(room) => format!("room: {} of memory", Bytes(room)),
        None => format!("room: not known on {}", crate::torch::device::name(forecast.device())),
    }
}

fn time_text(plan: &Plan, recipe: &Recipe, duration: Option<&Duration>) -> String {
    let Some(duration) = duration else { return "time: not probed".to_string() };
    let mut text = format!(
        "time: {} a step, {} for {}",
        Seconds(duration.step),
        Seconds(duration.steps),
        counted(plan.steps, "step")
    );
    match plan.evaluations(recipe) {
        Some(0) => {}
        Some(count) => {
            text += &format!(", and {} of {}", counted(count, "evaluation"), Seconds(duration.evaluation));
        }
        None => text += &format!(", and evaluations of {}", Seconds(duration.evaluation)),
    }
    match duration.probed.age() {
        Some(age) => format!("{text}; this machine was probed {} ago", Seconds(age)),
        None => format!("{text}; this machine was probed now"),
    }
}

/// The plan for programs: numbers in bytes, seconds and operations.
fn planned_json(plan: &Plan, recipe: &Recipe, duration: Option<&Duration>) -> serde_json::Value {
    let memory: serde_json::Map<String, serde_json::Value> =
        plan.memory.iter().map(|part| (part.name.replace(' ', "_"), json!(part.bytes))).collect();
    json!({
        "parameters": plan.parameters,
        "adapters": plan.adapters,
        "trainable": plan.trainable,
        "examples": plan.examples,
        "rows": plan.rows,
        "tokens": plan.tokens,
        "supervised": plan.supervised,
        "padded": plan.padded,
        "longest": plan.longest,
        "steps_per_epoch": plan.steps_per_epoch,
        "steps": plan.steps,
        "warmup_steps": plan.warmup_steps,
        "checkpointing": recipe.checkpointing,
        "epochs": plan.epochs,
        "flops_per_step": plan.flops_per_step(),
        "flops": plan.flops(),
        "memory": memory,
        "peak_bytes": plan.peak_bytes(),
        "snapshot_bytes": plan.snapshot.0,
        "checkpoints": plan.checkpoints(recipe),
        "checkpoint_bytes": plan.checkpoint_bytes(),
        "evaluations": plan.evaluations(recipe),
        "seconds": duration.map(|duration| json!({
            "step": duration.step,
            "steps": duration.steps,
            "evaluation": duration.evaluation,
            "probed_at": duration.probed.at,
            "pace": duration.probed.pace,
        })),
    })
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let name = settings.word("run").to_string();
    checking.outline.name_run(&name);
    let to = settings.maybe_text("to").map(PathBuf::from);
    if let Some(path) = &to {
        one_run(&name, checking.place(&settings, "to"), checking)?;
        let tune = checking.outline.run(&name)?;
        checking.outline.write_plan(path.clone(), tune);
    }
    let probe = match settings.word("probe") {
        "off" => None,
        "fresh" => Some(Freshness::Fresh),
        _ => Some(Freshness::Kept),
    };
    Some(Box::new(Show { run: name, to, probe }))
}
