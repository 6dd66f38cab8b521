//! Stretches of training against the planned run: a warmup that it does not finish, what never falls due in it.
//!
//! Steps and epochs can be held against each other only when the rows are known, so these rules are asked twice: by the
//! check without the steps of an epoch, and before the first step with them. Neither says what the other has said.

use crate::events::Diagnostic;
use crate::language::codes;
use crate::language::value::{Value, measure_text};
use crate::session::written::Written;
use crate::train::recipe::{Every, Length, Recipe, Schedule};
use crate::units::{Unit, counted};

/// What a rule looks at: the recipe, how it was written, and the steps of an epoch once they are known.
pub struct Stretches<'a> {
    pub written: Written<'a>,
    pub recipe: &'a Recipe,
    pub steps_per_epoch: Option<u64>,
}

/// Ends of stretches that fall together are told apart by no less than this share of a run.
const NEAR: f64 = 1e-9;

impl Stretches<'_> {
    /// Everything that can be told now; warnings, since a run may be led beyond its plan.
    pub fn rules(&self) -> Vec<Diagnostic> {
        let never = [("eval_every", self.recipe.eval_every), ("save_every", self.recipe.save_every)];
        let mut found: Vec<Diagnostic> = vec![];
        found.extend(self.warmup());
        found.extend(self.decay());
        found.extend(self.step_decay());
        found.extend(never.into_iter().filter_map(|(name, every)| self.never(name, every?)));
        found.extend(self.patience());
        found
    }

    fn warmup(&self) -> Option<Diagnostic> {
        let path = "schedule.warmup";
        let share = self.share(self.recipe.warmup).filter(|_| self.written.is_given(path))?;
        if share < 1.0 - NEAR || self.is_one_step() {
            return None;
        }
        let (entry, run) = (self.written.entry(path), self.run());
        let message = match share > 1.0 + NEAR {
            true => format!("`{entry}` is longer than the run of {run}: `lr` is never reached"),
            false => format!("`{entry}` takes the whole run of {run}: `lr` is reached in its last step"),
        };
        let diagnostic = self.written.at(path, Diagnostic::warning(codes::WARMUP, message));
        let usual = Value::Measure { number: 3.0, unit: Unit::Percent };
        Some(self.written.mend(path, &usual, diagnostic))
    }

    /// The decay of `wsd` has to fit behind the warmup.
    fn decay(&self) -> Option<Diagnostic> {
        let Schedule::Wsd { decay, .. } = self.recipe.schedule else { return None };
        let path = "schedule.decay";
        let given = self.written.is_given(path) || self.written.is_given("schedule.warmup");
        let (warmup, decay) = (self.share(self.recipe.warmup)?, self.share(decay)?);
        if !given || warmup >= 1.0 - NEAR || warmup + decay <= 1.0 + NEAR {
            return None;
        }
        let entry = self.written.entry(path);
        let message = format!("`{entry}` and the warmup are longer than the run of {} together", self.run());
        let left = format!("the decay is shortened to {:.0} % of the run", 100.0 * (1.0 - warmup));
        Some(self.written.at(path, Diagnostic::warning(codes::WARMUP, message)).note(left))
    }

    fn step_decay(&self) -> Option<Diagnostic> {
        let Schedule::StepDecay { every, .. } = self.recipe.schedule else { return None };
        let path = "schedule.every";
        let share = self.share(every).filter(|_| self.written.is_given(path))?;
        if share < 1.0 - NEAR {
            return None;
        }
        let entry = self.written.entry(path);
        let message = format!("`{entry}` never comes in the run of {}: `lr` stays as it is", self.run());
        let diagnostic = self.written.at(path, Diagnostic::warning(codes::NEVER_HAPPENS, message));
        Some(self.written.mend(path, &self.part_of_run(), diagnostic))
    }

    fn never(&self, name: &str, every: Every) -> Option<Diagnostic> {
        if self.share(length(every)?)? <= 1.0 + NEAR {
            return None;
        }
        let entry = self.written.entry(name);
        let message = format!("`{entry}` never comes in the run of {}", self.run());
        let diagnostic = self.written.at(name, Diagnostic::warning(codes::NEVER_HAPPENS, message));
        Some(self.written.mend(name, &self.part_of_run(), diagnostic))
    }

    /// The first evaluation is always progress, so patience needs one more than its number.
    fn patience(&self) -> Option<Diagnostic> {
        let patience = self.recipe.early_stopping?.patience;
        let share = self.share(length(self.recipe.eval_every?)?)?;
        let times = ((1.0 + NEAR) / share) as u64;
        if times == 0 || times > patience {
            return None;
        }
        let times = counted(times, "evaluation");
        let message =
            format!("`early_stopping` waits for {patience} without progress, and the run has {times}");
        let diagnostic = Diagnostic::warning(codes::NEVER_HAPPENS, message);
        Some(
            self.written
                .at("early_stopping", diagnostic)
                .note("the first one is always progress; evaluate more often, or write a smaller `patience`"),
        )
    }

    /// How much of the run a stretch takes; `None` where that is not told now.
    fn share(&self, stretch: Length) -> Option<f64> {
        let run = self.recipe.length;
        let without_rows = match (stretch, run) {
            (Length::Percent(percent), _) => Some(percent / 100.0),
            (Length::Steps(stretch), Length::Steps(run)) => Some(stretch as f64 / run as f64),
            (Length::Epochs(stretch), Length::Epochs(run)) => Some(stretch / run),
            _ => None,
        };
        let Some(per_epoch) = self.steps_per_epoch else { return without_rows };
        let planned = self.recipe.planned_steps(per_epoch).max(1);
        let steps = stretch.steps(planned, per_epoch);
        without_rows.is_none().then_some(steps as f64 / planned as f64)
    }

    /// The length of the run in words.
    fn run(&self) -> String {
        match (self.recipe.length, self.steps_per_epoch) {
            (Length::Epochs(epochs), None) => measure_text(epochs, Unit::Epochs),
            (Length::Steps(steps), None) => counted(steps, "step"),
            (_, per_epoch) => counted(self.recipe.planned_steps(per_epoch.unwrap_or(1)), "step"),
        }
    }

    fn is_one_step(&self) -> bool {
        match (self.recipe.length, self.steps_per_epoch) {
            (Length::Steps(steps), _) => steps == 1,
            (_, Some(per_epoch)) => self.recipe.planned_steps(per_epoch) == 1,
            _ => false,
        }
    }

    /// A quarter of the run, in the run's own unit.
    fn part_of_run(&self) -> Value {
        match (self.recipe.length, self.steps_per_epoch) {
            (Length::Epochs(epochs), None) => Value::Measure { number: epochs / 4.0, unit: Unit::Epochs },
            (_, per_epoch) => {
                let steps = self.recipe.planned_steps(per_epoch.unwrap_or(1));
                Value::Measure { number: (steps / 4).max(1) as f64, unit: Unit::Steps }
            }
        }
    }
}

