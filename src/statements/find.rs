//! `find lr [for run] [to "lr.svg"]`: the range test, its picture, and a learning rate to take.

use crate::events::{Diagnostic, Event, Figure, Mark, Out, Panel, Progress, Series};
use crate::language::codes;
use crate::language::schema::{Bounds, Choice, Clause, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::{Settings, plain_number};
use crate::session::Session;
use crate::session::run::{Run, train_error};
use crate::statements::run::one_run;
use crate::statements::{Action, Check, Checking, Statement, plot};
use crate::train::range_test::{Curve, Ended, RangeTest, Suggestion};
use crate::units::{Unit, counted};
use serde_json::json;
use std::path::PathBuf;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "find",
    summary: "finds a learning rate by a range test",
    usage: "find lr [for run] [to \"lr.svg\"] [{ lowest = 1e-7; highest = 1; steps = 100 }]",
    details: "Trains a copy of the run while the learning rate rises exponentially from step to step (Smith 2017, arXiv \
              1506.01186), and draws the loss over it. Schedule and warmup give way to the rising rate; all else is the \
              run's. Each loss is set against what the untouched run has on the same rows, so that easy and hard rows do \
              not bend the curve. Suggested is the rate at which the loss falls fastest, or a tenth of the one at which \
              it is least if that is less. The run is exactly as it was.",
    example: "find lr for a to \"lr.svg\"",
    positional: &[Setting::new(
        "what",
        Kind::Choice(&[Choice::new("lr", "the peak learning rate").aliases(&["learning_rate"])]),
        "what to find",
    )
    .example("find lr")],
    clauses: &[
        Clause::new(
            "for",
            Setting::new("for", Kind::Name(&[NameKind::Run]), "the run")
                .computed("the run last named")
                .example("for a"),
        ),
        Clause::new(
            "to",
            Setting::new("to", Kind::Path, "an .svg or .png file for the picture")
                .optional()
                .example("to \"lr.svg\""),
        ),
    ],
    settings: &[
        Setting::new("lowest", Kind::POSITIVE, "the learning rate of the first step").or("1e-7"),
        Setting::new("highest", Kind::POSITIVE, "the learning rate of the last step").or("1.0"),
        Setting::new(
            "steps",
            Kind::Integer { min: 10, max: 10_000, unit: Some(Unit::Steps) },
            "how many steps at most",
        )
        .computed("the planned steps of the run, but 40 to 100")
        .example("steps = 60"),
        Setting::new(
            "divergence",
            Kind::Number(Bounds { min: 1.0, max: f64::INFINITY, open_min: true, open_max: false }),
            "it ends when the loss is so many times its least, and higher than at the start",
        )
        .or("1.5"),
    ],
    ..Form::VERB
};

/// Steps that are taken when none are given.
const FEWEST: u64 = 40;
const MOST: u64 = 100;

/// Drawn are losses of up to so many times the first.
const CEILING: f64 = 1.5;

struct FindLr {
    run: String,
    to: Option<PathBuf>,
    lowest: f64,
    highest: f64,
    steps: Option<u64>,
    divergence: f64,
}

impl Action for FindLr {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let run = session.run(&self.run, out)?;
        let test = self.test(run);
        let curve = run_test(&test, run, out)?;
        if curve.ended == Ended::Asked {
            let taken = curve.trials.len();
            out.note(format!(
                "find lr for {}: stopped after {taken} of {}; the run is as it was",
                self.run,
                counted(test.steps, "step")
            ));
            return Ok(());
        }
        let suggestion = curve.suggestion();
        plot::show(figure(&self.run, &curve, suggestion), self.to.as_deref(), out)?;
        let text = [ending(run, &test, &curve), advice(run, &test, &curve, suggestion)].join("\n");
        out.emit(Event::Value { name: None, text, value: details(run, &curve, suggestion) });
        Ok(())
    }
}

impl FindLr {
    fn test(&self, run: &Run) -> RangeTest {
        let FindLr { lowest, highest, divergence, .. } = *self;
        let steps = self.steps.unwrap_or_else(|| run.trainer.planned_steps().clamp(FEWEST, MOST));
        RangeTest { lowest, highest, steps, divergence }
    }
}

fn run_test(test: &RangeTest, run: &Run, out: &mut Out) -> Result<Curve, Diagnostic> {
    let (name, total) = (run.definition.name.as_str(), test.steps);
    let cancel = out.cancel.clone();
    let mut done = 0;
    let mut say = |done, note| {
        let task = format!("find lr for {name}");
        out.emit(Event::Progress(Progress { task, done, total, unit: "steps".into(), note }));
    };
    let curve = test.run(&run.trainer, &cancel, &mut |trial| {
        done += 1;
        say(done, format!("lr {}  loss {:.4}", short(trial.lr), trial.loss));
        !cancel.stop()
    });
    say(total, String::new());
    curve.map_err(|error| train_error(name, &error))
}

/// What was done, and why it ended.
fn ending(run: &Run, test: &RangeTest, curve: &Curve) -> String {
    let (first, last) = (curve.trials.first(), curve.trials.last());
    let lr = |trial: Option<&crate::train::range_test::Trial>| trial.map_or(0.0, |trial| trial.lr);
    let why = match curve.ended {
        Ended::AtHighest | Ended::Asked => String::new(),
        Ended::Diverged => {
            format!(", where the loss was {} times its least", plain_number(test.divergence))
        }
        Ended::NotFinite => ", after which the loss was no number any more".into(),
    };
    format!(
        "range test of {} from step {}: {} of {}, lr {} to {}{why}",
        run.definition.name,
        run.trainer.step_count(),
        curve.trials.len(),
        counted(test.steps, "step"),
        short(lr(first)),
        short(lr(last)),
    )
}

