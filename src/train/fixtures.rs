//! What the tests of this room and of `evaluate` share: a tiny model, a few rows, and a run's bytes.

use crate::data::dataset::{Example, Part, RowText};
use crate::data::packing::Packing;
use crate::events::Cancel;
use crate::model::base::Base;
use crate::model::lora::LoraSettings;
use crate::model::preset::preset;
use crate::torch::raw;
use crate::train::material::Material;
use crate::train::recipe::{Batch, Checkpointing, Length, Method, Recipe, Schedule};
use crate::train::trainer::{StepReport, Trainer};
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::{Device, Kind};

/// A random model of the `tiny` shape. One thread: it is too small for two, and tests run beside each other.
pub fn base() -> Arc<Base> {
    tch::set_num_threads(1);
    let config = preset("tiny").expect("the preset is there");
    Arc::new(Base::random(config, 1, Kind::Float, Device::Cpu).expect("tiny fits in memory"))
}

/// Rows of these lengths, whose later half is supervised, from `rows.jsonl`.
pub fn part(lengths: &[usize]) -> Arc<Part> {
    let mut part = Part::new(vec!["rows.jsonl".into()]);
    let mut next = 7u32;
    for (index, length) in lengths.iter().enumerate() {
        let mut draw = || {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            next >> 24
        };
        let ids: Vec<u32> = (0..*length).map(|_| draw()).collect();
        let supervised: Vec<bool> =
            (0..*length).map(|position| position > 0 && position >= length / 2).collect();
        let example = Example { ids: &ids, supervised: &supervised };
        part.push(example, RowText::default(), (0, index as u64 + 1));
    }
    Arc::new(part)
}

/// Twenty-two shuffled rows of different lengths, unpacked.
pub fn material() -> Material {
    let lengths: Vec<usize> = (0..22).map(|row| 6 + row * 7 % 19).collect();
    Material { part: part(&lengths), packing: Packing::Off, shuffle: true }
}

pub fn packed() -> Material {
    Material { packing: Packing::Rows { max_len: 48 }, ..material() }
}

/// LoRA of rank 4 with dropout on, 2 x 2 rows, cosine over 20 steps: everything that could go astray.
pub fn lora() -> Recipe {
    let settings = LoraSettings { rank: 4, alpha: 8.0, dropout: 0.1, ..LoraSettings::default() };
    Recipe { lr: 5e-3, ..brief(Method::lora(settings)) }
}

pub fn full() -> Recipe {
    Recipe { lr: 1e-3, ..brief(Method::Full) }
}

fn brief(method: Method) -> Recipe {
    Recipe {
        schedule: Schedule::Cosine { min: 0.0 },
        warmup: Length::Steps(3),
        batch: Batch { micro: 2, accumulate: 2 },
        length: Length::Steps(20),
        checkpointing: Checkpointing::Off,
        ..Recipe::new(method)
    }
}

pub fn trainer(material: Material, recipe: Recipe) -> Trainer {
    Trainer::new(base(), material, recipe).expect("the recipe fits the tiny model")
}

/// Takes steps and leaves out the seconds, so that reports can be compared.
pub fn steps(trainer: &mut Trainer, count: usize) -> Vec<StepReport> {
    let mut step = || trainer.step(&Cancel::default()).expect("the step is sound");
    (0..count).map(|_| StepReport { seconds: 0.0, ..step() }).collect()
}

/// All of a run that changes, bit for bit.
pub fn bytes(trainer: &Trainer) -> BTreeMap<String, Vec<u8>> {
    let to_bytes = |tensor| raw::to_bytes(tensor).expect("a tensor on the CPU has bytes");
    let mut all: BTreeMap<String, Vec<u8>> =
        trainer.trainables().tensors.iter().map(|(name, tensor)| (name.clone(), to_bytes(tensor))).collect();
    for (name, moment) in trainer.moments() {
        for (index, tensor) in moment.tensors.iter().enumerate() {
            all.insert(format!("{name} moment {index}"), to_bytes(tensor));
        }
        all.insert(format!("{name} updates"), moment.updates.to_le_bytes().to_vec());
    }
    all.insert("step".into(), trainer.step_count().to_le_bytes().to_vec());
    all
}
