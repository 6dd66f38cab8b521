//! A run on disk: `trainables.safetensors`, `optimizer.safetensors` and `state.json`, written whole or not at all.

use crate::data::batch::Schedule;
use crate::files::safetensors::{Archive, Dtype, Entry, View, write as write_safetensors};
use crate::files::{atomic, hash};
use crate::model::base::{Base, kind_name};
use crate::torch::processor::Processor;
use crate::torch::{device, processor, raw};
use crate::train::error::TrainError;
use crate::train::material::Material;
use crate::train::optimizer::{Moment, Moments, moment_names};
use crate::train::recipe::Recipe;
use crate::train::schedule::OwnSchedules;
use crate::train::start;
use crate::train::trainer::Trainer;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tch::{Kind, Tensor};

pub const TRAINABLES: &str = "trainables.safetensors";
pub const OPTIMIZER: &str = "optimizer.safetensors";
pub const STATE: &str = "state.json";
const FORMAT: u64 = 1;

/// `state.json`: what is not a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub format: u64,
    pub step: u64,
    pub recipe: Recipe,
    pub origin: Origin,
    pub conditions: Conditions,
    /// Updates of each parameter that the optimizer has seen.
    pub updates: BTreeMap<String, u64>,
    /// sha256 of the files beside this one.
    pub files: BTreeMap<String, String>,
    /// What the session keeps with the run: its timeline of settings.
    #[serde(default)]
    pub session: serde_json::Value,
}

/// Hashes of what the run was made from: it continues on these alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub base: String,
    pub tokenizer: String,
    pub data: String,
}

/// What bits depend on besides the recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    pub ltune: String,
    pub libtorch: String,
    pub device: String,
    pub threads: u64,
    pub capability: String,
    pub math: String,
    /// The kind in which the model computes, which need not be that of its weights; checkpoints of before do not say.
    #[serde(default)]
    pub compute: String,
}

impl Conditions {
    /// Those of this process.
    pub fn now(base: &Base, processor: &Processor) -> Conditions {
        Conditions {
            ltune: env!("CARGO_PKG_VERSION").into(),
            libtorch: processor::torch_version(),
            device: device::name(base.device),
            threads: processor.threads as u64,
            capability: processor.capability.clone(),
            math: format!("{:?}", processor.math).to_lowercase(),
            compute: kind_name(base.compute).into(),
        }
    }

    /// In words, what differs: with any of it, continuing is exact no longer.
    pub fn differences(&self, now: &Conditions) -> Vec<String> {
        let pairs = [
            ("ltune", &self.ltune, &now.ltune),
            ("libtorch", &self.libtorch, &now.libtorch),
            ("device", &self.device, &now.device),
            ("processor", &self.capability, &now.capability),
            ("math mode", &self.math, &now.math),
            (
                "computing in",
                if self.compute.is_empty() { &now.compute } else { &self.compute },
                &now.compute,
            ),
            ("threads", &self.threads.to_string(), &now.threads.to_string()),
        ];
        let differing = pairs.into_iter().filter(|(_, then, now)| then != now);
        differing.map(|(name, then, now)| format!("{name} was {then}, is {now}")).collect()
    }
}

/// Writes the run as it is now. `session` is kept and given back as it is.
pub fn write(
    folder: &Path,
    trainer: &Trainer,
    origin: &Origin,
    processor: &Processor,
    session: serde_json::Value,
) -> Result<(), TrainError> {
    atomic::folder(folder, |folder| {
        let trained = &trainer.trainables.tensors;
        write_tensors(&folder.join(TRAINABLES), trained.iter().map(|(name, tensor)| (name.clone(), tensor)))?;
        let names = moment_names(&trainer.recipe.optimizer);
        let moments = trainer.moments.iter().flat_map(|(parameter, moment)| {
            let named = names.iter().zip(&moment.tensors);
            named.map(move |(name, tensor)| (format!("{parameter}.{name}"), tensor))
        });
        write_tensors(&folder.join(OPTIMIZER), moments)?;
        let files = [TRAINABLES, OPTIMIZER]
            .map(|file| Ok((file.to_string(), hash::file_sha256(&folder.join(file))?)))
            .into_iter()
            .collect::<Result<_, TrainError>>()?;
        let state = State {
            format: FORMAT,
            step: trainer.step,
            recipe: trainer.recipe.clone(),
            origin: origin.clone(),
            conditions: Conditions::now(&trainer.base, processor),
            updates: trainer.moments.iter().map(|(name, moment)| (name.clone(), moment.updates)).collect(),
            files,
            session,
        };
        let text = serde_json::to_vec_pretty(&state).expect("a state of numbers and text is always JSON");
        Ok(atomic::write(&folder.join(STATE), &text)?)
    })
}

