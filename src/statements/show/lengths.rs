//! `show lengths`: how long the rows are, in tokens, and what batches of them waste.

use crate::data::batch::Schedule;
use crate::data::dataset::Part;
use crate::data::packing::Packing;
use crate::data::shape::Shape;
use crate::data::specification::{OverLength, Specification};
use crate::events::{Diagnostic, Event, Figure, Mark, Out, Panel, Series, Table};
use crate::language::codes;
use crate::language::value::Settings;
use crate::plot::style::Style;
use crate::plot::write::{kind, write};
use crate::session::{Session, sentence};
use crate::statements::show::lens::{Lens, Opened};
use crate::statements::show::without_effect;
use crate::statements::{Action, Checking};
use crate::train::material::Material;
use crate::units::{counted, grouped};
use std::path::PathBuf;

/// About so many bars.
const BARS: u32 = 28;

struct ShowLengths {
    lens: Lens,
    to: Option<PathBuf>,
}

pub fn check(settings: &Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let lens = Lens::check("lengths", settings, checking)?;
    let instead = format!("show rows {}", lens.data.name);
    if !without_effect(&["which", "max", "full"], "show lengths", &instead, settings, checking) {
        return None;
    }
    let to = settings.maybe_text("to").map(PathBuf::from);
    if let Some(path) = &to {
        if let Err(error) = kind(path) {
            let place = checking.place(settings, "to");
            checking.report(Diagnostic::error(codes::PLOT, sentence(&error)).at(place));
            return None;
        }
        checking.outline.write(path.clone());
    }
    Some(Box::new(ShowLengths { lens, to }))
}

impl Action for ShowLengths {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let opened = self.lens.open(session, out)?;
        let lengths = lengths(&opened.part, &self.lens.data.specification);
        let figure = figure(&lengths, &format!("lengths of {}", self.lens.part_name()));
        if let Some(path) = &self.to {
            write(&figure, path, &Style::default())
                .map_err(|error| Diagnostic::error(codes::PLOT, sentence(&error)))?;
        }
        let path = self.to.as_ref().map(|path| path.display().to_string());
        out.emit(Event::Figure { path, figure });
        out.emit(Event::Table(self.table(&lengths, &opened)));
        Ok(())
    }
}

impl ShowLengths {
    fn table(&self, lengths: &[u32], opened: &Opened) -> Table {
        let title = format!("lengths of {} ({})", self.lens.part_name(), self.lens.tokens_of());
        let mut table = Table::new(title, &["what", ">tokens", ""]);
        let mut row = |what: &str, tokens: String, note: String| table.row([what.to_string(), tokens, note]);
        let tokens = |length: u32| grouped(u64::from(length));
        let blocks = opened.dataset.shape == Shape::Text;
        let noun = if blocks { "block" } else { "example" };
        row("shortest", tokens(lengths[0]), counted(lengths.len() as u64, noun));
        row("median", tokens(percentile(lengths, 50.0)), String::new());
        let mean = lengths.iter().map(|length| f64::from(*length)).sum::<f64>() / lengths.len() as f64;
        row("mean", format!("{mean:.1}"), String::new());
        row("95 %", tokens(percentile(lengths, 95.0)), String::new());
        row("99 %", tokens(percentile(lengths, 99.0)), String::new());
        row("longest", tokens(lengths[lengths.len() - 1]), String::new());
        let specification = &self.lens.data.specification;
        row("max_len", grouped(specification.max_len as u64), self.too_long(lengths, opened));
        let part = &opened.part;
        let supervised = part.supervised_tokens() as u64;
        let share = 100.0 * supervised as f64 / part.tokens().max(1) as f64;
        row(
            "kept",
            grouped(part.tokens() as u64),
            format!("{} supervised ({share:.1} %)", grouped(supervised)),
        );
        let (padding, note) = self.padding(opened);
        row("padding", grouped(padding), note);
        table
    }

    /// What became of the rows that are longer than `max_len`.
    fn too_long(&self, lengths: &[u32], opened: &Opened) -> String {
        let specification = &self.lens.data.specification;
        if opened.dataset.shape == Shape::Text {
            return "texts are cut into blocks of it".into();
        }
        let longer = opened.part.too_long.len();
        let share = 100.0 * longer as f64 / lengths.len() as f64;
        match (longer, specification.over_length) {
            (0, _) => "none is longer".into(),
            (_, OverLength::Drop) => format!("{} longer ({share:.1} %), dropped", grouped(longer as u64)),
            _ => {
                let max_len = specification.max_len as u64;
                let over = opened.part.too_long.iter().map(|length| u64::from(*length) - max_len).sum();
                let longer = grouped(longer as u64);
                format!("{longer} longer ({share:.1} %), cut: {} left off", counted(over, "token"))
            }
        }
    }

