//! A step taken apart: the loss of each of its examples, and where in the model its gradient was.

use crate::data::batch::MicroBatch;
use crate::events::Cancel;
use crate::model::config::layer_of;
use crate::model::loss::LossSum;
use crate::train::clip::{gradient_norm, gradients};
use crate::train::error::TrainError;
use crate::train::objective;
use crate::train::schedule::rate;
use crate::train::trainer::Trainer;
use std::collections::{BTreeMap, BTreeSet};
use tch::Tensor;

/// What a step does, and from what.
#[derive(Clone, Debug, PartialEq)]
pub struct Anatomy {
    pub step: u64,
    /// The mean over the step's supervised tokens.
    pub loss: f64,
    pub lr: f64,
    /// Of all gradients together, before clipping.
    pub grad_norm: f64,
    pub examples: Vec<ExampleLoss>,
    /// In the order in which the model computes them.
    pub blocks: Vec<BlockNorm>,
}

/// One example of the step.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleLoss {
    /// The example's number in its part.
    pub example: usize,
    /// The mean over its supervised tokens; NaN where it has none.
    pub loss: f64,
    /// Supervised tokens.
    pub tokens: usize,
    /// All its tokens.
    pub length: usize,
}

/// The gradient of one block of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockNorm {
    pub block: Block,
    pub norm: f64,
    /// Of its attention and its MLP alone, where they are trained.
    pub attention: Option<f64>,
    pub mlp: Option<f64>,
}

/// A stretch of the model, in the order in which it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Block {
    Embeddings,
    Layer(i64),
    FinalNorm,
    Head,
}

impl Block {
    fn of(tensor: &str) -> Block {
        match layer_of(tensor) {
            Some(layer) => Block::Layer(layer),
            None if tensor.contains("embed_tokens") => Block::Embeddings,
            None if tensor.contains("lm_head") => Block::Head,
            None => Block::FinalNorm,
        }
    }

    pub fn name(self) -> String {
        match self {
            Block::Embeddings => "embeddings".into(),
            Block::Layer(layer) => format!("layer {layer}"),
            Block::FinalNorm => "final norm".into(),
            Block::Head => "head".into(),
        }
    }
}

impl Trainer {
    /// The next step, looked at and not taken. The run stays as it is.
    pub fn dissect(&self, cancel: &Cancel) -> Result<Anatomy, TrainError> {
        let step = self.step + 1;
        let batches = self.batches_of(step);
        let sums = self.losses(step, &batches, cancel)?;
        self.trainables.clear_gradients();
        let result = self
            .gradients(step, &batches, cancel)
            .and_then(|(loss, norm)| Ok((loss, norm, block_norms(&self.trainables.tensors)?)));
        self.trainables.clear_gradients();
        let (loss, grad_norm, blocks) = result?;
        let lr = rate(&self.recipe, &self.own, self.steps_per_epoch(), step)?;
        let of_batch = |(batch, sum): (&MicroBatch, &LossSum)| self.example_losses(batch, &sum.per_token);
        let examples = batches.iter().zip(&sums).flat_map(of_batch).collect();
        Ok(Anatomy { step, loss, lr, grad_norm, examples, blocks })
    }

    /// The losses of these micro-batches of a step under the run as it is, with the step's dropout.
    pub(super) fn losses(
        &self,
        step: u64,
        batches: &[MicroBatch],
        cancel: &Cancel,
    ) -> Result<Vec<LossSum>, TrainError> {
        let one = |(index, batch): (usize, &MicroBatch)| {
            if cancel.abort() {
                return Err(TrainError::Aborted { step });
            }
            objective::losses(&self.policy(), &self.recipe, batch, self.dropout_seed(step, index))
        };
        batches.iter().enumerate().map(one).collect()
    }

    /// Shares the losses of a micro-batch's tokens out among its examples, whose order they are in.
    fn example_losses(&self, batch: &MicroBatch, mut per_token: &[f32]) -> Vec<ExampleLoss> {
        let part = &self.material.part;
        let mut losses = vec![];
        for &example in &batch.examples {
            let targets = part.example(example).supervised.iter().skip(1); // the first token has nothing before it
            let (own, rest) = per_token.split_at(targets.filter(|supervised| **supervised).count());
            per_token = rest;
            let loss = own.iter().map(|loss| f64::from(*loss)).sum::<f64>() / own.len() as f64;
            losses.push(ExampleLoss { example, loss, tokens: own.len(), length: part.length(example) });
        }
        losses
    }
}

