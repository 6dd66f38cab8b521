//! Going through a run's time: taking back, redoing, going anywhere, and changing settings on the way.

use crate::events::{Diagnostic, Event, Move, Out, Progress};
use crate::language::codes;
use crate::language::value::Settings;
use crate::session::folder::RunFolder;
use crate::session::held::Place;
use crate::session::lineage::{Change, Happening, Lineage};
use crate::session::record::{Record, evaluation_entry, step_entry};
use crate::session::run::{Run, as_decided, snapshot_budget, train_error};
use crate::session::training::time_left;
use crate::train::error::TrainError;
use crate::train::metrics::Entry;
use crate::train::recipe::Recipe;
use crate::train::selection::selection_mistake;
use crate::train::trainer::Trainer;
use crate::units::counted;
use std::rc::Rc;
use std::time::Instant;

/// What one statement did to a run.
#[derive(Clone, Debug)]
pub(in crate::session) struct Deed {
    pub verb: String,
    pub before: Lineage,
    pub after: Lineage,
}

/// A place that was left by going back: what was measured on the way there, for when the run comes back to it.
#[derive(Debug)]
pub(in crate::session) struct Left {
    lineage: Lineage,
    record: Record,
    /// Of the metrics.
    branch: u64,
}

impl Run {
    /// Takes back what the last statement did.
    pub fn undo(&mut self, out: &mut Out) -> Result<(), Diagnostic> {
        let Some(deed) = self.undo.last().cloned() else {
            return Err(Diagnostic::error(
                codes::NOTHING_TO_UNDO,
                format!("there is nothing to take back on run `{}`", self.name()),
            )
            .note(format!("it is at step {}, as it began in this session", self.lineage.step())));
        };
        let there = (self.lineage.clone(), self.undo.clone());
        let what = match deed.verb.as_str() {
            "step" | "goto" => String::new(),
            _ => format!("`{}` taken back", deed.after.last().statement(self.name())),
        };
        if self.go(&deed.before, "undo", &what, out)? {
            self.undo.pop();
            self.redo.push(there);
        }
        Ok(())
    }

    /// Takes back so many optimizer steps, and the settings that were changed after the first of them.
    pub fn undo_steps(&mut self, count: u64, out: &mut Out) -> Result<(), Diagnostic> {
        let Some(step) = self.lineage.step().checked_sub(count) else {
            return Err(Diagnostic::error(
                codes::NO_SUCH_STEP,
                format!(
                    "run `{}` has taken {}, so {count} cannot be taken back",
                    self.name(),
                    counted(self.lineage.step(), "step")
                ),
            )
            .note(format!("`goto {} 0` goes back to the beginning", self.name())));
        };
        let there = (self.lineage.clone(), self.undo.clone());
        let target = self.lineage.at(step);
        if self.go(&target, "undo", "", out)? {
            self.forget_deeds_after(&target);
            self.redo.push(there);
        }
        Ok(())
    }

    /// Takes back the last `undo`.
    pub fn redo(&mut self, out: &mut Out) -> Result<(), Diagnostic> {
        let Some((target, deeds)) = self.redo.last().cloned() else {
            return Err(Diagnostic::error(
                codes::NOTHING_TO_UNDO,
                format!("there is nothing to redo on run `{}`", self.name()),
            )
            .note("`redo` takes back an `undo`, as long as nothing was done in between"));
        };
        let again = if self.lineage.leads_to(&target) { target.since(&self.lineage) } else { vec![] };
        let changes = again.iter().filter_map(|happening| match happening {
            Happening::Change(change) => Some(format!("`{}` again", change.statement(self.name()))),
            Happening::Steps(_) => None,
        });
        let what = changes.collect::<Vec<_>>().join(", ");
        if self.go(&target, "redo", &what, out)? {
            self.redo.pop();
            self.undo = deeds;
        }
        Ok(())
    }

