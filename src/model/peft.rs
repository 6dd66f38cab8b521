//! Adapters as PEFT keeps them: `adapter_config.json` beside `adapter_model.safetensors`.

use crate::files::atomic;
use crate::files::safetensors::{self, Archive, Dtype};
use crate::model::ModelError;
use crate::model::base::{Base, Origin};
use crate::model::config::LINEAR_MODULES;
use crate::model::load::to_tensor;
use crate::model::lora::{self, LoraSettings};
use crate::model::trainables::Trainables;
use crate::torch::raw;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tch::{Device, Tensor};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before the checkpoint's names.
const PREFIX: &str = "base_model.model.";

/// Settings and tensors of an adapter folder, the tensors by the names that `Trainables` uses, on the CPU.
pub fn read_folder(path: &Path) -> Result<(LoraSettings, BTreeMap<String, Tensor>), ModelError> {
    let config = read_config(path)?;
    let tensors = read_tensors(&path.join(WEIGHTS)).map_err(|error| named(error, path))?;
    let refuse = |reason: String| ModelError::Adapter { path: path.to_path_buf(), reason };
    let settings = settings(&config, &tensors).map_err(refuse)?;
    Ok((settings, tensors))
}

/// `adapter_config.json` of a folder that also holds weights, which are not read.
pub fn read_config(path: &Path) -> Result<Value, ModelError> {
    let refuse = |reason: String| ModelError::Adapter { path: path.to_path_buf(), reason };
    let file = path.join(CONFIG);
    if !file.exists() {
        return Err(refuse(format!("has no `{CONFIG}`; a PEFT folder is needed")));
    }
    let config: Value = serde_json::from_slice(&crate::files::read(&file)?)
        .map_err(|error| ModelError::Json { path: file.clone(), reason: error.to_string() })?;
    if !path.join(WEIGHTS).exists() {
        let old = if path.join("adapter_model.bin").exists() {
            "; save it again with `safe_serialization=True`"
        } else {
            ""
        };
        return Err(refuse(format!("has no `{WEIGHTS}`{old}")));
    }
    Ok(config)
}

/// An adapter folder as a run trains it: every tensor held against the base.
pub fn read(path: &Path, base: &Base) -> Result<Trainables, ModelError> {
    let refuse = |reason: String| ModelError::Adapter { path: path.to_path_buf(), reason };
    let (settings, tensors) = read_folder(path)?;
    let modules = lora::linears(&base.config);
    for (name, tensor) in &tensors {
        let module = lora::module_of(name).unwrap_or(name);
        let of_module = |(known, _): &(String, (i64, i64))| known == module;
        let Some((_, (out, width))) = modules.iter().find(|known| of_module(known)).cloned() else {
            return Err(refuse(format!("adapts `{module}`, which the model does not have")));
        };
        let wanted =
            if name.ends_with("lora_A.weight") { [settings.rank, width] } else { [out, settings.rank] };
        if tensor.size() != wanted {
            let found = tensor.size();
            return Err(refuse(format!(
                "has `{name}` of shape {found:?}, but {wanted:?} fits the model and rank {}",
                settings.rank
            )));
        }
    }
    let tensors = tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.f_to_device(base.device)?)));
    Trainables::new(tensors.collect::<Result<_, ModelError>>()?, Some(settings))
}

/// Writes the adapter of a run; `base_name` is what the user calls the base (`base_model_name_or_path`).
/// The weights' header says by hash which base the adapter belongs to.
pub fn write_folder(
    path: &Path,
    base: &Base,
    trainables: &Trainables,
    base_name: &str,
) -> Result<(), ModelError> {
    let refuse = |reason: &str| ModelError::Adapter { path: path.to_path_buf(), reason: reason.to_string() };
    let Some(settings) = &trainables.lora else {
        return Err(refuse("cannot be written: the run has no adapter; save it with `as = merged`"));
    };
    if trainables.tensors.keys().any(|name| lora::module_of(name).is_none()) {
        return Err(refuse(
            "cannot hold whole weights that were trained beside it; save it with `as = merged`",
        ));
    }
    let mut entries = vec![];
    for (name, tensor) in &trainables.tensors {
        let shape = tensor.size().iter().map(|side| *side as usize).collect();
        entries.push((format!("{PREFIX}{name}"), Dtype::F32, shape, Cow::Owned(raw::to_bytes(tensor)?)));
    }
    let origin = match &base.origin {
        Origin::Folder { path, .. } | Origin::Gguf { path } => path.display().to_string(),
        Origin::Random { seed } => format!("random weights of seed {seed}"),
    };
    let header = [("format", "pt".to_string()), ("base_sha256", base.hash()?), ("base", origin)];
    let header: BTreeMap<String, String> =
        header.into_iter().map(|(key, text)| (key.to_string(), text)).collect();
    atomic::folder(path, |temporary| {
        safetensors::write(&temporary.join(WEIGHTS), &entries, &header)?;
        let mut text =
            serde_json::to_string_pretty(&config(settings, base_name)).expect("a JSON value is written");
        text.push('\n');
        atomic::write(&temporary.join(CONFIG), text.as_bytes())
    })?;
    Ok(())
}

