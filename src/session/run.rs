//! A run: a trainer with its lineage, its held snapshots, its record and its folder.

use crate::data::dataset::{Dataset, PartName};
use crate::data::shape::Shape;
use crate::data::tokenizer::Tokenizer;
use crate::events::{Diagnostic, Out};
use crate::language::codes;
use crate::language::value::{Origin, Settings, Value};
use crate::model::base::Base;
use crate::model::llama::Policy;
use crate::session::definitions::TuneDefinition;
use crate::session::folder::RunFolder;
use crate::session::held::{Held, Place};
use crate::session::lineage::Lineage;
use crate::session::record::Record;
use crate::session::resume::Stored;
use crate::session::timeline::{Deed, Left};
use crate::session::training::Due;
use crate::session::{Session, sentence};
use crate::torch::memory;
use crate::torch::processor::Processor;
use crate::train::checkpoint;
use crate::train::error::TrainError;
use crate::train::material::Material;
use crate::train::plan::SNAPSHOT_EVERY_STEP;
use crate::train::recipe::{Checkpointing, Method, Recipe};
use crate::train::trainer::Trainer;
use crate::units::{counted, grouped};
use std::rc::Rc;
use std::sync::Arc;

pub struct Run {
    /// As it was defined; what is in force now is in `lineage`.
    pub definition: Rc<TuneDefinition>,
    /// Never given twice in a session: a name can come to mean another run.
    pub id: u64,
    pub base: Arc<Base>,
    pub processor: Processor,
    pub tokenizer: Arc<Tokenizer>,
    pub dataset: Arc<Dataset>,
    pub trainer: Trainer,
    /// How it came to where it is.
    pub lineage: Lineage,
    pub record: Record,
    pub held: Held,
    /// From the first step on.
    pub folder: Option<RunFolder>,
    /// What can be taken back, and what was taken back and can be redone.
    pub(in crate::session) undo: Vec<Deed>,
    pub(in crate::session) redo: Vec<(Lineage, Vec<Deed>)>,
    /// Places that were left by going back.
    pub(in crate::session) left: Vec<Left>,
    /// Checkpoints on disk.
    pub(in crate::session) stored: Vec<Stored>,
    /// After a resume with changed settings: the step at which the script is, while it is behind the run.
    pub(in crate::session) passing: Option<u64>,
    /// The step that a resume jumped to last.
    pub(in crate::session) passed: Option<u64>,
    pub(in crate::session) saved: Due,
    pub(in crate::session) evaluated: Due,
}

impl Run {
    /// The run at step 0: everything loaded, nothing trained.
    pub fn begin(
        session: &mut Session,
        definition: Rc<TuneDefinition>,
        out: &mut Out,
    ) -> Result<Run, Diagnostic> {
        one_run(&definition)?;
        let tokenizer = session.tokenizer(&definition.model, out)?;
        let dataset = session.dataset(&definition.data, &definition.model, out)?;
        if matches!(dataset.shape, Shape::Preference | Shape::Labelled) {
            return Err(Diagnostic::error(
                codes::NO_OBJECTIVE,
                format!("data `{}` holds {} rows, and training on them is not there yet", definition.data.name, dataset.shape.name()),
            )
            .note("`show`, `eval` and `generate` take them; to train on texts or completions, map them with `columns`"));
        }
        session.data_rules(&definition, &dataset, out)?;
        let processor = session.processor()?;
        let recipe = session.must_fit(&definition, out)?;
        let base = session.base(&definition.model, out)?;
        let longest = dataset.part(PartName::Train).longest() as i64;
        if longest > base.config.max_position_embeddings {
            out.diagnostic(
                Diagnostic::warning(
                    codes::BEYOND_CONTEXT,
                    format!(
                        "the longest example of `{}` has {longest} tokens and model `{}` is made for {}",
                        definition.data.name, definition.model.name, base.config.max_position_embeddings
                    ),
                )
                .note(format!("write `max_len = {} tokens` or less", base.config.max_position_embeddings)),
            );
        }
        let material = Material::new(&dataset, &definition.data.specification, PartName::Train);
        let trainer = Trainer::new(base.clone(), material, recipe)
            .map_err(|error| train_error(&definition.name, &error))?
            .with_schedules(&session.own.schedules);
        let settings = as_decided(definition.settings.clone(), trainer.recipe());
        let lineage = Lineage::start(settings, trainer.recipe().clone());
        let held = Held::new(snapshot_budget(&definition.settings));
        let mut run = Run {
            definition,
            id: session.next_id(),
            base,
            processor,
            tokenizer,
            dataset,
            trainer,
            lineage,
            record: Record::default(),
            held,
            folder: None,
            undo: vec![],
            redo: vec![],
            left: vec![],
            stored: vec![],
            passing: None,
            passed: None,
            saved: Due::now(),
            evaluated: Due::now(),
        };
        run.hold_start();
        run.say_plan(out);
        session.take_up(&mut run, out)?;
        run.say_decided(session, out);
        Ok(run)
    }

    pub fn name(&self) -> &str {
        &self.definition.name
    }

