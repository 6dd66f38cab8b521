//! Going through a run's time: the state after any step, from the nearest place it is held at.

use crate::events::{Diagnostic, Out};
use crate::session::run::{Run, train_error};
use crate::train::trainer::Trainer;

impl Run {
    /// The run as it was after `step`, as a trainer of its own; the run itself stays where it is.
    pub fn trainer_at(&self, step: u64, out: &mut Out) -> Result<Trainer, Diagnostic> {
        let failed = |error| train_error(&self.definition.name, &error);
        let recipe = self.definition.recipe.clone();
        let mut trainer =
            Trainer::new(self.base.clone(), self.trainer.material().clone(), recipe).map_err(failed)?;
        while trainer.step_count() < step {
            trainer.step(&out.cancel).map_err(failed)?;
        }
        Ok(trainer)
    }
}