/// Reads an adapter back that was just written: every number must be the same.
pub fn verify(path: &Path, base: &Base, trainables: &Trainables) -> Result<(), ModelError> {
    let read = read(path, base)?;
    let same = read.tensors.len() == trainables.tensors.len()
        && read
            .tensors
            .iter()
            .all(|(name, tensor)| trainables.get(name).is_some_and(|ours| ours.equal(tensor)));
    if same {
        return Ok(());
    }
    let reason = "differs from the run when it is read back".to_string();
    Err(ModelError::Adapter { path: path.to_path_buf(), reason })
}

/// Which base an adapter says it belongs to, by hash, if it was written here.
pub fn base_hash(path: &Path) -> Result<Option<String>, ModelError> {
    Ok(Archive::open(&path.join(WEIGHTS))?.metadata().get("base_sha256").cloned())
}

fn config(settings: &LoraSettings, base_name: &str) -> Value {
    let alpha =
        if settings.alpha.fract() == 0.0 { json!(settings.alpha as i64) } else { json!(settings.alpha) };
    json!({
        "alpha_pattern": {},
        "auto_mapping": null,
        "base_model_name_or_path": base_name,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "layers_pattern": null,
        "layers_to_transform": null,
        "lora_alpha": alpha,
        "lora_dropout": settings.dropout,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": settings.rank,
        "rank_pattern": {},
        "revision": null,
        "target_modules": settings.targets,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": settings.rank_stabilized,
    })
}

/// Adds the folder to an error about one of its tensors.
fn named(error: ModelError, path: &Path) -> ModelError {
    match error {
        ModelError::TensorKind { name, found } => {
            let reason = format!("has `{name}` in {found}; adapters are F32, F16 or BF16");
            ModelError::Adapter { path: path.to_path_buf(), reason }
        }
        other => other,
    }
}

fn read_tensors(file: &Path) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let archive = Archive::open(file)?;
    let mut tensors = BTreeMap::new();
    for stored in archive.names() {
        // Older files carry the adapter's own name, `default`, inside.
        let name = stored.strip_prefix(PREFIX).unwrap_or(stored).replace(".default.weight", ".weight");
        let tensor = to_tensor(stored, &archive.expect(stored)?)?;
        tensors.insert(name, tensor.f_to_kind(tch::Kind::Float)?.f_to_device(Device::Cpu)?);
    }
    Ok(tensors)
}

fn settings(config: &Value, tensors: &BTreeMap<String, Tensor>) -> Result<LoraSettings, String> {
    let kind = config.get("peft_type").and_then(Value::as_str).unwrap_or("LORA");
    if kind != "LORA" {
        return Err(format!("is of type `{kind}`; ltune reads LORA"));
    }
    refuse_other_lora(config)?;
    let rank = config.get("r").and_then(Value::as_i64).ok_or("has no rank `r` in its configuration")?;
    let modules = modules(tensors)?;
    Ok(LoraSettings {
        rank,
        alpha: config.get("lora_alpha").and_then(Value::as_f64).unwrap_or(8.0),
        dropout: config.get("lora_dropout").and_then(Value::as_f64).unwrap_or(0.0),
        targets: targets(config, &modules),
        rank_stabilized: config.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
    })
}

/// Variants that change what the tensors mean.
fn refuse_other_lora(config: &Value) -> Result<(), String> {
    let set = |field: &str| {
        config.get(field).is_some_and(|value| match value {
            Value::Bool(on) => *on,
            Value::Object(map) => !map.is_empty(),
            Value::Array(all) => !all.is_empty(),
            Value::Null => false,
            _ => true,
        })
    };
    let unknown = [
        "use_dora",
        "use_qalora",
        "use_bdlora",
        "rank_pattern",
        "alpha_pattern",
        "modules_to_save",
        "fan_in_fan_out",
        "layer_replication",
        "trainable_token_indices",
        "lora_bias",
    ];
    if let Some(field) = unknown.iter().find(|field| set(field)) {
        return Err(format!(
            "uses `{field}`, which ltune does not know; merge it into its base with PEFT first"
        ));
    }
    match config.get("bias").and_then(Value::as_str) {
        None | Some("none") => Ok(()),
        Some(bias) => Err(format!("trains biases (`bias = \"{bias}\"`), which ltune does not read")),
    }
}

