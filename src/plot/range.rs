//! What part of the numbers an axis shows.

use crate::events::{Figure, Mark, Panel};

/// The smallest and the largest number shown; `low < high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub low: f64,
    pub high: f64,
}

impl Range {
    /// Within the numbers that a log axis can show.
    pub fn positive(self) -> Range {
        Range { low: self.low.max(f64::MIN_POSITIVE), high: self.high.min(f64::MAX) }
    }
}

/// Can the number stand on the axis at all?
pub fn drawable(value: f64, log: bool) -> bool {
    value.is_finite() && (!log || value >= f64::MIN_POSITIVE)
}

/// The points of a panel that both axes can show.
fn shown<'a>(panel: &'a Panel, log_x: bool) -> impl Iterator<Item = (f64, f64)> + 'a {
    let points = panel.series.iter().flat_map(|series| series.points.iter().copied());
    points.filter(move |(x, y)| drawable(*x, log_x) && drawable(*y, panel.log_y))
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<Range> {
    values.fold(None, |range, value| match range {
        None => Some(Range { low: value, high: value }),
        Some(Range { low, high }) => Some(Range { low: low.min(value), high: high.max(value) }),
    })
}

/// The horizontal range that all panels share; `None` when no panel has a point.
pub fn x_range(figure: &Figure) -> Option<Range> {
    let points = || figure.panels.iter().flat_map(|panel| shown(panel, figure.log_x));
    let range = bounds(points().map(|(x, _)| x))?;
    let bars = |panel: &Panel| panel.series.iter().any(|series| series.mark == Mark::Bars);
    let room = if figure.panels.iter().any(bars) { bar_slot(figure) / 2.0 } else { 0.0 };
    let range = Range { low: range.low - room, high: range.high + room };
    Some(opened(range, figure.log_x, Opening::Half))
}

/// The distance between neighbouring bars: the smallest between any two places, one where there is only one.
pub fn bar_slot(figure: &Figure) -> f64 {
    let series = figure.panels.iter().flat_map(|panel| &panel.series);
    let bars = series.filter(|series| series.mark == Mark::Bars);
    let mut places: Vec<f64> =
        bars.flat_map(|series| &series.points).map(|(x, _)| *x).filter(|x| x.is_finite()).collect();
    places.sort_by(f64::total_cmp);
    let gaps = places.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 0.0);
    let smallest = gaps.fold(f64::INFINITY, f64::min);
    if smallest.is_finite() { smallest } else { 1.0 }
}

/// The vertical range of a panel; `None` when it has no point. Zero is shown where it is near, and always
/// under bars.
pub fn y_range(panel: &Panel, log_x: bool) -> Option<Range> {
    let range = bounds(shown(panel, log_x).map(|(_, y)| y))?;
    if panel.log_y {
        return Some(opened(range, true, Opening::Tenth));
    }
    let bars = panel.series.iter().any(|series| series.mark == Mark::Bars);
    let near = |inner: f64, outer: f64| bars || inner < 0.3 * outer;
    if range.low >= 0.0 && range.high > 0.0 && near(range.low, range.high) {
        return Some(Range { low: 0.0, high: range.high });
    }
    if range.high <= 0.0 && range.low < 0.0 && near(-range.high, -range.low) {
        return Some(Range { low: range.low, high: 0.0 });
    }
    Some(opened(range, false, Opening::Tenth))
}

/// How a range of one number is opened.
#[derive(Clone, Copy)]
enum Opening {
    /// Half a unit on both sides: a step among steps.
    Half,
    /// A tenth of the number on both sides.
    Tenth,
}

/// The range with room in it when all its numbers are the same but for rounding.
fn opened(range: Range, log: bool, opening: Opening) -> Range {
    let Range { low, high } = range;
    let size = low.abs().max(high.abs());
    if high - low > 1e-9 * size {
        return range;
    }
    match (log, opening) {
        (true, _) => Range { low: low / 2.0, high: high * 2.0 }.positive(),
        (false, _) if size == 0.0 => Range { low: 0.0, high: 1.0 },
        (false, Opening::Half) => {
            let room = (1e-6 * size).max(0.5);
            Range { low: low - room, high: high + room }
        }
        (false, Opening::Tenth) => Range { low: low - 0.1 * size, high: high + 0.1 * size },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Series;

    fn panel(log_y: bool, values: &[f64]) -> Panel {
        let points = values.iter().enumerate().map(|(index, value)| (index as f64, *value)).collect();
        let series = vec![Series { name: "a".into(), points, mark: Mark::Line, color: 0 }];
        Panel { y_label: "loss".into(), log_y, series }
    }

    #[test]
    fn zero_is_shown_where_it_is_near() {
        assert_eq!(y_range(&panel(false, &[0.1, 2.0]), false), Some(Range { low: 0.0, high: 2.0 }));
        assert_eq!(y_range(&panel(false, &[2.5, 3.0]), false), Some(Range { low: 2.5, high: 3.0 }));
    }

    #[test]
    fn what_is_not_a_number_does_not_stretch_the_axis() {
        let values = [1.0, f64::NAN, f64::INFINITY, 1.5];
        assert_eq!(y_range(&panel(false, &values), false), Some(Range { low: 1.0, high: 1.5 }));
        assert_eq!(y_range(&panel(true, &[-1.0, 0.0, 10.0, 1000.0]), false).unwrap().low, 10.0);
        assert_eq!(y_range(&panel(false, &[f64::NAN]), false), None);
    }

    #[test]
    fn one_number_gets_room_around_it() {
        let range = y_range(&panel(false, &[2.0]), false).unwrap();
        assert!(range.low < 2.0 && range.high > 2.0);
        assert_eq!(y_range(&panel(false, &[0.0]), false), Some(Range { low: 0.0, high: 1.0 }));
    }
}
