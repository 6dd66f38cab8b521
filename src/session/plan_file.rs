//! A plan as a file: the whole resolved experiment, which `run "p.json"` runs as it stands there or not at all.

use crate::data::dataset::Dataset;
use crate::events::{Diagnostic, Out};
use crate::files::atomic;
use crate::language::codes;
use crate::session::definitions::TuneDefinition;
use crate::session::record::script;
use crate::session::{Session, forecast, sentence};
use crate::train::checkpoint::Origin;
use crate::train::recipe::{Checkpointing, Recipe};
use crate::train::start;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

const FORMAT: u64 = 1;

/// What a plan file holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFile {
    /// The format of the file.
    pub ltune_plan: u64,
    /// The version that wrote it.
    pub ltune: String,
    pub run: String,
    /// The three definitions as canonical ltune.
    pub script: String,
    /// Of the weights, the tokenizer and the data.
    pub hashes: Origin,
    /// The settings of the run as this version of ltune understood them.
    pub recipe: Recipe,
    pub steps: u64,
    /// What was planned, for people and programs.
    pub plan: Value,
}

impl PlanFile {
    /// The plan of a fine-tune on these rows.
    pub fn new(
        session: &mut Session,
        tune: &TuneDefinition,
        dataset: &Dataset,
        steps: u64,
        plan: Value,
        out: &mut Out,
    ) -> Result<PlanFile, Diagnostic> {
        let recipe = resolved(tune)?;
        Ok(PlanFile {
            ltune_plan: FORMAT,
            ltune: env!("CARGO_PKG_VERSION").into(),
            run: tune.name.clone(),
            script: script(tune),
            hashes: origin(session, tune, dataset, out)?,
            recipe,
            steps,
            plan,
        })
    }

    pub fn write(&self, path: &Path) -> Result<(), Diagnostic> {
        let text = serde_json::to_vec_pretty(self).expect("a plan of numbers and text is always JSON");
        atomic::write(path, &text).map_err(|error| Diagnostic::error(codes::FILE, sentence(&error)))
    }

    pub fn read(path: &Path) -> Result<PlanFile, Diagnostic> {
        let unsound = |reason: String| {
            Diagnostic::error(codes::NO_PLAN, format!("`{}` is not a plan: {reason}", path.display()))
                .note("`plan a to \"p.json\"` writes one")
        };
        let text = crate::files::read(path).map_err(|error| {
            Diagnostic::error(codes::NO_PLAN, sentence(&error)).note("`plan a to \"p.json\"` writes a plan")
        })?;
        let json: Value = serde_json::from_slice(&text).map_err(|error| unsound(error.to_string()))?;
        match json.get("ltune_plan").and_then(Value::as_u64) {
            Some(FORMAT) => serde_json::from_value(json).map_err(|error| unsound(error.to_string())),
            Some(other) => Err(unsound(format!("it has format {other}, and this ltune reads {FORMAT}"))),
            None => Err(unsound("it has no `ltune_plan`".into())),
        }
    }

    /// Where the settings of a fine-tune are not those of the plan.
    pub fn differences(&self, tune: &TuneDefinition) -> Result<Vec<String>, Diagnostic> {
        Ok(differences(&self.recipe, &resolved(tune)?))
    }

    /// Whether what is there now is what was planned: weights, tokenizer and rows by their hashes, settings by their
    /// values, those of the live run too. What differs is said, and the way out.
    pub fn must_hold(&self, path: &Path, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let tune = session.tune(&self.run)?;
        let dataset = session.dataset(&tune.data, &tune.model, out)?;
        let now = origin(session, &tune, &dataset, out)?;
        let pairs = [
            ("the weights of the model", &self.hashes.base, &now.base),
            ("the tokenizer", &self.hashes.tokenizer, &now.tokenizer),
            ("the data", &self.hashes.data, &now.data),
        ];
        let mut differing: Vec<String> = pairs
            .into_iter()
            .filter(|(_, then, now)| then != now)
            .map(|(what, then, now)| format!("{what}: {}… in the plan, {}… now", short(then), short(now)))
            .collect();
        differing.extend(match session.runs.get(&self.run) {
            Some(run) => differences(&self.recipe, run.trainer.recipe()),
            None => self.differences(&tune)?,
        });
        if differing.is_empty() { Ok(()) } else { Err(changed(path, &self.run, &differing)) }
    }
}

