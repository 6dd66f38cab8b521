//! How fast this machine trains: a block or three of the model's own shape, and its two ends, stepped for a second or
//! two with the code that trains. What was measured is kept, with what it was measured under.

use crate::files::{atomic, hash};
use crate::model::base::{Base, Origin, Quantization, Storage};
use crate::model::config::{Config, layer_of};
use crate::model::llama::{DropoutSeed, Inputs, Policy};
use crate::model::lora::LoraSettings;
use crate::model::loss::{Detail, NO_TARGET, measure_micro, train_micro};
use crate::model::recomputed::Activations;
use crate::model::trainables::Trainables;
use crate::torch::processor::{self, Processor};
use crate::torch::{device, memory, random};
use crate::train::clip::{clip, gradient_norm};
use crate::train::error::TrainError;
use crate::train::optimizer::{Moments, update};
use crate::train::recipe::Recipe;
use crate::train::rehearsal::MicroBatch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tch::{Device, Kind, Tensor};

/// What is stepped, and where: equal ones have equal paces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Subject {
    /// The shape of the model, without the number of its layers.
    pub config: Config,
    pub bf16: bool,
    pub quantization: Quantization,
    /// `cpu`, `cuda:0`
    pub device: String,
    /// Trained tensors of a block under their names in block 0, and their shapes; adapters too.
    pub block: BTreeMap<String, Vec<i64>>,
    /// Trained tensors outside of the blocks.
    pub ends: Vec<String>,
    pub lora: Option<LoraSettings>,
    pub optimizer: crate::train::recipe::Optimizer,
    pub micro_batch: MicroBatch,
}

/// What speed depends on besides the subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Machine {
    processor: String,
    threads: usize,
    capability: String,
    math: String,
    libtorch: String,
    ltune: &'static str,
}

/// Seconds that parts of a step take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// A micro-batch outside of the blocks: embedding, last norm, loss and what leads back to it.
    pub ends: f64,
    /// The lowest block that a gradient reaches, forward and backward.
    pub first: f64,
    /// A block above it.
    pub block: f64,
    /// A block below it: forward alone.
    pub forward: f64,
    /// The update of what is trained of a block.
    pub update_block: f64,
    /// The update of what is trained outside of the blocks.
    pub update_ends: f64,
}

/// A pace and when it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    pub pace: Pace,
    /// Seconds since 1970.
    pub at: u64,
    /// Kept from an earlier plan, or measured for this one.
    #[serde(skip, default = "kept")]
    pub source: Freshness,
}

fn kept() -> Freshness {
    Freshness::Kept
}

impl Probed {
    /// Seconds since it was measured, if that was for an earlier plan.
    pub fn age(&self) -> Option<f64> {
        (self.source == Freshness::Kept).then(|| now().saturating_sub(self.at).max(1) as f64)
    }
}

/// Whether a kept measurement will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    Kept,
    Fresh,
}

/// The pace of a subject: the one kept in `folder`, or measured now and kept there if that can be.
pub fn probe(
    subject: &Subject,
    processor: &Processor,
    folder: Option<&Path>,
    freshness: Freshness,
) -> Result<Probed, TrainError> {
    let machine = Machine::now(processor);
    let kept = folder.map(|folder| path(folder, subject, &machine));
    if freshness == Freshness::Kept
        && let Some(found) = kept.as_deref().and_then(read)
    {
        return Ok(found);
    }
    let probed = Probed { pace: measure(subject)?, at: now(), source: Freshness::Fresh };
    if let Some(path) = kept {
        let kept = serde_json::json!({"probed": probed, "machine": machine, "subject": subject});
        // Without it the next plan measures again.
        let _ = atomic::write(&path, kept.to_string().as_bytes());
    }
    Ok(probed)
}

fn path(folder: &Path, subject: &Subject, machine: &Machine) -> PathBuf {
    let key = serde_json::json!([subject, machine]).to_string();
    folder.join(format!("{}.json", hash::sha256(key)))
}

