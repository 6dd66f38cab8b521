//! The weights a model starts from: immutable, shared by every run on it, with the names of the checkpoint.

use crate::files::{cache, hash};
use crate::model::ModelError;
use crate::model::config::{Config, LINEAR_MODULES};
use crate::torch::frozen::Frozen;
use crate::torch::kernels::Weight;
use crate::torch::nf4::{self, Nf4};
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
    /// Of the linears of its blocks.
    pub quantization: Quantization,
    weights: Frozen,
    hash: OnceLock<String>,
}

/// Whether the linears of the blocks are held in fewer bits than the other weights. All computing is done in floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    #[default]
    Off,
    /// See `torch/nf4.rs`.
    Nf4,
}

impl Quantization {
    /// Whether it reaches this tensor.
    pub fn holds(self, name: &str) -> bool {
        self == Quantization::Nf4 && is_linear(name)
    }
}

/// Whether this is the weight of a linear of a block.
pub fn is_linear(name: &str) -> bool {
    let module = name.strip_suffix(".weight").filter(|module| module.starts_with("model.layers."));
    module.and_then(|module| module.rsplit('.').next()).is_some_and(|last| LINEAR_MODULES.contains(&last))
}

/// How a base holds its weights, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Of the matrices; norms are always fp32.
    pub dtype: Kind,
    /// Of the linears of its blocks.
    pub quantization: Quantization,
    pub device: Device,
}

impl Default for Storage {
    fn default() -> Storage {
        Storage::floats(Kind::Float, Device::Cpu)
    }
}

impl Storage {
    /// All weights as floats.
    pub fn floats(dtype: Kind, device: Device) -> Storage {
        Storage { dtype, quantization: Quantization::Off, device }
    }

    /// Bytes of a number of activations and products.
    pub fn compute_width(self) -> u64 {
        compute_kind(self.dtype, self.device).elt_size_in_bytes() as u64
    }

    /// Bytes of a number of the matrices.
    pub fn width(self) -> u64 {
        self.dtype.elt_size_in_bytes() as u64
    }

    /// A tensor as a base holds it.
    pub fn hold(self, name: &str, tensor: &Tensor) -> Result<Weight, ModelError> {
        if self.quantization.holds(name) {
            return Ok(Weight::Nf4(Nf4::quantize(tensor)?.to_device(self.device)?));
        }
        Ok(Weight::Plain(tensor.f_to_device(self.device)?.f_to_kind(kind_of(name, self.dtype))?))
    }