fn write_tensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (String, &'a Tensor)>,
) -> Result<(), TrainError> {
    let entries = tensors
        .map(|(name, tensor)| {
            let shape = tensor.size().into_iter().map(|side| side as usize).collect();
            Ok((name, Dtype::F32, shape, raw::bytes_of(tensor)?))
        })
        .collect::<Result<Vec<Entry>, TrainError>>()?;
    Ok(write_safetensors(path, &entries, &BTreeMap::new())?)
}

/// Reads `state.json` alone: the step and the settings, before anything heavy is loaded.
pub fn read_state(folder: &Path) -> Result<State, TrainError> {
    let path = folder.join(STATE);
    let text = crate::files::read(&path)?;
    let broken = |reason: String| TrainError::Checkpoint { path: path.clone(), reason };
    let format: Format = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    if format.format != FORMAT {
        let found = format.format;
        return Err(broken(format!(
            "it has format {found}, and this ltune reads {FORMAT}; use the ltune that wrote it"
        )));
    }
    serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))
}

#[derive(Deserialize)]
struct Format {
    format: u64,
}

/// The run as it was written, on the base and rows it was made from, whose hashes must be the same.
pub fn read(
    folder: &Path,
    base: Arc<Base>,
    material: Material,
    origin: &Origin,
) -> Result<(Trainer, State), TrainError> {
    let state = read_state(folder)?;
    state.origin.must_equal(origin, folder)?;
    for (file, wanted) in &state.files {
        let path = folder.join(file);
        if hash::file_sha256(&path)? != *wanted {
            let reason = "its bytes are not those that were written".to_string();
            return Err(TrainError::Checkpoint { path, reason });
        }
    }
    let tensors = read_tensors(&folder.join(TRAINABLES), &base)?;
    let mut remembered = read_tensors(&folder.join(OPTIMIZER), &base)?;
    let mut moments = Moments::new();
    for (parameter, updates) in &state.updates {
        let take = |name: &&str| {
            remembered.remove(&format!("{parameter}.{name}")).ok_or_else(|| TrainError::Checkpoint {
                path: folder.join(OPTIMIZER),
                reason: format!("it lacks `{parameter}.{name}`"),
            })
        };
        let tensors = moment_names(&state.recipe.optimizer).iter().map(take).collect::<Result<_, _>>()?;
        moments.insert(parameter.clone(), Moment { tensors, updates: *updates });
    }
    let trainables = start::resumed(&base, tensors, &state.recipe)?;
    let recipe = state.recipe.clone();
    let order = Arc::new(Schedule::new(&material.part, material.layout(&recipe)));
    let (step, own) = (state.step, OwnSchedules::default());
    let recordings = RefCell::default();
    let trainer = Trainer { base, material, order, recipe, trainables, moments, step, own, recordings };
    Ok((trainer, state))
}

impl Origin {
    /// Refuses other weights, another tokenizer or other data, by name.
    pub fn must_equal(&self, now: &Origin, folder: &Path) -> Result<(), TrainError> {
        let pairs = [
            ("model", &self.base, &now.base),
            ("tokenizer", &self.tokenizer, &now.tokenizer),
            ("data", &self.data, &now.data),
        ];
        match pairs.into_iter().find(|(_, then, now)| then != now) {
            None => Ok(()),
            Some((what, then, now)) => Err(TrainError::OriginChanged {
                what,
                path: folder.into(),
                then: short(then),
                now: short(now),
            }),
        }
    }
}

/// Enough of a hash to tell two apart.
fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