    /// Goes to a step that was taken before, with the settings that were in force when the run went on from it.
    pub fn goto(&mut self, step: u64, out: &mut Out) -> Result<(), Diagnostic> {
        let before = self.lineage.clone();
        let target = self.known(step).ok_or_else(|| {
            Diagnostic::error(
                codes::NO_SUCH_STEP,
                format!("run `{}` is at step {} and was never at step {step}", self.name(), before.step()),
            )
            .note(format!(
                "`step {} {}` goes on to it",
                self.name(),
                step.saturating_sub(before.step())
            ))
        })?;
        if target == before {
            out.note(format!("run {} is at step {step} already", self.name()));
            return Ok(());
        }
        if self.go(&target, "goto", "", out)? {
            self.did("goto", before);
        }
        Ok(())
    }

    /// Changes settings from the next step on; `verb` and `tail` are the statement that says so.
    pub fn amend(
        &mut self,
        settings: Settings,
        recipe: Recipe,
        verb: &str,
        tail: &str,
        out: &mut Out,
    ) -> Result<(), Diagnostic> {
        let (before, step) = (self.lineage.clone(), self.lineage.step());
        let checkpointing = recipe.checkpointing.or(self.trainer.recipe().checkpointing);
        let recipe = Recipe { checkpointing, ..recipe };
        let same_budget = settings.get("snapshots") == self.settings().get("snapshots");
        if recipe == *self.trainer.recipe() && same_budget {
            out.note(format!("{verb} {}: nothing changes; it is so already", self.name()));
            return Ok(());
        }
        // Statements after one that failed may freeze what is frozen; in a journal that would be refused.
        if let Some(error) = selection_mistake(&self.base.config, &recipe) {
            return Err(self.not_amended(&error));
        }
        self.hold_start();
        self.trainer.amend(recipe).map_err(|error| self.not_amended(&error))?;
        let recipe = self.trainer.recipe().clone();
        let settings = as_decided(settings, &recipe);
        let text = differences(self.settings(), &settings);
        let (verb, tail) = (verb.to_string(), tail.to_string());
        self.lineage = before.changed(Change { at: step, recipe, settings, verb: verb.clone(), tail });
        self.held.set_budget(snapshot_budget(self.settings()), &self.lineage);
        if let Some(folder) = &mut self.folder {
            folder.record(change_entry(self.lineage.last()))?;
        }
        out.note(format!("{}: {text}, from step {} on", self.name(), step + 1));
        self.did(&verb, before);
        Ok(())
    }

    fn not_amended(&self, error: &TrainError) -> Diagnostic {
        let diagnostic = train_error(self.name(), error);
        let TrainError::Unchangeable { .. } = error else { return diagnostic };
        ways_out(self.name()).into_iter().fold(diagnostic, Diagnostic::note)
    }

    /// The run as it was after `step`, as a trainer of its own; the run itself stays where it is.
    pub fn trainer_at(&self, step: u64, out: &mut Out) -> Result<Trainer, Diagnostic> {
        let target = self.known(step).ok_or_else(|| {
            Diagnostic::error(
                codes::NO_SUCH_STEP,
                format!(
                    "run `{}` is at step {} and was never at step {step}",
                    self.name(),
                    self.lineage.step()
                ),
            )
        })?;
        self.trainer_of(&target, out)?.ok_or_else(|| {
            Diagnostic::error(
                codes::TRAINING,
                format!("run `{}`: interrupted on the way to step {step}", self.name()),
            )
        })
    }

    /// The lineage of a step that the run has been at: on its way to here, or on a way that it left last.
    pub fn known(&self, step: u64) -> Option<Lineage> {
        if step <= self.lineage.step() {
            return Some(self.lineage.at(step));
        }
        let ways = self.left.iter().rev().map(|left| &left.lineage);
        let ahead = ways.filter(|way| self.lineage.leads_to(way) && way.step() >= step);
        ahead.map(|way| way.at(step)).next()
    }

