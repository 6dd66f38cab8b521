//! What is known of a session while a person writes: a picture of it, taken after each cell, that any thread may read.

use crate::language::scope::{NameKind, Scope};
use crate::language::value::{Settings, Value};
use crate::session::Session;
use crate::session::definitions::{DataDefinition, ModelDefinition, TuneDefinition};
use crate::session::outline::{Outline, Thing};
use crate::session::record::method_text;
use crate::session::run::Run;

/// Every name, in the order of definition.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub names: Vec<Name>,
    /// The run that a verb means when it names none.
    pub last_run: Option<String>,
}

/// A name and what it stands for.
#[derive(Clone, Debug)]
pub struct Name {
    pub name: String,
    pub kind: NameKind,
    /// One line.
    pub summary: String,
    /// The settings of a model, a data set or a run.
    pub settings: Settings,
    /// The value of a `let` name.
    pub value: Option<Value>,
    /// The parts of a data set.
    pub parts: Vec<String>,
    /// Sequences of an epoch of training on a data set, once they have been counted.
    pub rows: Option<u64>,
    /// How far a run has come, once it has begun.
    pub progress: Option<Progress>,
}

/// How far a run has come, and how fast.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub step: u64,
    pub planned: u64,
    pub steps_per_epoch: u64,
    /// Sequences a step.
    pub batch: u64,
    pub loss: Option<f64>,
    /// Seconds a step, over the last few.
    pub pace: Option<f64>,
    /// Steps of which a checkpoint is there.
    pub saved: Vec<u64>,
}

impl Known {
    /// A picture of the session as it is now.
    pub fn of(session: &Session) -> Known {
        let mut known = Known::from_outline(&session.outline);
        for name in &mut known.names {
            if let Some(data) = session.outline.data(&name.name) {
                name.rows = session.training_rows(&data);
            }
            if let Some(run) = session.runs.get(&name.name) {
                name.progress = Some(Progress::of(run));
            }
        }
        known
    }

    /// What is known without a session: the names of a script that was checked.
    pub fn from_outline(outline: &Outline) -> Known {
        let names = outline.things().iter().filter_map(|(name, thing)| named(name, thing)).collect();
        Known { names, last_run: outline.last_run() }
    }

    pub fn get(&self, name: &str) -> Option<&Name> {
        self.names.iter().find(|known| known.name == name)
    }

    /// Seconds that one sequence takes in a run on this model, if one has been trained.
    pub fn seconds_a_row(&self, model: &str) -> Option<f64> {
        let on_model = |name: &&Name| name.settings.maybe_word("model") == Some(model);
        self.names.iter().rev().filter(on_model).find_map(|name| {
            let progress = name.progress.as_ref()?;
            Some(progress.pace? / progress.batch.max(1) as f64)
        })
    }
}

impl Name {
    /// A name of which no more is known than what it stands for.
    pub fn new(name: &str, kind: NameKind, summary: &str) -> Name {
        Name {
            name: name.to_string(),
            kind,
            summary: summary.to_string(),
            settings: Settings::new(),
            value: None,
            parts: vec![],
            rows: None,
            progress: None,
        }
    }
}

impl Progress {
    fn of(run: &Run) -> Progress {
        const RECENT: usize = 10;
        let steps = &run.record.steps;
        let recent = &steps[steps.len().saturating_sub(RECENT)..];
        let seconds: f64 = recent.iter().map(|step| step.seconds).sum();
        Progress {
            step: run.trainer.step_count(),
            planned: run.trainer.planned_steps(),
            steps_per_epoch: run.trainer.steps_per_epoch(),
            batch: run.trainer.recipe().batch.rows() as u64,
            loss: steps.last().map(|step| step.loss),
            pace: (!recent.is_empty()).then(|| seconds / recent.len() as f64),
            saved: saved(run),
        }
    }
}

/// The steps whose checkpoints lie in the folder of a run.
fn saved(run: &Run) -> Vec<u64> {
    let Some(folder) = &run.folder else { return vec![] };
    let Ok(entries) = std::fs::read_dir(folder.path.join("checkpoints")) else { return vec![] };
    let step = |name: String| name.strip_prefix("step-")?.parse().ok();
    let mut steps: Vec<u64> =
        entries.flatten().filter_map(|entry| step(entry.file_name().into_string().ok()?)).collect();
    steps.sort_unstable();
    steps
}

fn named(name: &str, thing: &Thing) -> Option<Name> {
    let empty = Name::new(name, thing.kind(), "");
    Some(match thing {
        Thing::Broken(_) => return None,
        Thing::Own(kind) => Name { summary: kind.described().into(), ..empty },
        Thing::Variable(value) => Name { summary: value.to_ltune(), value: Some(value.clone()), ..empty },
        Thing::Model(model) => model_name(model, empty),
        Thing::Data(data) => data_name(data, empty),
        Thing::Run(tune) => run_name(tune, empty),
    })
}

fn model_name(model: &ModelDefinition, name: Name) -> Name {
    Name { summary: model.describe(), settings: model.settings.clone(), ..name }
}

fn data_name(data: &DataDefinition, name: Name) -> Name {
    let parts = data.parts().into_iter().map(String::from).collect();
    Name { summary: data.describe(), settings: data.settings.clone(), parts, ..name }
}

fn run_name(tune: &TuneDefinition, name: Name) -> Name {
    let method = method_text(&tune.recipe.method);
    let summary = format!("{method} on {} with {}", tune.data.name, tune.model.name);
    Name { summary, settings: tune.settings.clone(), ..name }
}

impl Scope for Known {
    fn kind_of(&self, name: &str) -> Option<NameKind> {
        self.get(name).map(|name| name.kind)
    }

    fn names(&self) -> Vec<(String, NameKind)> {
        self.names.iter().map(|name| (name.name.clone(), name.kind)).collect()
    }

    fn variable(&self, name: &str) -> Option<Value> {
        self.get(name)?.value.clone()
    }

    fn last_run(&self) -> Option<String> {
        self.last_run.clone()
    }

    fn parts(&self, data: &str) -> Option<Vec<String>> {
        self.get(data).filter(|name| name.kind == NameKind::Data).map(|name| name.parts.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_can_be_read_by_another_thread() {
        fn sendable<T: Send + Sync>() {}
        sendable::<Known>();
    }

    #[test]
    fn the_pace_of_a_model_is_that_of_its_latest_run() {
        let mut known = crate::assist::samples::known();
        assert_eq!(known.seconds_a_row("base"), Some(0.05));
        assert_eq!(known.seconds_a_row("other"), None);
        known.names.clear();
        assert_eq!(known.seconds_a_row("base"), None);
    }
}