    /// Positions of an epoch that hold nothing.
    fn padding(&self, opened: &Opened) -> (u64, String) {
        let material = Material::new(&opened.dataset, &self.lens.data.specification, self.lens.part);
        let layout = material.layout(&opened.recipe);
        let footprint = Schedule::new(&opened.part, layout).footprint(0);
        let padding = (footprint.padded - footprint.tokens) as u64;
        let share = 100.0 * padding as f64 / footprint.padded.max(1) as f64;
        let rows = match layout.packing {
            Packing::Off => String::new(),
            Packing::Rows { .. } => format!("packed in {}, ", counted(footprint.rows as u64, "row")),
        };
        (padding, format!("{share:.1} % of an epoch, {rows}{}", self.lens.batches_of(&opened.recipe)))
    }
}

/// How long each row was before it was cut or dropped, sorted.
fn lengths(part: &Part, specification: &Specification) -> Vec<u32> {
    let mut lengths: Vec<u32> = (0..part.len()).map(|index| part.length(index) as u32).collect();
    lengths.sort_unstable();
    if specification.over_length == OverLength::Cut {
        // Those that were cut are the last ones: each is as long as `max_len` now.
        lengths.truncate(lengths.len() - part.too_long.len().min(lengths.len()));
    }
    lengths.extend(&part.too_long);
    lengths.sort_unstable();
    lengths
}

/// The length that so many in a hundred rows do not exceed.
fn percentile(sorted: &[u32], percent: f64) -> u32 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Bars of equal, round width.
fn figure(sorted: &[u32], title: &str) -> Figure {
    let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
    let width = round_width((last - first) / BARS + 1);
    let bins = first / width..=last / width;
    let count = |bin: u32| {
        let below = |edge: u32| sorted.partition_point(|length| *length < edge);
        (below((bin + 1).saturating_mul(width)) - below(bin * width)) as f64
    };
    let middle = |bin: u32| f64::from(bin * width) + f64::from(width - 1) / 2.0;
    let points = bins.map(|bin| (middle(bin), count(bin))).collect();
    let series = vec![Series { name: String::new(), points, mark: Mark::Bars, color: 0 }];
    let y_label =
        if width == 1 { "rows".to_string() } else { format!("rows (a bar is {width} tokens wide)") };
    let panels = vec![Panel { y_label, log_y: false, series }];
    Figure { title: title.into(), x_label: "tokens".into(), log_x: false, panels }
}

/// The least of 1, 2, 5, 10, 20, 50 … that is not smaller.
fn round_width(least: u32) -> u32 {
    let mut power: u32 = 1;
    loop {
        for factor in [1, 2, 5] {
            if factor * power >= least {
                return factor * power;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::{Example, RowText};
    use crate::data::specification::From;

    fn part(kept: &[usize], too_long: &[u32]) -> Part {
        let mut part = Part::new(vec!["c.jsonl".into()]);
        for length in kept {
            let (ids, supervised) = (vec![1; *length], vec![true; *length]);
            part.push(Example { ids: &ids, supervised: &supervised }, RowText::default(), (0, 1));
        }
        part.too_long = too_long.to_vec();
        part
    }

    fn specification(over_length: OverLength) -> Specification {
        let from = From::Random { rows: 1, length: 2, seed: 1 };
        Specification { max_len: 8, over_length, ..Specification::new(from) }
    }

    #[test]
    fn lengths_are_those_before_anything_was_cut_or_dropped() {
        let cut = part(&[3, 8, 5, 8], &[20]);
        assert_eq!(lengths(&cut, &specification(OverLength::Cut)), [3, 5, 8, 20]);
        let dropped = part(&[3, 8, 5], &[20]);
        assert_eq!(lengths(&dropped, &specification(OverLength::Drop)), [3, 5, 8, 20]);
    }

    #[test]
    fn percentiles_are_lengths_that_occur() {
        let sorted: Vec<u32> = (1..=20).collect();
        assert_eq!([50.0, 95.0, 99.0].map(|percent| percentile(&sorted, percent)), [10, 19, 20]);
        assert_eq!(percentile(&[7], 95.0), 7);
    }

    #[test]
    fn every_row_is_in_one_bar() {
        for sorted in [vec![7], vec![1, 2, 2, 9], (10..4000).collect::<Vec<u32>>(), vec![2, 100_000]] {
            let figure = figure(&sorted, "");
            let points = &figure.panels[0].series[0].points;
            assert_eq!(points.iter().map(|(_, count)| *count).sum::<f64>(), sorted.len() as f64);
            assert!(points.len() <= BARS as usize + 2, "{}", points.len());
        }
        assert_eq!([1, 2, 3, 6, 11, 143].map(round_width), [1, 2, 5, 10, 20, 200]);
    }
}
