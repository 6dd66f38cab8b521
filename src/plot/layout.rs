//! A figure laid out: panels one under another over one horizontal axis, names beside the ends of their lines.

use crate::events::{Figure, Mark, Panel, Series};
use crate::plot::axis::Axis;
use crate::plot::bars::bars;
use crate::plot::dashes::dashes;
use crate::plot::error::PlotError;
use crate::plot::font::text_width;
use crate::plot::labels::{fitting, spread};
use crate::plot::names::{LONGEST_NAME, last_value, named, short};
use crate::plot::palette::{COLORS, Ink};
use crate::plot::scene::{Anchor, Point, Scene, Shape};
use crate::plot::style::Style;
use crate::plot::thin::stretches;

const EDGE: f64 = 24.0;
const TITLE_SIZE: f64 = 17.0;
const TEXT_SIZE: f64 = 12.0;
/// From a panel's label to its top.
const LABEL_ROOM: f64 = 28.0;
const NAME_DISTANCE: f64 = 17.0;
/// A reader without Inter sets the text in a wider font.
const SLACK: f64 = 1.12;

/// The place of one panel's axes within the picture.
#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Frame {
    fn bottom(&self) -> f64 {
        self.top + self.height
    }

    fn right(&self) -> f64 {
        self.left + self.width
    }

    /// From places between the ends of the axes to pixels.
    fn point(&self, (across, up): Point) -> Point {
        (self.left + across * self.width, self.bottom() - up * self.height)
    }
}

/// The figure as shapes. The font has to be registered.
pub fn layout(figure: &Figure, style: &Style) -> Result<Scene, PlotError> {
    let width = f64::from(style.width);
    let panel_height = if figure.panels.len() == 1 { 290.0 } else { 165.0 };
    let header = EDGE + if figure.title.is_empty() { 0.0 } else { TITLE_SIZE + 14.0 };
    let footer = 50.0 + EDGE / 2.0;
    let count = figure.panels.len() as f64;
    let height = style
        .height
        .map_or(header + count * (LABEL_ROOM + panel_height) + (count - 1.0) * 20.0 + footer, f64::from);
    let panel_height = ((height - header - footer - (count - 1.0) * 20.0) / count - LABEL_ROOM).max(40.0);

    let x = Axis::horizontal(figure, (width / 110.0) as usize).ok_or_else(|| PlotError::empty(figure))?;
    let ticks = (panel_height / 48.0).round() as usize;
    let y: Vec<Option<Axis>> =
        figure.panels.iter().map(|panel| Axis::vertical(panel, figure.log_x, ticks.max(2))).collect();

    let numbers =
        y.iter().flatten().flat_map(|axis| &axis.ticks).map(|tick| text_width(&tick.text, TEXT_SIZE));
    let left = EDGE + numbers.fold(16.0, f64::max) * SLACK + 10.0;
    let names = figure.panels.iter().flat_map(named).map(name_width);
    let right = EDGE + names.fold(0.0, f64::max);
    let frame_width = (width - left - right).max(80.0);

    let mut scene = Scene { title: figure.title.clone(), width, height, shapes: vec![] };
    scene.shapes.push(Shape::Rectangle { corner: (0.0, 0.0), width, height, ink: Ink::Paper });
    if !figure.title.is_empty() {
        let (title, size) = fitted(&figure.title, width - 2.0 * EDGE);
        scene.text((EDGE, EDGE + TITLE_SIZE * 0.8), Anchor::Start, size, Ink::Strong, title);
    }
    let mut top = header;
    let mut frame = Frame { left, top, width: frame_width, height: panel_height };
    for (panel, axis) in figure.panels.iter().zip(&y) {
        scene.text((EDGE, top + TEXT_SIZE), Anchor::Start, TEXT_SIZE, Ink::Muted, panel.y_label.as_str());
        frame.top = top + LABEL_ROOM;
        draw_panel(&mut scene, figure, panel, &x, axis.as_ref(), frame);
        top = frame.bottom() + 20.0;
    }
    draw_x_numbers(&mut scene, &x, frame, &figure.x_label);
    Ok(scene)
}

