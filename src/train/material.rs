//! What a run trains on: rows and the way they become steps.

use crate::data::batch::{Layout, MicroBatch};
use crate::data::dataset::{Dataset, Part, PartName};
use crate::data::packing::Packing;
use crate::data::specification::Specification;
use crate::train::recipe::Recipe;
use std::sync::Arc;

/// The rows of one part, and how its data block lays them out.
#[derive(Clone, Debug)]
pub struct Material {
    pub part: Arc<Part>,
    pub packing: Packing,
    /// Whether each epoch has an order of its own; the run's seed decides it.
    pub shuffle: bool,
}

impl Material {
    /// The named part of a prepared data set.
    pub fn new(dataset: &Dataset, specification: &Specification, part: PartName) -> Material {
        let packing = if specification.packing {
            Packing::Rows { max_len: specification.max_len }
        } else {
            Packing::Off
        };
        Material { part: Arc::clone(dataset.part(part)), packing, shuffle: specification.shuffle }
    }

    /// How the recipe's batch and seed turn these rows into steps.
    pub fn layout(&self, recipe: &Recipe) -> Layout {
        Layout {
            micro: recipe.batch.micro,
            accumulate: recipe.batch.accumulate,
            packing: self.packing,
            shuffle: self.shuffle.then_some(recipe.seed),
        }
    }

    /// A micro-batch taken apart: one batch for each of its rows.
    pub fn single_rows(&self, batch: &MicroBatch) -> Vec<MicroBatch> {
        let mut examples = batch.examples.iter().copied();
        let sizes = batch.documents.iter().map(|documents| documents.len().max(1));
        let rows: Vec<Vec<usize>> = sizes.map(|size| examples.by_ref().take(size).collect()).collect();
        rows.into_iter().map(|row| MicroBatch::new(&self.part, &[row], self.packing)).collect()
    }

    /// Where examples came from, for a message: `chat.jsonl:12, chat.jsonl:40 and 3 more`.
    pub fn places(&self, examples: &[usize]) -> String {
        const NAMED: usize = 4;
        let named: Vec<String> =
            examples.iter().take(NAMED).map(|example| format!("`{}`", self.part.place(*example))).collect();
        match examples.len().saturating_sub(NAMED) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }
}
