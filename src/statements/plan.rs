//! `plan [run]`: what a fine-tune will do and take, before any of it is done.

use crate::data::dataset::PartName;
use crate::events::{Diagnostic, Event, Out, Table};
use crate::language::codes;
use crate::language::schema::{Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::model::config::Config;
use crate::model::load::read_config;
use crate::session::definitions::{ModelDefinition, Precision, TuneDefinition};
use crate::session::record::method_text;
use crate::session::run::train_error;
use crate::session::{Session, load, sentence};
use crate::statements::{Action, Check, Checking, Statement};
use crate::train::material::Material;
use crate::train::plan::{Plan, plan};
use crate::units::{Bytes, counted, grouped};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "plan",
    summary: "says what a fine-tune will do and take, before any of it is done",
    usage: "plan [run]",
    details: "Tokenizes the data but loads no weights: rows, tokens, padding, steps, warmup, what is trained, memory by \
              component at its peak, and arithmetic. A `tune` with sweeps lists its members.",
    example: "plan a",
    positional: &[Setting::new("run", Kind::Name(&[NameKind::Run]), "the run").computed("the run last named")],
    ..Form::VERB
};

struct Show(String);

impl Action for Show {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let tune = session.tune(&self.0)?;
        if let Some(family) = &tune.family {
            let mut table = Table::new(
                format!("{}: {}", tune.name, counted(family.members.len() as u64, "member")),
                &[">member", "settings"],
            );
            for (index, member) in family.members.iter().enumerate() {
                table.row([(index + 1).to_string(), member.clone()]);
            }
            out.emit(Event::Table(table));
            return Ok(());
        }
        let config = config(&tune.model, out)?;
        let dataset = session.dataset(&tune.data, &tune.model, out)?;
        session.data_rules(&tune, &dataset, out)?;
        let material = Material::new(&dataset, &tune.data.specification, PartName::Train);
        let bytes = weight_bytes(&tune.model)?;
        let planned =
            plan(&config, bytes, &material, &tune.recipe).map_err(|error| train_error(&tune.name, &error))?;
        out.emit(Event::Table(table(&tune, &planned)));
        out.emit(Event::Table(memory(&planned)));
        Ok(())
    }
}

/// The model's configuration; a sample is fetched if it must be.
fn config(model: &ModelDefinition, out: &mut Out) -> Result<Config, Diagnostic> {
    if let Some(config) = &model.config {
        return Ok(config.clone());
    }
    let path = load::weights_path(model, out)?.expect("random weights have a configuration");
    read_config(&path).map_err(|error| Diagnostic::error(codes::MODEL_FILE, sentence(&error)))
}

fn weight_bytes(model: &ModelDefinition) -> Result<u64, Diagnostic> {
    let two = match model.dtype {
        Precision::F32 => false,
        Precision::Bf16 => true,
        Precision::Auto => crate::torch::device::resolve(&model.device)
            .map_err(|error| Diagnostic::error(codes::DEVICE, sentence(&error)))?
            .is_cuda(),
    };
    Ok(if two { 2 } else { 4 })
}

fn table(tune: &TuneDefinition, plan: &Plan) -> Table {
    let recipe = &tune.recipe;
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
            "{} an epoch, {} planned ({} epochs), warmup {}",
            grouped(plan.steps_per_epoch),
            grouped(plan.steps),
            crate::language::value::plain_number((plan.epochs * 1000.0).round() / 1000.0),
            grouped(plan.warmup_steps)
        ),
    );
    row(
        "arithmetic",
        format!("{} a step, {} in all", operations(plan.flops_per_step()), operations(plan.flops())),
    );
    row("files", format!("runs/{}/: experiment, metrics, checkpoints", tune.name));
    table
}

/// `1.24 TFLOP`
fn operations(count: f64) -> String {
    let units = ["", "k", "M", "G", "T", "P", "E"];
    let thousands = (count.max(1.0).log10() / 3.0).floor().min(6.0);
    format!("{:.2} {}FLOP", count / 1e3f64.powf(thousands), units[thousands as usize])
}

fn memory(plan: &Plan) -> Table {
    let mut table = Table::new("memory at its peak", &["component", ">bytes"]);
    for component in &plan.memory {
        table.row([component.name.to_string(), Bytes(component.bytes).to_string()]);
    }
    table.row(["together".to_string(), Bytes(plan.peak_bytes()).to_string()]);
    table
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let name = settings.word("run").to_string();
    checking.outline.name_run(&name);
    Some(Box::new(Show(name)))
}
