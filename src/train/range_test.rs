//! The learning-rate range test (Smith 2017, arXiv 1506.01186): train for a while with the learning rate rising
//! exponentially, and see where the loss falls and where it breaks away.
//!
//! It trains a fork, so the run stays as it is. Schedule and warmup give way to the rising rate; dropout, clipping,
//! weight decay and the optimizer's moments are the run's. Which rows a step draws moves its loss more than the
//! learning rate does, so each loss is set against what the untouched run has on the same rows under the same dropout:
//! the curve begins flat, and bends only where training bends it.

use crate::events::Cancel;
use crate::train::error::TrainError;
use crate::train::recipe::{Length, Recipe, Schedule};
use crate::train::trainer::Trainer;

/// How far the rate rises, and when the test ends early.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeTest {
    pub lowest: f64,
    pub highest: f64,
    pub steps: u64,
    /// It ends when the loss is so many times its least, and higher than at the start.
    pub divergence: f64,
}

/// One step of the test. Both losses are means over the step's supervised tokens, before its update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    pub lr: f64,
    pub loss: f64,
    /// Of the untouched run on the same rows.
    pub untouched: f64,
}

/// Why the test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    AtHighest,
    Diverged,
    /// The loss or the gradient was no number any more.
    NotFinite,
    /// The observer said stop.
    Asked,
}

/// What the test saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub trials: Vec<Trial>,
    pub ended: Ended,
}

/// What the curve says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suggestion {
    /// Where the loss falls fastest, or a tenth of where it is least if that is less; to two digits.
    pub lr: f64,
    pub steepest: f64,
    pub least: f64,
}

/// A fall of the loss by less than this share of it is none.
const FALL: f64 = 0.005;
/// Steps whose mean decides whether the loss has broken away.
const RECENT: usize = 3;

impl RangeTest {
    /// Runs the test on a fork of the run. The observer hears of each trial; `false` ends the test.
    pub fn run(
        &self,
        run: &Trainer,
        cancel: &Cancel,
        observe: &mut dyn FnMut(&Trial) -> bool,
    ) -> Result<Curve, TrainError> {
        let mut fork = run.fork();
        let mut curve = Curve { trials: vec![], ended: Ended::AtHighest };
        for index in 0..self.steps {
            match self.trial(index, run, &mut fork, cancel) {
                Ok(trial) => curve.trials.push(trial),
                Err(TrainError::NotFinite { .. }) if index > 0 => {
                    curve.ended = Ended::NotFinite;
                    break;
                }
                Err(error) => return Err(error),
            }
            if !observe(&curve.trials[index as usize]) {
                curve.ended = Ended::Asked;
                break;
            }
            if curve.has_diverged(self.divergence) {
                curve.ended = Ended::Diverged;
                break;
            }
        }
        Ok(curve)
    }

    fn trial(
        &self,
        index: u64,
        run: &Trainer,
        fork: &mut Trainer,
        cancel: &Cancel,
    ) -> Result<Trial, TrainError> {
        let lr = self.lr(index);
        fork.amend(steady(run.recipe(), lr))?;
        let step = fork.step_count() + 1;
        let sums = run.losses(step, &fork.batches_of(step), cancel)?;
        let tokens: usize = sums.iter().map(|sum| sum.tokens).sum();
        let untouched = sums.iter().map(|sum| sum.loss_sum).sum::<f64>() / tokens as f64;
        Ok(Trial { lr, loss: fork.step(cancel)?.loss, untouched })
    }

    /// From lowest to highest, each the same times the one before.
    fn lr(&self, index: u64) -> f64 {
        let share = index as f64 / (self.steps - 1).max(1) as f64;
        self.lowest * (self.highest / self.lowest).powf(share)
    }
}

/// The recipe at this learning rate from the first step to the last.
fn steady(recipe: &Recipe, lr: f64) -> Recipe {
    Recipe { lr, schedule: Schedule::Constant, warmup: Length::Steps(0), ..recipe.clone() }
}

impl Curve {
    /// The losses as they would be if all rows were as hard as each other.
    pub fn losses(&self) -> Vec<f64> {
        let count = self.trials.len().max(1) as f64;
        let level = self.trials.iter().map(|trial| trial.untouched).sum::<f64>() / count;
        self.trials.iter().map(|trial| level + trial.loss - trial.untouched).collect()
    }

    /// The losses, each with its neighbours on both sides: unlike a running mean it moves nothing to the right.
    pub fn smoothed(&self) -> Vec<f64> {
        let losses = self.losses();
        let reach = 1 + losses.len() / 20;
        let around = |index: usize| {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (other, loss) in losses.iter().enumerate() {
                let weight = (reach + 1).saturating_sub(index.abs_diff(other)) as f64;
                sum += weight * loss;
                weights += weight;
            }
            sum / weights
        };
        (0..losses.len()).map(around).collect()
    }

