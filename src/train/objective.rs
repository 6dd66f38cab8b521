//! What a step minimises: one function from a micro-batch to gradients, chosen by the recipe.

use crate::data::batch::MicroBatch;
use crate::model::llama::{DropoutSeed, Inputs, Policy};
use crate::model::loss::{LossSum, PendingSum, measure_training, train_micro};
use crate::model::recomputed::Activations;
use crate::model::recorded::Recordings;
use crate::train::error::TrainError;
use crate::train::recipe::{Objective, Recipe};

/// Adds the gradient of (sum of the losses / `tokens`) to the trained tensors; returns that sum of losses.
/// `tokens` are the supervised tokens of the whole step, so that every token weighs the same. With recordings it may be
/// played from one; they change no number.
pub fn backward(
    policy: &Policy,
    recipe: &Recipe,
    batch: MicroBatch,
    tokens: usize,
    seed: DropoutSeed,
    recordings: Option<&mut Recordings>,
) -> Result<PendingSum, TrainError> {
    let MicroBatch { input_ids, labels, rows, documents, attended, .. } = batch;
    let inputs = Inputs::new(policy.base, &input_ids, rows, documents, attended)?;
    let scale = 1.0 / tokens as f64;
    match (recipe.objective, recipe.checkpointing.activations(), recordings) {
        (Objective::NextToken, Activations::Kept, Some(recordings)) => {
            Ok(recordings.train_micro(policy, &inputs, &labels, scale, seed)?)
        }
        (Objective::NextToken, activations, _) => {
            Ok(train_micro(policy, &inputs, &labels, scale, seed, activations)?)
        }
    }
}

/// The losses that `backward` sums, token by token, with the dropout it has; nothing takes a gradient.
pub fn losses(
    policy: &Policy,
    recipe: &Recipe,
    batch: &MicroBatch,
    seed: DropoutSeed,
) -> Result<LossSum, TrainError> {
    let MicroBatch { input_ids, labels, rows, documents, attended, .. } = batch;
    let inputs = Inputs::new(policy.base, input_ids, *rows, documents.clone(), attended.clone())?;
    match recipe.objective {
        Objective::NextToken => Ok(measure_training(policy, &inputs, labels, seed)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::packing::Packing;
    use crate::train::clip::gradients;
    use crate::train::fixtures::{full, lora, material, steps, trainer};
    use crate::train::material::Material;
    use crate::train::trainer::Trainer;
    use tch::Tensor;

    const SEED: DropoutSeed = DropoutSeed(5);

    /// The loss of some examples as one micro-batch; their gradients are left on the run's tensors.
    fn loss(run: &Trainer, rows: &[Vec<usize>], packing: Packing) -> f64 {
        let batch = MicroBatch::new(&run.material().part, rows, packing);
        let tokens = batch.supervised;
        run.trainables().clear_gradients();
        backward(&run.policy(), run.recipe(), batch, tokens, SEED, None).unwrap().read().unwrap()
            / tokens as f64
    }

    fn assert_gradients_near(run: &Trainer, wanted: &[Tensor], tolerance: f64) {
        for ((name, _, gradient), wanted) in gradients(&run.trainables().tensors).zip(wanted) {
            let difference =
                (&gradient - wanted).norm().double_value(&[]) / (wanted.norm().double_value(&[]) + 1e-6);
            assert!(difference < tolerance, "{name}: {difference}");
        }
    }

    fn held_gradients(run: &Trainer) -> Vec<Tensor> {
        gradients(&run.trainables().tensors).map(|(.., gradient)| gradient.copy()).collect()
    }

    /// Moves one tensor along its gradient both ways; the losses must differ by the gradient's squared norm.
    fn assert_slope(run: &Trainer, name: &str) {
        let rows = vec![vec![0], vec![5], vec![9]];
        loss(run, &rows, Packing::Off);
        let gradient = run.trainables().tensors[name].grad().copy();
        let norm = gradient.norm().double_value(&[]);
        let distance = 2e-2 / norm.max(1e-3);
        let at = |distance: f64| {
            let _no_grad = tch::no_grad_guard();
            let mut tensor = run.trainables().tensors[name].detach();
            let before = tensor.copy();
            let _ = tensor.g_add_(&(&gradient * distance / norm));
            drop(_no_grad);
            let moved = loss(run, &rows, Packing::Off);
            let _no_grad = tch::no_grad_guard();
            tensor.copy_(&before);
            moved
        };
        let slope = (at(distance) - at(-distance)) / (2.0 * distance);
        assert!((slope / norm - 1.0).abs() < 2e-2, "{name}: slope {slope}, gradient {norm}");
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        let run = trainer(material(), full());
        for name in [
            "model.embed_tokens.weight",
            "model.norm.weight",
            "model.layers.0.self_attn.k_proj.weight",
            "model.layers.0.input_layernorm.weight",
            "model.layers.1.mlp.down_proj.weight",
        ] {
            assert_slope(&run, name);
        }
    }

    #[test]
    fn gradients_of_adapters_are_slopes_too_with_dropout_on() {
        let mut run = trainer(material(), lora());
        steps(&mut run, 3); // until then B is zero and A has no gradient
        for side in ["A", "B"] {
            assert_slope(&run, &format!("model.layers.0.self_attn.v_proj.lora_{side}.weight"));
            assert_slope(&run, &format!("model.layers.1.mlp.gate_proj.lora_{side}.weight"));
        }
    }

    #[test]
    fn packed_rows_have_the_losses_and_gradients_of_unpacked_ones() {
        let run = trainer(material(), full());
        let apart = loss(&run, &[vec![0], vec![1], vec![2], vec![3]], Packing::Off);
        let wanted = held_gradients(&run);
        let together = loss(&run, &[vec![0, 1, 2], vec![3]], Packing::Rows { max_len: 48 });
        assert!((apart - together).abs() < 1e-5, "{apart} {together}");
        assert_gradients_near(&run, &wanted, 1e-4);
    }

    #[test]
    fn padding_changes_nothing() {
        let run = trainer(material(), full());
        let batch = |examples: &[usize]| examples.iter().map(|example| vec![*example]).collect::<Vec<_>>();
        let tokens =
            |example: usize| run.material().part.example(example).supervised.iter().filter(|s| **s).count();
        let (short, long) = (0, 8);
        assert!(run.material().part.length(long) > run.material().part.length(short) + 8);
        let padded = loss(&run, &batch(&[short, long]), Packing::Off);
        let alone = |example| loss(&run, &batch(&[example]), Packing::Off) * tokens(example) as f64;
        let apart = (alone(short) + alone(long)) / (tokens(short) + tokens(long)) as f64;
        assert!((padded - apart).abs() < 1e-5, "{padded} {apart}");
    }

    #[test]
    fn a_row_taken_out_of_a_batch_is_the_same_row() {
        let material = Material { packing: Packing::Rows { max_len: 48 }, ..material() };
        let rows = vec![vec![0, 1, 2], vec![3]];
        let batch = MicroBatch::new(&material.part, &rows, material.packing);
        let single = material.single_rows(&batch);
        assert_eq!(single.iter().map(|row| row.examples.clone()).collect::<Vec<_>>(), rows);
    }
}
