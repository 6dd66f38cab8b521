//! A figure as terminal text: braille dots, or ASCII where the terminal knows no more.

use crate::events::{Figure, Mark, Panel, Series};
use crate::plot::axis::Axis;
use crate::plot::bars::bars;
use crate::plot::braille::{Canvas, Dots, mark};
use crate::plot::error::PlotError;
use crate::plot::labels::spread;
use crate::plot::names::{LONGEST_NAME, last_value, named, short};
use crate::plot::scene::Point;
use crate::plot::thin::stretches;
use crate::plot::ticks::Tick;
use unicode_width::UnicodeWidthStr;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    pub columns: usize,
    /// Rows of each panel.
    pub rows: usize,
    pub color: bool,
    pub unicode: bool,
}

/// A piece of a line in one colour.
enum Tone {
    Plain,
    Title,
    Muted,
    Series(usize),
}

impl Screen {
    fn dots(&self) -> Dots {
        if self.unicode { Dots::Braille } else { Dots::Marks }
    }

    fn paint(&self, text: &str, tone: Tone) -> String {
        // Blue, yellow, green, magenta, cyan, red, bright magenta, grey: the terminal's own shades.
        const SERIES: [&str; 8] = ["94", "33", "32", "35", "36", "31", "95", "37"];
        let code = match tone {
            Tone::Plain => return text.into(),
            Tone::Title => "1",
            Tone::Muted => "2",
            Tone::Series(number) => SERIES[number % SERIES.len()],
        };
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }

    /// Left end, upright and level lines, a tick on each, and the corner.
    fn rules(&self) -> Rules {
        match self.unicode {
            true => Rules { upright: "│", tick: "┤", corner: "└", level: "─", foot: "┬" },
            false => Rules { upright: "|", tick: "+", corner: "+", level: "-", foot: "+" },
        }
    }
}

struct Rules {
    upright: &'static str,
    tick: &'static str,
    corner: &'static str,
    level: &'static str,
    foot: &'static str,
}

/// How many columns go where.
struct Columns {
    numbers: usize,
    plot: usize,
}

/// The figure as lines of text, without the last newline.
pub fn terminal(figure: &Figure, screen: &Screen) -> Result<String, PlotError> {
    let y: Vec<Option<Axis>> = figure
        .panels
        .iter()
        .map(|panel| Axis::vertical(panel, figure.log_x, (screen.rows / 4).max(2)))
        .collect();
    let ticks = y.iter().flatten().flat_map(|axis| &axis.ticks);
    let numbers = ticks.map(|tick| tick.text.width()).max().unwrap_or(1);
    let names = figure.panels.iter().flat_map(named).map(|series| name(series, screen).width());
    let names = names.max().unwrap_or(0).min(screen.columns / 3);
    let plot = screen.columns.saturating_sub(numbers + 2 + names + 1).max(12);
    let columns = Columns { numbers, plot };
    let x = Axis::horizontal(figure, plot / 11).ok_or_else(|| PlotError::empty(figure))?;

    let mut lines = vec![];
    if !figure.title.is_empty() {
        lines.push(screen.paint(&figure.title, Tone::Title));
    }
    for (panel, y) in figure.panels.iter().zip(&y) {
        lines.push(screen.paint(&panel.y_label, Tone::Muted));
        lines.extend(panel_lines(figure, panel, &x, y.as_ref(), &columns, screen));
        lines.push(foot(&x, &columns, screen));
    }
    lines.push(x_numbers(figure, &x, &columns, screen));
    Ok(lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n"))
}

fn panel_lines(
    figure: &Figure,
    panel: &Panel,
    x: &Axis,
    y: Option<&Axis>,
    columns: &Columns,
    screen: &Screen,
) -> Vec<String> {
    let rules = screen.rules();
    let mut canvas = Canvas::new(screen.dots(), columns.plot, screen.rows);
    let mut names: Vec<Option<&Series>> = vec![None; screen.rows];
    if let Some(y) = y {
        draw(&mut canvas, figure, panel, x, y);
        names = placed_names(panel, x, y, screen.rows);
    }
    let row_of = |up: f64| ((1.0 - up) * (screen.rows - 1) as f64).round() as usize;
    (0..screen.rows)
        .map(|row| {
            let here = |tick: &&Tick| y.and_then(|y| y.place(tick.value)).is_some_and(|up| row_of(up) == row);
            let tick = y.and_then(|y| y.ticks.iter().find(here));
            let number = tick.map_or("", |tick| tick.text.as_str());
            let padding = " ".repeat(columns.numbers.saturating_sub(number.width()));
            let rule = if tick.is_some() { rules.tick } else { rules.upright };
            let left = screen.paint(&format!("{padding}{number} {rule}"), Tone::Muted);
            let middle = match y {
                None if row == screen.rows / 2 => screen.paint("  no values yet", Tone::Muted),
                _ => cells(&canvas.row(row), screen),
            };
            let right = names[row].map_or(String::new(), |series| painted_name(series, screen));
            format!("{left}{middle} {right}")
        })
        .collect()
}

/// The lines, dots and bars of a panel.
fn draw(canvas: &mut Canvas, figure: &Figure, panel: &Panel, x: &Axis, y: &Axis) {
    let (width, height) = ((canvas.width() - 1) as f64, (canvas.height() - 1) as f64);
    let dot = |(across, up): Point| ((across * width).round() as i64, ((1.0 - up) * height).round() as i64);
    for bar in bars(figure, panel, x, y) {
        let ((left, top), (right, bottom)) = (dot((bar.left, bar.end)), dot((bar.right, bar.zero)));
        for column in left..right.max(left + 1) {
            canvas.line((column, bottom), (column, top), bar.color);
        }
    }
    let named = named(panel);
    let lines = panel.series.iter().filter(|series| series.mark != Mark::Bars);
    for series in lines.filter(|series| named.iter().any(|name| std::ptr::eq(*name, *series))) {
        for stretch in stretches(&series.points, x, y, canvas.width()) {
            let places: Vec<(i64, i64)> = stretch.into_iter().map(dot).collect();
            match (series.mark, places.as_slice()) {
                (Mark::Dots, _) | (_, [_]) => {
                    places.iter().for_each(|place| spot(canvas, *place, series.color))
                }
                _ => places.windows(2).for_each(|pair| canvas.line(pair[0], pair[1], series.color)),
            }
        }
    }
}

/// A point of its own: four dots, so that it is seen.
fn spot(canvas: &mut Canvas, (x, y): (i64, i64), color: usize) {
    canvas.line((x, y), (x + 1, y), color);
    canvas.line((x, y + 1), (x + 1, y + 1), color);
}

/// Which name stands in which row: beside the end of its line.
fn placed_names<'a>(panel: &'a Panel, x: &Axis, y: &Axis, rows: usize) -> Vec<Option<&'a Series>> {
    let last = (rows - 1) as f64;
    let end = |series: &Series| {
        let shown = |(across, up): &Point| x.place(*across).and_then(|_| y.place(*up));
        series.points.iter().rev().find_map(shown).map(|up| (1.0 - up) * last)
    };
    let ends: Vec<(&Series, f64)> =
        named(panel).into_iter().filter_map(|series| Some((series, end(series)?))).take(rows).collect();
    let wanted: Vec<f64> = ends.iter().map(|(_, row)| *row).collect();
    let mut names = vec![None; rows];
    for ((series, _), row) in ends.iter().zip(spread(&wanted, 1.0, 0.0, last)) {
        // Rounding can give two names one row: the second takes a free one beside it.
        let near = [0.0, 1.0, -1.0].map(|offset| (row + offset).round().max(0.0) as usize);
        if let Some(row) = near.into_iter().find(|row| *row < rows && names[*row].is_none()) {
            names[row] = Some(*series);
        }
    }
    names
}