fn read_tensors(path: &Path, base: &Base) -> Result<BTreeMap<String, Tensor>, TrainError> {
    let archive = Archive::open(path)?;
    let mut tensors = BTreeMap::new();
    for name in archive.names() {
        let View { dtype, shape, bytes } = archive.expect(name)?;
        if dtype != Dtype::F32 {
            let reason = format!("`{name}` is {}, and F32 is needed", dtype.name());
            return Err(TrainError::Checkpoint { path: path.into(), reason });
        }
        let shape: Vec<i64> = shape.iter().map(|side| *side as i64).collect();
        let tensor = raw::from_bytes(bytes, &shape, Kind::Float)?;
        tensors.insert(name.to_string(), tensor.f_to_device(base.device)?);
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::processor::MathMode;
    use crate::train::fixtures::{base, bytes, full, lora, material, packed, steps, trainer};
    use crate::train::recipe::{Decay, Optimizer, Recipe, Selection};

    fn processor() -> Processor {
        Processor { threads: 2, capability: "AVX2".into(), math: MathMode::Mkl, error: 0.0 }
    }

    fn origin() -> Origin {
        Origin { base: "b".repeat(64), tokenizer: "t".repeat(64), data: "d".repeat(64) }
    }

    fn assert_continues(material: Material, recipe: Recipe) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step-4");
        let mut whole = trainer(material.clone(), recipe);
        steps(&mut whole, 4);
        let session = serde_json::json!({ "timeline": [1.0 / 3.0] });
        write(&path, &whole, &origin(), &processor(), session.clone()).unwrap();
        let (mut continued, state) = read(&path, base(), material, &origin()).unwrap();
        assert_eq!((state.step, &state.session, continued.recipe()), (4, &session, whole.recipe()));
        assert_eq!(bytes(&continued), bytes(&whole));
        assert_eq!(steps(&mut continued, 4), steps(&mut whole, 4));
        assert_eq!(bytes(&continued), bytes(&whole));
    }

    #[test]
    fn a_run_continues_from_disk_bit_for_bit() {
        assert_continues(packed(), lora());
        assert_continues(material(), full());
        let sgd = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0, nesterov: false, decay: Decay::All };
        assert_continues(material(), Recipe { optimizer: sgd, ..full() });
        let freeze = vec![Selection::freeze("layers 0"), Selection::unfreeze("embeddings")];
        assert_continues(material(), Recipe { freeze, ..lora() });
    }

    /// Writes a checkpoint, changes one of its files, and gives the message of reading it.
    fn broken(file: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step-1");
        let mut run = trainer(material(), lora());
        steps(&mut run, 1);
        write(&path, &run, &origin(), &processor(), serde_json::Value::Null).unwrap();
        let file = path.join(file);
        std::fs::write(&file, change(std::fs::read(&file).unwrap())).unwrap();
        read(&path, base(), material(), &origin()).unwrap_err().to_string()
    }

    #[test]
    fn changed_bytes_are_noticed_before_anything_is_taken() {
        let flip = |mut bytes: Vec<u8>| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            bytes
        };
        assert!(broken(TRAINABLES, flip).contains("its bytes are not those that were written"));
        assert!(broken(OPTIMIZER, flip).contains("optimizer.safetensors` cannot be continued from"));
        assert!(broken(STATE, |bytes| bytes[..bytes.len() / 2].to_vec()).contains("state.json"));
        let newer =
            |bytes| String::from_utf8(bytes).unwrap().replace("\"format\": 1", "\"format\": 9").into_bytes();
        assert!(broken(STATE, newer).contains("it has format 9, and this ltune reads 1"));
    }

    #[test]
    fn another_model_tokenizer_or_data_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step-0");
        write(&path, &trainer(material(), lora()), &origin(), &processor(), serde_json::Value::Null).unwrap();
        let refused = |origin| read(&path, base(), material(), &origin).unwrap_err().to_string();
        assert!(
            refused(Origin { base: "x".into(), ..origin() })
                .contains("another model (bbbbbbbbbbbb…, now x…)")
        );
        assert!(refused(Origin { tokenizer: "x".into(), ..origin() }).contains("another tokenizer"));
        assert!(refused(Origin { data: "x".into(), ..origin() }).contains("another data"));
    }

    #[test]
    fn what_bits_depend_on_is_told_where_it_differs() {
        let then = Conditions::now(&base(), &processor());
        assert_eq!(then.differences(&then), Vec::<String>::new());
        let now = Conditions { threads: 4, math: "onednn".into(), ..then.clone() };
        assert_eq!(then.differences(&now), ["math mode was mkl, is onednn", "threads was 2, is 4"]);
    }
}
