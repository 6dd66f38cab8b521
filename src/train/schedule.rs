//! The learning rate of a step: a pure function of the recipe and the step, so that any step can be taken again.
//!
//! With `t` the step from 1, `N` the planned steps, `w` the warmup steps, `m` the least share of the peak, and
//! `p = (t - w) / (N - w)` the progress after the warmup, the share of `lr` is
//!
//! | schedule | share of `lr` |
//! |---|---|
//! | warmup, `t <= w` | `t / w` |
//! | constant | `1` |
//! | linear | `m + (1 - m)(1 - p)` |
//! | cosine (arXiv 1608.03983) | `m + (1 - m)(1 + cos πp) / 2` |
//! | cosine with restarts, `c` cycles | cosine of `frac(c p)`; it ends at `m` |
//! | step, every `e` steps by `f` | `f ^ floor((t - w - 1) / e)` |
//! | cyclical, period `T`, decay `d` (arXiv 1506.01186) | `m + (1 - m) d ^ floor(x + ½) · abs(1 - 2 frac(x))`, `x = (t - w) / T` |
//! | warmup–stable–decay, decay over the last `D` steps (arXiv 2404.06395) | `1` up to `N - D`, then `m + (1 - m) s(q)`, `q = (t - N + D) / D`, with `s` one of `1 - q`, `(1 + cos πq) / 2`, `1 - √q` |
//!
//! Beyond `N` it stays at its value in `N`.

use crate::events::Refusal;
use crate::train::error::TrainError;
use crate::train::recipe::{DecayShape, Length, Recipe, Schedule};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::fmt;
use std::rc::Rc;

/// Where a run is when a schedule of one's own is asked for the share of `lr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The optimizer step that is about to be taken, from 1.
    pub step: u64,
    /// The planned last step.
    pub planned_steps: u64,
    pub steps_per_epoch: u64,
}

/// From the moment to the share of `lr`, or why it gave none. Asked again for the same moment it must give the same
/// number: steps are taken again after an `undo`.
pub type ScheduleFunction = Box<dyn Fn(Moment) -> Result<f64, Refusal>>;

/// The schedules that a Rust program or a `rust` block has added, by name; one table for all runs of a session.
#[derive(Clone, Default)]
pub struct OwnSchedules(Rc<RefCell<BTreeMap<String, ScheduleFunction>>>);

impl OwnSchedules {
    pub fn add(&self, name: &str, function: ScheduleFunction) {
        self.0.borrow_mut().insert(name.to_string(), function);
    }

    /// The share of `lr`, which must be a number from zero up.
    fn share(&self, name: &str, moment: Moment) -> Result<f64, TrainError> {
        let (name, step) = (name.to_string(), moment.step);
        let functions = self.0.borrow();
        let Some(function) = functions.get(&name) else { return Err(TrainError::NoSchedule { name }) };
        match function(moment) {
            Ok(share) if share.is_finite() && share >= 0.0 => Ok(share),
            Ok(share) => Err(TrainError::ScheduleGave { name, step, share }),
            Err(refusal) => Err(TrainError::ScheduleFailed { name, step, refusal }),
        }
    }
}

impl fmt::Debug for OwnSchedules {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_set().entries(self.0.borrow().keys()).finish()
    }
}

/// The learning rate of optimizer step `step`, which may be a schedule of one's own.
pub fn rate(recipe: &Recipe, own: &OwnSchedules, steps_per_epoch: u64, step: u64) -> Result<f64, TrainError> {
    let Schedule::Own { name } = &recipe.schedule else {
        return Ok(learning_rate(recipe, steps_per_epoch, step));
    };
    let planned_steps = recipe.planned_steps(steps_per_epoch);
    Ok(recipe.lr * own.share(name, Moment { step, planned_steps, steps_per_epoch })?)
}

/// The learning rate of optimizer step `step`, counted from 1, of a schedule that is known here.
pub fn learning_rate(recipe: &Recipe, steps_per_epoch: u64, step: u64) -> f64 {
    let planned = recipe.planned_steps(steps_per_epoch);
    let warmup = recipe.warmup.steps(planned, steps_per_epoch);
    let plan = Plan { planned, warmup, steps_per_epoch };
    recipe.lr * share(&recipe.schedule, plan, step.clamp(1, planned.max(1)))
}

/// The stretches of a run, in steps.
#[derive(Clone, Copy)]
struct Plan {
    planned: u64,
    warmup: u64,
    steps_per_epoch: u64,
}

fn share(schedule: &Schedule, plan: Plan, step: u64) -> f64 {
    let Plan { planned, warmup, steps_per_epoch } = plan;
    if step <= warmup {
        return step as f64 / warmup as f64;
    }
    let after = step - warmup;
    let progress = after as f64 / (planned - warmup) as f64;
    let steps = |length: Length| length.steps(planned, steps_per_epoch).max(1);
    match *schedule {
        // Of one's own only the peak is known without the function.
        Schedule::Constant | Schedule::Own { name: _ } => 1.0,
        Schedule::Linear { min } => above(min, 1.0 - progress),
        Schedule::Cosine { min } => above(min, half_cosine(progress)),
        Schedule::CosineRestarts { cycles, min } => {
            let span = planned - warmup; // whole numbers, so that a restart falls on its step exactly
            let within = if step >= planned { span } else { after * cycles % span };
            above(min, half_cosine(within as f64 / span as f64))
        }
        Schedule::StepDecay { every, factor } => factor.powi(((after - 1) / steps(every)) as i32),
        Schedule::Cyclical { period, min, decay } => {
            let period = steps(period);
            let height = (1.0 - 2.0 * (after % period) as f64 / period as f64).abs();
            above(min, decay.powi(((2 * after + period) / (2 * period)) as i32) * height)
        }
        Schedule::Wsd { decay, shape, min } => {
            let decay = steps(decay).min(planned - warmup);
            let stable = planned - decay;
            if step <= stable {
                return 1.0;
            }
            let progress = (step - stable) as f64 / decay as f64;
            let height = match shape {
                DecayShape::Linear => 1.0 - progress,
                DecayShape::Cosine => half_cosine(progress),
                DecayShape::Sqrt => 1.0 - progress.sqrt(),
            };
            above(min, height)
        }
    }
}