fn draw_panel(scene: &mut Scene, figure: &Figure, panel: &Panel, x: &Axis, y: Option<&Axis>, frame: Frame) {
    let bottom = crisp(frame.bottom());
    if let Some(y) = y {
        for tick in &y.ticks {
            let Some(up) = y.place(tick.value) else { continue };
            let height = crisp(frame.point((0.0, up)).1);
            scene.line(vec![(frame.left, height), (frame.right(), height)], 1.0, Ink::Grid);
            let at = (frame.left - 10.0, height + TEXT_SIZE * 0.36);
            scene.text(at, Anchor::End, TEXT_SIZE, Ink::Muted, set(&tick.text));
        }
    }
    scene.line(vec![(frame.left, bottom), (frame.right(), bottom)], 1.0, Ink::Axis);
    for tick in &x.ticks {
        let Some(across) = x.place(tick.value) else { continue };
        let place = crisp(frame.point((across, 0.0)).0);
        scene.line(vec![(place, bottom), (place, bottom + 4.0)], 1.0, Ink::Axis);
    }
    let Some(y) = y else {
        let middle = frame.point((0.5, 0.5));
        scene.text(middle, Anchor::Middle, TEXT_SIZE, Ink::Muted, "no values yet");
        return;
    };
    draw_bars(scene, figure, panel, x, y, frame);
    // What lies behind is painted first.
    for mark in [Mark::Faint, Mark::Line, Mark::Dots] {
        for series in panel.series.iter().filter(|series| series.mark == mark) {
            draw_series(scene, series, x, y, frame);
        }
    }
    draw_names(scene, panel, x, y, frame);
}

fn draw_series(scene: &mut Scene, series: &Series, x: &Axis, y: &Axis, frame: Frame) {
    let (ink, width) = match series.mark {
        Mark::Faint => (Ink::Faint(series.color), 1.0),
        _ => (Ink::Series(series.color), 1.75),
    };
    for stretch in stretches(&series.points, x, y, frame.width as usize) {
        let points: Vec<Point> = stretch.into_iter().map(|point| frame.point(point)).collect();
        match (series.mark, points.as_slice()) {
            (Mark::Dots, _) => {
                // A ring of paper sets the dot off from the line behind it.
                for center in &points {
                    scene.shapes.push(Shape::Disc { center: *center, radius: 4.2, ink: Ink::Paper });
                    scene.shapes.push(Shape::Disc { center: *center, radius: 3.0, ink });
                }
            }
            (_, [center]) => scene.shapes.push(Shape::Disc { center: *center, radius: 1.5 + width, ink }),
            _ if series.color >= COLORS => {
                dashes(&points).into_iter().for_each(|dash| scene.line(dash, width, ink));
            }
            _ => scene.line(points, width, ink),
        }
    }
}

fn draw_bars(scene: &mut Scene, figure: &Figure, panel: &Panel, x: &Axis, y: &Axis, frame: Frame) {
    for bar in bars(figure, panel, x, y) {
        let (left, end) = frame.point((bar.left, bar.end));
        let (right, zero) = frame.point((bar.right, bar.zero));
        let gap = ((right - left) * 0.06).min(2.0);
        scene.shapes.push(Shape::Rectangle {
            corner: (left + gap, end.min(zero)),
            width: (right - left - 2.0 * gap).max(0.5),
            height: (zero - end).abs(),
            ink: Ink::Series(bar.color),
        });
    }
}

const NAME_GAP: f64 = 10.0;

fn name_width(series: &Series) -> f64 {
    let value = last_value(series).map_or(0.0, |value| text_width(&set(&value), TEXT_SIZE) + 6.0);
    NAME_GAP + (text_width(&short(&series.name, LONGEST_NAME), TEXT_SIZE) + value) * SLACK
}

