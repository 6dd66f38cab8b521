//! Measuring: a model's loss on held-out rows, the answers it gives, the labels it chooses. Nothing here trains.

pub mod answer;
pub mod comparison;
pub mod exact_match;
pub mod labels;
pub mod loss;

use crate::events::Refusal;
use crate::generate::GenerateError;
use crate::model::ModelError;

/// What can go wrong while a model is measured.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error("there are no rows to evaluate on; name a part that has some, for example `on chat.train`")]
    NoRows,
    #[error(
        "`{metric}` needs rows with {needed}; these have none. Ask for `loss`, `perplexity` or `token_accuracy`"
    )]
    DoesNotFit { metric: &'static str, needed: &'static str },
    #[error("{place} has the label `{label}`, which no other row the labels were taken from has")]
    UnknownLabel { place: String, label: String },
    #[error("the metric `{metric}` gave {value} for {place}; it must give a number")]
    OwnMetric { metric: String, value: f64, place: String },
    #[error("the metric `{metric}` failed at {place}: {}", refusal.why)]
    OwnFailed { metric: String, place: String, refusal: Refusal },
    #[error("stopped after {done} of {total} rows")]
    Stopped { done: u64, total: u64 },
    #[error(transparent)]
    Generate(#[from] GenerateError),
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Hears of rows done and of all rows; `false` stops the work.
pub type Observe<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

/// Tells the observer, and turns its wish to stop into an error.
fn report(observe: Observe, done: usize, total: usize) -> Result<(), EvaluateError> {
    let (done, total) = (done as u64, total as u64);
    if observe(done, total) { Ok(()) } else { Err(EvaluateError::Stopped { done, total }) }
}
