//! A step that ran out of memory: the run stands where it stood before it, and what to type so that the next one fits.

use crate::events::{Diagnostic, Out};
use crate::language::codes;
use crate::session::Session;
use crate::session::definitions::TuneDefinition;
use crate::session::fit::live_edits;
use crate::session::training::Goal;

impl Session {
    /// Trains a run towards the goal; whether a step was taken. Where memory runs out, the smallest changes that a live
    /// run can take are named.
    pub fn train(&mut self, name: &str, goal: &Goal, out: &mut Out) -> Result<bool, Diagnostic> {
        match self.run(name, out)?.train(goal, out) {
            Err(diagnostic) if diagnostic.code == codes::OUT_OF_MEMORY => {
                Err(self.with_ways_out(name, diagnostic, out))
            }
            result => result,
        }
    }

    fn with_ways_out(&mut self, name: &str, diagnostic: Diagnostic, out: &mut Out) -> Diagnostic {
        let Some(run) = self.runs.get(name) else { return diagnostic };
        let (recipe, settings) = (run.trainer.recipe().clone(), run.settings().clone());
        let now = TuneDefinition { recipe, settings, ..TuneDefinition::clone(&run.definition) };
        let Ok(forecast) = self.forecast(&now, out) else { return diagnostic };
        let edits = live_edits(&now, &forecast);
        let Some(first) = edits.first() else {
            return diagnostic.note(
                "no setting of a live run takes less: begin a fresh one on shorter rows or a smaller model",
            );
        };
        let statement = format!("set {name} {{ {} }}", first.text);
        edits.iter().fold(
            diagnostic.note(format!("type `{statement}`, then go on: nothing is lost")),
            |diagnostic, edit| diagnostic.note(edit.sentence()),
        )
    }
}
