//! What a run remembers of itself, and the words for it.

use crate::events::{Diagnostic, Evaluation, Step};
use crate::session::definitions::TuneDefinition;
use crate::session::folder::Experiment;
use crate::session::run::Run;
use crate::train::checkpoint::Conditions;
use crate::train::recipe::Method;
use serde_json::json;

/// The living branch of a run: its steps and evaluations, in order.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub steps: Vec<Step>,
    pub evaluations: Vec<Evaluation>,
}

/// The method in a few words: `lora r 16, alpha 32`.
pub fn method_text(method: &Method) -> String {
    match method {
        Method::Full => "full".to_string(),
        Method::LastLayers { count } => format!("the last {count} layers"),
        Method::Lora { from: Some(from), .. } => format!("lora from `{}`", from.display()),
        Method::Lora { settings, .. } => format!("lora r {}, alpha {}", settings.rank, settings.alpha),
    }
}

/// The experiment as canonical ltune, which defines the same run again, and as JSON.
pub fn experiment(run: &Run) -> Result<Experiment, Diagnostic> {
    Ok(Experiment { script: script(&run.definition), json: details(run)? })
}

/// The three definitions of a run as canonical ltune.
pub fn script(definition: &TuneDefinition) -> String {
    let block = |noun: &str, name: &str, settings: &crate::language::value::Settings| {
        format!("{noun} {name} {{\n  {}\n}}\n", settings.to_ltune("\n  "))
    };
    format!(
        "ltune 1\n\n{}\n{}\n{}",
        block("model", &definition.model.name, &definition.model.settings),
        block("data", &definition.data.name, &definition.data.settings),
        block("tune", &definition.name, &definition.settings),
    )
}

fn details(run: &Run) -> Result<serde_json::Value, Diagnostic> {
    let origin = run.origin()?;
    let conditions = Conditions::now(&run.base, &run.processor);
    Ok(json!({
        "run": run.definition.name,
        "conditions": conditions,
        "seed": run.definition.recipe.seed,
        "hashes": origin,
        "planned_steps": run.trainer.planned_steps(),
        "recipe": run.trainer.recipe(),
        "data": run.definition.data.specification,
        "model": run.base.config,
    }))
}