fn read(path: &Path) -> Option<Probed> {
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    serde_json::from_value(kept.get("probed")?.clone()).ok()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Machine {
    fn now(processor: &Processor) -> Machine {
        Machine {
            processor: processor::name(),
            threads: processor.threads,
            capability: processor.capability.clone(),
            math: format!("{:?}", processor.math).to_lowercase(),
            libtorch: processor::torch_version(),
            ltune: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl Subject {
    /// Bytes that measuring takes at most, roughly.
    pub fn bytes(&self) -> u64 {
        let config = Config { num_hidden_layers: 1 + MANY, ..self.config.clone() };
        let logits = self.micro_batch.supervised.min(1024) * self.config.vocab_size as u64;
        4 * (2 * config.parameter_count() + 2 * logits)
    }
}

/// Blocks of the stand that has several.
const MANY: i64 = 4;
/// Ids of the models whose blocks are measured: their ends are to take no time.
const FEW_IDS: i64 = 16;

/// Differences of whole steps, so that everything is in that a real step does.
fn measure(subject: &Subject) -> Result<Pace, TrainError> {
    let stand = |blocks, ids| Stand::new(subject, blocks, ids);
    let ids = subject.config.vocab_size;
    let mut stands = [stand(0, FEW_IDS)?, stand(0, ids)?, stand(1, FEW_IDS)?, stand(MANY, FEW_IDS)?];
    let [bare, ends, one, many] = rounds(&mut stands)?;
    drop(stands);
    memory::trim();
    let difference = |more: f64, less: f64| (more - less).max(0.0);
    let a_block = |more: f64, less: f64| difference(more, less) / (MANY - 1) as f64;
    Ok(Pace {
        ends: ends.step,
        first: difference(one.step, bare.step),
        block: a_block(many.step, one.step),
        forward: a_block(many.forward, one.forward),
        update_block: a_block(many.update, one.update),
        update_ends: ends.update,
    })
}

/// The middle of several rounds over all stands, so that a slow second slows them all. A first round is not counted:
/// it makes the plans of the products.
fn rounds<const N: usize>(stands: &mut [Stand; N]) -> Result<[Times; N], TrainError> {
    const ENOUGH: Duration = Duration::from_secs(2);
    const LEAST: usize = 3;
    const MOST: usize = 9;
    let begun = Instant::now();
    let mut round = || -> Result<Vec<Times>, TrainError> { stands.iter_mut().map(Stand::times).collect() };
    round()?;
    let mut all = vec![];
    while all.len() < LEAST || (begun.elapsed() < ENOUGH && all.len() < MOST) {
        all.push(round()?);
    }
    let middle = |stand: usize, of: fn(&Times) -> f64| {
        let mut times: Vec<f64> = all.iter().map(|round| of(&round[stand])).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    Ok(std::array::from_fn(|stand| Times {
        step: middle(stand, |times| times.step),
        forward: middle(stand, |times| times.forward),
        update: middle(stand, |times| times.update),
    }))
}

/// A small model of the subject's shape, ready to be stepped.
struct Stand {
    base: Base,
    trainables: Trainables,
    inputs: Inputs,
    labels: Vec<i64>,
    recipe: Recipe,
    moments: Moments,
}

struct Times {
    step: f64,
    forward: f64,
    update: f64,
}

impl Stand {
    fn new(subject: &Subject, blocks: i64, ids: i64) -> Result<Stand, TrainError> {
        let config = Config { num_hidden_layers: blocks, vocab_size: ids, ..subject.config.clone() };
        let kind = if subject.bf16 { Kind::BFloat16 } else { Kind::Float };
        let device = device::resolve(&subject.device)?;
        let storage = Storage { dtype: kind, quantization: subject.quantization, device };
        let tensors = config.parameter_shapes().into_iter().map(|(name, shape)| {
            let weight = storage.hold(&name, &filled(&shape, kind, device)?)?;
            Ok((name, weight))
        });
        let weights = tensors.collect::<Result<BTreeMap<_, _>, TrainError>>()?;
        let base = Base::assemble(config, weights, kind, device, Origin::Random { seed: 0 })?;
        let trainables = trainables(subject, &base)?;
        let MicroBatch { rows, length, supervised, documents } = &subject.micro_batch;
        let count = (rows * length) as usize;
        let input_ids: Vec<i64> = (0..count as i64).map(|place| place % ids).collect();
        let labels =
            (0..count).map(|place| if place < *supervised as usize { place as i64 % ids } else { NO_TARGET });
        let documents: Vec<Vec<usize>> =
            documents.iter().map(|row| row.iter().map(|length| *length as usize).collect()).collect();
        let attended = vec![*length as usize; *rows as usize];
        let recipe = Recipe {
            optimizer: subject.optimizer.clone(),
            ..Recipe::new(crate::train::recipe::Method::Full)
        };
        Ok(Stand {
            inputs: Inputs::new(&base, &input_ids, *rows as usize, documents, attended)?,
            labels: labels.collect(),
            base,
            trainables,
            recipe,
            moments: Moments::new(),
        })
    }

    fn times(&mut self) -> Result<Times, TrainError> {
        let mut last = Instant::now();
        let mut lap = || std::mem::replace(&mut last, Instant::now()).elapsed().as_secs_f64();
        self.step()?;
        let step = lap();
        self.update()?;
        let update = lap();
        self.trainables.clear_gradients();
        if self.base.config.num_hidden_layers > 0 {
            self.forward()?;
        }
        Ok(Times { step, update, forward: lap() })
    }

    fn step(&self) -> Result<(), TrainError> {
        let policy = Policy { base: &self.base, trainables: Some(&self.trainables) };
        train_micro(&policy, &self.inputs, &self.labels, 1e-3, DropoutSeed(1), Activations::Kept)?;
        self.wait()
    }

    fn update(&mut self) -> Result<(), TrainError> {
        let norm = gradient_norm(&self.trainables.tensors)?;
        clip(&self.trainables.tensors, norm, norm / 2.0 + 1e-9)?;
        update(&self.recipe, 1e-9, &self.trainables.tensors, &mut self.moments)?;
        self.wait()
    }

    fn forward(&self) -> Result<(), TrainError> {
        let policy = Policy { base: &self.base, trainables: None };
        measure_micro(&policy, &self.inputs, &self.labels, Detail::Sum)?;
        self.wait()
    }

    /// A GPU works on while its caller has gone on.
    fn wait(&self) -> Result<(), TrainError> {
        if let Device::Cuda(index) = self.base.device {
            tch::Cuda::synchronize(index as i64);
        }
        Ok(())
    }
}

/// Numbers of the usual size; which ones does not matter.
fn filled(shape: &[i64], kind: Kind, device: Device) -> Result<Tensor, TrainError> {
    const LARGE: i64 = 1 << 24;
    let tensor = Tensor::f_empty(shape, (kind, device))?;
    if shape.iter().product::<i64>() > LARGE {
        let _ = tensor.shallow_clone().f_fill_(0.01)?; // drawing that many takes longer than what is to be measured
    } else {
        random::fill_uniform(&tensor, -0.05, 0.05, 1)?;
    }
    Ok(tensor)
}

/// What the subject trains, for each block of this base.
fn trainables(subject: &Subject, base: &Base) -> Result<Trainables, TrainError> {
    let mut tensors = BTreeMap::new();
    // The last norm too, so that a gradient reaches the ends without any block.
    for name in subject.ends.iter().map(String::as_str).chain(["model.norm.weight"]) {
        if let Some(weight) = base.get(name) {
            tensors.insert(name.to_string(), filled(&weight.size(), Kind::Float, base.device)?);
        }
    }
    for layer in 0..base.config.num_hidden_layers {
        for (name, shape) in &subject.block {
            tensors.insert(renamed(name, layer), filled(shape, Kind::Float, base.device)?);
        }
    }
    Ok(Trainables::new(tensors, subject.lora.clone())?)
}

/// The name of the same tensor in another block.
pub fn renamed(name: &str, layer: i64) -> String {
    match layer_of(name) {
        Some(known) => name.replacen(&format!("layers.{known}."), &format!("layers.{layer}."), 1),
        None => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::preset;
    use crate::train::recipe::{Batch, Method};

    fn subject() -> Subject {
        let recipe = Recipe { batch: Batch { micro: 2, accumulate: 1 }, ..Recipe::new(Method::Full) };
        Subject {
            config: preset("tiny").unwrap(),
            bf16: false,
            quantization: Quantization::Off,
            device: "cpu".into(),
            block: BTreeMap::from([("model.layers.0.mlp.up_proj.weight".into(), vec![176, 64])]),
            ends: vec!["model.norm.weight".into()],
            lora: None,
            optimizer: recipe.optimizer,
            micro_batch: MicroBatch { rows: 2, length: 8, supervised: 14, documents: vec![] },
        }
    }

    #[test]
    fn a_pace_is_measured_once_and_kept_for_what_it_was_measured_on() {
        tch::set_num_threads(1);
        let folder = tempfile::tempdir().unwrap();
        let processor = processor::prepare().unwrap();
        let pace = |subject: &Subject, freshness| {
            probe(subject, &processor, Some(folder.path()), freshness).unwrap().pace
        };
        let first = pace(&subject(), Freshness::Kept);
        assert!(first.ends > 0.0 && first.block + first.first > 0.0, "{first:?}");
        assert_eq!(pace(&subject(), Freshness::Kept), first);
        assert_ne!(pace(&subject(), Freshness::Fresh), first);
        let other = Subject { micro_batch: MicroBatch { rows: 1, ..subject().micro_batch }, ..subject() };
        pace(&other, Freshness::Kept);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_damaged_measurement_is_made_again() {
        tch::set_num_threads(1);
        let folder = tempfile::tempdir().unwrap();
        let processor = processor::prepare().unwrap();
        let kept = path(folder.path(), &subject(), &Machine::now(&processor));
        std::fs::write(&kept, "{").unwrap();
        assert!(probe(&subject(), &processor, Some(folder.path()), Freshness::Kept).is_ok());
        assert!(read(&kept).is_some());
    }

    #[test]
    fn a_tensor_is_renamed_into_another_block() {
        assert_eq!(renamed("model.layers.29.mlp.up_proj.weight", 1), "model.layers.1.mlp.up_proj.weight");
        assert_eq!(renamed("model.norm.weight", 1), "model.norm.weight");
    }
}