/// That something is not as it was planned.
pub fn changed(path: &Path, run: &str, differing: &[String]) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(
        codes::PLAN_CHANGED,
        format!("run `{run}` is not what `{}` planned", path.display()),
    );
    for difference in differing {
        diagnostic = diagnostic.note(difference);
    }
    diagnostic
        .note(format!("bring back what was planned, or plan anew: `plan {run} to \"{}\"`", path.display()))
}

fn resolved(tune: &TuneDefinition) -> Result<Recipe, Diagnostic> {
    start::resolved(&tune.recipe).map_err(|error| Diagnostic::error(codes::TRAINING, sentence(&error)))
}

/// The values of two recipes that differ, each with its place. What a plan leaves to the moment at which the run begins
/// changes no number.
fn differences(planned: &Recipe, now: &Recipe) -> Vec<String> {
    let left_open = planned.checkpointing == Checkpointing::Auto;
    let checkpointing = if left_open { Checkpointing::Auto } else { now.checkpointing };
    let now = &Recipe { checkpointing, ..now.clone() };
    let json = |recipe| serde_json::to_value(recipe).expect("a recipe of numbers and text is always JSON");
    let mut found = vec![];
    compare("", &json(planned), &json(now), &mut found);
    found
}

fn compare(place: &str, planned: &Value, now: &Value, found: &mut Vec<String>) {
    match (planned, now) {
        (Value::Object(left), Value::Object(right)) if left.keys().eq(right.keys()) => {
            for (name, planned) in left {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                compare(&place, planned, &right[name], found);
            }
        }
        (planned, now) if planned != now => {
            found.push(format!("`{place}`: {planned} in the plan, {now} now"));
        }
        _ => {}
    }
}

/// Hashes of what the run is made from.
fn origin(
    session: &mut Session,
    tune: &TuneDefinition,
    dataset: &Dataset,
    out: &mut Out,
) -> Result<Origin, Diagnostic> {
    let base = match session.loaded(&tune.model) {
        Some(base) => base.hash().map_err(|error| Diagnostic::error(codes::MODEL_FILE, sentence(&error)))?,
        None => forecast::base_hash(&tune.model, out)?,
    };
    let tokenizer = session.tokenizer(&tune.model, out)?.hash().to_string();
    Ok(Origin { base, tokenizer, data: dataset.hash.clone() })
}

/// Enough of a hash to tell two apart.
fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::{Batch, Method};

    #[test]
    fn values_that_differ_are_named_with_their_place() {
        let planned = Recipe::new(Method::LastLayers { count: 2 });
        let now = Recipe {
            method: Method::LastLayers { count: 3 },
            batch: Batch { micro: 2, accumulate: 4 },
            ..planned.clone()
        };
        assert_eq!(differences(&planned, &planned), Vec::<String>::new());
        assert_eq!(
            differences(&planned, &now),
            ["`method.last_layers.count`: 2 in the plan, 3 now", "`batch.micro`: 4 in the plan, 2 now"]
        );
        let full = Recipe { method: Method::Full, ..planned.clone() };
        assert_eq!(
            differences(&planned, &full),
            ["`method`: {\"last_layers\":{\"count\":2}} in the plan, \"full\" now"]
        );
    }

    #[test]
    fn what_is_no_plan_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            PlanFile::read(&path).unwrap_err().message
        };
        assert!(read("{").contains("is not a plan: EOF"), "{}", read("{"));
        assert!(read("{}").ends_with("it has no `ltune_plan`"));
        assert!(read("{\"ltune_plan\": 7}").ends_with("it has format 7, and this ltune reads 1"));
        assert!(read("{\"ltune_plan\": 1}").contains("missing field"));
        std::fs::remove_file(&path).unwrap();
        assert!(PlanFile::read(&path).unwrap_err().message.ends_with("does not exist"));
    }
}
