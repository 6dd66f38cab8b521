//! Checkpoints of a run: writing them, taking a run up from one, and passing over what `--resume` finds done.
//!
//! A run goes on only on the weights, tokenizer and data that it was made with; changed settings are applied and said.

use crate::events::{Diagnostic, Evaluation, Out, Step};
use crate::language::codes;
use crate::session::folder::RunFolder;
use crate::session::lineage::{Change, Lineage};
use crate::session::record::Record;
use crate::session::run::{Run, as_decided, leaves_checkpointing_open, train_error};
use crate::session::training::{Due, Goal, holds};
use crate::session::{Session, sentence};
use crate::train::checkpoint::{self, Conditions, State};
use crate::train::error::TrainError;
use crate::train::metrics::{self, Entry};
use crate::train::recipe::Recipe;
use crate::train::trainer::Trainer;
use crate::train::watch::judge;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A checkpoint on disk and the state it holds.
#[derive(Clone, Debug)]
pub(in crate::session) struct Stored {
    pub lineage: Lineage,
    pub path: PathBuf,
    /// Of the metrics, where its steps are written.
    branch: u64,
    /// Written by an earlier process, whose steps are passed over.
    earlier: bool,
}

/// What a checkpoint keeps for the session: the changes that led to it, and its branch of the metrics.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    branch: u64,
    changes: Vec<RememberedChange>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RememberedChange {
    at: u64,
    recipe: Recipe,
    verb: String,
    tail: String,
}

impl Remembered {
    fn of(run: &Run) -> Remembered {
        let remembered = |change: &Change| RememberedChange {
            at: change.at,
            recipe: change.recipe.clone(),
            verb: change.verb.clone(),
            tail: change.tail.clone(),
        };
        Remembered {
            branch: run.folder.as_ref().map_or(0, RunFolder::branch),
            changes: run.lineage.changes().iter().map(|change| remembered(change)).collect(),
        }
    }
}

