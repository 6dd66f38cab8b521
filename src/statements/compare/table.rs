//! A comparison as tables: the numbers with the best of each marked, and the examples that changed side.

use crate::evaluate::comparison::changes;
use crate::events::{Evaluation, Table};
use crate::plot::ticks::{measured, number};
use crate::statements::compare::comparison::{Compared, Comparison, Sides};
use crate::statements::eval::METRICS;
use crate::statements::why::shortened;
use crate::units::{counted, grouped};

/// What a column of numbers is like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// Nats: less is better.
    Loss,
    /// Less is better, over a wide range.
    Perplexity,
    /// From 0 to 1: more is better.
    Share,
    /// Of a Rust program: what is better is not known.
    Own,
}

fn scale(metric: &str) -> Scale {
    match metric {
        "loss" => Scale::Loss,
        "perplexity" => Scale::Perplexity,
        known if METRICS.iter().any(|metric| metric.word == known) => Scale::Share,
        _ => Scale::Own,
    }
}

/// Whether a metric goes from 0 to 1.
pub fn is_share(metric: &str) -> bool {
    scale(metric) == Scale::Share
}

/// One metric of an evaluation; NaN where it was not measured.
pub fn value_of(metric: &str, evaluation: &Evaluation) -> f64 {
    match metric {
        "loss" => evaluation.loss,
        "perplexity" => evaluation.perplexity,
        "token_accuracy" => evaluation.token_accuracy,
        other => evaluation.metrics.get(other).copied().unwrap_or(f64::NAN),
    }
}

/// `token accuracy`
pub fn heading(metric: &str) -> String {
    metric.replace('_', " ")
}

/// The value as it stands in a table: `2.7546`, `15.72`, `46.0 %`.
pub fn shown(metric: &str, value: f64) -> String {
    match scale(metric) {
        _ if !value.is_finite() => measured(value, 4),
        Scale::Loss => format!("{value:.4}"),
        Scale::Perplexity | Scale::Own => measured(value, 4),
        Scale::Share => format!("{:.1} %", 100.0 * value),
    }
}

/// A difference with its sign; that of shares in hundredths.
fn difference(metric: &str, difference: f64) -> String {
    let size = match scale(metric) {
        Scale::Share => format!("{:.1}", 100.0 * difference.abs()),
        _ => shown(metric, difference.abs()),
    };
    let is_zero = size.chars().all(|character| matches!(character, '0' | '.'));
    let sign = match difference {
        _ if is_zero => "±",
        less if less < 0.0 => "−",
        _ => "+",
    };
    format!("{sign}{size}")
}

/// Which of the compared have the best value; none where all have the same, or nothing is to be compared.
pub fn best(comparison: &Comparison, metric: &str) -> Vec<usize> {
    if !comparison.compares(metric) || scale(metric) == Scale::Own {
        return vec![];
    }
    let value = |compared: &Compared| match scale(metric) {
        Scale::Share => -value_of(metric, &compared.evaluation),
        _ => value_of(metric, &compared.evaluation),
    };
    let values: Vec<f64> = comparison.subjects.iter().map(value).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let best: Vec<usize> = (0..values.len()).filter(|index| values[*index] == least).collect();
    if best.len() == values.len() { vec![] } else { best }
}

/// One row for each of the compared; under its numbers their differences to the first.
pub fn results(comparison: &Comparison) -> Table {
    let headings: Vec<String> =
        comparison.metrics.iter().map(|metric| format!(">{}", heading(metric))).collect();
    let has_run = comparison.subjects.iter().any(|compared| compared.trained.is_some());
    let sizes: &[&str] = if has_run { &[">step", ">trained"] } else { &[">parameters"] };
    let columns: Vec<&str> = ["name"]
        .into_iter()
        .chain(sizes.iter().copied())
        .chain(headings.iter().map(String::as_str))
        .collect();
    let mut table = Table::new(title(comparison), &columns);
    for (index, compared) in comparison.subjects.iter().enumerate() {
        let count = |count: Option<u64>| count.map_or("—".to_string(), grouped);
        let mut cells = vec![compared.name.clone()];
        if has_run {
            cells.extend([count(compared.evaluation.step), count(compared.trained)]);
        } else {
            cells.push(grouped(compared.parameters));
        }
        cells.extend(comparison.metrics.iter().map(|metric| cell(comparison, index, metric)));
        table.row(cells);
    }
    table
}

fn title(comparison: &Comparison) -> String {
    let first = comparison.first();
    format!(
        "compared on {}: {}, {}; * is the best, below are differences to {}",
        comparison.data,
        counted(comparison.rows as u64, "row"),
        counted(first.evaluation.tokens, "supervised token"),
        first.name,
    )
}

