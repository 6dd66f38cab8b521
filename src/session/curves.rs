//! What runs measured, as a figure: one panel a metric, one colour a run.

use crate::events::{Diagnostic, Figure, Mark, Panel, Series, Step};
use crate::language::codes;
use crate::session::record::Record;

/// How the curves are shown.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// `step`, `tokens` or `time`.
    pub by: String,
    /// Weight of the past in a running mean; 0 is off.
    pub smooth: f64,
    /// Above the figure; left out, the metrics and runs.
    pub title: Option<String>,
}

impl Default for View {
    fn default() -> View {
        View { by: "step".into(), smooth: 0.0, title: None }
    }
}

/// The metrics of the runs. A metric that was never measured is an error.
pub fn curves(metrics: &[&str], runs: &[(&str, &Record)], view: &View) -> Result<Figure, Diagnostic> {
    let names: Vec<&str> = runs.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    let begun: Vec<(&str, &Record)> = runs
        .iter()
        .copied()
        .filter(|(_, record)| !record.steps.is_empty() || !record.evaluations.is_empty())
        .collect();
    if begun.is_empty() {
        return Err(Diagnostic::error(
            codes::PLOT,
            format!("there is nothing to plot: {names} took no step"),
        )
        .note("train first, for example `step 20`"));
    }
    let panels: Vec<Panel> = metrics.iter().map(|metric| panel(metric, &begun, view)).collect();
    let empty = |panel: &Panel| panel.series.iter().all(|series| series.points.is_empty());
    if let Some((metric, _)) = metrics.iter().zip(&panels).find(|(_, panel)| empty(panel)) {
        return Err(Diagnostic::error(codes::PLOT, format!("`{metric}` was never measured on {names}"))
            .note("it is measured by `eval`, or by `eval_every = 50 steps` in `tune`"));
    }
    let title = view.title.clone().unwrap_or_else(|| format!("{} of {names}", metrics.join(", ")));
    let x_label = match view.by.as_str() {
        "tokens" => "supervised tokens",
        "time" => "time in steps (s)",
        _ => "step",
    };
    Ok(Figure { title, x_label: x_label.into(), log_x: false, panels })
}

fn panel(metric: &str, runs: &[(&str, &Record)], view: &View) -> Panel {
    let mut series = vec![];
    for (color, (name, record)) in runs.iter().enumerate() {
        let axis = Axis::new(&view.by, record);
        let points = step_points(metric, record, &axis);
        let mut add = |name: String, points: Vec<(f64, f64)>, mark: Mark| {
            if !points.is_empty() {
                series.push(Series { name, points, mark, color });
            }
        };
        if view.smooth > 0.0 && points.len() > 1 {
            let smooth = smoothed(&points, view.smooth);
            add(name.to_string(), points, Mark::Faint);
            add(name.to_string(), smooth, Mark::Line);
        } else {
            add(name.to_string(), points, Mark::Line);
        }
        for (data, points) in evaluation_points(metric, record, &axis) {
            // With one run the data alone says it.
            let label = if runs.len() == 1 { data } else { format!("{name} on {data}") };
            add(label, points, Mark::Dots);
        }
    }
    let y_label = match metric {
        "loss" => "loss (nats a token)",
        "lr" => "learning rate",
        "grad_norm" => "gradient norm",
        "tokens_per_second" => "tokens a second",
        "seconds" => "seconds a step",
        "token_accuracy" => "token accuracy",
        other => other,
    };
    Panel { y_label: y_label.into(), log_y: false, series }
}

/// The place of each step on the bottom axis.
struct Axis(Vec<(u64, f64)>);

impl Axis {
    fn new(by: &str, record: &Record) -> Axis {
        let mut sum = 0.0;
        let place = |step: &Step| match by {
            "tokens" => {
                sum += step.tokens as f64;
                (step.step, sum)
            }
            "time" => {
                sum += step.seconds;
                (step.step, sum)
            }
            _ => (step.step, step.step as f64),
        };
        Axis(record.steps.iter().map(place).collect())
    }

    fn at(&self, step: u64) -> f64 {
        self.0.iter().rev().find(|(known, _)| *known <= step).map_or(0.0, |(_, place)| *place)
    }
}

fn step_points(metric: &str, record: &Record, axis: &Axis) -> Vec<(f64, f64)> {
    let value = |step: &Step| match metric {
        "loss" => Some(step.loss),
        "lr" => Some(step.lr),
        "grad_norm" => Some(step.grad_norm),
        "seconds" => Some(step.seconds),
        "tokens_per_second" => Some(step.tokens as f64 / step.seconds),
        _ => None,
    };
    record.steps.iter().zip(&axis.0).filter_map(|(step, (_, place))| Some((*place, value(step)?))).collect()
}

/// Evaluations by the data they were made on.
fn evaluation_points(metric: &str, record: &Record, axis: &Axis) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut found: Vec<(String, Vec<(f64, f64)>)> = vec![];
    for evaluation in &record.evaluations {
        let value = match metric {
            "loss" => evaluation.loss,
            "perplexity" => evaluation.perplexity,
            "token_accuracy" => evaluation.token_accuracy,
            // One that `eval` was asked for, or none at all.
            other => match evaluation.metrics.get(other) {
                Some(value) => *value,
                None => continue,
            },
        };
        let point = (axis.at(evaluation.step.unwrap_or(0)), value);
        match found.iter_mut().find(|(data, _)| *data == evaluation.data) {
            Some((_, points)) => points.push(point),
            None => found.push((evaluation.data.clone(), vec![point])),
        }
    }
    found
}

/// An exponential running mean whose start is corrected, so that the first value is itself.
fn smoothed(points: &[(f64, f64)], weight: f64) -> Vec<(f64, f64)> {
    let (mut mean, mut mass) = (0.0, 0.0);
    points
        .iter()
        .map(|(x, y)| {
            if y.is_finite() {
                mean = weight * mean + (1.0 - weight) * y;
                mass = weight * mass + (1.0 - weight);
            }
            (*x, if mass > 0.0 { mean / mass } else { f64::NAN })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_begins_at_the_first_value_and_passes_over_what_is_no_number() {
        let points = [(1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0)];
        let smoothed = smoothed(&points, 0.5);
        assert_eq!(smoothed[0], (1.0, 2.0));
        assert_eq!(smoothed[1], (2.0, 2.0));
        assert!((smoothed[2].1 - 10.0 / 3.0).abs() < 1e-12);
    }
}
