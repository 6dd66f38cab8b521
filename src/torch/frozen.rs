//! Tensors that nobody writes any more, shared between runs and threads.

use std::collections::BTreeMap;
use tch::Tensor;

/// Named tensors that are never written after this value is made, and never require a gradient.
#[derive(Debug, Default)]
pub struct Frozen {
    tensors: BTreeMap<String, Tensor>,
}

// SAFETY: libtorch counts references atomically and reads of a tensor that nobody writes are safe from any thread;
// this type gives out shared references only, and `Frozen::new` takes the tensors whole.
unsafe impl Sync for Frozen {}

impl Frozen {
    /// Takes the tensors; they no longer require gradients.
    pub fn new(tensors: BTreeMap<String, Tensor>) -> Frozen {
        let tensors =
            tensors.into_iter().map(|(name, tensor)| (name, tensor.set_requires_grad(false))).collect();
        Frozen { tensors }
    }

    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.tensors.iter()
    }
}
