//! Small models for tests: the two of `tests/fixtures` with their reference numbers, and random ones.

use crate::model::base::{Base, Storage};
use crate::model::llama::{Inputs, Policy};
use crate::model::load;
use crate::model::preset::preset;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// The two tiny models with reference numbers.
pub const NAMES: [&str; 2] = ["tiny", "tiny-llama3"];

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub fn load(name: &str) -> Base {
    load_as(name, Kind::Float)
}

pub fn load_as(name: &str, dtype: Kind) -> Base {
    load::load(&folder(name), Storage::floats(dtype, Device::Cpu), &mut |_, _| true).unwrap()
}

/// The reference numbers of a model.
pub fn numbers(name: &str) -> Value {
    let text = std::fs::read_to_string(folder("tiny.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[name].take()
}

pub fn integers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

pub fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// A random model of the `tiny` shape.
pub fn random(dtype: Kind) -> Base {
    Base::random(preset("tiny").unwrap(), 7, dtype, Device::Cpu).unwrap()
}

pub fn policy(base: &Base) -> Policy<'_> {
    Policy { base, trainables: None }
}

/// Unpacked rows of equal length.
pub fn inputs(base: &Base, ids: &[i64], rows: usize) -> Inputs {
    Inputs::new(base, ids, rows, vec![vec![]; rows], vec![ids.len() / rows; rows]).unwrap()
}

/// The next token of each position of a row, none for the last.
pub fn shifted(ids: &[i64]) -> Vec<i64> {
    ids[1..].iter().copied().chain([-100]).collect()
}

/// Largest and mean difference.
pub fn differences(found: &[f64], wanted: &[f64]) -> (f64, f64) {
    assert_eq!(found.len(), wanted.len());
    let all: Vec<f64> = found.iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs()).collect();
    (all.iter().copied().fold(0.0, f64::max), all.iter().sum::<f64>() / all.len() as f64)
}
