//! Next-token cross-entropy over supervised positions, in chunks: all logits never exist at once.

use crate::model::ModelError;
use crate::model::llama::{DropoutSeed, Inputs, Policy};
use crate::model::operations;
use crate::model::recomputed::{Activations, Recomputed};
use crate::torch::kernels::{product_into, product_over_rows};
use crate::torch::{device, gradient};
use tch::{Device, Kind, Tensor};

/// The label of a position without a target.
pub const NO_TARGET: i64 = -100;

/// Rows of logits that exist at once. Part of the numbers: another size changes last bits.
pub const CHUNK: i64 = 1024;

/// The loss over the supervised positions of a micro-batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossSum {
    /// Sum of the tokens' losses in nats.
    pub loss_sum: f64,
    /// Supervised positions.
    pub tokens: usize,
    /// Positions whose likeliest token is the target; counted when measuring only.
    pub correct: usize,
    /// Each position's loss, row by row; kept when asked for.
    pub per_token: Vec<f32>,
}

/// A sum of losses on its way: known at once on the processor; on a GPU it is a number there until it is read.
#[derive(Debug, Default)]
pub struct PendingSum {
    known: f64,
    pending: Option<Tensor>,
}

impl PendingSum {
    /// As a number that stays where it is, fp64.
    pub(super) fn into_tensor(self) -> Tensor {
        self.pending.unwrap_or_else(|| Tensor::from(self.known))
    }

    pub(super) fn of_tensor(sum: Tensor) -> PendingSum {
        PendingSum { known: 0.0, pending: Some(sum) }
    }

    /// Adds the losses of some rows, in order.
    fn add_losses(&mut self, losses_s: &Tensor) -> Result<(), ModelError> {
        if losses_s.device() == Device::Cpu {
            self.known += total(&Vec::<f32>::try_from(losses_s)?);
            return Ok(());
        }
        self.add(PendingSum { known: 0.0, pending: Some(losses_s.f_sum(Kind::Double)?) })
    }

    pub fn add(&mut self, other: PendingSum) -> Result<(), ModelError> {
        self.known += other.known;
        self.pending = match (self.pending.take(), other.pending) {
            (Some(held), Some(more)) => Some(held.f_add(&more)?),
            (held, more) => held.or(more),
        };
        Ok(())
    }

    /// False where it is known already not to be a number, so that nothing more need be computed.
    pub fn may_be_finite(&self) -> bool {
        self.known.is_finite()
    }

    /// The sum; waits for the device.
    pub fn read(&self) -> Result<f64, ModelError> {
        let pending = self.pending.as_ref().map_or(Ok(0.0), |pending| pending.f_double_value(&[]))?;
        Ok(self.known + pending)
    }
}

/// Whether each position's loss is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Sum,
    PerToken,
}

/// One micro-batch of training: forward, loss and backward. Adds to `.grad` of the trainables the gradient of
/// `scale · Σ loss`; `scale` is 1 over the supervised tokens of the whole step. `labels` `[b·t]` are already shifted.
pub fn train_micro(
    policy: &Policy,
    inputs: &Inputs,
    labels: &[i64],
    scale: f64,
    seed: DropoutSeed,
    activations: Activations,
) -> Result<PendingSum, ModelError> {
    let Some(targets) = Targets::of(policy, inputs, labels)? else {
        return Ok(PendingSum::default());
    };
    match activations {
        Activations::Kept => from_hidden(policy, &policy.hidden(inputs, Some(seed)), &targets, scale),
        Activations::Recomputed => {
            let blocks = Recomputed::forward(policy, inputs, seed);
            let sum = from_hidden(policy, &blocks.hidden(), &targets, scale)?;
            blocks.backward()?;
            Ok(sum)
        }
    }
}

/// The loss, and backward from it to where the graph of the hidden states begins.
pub(super) fn from_hidden(
    policy: &Policy,
    hidden_btd: &Tensor,
    targets: &Targets,
    scale: f64,
) -> Result<PendingSum, ModelError> {
    let chosen = Supervised::choose(hidden_btd, targets)?;
    let (sum, gradient_sd) = chosen.gradient(policy, scale)?;
    if let Some(gradient_sd) = gradient_sd {
        gradient::backward(&[&chosen.hidden_sd], &[&gradient_sd])?;
    }
    Ok(sum)
}

