//! Weights from a Hugging Face folder or a GGUF file, memory-mapped, checked against the configuration.

use crate::files::gguf::Gguf;
use crate::files::safetensors::{Archive, Dtype, View};
use crate::model::ModelError;
use crate::model::base::{Base, Origin, Storage};
use crate::model::config::{Config, LINEAR_MODULES, module_name};
use crate::torch::raw;
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Kind, Tensor};

/// Told bytes done and in all; false stops the work.
pub type Observe<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

/// Loads whichever of the two the path is.
pub fn load(path: &Path, storage: Storage, observe: Observe) -> Result<Base, ModelError> {
    if path.is_dir() {
        return load_folder(path, storage, observe);
    }
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
        return load_gguf(path, storage, observe);
    }
    if !path.exists() {
        return Err(crate::files::FilesError::Missing { path: path.to_path_buf() }.into());
    }
    Err(ModelError::NotAModel { path: path.to_path_buf() })
}

/// Where the weights of a folder or a GGUF file lie; none is read.
pub fn origin(path: &Path) -> Result<Origin, ModelError> {
    if !path.is_dir() {
        return Ok(Origin::Gguf { path: path.to_path_buf() });
    }
    let files = Archive::open(path)?.files().map(Path::to_path_buf).collect();
    Ok(Origin::Folder { path: path.to_path_buf(), files })
}

/// The configuration of a folder or a GGUF file; no weight is read.
pub fn read_config(path: &Path) -> Result<Config, ModelError> {
    if !path.is_dir() {
        return Config::from_gguf(&Gguf::open(path)?);
    }
    let file = path.join("config.json");
    if !file.exists() {
        return Err(ModelError::NotAModel { path: path.to_path_buf() });
    }
    let text = crate::files::read(&file)?;
    let json = serde_json::from_slice(&text)
        .map_err(|error| ModelError::Json { path: file.clone(), reason: error.to_string() })?;
    Config::from_hf(&json)
}

/// Loads `config.json` and `model.safetensors` or its shards. Tensors the configuration does not call for
/// (a tied head's copy, old RoPE buffers) are passed over.
pub fn load_folder(path: &Path, storage: Storage, observe: Observe) -> Result<Base, ModelError> {
    let config = read_config(path)?;
    let archive = Archive::open(path)?;
    let names: Vec<String> = config.parameter_shapes().into_iter().map(|(name, _)| name).collect();
    let sizes = names.iter().filter_map(|name| archive.get(name));
    let total = sizes.map(|view| view.bytes.len() as u64).sum();
    let mut weights = BTreeMap::new();
    let mut done = 0;
    for name in names {
        let Some(view) = archive.get(&name) else {
            return Err(ModelError::TensorMissing { name });
        };
        done += view.bytes.len() as u64;
        // One at a time to its kind and device, so that the peak is the model and one tensor.
        let weight = storage.hold(&name, &to_tensor(&name, &view)?)?;
        archive.pass(&name);
        weights.insert(name, weight);
        if !observe(done, total) {
            return Err(ModelError::Stopped { doing: "loading the model" });
        }
    }
    let files = archive.files().map(Path::to_path_buf).collect();
    let origin = Origin::Folder { path: path.to_path_buf(), files };
    Base::assemble(config, weights, storage.dtype, storage.device, origin)
}

/// Loads a GGUF file, dequantised. Its q and k rows are put back into the order of the HF layout.
pub fn load_gguf(path: &Path, storage: Storage, observe: Observe) -> Result<Base, ModelError> {
    let gguf = Gguf::open(path)?;
    let config = Config::from_gguf(&gguf)?;
    let names = gguf_names(&config);
    let total = names.len() as u64;
    let mut weights = BTreeMap::new();
    for (done, (name, stored, heads)) in names.into_iter().enumerate() {
        let Ok(info) = gguf.tensor(&stored) else {
            return Err(ModelError::TensorMissing { name: stored });
        };
        let shape: Vec<i64> = info.shape.iter().map(|side| *side as i64).collect();
        let tensor = raw::floats(&shape, |floats| Ok::<_, ModelError>(gguf.dequantize(&stored, floats)?))?;
        let tensor = match heads {
            Some(heads) => unpermute(&name, &tensor, heads, config.head_dim)?,
            None => tensor,
        };
        weights.insert(name.clone(), storage.hold(&name, &tensor)?);
        if !observe(done as u64 + 1, total) {
            return Err(ModelError::Stopped { doing: "loading the model" });
        }
    }
    let origin = Origin::Gguf { path: path.to_path_buf() };
    Base::assemble(config, weights, storage.dtype, storage.device, origin)
}