    /// Bytes of the weights of this model.
    pub fn bytes(self, config: &Config) -> u64 {
        let bytes = |(name, shape): (String, Vec<i64>)| {
            let numbers = shape.iter().product::<i64>() as usize;
            match self.quantization.holds(&name) {
                true => nf4::bytes_of(numbers),
                false => (numbers * kind_of(&name, self.dtype).elt_size_in_bytes()) as u64,
            }
        };
        config.parameter_shapes().into_iter().map(bytes).sum()
    }
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
        tensors: BTreeMap<String, Tensor>,
        dtype: Kind,
        device: Device,
        origin: Origin,
    ) -> Result<Base, ModelError> {
        let weights = tensors.into_iter().map(|(name, tensor)| (name, Weight::Plain(tensor)));
        Base::assemble(config, weights.collect(), dtype, device, origin)
    }

    /// The same from weights some of which may be quantised already.
    pub fn assemble(
        config: Config,
        mut given: BTreeMap<String, Weight>,
        dtype: Kind,
        device: Device,
        origin: Origin,
    ) -> Result<Base, ModelError> {
        let (mut weights, mut quantization) = (BTreeMap::new(), Quantization::Off);
        for (name, wanted) in config.parameter_shapes() {
            let weight =
                given.remove(&name).ok_or_else(|| ModelError::TensorMissing { name: name.clone() })?;
            if weight.size() != wanted {
                return Err(ModelError::TensorShape { name, found: weight.size(), wanted });
            }
            let weight = match weight {
                Weight::Plain(tensor) => {
                    let tensor = tensor.f_to_device(device)?.f_to_kind(kind_of(&name, dtype))?;
                    Weight::Plain(tensor.f_contiguous()?)
                }
                quantized @ Weight::Nf4(_) => {
                    quantization = Quantization::Nf4;
                    quantized
                }
            };
            weights.insert(name, weight);
        }
        let (weights, hash) = (Frozen::new(weights), OnceLock::new());
        let compute = compute_kind(dtype, device);
        Ok(Base { config, dtype, compute, device, origin, quantization, weights, hash })
    }

    /// Random weights as transformers draws them: normal matrices, norms of one, biases of zero. The same seed gives
    /// the same weights.
    pub fn random(config: Config, seed: u64, dtype: Kind, device: Device) -> Result<Base, ModelError> {
        Base::random_in(config, seed, Storage::floats(dtype, device))
    }

    /// The same weights, held so.
    pub fn random_in(config: Config, seed: u64, storage: Storage) -> Result<Base, ModelError> {
        let Storage { dtype, device, .. } = storage;
        config.validate()?;
        let mut weights = BTreeMap::new();
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
            let weight = storage.hold(&name, &tensor)?;
            weights.insert(name, weight);
        }
        Base::assemble(config, weights, dtype, device, Origin::Random { seed })
    }

    /// A tensor by its checkpoint name, if it is floats; a tied head has none of its own.
    pub fn get(&self, name: &str) -> Option<Tensor> {
        self.weights.get(name)
    }

    /// Moves weights that a run lays its own tensors over, and so never reads, into files without a name in ltune's cache:
    /// the system may drop them from memory, and whoever wants them reads them as before. Where no file can be written
    /// they stay, and so does what is on a GPU or small.
    pub fn lay_aside(&self, own: &BTreeMap<String, Tensor>) {
        if let Ok(folder) = cache::folder() {
            let _ = self.weights.lay_aside(&folder, |name| own.contains_key(name));
        }
    }

    /// A matrix by its checkpoint name, if it is held in 4 bits.
    pub fn nf4(&self, name: &str) -> Option<&Nf4> {
        self.weights.nf4(name)
    }

    /// Any tensor as floats: those of a quantised one are made now, in the dtype.
    pub fn floats(&self, name: &str) -> Result<Option<Tensor>, ModelError> {
        match self.nf4(name) {
            Some(held) => Ok(Some(held.dequantize(self.dtype)?)),
            None => Ok(self.get(name)),
        }
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some() || self.nf4(name).is_some()
    }

    /// The names of all tensors, in order.
    pub fn names(&self) -> Vec<String> {
        let floats = self.weights.floats().into_keys();
        let quantized = self.weights.quantized().map(|(name, _)| name.clone());
        let mut names: Vec<String> = floats.chain(quantized).collect();
        names.sort();
        names
    }

    /// All tensors that are floats.
    pub fn all(&self) -> BTreeMap<String, Tensor> {
        self.weights.floats()
    }

    /// Bytes of the weights.
    pub fn bytes(&self) -> u64 {
        let floats: u64 = self.weights.floats().values().map(raw::size).sum();
        floats + self.weights.quantized().map(|(_, held)| held.bytes()).sum::<u64>()
    }

    /// Bytes that the weights take on their device, without those laid aside.
    pub fn bytes_there(&self) -> u64 {
        self.bytes() - self.weights.bytes_aside()
    }

    /// What identifies the weights: the sha256 of the weight file (of all hashes, for shards) or of the random recipe.
    /// Read once, kept.
    pub fn hash(&self) -> Result<String, ModelError> {
        if let Some(known) = self.hash.get() {
            return Ok(known.clone());
        }
        let made = self.origin.hash(&self.config, self.dtype, self.quantization)?;
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
    pub fn hash(
        &self,
        config: &Config,
        dtype: Kind,
        quantization: Quantization,
    ) -> Result<String, ModelError> {
        let whole = self.hash_whole(config, dtype)?;
        Ok(match quantization {
            Quantization::Off => whole,
            Quantization::Nf4 => hash::sha256(format!("{whole} nf4")),
        })
    }

    fn hash_whole(&self, config: &Config, dtype: Kind) -> Result<String, ModelError> {
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
    fn linears_in_4_bits_are_an_eighth_and_other_weights() {
        let config = preset("tiny").unwrap();
        let storage = |quantization| Storage { quantization, ..Storage::floats(Kind::Float, Device::Cpu) };
        let base = |quantization| Base::random_in(config.clone(), 1, storage(quantization)).unwrap();
        let (whole, held) = (base(Quantization::Off), base(Quantization::Nf4));
        let name = "model.layers.1.mlp.up_proj.weight";
        assert!(held.get(name).is_none() && held.nf4(name).is_some() && held.has(name));
        assert_eq!((held.names(), held.quantization), (whole.names(), Quantization::Nf4));
        for base in [&whole, &held] {
            assert_eq!(base.bytes(), storage(base.quantization).bytes(&config));
        }
        let nf4 = held.nf4(name).unwrap().bytes() as f64;
        assert!((nf4 / raw::size(&whole.get(name).unwrap()) as f64 - 4.13 / 32.0).abs() < 1e-3);
        let difference = held.floats(name).unwrap().unwrap() - whole.get(name).unwrap();
        assert!((difference.std(true).double_value(&[]) / 0.08 - 0.09).abs() < 0.03);
        assert_eq!(held.get("model.norm.weight"), whole.get("model.norm.weight"));
        assert_ne!(held.hash().unwrap(), whole.hash().unwrap());
        assert!(!is_linear("model.layers.1.mlp.up_proj.lora_A.weight") && !is_linear("lm_head.weight"));
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
