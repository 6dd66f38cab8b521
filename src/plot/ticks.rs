//! Where an axis carries numbers, and how those are written: `1 875`, `2e-4`, `1.5 M`.

use crate::plot::range::Range;
use crate::units::grouped;

/// A number on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    pub value: f64,
    pub text: String,
}

/// What the numbers of an axis may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    Any,
    /// Only whole ones: steps.
    Whole,
}

/// Round numbers within the range, about as many as asked for.
pub fn linear(range: Range, count: usize, numbers: Numbers) -> Vec<Tick> {
    let step = round_step((range.high - range.low) / count.max(1) as f64, numbers);
    let slack = step * 1e-6;
    let first = ((range.low - slack) / step).ceil();
    let last = ((range.high + slack) / step).floor();
    // Beyond 2^53 neighbouring steps are the same number; what is left is no axis to be read anyway.
    let count = (last - first).clamp(0.0, 100.0) as usize;
    let values: Vec<f64> = (0..=count).map(|index| (first + index as f64) * step + 0.0).collect();
    label(&values)
}

/// Decades within the range, and what lies between them where there is room.
pub fn logarithmic(range: Range, count: usize) -> Vec<Tick> {
    let inside = |value: &f64| *value >= range.low * (1.0 - 1e-9) && *value <= range.high * (1.0 + 1e-9);
    let powers = (range.low.log10().floor() as i32)..=(range.high.log10().ceil() as i32);
    let ladder = |factors: &'static [f64], every: usize| -> Vec<f64> {
        // Counted from 10^0, so that thinned decades stay the same whatever the range.
        let powers = powers.clone().filter(move |power| power.rem_euclid(every as i32) == 0);
        let steps = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
        steps.filter(inside).collect()
    };
    let fits = |values: &Vec<f64>| (2..=count + 1).contains(&values.len());
    let between: [&'static [f64]; 2] = [&[1.0, 2.0, 5.0], &[1.0, 3.0]];
    let finer = between.into_iter().map(|factors| ladder(factors, 1));
    let coarser = [1, 2, 3, 5, 10, 20, 50, 100, 200].into_iter().map(|every| ladder(&[1.0], every));
    match finer.chain(coarser).find(fits) {
        Some(values) => label_each(&values),
        None => linear(range, count.min(4), Numbers::Any),
    }
}

/// The first of 1, 2, 2.5, 5, 10, … that is not smaller.
pub fn round_step(least: f64, numbers: Numbers) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
    let mut candidates = factors.iter().map(|factor| factor * power);
    let fits = |step: &f64| *step >= least * (1.0 - 1e-9) && (numbers == Numbers::Any || step.fract() == 0.0);
    match candidates.find(fits) {
        Some(step) => step,
        None => least.ceil().max(1.0),
    }
}

/// Numbers at equal distances, all written alike.
fn label(values: &[f64]) -> Vec<Tick> {
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let step = values.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    let step = if step.is_finite() && step > 0.0 { step } else { largest };
    if !(1e-2..1e15).contains(&largest) {
        return label_each(values);
    }
    let (factor, suffix) = match largest {
        1e9.. => (1e9, " G"),
        1e6.. => (1e6, " M"),
        _ => (1.0, ""),
    };
    let decimals = decimals_of(step / factor);
    let text = |value: f64| match value {
        0.0 => "0".to_string(),
        _ => fixed(value / factor, decimals) + suffix,
    };
    values.iter().map(|value| Tick { value: *value, text: text(*value) }).collect()
}

fn label_each(values: &[f64]) -> Vec<Tick> {
    values.iter().map(|value| Tick { value: *value, text: number(*value, 4) }).collect()
}

/// How many decimals a distance needs to be told: 0.25 needs two.
fn decimals_of(step: f64) -> usize {
    (0..12)
        .find(|decimals| {
            let scaled = step * 10f64.powi(*decimals);
            (scaled - scaled.round()).abs() < 1e-6 * scaled.max(1.0)
        })
        .unwrap_or(12) as usize
}

