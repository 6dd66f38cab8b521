//! The state of a session as one plain value: what names stand for, what is loaded, the runs.

pub mod curves;
pub mod data_rules;
pub mod definitions;
pub mod fit;
pub mod folder;
pub mod forecast;
pub mod fork;
pub mod held;
pub mod journal;
pub mod lineage;
pub mod load;
pub mod measurement;
pub mod outline;
pub mod own;
pub mod plan_file;
pub mod record;
pub mod resume;
pub mod rounds;
pub mod run;
pub mod shortage;
pub mod stretches;
pub mod timeline;
pub mod training;
pub mod written;

use crate::data::dataset::Dataset;
use crate::data::tokenizer::Tokenizer;
use crate::events::{Diagnostic, Out};
use crate::language::codes;
use crate::language::value::Settings;
use crate::model::base::Base;
use crate::model::llama::Policy;
use crate::session::definitions::{DataDefinition, ModelDefinition, TuneDefinition, same};
use crate::session::journal::Journal;
use crate::session::outline::{Outline, Thing};
use crate::session::own::Own;
use crate::session::run::Run;
use crate::torch::processor::Processor;
use crate::train::recipe::Recipe;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

/// Everything a session holds.
#[derive(Default)]
pub struct Session {
    pub outline: Outline,
    /// Loaded weights with what they were loaded from; shared by all runs on them.
    bases: Vec<(Rc<ModelDefinition>, Arc<Base>)>,
    tokenizers: Vec<(Rc<ModelDefinition>, Arc<Tokenizer>)>,
    datasets: Vec<(DatasetKey, Arc<Dataset>)>,
    pub runs: BTreeMap<String, Run>,
    /// Threads and math, once they are chosen.
    processor: Option<Processor>,
    /// What was done, for `journal`.
    pub journal: Journal,
    /// `--resume`: steps that a checkpoint holds are passed over.
    pub resuming: bool,
    /// How a statement that changes settings is read again from a checkpoint.
    pub settle: Option<Settle>,
    /// Where each run was when a round of `repeat` began.
    pub rounds: Vec<Round>,
    /// What a Rust program and `rust` blocks have added.
    pub own: Own,
    /// Runs that have begun.
    begun: u64,
    /// What was warned of and is not said again.
    told: BTreeSet<String>,
}

/// From the settings before it, the verb and what followed the run's name to the settings after it.
pub type Settle = fn(&Settings, &str, &str) -> Option<(Settings, Recipe)>;

/// The step of each run and how often it had been evaluated.
pub type Round = BTreeMap<String, (u64, usize)>;

/// Data becomes examples through a tokenizer: the same rows under another one are other examples.
#[derive(Clone, PartialEq)]
struct DatasetKey {
    specification: crate::data::specification::Specification,
    sample: Option<String>,
    tokenizer: String,
    /// The number of the row transform.
    transform: Option<u64>,
}

/// What `eval`, `generate` and `save` act on: a model as it is, or under a run's trained tensors.
pub struct Subject<'a> {
    pub name: String,
    pub definition: Rc<ModelDefinition>,
    pub base: Arc<Base>,
    pub tokenizer: Arc<Tokenizer>,
    /// The run, when it is one.
    pub run: Option<&'a Run>,
}

impl Subject<'_> {
    pub fn policy(&self) -> Policy<'_> {
        Policy { base: &self.base, trainables: self.run.map(|run| run.trainer.trainables()) }
    }

    pub fn step(&self) -> Option<u64> {
        self.run.map(|run| run.trainer.step_count())
    }
}

impl Session {
    /// Binds a model. A changed definition binds anew; live runs keep theirs, and this is said.
    pub fn define_model(&mut self, model: ModelDefinition, out: &mut Out) {
        let earlier = self.outline.model(&model.name);
        if earlier.is_some_and(|earlier| !same(&earlier.settings, &model.settings)) {
            self.say_kept("model", &model.name, |run| run.definition.model.name == model.name, out);
        }
        self.outline.define_model(model);
    }

    pub fn define_data(&mut self, data: DataDefinition, out: &mut Out) {
        let earlier = self.outline.data(&data.name);
        if earlier
            .is_some_and(|earlier| !same(&earlier.settings, &data.settings) || earlier.block != data.block)
        {
            self.say_kept("data", &data.name, |run| run.definition.data.name == data.name, out);
        }
        self.outline.define_data(data);
    }

