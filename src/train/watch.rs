//! When a run is looked at, and what its evaluations say so far: the arithmetic, for the caller that evaluates.

use crate::train::recipe::{EarlyStopping, Every};

impl Every {
    /// Whether it falls due directly after `step`. `seconds` is the time since it last happened.
    pub fn is_due(self, step: u64, steps_per_epoch: u64, seconds: f64) -> bool {
        match self {
            Every::Steps(every) => step > 0 && step.is_multiple_of(every.max(1)),
            Every::Epochs(epochs) => {
                let every = (epochs * steps_per_epoch as f64).max(1.0);
                let times = |step: u64| (step as f64 / every + 1e-9).floor();
                step > 0 && times(step) > times(step - 1)
            }
            Every::Seconds(every) => seconds >= every,
        }
    }

    /// How often it happens in `steps`, where that can be told beforehand.
    pub fn times(self, steps: u64, steps_per_epoch: u64) -> Option<u64> {
        match self {
            Every::Steps(every) => Some(steps / every.max(1)),
            Every::Epochs(epochs) => {
                Some((steps as f64 / (epochs * steps_per_epoch as f64).max(1.0) + 1e-9).floor() as u64)
            }
            Every::Seconds(_) => None,
        }
    }
}

/// One held-out loss of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    pub step: u64,
    pub loss: f64,
}

/// What the evaluations of the living branch say, in the order they were made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The least loss, and the first step that reached it.
    pub best: Option<Judged>,
    /// Whether the last evaluation is that best one.
    pub improved: bool,
    /// Evaluations since one was better than the best before it by more than `min_delta`.
    pub without_progress: u64,
    /// Whether patience has run out.
    pub stop: bool,
}

/// A pure function of the evaluations: after an undo, pass those that are left.
pub fn judge(evaluations: &[Judged], stopping: Option<EarlyStopping>) -> Verdict {
    let min_delta = stopping.map_or(0.0, |stopping| stopping.min_delta);
    let mut verdict = Verdict { best: None, improved: false, without_progress: 0, stop: false };
    let mut reference = f64::INFINITY; // the best of those that counted as progress
    for judged in evaluations {
        verdict.improved = verdict.best.is_none_or(|best| judged.loss < best.loss) && !judged.loss.is_nan();
        if verdict.improved {
            verdict.best = Some(*judged);
        }
        if judged.loss < reference - min_delta {
            reference = judged.loss;
            verdict.without_progress = 0;
        } else {
            verdict.without_progress += 1;
        }
    }
    verdict.stop = stopping.is_some_and(|stopping| verdict.without_progress >= stopping.patience.max(1));
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(losses: &[f64]) -> Vec<Judged> {
        losses.iter().enumerate().map(|(at, loss)| Judged { step: at as u64 + 1, loss: *loss }).collect()
    }

    #[test]
    fn something_every_half_epoch_happens_twice_an_epoch() {
        let due = |steps_per_epoch| -> Vec<u64> {
            (0..=10).filter(|step| Every::Epochs(0.5).is_due(*step, steps_per_epoch, 0.0)).collect()
        };
        assert_eq!(due(4), [2, 4, 6, 8, 10]);
        assert_eq!(due(5), [3, 5, 8, 10]);
        assert_eq!(Every::Epochs(0.5).times(10, 5), Some(4));
    }

    #[test]
    fn steps_and_seconds_fall_due() {
        assert!(Every::Steps(50).is_due(100, 10, 0.0));
        assert!(!Every::Steps(50).is_due(0, 10, 0.0));
        assert!(Every::Seconds(300.0).is_due(1, 10, 301.0));
        assert!(!Every::Seconds(300.0).is_due(1, 10, 299.0));
    }

    #[test]
    fn the_best_is_the_first_of_equals() {
        let verdict = judge(&judged(&[3.0, 2.0, 2.0]), None);
        assert_eq!(verdict.best, Some(Judged { step: 2, loss: 2.0 }));
        assert!(!verdict.improved && !verdict.stop);
        assert!(judge(&judged(&[3.0, 2.0]), None).improved);
        assert_eq!(judge(&[], None).best, None);
    }

    #[test]
    fn patience_counts_evaluations_that_gain_too_little() {
        let stopping = Some(EarlyStopping { patience: 2, min_delta: 0.1 });
        assert!(!judge(&judged(&[3.0, 2.95]), stopping).stop);
        assert!(judge(&judged(&[3.0, 2.95, 2.92]), stopping).stop);
        assert!(!judge(&judged(&[3.0, 2.95, 2.85]), stopping).stop);
        assert_eq!(judge(&judged(&[3.0, 2.95, 2.85]), stopping).without_progress, 0);
    }

    #[test]
    fn a_loss_that_is_no_number_is_never_the_best() {
        let verdict = judge(&judged(&[f64::NAN, 2.0, f64::NAN]), None);
        assert_eq!(verdict.best.map(|best| best.step), Some(2));
        assert_eq!(verdict.without_progress, 1);
    }
}