fn label(series: &Series, screen: &Screen) -> String {
    let room = (screen.columns / 3).saturating_sub(9).clamp(4, LONGEST_NAME);
    match screen.unicode {
        true => short(&series.name, room),
        false => format!("{} {}", mark(series.color), series.name.chars().take(room).collect::<String>()),
    }
}

fn name(series: &Series, screen: &Screen) -> String {
    let value = last_value(series).map_or(String::new(), |value| format!(" {value}"));
    label(series, screen) + &value
}

fn painted_name(series: &Series, screen: &Screen) -> String {
    let value = last_value(series).map_or(String::new(), |value| format!(" {value}"));
    screen.paint(&label(series, screen), Tone::Series(series.color)) + &screen.paint(&value, Tone::Muted)
}

/// A row of the canvas, neighbours of one colour painted together.
fn cells(row: &[(char, Option<usize>)], screen: &Screen) -> String {
    row.chunk_by(|left, right| left.1 == right.1)
        .map(|chunk| {
            let text: String = chunk.iter().map(|(character, _)| *character).collect();
            screen.paint(&text, chunk[0].1.map_or(Tone::Plain, Tone::Series))
        })
        .collect()
}

/// The horizontal axis with a foot at each tick.
fn foot(x: &Axis, columns: &Columns, screen: &Screen) -> String {
    let rules = screen.rules();
    let places: Vec<usize> = x.ticks.iter().filter_map(|tick| column(x, tick.value, columns)).collect();
    let rule = |at: usize| if places.contains(&at) { rules.foot } else { rules.level };
    let level: String = (0..columns.plot).map(rule).collect();
    screen.paint(&format!("{}{}{level}", " ".repeat(columns.numbers + 1), rules.corner), Tone::Muted)
}

fn column(x: &Axis, value: f64, columns: &Columns) -> Option<usize> {
    x.place(value).map(|across| (across * (columns.plot - 1) as f64).round() as usize)
}