impl Run {
    /// Writes a checkpoint of this step, if there is none yet.
    pub fn save_checkpoint(&mut self) -> Result<(), Diagnostic> {
        let step = self.trainer.step_count();
        let same = |stored: &Stored| stored.lineage == self.lineage && stored.path.exists();
        if self.saved.is_done(step) && self.stored.iter().any(same) {
            return Ok(());
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        let (path, branch) = (folder.checkpoint(step), folder.branch());
        self.write_checkpoint(&path)?;
        self.stored.retain(|stored| stored.path != path);
        self.stored.push(Stored { lineage: self.lineage.clone(), path, branch, earlier: false });
        self.saved = Due::done(step);
        Ok(())
    }

    pub(in crate::session) fn save_best(&self) -> Result<(), Diagnostic> {
        let Some(folder) = &self.folder else { return Ok(()) };
        self.write_checkpoint(&folder.best())
    }

    fn write_checkpoint(&self, path: &Path) -> Result<(), Diagnostic> {
        let remembered = serde_json::to_value(Remembered::of(self)).expect("numbers and texts are JSON");
        checkpoint::write(path, &self.trainer, &self.origin()?, &self.processor, remembered)
            .map_err(|error| train_error(self.name(), &error))
    }

    fn read_checkpoint(&self, path: &Path) -> Result<(Trainer, State), Diagnostic> {
        let read =
            checkpoint::read(path, self.base.clone(), self.trainer.material().clone(), &self.origin()?);
        read.map(|(trainer, state)| (trainer.with_schedules(self.trainer.schedules()), state))
            .map_err(|error| train_error(self.name(), &error))
    }

    /// The state of a checkpoint that leads to the target, when it is farther on the way than `reached`.
    pub(in crate::session) fn stored_nearest(
        &self,
        target: &Lineage,
        reached: u64,
    ) -> Option<(Lineage, Trainer)> {
        let useful = |stored: &&Stored| stored.lineage.length() > reached && stored.lineage.leads_to(target);
        let stored = self.stored.iter().filter(useful).max_by_key(|stored| stored.lineage.length())?;
        let (trainer, _) = self.read_checkpoint(&stored.path).ok()?; // else it is replayed
        Some((stored.lineage.clone(), trainer))
    }

    /// With `--resume`: passes over the steps up to `last` that an earlier process took; the step left to go to.
    pub(in crate::session) fn pass_over(
        &mut self,
        last: u64,
        goal: &Goal,
        out: &mut Out,
    ) -> Result<u64, Diagnostic> {
        if let Some(script) = self.passing.take() {
            return Ok(self.pass_by_count(script, last, goal, out));
        }
        let target = self.lineage.at(last);
        let useful = |stored: &&Stored| {
            let ahead = self.lineage.leads_to(&stored.lineage) && stored.lineage != self.lineage;
            stored.earlier && ahead && stored.lineage.leads_to(&target)
        };
        let ahead: Vec<Stored> = self.stored.iter().filter(useful).cloned().collect();
        let Some(farthest) = ahead.iter().max_by_key(|stored| stored.lineage.length()) else {
            return Ok(last);
        };
        let record = record(farthest, self.name(), self.trainer.planned_steps())?;
        let limit = self.would_stop(goal, &record).unwrap_or(last);
        let within = ahead.iter().filter(|stored| stored.lineage.step() <= limit);
        let Some(stored) = within.max_by_key(|stored| stored.lineage.length()) else { return Ok(last) };
        self.jump(stored, out)?;
        Ok(limit.min(last).max(self.lineage.step()))
    }

    /// After a resume with changed settings the script's steps are counted: those behind the checkpoint are done.
    fn pass_by_count(&mut self, script: u64, last: u64, goal: &Goal, out: &mut Out) -> u64 {
        let (Goal::Steps(count), step) = (goal, self.lineage.step()) else { return last };
        let wanted = script + count;
        if wanted < step {
            self.passing = Some(wanted);
        }
        let done = wanted.min(step);
        out.note(format!("run {}: steps {} to {done} are done already", self.name(), script + 1));
        wanted.max(step)
    }

    /// The step at which the goal was reached or patience ran out on a way that was gone before.
    fn would_stop(&self, goal: &Goal, record: &Record) -> Option<u64> {
        let (validation, recipe) = (self.validation_name(), self.trainer.recipe());
        let later = record.steps.iter().map(|step| step.step).filter(|step| *step > self.lineage.step());
        later.into_iter().find(|step| {
            let so_far = record.until(*step, self.name());
            let evaluated = so_far.evaluations.last().is_some_and(|found| found.step == Some(*step));
            let stopped = evaluated && judge(&so_far.judged(&validation), recipe.early_stopping).stop;
            stopped || holds(goal, &so_far, &validation)
        })
    }

    fn jump(&mut self, stored: &Stored, out: &mut Out) -> Result<(), Diagnostic> {
        let (trainer, state) = self.read_checkpoint(&stored.path)?;
        let (step, first) = (stored.lineage.step(), self.lineage.step() + 1);
        let record = record(stored, self.name(), trainer.planned_steps())?;
        self.go_on_in_folder(stored, step)?;
        let changes = self.lineage.changes().to_vec();
        let same = stored.lineage.changes().len() == changes.len();
        self.lineage = if same { self.lineage.at(step) } else { stored.lineage.clone() };
        self.trainer = trainer;
        self.record = record;
        self.saved = Due::done(step);
        self.passed = Some(step);
        self.hold();
        out.note(format!(
            "run {}: steps {first} to {step} are passed over; `{}` holds them",
            self.name(),
            stored.path.display()
        ));
        self.say_conditions(&state, out);
        Ok(())
    }

    /// Whether an earlier process took the steps up to here.
    pub(in crate::session) fn passed_to(&self, step: u64) -> bool {
        self.passed == Some(step)
    }

    /// Opens the folder that an earlier process began, if there is one; rows go on from where the run is.
    pub(in crate::session) fn open_earlier_folder(&mut self) -> Result<(), Diagnostic> {
        let Some(stored) = self.stored.iter().find(|stored| stored.earlier).cloned() else { return Ok(()) };
        self.go_on_in_folder(&stored, self.lineage.step())
    }

    fn go_on_in_folder(&mut self, stored: &Stored, step: u64) -> Result<(), Diagnostic> {
        if self.folder.is_none() {
            self.folder = Some(RunFolder::open(&RunFolder::path_of(self.name()))?);
        }
        let Some(folder) = &mut self.folder else { return Ok(()) };
        folder.turn("resume", stored.branch, step, "")
    }

    fn say_conditions(&self, state: &State, out: &mut Out) {
        for difference in state.conditions.differences(&Conditions::now(&self.base, &self.processor)) {
            out.diagnostic(
                Diagnostic::warning(codes::CONDITIONS, format!("run `{}`: {difference}", self.name())).note(
                    "numbers go on from the checkpoint exactly, but may differ in the last bits from here",
                ),
            );
        }
    }
}

impl Session {
    /// Binds the run as a checkpoint of `from` left it: a run's folder (then its last checkpoint), or a checkpoint.
    pub fn resume(&mut self, name: &str, from: &Path, out: &mut Out) -> Result<(), Diagnostic> {
        let path = newest_checkpoint(from)?;
        let definition = self.tune(name)?;
        let mut run = Run::begin(self, definition, out)?;
        let (trainer, state) = run.read_checkpoint(&path)?;
        let (stored, settled) = self.stored(&run, &path, &state, trainer.recipe())?;
        let step = trainer.step_count();
        run.trainer = trainer;
        run.record = record(&stored, name, run.trainer.planned_steps())?;
        run.lineage = stored.lineage.clone();
        run.saved = Due::done(step);
        // Its own folder is gone on with; from another one the run starts a folder of its own.
        if path.starts_with(RunFolder::path_of(name)) {
            self.runs.remove(name); // gives its lock on the folder back
            run.go_on_in_folder(&stored, step)?;
            run.stored.push(stored);
        }
        run.hold();
        out.note(format!("run {name}: taken up at step {step} from {}", path.display()));
        run.apply_changed(settled, out)?;
        run.say_conditions(&state, out);
        run.undo.clear();
        self.journal
            .say(format!("load {name} from {}", crate::language::value::quoted(&path.display().to_string())));
        self.runs.insert(name.to_string(), run);
        self.publish(name);
        Ok(())
    }