    pub fn policy(&self) -> Policy<'_> {
        self.trainer.policy()
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        self.lineage.settings()
    }

    /// Steps over which the learning rate rises.
    pub fn warmup_steps(&self) -> u64 {
        let trainer = &self.trainer;
        trainer.recipe().warmup.steps(trainer.planned_steps(), trainer.steps_per_epoch())
    }

    /// Hashes of what the run is made from.
    pub fn origin(&self) -> Result<checkpoint::Origin, Diagnostic> {
        let base =
            self.base.hash().map_err(|error| Diagnostic::error(codes::MODEL_FILE, sentence(&error)))?;
        Ok(checkpoint::Origin {
            base,
            tokenizer: self.tokenizer.hash().to_string(),
            data: self.dataset.hash.clone(),
        })
    }

    /// Holds a snapshot of where the run is, so that going back to it is instant.
    pub(in crate::session) fn hold(&mut self) {
        if self.trainer.bytes() <= self.held.budget() && !self.held.has(&self.lineage) {
            let snapshot = Rc::new(self.trainer.snapshot());
            self.held.keep(Place { lineage: self.lineage.clone(), snapshot }, &self.lineage);
        }
    }

    /// Holds the place a statement begins at, which `undo` goes back to. The beginning of a large run is made anew from
    /// its base instead, unless its adapter is a folder.
    pub(in crate::session) fn hold_start(&mut self) {
        let continued = matches!(self.trainer.recipe().method, Method::Lora { from: Some(_), .. });
        if self.lineage.step() > 0 || continued || self.trainer.bytes() <= SNAPSHOT_EVERY_STEP {
            self.hold();
        }
    }

    /// What was left to the free memory and was decided other than usual.
    fn say_decided(&self, session: &mut Session, out: &mut Out) {
        let left_open = self.definition.recipe.checkpointing == Checkpointing::Auto;
        if !left_open || self.trainer.recipe().checkpointing != Checkpointing::On {
            return;
        }
        let name = self.name();
        out.note(format!("run {name}: activations are computed twice, they do not fit the free memory"));
        session.journal.say_before(format!("set {name} {{ checkpointing = on }}"));
    }

    fn say_plan(&self, out: &mut Out) {
        let trained = self.trainer.trainables().trained_count();
        let adapter = |name: &&String| crate::model::lora::module_of(name).is_some();
        let trainables = self.trainer.trainables();
        let added: usize = trainables
            .tensors
            .iter()
            .filter(|(name, _)| adapter(name))
            .map(|(_, tensor)| tensor.numel())
            .sum();
        let total = self.base.config.parameter_count() + added as u64;
        out.note(format!(
            "run {}: trains {} of {} parameters ({:.2} %), {} an epoch, {} planned, warmup {}",
            self.definition.name,
            grouped(trained),
            grouped(total),
            100.0 * trained as f64 / total as f64,
            counted(self.trainer.steps_per_epoch(), "step"),
            counted(self.trainer.planned_steps(), "step"),
            counted(self.warmup_steps(), "step"),
        ));
    }
}

fn one_run(definition: &TuneDefinition) -> Result<(), Diagnostic> {
    let Some(family) = &definition.family else { return Ok(()) };
    let members = counted(family.members.len() as u64, "member");
    Err(Diagnostic::error(
        codes::FAMILY,
        format!("`{}` is a family of {members}, not one run", definition.name),
    )
    .note(format!("`plan {}` lists them; give one value for each setting to train", definition.name)))
}

/// Bytes that the snapshots of a run may take: as set, else 4 GiB, but no more than a quarter of the free memory.
pub fn snapshot_budget(settings: &Settings) -> u64 {
    const USUAL: u64 = 4 << 30;
    match settings.get("snapshots") {
        Some(Value::None) => 0,
        Some(_) => settings.number("snapshots") as u64,
        None => memory::free().map_or(USUAL, |free| USUAL.min(free / 4)),
    }
}

/// The settings with what they leave to the free memory as it was decided.
pub fn as_decided(mut settings: Settings, recipe: &Recipe) -> Settings {
    if leaves_checkpointing_open(&settings) {
        let is_on = Value::Bool(recipe.checkpointing == Checkpointing::On);
        settings.insert("checkpointing", is_on, Origin::Memory);
    }
    settings
}

pub(in crate::session) fn leaves_checkpointing_open(settings: &Settings) -> bool {
    let resolved = settings.resolved("checkpointing");
    resolved
        .is_some_and(|found| found.origin == Origin::Memory || matches!(found.value, Value::Choice { .. }))
}

/// A training error as a diagnostic of this run.
pub fn train_error(run: &str, error: &TrainError) -> Diagnostic {
    let code = match error {
        TrainError::NotFinite { .. } => codes::NOT_FINITE,
        TrainError::OutOfMemory { .. } => codes::OUT_OF_MEMORY,
        TrainError::PatternChangesNothing { .. } => codes::NO_EFFECT,
        TrainError::NoSchedule { .. }
        | TrainError::ScheduleGave { .. }
        | TrainError::ScheduleFailed { .. } => codes::OWN_CODE,
        _ => codes::TRAINING,
    };
    let diagnostic = Diagnostic::error(code, format!("run `{run}`: {}", sentence(error)));
    match error {
        TrainError::ScheduleFailed { refusal, .. } => diagnostic.refused(refusal),
        _ => diagnostic,
    }
}