/// The loss of a micro-batch without gradients.
pub fn measure_micro(
    policy: &Policy,
    inputs: &Inputs,
    labels: &[i64],
    detail: Detail,
) -> Result<LossSum, ModelError> {
    measured(policy, inputs, labels, detail, None)
}

/// The losses that `train_micro` sums, each by itself: dropout is on, and nothing takes a gradient.
pub fn measure_training(
    policy: &Policy,
    inputs: &Inputs,
    labels: &[i64],
    seed: DropoutSeed,
) -> Result<LossSum, ModelError> {
    measured(policy, inputs, labels, Detail::PerToken, Some(seed))
}

fn measured(
    policy: &Policy,
    inputs: &Inputs,
    labels: &[i64],
    detail: Detail,
    dropout: Option<DropoutSeed>,
) -> Result<LossSum, ModelError> {
    let _no_grad = tch::no_grad_guard();
    match Targets::of(policy, inputs, labels)? {
        Some(targets) => {
            Supervised::choose(&policy.hidden(inputs, dropout), &targets)?.measure(policy, detail)
        }
        None => Ok(LossSum::default()),
    }
}

/// Where a micro-batch has targets, and which, on the device of the model: both `[s]`.
#[derive(Debug)]
pub(super) struct Targets {
    pub positions_s: Tensor,
    pub targets_s: Tensor,
}

impl Targets {
    /// None where nothing is supervised.
    pub fn of(policy: &Policy, inputs: &Inputs, labels: &[i64]) -> Result<Option<Targets>, ModelError> {
        let vocabulary = policy.base.config.vocab_size;
        let chosen = labels.iter().enumerate().filter(|(_, label)| **label != NO_TARGET);
        // Rows may be longer on the device than their labels are.
        let (rows, long) = inputs.shape();
        let length = labels.len() as i64 / rows.max(1);
        let place = |index: i64| index / length * long + index % length;
        let (positions, targets): (Vec<i64>, Vec<i64>) =
            chosen.map(|(index, label)| (place(index as i64), *label)).unzip();
        if let Some(&id) = targets.iter().find(|target| !(0..vocabulary).contains(*target)) {
            return Err(ModelError::TokenOutside { id, vocabulary });
        }
        if targets.is_empty() {
            return Ok(None);
        }
        let on_device = |values: &[i64]| device::put(&Tensor::f_from_slice(values)?, policy.base.device);
        Ok(Some(Targets { positions_s: on_device(&positions)?, targets_s: on_device(&targets)? }))
    }
}

/// The positions that have a target.
struct Supervised<'a> {
    /// `[s, d]`, in the graph.
    hidden_sd: Tensor,
    /// `[s]`
    targets_s: &'a Tensor,
}

