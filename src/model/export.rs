//! A tuned model as a Hugging Face folder: adapters merged, verified by reloading.

use crate::files::safetensors::{self, Dtype};
use crate::files::{FilesError, atomic};
use crate::model::ModelError;
use crate::model::base::{Origin, Storage};
use crate::model::llama::{Inputs, Policy};
use crate::model::load;
use crate::model::lora;
use crate::torch::raw;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Kind, Tensor};

/// Files beside the weights that make a folder whole; copied from the base's folder where they are.
const COMPANIONS: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
];

/// A file to be put beside the weights: name and content. For a GGUF base, its tokenizer as `tokenizer.json`.
pub type Companion = (String, Vec<u8>);

/// How far the reloaded model's logits may lie from those in memory, relative to their spread.
const ACCEPTED_FLOAT: f64 = 1e-3;
const ACCEPTED_BF16: f64 = 5e-2;

/// A weight with everything that was trained on it: the run's own tensor, or the base's with its adapter merged.
/// Computed in fp32, given back in the base's dtype.
pub fn merged_weight(policy: &Policy, name: &str) -> Result<Tensor, ModelError> {
    let _no_grad = tch::no_grad_guard();
    let own = policy.trainables.and_then(|trainables| trainables.get(name));
    let weight = match (own, policy.base.nf4(name)) {
        (Some(own), _) => own.f_detach()?,
        (None, Some(held)) => held.dequantize(Kind::Float)?,
        (None, None) => {
            let found = policy.base.get(name);
            found.ok_or_else(|| ModelError::NoSuchTensor { name: name.to_string() })?
        }
    };
    let weight = weight.f_to_kind(Kind::Float)?;
    let weight = match delta(policy, name)? {
        Some(delta) => weight.f_add(&delta)?,
        None => weight,
    };
    Ok(weight.f_to_kind(policy.base.dtype)?)
}

/// Writes `config.json`, `model.safetensors`, and what stands beside them. `companions` win over copies of the base's.
pub fn write_folder(policy: &Policy, path: &Path, companions: &[Companion]) -> Result<(), ModelError> {
    let dtype = match policy.base.dtype {
        Kind::BFloat16 => Dtype::BF16,
        Kind::Half => Dtype::F16,
        _ => Dtype::F32,
    };
    let name = match dtype {
        Dtype::BF16 => "bfloat16",
        Dtype::F16 => "float16",
        _ => "float32",
    };
    let config = policy.base.config.to_hf_json(name)?;
    let mut config = serde_json::to_string_pretty(&config).expect("a JSON value is written");
    config.push('\n');
    let mut entries = vec![];
    for (name, shape) in policy.base.config.parameter_shapes() {
        let bytes = raw::to_bytes(&merged_weight(policy, &name)?)?;
        let shape = shape.iter().map(|side| *side as usize).collect();
        entries.push((name, dtype, shape, Cow::Owned(bytes)));
    }
    let header = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    atomic::folder(path, |temporary| {
        safetensors::write(&temporary.join("model.safetensors"), &entries, &header)?;
        atomic::write(&temporary.join("config.json"), config.as_bytes())?;
        copy_companions(policy, temporary)?;
        for (name, content) in companions {
            atomic::write(&temporary.join(name), content)?;
        }
        Ok::<(), FilesError>(())
    })?;
    Ok(())
}

/// Loads a folder that was written from this model and compares logits; the difference relative to their spread.
/// An error names the difference when it is more than rounding.
pub fn verify(policy: &Policy, path: &Path) -> Result<f64, ModelError> {
    let reloaded =
        load::load_folder(path, Storage::floats(policy.base.dtype, policy.base.device), &mut |_, _| true)?;
    let length = policy.base.config.max_position_embeddings.min(16);
    let ids: Vec<i64> =
        (0..length).map(|index| (index * 7919 + 11) % policy.base.config.vocab_size).collect();
    let inputs = Inputs::new(policy.base, &ids, 1, vec![vec![]], vec![ids.len()])?;
    let _no_grad = tch::no_grad_guard();
    let logits = |policy: &Policy| policy.logits(&policy.hidden(&inputs, None)).to_kind(Kind::Float);
    let (here, there) = (logits(policy), logits(&Policy { base: &reloaded, trainables: None }));
    let difference = (&here - there).square().mean(Kind::Double).sqrt().double_value(&[]);
    let relative = difference / here.std(true).double_value(&[]).max(f64::MIN_POSITIVE);
    let accepted = if policy.base.dtype == Kind::Float { ACCEPTED_FLOAT } else { ACCEPTED_BF16 };
    // Not a number is not accepted either.
    if relative <= accepted {
        return Ok(relative);
    }
    Err(ModelError::ExportDiffers { path: path.to_path_buf(), relative, accepted })
}