/// With so many decimals, the whole part in groups of three.
fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let whole = whole.parse().map_or_else(|_| whole.to_string(), grouped);
    let sign = if value < 0.0 { "-" } else { "" };
    match fraction {
        Some(fraction) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{whole}"),
    }
}

/// One number at a glance, to so many digits: `2.43`, `1 875`, `1.25e-4`, `3.4e7`.
pub fn number(value: f64, digits: usize) -> String {
    let text = measured(value, digits);
    if text.contains('.') && !text.contains('e') { trimmed(&text).to_string() } else { text }
}

/// The same with all its digits, as measurements stand beside each other: `2.430`. Whole numbers stay whole.
pub fn measured(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan".into()
        } else if value > 0.0 {
            "inf".into()
        } else {
            "-inf".into()
        };
    }
    if value == 0.0 {
        return "0".into();
    }
    let digits = digits.max(1);
    let scientific = format!("{value:.0$e}", digits - 1);
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    if !(-2..=6).contains(&power) {
        return format!("{}e{power}", trimmed(mantissa));
    }
    let decimals = (digits as i32 - 1 - power).max(0) as usize;
    fixed(value, if value.fract() == 0.0 { 0 } else { decimals })
}

/// Without the zeros that say nothing after a decimal point.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.text.as_str()).collect()
    }

    fn range(low: f64, high: f64) -> Range {
        Range { low, high }
    }

    #[test]
    fn ticks_are_round_numbers_written_alike() {
        assert_eq!(texts(&linear(range(0.0, 3.0), 4, Numbers::Any)), ["0", "1", "2", "3"]);
        assert_eq!(texts(&linear(range(2.3, 3.1), 4, Numbers::Any)), ["2.4", "2.6", "2.8", "3.0"]);
        assert_eq!(texts(&linear(range(1.0, 1875.0), 4, Numbers::Whole)), ["500", "1 000", "1 500"]);
        assert_eq!(
            texts(&linear(range(0.0, 2e-4), 4, Numbers::Any)),
            ["0", "5e-5", "1e-4", "1.5e-4", "2e-4"]
        );
        assert_eq!(texts(&linear(range(0.0, 2.1e6), 4, Numbers::Any)), ["0", "1 M", "2 M"]);
    }

    #[test]
    fn whole_numbers_stay_whole() {
        assert_eq!(texts(&linear(range(1.0, 3.0), 8, Numbers::Whole)), ["1", "2", "3"]);
        assert_eq!(texts(&linear(range(0.5, 1.5), 6, Numbers::Whole)), ["1"]);
    }

    #[test]
    fn a_log_axis_carries_decades() {
        assert_eq!(texts(&logarithmic(range(1e-6, 1e-3), 5)), ["1e-6", "1e-5", "1e-4", "1e-3"]);
        assert_eq!(texts(&logarithmic(range(1.0, 30.0), 5)), ["1", "2", "5", "10", "20"]);
        assert_eq!(texts(&logarithmic(range(0.06, 80.0), 3)), ["0.1", "1", "10"]);
        assert_eq!(texts(&logarithmic(range(1e-300, 1e300), 3)), ["1e-200", "1", "1e200"]);
        assert_eq!(texts(&logarithmic(range(2.2, 4.1), 5)), ["2.5", "3.0", "3.5", "4.0"]);
    }

    #[test]
    fn numbers_read_at_a_glance() {
        assert_eq!(number(2.43119, 4), "2.431");
        assert_eq!(number(1874.9, 4), "1 875");
        assert_eq!(number(1.2e-4, 4), "1.2e-4");
        assert_eq!(number(0.05, 4), "0.05");
        assert_eq!(measured(1.79, 4), "1.790");
        assert_eq!(measured(3.0, 4), "3");
        assert_eq!(number(9.9999, 4), "10");
        assert_eq!(number(123456.0, 4), "123 456");
        assert_eq!(number(34_000_000.0, 4), "3.4e7");
        assert_eq!(number(-3.5, 4), "-3.5");
        assert_eq!(number(f64::NAN, 4), "nan");
    }
}