    pub(in crate::session) fn say_kept(
        &self,
        noun: &str,
        name: &str,
        uses: impl Fn(&Run) -> bool,
        out: &mut Out,
    ) {
        let keeping: Vec<String> = self
            .runs
            .values()
            .filter(|run| uses(run))
            .map(|run| format!("`{}`", run.definition.name))
            .collect();
        if !keeping.is_empty() {
            out.note(format!(
                "{noun} `{name}` is bound anew; {} keeps the one it began with",
                keeping.join(", ")
            ));
        }
    }

    pub fn define_run(&mut self, tune: TuneDefinition, out: &mut Out) -> Result<(), Diagnostic> {
        if let Some(run) = self.runs.get(&tune.name) {
            let unchanged = same(&run.definition.settings, &tune.settings)
                && same(&run.definition.model.settings, &tune.model.settings)
                && same(&run.definition.data.settings, &tune.data.settings);
            if unchanged {
                self.outline.name_run(&tune.name);
                return Ok(());
            }
            if run.trainer.step_count() > 0 {
                return Err(Diagnostic::error(
                    codes::RUN_STARTED,
                    format!(
                        "run `{}` is at step {} and cannot be described anew",
                        tune.name,
                        run.trainer.step_count()
                    ),
                )
                .note(ways_on(&tune.name)));
            }
        }
        self.runs.remove(&tune.name);
        let recipe = &tune.recipe;
        out.note(format!(
            "{}: {}, batch {} x {} = {} a step",
            tune.name,
            record::method_text(&recipe.method),
            recipe.batch.micro,
            recipe.batch.accumulate,
            crate::units::counted(recipe.batch.rows() as u64, "sequence"),
        ));
        self.outline.define_run(tune);
        Ok(())
    }

    /// A number that no other run of the session has.
    fn next_id(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }

    /// Lets checks see the settings that are in force on a run now.
    pub fn publish(&mut self, name: &str) {
        let Some(run) = self.runs.get(name) else { return };
        let now = (run.settings().clone(), run.trainer.recipe().clone());
        self.outline.change_run(name, Some(now));
        self.outline.name_run(name);
    }

    fn settle(&self, settings: &Settings, verb: &str, tail: &str) -> Option<(Settings, Recipe)> {
        self.settle.and_then(|settle| settle(settings, verb, tail))
    }

    /// The definition of a run that is known to the outline.
    pub fn tune(&self, name: &str) -> Result<Rc<TuneDefinition>, Diagnostic> {
        self.outline.run(name).ok_or_else(|| unbound(name))
    }

    /// A run, begun at step 0 if it has not been.
    pub fn run(&mut self, name: &str, out: &mut Out) -> Result<&mut Run, Diagnostic> {
        if !self.runs.contains_key(name) {
            let definition = self.tune(name)?;
            let run = Run::begin(self, definition, out)?;
            self.runs.insert(name.to_string(), run);
        }
        self.outline.name_run(name);
        self.runs.get_mut(name).ok_or_else(|| unbound(name))
    }

    /// A model or a run, loaded.
    pub fn subject(&mut self, name: &str, out: &mut Out) -> Result<Subject<'_>, Diagnostic> {
        let definition = match self.outline.get(name) {
            Some(Thing::Model(model)) => model.clone(),
            Some(Thing::Run(_)) => {
                self.run(name, out)?;
                let run = &self.runs[name];
                return Ok(Subject {
                    name: name.to_string(),
                    definition: run.definition.model.clone(),
                    base: run.base.clone(),
                    tokenizer: run.tokenizer.clone(),
                    run: Some(run),
                });
            }
            _ => return Err(unbound(name)),
        };
        let tokenizer = self.tokenizer(&definition, out)?;
        let base = self.base(&definition, out)?;
        Ok(Subject { name: name.to_string(), definition, base, tokenizer, run: None })
    }

    /// The model that a model or a run is about.
    pub fn model_of(&self, name: &str) -> Result<Rc<ModelDefinition>, Diagnostic> {
        match self.outline.get(name) {
            Some(Thing::Model(model)) => Ok(model.clone()),
            Some(Thing::Run(tune)) => Ok(tune.model.clone()),
            _ => Err(unbound(name)),
        }
    }
}

/// What to do instead of describing a run anew that has taken steps.
pub fn ways_on(name: &str) -> String {
    format!(
        "`set {name} {{ … }}` changes it from here on, `fork {name} as {name}2 {{ … }}` goes on beside it, \
         and `drop {name}` makes the name free"
    )
}

fn unbound(name: &str) -> Diagnostic {
    Diagnostic::error(
        codes::NOT_DEFINED,
        format!("`{name}` is not defined: the statement that defines it failed"),
    )
}

/// An error as a sentence of a message: its own words and those of its causes.
pub fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