fn block_norms(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<BlockNorm>, TrainError> {
    let blocks: BTreeSet<Block> = gradients(tensors).map(|(name, ..)| Block::of(name)).collect();
    let of_block = |block: Block| {
        let within = |part: &'static str| {
            norm_of(tensors, move |name| Block::of(name) == block && name.contains(part))
        };
        let norm = within("")?.unwrap_or(0.0);
        Ok(BlockNorm { block, norm, attention: within(".self_attn.")?, mlp: within(".mlp.")? })
    };
    blocks.into_iter().map(of_block).collect()
}

/// The norm over the tensors of these names; `None` where none of them has a gradient.
fn norm_of(
    tensors: &BTreeMap<String, Tensor>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Option<f64>, TrainError> {
    let wanted = tensors.iter().filter(|(name, _)| wanted(name));
    let tensors: BTreeMap<String, Tensor> =
        wanted.map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    if gradients(&tensors).next().is_none() {
        return Ok(None);
    }
    gradient_norm(&tensors).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::{bytes, full, lora, material, packed, steps, trainer};
    use crate::train::material::Material;
    use crate::train::recipe::Recipe;

    fn near(left: f64, right: f64) -> bool {
        (left / right - 1.0).abs() < 1e-12
    }

    /// Takes a step apart, then takes it: the run is as it was, and the parts are those of the step.
    fn assert_parts_make_the_step(material: Material, recipe: Recipe) -> Anatomy {
        let mut run = trainer(material, recipe);
        steps(&mut run, 4);
        let before = bytes(&run);
        let anatomy = run.dissect(&Cancel::default()).unwrap();
        assert_eq!(bytes(&run), before);
        assert!(run.trainables().tensors.values().all(|tensor| !tensor.grad().defined()));
        let report = steps(&mut run, 1).remove(0);
        assert_eq!((anatomy.step, anatomy.loss, anatomy.lr), (report.step, report.loss, report.lr));
        assert_eq!(anatomy.grad_norm, report.grad_norm);
        let examples: Vec<usize> = anatomy.examples.iter().map(|row| row.example).collect();
        assert_eq!(examples, report.examples);
        let tokens: usize = anatomy.examples.iter().map(|row| row.tokens).sum();
        assert_eq!(tokens as u64, report.tokens);
        let sum: f64 = anatomy.examples.iter().map(|row| row.loss * row.tokens as f64).sum();
        assert!(near(sum / tokens as f64, report.loss), "{} {}", sum / tokens as f64, report.loss);
        let squares: f64 = anatomy.blocks.iter().map(|block| block.norm.powi(2)).sum();
        assert!(near(squares.sqrt(), report.grad_norm), "{} {}", squares.sqrt(), report.grad_norm);
        anatomy
    }

    #[test]
    fn the_rows_of_a_step_make_its_loss_and_the_layers_its_gradient() {
        let anatomy = assert_parts_make_the_step(material(), lora());
        let names: Vec<String> = anatomy.blocks.iter().map(|block| block.block.name()).collect();
        assert_eq!(names, ["layer 0", "layer 1"]);
        for block in &anatomy.blocks {
            let (attention, mlp) = (block.attention.unwrap(), block.mlp.unwrap());
            assert!(near(attention.hypot(mlp), block.norm));
        }
    }

    #[test]
    fn so_do_packed_rows_and_a_full_fine_tune() {
        assert_parts_make_the_step(packed(), lora());
        let anatomy = assert_parts_make_the_step(material(), full());
        let names: Vec<String> = anatomy.blocks.iter().map(|block| block.block.name()).collect();
        assert_eq!(names, ["embeddings", "layer 0", "layer 1", "final norm"]);
        assert_eq!(anatomy.blocks[0].attention, None);
    }

    #[test]
    fn looking_into_a_step_can_be_broken_off() {
        let run = trainer(material(), lora());
        let cancel = Cancel::default();
        cancel.request();
        assert!(run.dissect(&cancel).is_ok(), "a first request lets it finish");
        cancel.request();
        assert!(matches!(run.dissect(&cancel), Err(TrainError::Aborted { step: 1 })));
    }
}
