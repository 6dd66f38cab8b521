//! An axis: the numbers it shows, where each stands between its ends, and the ticks.

use crate::events::{Figure, Mark, Panel};
use crate::plot::range::{Range, drawable, x_range, y_range};
use crate::plot::ticks::{Numbers, Tick, linear, logarithmic};

#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub range: Range,
    pub log: bool,
    pub ticks: Vec<Tick>,
}

impl Axis {
    /// The horizontal axis of all panels with about so many ticks; `None` when there is nothing to show.
    pub fn horizontal(figure: &Figure, count: usize) -> Option<Axis> {
        let range = x_range(figure)?;
        let log = figure.log_x;
        let numbers = if all_whole(figure) { Numbers::Whole } else { Numbers::Any };
        let ticks = if log { logarithmic(range, count) } else { linear(range, count, numbers) };
        Some(Axis { range, log, ticks })
    }

    /// The vertical axis of one panel. Its ends are ticks where that costs little room.
    pub fn vertical(panel: &Panel, log_x: bool, count: usize) -> Option<Axis> {
        let range = y_range(panel, log_x)?;
        if panel.log_y {
            let room = (range.high / range.low).powf(0.04);
            let range = Range { low: range.low / room, high: range.high * room }.positive();
            return Some(Axis { range, log: true, ticks: logarithmic(range, count) });
        }
        let span = range.high - range.low;
        let numbers = if counts(panel) { Numbers::Whole } else { Numbers::Any };
        let ticks = linear(range, count, numbers);
        let step = ticks.windows(2).map(|pair| pair[1].value - pair[0].value).next().unwrap_or(span);
        let below = (range.low / step + 1e-6).floor() * step;
        let above = (range.high / step - 1e-6).ceil() * step;
        let low = if range.low - below <= 0.6 * step { below } else { range.low - 0.05 * span };
        let high = if above - range.high <= 0.6 * step { above } else { range.high + 0.05 * span };
        let range = Range { low, high };
        Some(Axis { range, log: false, ticks: linear(range, count + 1, numbers) })
    }

    /// Where a number stands: 0 at the low end, 1 at the high end. `None` when the axis cannot show it.
    pub fn place(&self, value: f64) -> Option<f64> {
        if !drawable(value, self.log) {
            return None;
        }
        let Range { low, high } = self.range;
        let place = match self.log {
            true => (value / low).ln() / (high / low).ln(),
            // Halved, so that even the widest range has a finite span.
            false => (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0),
        };
        // A bar may reach a little beyond the ends; no number may reach far beyond the picture.
        (!place.is_nan()).then(|| place.clamp(-0.5, 1.5))
    }
}

/// Are there bars alone, of whole numbers: how often something was found?
fn counts(panel: &Panel) -> bool {
    panel.series.iter().all(|series| {
        series.mark == Mark::Bars && series.points.iter().all(|(_, y)| y.is_finite() && y.fract() == 0.0)
    })
}

/// Are all places along the horizontal axis whole numbers, as steps are?
fn all_whole(figure: &Figure) -> bool {
    let points = figure.panels.iter().flat_map(|panel| &panel.series).flat_map(|series| &series.points);
    points.filter(|(x, _)| x.is_finite()).all(|(x, _)| x.fract() == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Series;

    fn panel(log_y: bool, points: &[(f64, f64)]) -> Panel {
        let series = vec![Series { name: "a".into(), points: points.to_vec(), mark: Mark::Line, color: 0 }];
        Panel { y_label: "loss".into(), log_y, series }
    }

    #[test]
    fn the_ends_of_a_vertical_axis_are_ticks_where_that_costs_little() {
        let axis = Axis::vertical(&panel(false, &[(1.0, 2.05), (2.0, 2.97)]), false, 4).unwrap();
        assert_eq!(axis.range, Range { low: 2.0, high: 3.0 });
        assert_eq!(axis.ticks.first().unwrap().text, "2.0");
        assert_eq!(axis.ticks.last().unwrap().text, "3.0");
    }

    #[test]
    fn a_log_axis_places_decades_at_equal_distances() {
        let axis = Axis { range: Range { low: 1.0, high: 100.0 }, log: true, ticks: vec![] };
        assert_eq!(axis.place(10.0), Some(0.5));
        assert_eq!(axis.place(0.0), None);
    }

    #[test]
    fn extreme_numbers_make_a_finite_axis() {
        for values in [[f64::MAX, -f64::MAX], [f64::MIN_POSITIVE, 0.0], [1e300, 1e300], [-5e-324, 5e-324]] {
            let points = [(0.0, values[0]), (1.0, values[1])];
            let axis = Axis::vertical(&panel(false, &points), false, 5).unwrap();
            assert!(axis.ticks.len() < 200, "{values:?}");
        }
    }
}
