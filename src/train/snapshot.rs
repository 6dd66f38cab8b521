//! A run held in host memory as it was at a step: putting it back restores every byte, on whichever device it trains.

use crate::model::trainables::Trainables;
use crate::torch::raw;
use crate::train::optimizer::{Moment, Moments};
use crate::train::recipe::Recipe;
use crate::train::trainer::Trainer;
use std::cell::RefCell;
use std::sync::Arc;
use tch::{Device, Tensor};

/// Everything of a run that changes. It shares no tensor with the run, and no one writes to it.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) step: u64,
    pub(super) recipe: Recipe,
    pub(super) trainables: Trainables,
    pub(super) moments: Moments,
    bytes: u64,
}

impl Snapshot {
    /// The optimizer step it was taken after.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The settings as they were.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Bytes of its tensors.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn new(step: u64, recipe: Recipe, trainables: Trainables, moments: Moments) -> Snapshot {
        let bytes = bytes(&trainables, &moments);
        Snapshot { step, recipe, trainables, moments, bytes }
    }
}

impl Trainer {
    /// A copy of all that changes.
    pub fn snapshot(&self) -> Snapshot {
        let trainables = copy_trainables(&self.trainables, Device::Cpu);
        Snapshot::new(self.step, self.recipe.clone(), trainables, copy_moments(&self.moments, Device::Cpu))
    }

    /// What the run holds, when the run itself is needed no longer: nothing is copied on the CPU.
    pub fn into_snapshot(self) -> Snapshot {
        if self.base.device != Device::Cpu {
            return self.snapshot();
        }
        Snapshot::new(self.step, self.recipe, self.trainables, self.moments)
    }

    /// Puts the run back to a snapshot of itself, or of a run that it shares base and rows with.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let device = self.base.device;
        self.trainables = copy_trainables(&snapshot.trainables, device);
        self.moments = copy_moments(&snapshot.moments, device);
        self.settle(snapshot.recipe.clone());
        self.step = snapshot.step;
    }

    /// A second run as this one was at the snapshot; it shares base and rows.
    pub fn fork_at(&self, snapshot: &Snapshot) -> Trainer {
        let device = self.base.device;
        let trainables = copy_trainables(&snapshot.trainables, device);
        let mut fork = self.sharing(trainables, copy_moments(&snapshot.moments, device), snapshot.step);
        fork.settle(snapshot.recipe.clone());
        fork
    }

    /// A second run from here: it shares base and rows, and owns a copy of what is trained.
    pub fn fork(&self) -> Trainer {
        let device = self.base.device;
        self.sharing(
            copy_trainables(&self.trainables, device),
            copy_moments(&self.moments, device),
            self.step,
        )
    }

    fn sharing(&self, trainables: Trainables, moments: Moments, step: u64) -> Trainer {
        Trainer {
            base: Arc::clone(&self.base),
            material: self.material.clone(),
            order: Arc::clone(&self.order),
            recipe: self.recipe.clone(),
            trainables,
            moments,
            step,
            own: self.own.clone(),
            recordings: RefCell::default(),
        }
    }

    /// Bytes of the tensors that this run owns: what a snapshot of it takes.
    pub fn bytes(&self) -> u64 {
        bytes(&self.trainables, &self.moments)
    }
}

/// A copy that shares no memory, on that device.
fn copy(tensor: &Tensor, device: Device) -> Tensor {
    let tensor = tensor.detach();
    if tensor.device() == device { tensor.copy() } else { tensor.to_device(device) }
}

fn copy_trainables(trainables: &Trainables, device: Device) -> Trainables {
    let copy = |tensor: &Tensor| copy(tensor, device).set_requires_grad(tensor.requires_grad());
    Trainables {
        tensors: trainables.tensors.iter().map(|(name, tensor)| (name.clone(), copy(tensor))).collect(),
        lora: trainables.lora.clone(),
    }
}

fn copy_moments(moments: &Moments, device: Device) -> Moments {
    let copied = |moment: &Moment| Moment {
        tensors: moment.tensors.iter().map(|tensor| copy(tensor, device)).collect(),
        updates: moment.updates,
    };
    moments.iter().map(|(name, moment)| (name.clone(), copied(moment))).collect()
}

fn bytes(trainables: &Trainables, moments: &Moments) -> u64 {
    let remembered = moments.values().flat_map(|moment| &moment.tensors);
    trainables.tensors.values().chain(remembered).map(raw::size).sum()
}

#[cfg(test)]
mod tests {
    use crate::train::fixtures::{bytes, full, lora, material, packed, steps, trainer};
    use crate::train::recipe::{Recipe, Selection};

    #[test]
    fn going_back_and_stepping_again_gives_the_same_bits() {
        for (material, recipe) in [(material(), lora()), (packed(), lora()), (material(), full())] {
            let mut run = trainer(material, recipe);
            steps(&mut run, 4);
            let held = run.snapshot();
            let (first, end) = (steps(&mut run, 5), bytes(&run));
            run.restore(&held);
            assert_eq!(run.step_count(), 4);
            assert_eq!((steps(&mut run, 5), bytes(&run)), (first, end));
        }
    }

    #[test]
    fn going_back_past_changed_settings_brings_the_old_ones_back() {
        let mut run = trainer(material(), lora());
        steps(&mut run, 3);
        let (held, there) = (run.snapshot(), bytes(&run));
        let freeze = vec![Selection::freeze("layers 0"), Selection::unfreeze("embeddings")];
        run.amend(Recipe { lr: 1e-2, freeze, ..lora() }).unwrap();
        let changed = steps(&mut run, 2);
        run.restore(&held);
        assert_eq!((run.recipe(), bytes(&run)), (&lora(), there));
        let unchanged = steps(&mut run, 2);
        assert_ne!(changed, unchanged);
        let mut never = trainer(material(), lora());
        assert_eq!(steps(&mut never, 5)[3..], unchanged);
        assert_eq!(bytes(&never), bytes(&run));
    }

    #[test]
    fn a_fork_at_a_snapshot_is_the_run_as_it_was_and_leaves_the_run_alone() {
        let mut run = trainer(material(), lora());
        steps(&mut run, 2);
        let held = run.snapshot();
        let ahead = steps(&mut run, 3);
        let there = bytes(&run);
        let mut fork = run.fork_at(&held);
        assert_eq!(steps(&mut fork, 3), ahead);
        assert_eq!((bytes(&fork), bytes(&run)), (there.clone(), there.clone()));
        let mut again = fork.fork();
        again.restore(&run.into_snapshot());
        assert_eq!(bytes(&again), there);
    }

    #[test]
    fn a_fork_shares_the_base_and_nothing_that_is_trained() {
        let mut parent = trainer(material(), lora());
        steps(&mut parent, 3);
        let mut fork = parent.fork();
        let there = bytes(&parent);
        let ahead = steps(&mut fork, 2);
        assert_eq!(bytes(&parent), there);
        assert_eq!(steps(&mut parent, 2), ahead);
        assert!(std::sync::Arc::ptr_eq(parent.base(), fork.base()));
        assert_eq!(fork.snapshot().bytes(), parent.bytes());
        assert_eq!(parent.bytes(), 3 * 4 * parent.trainables().parameter_count());
    }
}