impl Supervised<'_> {
    fn choose<'a>(hidden_btd: &Tensor, targets: &'a Targets) -> Result<Supervised<'a>, ModelError> {
        let hidden_sd = hidden_btd.f_flatten(0, 1)?.f_index_select(0, &targets.positions_s)?;
        Ok(Supervised { hidden_sd, targets_s: &targets.targets_s })
    }

    fn tokens(&self) -> i64 {
        self.targets_s.size()[0]
    }

    /// Starts and lengths of the chunks.
    fn chunks(&self) -> impl Iterator<Item = (i64, i64)> {
        let tokens = self.tokens();
        (0..tokens).step_by(CHUNK as usize).map(move |start| (start, CHUNK.min(tokens - start)))
    }

    fn measure(&self, policy: &Policy, detail: Detail) -> Result<LossSum, ModelError> {
        let head_vd = policy.head();
        let mut sum = LossSum { tokens: self.tokens() as usize, ..LossSum::default() };
        for (start, length) in self.chunks() {
            let targets_s = self.targets_s.narrow(0, start, length);
            let logits_sv = logits(&self.hidden_sd.narrow(0, start, length), &head_vd)?;
            let (losses, correct) = operations::losses(&logits_sv, &targets_s)?;
            sum.correct += correct;
            sum.loss_sum += total(&losses);
            if detail == Detail::PerToken {
                sum.per_token.extend(losses);
            }
        }
        Ok(sum)
    }

    /// The loss, and the gradient of `scale · loss` for the hidden states if they take one. The head's own gradient,
    /// if it is trained, is added to its leaf.
    fn gradient(&self, policy: &Policy, scale: f64) -> Result<(PendingSum, Option<Tensor>), ModelError> {
        let _no_grad = tch::no_grad_guard();
        let head_name = policy.base.config.head_name();
        let head_vd = policy.head();
        let head_leaf = policy.trainables.and_then(|trainables| trainables.get(head_name));
        let hidden_sd = self.hidden_sd.detach();
        let gradient_sd = if self.hidden_sd.requires_grad() { Some(hidden_sd.f_empty_like()?) } else { None };
        let mut sum = PendingSum::default();
        for (start, length) in self.chunks() {
            let (x_sd, targets_s) =
                (hidden_sd.narrow(0, start, length), self.targets_s.narrow(0, start, length));
            let logits_sv = logits(&x_sd, &head_vd)?;
            let (losses, difference_sv) = operations::loss_to_gradient(logits_sv, &targets_s, scale)?;
            sum.add_losses(&losses)?;
            if let Some(gradient_sd) = &gradient_sd {
                product_into(&gradient_sd.narrow(0, start, length), &difference_sv, &head_vd, false)?;
            }
            if let Some(leaf) = head_leaf {
                add_to_head(leaf, &difference_sv, &x_sd)?;
            }
        }
        Ok((sum, gradient_sd))
    }
}

/// `[s, d]` times the head `[v, d]` → `[s, v]`
fn logits(hidden_sd: &Tensor, head_vd: &Tensor) -> Result<Tensor, ModelError> {
    let shape = [hidden_sd.size()[0], head_vd.size()[0]];
    let logits_sv = Tensor::f_empty(shape, (hidden_sd.kind(), hidden_sd.device()))?;
    product_into(&logits_sv, hidden_sd, head_vd, true)?;
    Ok(logits_sv)
}

/// Taken in f64, in order.
fn total(losses: &[f32]) -> f64 {
    losses.iter().map(|loss| f64::from(*loss)).sum()
}

