//! Bars: those of several series stand side by side at their place.

use crate::events::{Figure, Mark, Panel, Series};
use crate::plot::axis::Axis;
use crate::plot::range::bar_slot;
use crate::plot::scene::Point;

/// One bar, as places between the ends of both axes.
pub struct Bar {
    pub left: f64,
    pub right: f64,
    pub zero: f64,
    pub end: f64,
    pub color: usize,
}

/// Every bar of a panel that its axes can show.
pub fn bars(figure: &Figure, panel: &Panel, x: &Axis, y: &Axis) -> Vec<Bar> {
    let series: Vec<&Series> = panel.series.iter().filter(|series| series.mark == Mark::Bars).collect();
    let (slot, count) = (bar_slot(figure), series.len() as f64);
    let share = 0.72 / count.max(1.0);
    let zero = y.place(0.0).unwrap_or(0.0);
    let mut all = vec![];
    for (index, series) in series.iter().enumerate() {
        let offset = (index as f64 - count / 2.0) * share;
        let bar = |(at, value): &Point| {
            let left = x.place(at + offset * slot)?;
            let right = x.place(at + (offset + share) * slot)?;
            Some(Bar { left, right, zero, end: y.place(*value)?, color: series.color })
        };
        all.extend(series.points.iter().filter(|(_, value)| *value != 0.0).filter_map(bar));
    }
    all
}
