//! Forks, drops and new names: runs that come from runs, and runs that go.

use crate::events::{Diagnostic, Event, Move, Out};
use crate::language::codes;
use crate::session::definitions::TuneDefinition;
use crate::session::lineage::{Change, Lineage};
use crate::session::record;
use crate::session::run::{Run, snapshot_budget, train_error};
use crate::session::timeline::{differences, ways_out};
use crate::session::training::Due;
use crate::session::{Session, unbound};
use crate::torch::memory;
use crate::train::error::TrainError;
use crate::train::metrics::Entry;
use std::rc::Rc;
use std::time::Instant;

impl Session {
    /// A second run that goes on from a place on the way of `parent`, with changed settings if any. Both share the base
    /// and the snapshots; what is trained is copied.
    pub fn fork(
        &mut self,
        parent: &str,
        child: &str,
        at: &Lineage,
        change: Option<Change>,
        out: &mut Out,
    ) -> Result<(), Diagnostic> {
        let started = Instant::now();
        let run = self.runs.get(parent).ok_or_else(|| unbound(parent))?;
        let Some(mut trainer) = run.trainer_of(at, out)? else {
            out.note(format!("fork {parent}: interrupted; there is no run `{child}`"));
            return Ok(());
        };
        let mut lineage = at.clone();
        let mut text = String::new();
        if let Some(change) = change {
            trainer
                .amend(change.recipe.clone())
                .map_err(|error| not_forked(parent, child, at.step(), &error))?;
            text = format!(": {}", differences(at.settings(), &change.settings));
            lineage = at.changed(Change { recipe: trainer.recipe().clone(), ..change });
        }
        let last = lineage.last();
        let definition = Rc::new(TuneDefinition {
            name: child.to_string(),
            recipe: last.recipe.clone(),
            settings: last.settings.clone(),
            ..TuneDefinition::clone(&run.definition)
        });
        let mut held = run.held.leading_to(&lineage);
        held.set_budget(snapshot_budget(&last.settings), &lineage);
        let mut fork = Run {
            id: 0,
            base: run.base.clone(),
            processor: run.processor.clone(),
            tokenizer: run.tokenizer.clone(),
            dataset: run.dataset.clone(),
            trainer,
            record: run.record.until(at.step(), child),
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
            definition,
            lineage,
        };
        out.emit(Event::Move(Move {
            run: child.to_string(),
            verb: "fork".into(),
            from: at.step(),
            to: at.step(),
            note: format!("a fork of {parent} at step {}{text}", at.step()),
            seconds: started.elapsed().as_secs_f64(),
        }));
        self.take_up(&mut fork, out)?;
        fork.id = self.next_id();
        if let Some(parent) = self.runs.get_mut(parent) {
            parent.happened("fork", at.step(), &format!("as {child}"))?;
        }
        self.outline.define_run(TuneDefinition::clone(&fork.definition));
        self.runs.insert(child.to_string(), fork);
        Ok(())
    }

    /// Forgets a run and gives its memory back. Its folder stays.
    pub fn drop_run(&mut self, name: &str, out: &mut Out) {
        let Some(run) = self.runs.remove(name) else {
            self.outline.remove(name);
            return out.note(format!("run {name} is dropped; it had not begun"));
        };
        let folder = run.folder.as_ref().map(|folder| format!("; `{}` stays", folder.path.display()));
        drop(run);
        memory::trim();
        self.outline.remove(name);
        out.note(format!("run {name} is dropped{}", folder.unwrap_or_default()));
    }

    /// Gives a run another name; its folder follows.
    pub fn rename_run(&mut self, name: &str, new: &str, out: &mut Out) -> Result<(), Diagnostic> {
        let tune = self.tune(name)?;
        let renamed = TuneDefinition { name: new.to_string(), ..TuneDefinition::clone(&tune) };
        if let Some(mut run) = self.runs.remove(name) {
            if let Some(folder) = &mut run.folder
                && let Err(error) = folder.rename(new, out)
            {
                self.runs.insert(name.to_string(), run);
                return Err(error);
            }
            let earlier = crate::session::folder::RunFolder::path_of(name);
            let path = crate::session::folder::RunFolder::path_of(new);
            for stored in &mut run.stored {
                if let Ok(rest) = stored.path.strip_prefix(&earlier) {
                    stored.path = path.join(rest);
                }
            }
            run.definition =
                Rc::new(TuneDefinition { name: new.to_string(), ..TuneDefinition::clone(&run.definition) });
            run.record = run.record.until(u64::MAX, new);
            self.runs.insert(new.to_string(), run);
        }
        self.outline.rename_run(name, renamed);
        out.note(format!("run {name} is now {new}"));
        Ok(())
    }
}

impl Run {
    /// Writes into the metrics that something was done after this step which left the weights as they were.
    pub fn happened(&mut self, event: &str, step: u64, note: &str) -> Result<(), Diagnostic> {
        let Some(folder) = &mut self.folder else { return Ok(()) };
        folder.record(Entry::Event { event: event.into(), step, note: note.into() })
    }

    /// Its method in a few words.
    pub fn method_text(&self) -> String {
        record::method_text(&self.trainer.recipe().method)
    }
}

fn not_forked(parent: &str, child: &str, step: u64, error: &TrainError) -> Diagnostic {
    let diagnostic = train_error(parent, error);
    let TrainError::Unchangeable { .. } = error else { return diagnostic };
    let [_, fresh] = ways_out(parent);
    diagnostic
        .note(format!(
            "`fork {parent} as {child} at 0 {{ … }}` begins anew with the change; this one is at step {step}"
        ))
        .note(fresh)
}

/// A name that is taken cannot be given to a fork.
pub fn taken(name: &str) -> Diagnostic {
    Diagnostic::error(codes::NAME_TAKEN, format!("`{name}` is the name of a run already"))
        .note(format!("choose another name, or `drop {name}` first"))
}
