//! A micro-batch as a CUDA graph: what it asks of a GPU is recorded once and asked again by one call for each later
//! micro-batch of its shape. A small model then no longer waits for the processor, which asks for hundreds of kernels a step.
//! They are the same kernels over the same numbers: losses and gradients are those of the plain way to the last bit. Only where
//! a trained head is the embeddings too and several micro-batches add up are their parts added in another order.

use crate::model::ModelError;
use crate::model::llama::{Course, DropoutSeed, Inputs, Policy};
use crate::model::loss::{PendingSum, Targets, from_hidden, train_micro};
use crate::model::recomputed::Activations;
use crate::torch::graph::Graph;
use crate::torch::{TorchError, gradient};
use tch::{Device, Tensor};

/// The recording of a run. One is held at a time, since it keeps the activations of its micro-batch.
#[derive(Debug, Default)]
pub struct Recordings {
    /// The shape of the last micro-batch, and how many in a row had it.
    last: Option<(Shape, u32)>,
    held: Option<Recording>,
}

/// Micro-batches of one shape in a row after which that shape is recorded: the first, and one in the place of another.
const ENOUGH: u32 = 2;
const ENOUGH_FOR_ANOTHER: u32 = 8;

/// What micro-batches share that one recording serves.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    rows_and_length: (i64, i64),
    supervised: i64,
    scale: f64,
}

impl Recordings {
    #[cfg(test)]
    pub fn holds_one(&self) -> bool {
        self.held.is_some()
    }

    /// `train_micro` with the activations kept. The second micro-batch in a row of a shape is recorded, and all of that shape
    /// are played from then on. Computed as ever: the first, which also lets libtorch make ready for it; what is packed, since
    /// its documents are told from the host; and adapters with dropout, whose seeds are new each time.
    pub fn train_micro(
        &mut self,
        policy: &Policy,
        inputs: &Inputs,
        labels: &[i64],
        scale: f64,
        seed: DropoutSeed,
    ) -> Result<PendingSum, ModelError> {
        // Tests record on the processor too, where a play computes once more.
        let has_graphs = policy.base.device.is_cuda() || cfg!(test);
        if !has_graphs || !inputs.documents.is_empty() || policy.dropout() > 0.0 {
            return train_micro(policy, inputs, labels, scale, seed, Activations::Kept);
        }
        let Some(targets) = Targets::of(policy, inputs, labels)? else {
            return Ok(PendingSum::default());
        };
        let supervised = targets.targets_s.size()[0];
        let shape = Shape { rows_and_length: inputs.shape(), supervised, scale };
        let in_a_row = match &self.last {
            Some((last, count)) if *last == shape => count.saturating_add(1),
            _ => 1,
        };
        self.last = Some((shape.clone(), in_a_row));
        let held = self.held.take().filter(|held| held.is_over(policy));
        let enough = if held.is_some() { ENOUGH_FOR_ANOTHER } else { ENOUGH };
        let mut recording = match held {
            Some(held) if held.shape == shape => held,
            held if in_a_row < enough => {
                self.held = held;
                return train_micro(policy, inputs, labels, scale, seed, Activations::Kept);
            }
            held => {
                drop(held); // its memory first
                Recording::new(policy, inputs, targets.copy(), shape)?
            }
        };
        let sum = recording.play(policy, inputs, &targets)?;
        self.held = Some(recording);
        Ok(sum)
    }
}

#[derive(Debug)]
struct Recording {
    shape: Shape,
    course: Course<'static>,
    /// What a play reads, `[b, t]` and `[s]`.
    input_ids: Tensor,
    targets: Targets,
    /// What it writes: the sum of the losses, and gradients beside their leaves.
    sum: Tensor,
    gradients: Vec<(Tensor, Tensor)>,
    /// None on the processor.
    graph: Option<Graph>,
}

impl Recording {
    fn new(
        policy: &Policy,
        inputs: &Inputs,
        targets: Targets,
        shape: Shape,
    ) -> Result<Recording, ModelError> {
        let input_ids = inputs.input_ids.copy();
        let mut course = Course::over_rows(policy.base, inputs);
        let device = policy.base.device;
        let (graph, (sum, gradients)) = apart(policy, || {
            let mut compute = || computed(policy, &input_ids, &mut course, &targets, shape.scale);
            match device {
                Device::Cuda(index) => {
                    let (graph, made) = Graph::record(index, compute).map_err(not_recorded)?;
                    Ok((Some(graph), made))
                }
                _ => Ok((None, compute()?)),
            }
        })?;
        Ok(Recording { shape, course, input_ids, targets, sum, gradients, graph })
    }