    /// With `--resume`: finds what an earlier process left of this run. Other weights, tokenizer or data are refused.
    pub(in crate::session) fn take_up(&self, run: &mut Run, out: &mut Out) -> Result<(), Diagnostic> {
        if !self.resuming {
            return Ok(());
        }
        let own = RunFolder::path_of(run.name());
        let mut newest = None;
        for (_, path) in checkpoints(&own.join("checkpoints")) {
            let state = checkpoint::read_state(&path).map_err(|error| train_error(run.name(), &error))?;
            state.origin.must_equal(&run.origin()?, &path).map_err(|error| refused(run.name(), &error))?;
            let (stored, settled) = self.stored(run, &path, &state, &state.recipe)?;
            newest = Some((stored.clone(), settled));
            run.stored.push(Stored { earlier: true, ..stored });
        }
        if let Some((stored, _)) = &newest {
            run.decide_as(&stored.lineage.first(1).last().recipe)?;
        }
        let same_start = |stored: &Stored| stored.lineage.first(1) == run.lineage.first(1);
        let Some((stored, settled)) = newest.filter(|_| !run.stored.iter().any(same_start)) else {
            return Ok(());
        };
        // The definition has changed since: go on from the last checkpoint, and change what can be changed there.
        if let Some(setting) = run.lineage.last().recipe.unchangeable(&stored.lineage.first(1).last().recipe)
        {
            return Err(changed(run.name(), setting));
        }
        run.jump(&stored, out)?;
        run.apply_changed(settled, out)?;
        run.undo.clear();
        run.passing = Some(0);
        run.passed = None;
        Ok(())
    }

    /// A checkpoint's state as the changes that led to it; and what the definition as it is now makes of them.
    fn stored(
        &self,
        run: &Run,
        path: &Path,
        state: &State,
        recipe: &Recipe,
    ) -> Result<(Stored, Change), Diagnostic> {
        let broken = |reason: &str| {
            let reason = reason.to_string();
            train_error(run.name(), &TrainError::Checkpoint { path: path.join(checkpoint::STATE), reason })
        };
        let remembered: Option<Remembered> = serde_json::from_value(state.session.clone()).ok();
        let branch = remembered.as_ref().map_or(0, |remembered| remembered.branch);
        let alone = || {
            vec![RememberedChange { at: 0, recipe: recipe.clone(), verb: String::new(), tail: String::new() }]
        };
        let changes = remembered.map_or_else(alone, |remembered| remembered.changes);
        let mut settled = as_recorded(run.lineage.first(1).last(), &changes[0].recipe);
        let mut lineage = vec![];
        for (index, RememberedChange { at, recipe, verb, tail }) in changes.into_iter().enumerate() {
            if index > 0 {
                let (settings, recipe) = self
                    .settle(&settled.settings, &verb, &tail)
                    .ok_or_else(|| broken("its changes cannot be read"))?;
                settled = Change { at, recipe, settings, verb: verb.clone(), tail: tail.clone() };
            }
            lineage.push(Change { at, recipe, settings: settled.settings.clone(), verb, tail });
        }
        let lineage =
            Lineage::from_parts(lineage, state.step).ok_or_else(|| broken("its changes are out of order"))?;
        Ok((Stored { lineage, path: path.to_path_buf(), branch, earlier: false }, settled))
    }
}

/// The definition, with what it leaves to the free memory as it was decided when the recorded run began.
fn as_recorded(definition: &Change, recorded: &Recipe) -> Change {
    let Change { recipe, settings, .. } = definition.clone();
    let checkpointing =
        if leaves_checkpointing_open(&settings) { recorded.checkpointing } else { recipe.checkpointing };
    let recipe = Recipe { checkpointing, ..recipe };
    Change { settings: as_decided(settings, &recipe), recipe, ..definition.clone() }
}

impl Run {
    /// Decides what is left to the free memory as a recorded run did, if this one has just begun.
    fn decide_as(&mut self, recorded: &Recipe) -> Result<(), Diagnostic> {
        if self.lineage.length() > 1 {
            return Ok(());
        }
        let start = as_recorded(self.lineage.last(), recorded);
        self.trainer.amend(start.recipe.clone()).map_err(|error| train_error(self.name(), &error))?;
        self.lineage = Lineage::start(start.settings, start.recipe);
        Ok(())
    }