    /// A statement did something, if the run is not where it was before.
    pub(in crate::session) fn did(&mut self, verb: &str, before: Lineage) {
        if before != self.lineage {
            self.undo.push(Deed { verb: verb.to_string(), before, after: self.lineage.clone() });
            self.redo.clear();
        }
    }

    fn forget_deeds_after(&mut self, target: &Lineage) {
        while let Some(deed) = self.undo.last_mut() {
            if deed.after == *target {
                return;
            }
            if deed.before.leads_to(target) && deed.before != *target {
                deed.after = target.clone();
                return;
            }
            self.undo.pop();
        }
    }

    /// Puts the run there; `false` when it was interrupted on the way and stayed where it was.
    fn go(&mut self, target: &Lineage, verb: &str, what: &str, out: &mut Out) -> Result<bool, Diagnostic> {
        let started = Instant::now();
        let Some(trainer) = self.trainer_of(target, out)? else {
            out.note(format!(
                "{verb} {}: interrupted; the run stays at step {}",
                self.name(),
                self.lineage.step()
            ));
            return Ok(false);
        };
        let (record, branch) = self.measured(target);
        let here = self.folder.as_ref().map_or(0, RunFolder::branch);
        if let Some(folder) = &mut self.folder {
            folder.turn(verb, branch.unwrap_or(here), target.step(), what)?;
        }
        let from = self.lineage.step();
        self.leave(here);
        let earlier = std::mem::replace(&mut self.trainer, trainer);
        let place = Place { lineage: self.lineage.clone(), snapshot: Rc::new(earlier.into_snapshot()) };
        self.lineage = target.clone();
        self.held.keep(place, target);
        self.held.set_budget(snapshot_budget(self.settings()), target);
        self.record = record;
        out.emit(Event::Move(Move {
            run: self.name().to_string(),
            verb: verb.to_string(),
            from,
            to: target.step(),
            note: what.to_string(),
            seconds: started.elapsed().as_secs_f64(),
        }));
        Ok(true)
    }

    /// Remembers what was measured on the way to here, in that branch of the metrics.
    fn leave(&mut self, branch: u64) {
        let left = Left { lineage: self.lineage.clone(), record: std::mem::take(&mut self.record), branch };
        self.left.retain(|known| !known.lineage.leads_to(&left.lineage));
        self.left.push(left);
    }

    /// What was measured up to there, and the branch of the metrics that holds it, if it is another one.
    fn measured(&self, target: &Lineage) -> (Record, Option<u64>) {
        if target.step() <= self.lineage.shared(target).step() {
            return (self.record.until(target.step(), self.name()), None);
        }
        let holds = |left: &&Left| target.step() <= left.lineage.shared(target).step();
        match self.left.iter().rev().find(holds) {
            Some(left) => (left.record.until(target.step(), self.name()), Some(left.branch)),
            None => (self.record.until(target.step(), self.name()), None),
        }
    }

    /// A trainer in that state, from the nearest place that leads there; `None` when it was interrupted.
    pub(in crate::session) fn trainer_of(
        &self,
        target: &Lineage,
        out: &mut Out,
    ) -> Result<Option<Trainer>, Diagnostic> {
        let (lineage, trainer) = self.nearest(target)?;
        let replayed = target.step() - lineage.step();
        if replayed > 0 {
            let left = time_left(&self.record.steps, replayed);
            let time = left.map_or(String::new(), |left| format!(", about {left}"));
            out.note(format!(
                "run {}: no snapshot of step {} is held; taking {} again from step {}{time}",
                self.name(),
                target.step(),
                counted(replayed, "step"),
                lineage.step(),
            ));
        }
        self.replay(trainer, &target.since(&lineage), out)
    }