fn draw_names(scene: &mut Scene, panel: &Panel, x: &Axis, y: &Axis, frame: Frame) {
    let end = |series: &&Series| {
        if series.mark == Mark::Bars {
            return Some((frame.right(), frame.top));
        }
        let place = |(across, up): &Point| Some((x.place(*across)?, y.place(*up)?));
        series.points.iter().rev().find_map(place).map(|point| frame.point(point))
    };
    let mut ends: Vec<(&Series, Point)> =
        named(panel).into_iter().filter_map(|series| Some((series, end(&series)?))).collect();
    let fitting = fitting(NAME_DISTANCE, frame.height);
    // The last place is taken by the count of those left out.
    let kept = if ends.len() > fitting { fitting - 1 } else { ends.len() };
    let left_out = ends.len() - kept;
    ends.truncate(kept);
    let wanted: Vec<f64> = ends.iter().map(|(_, point)| point.1).collect();
    let last = frame.bottom() - if left_out > 0 { NAME_DISTANCE } else { 0.0 };
    let places = spread(&wanted, NAME_DISTANCE, frame.top, last);
    for ((series, _), place) in ends.iter().zip(places) {
        let baseline = place + TEXT_SIZE * 0.36;
        let name = short(&series.name, LONGEST_NAME);
        let at = frame.right() + NAME_GAP;
        let after = at + text_width(&name, TEXT_SIZE) * 1.05 + 6.0;
        scene.text((at, baseline), Anchor::Start, TEXT_SIZE, Ink::Series(series.color), name);
        if let Some(value) = last_value(series) {
            scene.text((after, baseline), Anchor::Start, TEXT_SIZE, Ink::Muted, set(&value));
        }
    }
    if left_out > 0 {
        let at = (frame.right() + NAME_GAP, frame.bottom() + TEXT_SIZE * 0.36);
        let text = format!("and {left_out} more");
        scene.text(at, Anchor::Start, TEXT_SIZE, Ink::Muted, text);
    }
}

fn draw_x_numbers(scene: &mut Scene, x: &Axis, frame: Frame, label: &str) {
    for tick in &x.ticks {
        let Some(across) = x.place(tick.value) else { continue };
        let at = (frame.point((across, 0.0)).0, frame.bottom() + 19.0);
        scene.text(at, Anchor::Middle, TEXT_SIZE, Ink::Muted, set(&tick.text));
    }
    let at = (frame.left + frame.width / 2.0, frame.bottom() + 40.0);
    scene.text(at, Anchor::Middle, TEXT_SIZE, Ink::Muted, label);
}

/// The title in a size that fits, cut where even the smallest does not.
fn fitted(title: &str, room: f64) -> (String, f64) {
    let size = (TITLE_SIZE * room / (text_width(title, TITLE_SIZE) * 1.05)).min(TITLE_SIZE);
    if size >= TEXT_SIZE {
        return (title.into(), size);
    }
    let share = size / TEXT_SIZE;
    let kept = (title.chars().count() as f64 * share) as usize;
    (title.chars().take(kept.saturating_sub(1)).chain(['…']).collect(), TEXT_SIZE)
}

/// The middle of a pixel, where a line of one pixel is sharp.
fn crisp(place: f64) -> f64 {
    place.floor() + 0.5
}