    /// Puts the settings of the definition as it is now in the place of the checkpoint's, if they differ.
    fn apply_changed(&mut self, settled: Change, out: &mut Out) -> Result<(), Diagnostic> {
        if settled.recipe == *self.trainer.recipe() {
            return Ok(());
        }
        out.note(format!(
            "run {}: its settings differ from the checkpoint's; the new ones hold from here on",
            self.name()
        ));
        let tail = format!("{{ {} }}", settled.settings.given().to_ltune("; "));
        self.amend(settled.settings, settled.recipe, "set", &tail, out)
    }
}

fn refused(run: &str, error: &TrainError) -> Diagnostic {
    train_error(run, error).note(format!(
        "put back what has changed, or start over: without `--resume` the folder `{}` is moved aside",
        RunFolder::path_of(run).display()
    ))
}

fn changed(run: &str, setting: &str) -> Diagnostic {
    Diagnostic::error(
        codes::TRAINING,
        format!("run `{run}`: `{setting}` differs from that of its checkpoints, and a run keeps it"),
    )
    .note(format!(
        "put it back, or start over: without `--resume` the folder `{}` is moved aside",
        RunFolder::path_of(run).display()
    ))
}

/// The checkpoint itself, or the one of the highest step in a run's folder.
fn newest_checkpoint(from: &Path) -> Result<PathBuf, Diagnostic> {
    if from.join(checkpoint::STATE).is_file() {
        return Ok(from.to_path_buf());
    }
    let folder =
        if from.join("checkpoints").is_dir() { from.join("checkpoints") } else { from.to_path_buf() };
    std::fs::read_dir(&folder).map_err(|error| {
        Diagnostic::error(
            codes::FILE,
            format!("cannot read `{}`: {}", folder.display(), crate::files::plain(&error)),
        )
    })?;
    checkpoints(&folder).pop().map(|(_, path)| path).ok_or_else(|| {
        Diagnostic::error(codes::FILE, format!("there is no checkpoint in `{}`", from.display()))
            .note("checkpoints are written at the end of `run`, and every `save_every`")
    })
}

/// The checkpoints of a folder, by step; none when it cannot be read.
fn checkpoints(folder: &Path) -> Vec<(u64, PathBuf)> {
    let step_of =
        |path: &Path| -> Option<u64> { path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok() };
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((step_of(&path)?, path))
        })
        .collect();
    found.sort();
    found
}

/// What was measured up to a checkpoint, from the metrics beside it.
fn record(stored: &Stored, run: &str, planned: u64) -> Result<Record, Diagnostic> {
    let mut record = Record::default();
    let Some(folder) = stored.path.ancestors().find(|folder| folder.join(metrics::FILE).is_file()) else {
        return Ok(record);
    };
    let history = metrics::read(folder).map_err(|error| Diagnostic::error(codes::FILE, sentence(&error)))?;
    for row in history.until(stored.branch, stored.lineage.step()) {
        match row.entry.clone() {
            Entry::Step { step, loss, lr, grad_norm, tokens, seconds, epoch } => {
                let run = run.into();
                record.steps.push(Step { run, step, loss, lr, grad_norm, tokens, seconds, epoch, planned });
            }
            Entry::Eval { step, data, loss, perplexity, token_accuracy, tokens, seconds, metrics } => {
                record.evaluations.push(Evaluation {
                    model: run.into(),
                    data,
                    loss,
                    perplexity,
                    token_accuracy,
                    tokens,
                    seconds,
                    step: Some(step),
                    metrics,
                });
            }
            _ => {}
        }
    }
    Ok(record)
}