fn cell(comparison: &Comparison, index: usize, metric: &str) -> String {
    let value = value_of(metric, &comparison.subjects[index].evaluation);
    let mark = if best(comparison, metric).contains(&index) { "* " } else { "" };
    let shown = format!("{mark}{}", shown(metric, value));
    match to_first(comparison, index, metric) {
        Some(difference) => format!("{shown}\n{difference}"),
        None => shown,
    }
}

/// The difference to the first, with its sign; `None` for the first itself, and where nothing is to be compared.
pub fn to_first(comparison: &Comparison, index: usize, metric: &str) -> Option<String> {
    if index == 0 || !comparison.compares(metric) {
        return None;
    }
    let value = |index: usize| value_of(metric, &comparison.subjects[index].evaluation);
    Some(difference(metric, value(index) - value(0)))
}

/// The examples that changed side against the first; `None` where none did.
pub fn changed(comparison: &Comparison, compared: &Compared) -> Option<Table> {
    let Sides { gained, lost, .. } = comparison.sides(compared)?;
    let first = comparison.first();
    let changes = changes(&first.verdicts, &compared.verdicts);
    let shown = comparison.examples.min(changes.len());
    if shown == 0 {
        return None;
    }
    let (gained, lost) = (grouped(gained), grouped(lost));
    let mut title = format!("changed from {} to {}: {gained} gained, {lost} lost", first.name, compared.name);
    if shown < changes.len() {
        title += &format!("; {shown} of {} shown", grouped(changes.len() as u64));
    }
    let mut table = Table::new(title, &["row", "", "text"]);
    for change in &changes[..shown] {
        let side = if change.is_gain() { "gained" } else { "lost" };
        let lines = [
            (change.before.place.as_str(), "prompt", change.before.prompt.as_str()),
            (side, "wanted", change.before.wanted.as_str()),
            ("", first.name.as_str(), change.before.given.as_str()),
            ("", compared.name.as_str(), change.after.given.as_str()),
        ];
        for (row, what, text) in lines {
            table.row([row.to_string(), what.to_string(), shortened(text, 100)]);
        }
    }
    Some(table)
}

/// `= 0.18`, `= 0.0031`, `< 1e-6`
pub fn probability(p: f64) -> String {
    if p < 1e-6 { "< 1e-6".into() } else { format!("= {}", number(p, 2)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(name: &str, loss: f64, accuracy: f64) -> Compared {
        let evaluation = Evaluation {
            model: name.into(),
            data: "d".into(),
            loss,
            perplexity: loss.exp(),
            token_accuracy: accuracy,
            tokens: 100,
            seconds: 1.0,
            step: None,
            metrics: Default::default(),
        };
        Compared {
            name: name.into(),
            what: String::new(),
            parameters: 10,
            trained: None,
            evaluation,
            verdicts: vec![],
            tokenizer: String::new(),
        }
    }

    fn comparison(subjects: Vec<Compared>) -> Comparison {
        let metrics = ["loss", "token_accuracy"].map(String::from).to_vec();
        Comparison { data: "d.test".into(), rows: 5, metrics, examples: 5, subjects, conditions: None }
    }

    #[test]
    fn the_least_loss_and_the_greatest_share_are_the_best() {
        let table = results(&comparison(vec![compared("a", 2.5, 0.25), compared("b", 2.0, 0.5)]));
        assert_eq!(table.rows[0], ["a", "10", "2.5000", "25.0 %"]);
        assert_eq!(table.rows[1], ["b", "10", "* 2.0000\n−0.5000", "* 50.0 %\n+25.0"]);
    }

    #[test]
    fn of_equals_none_is_the_best_and_no_number_never_is() {
        let equal = comparison(vec![compared("a", 2.0, 0.5), compared("b", 2.0, 0.5)]);
        assert_eq!(best(&equal, "loss"), [] as [usize; 0]);
        assert_eq!(results(&equal).rows[1][2], "2.0000\n±0.0000");
        let broken = comparison(vec![compared("a", f64::NAN, 0.5), compared("b", 3.0, 0.4)]);
        assert_eq!(best(&broken, "loss"), [1]);
        let two = comparison(vec![compared("a", 2.0, 0.5), compared("b", 2.0, 0.5), compared("c", 3.0, 0.1)]);
        assert_eq!(best(&two, "token_accuracy"), [0, 1]);
    }

    #[test]
    fn means_over_other_tokens_are_not_set_against_each_other() {
        let mut two = comparison(vec![compared("a", 2.5, 0.25), compared("b", 2.0, 0.5)]);
        two.subjects[1].tokenizer = "other".into();
        assert_eq!(results(&two).rows[1], ["b", "10", "2.0000", "50.0 %"]);
        assert!(two.compares("exact_match"));
    }

    #[test]
    fn a_probability_is_never_said_to_be_nothing() {
        assert_eq!(probability(0.1796875), "= 0.18");
        assert_eq!(probability(1e-30), "< 1e-6");
        assert_eq!(probability(1.0), "= 1");
    }
}