    /// The nearest state that leads there: where the run is, a snapshot, a checkpoint, or the beginning.
    fn nearest(&self, target: &Lineage) -> Result<(Lineage, Trainer), Diagnostic> {
        let held = self.held.nearest(target);
        let reached = held.map_or(0, |place| place.lineage.length());
        if self.lineage.leads_to(target) && self.lineage.length() > reached {
            return Ok((self.lineage.clone(), self.trainer.fork()));
        }
        if let Some(found) = self.stored_nearest(target, reached) {
            return Ok(found);
        }
        if let Some(place) = held {
            return Ok((place.lineage.clone(), self.trainer.fork_at(&place.snapshot)));
        }
        let start = target.first(1);
        let recipe = start.last().recipe.clone();
        let trainer = Trainer::new(self.base.clone(), self.trainer.material().clone(), recipe);
        let trainer = trainer.map_err(|error| train_error(self.name(), &error))?;
        Ok((start, trainer.with_schedules(self.trainer.schedules())))
    }

    fn replay(
        &self,
        mut trainer: Trainer,
        happenings: &[Happening],
        out: &mut Out,
    ) -> Result<Option<Trainer>, Diagnostic> {
        let failed = |error: TrainError| train_error(self.name(), &error);
        let steps = |happening: &Happening| if let Happening::Steps(count) = happening { *count } else { 0 };
        let total = happenings.iter().map(steps).sum();
        let cancel = out.cancel.clone();
        let mut done = 0;
        for happening in happenings {
            match happening {
                Happening::Change(change) => trainer.amend(change.recipe.clone()).map_err(failed)?,
                Happening::Steps(count) => {
                    for _ in 0..*count {
                        match trainer.step(&cancel) {
                            Ok(_) if cancel.stop() => return Ok(None),
                            Ok(_) => done += 1,
                            Err(TrainError::Aborted { .. }) => return Ok(None),
                            Err(error) => return Err(failed(error)),
                        }
                        let task = format!("{} again", self.name());
                        let (unit, note) = ("steps".to_string(), String::new());
                        out.emit(Event::Progress(Progress { task, done, total, unit, note }));
                    }
                }
            }
        }
        Ok(Some(trainer))
    }

    /// Rows that a folder made now begins with: what came before its first step.
    pub fn inherited(&self) -> Vec<Entry> {
        let changes = self.lineage.changes()[1..].iter().map(|change| (change.at, 2, change_entry(change)));
        let steps = self.record.steps.iter().map(|step| (step.step, 0, step_entry(step)));
        let evaluations = self.record.evaluations.iter().map(|evaluation| {
            let entry = evaluation_entry(evaluation);
            (entry.step(), 1, entry)
        });
        let mut rows: Vec<(u64, u8, Entry)> = steps.chain(evaluations).chain(changes).collect();
        rows.sort_by_key(|(step, order, _)| (*step, *order));
        rows.into_iter().map(|(.., entry)| entry).collect()
    }
}

fn change_entry(change: &Change) -> Entry {
    Entry::Event { event: change.verb.clone(), step: change.at, note: change.tail.clone() }
}

/// What to do instead of changing what a live run keeps.
pub fn ways_out(run: &str) -> [String; 2] {
    [
        format!("`fork {run} as {run}2 at 0 {{ … }}` begins anew with the change, beside `{run}`"),
        format!("or define a fresh run: `tune {run}2 {{ … }}`"),
    ]
}

/// `lr 2e-4 → 1e-4, schedule cosine { … } → constant`
pub fn differences(earlier: &Settings, now: &Settings) -> String {
    let mut found = vec![];
    for (name, resolved) in now.iter() {
        let value = resolved.value.to_ltune();
        match earlier.get(name).map(|value| value.to_ltune()) {
            Some(then) if then == value => {}
            Some(then) => found.push(format!("{name} {then} → {value}")),
            None => found.push(format!("{name} {value}")),
        }
    }
    let gone = earlier.iter().filter(|(name, _)| now.get(name).is_none());
    found.extend(gone.map(|(name, _)| format!("{name} as by default")));
    found.join(", ")
}
