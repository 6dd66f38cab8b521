//! What a run trains: its own fp32 tensors, laid over a shared, frozen base.

use crate::model::ModelError;
use crate::model::base::Base;
use crate::model::config::layer_of;
use crate::model::lora::{self, LoraSettings};
use crate::torch::{gradient, raw};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// The tensors of one run. A checkpoint name stands over the base's tensor; adapters are named
/// `<module>.lora_A.weight` `[r, in]` and `<module>.lora_B.weight` `[out, r]`. All are fp32 leaves that require gradients.
#[derive(Debug, Default)]
pub struct Trainables {
    pub tensors: BTreeMap<String, Tensor>,
    pub lora: Option<LoraSettings>,
}

impl Trainables {
    /// Takes tensors and makes them fp32 leaves of their own.
    pub fn new(
        tensors: BTreeMap<String, Tensor>,
        lora: Option<LoraSettings>,
    ) -> Result<Trainables, ModelError> {
        let tensors = tensors.into_iter().map(|(name, tensor)| Ok((name, leaf(&tensor)?)));
        Ok(Trainables { tensors: tensors.collect::<Result<_, ModelError>>()?, lora })
    }

    /// Copies of all tensors of the base: a full fine-tune.
    pub fn full(base: &Base) -> Result<Trainables, ModelError> {
        Trainables::of(base, |_| true)
    }

    /// Copies of the blocks from the top: `count` of them.
    pub fn last_layers(base: &Base, count: i64) -> Result<Trainables, ModelError> {
        let first = base.config.num_hidden_layers - count;
        Trainables::of(base, |name| layer_of(name).is_some_and(|layer| layer >= first))
    }

    /// Copies of the tensors whose names are wanted.
    pub fn of(base: &Base, wanted: impl Fn(&str) -> bool) -> Result<Trainables, ModelError> {
        let held = base.all().into_iter().filter(|(name, _)| wanted(name));
        let tensors = held.map(|(name, tensor)| Ok((name, leaf(&tensor)?)));
        Ok(Trainables { tensors: tensors.collect::<Result<_, ModelError>>()?, lora: None })
    }

    /// Fresh adapters on the targets: A random from the seed, B zero, so that the first forward is the base's.
    pub fn lora(base: &Base, settings: &LoraSettings, seed: u64) -> Result<Trainables, ModelError> {
        Trainables::new(lora::fresh(base, settings, seed)?, Some(settings.clone()))
    }

    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Stops training the tensors of these names; a tensor of the base is gone, so this is for before the first step.
    pub fn remove(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !unwanted(name));
    }

    /// Numbers that take gradients: without adapters that stand frozen over their layers.
    pub fn trained_count(&self) -> u64 {
        let trained = self.tensors.values().filter(|tensor| tensor.requires_grad());
        trained.map(|tensor| tensor.numel() as u64).sum()
    }

    pub fn parameter_count(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.numel() as u64).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.tensors.values().map(raw::size).sum()
    }

    /// A copy that shares no memory: what a snapshot or a fork holds.
    pub fn copy(&self) -> Result<Trainables, ModelError> {
        let tensors = self.tensors.iter().map(|(name, tensor)| Ok((name.clone(), leaf(tensor)?)));
        Ok(Trainables { tensors: tensors.collect::<Result<_, ModelError>>()?, lora: self.lora.clone() })
    }

    /// Drops all gradients.
    pub fn clear_gradients(&self) {
        self.tensors.values().for_each(gradient::clear);
    }
}

/// An fp32 leaf of its own memory.
fn leaf(tensor: &Tensor) -> Result<Tensor, ModelError> {
    let _no_grad = tch::no_grad_guard();
    let mut copy = Tensor::f_empty(tensor.size(), (Kind::Float, tensor.device()))?;
    copy.f_copy_(tensor)?;
    Ok(copy.f_set_requires_grad(true)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::preset;
    use tch::Device;

    fn tiny(dtype: Kind) -> Base {
        Base::random(preset("tiny").unwrap(), 1, dtype, Device::Cpu).unwrap()
    }

    #[test]
    fn trainables_are_fp32_leaves_that_share_nothing_with_the_base() {
        for dtype in [Kind::Float, Kind::BFloat16] {
            let base = tiny(dtype);
            let full = Trainables::full(&base).unwrap();
            assert_eq!(full.parameter_count(), base.config.parameter_count());
            for (name, tensor) in &full.tensors {
                assert!(tensor.requires_grad() && tensor.kind() == Kind::Float);
                assert_ne!(tensor.data_ptr(), base.get(name).unwrap().data_ptr());
            }
            let copy = full.copy().unwrap();
            assert!(
                copy.tensors.iter().all(|(name, tensor)| tensor.data_ptr() != full.tensors[name].data_ptr())
            );
        }
    }

    #[test]
    fn last_layers_are_counted_from_the_top() {
        let last = Trainables::last_layers(&tiny(Kind::Float), 1).unwrap();
        assert_eq!(last.tensors.len(), 9);
        assert!(last.tensors.keys().all(|name| name.starts_with("model.layers.1.")));
    }
}