fn length(every: Every) -> Option<Length> {
    match every {
        Every::Steps(steps) => Some(Length::Steps(steps)),
        Every::Epochs(epochs) => Some(Length::Epochs(epochs)),
        Every::Seconds(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{SourceId, Span};
    use crate::language::value::{Origin, Settings};
    use crate::train::recipe::{EarlyStopping, Method};

    /// The messages on a run whose every stretch was written by a person.
    fn said(change: impl Fn(&mut Recipe), steps_per_epoch: Option<u64>) -> Vec<String> {
        let mut recipe = Recipe::new(Method::Full);
        change(&mut recipe);
        let origin = Origin::Script(Span::new(SourceId(0), 0, 1));
        let (mut inner, mut settings) = (Settings::new(), Settings::new());
        for name in ["warmup", "decay", "every"] {
            inner.insert(name, Value::Word("x".into()), origin);
        }
        settings.insert("schedule", Value::Choice { word: "cosine".into(), settings: inner }, origin);
        for name in ["eval_every", "save_every"] {
            settings.insert(name, Value::Word("x".into()), origin);
        }
        let written = Written { settings: &settings, span: None };
        let rules = Stretches { written, recipe: &recipe, steps_per_epoch }.rules();
        rules.into_iter().map(|diagnostic| diagnostic.message).collect()
    }

    #[test]
    fn a_warmup_is_held_against_the_run_where_both_have_one_unit() {
        let long = |recipe: &mut Recipe| {
            (recipe.warmup, recipe.length) = (Length::Steps(100), Length::Steps(40));
        };
        assert_eq!(
            said(long, None),
            ["`warmup = x` is longer than the run of 40 steps: `lr` is never reached"]
        );
        assert!(said(long, Some(10)).is_empty(), "the check has said it");
        let equal = |recipe: &mut Recipe| recipe.warmup = Length::Percent(100.0);
        assert!(said(equal, None)[0].contains("takes the whole run of 1 epoch"));
        let short =
            |recipe: &mut Recipe| (recipe.warmup, recipe.length) = (Length::Steps(1), Length::Steps(1));
        assert!(said(short, None).is_empty());
    }

    #[test]
    fn what_depends_on_the_rows_is_said_when_they_are_known() {
        let recipe = |recipe: &mut Recipe| {
            (recipe.warmup, recipe.eval_every) = (Length::Steps(30), Some(Every::Steps(21)));
            recipe.length = Length::Epochs(2.0);
        };
        assert!(said(recipe, None).is_empty());
        let found = said(recipe, Some(10));
        assert_eq!(found[0], "`warmup = x` is longer than the run of 20 steps: `lr` is never reached");
        assert_eq!(found[1], "`eval_every = x` never comes in the run of 20 steps");
        assert!(said(recipe, Some(100)).is_empty());
    }

    #[test]
    fn what_comes_once_at_the_end_is_no_mistake() {
        let once = |recipe: &mut Recipe| {
            recipe.length = Length::Epochs(1.0);
            (recipe.eval_every, recipe.save_every) = (Some(Every::Epochs(1.0)), Some(Every::Seconds(1e9)));
        };
        assert!(said(once, None).is_empty());
    }

    #[test]
    fn an_early_stop_needs_one_evaluation_more_than_its_patience() {
        let with = |every: u64| {
            move |recipe: &mut Recipe| {
                (recipe.length, recipe.eval_every) = (Length::Steps(40), Some(Every::Steps(every)));
                recipe.early_stopping = Some(EarlyStopping { patience: 3, min_delta: 0.0 });
            }
        };
        assert!(said(with(10), None).is_empty());
        let wanted = "`early_stopping` waits for 3 without progress, and the run has 3 evaluations";
        assert_eq!(said(with(13), None), [wanted]);
    }

    #[test]
    fn a_decay_that_does_not_fit_behind_the_warmup_is_said() {
        let wsd = |warmup: f64| {
            move |recipe: &mut Recipe| {
                recipe.warmup = Length::Percent(warmup);
                let decay = Length::Percent(60.0);
                recipe.schedule = Schedule::Wsd { decay, shape: Default::default(), min: 0.0 };
            }
        };
        assert!(said(wsd(40.0), None).is_empty());
        assert_eq!(
            said(wsd(50.0), None),
            ["`decay = x` and the warmup are longer than the run of 1 epoch together"]
        );
    }
}