/// What to do about it.
fn advice(run: &Run, test: &RangeTest, curve: &Curve, suggestion: Option<Suggestion>) -> String {
    let name = &run.definition.name;
    let Some(Suggestion { lr, steepest, least }) = suggestion else {
        return format!(
            "the loss fell nowhere between {} and {}: there is nothing to suggest",
            short(test.lowest),
            short(curve.trials.last().map_or(test.highest, |trial| trial.lr))
        );
    };
    let mut lines = vec![
        format!("the loss falls fastest at lr {} and is least at lr {}", short(steepest), short(least)),
        format!("write `set {name} {{ lr = {} }}`; it is {} now", short(lr), short(run.trainer.recipe().lr)),
    ];
    let at_end = curve.trials.last().is_some_and(|trial| trial.lr == least);
    if curve.ended == Ended::AtHighest && at_end {
        let higher = short(10.0 * test.highest);
        lines.push(format!("it was still falling at the last step: `highest = {higher}` would see further"));
    }
    lines.join("\n")
}

/// The losses over the learning rate, with the suggestion on the curve.
fn figure(run: &str, curve: &Curve, suggestion: Option<Suggestion>) -> Figure {
    // The last losses of a run that breaks away would press all others flat.
    let ceiling = CEILING * curve.losses().first().copied().unwrap_or(f64::INFINITY);
    let points = |values: Vec<f64>| -> Vec<(f64, f64)> {
        let points = curve.trials.iter().map(|trial| trial.lr).zip(values);
        points.filter(|(_, loss)| *loss <= ceiling).collect()
    };
    let smoothed = points(curve.smoothed());
    let mut series = vec![
        Series { name: run.into(), points: points(curve.losses()), mark: Mark::Faint, color: 0 },
        Series { name: run.into(), points: smoothed.clone(), mark: Mark::Line, color: 0 },
    ];
    if let Some(Suggestion { lr, .. }) = suggestion {
        let point = (lr, height(&smoothed, lr));
        let name = format!("lr {}", short(lr));
        series.push(Series { name, points: vec![point], mark: Mark::Dots, color: 1 });
    }
    let panels = vec![Panel { y_label: "loss (nats a token)".into(), log_y: false, series }];
    Figure {
        title: format!("Learning-rate range test of {run}"),
        x_label: "learning rate".into(),
        log_x: true,
        panels,
    }
}

/// The height of a curve at a place between its points, on a log axis.
fn height(points: &[(f64, f64)], at: f64) -> f64 {
    let Some(after) = points.iter().position(|(x, _)| *x >= at) else {
        return points.last().map_or(f64::NAN, |(_, y)| *y);
    };
    let ((x, y), (before_x, before_y)) = (points[after], points[after.saturating_sub(1)]);
    if x == before_x {
        return y;
    }
    before_y + (y - before_y) * (at / before_x).ln() / (x / before_x).ln()
}

/// A learning rate to two digits, as it stands in a script.
fn short(lr: f64) -> String {
    let rounded: f64 = format!("{lr:.1e}").parse().unwrap_or(lr);
    plain_number(rounded)
}

fn details(run: &Run, curve: &Curve, suggestion: Option<Suggestion>) -> serde_json::Value {
    let trials = curve.trials.iter().zip(curve.losses()).zip(curve.smoothed());
    let trials = trials.map(|((trial, level), smoothed)| {
        json!({
            "lr": trial.lr, "loss": trial.loss, "untouched": trial.untouched,
            "level": level, "smoothed": smoothed,
        })
    });
    let suggestion = suggestion
        .map(|Suggestion { lr, steepest, least }| json!({ "lr": lr, "steepest": steepest, "least": least }));
    json!({
        "run": run.definition.name,
        "step": run.trainer.step_count(),
        "lr": run.trainer.recipe().lr,
        "ended": match curve.ended {
            Ended::AtHighest => "at_highest",
            Ended::Diverged => "diverged",
            Ended::NotFinite => "not_finite",
            Ended::Asked => "asked",
        },
        "trials": trials.collect::<Vec<_>>(),
        "suggestion": suggestion,
    })
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let run = settings.word("for").to_string();
    one_run(&run, checking.place(&settings, "for"), checking)?;
    checking.outline.name_run(&run);
    let (lowest, highest) = (settings.number("lowest"), settings.number("highest"));
    if lowest >= highest {
        let place = checking.place(&settings, if settings.is_given("lowest") { "lowest" } else { "highest" });
        let (lowest, highest) = (plain_number(lowest), plain_number(highest));
        checking.report(
            Diagnostic::error(
                codes::CONTRADICTION,
                format!("`lowest` is {lowest} and `highest` is {highest}: the learning rate could not rise"),
            )
            .at(place)
            .note("the test goes from `lowest` to `highest`, for example from 1e-7 to 1"),
        );
        return None;
    }
    Some(Box::new(FindLr {
        run,
        to: plot::picture(&settings, checking)?,
        lowest,
        highest,
        steps: settings.maybe_integer("steps").map(|steps| steps as u64),
        divergence: settings.number("divergence"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_between_two_points_is_read_off_the_log_axis() {
        let points = [(1e-4, 3.0), (1e-2, 1.0)];
        assert!((height(&points, 1e-3) - 2.0).abs() < 1e-12);
        assert_eq!((height(&points, 1e-5), height(&points, 1.0)), (3.0, 1.0));
        assert!(height(&[], 1.0).is_nan());
    }

    #[test]
    fn learning_rates_are_written_to_two_digits() {
        assert_eq!(short(3.16227e-4), "3.2e-4");
        assert_eq!(short(1.0), "1");
        assert_eq!(short(0.0999), "0.1");
    }
}
