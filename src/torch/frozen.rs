//! Tensors that nobody writes any more, shared between runs and threads.

use crate::torch::kernels::Weight;
use crate::torch::nf4::Nf4;
use std::collections::BTreeMap;
use tch::Tensor;

/// Named tensors that are never written after this value is made, and never require a gradient; matrices among them may
/// be in 4 bits.
#[derive(Debug, Default)]
pub struct Frozen {
    tensors: BTreeMap<String, Tensor>,
    quantized: BTreeMap<String, Nf4>,
}

// SAFETY: libtorch counts references atomically and reads of a tensor that nobody writes are safe from any thread;
// this type gives out shared references only, and `Frozen::new` takes the tensors whole.
unsafe impl Sync for Frozen {}

impl Frozen {
    /// Takes the tensors; they no longer require gradients.
    pub fn new(weights: BTreeMap<String, Weight>) -> Frozen {
        let mut frozen = Frozen::default();
        for (name, weight) in weights {
            match weight {
                Weight::Plain(tensor) => drop(frozen.tensors.insert(name, tensor.set_requires_grad(false))),
                Weight::Nf4(held) => drop(frozen.quantized.insert(name, held)),
            }
        }
        frozen
    }

    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Those that are floats.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.tensors.iter()
    }

    pub fn nf4(&self, name: &str) -> Option<&Nf4> {
        self.quantized.get(name)
    }

    pub fn quantized(&self) -> impl Iterator<Item = (&String, &Nf4)> {
        self.quantized.iter()
    }
}
