//! Activation checkpointing by block (Chen et al., 2016): the forward pass keeps what goes into each block, and the way back
//! computes the block once more. Dropout is seeded, so it is the same block: losses and gradients are those of the plain
//! graph to the last bit.

use crate::model::ModelError;
use crate::model::config::layer_of;
use crate::model::llama::{Course, DropoutSeed, Inputs, Policy};
use crate::torch::gradient;
use tch::Tensor;

/// Whether the activations of a forward pass are kept until its backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    Kept,
    /// Only what goes into each block that takes part in the backward pass.
    Recomputed,
}

/// The lowest place of the model that a gradient goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lowest {
    Embeddings,
    Block(i64),
    /// The final norm or the head alone.
    End,
}

impl Lowest {
    /// Where that is when the tensors of these names are trained.
    pub fn of<'a>(trained: impl IntoIterator<Item = &'a str>) -> Lowest {
        let place = |name: &str| match layer_of(name) {
            Some(layer) => Lowest::Block(layer),
            None if name == "model.embed_tokens.weight" => Lowest::Embeddings,
            None => Lowest::End,
        };
        trained.into_iter().map(place).min().unwrap_or(Lowest::End)
    }

    /// Whether the way back goes through this block.
    pub fn reaches(self, layer: i64) -> bool {
        self <= Lowest::Block(layer)
    }

    /// Whether it goes on to what lies below.
    pub fn goes_below(self, layer: i64) -> bool {
        self < Lowest::Block(layer)
    }
}

/// A forward pass that holds what its way back needs.
pub(super) struct Recomputed<'a> {
    policy: &'a Policy<'a>,
    inputs: &'a Inputs,
    course: Course<'a>,
    lowest: Lowest,
    /// What goes into each block from the lowest that takes part on, with the block's number.
    into_blocks: Vec<(i64, Tensor)>,
    /// What comes out of the last block.
    x_nd: Tensor,
}

impl<'a> Recomputed<'a> {
    /// Through all blocks, without a graph.
    pub fn forward(policy: &'a Policy<'a>, inputs: &'a Inputs, seed: DropoutSeed) -> Recomputed<'a> {
        let _no_grad = tch::no_grad_guard();
        let mut course = Course::new(policy.base, inputs, Some(seed));
        let lowest = lowest(policy);
        let mut into_blocks = vec![];
        let mut x_nd = policy.embed(&inputs.input_ids);
        for layer in 0..policy.base.config.num_hidden_layers {
            if lowest.reaches(layer) {
                into_blocks.push((layer, x_nd.shallow_clone()));
            }
            x_nd = policy.block(x_nd, layer, &mut course);
        }
        let below = lowest.goes_below(policy.base.config.num_hidden_layers);
        let x_nd = x_nd.set_requires_grad(below);
        Recomputed { policy, inputs, course, lowest, into_blocks, x_nd }
    }

    /// Hidden states after the final norm, `[b, t, d]`, in a graph that begins behind the last block.
    pub fn hidden(&self) -> Tensor {
        self.policy.last_norm(&self.x_nd, &self.course)
    }

    /// The rest of the way, when the gradient has come back to what `hidden` began with.
    pub fn backward(mut self) -> Result<(), ModelError> {
        let mut of_x = self.x_nd.grad();
        self.x_nd = Tensor::new();
        while let Some((layer, x_nd)) = self.into_blocks.pop() {
            if !of_x.defined() {
                return Ok(()); // nothing was supervised
            }
            let x_nd = x_nd.set_requires_grad(self.lowest.goes_below(layer));
            let out_nd = self.policy.block(x_nd.shallow_clone(), layer, &mut self.course);
            gradient::backward(&[&out_nd], &[&of_x])?;
            of_x = x_nd.grad();
        }
        if self.lowest == Lowest::Embeddings && of_x.defined() {
            gradient::backward(&[&self.policy.embed(&self.inputs.input_ids)], &[&of_x])?;
        }
        Ok(())
    }
}

fn lowest(policy: &Policy) -> Lowest {
    let tensors = policy.trainables.iter().flat_map(|trainables| &trainables.tensors);
    Lowest::of(tensors.filter(|(_, tensor)| tensor.requires_grad()).map(|(name, _)| name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_place_is_that_of_what_is_trained() {
        let of = |names: &[&str]| Lowest::of(names.iter().copied());
        assert_eq!(of(&["model.norm.weight", "lm_head.weight"]), Lowest::End);
        let block = of(&["model.norm.weight", "model.layers.3.mlp.up_proj.lora_A.weight"]);
        assert_eq!(block, Lowest::Block(3));
        assert_eq!(
            [2, 3, 4].map(|layer| (block.reaches(layer), block.goes_below(layer))),
            [(false, false), (true, false), (true, true)]
        );
        let embeddings = of(&["model.embed_tokens.weight", "model.layers.3.mlp.up_proj.weight"]);
        assert!(embeddings.reaches(0) && embeddings.goes_below(0));
        assert!(!Lowest::End.reaches(5) && !of(&[]).goes_below(9));
    }
}