    /// Whether it computes over these very tensors: going back puts others in their place.
    fn is_over(&self, policy: &Policy) -> bool {
        let same = |(leaf, (held, _)): (&Tensor, &(Tensor, Tensor))| leaf.data_ptr() == held.data_ptr();
        trained(policy).count() == self.gradients.len() && trained(policy).zip(&self.gradients).all(same)
    }

    /// Adds the gradients of a micro-batch of the shape to those of the leaves.
    fn play(
        &mut self,
        policy: &Policy,
        inputs: &Inputs,
        targets: &Targets,
    ) -> Result<PendingSum, ModelError> {
        self.input_ids.f_copy_(&inputs.input_ids)?;
        self.targets.positions_s.f_copy_(&targets.positions_s)?;
        self.targets.targets_s.f_copy_(&targets.targets_s)?;
        for (leaf, own) in self.with_gradient() {
            // What an earlier play of this step left there is overwritten by this one.
            let held = leaf.grad();
            if held.defined() && held.data_ptr() == own.data_ptr() {
                gradient::clear(leaf);
                gradient::accumulate(leaf, &own.copy())?;
            }
        }
        match &self.graph {
            Some(graph) => graph.play()?,
            None => self.compute_again(policy)?,
        }
        for (leaf, own) in self.with_gradient() {
            gradient::accumulate(leaf, own)?;
        }
        Ok(PendingSum::of_tensor(self.sum.copy()))
    }

    /// Those of its leaves that the loss depends on, with what a play leaves for them.
    fn with_gradient(&self) -> impl Iterator<Item = &(Tensor, Tensor)> {
        self.gradients.iter().filter(|(_, own)| own.defined())
    }

    /// A play without a graph.
    fn compute_again(&mut self, policy: &Policy) -> Result<(), ModelError> {
        let Recording { shape, course, input_ids, targets, sum, gradients, .. } = self;
        let again = || computed(policy, input_ids, course, targets, shape.scale);
        let (new_sum, new_gradients) = apart(policy, again)?;
        sum.f_copy_(&new_sum)?;
        for ((_, own), (_, new)) in
            gradients.iter_mut().zip(&new_gradients).filter(|(_, (_, new))| new.defined())
        {
            own.f_copy_(new)?;
        }
        Ok(())
    }
}

impl Targets {
    fn copy(&self) -> Targets {
        Targets { positions_s: self.positions_s.copy(), targets_s: self.targets_s.copy() }
    }
}

/// What libtorch refuses while it records would go without a recording: the message says which setting to write.
fn not_recorded(error: ModelError) -> ModelError {
    match error {
        ModelError::Torch(TorchError::Operation(reason)) => TorchError::NotRecorded(reason).into(),
        other => other,
    }
}

/// The tensors that take gradients.
fn trained<'a>(policy: &Policy<'a>) -> impl Iterator<Item = &'a Tensor> {
    let all = policy.trainables.into_iter().flat_map(|trainables| trainables.tensors.values());
    all.filter(|tensor| tensor.requires_grad())
}

/// The sum of the losses, and the gradients that the leaves have after it.
fn computed(
    policy: &Policy,
    input_ids: &Tensor,
    course: &mut Course,
    targets: &Targets,
    scale: f64,
) -> Result<(Tensor, Vec<(Tensor, Tensor)>), ModelError> {
    let hidden_btd = policy.through(input_ids, course);
    let sum = from_hidden(policy, &hidden_btd, targets, scale)?.into_tensor();
    Ok((sum, trained(policy).map(|leaf| (leaf.shallow_clone(), leaf.grad())).collect()))
}

/// Computes with leaves that have no gradient yet, and gives them back those that they had.
fn apart<T>(policy: &Policy, compute: impl FnOnce() -> Result<T, ModelError>) -> Result<T, ModelError> {
    let before: Vec<(&Tensor, Tensor)> = trained(policy).map(|leaf| (leaf, leaf.grad())).collect();
    before.iter().for_each(|(leaf, _)| gradient::clear(leaf));
    let made = compute();
    for (leaf, held) in before {
        gradient::clear(leaf);
        if held.defined() {
            gradient::accumulate(leaf, &held)?;
        }
    }
    made
}