/// A tensor of a file on the CPU, in the kind it is stored in.
pub fn to_tensor(name: &str, view: &View) -> Result<Tensor, ModelError> {
    let kind = match view.dtype {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F64 => Kind::Double,
        other => return Err(ModelError::TensorKind { name: name.to_string(), found: other.name() }),
    };
    let shape: Vec<i64> = view.shape.iter().map(|side| *side as i64).collect();
    Ok(raw::from_bytes(view.bytes, &shape, kind)?)
}

/// Checkpoint name, GGUF name, and the heads whose rows are permuted, of every tensor.
fn gguf_names(config: &Config) -> Vec<(String, String, Option<i64>)> {
    let modules = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    let mut names = vec![
        ("model.embed_tokens.weight".to_string(), "token_embd.weight".to_string(), None),
        ("model.norm.weight".to_string(), "output_norm.weight".to_string(), None),
    ];
    if !config.tie_word_embeddings {
        names.push(("lm_head.weight".to_string(), "output.weight".to_string(), None));
    }
    for layer in 0..config.num_hidden_layers {
        for (module, stored) in LINEAR_MODULES.iter().zip(modules) {
            let heads = match *module {
                "q_proj" => Some(config.num_attention_heads),
                "k_proj" => Some(config.num_key_value_heads),
                _ => None,
            };
            let name = module_name(layer, module);
            names.push((format!("{name}.weight"), format!("blk.{layer}.{stored}.weight"), heads));
            if config.has_bias(module) {
                names.push((format!("{name}.bias"), format!("blk.{layer}.{stored}.bias"), heads));
            }
        }
        for (norm, stored) in [("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm")] {
            let name = format!("model.layers.{layer}.{norm}.weight");
            names.push((name, format!("blk.{layer}.{stored}.weight"), None));
        }
    }
    names
}

/// llama.cpp turns neighbouring pairs of a head, transformers its two halves: rows `(pair, half)` become `(half, pair)`.
fn unpermute(name: &str, tensor: &Tensor, heads: i64, head_dim: i64) -> Result<Tensor, ModelError> {
    let found = tensor.size();
    let (rows, columns) = (heads * head_dim, found.get(1).copied().unwrap_or(1));
    if found.first() != Some(&rows) {
        return Err(ModelError::TensorShape { name: name.to_string(), found, wanted: vec![rows, columns] });
    }
    let split = tensor.f_view([heads, head_dim / 2, 2, columns])?;
    Ok(split.f_transpose(1, 2)?.f_reshape(found.as_slice())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn unpermuting_takes_back_what_the_converter_does() {
        let (heads, head_dim, columns) = (2, 6, 3);
        let hf = Tensor::arange(heads * head_dim * columns, (Kind::Float, Device::Cpu))
            .view([heads * head_dim, columns]);
        // convert_hf_to_gguf: reshape(heads, 2, head_dim / 2, columns).swapaxes(1, 2)
        let stored =
            hf.view([heads, 2, head_dim / 2, columns]).transpose(1, 2).reshape([heads * head_dim, columns]);
        assert_ne!(stored, hf);
        assert_eq!(unpermute("q", &stored, heads, head_dim).unwrap(), hf);
        assert!(unpermute("q", &stored, 3, head_dim).is_err());
    }

    #[test]
    fn what_is_no_model_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::floats(Kind::Float, Device::Cpu);
        let error = load(folder.path(), storage, &mut |_, _| true).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("is neither a Hugging Face folder"), "{error}");
        let missing = folder.path().join("missing.gguf");
        let error = load(&missing, storage, &mut |_, _| true).map(|_| ()).unwrap_err();
        assert!(error.to_string().ends_with("does not exist"), "{error}");
    }
}
