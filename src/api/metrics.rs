//! The numbers of a run as plain vectors.

use crate::events::{Evaluation, Step};
use crate::session::record::Record;

/// The living branch of a run: one entry a step, in order; what was undone is not in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Optimizer steps, from 1.
    pub step: Vec<u64>,
    /// Mean loss over the step's supervised tokens, in nats.
    pub loss: Vec<f64>,
    /// The learning rate of the step.
    pub lr: Vec<f64>,
    /// The norm of all gradients together, before clipping.
    pub grad_norm: Vec<f64>,
    /// Supervised tokens of the step.
    pub tokens: Vec<u64>,
    /// How long the step took.
    pub seconds: Vec<f64>,
    /// Passes over the training rows so far.
    pub epoch: Vec<f64>,
    /// Held-out numbers, each with the step it was measured at.
    pub evaluations: Vec<Evaluation>,
}

impl Metrics {
    pub(super) fn of(record: &Record) -> Metrics {
        fn all<T>(record: &Record, part: impl Fn(&Step) -> T) -> Vec<T> {
            record.steps.iter().map(part).collect()
        }
        Metrics {
            step: all(record, |step| step.step),
            loss: all(record, |step| step.loss),
            lr: all(record, |step| step.lr),
            grad_norm: all(record, |step| step.grad_norm),
            tokens: all(record, |step| step.tokens),
            seconds: all(record, |step| step.seconds),
            epoch: all(record, |step| step.epoch),
            evaluations: record.evaluations.clone(),
        }
    }
}