/// What an adapter adds to a weight, in fp32.
fn delta(policy: &Policy, name: &str) -> Result<Option<Tensor>, ModelError> {
    let Some(trainables) = policy.trainables else { return Ok(None) };
    let (Some(settings), Some(module)) = (&trainables.lora, name.strip_suffix(".weight")) else {
        return Ok(None);
    };
    let (a, b) = lora::names(module);
    match (trainables.get(&a), trainables.get(&b)) {
        (Some(a_rd), Some(b_dr)) => Ok(Some(b_dr.f_mm(a_rd)? * settings.scale())),
        _ => Ok(None),
    }
}

fn copy_companions(policy: &Policy, to: &Path) -> Result<(), FilesError> {
    let Origin::Folder { path, .. } = &policy.base.origin else { return Ok(()) };
    for name in COMPANIONS {
        let from = path.join(name);
        if from.is_file() {
            atomic::write(&to.join(name), &crate::files::read(&from)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::base::Quantization;
    use crate::model::fixtures;
    use crate::model::lora::LoraSettings;
    use crate::model::trainables::Trainables;
    use crate::torch::random;

    fn adapted(base: &crate::model::base::Base) -> Trainables {
        let settings = LoraSettings { rank: 4, alpha: 8.0, ..LoraSettings::default() };
        let adapters = Trainables::lora(base, &settings, 1).unwrap();
        for (name, tensor) in &adapters.tensors {
            random::fill_normal(tensor, 0.0, 0.1, random::place(name)).unwrap();
        }
        adapters
    }

    #[test]
    fn a_merged_model_reloads_to_the_same_logits() {
        for name in fixtures::NAMES {
            for (dtype, accepted) in [(Kind::Float, 1e-5), (Kind::BFloat16, ACCEPTED_BF16)] {
                let base = fixtures::load_as(name, dtype);
                let adapters = adapted(&base);
                let policy = Policy { base: &base, trainables: Some(&adapters) };
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("merged");
                write_folder(&policy, &path, &[("note.txt".into(), b"hello".to_vec())]).unwrap();
                let difference = verify(&policy, &path).unwrap();
                assert!(difference < accepted, "{name} {dtype:?}: {difference}");
                for file in ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "note.txt"]
                {
                    assert!(path.join(file).is_file(), "{file}");
                }
            }
        }
    }

    #[test]
    fn a_model_of_4_bits_is_merged_as_the_floats_it_computes_with() {
        let path = fixtures::folder("tiny-llama3");
        let storage =
            Storage { quantization: Quantization::Nf4, ..Storage::floats(Kind::Float, tch::Device::Cpu) };
        let base = load::load(&path, storage, &mut |_, _| true).unwrap();
        assert!(base.nf4("model.layers.0.mlp.up_proj.weight").is_some());
        let adapters = adapted(&base);
        let policy = Policy { base: &base, trainables: Some(&adapters) };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("merged");
        write_folder(&policy, &path, &[]).unwrap();
        assert!(verify(&policy, &path).unwrap() < 1e-5);
    }

    #[test]
    fn an_untouched_model_is_written_bit_for_bit() {
        let base = fixtures::load("tiny-llama3");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        write_folder(&fixtures::policy(&base), &path, &[]).unwrap();
        let back =
            load::load_folder(&path, Storage::floats(Kind::Float, base.device), &mut |_, _| true).unwrap();
        assert_eq!(back.config, base.config);
        assert_eq!(back.all(), base.all());
    }

    #[test]
    fn a_folder_that_differs_from_the_model_is_found_out() {
        let base = fixtures::load("tiny");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        write_folder(&fixtures::policy(&base), &path, &[]).unwrap();
        let adapters = adapted(&base);
        let tuned = Policy { base: &base, trainables: Some(&adapters) };
        let error = verify(&tuned, &path).unwrap_err().to_string();
        assert!(error.contains("gives other logits than the model in memory"), "{error}");
    }
}
