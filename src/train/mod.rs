//! Training: a recipe, a base and a data set become a run that steps, stops, and can be put back exactly.
//!
//! A [`trainer::Trainer`] owns what changes (trained tensors, optimizer moments, the step); all else is a
//! pure function of the recipe, the seed and the step, so that a snapshot of those three is the whole run.

pub mod anatomy;
pub mod checkpoint;
pub mod clip;
pub mod duration;
pub mod error;
#[cfg(test)]
pub mod fixtures;
pub mod material;
pub mod metrics;
pub mod objective;
pub mod optimizer;
pub mod plan;
pub mod probe;
pub mod range_test;
pub mod recipe;
pub mod rehearsal;
pub mod schedule;
pub mod selection;
pub mod shade;
pub mod snapshot;
pub mod start;
pub mod trainer;
pub mod watch;