fn add_to_head(leaf: &Tensor, difference_sv: &Tensor, x_sd: &Tensor) -> Result<(), ModelError> {
    let mut held = leaf.grad();
    if held.defined() && x_sd.kind() == Kind::Float {
        let _ = held.f_addmm_(&difference_sv.tr(), x_sd)?;
        return Ok(());
    }
    Ok(gradient::accumulate(leaf, &product_over_rows(difference_sv, x_sd)?.f_to_kind(Kind::Float)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures;
    use crate::model::trainables::Trainables;

    fn rows() -> (Vec<i64>, Vec<i64>) {
        let ids: Vec<i64> = (0..40).map(|index| (index * index * 7 + 3) % 512).collect();
        let labels =
            ids.iter().enumerate().map(|(index, id)| if index % 3 == 0 { NO_TARGET } else { (id + 1) % 512 });
        let labels = labels.collect();
        (ids, labels)
    }

    #[test]
    fn loss_and_gradients_equal_those_of_plain_cross_entropy() {
        let base = fixtures::random(Kind::Float);
        let (ids, labels) = rows();
        let inputs = fixtures::inputs(&base, &ids, 2);
        let (ours, plain) = (Trainables::full(&base).unwrap(), Trainables::full(&base).unwrap());
        let policy = Policy { base: &base, trainables: Some(&ours) };
        let sum = train_micro(&policy, &inputs, &labels, 0.25, DropoutSeed(1), Activations::Kept).unwrap();

        let policy = Policy { base: &base, trainables: Some(&plain) };
        let logits = policy.logits(&policy.hidden(&inputs, None)).view([-1, 512]);
        let targets = Tensor::from_slice(&labels);
        let loss = logits.cross_entropy_loss(&targets, None::<Tensor>, tch::Reduction::Sum, NO_TARGET, 0.0);
        assert!((sum.read().unwrap() - loss.double_value(&[])).abs() < 1e-4);
        (loss * 0.25).backward();
        for (name, tensor) in &ours.tensors {
            let difference = (tensor.grad() - plain.tensors[name].grad()).abs().max().double_value(&[]);
            assert!(difference < 1e-5, "{name}: {difference}");
        }
    }

    #[test]
    fn gradients_add_up_over_micro_batches() {
        let base = fixtures::random(Kind::Float);
        let (ids, labels) = rows();
        let trainables = Trainables::full(&base).unwrap();
        let policy = Policy { base: &base, trainables: Some(&trainables) };
        let inputs = fixtures::inputs(&base, &ids, 2);
        let norms = || -> Vec<f64> {
            trainables.tensors.values().map(|tensor| tensor.grad().norm().double_value(&[])).collect()
        };
        train_micro(&policy, &inputs, &labels, 1.0, DropoutSeed(1), Activations::Kept).unwrap();
        let once = norms();
        train_micro(&policy, &inputs, &labels, 1.0, DropoutSeed(1), Activations::Kept).unwrap();
        assert!(norms().iter().zip(once).all(|(twice, once)| (twice / once - 2.0).abs() < 1e-5));
    }

    #[test]
    fn measuring_gives_the_loss_of_training_and_counts_hits() {
        let base = fixtures::random(Kind::Float);
        let (ids, labels) = rows();
        let (policy, inputs) = (fixtures::policy(&base), fixtures::inputs(&base, &ids, 2));
        let measured = measure_micro(&policy, &inputs, &labels, Detail::PerToken).unwrap();
        let trainables = Trainables::last_layers(&base, 1).unwrap();
        let trained = Policy { base: &base, trainables: Some(&trainables) };
        let trained =
            train_micro(&trained, &inputs, &labels, 1.0, DropoutSeed(1), Activations::Kept).unwrap();
        assert_eq!(measured.tokens, labels.iter().filter(|label| **label != NO_TARGET).count());
        assert!((measured.loss_sum - trained.read().unwrap()).abs() < 1e-6);
        let total: f64 = measured.per_token.iter().map(|loss| f64::from(*loss)).sum();
        assert!((measured.loss_sum - total).abs() < 1e-9 && measured.per_token.len() == measured.tokens);
        let likeliest =
            Vec::<i64>::try_from(policy.logits(&policy.hidden(&inputs, None)).argmax(-1, false).view(-1))
                .unwrap();
        assert_eq!(
            measure_micro(&policy, &inputs, &likeliest, Detail::Sum).unwrap().correct,
            likeliest.len()
        );
    }

    #[test]
    fn nothing_supervised_is_nothing_to_learn() {
        let base = fixtures::random(Kind::Float);
        let inputs = fixtures::inputs(&base, &[1, 2, 3], 1);
        let trainables = Trainables::full(&base).unwrap();
        let policy = Policy { base: &base, trainables: Some(&trainables) };
        let sum =
            train_micro(&policy, &inputs, &[NO_TARGET; 3], 1.0, DropoutSeed(1), Activations::Kept).unwrap();
        assert_eq!(sum.read().unwrap(), 0.0);
        let error = train_micro(&policy, &inputs, &[600, 1, 1], 1.0, DropoutSeed(1), Activations::Kept)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("token 600 is outside"), "{error}");
    }

    #[test]
    fn only_the_head_may_be_trained() {
        let base = fixtures::load("tiny-llama3");
        let trainables = Trainables::of(&base, |name| name == "lm_head.weight").unwrap();
        let policy = Policy { base: &base, trainables: Some(&trainables) };
        let (ids, labels) = rows();
        train_micro(
            &policy,
            &fixtures::inputs(&base, &ids, 2),
            &labels,
            1.0,
            DropoutSeed(1),
            Activations::Kept,
        )
        .unwrap();
        assert!(trainables.tensors["lm_head.weight"].grad().norm().double_value(&[]) > 0.0);
        assert_eq!(base.device, Device::Cpu);
    }
}