/// A height from 0 to 1, stretched to lie between `min` and 1.
fn above(min: f64, height: f64) -> f64 {
    min + (1.0 - min) * height
}

/// From 1 at progress 0 to exactly 0 at progress 1.
fn half_cosine(progress: f64) -> f64 {
    if progress >= 1.0 { 0.0 } else { (1.0 + (PI * progress).cos()) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::Method;

    /// Shares of the peak in steps 1, 2, 3, 7, 11, 15, 20 and 25 of 20 planned, 2 of them warmup.
    fn shares(schedule: Schedule) -> Vec<f64> {
        let mut recipe = Recipe::new(Method::Full);
        recipe.lr = 1.0;
        recipe.schedule = schedule;
        recipe.warmup = Length::Percent(10.0);
        recipe.length = Length::Epochs(2.0);
        [1, 2, 3, 7, 11, 15, 20, 25].map(|step| learning_rate(&recipe, 10, step)).to_vec()
    }

    fn assert_near(schedule: Schedule, wanted: [f64; 8]) {
        for (index, (share, wanted)) in shares(schedule.clone()).into_iter().zip(wanted).enumerate() {
            assert!((share - wanted).abs() < 1e-11, "{schedule:?} at place {index}: {share}, not {wanted}");
        }
    }

    // The numbers were computed apart from this program, from the definitions in the cited papers.
    #[test]
    fn each_schedule_has_the_numbers_of_its_definition() {
        assert_near(Schedule::Constant, [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_near(Schedule::Linear { min: 0.1 }, [0.5, 1.0, 0.95, 0.75, 0.55, 0.35, 0.1, 0.1]);
        assert_near(
            Schedule::Cosine { min: 0.0 },
            [0.5, 1.0, 0.992403876506, 0.821393804843, 0.5, 0.178606195157, 0.0, 0.0],
        );
        assert_near(
            Schedule::Cosine { min: 0.2 },
            [0.5, 1.0, 0.993923101205, 0.857115043875, 0.6, 0.342884956125, 0.2, 0.2],
        );
        assert_near(
            Schedule::CosineRestarts { cycles: 3, min: 0.0 },
            [0.5, 1.0, 0.933012701892, 0.066987298108, 0.5, 0.933012701892, 0.0, 0.0],
        );
        assert_near(
            Schedule::StepDecay { every: Length::Steps(5), factor: 0.5 },
            [0.5, 1.0, 1.0, 1.0, 0.5, 0.25, 0.125, 0.125],
        );
        assert_near(
            Schedule::Cyclical { period: Length::Steps(8), min: 0.1, decay: 0.5 },
            [0.5, 1.0, 0.775, 0.2125, 0.4375, 0.15625, 0.2125, 0.2125],
        );
    }

    #[test]
    fn the_last_phase_of_wsd_has_each_of_its_shapes() {
        let wsd = |shape| Schedule::Wsd { decay: Length::Percent(40.0), shape, min: 0.0 };
        assert_near(wsd(DecayShape::Linear), [0.5, 1.0, 1.0, 1.0, 1.0, 0.625, 0.0, 0.0]);
        assert_near(wsd(DecayShape::Cosine), [0.5, 1.0, 1.0, 1.0, 1.0, 0.691341716183, 0.0, 0.0]);
        assert_near(wsd(DecayShape::Sqrt), [0.5, 1.0, 1.0, 1.0, 1.0, 0.387627564304, 0.0, 0.0]);
    }

    #[test]
    fn the_end_of_a_cosine_is_exactly_zero_and_stays_so() {
        assert_eq!(shares(Schedule::Cosine { min: 0.0 })[6..], [0.0, 0.0]);
    }

    #[test]
    fn a_restart_returns_to_the_peak() {
        let mut recipe = Recipe::new(Method::Full);
        recipe.lr = 3e-4;
        recipe.schedule = Schedule::CosineRestarts { cycles: 7, min: 0.0 };
        recipe.warmup = Length::Steps(0);
        recipe.length = Length::Steps(49);
        for step in [7, 14, 21, 28, 35, 42] {
            assert_eq!(learning_rate(&recipe, 10, step), 3e-4);
        }
    }

    #[test]
    fn a_warmup_longer_than_the_run_only_climbs() {
        let mut recipe = Recipe::new(Method::Full);
        recipe.lr = 1.0;
        recipe.warmup = Length::Steps(100);
        recipe.length = Length::Steps(10);
        assert_eq!(learning_rate(&recipe, 10, 10), 0.1);
        assert_eq!(learning_rate(&recipe, 10, 50), 0.1);
    }
}