/// The numbers under the axis and what they count.
fn x_numbers(figure: &Figure, x: &Axis, columns: &Columns, screen: &Screen) -> String {
    let start = columns.numbers + 2;
    let mut line = String::new();
    for tick in &x.ticks {
        let Some(column) = column(x, tick.value, columns) else { continue };
        let width = tick.text.width();
        let from = (start + column).saturating_sub(width / 2).min(screen.columns.saturating_sub(width));
        let used = line.width();
        let room = if used == 0 { 0 } else { used + 2 };
        if from >= room {
            line.push_str(&" ".repeat(from - used));
            line.push_str(&tick.text);
        }
    }
    let end = (start + columns.plot + 1).max(line.width() + 2);
    let numbers = format!("{line}{}", " ".repeat(end - line.width()));
    if end + figure.x_label.width() <= screen.columns {
        return screen.paint(&format!("{numbers}{}", figure.x_label), Tone::Muted);
    }
    let indent = " ".repeat(start + columns.plot.saturating_sub(figure.x_label.width()) / 2);
    format!(
        "{}\n{}",
        screen.paint(line.trim_end(), Tone::Muted),
        screen.paint(&format!("{indent}{}", figure.x_label), Tone::Muted)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop, proptest};

    const SCREEN: Screen = Screen { columns: 40, rows: 6, color: false, unicode: true };

    fn series(name: &str, color: usize, mark: Mark, points: &[Point]) -> Series {
        Series { name: name.into(), points: points.to_vec(), mark, color }
    }

    fn figure(series: Vec<Series>) -> Figure {
        let panels = vec![Panel { y_label: "loss (nats a token)".into(), log_y: false, series }];
        Figure { title: "Loss of a".into(), x_label: "step".into(), log_x: false, panels }
    }

    fn falling() -> Vec<Point> {
        (1..=20).map(|step| (f64::from(step), 1.0 + 2.0 / f64::from(step))).collect()
    }

    #[test]
    fn a_line_is_drawn_in_braille_with_axes_and_its_name() {
        let text = terminal(&figure(vec![series("a", 0, Mark::Line, &falling())]), &SCREEN).unwrap();
        let expected = "Loss of a\nloss (nats a token)\n3 ┤⢣\n  │⠘⡄\n  │ ⢣\n2 ┤ ⠈⠢⡀\n  │   ⠈⠑⠢⠤⣀⡀\n\
                        1 ┤        ⠈⠉⠉⠉⠉⠒⠒⠒⠒⠒⠒⠒⠒⠒⠤⠤⠤⠤⠤⠤⠤ a 1.100\n\
                        \u{20} └─────────────┬──────────────┬\n\
                        \u{20}              10             20  step";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_dumb_terminal_gets_ascii_with_a_mark_for_each_line() {
        let second: Vec<Point> = falling().iter().map(|(x, y)| (*x, 4.0 - y)).collect();
        let both = vec![series("a", 0, Mark::Line, &falling()), series("b", 1, Mark::Line, &second)];
        let text = terminal(&figure(both), &Screen { unicode: false, ..SCREEN }).unwrap();
        let expected = "Loss of a\nloss (nats a token)\n3 +*            oooooooooooooo o b 2.900\n\
                        \u{20} |*   ooooooooo\n  | *oo\n2 + o**\n  | o  ********\n\
                        1 +o           *************** * a 1.100\n\
                        \u{20} +------------+-------------+\n\
                        \u{20}             10            20  step";
        assert_eq!(text, expected);
    }

    #[test]
    fn colour_changes_no_character() {
        let figure = figure(vec![series("a", 0, Mark::Dots, &falling())]);
        let colored = terminal(&figure, &Screen { color: true, ..SCREEN }).unwrap();
        let mut plain = String::new();
        for (index, part) in colored.split('\x1b').enumerate() {
            plain.push_str(if index == 0 { part } else { part.split_once('m').unwrap().1 });
        }
        let plain: Vec<&str> = plain.lines().map(str::trim_end).collect();
        assert_eq!(plain.join("\n"), terminal(&figure, &SCREEN).unwrap());
    }

    #[test]
    fn a_long_number_at_the_end_of_the_axis_moves_to_the_left() {
        for columns in 40..120 {
            let points = [(0.0, 1.0), (1.26e133, 2.0)];
            let figure = figure(vec![series("a", 0, Mark::Dots, &points)]);
            let text = terminal(&figure, &Screen { columns, ..SCREEN }).unwrap();
            assert!(text.lines().all(|line| line.width() <= columns), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_numbers_make_a_chart_within_the_columns(
            points in prop::collection::vec((any::<f64>(), any::<f64>()), 0..30),
            columns in 40usize..120,
            kind in 0usize..4,
            log in any::<bool>(),
        ) {
            let mark = [Mark::Line, Mark::Dots, Mark::Bars, Mark::Faint][kind];
            let mut figure = figure(vec![series("a", 0, mark, &points)]);
            (figure.log_x, figure.panels[0].log_y) = (log, log);
            if let Ok(text) = terminal(&figure, &Screen { columns, ..SCREEN }) {
                assert!(text.lines().all(|line| line.width() <= columns), "{text}");
            }
        }
    }
}