/// A number as it is set in a picture: spaces that do not break and a minus sign as long as a plus.
fn set(text: &str) -> String {
    let text = text.replace(' ', "\u{a0}");
    match text.strip_prefix('-') {
        Some(rest) => format!("\u{2212}{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::font::register;

    fn series(name: &str, color: usize, points: &[Point]) -> Series {
        Series { name: name.into(), points: points.to_vec(), mark: Mark::Line, color }
    }

    fn figure(panels: Vec<Panel>) -> Figure {
        Figure { title: "Loss of a".into(), x_label: "step".into(), log_x: false, panels }
    }

    fn panel(series: Vec<Series>) -> Panel {
        Panel { y_label: "loss (nats a token)".into(), log_y: false, series }
    }

    fn texts(scene: &Scene) -> Vec<&str> {
        let mut texts = vec![];
        for shape in &scene.shapes {
            if let Shape::Text { text, .. } = shape {
                texts.push(text.as_str());
            }
        }
        texts
    }

    #[test]
    fn every_axis_is_labelled_and_every_line_named_with_its_last_value() {
        register().unwrap();
        let points: Vec<Point> = (1..=4).map(|step| (f64::from(step), 4.0 - f64::from(step) / 2.0)).collect();
        let scene = layout(&figure(vec![panel(vec![series("a", 0, &points)])]), &Style::default()).unwrap();
        let expected = [
            "Loss of a",
            "loss (nats a token)",
            "2.00",
            "2.25",
            "2.50",
            "2.75",
            "3.00",
            "3.25",
            "3.50",
            "a",
            "2",
            "1",
            "2",
            "3",
            "4",
            "step",
        ];
        assert_eq!(texts(&scene), expected);
    }

    #[test]
    fn what_is_not_a_number_parts_the_line() {
        register().unwrap();
        let points = [(1.0, 2.0), (2.0, 2.1), (3.0, f64::NAN), (4.0, 2.2), (5.0, 2.1)];
        let scene = layout(&figure(vec![panel(vec![series("a", 0, &points)])]), &Style::default()).unwrap();
        let lines =
            scene.shapes.iter().filter(|shape| matches!(shape, Shape::Line { ink: Ink::Series(0), .. }));
        assert_eq!(lines.count(), 2);
    }

    #[test]
    fn panels_share_the_horizontal_axis_and_one_may_be_empty() {
        register().unwrap();
        let panels =
            vec![panel(vec![series("a", 0, &[(1.0, 2.0), (9.0, 1.0)])]), panel(vec![series("a", 0, &[])])];
        let scene = layout(&figure(panels), &Style::default()).unwrap();
        assert!(texts(&scene).contains(&"no values yet"));
        assert_eq!(texts(&scene).iter().filter(|text| **text == "8").count(), 1);
    }

    #[test]
    fn more_names_than_fit_are_counted() {
        register().unwrap();
        let many = (0..40).map(|number| series(&format!("run-{number}"), number, &[(1.0, 1.0), (2.0, 2.0)]));
        let scene = layout(&figure(vec![panel(many.collect())]), &Style::default()).unwrap();
        let texts = texts(&scene);
        let named = texts.iter().filter(|text| text.starts_with("run-")).count();
        assert!(texts.contains(&format!("and {} more", 40 - named).as_str()), "{named} {texts:?}");
    }

    #[test]
    fn a_figure_without_a_point_is_an_error_that_says_what_to_do() {
        register().unwrap();
        let error = layout(&figure(vec![panel(vec![series("a", 0, &[(1.0, f64::NAN)])])]), &Style::default());
        assert_eq!(
            error.unwrap_err().to_string(),
            "there is nothing to plot yet: `loss` has no points; take a step first (`step` or `run`)"
        );
    }

    #[test]
    fn names_and_titles_stay_within_the_picture() {
        register().unwrap();
        let long = "a-name-that-is-longer-than-anybody-would-give-to-a-run";
        let mut figure = figure(vec![panel(vec![series(long, 0, &[(1.0, 1.0), (2.0, 123_456.0)])])]);
        figure.title = long.repeat(4);
        let scene = layout(&figure, &Style::default()).unwrap();
        for shape in &scene.shapes {
            let Shape::Text { at, anchor: Anchor::Start, size, text, .. } = shape else { continue };
            assert!(at.0 + text_width(text, *size) <= scene.width, "{text}");
        }
    }
}
