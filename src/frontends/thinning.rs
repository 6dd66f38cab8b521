//! Which steps are printed when a statement makes many: the first, the last and about twenty between.

use crate::events::Step;

/// Up to so many steps are all printed.
const ALL: u64 = 40;

/// The steps of the statement under way.
#[derive(Debug, Default)]
pub struct Thinning {
    /// How many steps the statement makes, where it has said so.
    total: Option<u64>,
    seen: u64,
    last: Option<(String, u64)>,
    /// The newest step, when it was not printed.
    held: Option<Step>,
}

impl Thinning {
    /// A statement begins to make so many steps.
    pub fn begin(&mut self, total: u64) {
        self.total = Some(total);
        self.seen = 0;
    }

    /// Is this step to be printed now? One that is not is held back.
    pub fn shows(&mut self, step: &Step) -> bool {
        let follows = |(run, number): &(String, u64)| *run == step.run && number + 1 == step.step;
        if !self.last.as_ref().is_some_and(follows) && self.seen > 0 {
            self.total = None;
            self.seen = 0;
        }
        self.seen += 1;
        self.last = Some((step.run.clone(), step.step));
        let stride = match self.total {
            Some(total) if total > ALL => round(total / 20),
            Some(_) => 1,
            None if self.seen <= ALL => 1,
            // Nobody knows how many are to come: ever fewer.
            None => 10u64.pow((self.seen / ALL).ilog10() + 1),
        };
        let shows = self.seen == 1 || self.total == Some(self.seen) || step.step.is_multiple_of(stride);
        self.held = if shows { None } else { Some(step.clone()) };
        shows
    }

    /// The step held back, to be printed before anything else is said.
    pub fn take(&mut self) -> Option<Step> {
        self.held.take()
    }
}

/// The nearest of 1, 2, 5, 10, 20, … that is not larger.
fn round(stride: u64) -> u64 {
    let stride = stride.max(1);
    let power = 10u64.pow(stride.ilog10());
    let factor = [5, 2, 1].into_iter().find(|factor| factor * power <= stride);
    factor.unwrap_or(1) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(number: u64) -> Step {
        let run = "a".into();
        Step {
            run,
            step: number,
            loss: 1.0,
            lr: 1.0,
            grad_norm: 1.0,
            tokens: 1,
            seconds: 1.0,
            epoch: 0.0,
            planned: 1000,
        }
    }

    fn shown(thinning: &mut Thinning, steps: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        steps.filter(|number| thinning.shows(&step(*number))).collect()
    }

    #[test]
    fn forty_steps_are_all_printed() {
        let mut thinning = Thinning::default();
        thinning.begin(40);
        assert_eq!(shown(&mut thinning, 1..=40).len(), 40);
    }

    #[test]
    fn of_many_steps_first_and_last_and_about_twenty_are_printed() {
        let mut thinning = Thinning::default();
        thinning.begin(312);
        let numbers = shown(&mut thinning, 1..=312);
        assert_eq!(numbers[..4], [1, 10, 20, 30]);
        assert_eq!(numbers[numbers.len() - 2..], [310, 312]);
        assert!(numbers.len() <= 34, "{}", numbers.len());
        assert!(thinning.take().is_none());
    }

    #[test]
    fn an_interrupted_statement_still_has_its_last_step() {
        let mut thinning = Thinning::default();
        thinning.begin(1000);
        shown(&mut thinning, 1..=77);
        assert_eq!(thinning.take().map(|step| step.step), Some(77));
        assert!(thinning.take().is_none());
    }

    #[test]
    fn without_a_total_ever_fewer_are_printed() {
        let mut thinning = Thinning::default();
        let numbers = shown(&mut thinning, 1..=10_000);
        assert_eq!(numbers[..40], (1..=40).collect::<Vec<_>>());
        assert!(numbers.len() < 150, "{}", numbers.len());
    }

    #[test]
    fn after_an_undo_the_count_begins_again() {
        let mut thinning = Thinning::default();
        thinning.begin(1000);
        shown(&mut thinning, 1..=55);
        assert_eq!(shown(&mut thinning, 50..=52), [50, 51, 52]);
    }
}