/// The modules that have both tensors; anything else in the file is refused.
fn modules(tensors: &BTreeMap<String, Tensor>) -> Result<BTreeSet<&str>, String> {
    let mut modules = BTreeSet::new();
    for name in tensors.keys() {
        let module =
            lora::module_of(name).ok_or_else(|| format!("holds `{name}`, which is no LoRA tensor"))?;
        let (a, b) = lora::names(module);
        if let Some(missing) = [a, b].iter().find(|half| !tensors.contains_key(*half)) {
            return Err(format!("has no `{missing}`"));
        }
        modules.insert(module);
    }
    if modules.is_empty() { Err("holds no tensors".to_string()) } else { Ok(modules) }
}

/// The shortest targets that name exactly these modules: ends of names where they cover all layers, else whole names.
fn targets(config: &Value, modules: &BTreeSet<&str>) -> Vec<String> {
    let last = |module: &str| module.rsplit('.').next().unwrap_or(module).to_string();
    let ends: BTreeSet<String> = modules.iter().map(|module| last(module)).collect();
    let layers: BTreeSet<Option<i64>> =
        modules.iter().map(|module| crate::model::config::layer_of(module)).collect();
    let partial = config.get("layers_to_transform").is_some_and(|layers| !layers.is_null());
    if partial || modules.len() != ends.len() * layers.len() {
        return modules.iter().map(ToString::to_string).collect();
    }
    let known = LINEAR_MODULES.iter().map(ToString::to_string).filter(|module| ends.contains(module));
    let other = ends.iter().filter(|end| !LINEAR_MODULES.contains(&end.as_str())).cloned();
    known.chain(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures;
    use crate::torch::random;
    use tch::Kind;

    fn written(folder: &Path) -> (Base, Trainables) {
        let base = fixtures::random(Kind::Float);
        let settings = LoraSettings { rank: 4, alpha: 8.0, dropout: 0.05, ..LoraSettings::default() };
        let trainables = Trainables::lora(&base, &settings, 1).unwrap();
        for (name, tensor) in &trainables.tensors {
            random::fill_normal(tensor, 0.0, 0.1, random::place(name)).unwrap();
        }
        write_folder(folder, &base, &trainables, "some/base").unwrap();
        (base, trainables)
    }

    #[test]
    fn an_adapter_reads_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        let (base, trainables) = written(&path);
        let back = read(&path, &base).unwrap();
        assert_eq!(back.lora, trainables.lora);
        assert_eq!(back.tensors.len(), 28);
        for (name, tensor) in &trainables.tensors {
            assert_eq!(back.tensors[name], *tensor);
            assert!(back.tensors[name].requires_grad());
        }
        assert_eq!(base_hash(&path).unwrap(), Some(base.hash().unwrap()));
    }

    #[test]
    fn names_are_those_of_peft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        written(&path);
        let archive = Archive::open(&path.join(WEIGHTS)).unwrap();
        let view = archive.get("base_model.model.model.layers.1.mlp.down_proj.lora_A.weight").unwrap();
        assert_eq!(view.shape, [4, 176]);
        let config: Value = serde_json::from_slice(&std::fs::read(path.join(CONFIG)).unwrap()).unwrap();
        assert_eq!(
            (&config["peft_type"], &config["r"], &config["lora_alpha"]),
            (&json!("LORA"), &json!(4), &json!(8))
        );
        assert_eq!(config["base_model_name_or_path"], "some/base");
    }

    #[test]
    fn an_adapter_that_does_not_fit_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        written(&path);
        let other = fixtures::load("tiny-llama3");
        let error = read(&path, &other).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("but [") && error.contains("fits the model and rank 4"), "{error}");

        let file = path.join(CONFIG);
        let text = std::fs::read(&file).unwrap();
        let bent = |field: &str, value: Value| {
            let mut config: Value = serde_json::from_slice(&text).unwrap();
            config[field] = value;
            std::fs::write(&file, config.to_string()).unwrap();
            read_folder(&path).map(|_| ()).unwrap_err().to_string()
        };
        assert!(bent("use_dora", json!(true)).contains("uses `use_dora`, which ltune does not know"));
        assert!(bent("peft_type", json!("IA3")).contains("is of type `IA3`; ltune reads LORA"));
        assert!(bent("bias", json!("all")).contains("trains biases"));
        std::fs::remove_file(&file).unwrap();
        assert!(
            read_folder(&path).map(|_| ()).unwrap_err().to_string().contains("has no `adapter_config.json`")
        );
    }

    #[test]
    fn targets_name_whole_modules_when_only_some_layers_are_adapted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        let base = fixtures::random(Kind::Float);
        let targets = vec!["model.layers.1.mlp.up_proj".to_string(), "q_proj".to_string()];
        let settings = LoraSettings { rank: 2, targets, ..LoraSettings::default() };
        let trainables = Trainables::lora(&base, &settings, 1).unwrap();
        write_folder(&path, &base, &trainables, "base").unwrap();
        let back = read(&path, &base).unwrap().lora.unwrap();
        let modules = |settings: &LoraSettings| settings.modules(&base).unwrap();
        assert_eq!(modules(&back), modules(&settings));
    }
}
