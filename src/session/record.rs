//! What a run remembers of itself, and the words for it.

use crate::events::{Diagnostic, Evaluation, Step};
use crate::session::definitions::TuneDefinition;
use crate::session::folder::Experiment;
use crate::session::run::{Run, as_decided};
use crate::train::checkpoint::Conditions;
use crate::train::metrics::Entry;
use crate::train::recipe::Method;
use crate::train::watch::Judged;
use serde_json::json;

/// The living branch of a run: its steps and evaluations, in order.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub steps: Vec<Step>,
    pub evaluations: Vec<Evaluation>,
}

impl Record {
    /// What of it came up to this step, as the record of a run of that name.
    pub fn until(&self, step: u64, run: &str) -> Record {
        let mut until = Record {
            steps: self.steps.iter().filter(|known| known.step <= step).cloned().collect(),
            evaluations: self.evaluations.iter().filter(|known| known.step <= Some(step)).cloned().collect(),
        };
        until.steps.iter_mut().for_each(|step| step.run = run.to_string());
        until.evaluations.iter_mut().for_each(|evaluation| evaluation.model = run.to_string());
        until
    }

    /// Evaluations on the validation part, which early stopping and `keep_best` go by.
    pub fn judged(&self, validation: &str) -> Vec<Judged> {
        let ours = self.evaluations.iter().filter(|evaluation| evaluation.data == validation);
        ours.filter_map(|evaluation| Some(Judged { step: evaluation.step?, loss: evaluation.loss })).collect()
    }
}

/// A step as a row of the metrics.
pub fn step_entry(step: &Step) -> Entry {
    Entry::Step {
        step: step.step,
        loss: step.loss,
        lr: step.lr,
        grad_norm: step.grad_norm,
        tokens: step.tokens,
        seconds: step.seconds,
        epoch: step.epoch,
    }
}

/// An evaluation as a row of the metrics.
pub fn evaluation_entry(evaluation: &Evaluation) -> Entry {
    Entry::Eval {
        step: evaluation.step.unwrap_or(0),
        data: evaluation.data.clone(),
        loss: evaluation.loss,
        perplexity: evaluation.perplexity,
        token_accuracy: evaluation.token_accuracy,
        tokens: evaluation.tokens,
        seconds: evaluation.seconds,
        metrics: evaluation.metrics.clone(),
    }
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
    let start = run.lineage.first(1);
    let settings = as_decided(run.definition.settings.clone(), &start.last().recipe);
    let resolved = TuneDefinition { settings, ..TuneDefinition::clone(&run.definition) };
    Ok(Experiment { script: script(&resolved), json: details(run)? })
}

/// The three definitions of a run as canonical ltune, and the Rust that they stand on.
pub fn script(definition: &TuneDefinition) -> String {
    let block = |noun: &str, name: &str, settings: &crate::language::value::Settings| {
        format!("{noun} {name} {{\n  {}\n}}\n", settings.to_ltune("\n  "))
    };
    let rust: String = definition.blocks.iter().map(|block| format!("rust {{{block}}}\n\n")).collect();
    format!(
        "ltune 1\n\n{rust}{}\n{}\n{}",
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
        "seed": run.trainer.recipe().seed,
        "hashes": origin,
        "planned_steps": run.trainer.planned_steps(),
        "recipe": run.trainer.recipe(),
        "data": run.definition.data.specification,
        "model": run.base.config,
    }))
}