    fn has_diverged(&self, divergence: f64) -> bool {
        let losses = self.losses();
        if losses.len() < 2 * RECENT {
            return false;
        }
        let means: Vec<f64> =
            losses.windows(RECENT).map(|recent| recent.iter().sum::<f64>() / RECENT as f64).collect();
        let least = means.iter().copied().fold(f64::INFINITY, f64::min);
        let last = means[means.len() - 1];
        last > divergence * least && last > losses[0]
    }

    /// `None` when the loss fell nowhere.
    pub fn suggestion(&self) -> Option<Suggestion> {
        let losses = self.smoothed();
        let least = (0..losses.len()).min_by(|one, other| losses[*one].total_cmp(&losses[*other]))?;
        if least == 0 || losses[0] - losses[least] < FALL * losses[0].abs() {
            return None;
        }
        let fall = |index: usize| losses[index - 1] - losses[(index + 1).min(losses.len() - 1)];
        let steepest = (1..=least).max_by(|one, other| fall(*one).total_cmp(&fall(*other)))?;
        let (steepest, least) = (self.trials[steepest].lr, self.trials[least].lr);
        Some(Suggestion { lr: two_digits(steepest.min(least / 10.0)), steepest, least })
    }
}

fn two_digits(number: f64) -> f64 {
    format!("{number:.1e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::{bytes, full, lora, material, steps, trainer};

    const TEST: RangeTest = RangeTest { lowest: 1e-6, highest: 10.0, steps: 36, divergence: 1.5 };

    fn run(trainer: &Trainer) -> Curve {
        TEST.run(trainer, &Cancel::default(), &mut |_| true).unwrap()
    }

    #[test]
    fn the_run_is_as_it_was_at_its_start_and_later() {
        for recipe in [lora(), full()] {
            let (mut tested, mut never) = (trainer(material(), recipe.clone()), trainer(material(), recipe));
            for _ in 0..2 {
                let before = (bytes(&tested), tested.recipe().clone());
                run(&tested);
                assert_eq!((bytes(&tested), tested.recipe().clone()), before);
                assert_eq!(steps(&mut tested, 3), steps(&mut never, 3));
            }
            assert_eq!(bytes(&tested), bytes(&never));
        }
    }

    #[test]
    fn the_rate_rises_evenly_and_the_first_loss_is_the_untouched_one() {
        let curve = run(&trainer(material(), lora()));
        let first = curve.trials[0];
        assert_eq!((first.lr, first.loss), (1e-6, first.untouched));
        let ratio = (10.0f64 / 1e-6).powf(1.0 / 35.0);
        for pair in curve.trials.windows(2) {
            assert!((pair[1].lr / pair[0].lr / ratio - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_model_that_learns_is_given_a_rate_between_too_small_and_too_large() {
        let curve = run(&trainer(material(), full()));
        assert!(matches!(curve.ended, Ended::Diverged | Ended::NotFinite), "{curve:?}");
        let suggestion = curve.suggestion().expect("the loss fell");
        assert!((1e-5..1e-1).contains(&suggestion.lr), "{suggestion:?}");
        assert_eq!(suggestion.lr, two_digits(suggestion.steepest.min(suggestion.least / 10.0)));
    }

    #[test]
    fn what_the_rows_do_to_the_loss_does_not_bend_the_curve() {
        let hard_and_easy = (0..40).map(|index| {
            let (lr, level) = (10f64.powf(-6.0 + 0.1 * f64::from(index)), f64::from(index % 3));
            let fall = if index > 20 { 0.02 * f64::from(index - 20) } else { 0.0 };
            Trial { lr, loss: 2.0 + level - fall, untouched: 2.0 + level }
        });
        let curve = Curve { trials: hard_and_easy.collect(), ended: Ended::AtHighest };
        let losses = curve.losses();
        assert!(losses[..21].iter().all(|loss| (loss - losses[0]).abs() < 1e-12));
        let suggestion = curve.suggestion().unwrap();
        assert!(suggestion.least > 0.7e-2, "{suggestion:?}");
        assert_eq!(suggestion.lr, two_digits(suggestion.steepest.min(suggestion.least / 10.0)));
    }

    #[test]
    fn a_loss_that_falls_nowhere_gives_no_suggestion() {
        let flat = |index: i32| Trial { lr: f64::from(index + 1), loss: 2.0, untouched: 2.0 };
        let curve = Curve { trials: (0..20).map(flat).collect(), ended: Ended::AtHighest };
        assert_eq!(curve.suggestion(), None);
        assert_eq!(Curve { trials: vec![], ended: Ended::Asked }.suggestion(), None);
    }

    #[test]
    fn the_observer_can_end_it_and_a_second_request_breaks_it_off() {
        let run = trainer(material(), lora());
        let mut heard = 0;
        let mut observe = |_: &Trial| {
            heard += 1;
            heard < 3
        };
        let curve = TEST.run(&run, &Cancel::default(), &mut observe).unwrap();
        assert_eq!((curve.trials.len(), curve.ended), (3, Ended::Asked));
        let cancel = Cancel::default();
        (0..2).for_each(|_| cancel.request());
        let broken = TEST.run(&run, &cancel, &mut |_| true);
        assert!(matches!(broken, Err(TrainError::Aborted { .. })));
    }
}
