//! The weights a model starts from: immutable, shared by every run on it, with the names of the checkpoint.

use crate::files::hash;
use crate::model::ModelError;
use crate::model::config::Config;
use crate::torch::frozen::Frozen;
use crate::torch::{processor, random, raw};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// A Llama's frozen weights. Shared as `Arc<Base>`; runs put their own tensors over it.
#[derive(Debug)]
pub struct Base {
    pub config: Config,
    /// Of the matrices as they are held; norms are always fp32.
    pub dtype: Kind,
    /// Of activations and products: `dtype`, or fp32 on a processor that multiplies that faster.
    pub compute: Kind,
    pub device: Device,
    pub origin: Origin,
    weights: Frozen,
    hash: OnceLock<String>,
}

/// Where the weights come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// A Hugging Face folder and the files of weights in it.
    Folder {
        path: PathBuf,
        files: Vec<PathBuf>,
    },
    Gguf {
        path: PathBuf,
    },
    Random {
        seed: u64,
    },
}

impl Base {
    /// Takes tensors whose names and shapes are those of the configuration, and brings them to kind and device.
    pub fn new(
        config: Config,
        mut tensors: BTreeMap<String, Tensor>,
        dtype: Kind,
        device: Device,
        origin: Origin,
    ) -> Result<Base, ModelError> {
        let mut weights = BTreeMap::new();
        for (name, wanted) in config.parameter_shapes() {
            let tensor =
                tensors.remove(&name).ok_or_else(|| ModelError::TensorMissing { name: name.clone() })?;
            if tensor.size() != wanted {
                return Err(ModelError::TensorShape { name, found: tensor.size(), wanted });
            }
            let tensor = tensor.f_to_device(device)?.f_to_kind(kind_of(&name, dtype))?;
            weights.insert(name, tensor.f_contiguous()?);
        }
        let weights = Frozen::new(weights);
        let compute = compute_kind(dtype, device);
        Ok(Base { config, dtype, compute, device, origin, weights, hash: OnceLock::new() })
    }

    /// Random weights as transformers draws them: normal matrices, norms of one, biases of zero. The same seed gives
    /// the same weights.
    pub fn random(config: Config, seed: u64, dtype: Kind, device: Device) -> Result<Base, ModelError> {
        config.validate()?;
        let mut tensors = BTreeMap::new();
        for (name, shape) in config.parameter_shapes() {
            let tensor = Tensor::f_empty(&shape, (kind_of(&name, dtype), device))?;
            if name.ends_with("norm.weight") {
                let _ = tensor.shallow_clone().f_fill_(1.0)?;
            } else if name.ends_with(".bias") {
                let _ = tensor.shallow_clone().f_zero_()?;
            } else {
                let seed = random::derive(seed, &[random::place(&name)]);
                random::fill_normal(&tensor, 0.0, config.initializer_range, seed)?;
            }
            tensors.insert(name, tensor);
        }
        Base::new(config, tensors, dtype, device, Origin::Random { seed })
    }

    /// A tensor by its checkpoint name; a tied head has none of its own.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.weights.get(name)
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.weights.iter()
    }

    /// Bytes the weights take on their device.
    pub fn bytes(&self) -> u64 {
        self.weights.iter().map(|(_, tensor)| raw::size(tensor)).sum()
    }

    /// What identifies the weights: the sha256 of the weight file (of all hashes, for shards) or of the random recipe.
    /// Read once, kept.
    pub fn hash(&self) -> Result<String, ModelError> {
        if let Some(known) = self.hash.get() {
            return Ok(known.clone());
        }
        let made = self.origin.hash(&self.config, self.dtype)?;
        Ok(self.hash.get_or_init(|| made).clone())
    }
}

/// A kind of numbers as a script writes it.
pub fn kind_name(kind: Kind) -> &'static str {
    if kind == Kind::BFloat16 { "bf16" } else { "f32" }
}

/// The kind in which a model of this dtype computes on the device.
pub fn compute_kind(dtype: Kind, device: Device) -> Kind {
    let is_slow = device == Device::Cpu && dtype == Kind::BFloat16 && !processor::multiplies_bf16();
    if is_slow { Kind::Float } else { dtype }
}

impl Origin {
    /// What identifies weights from here; see `Base::hash`.
    pub fn hash(&self, config: &Config, dtype: Kind) -> Result<String, ModelError> {
        Ok(match self {
            Origin::Gguf { path } => hash::file_sha256(path)?,
            Origin::Folder { files, .. } => match files.as_slice() {
                [one] => hash::file_sha256(one)?,
                several => {
                    let hashes =
                        several.iter().map(|file| hash::file_sha256(file)).collect::<Result<Vec<_>, _>>()?;
                    hash::sha256(hashes.join("\n"))
                }
            },
            Origin::Random { seed } => hash::sha256(format!("random {seed} {config:?} {dtype:?}")),
        })
    }
}

/// The kind a tensor is kept in: norms stay fp32 whatever the matrices are.
fn kind_of(name: &str, dtype: Kind) -> Kind {
    if name.ends_with("norm.weight") { Kind::Float } else { dtype }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::preset;

    #[test]
    fn random_weights_depend_on_the_seed_alone() {
        let base = |seed| Base::random(preset("tiny").unwrap(), seed, Kind::Float, Device::Cpu).unwrap();
        let (one, same, other) = (base(1), base(1), base(2));
        let name = "model.layers.1.mlp.up_proj.weight";
        assert_eq!(one.get(name).unwrap(), same.get(name).unwrap());
        assert_ne!(one.get(name).unwrap(), other.get(name).unwrap());
        assert_eq!(one.hash().unwrap(), same.hash().unwrap());
        assert_ne!(one.hash().unwrap(), other.hash().unwrap());
        assert_eq!(one.bytes(), 4 * one.config.parameter_count());
        let deviation = one.get(name).unwrap().std(true).double_value(&[]);
        assert!((deviation - 0.08).abs() < 0.002, "{deviation}");
    }

    #[test]
    fn norms_stay_in_fp32_when_matrices_are_bf16() {
        let base = Base::random(preset("tiny").unwrap(), 1, Kind::BFloat16, Device::Cpu).unwrap();
        assert_eq!(base.get("model.norm.weight").unwrap().kind(), Kind::Float);
        assert_eq!(base.get("model.embed_tokens.weight").unwrap().kind(), Kind::BFloat16);
    }

    #[test]
    fn a_missing_or_misshapen_tensor_is_named() {
        let config = preset("tiny").unwrap();
        let tensors = || -> BTreeMap<String, Tensor> {
            let shapes = config.parameter_shapes().into_iter();
            shapes.map(|(name, shape)| (name, Tensor::zeros(&shape, (Kind::Float, Device::Cpu)))).collect()
        };
        let make = |tensors| {
            let made =
                Base::new(config.clone(), tensors, Kind::Float, Device::Cpu, Origin::Random { seed: 0 });
            made.map(|_| ()).unwrap_err().to_string()
        };
        let mut missing = tensors();
        missing.remove("model.norm.weight");
        assert_eq!(
            make(missing),
            "the model's weights have no tensor `model.norm.weight`, which its configuration calls for"
        );
        let mut wrong = tensors();
        wrong.insert("model.norm.weight".into(), Tensor::zeros([3], (Kind::Float, Device::Cpu)));
        assert_eq!(make(wrong), "tensor `model.norm.weight` has shape [3]; the configuration calls for [64]");
    }
}
