//! `show batch`: the tokens that a step of a run, or a micro-batch of data, gives to the model.

use crate::data::batch::{MicroBatch, NO_TARGET, Schedule, evaluation_batches};
use crate::data::dataset::{Part, PartName};
use crate::data::error::DataError;
use crate::data::tokenizer::Tokenizer;
use crate::events::{Batch, BatchRow, BatchToken, Diagnostic, Event, Out};
use crate::language::codes;
use crate::language::value::Settings;
use crate::session::{Session, sentence};
use crate::statements::show::lens::{Lens, Opened, Subject, Which};
use crate::statements::show::without_effect;
use crate::statements::{Action, Checking};
use crate::train::material::Material;

/// Rows of a micro-batch that are shown when nothing else is said.
const ROWS: usize = 8;
/// Tokens of one sort in a row that a person is shown whole.
const STRETCH: usize = 48;

struct ShowBatch {
    lens: Lens,
    which: Which,
    rows: usize,
    longest_stretch: usize,
}

pub fn check(settings: &Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let lens = Lens::check("batch", settings, checking)?;
    let instead = format!("show lengths {}", lens.data.name);
    if !without_effect(&["to"], "show batch", &instead, settings, checking) {
        return None;
    }
    let which = match lens.subject {
        Subject::Run => Which::check("steps", 1, settings, checking)?,
        Subject::Data => Which::check("micro-batches", 0, settings, checking)?,
    };
    let rows = settings.maybe_integer("max").map_or(ROWS, |max| max as usize);
    let longest_stretch = if settings.flag("full") { usize::MAX / 2 } else { STRETCH };
    Some(Box::new(ShowBatch { lens, which, rows, longest_stretch }))
}

impl Action for ShowBatch {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let opened = self.lens.open(session, out)?;
        match self.lens.subject {
            Subject::Run => self.steps(&opened, out),
            Subject::Data if self.lens.part == PartName::Train => self.micro_batches(&opened, out),
            Subject::Data => self.evaluated(&opened, out),
        }
    }
}

impl ShowBatch {
    /// Every micro-batch of the steps asked for; left out, of the step that the run takes next.
    fn steps(&self, opened: &Opened, out: &mut Out) -> Result<(), Diagnostic> {
        let schedule = self.schedule(opened);
        let name = self.lens.run.as_ref().map_or("", |run| run.name.as_str());
        for step in self.numbers(opened.taken + 1) {
            let batches = schedule.step(step - 1);
            for (index, batch) in batches.iter().enumerate() {
                let title =
                    format!("run {name}, step {step}, micro-batch {} of {}", index + 1, batches.len());
                self.show(title, batch, opened, out)?;
            }
            if out.cancel.stop() {
                break;
            }
        }
        Ok(())
    }

    /// Micro-batches in the order of training, counted over its epochs.
    fn micro_batches(&self, opened: &Opened, out: &mut Out) -> Result<(), Diagnostic> {
        let schedule = self.schedule(opened);
        let each = schedule.micro_batches_per_epoch().max(1) as u64;
        let accumulate = schedule.layout().accumulate as u64;
        for index in self.numbers(0) {
            let (epoch, within) = (index / each, index % each);
            let step = epoch * schedule.steps_per_epoch() as u64 + within / accumulate;
            let batches = schedule.step(step);
            let Some(batch) = batches.get((within % accumulate) as usize) else { continue };
            let of = match epoch {
                0 => format!("an epoch has {each}"),
                _ => format!("number {within} of epoch {}", epoch + 1),
            };
            self.show(self.title(index, &of, opened), batch, opened, out)?;
            if out.cancel.stop() {
                break;
            }
        }
        Ok(())
    }

    /// Micro-batches of a held-out part: in the order of its rows, unpacked.
    fn evaluated(&self, opened: &Opened, out: &mut Out) -> Result<(), Diagnostic> {
        let micro = opened.recipe.batch.micro.max(1);
        let last = (opened.part.len().div_ceil(micro) - 1) as u64;
        let asked: Vec<u64> = if self.which.is_empty() { vec![0] } else { self.which.up_to(last).collect() };
        if asked.is_empty() {
            return Err(Diagnostic::error(
                codes::NO_SUCH_ROW,
                format!("`{}` has no micro-batch {}", self.lens.part_name(), self.which.written()),
            )
            .note(format!("its micro-batches of {micro} are 0..{last}")));
        }
        for index in asked {
            let batch = evaluation_batches(&opened.part, micro).nth(index as usize);
            let title = self.title(index, &format!("the part has {}", last + 1), opened);
            batch.map_or(Ok(()), |batch| self.show(title, &batch, opened, out))?;
        }
        Ok(())
    }

    fn schedule(&self, opened: &Opened) -> Schedule {
        let material = Material::new(&opened.dataset, &self.lens.data.specification, self.lens.part);
        Schedule::new(&opened.part, material.layout(&opened.recipe))
    }

    fn numbers(&self, first: u64) -> Box<dyn Iterator<Item = u64> + '_> {
        if self.which.is_empty() {
            Box::new(std::iter::once(first))
        } else {
            Box::new(self.which.up_to(u64::MAX))
        }
    }

    fn title(&self, index: u64, of: &str, opened: &Opened) -> String {
        format!(
            "{}, micro-batch {index}; {of} ({}, {})",
            self.lens.part_name(),
            self.lens.batches_of(&opened.recipe),
            self.lens.tokens_of()
        )
    }

    fn show(
        &self,
        title: String,
        batch: &MicroBatch,
        opened: &Opened,
        out: &mut Out,
    ) -> Result<(), Diagnostic> {
        let mut rows = rows(batch, &opened.part, &opened.tokenizer)
            .map_err(|error| Diagnostic::error(codes::TOKENIZER, sentence(&error)))?;
        let left_out = rows.len().saturating_sub(self.rows);
        rows.truncate(self.rows);
        out.emit(Event::Batch(Batch { title, rows, left_out, longest_stretch: self.longest_stretch }));
        Ok(())
    }
}

/// The rows of a micro-batch, token by token.
fn rows(batch: &MicroBatch, part: &Part, tokenizer: &Tokenizer) -> Result<Vec<BatchRow>, DataError> {
    let mut examples = batch.examples.iter().copied();
    (0..batch.rows)
        .map(|row| {
            let lengths = match batch.documents[row].as_slice() {
                [] => vec![batch.attended[row]],
                packed => packed.to_vec(),
            };
            let places = examples.by_ref().take(lengths.len()).map(|example| part.place(example)).collect();
            let mut tokens = vec![];
            let mut begin = row * batch.length;
            for length in lengths {
                tokens.extend(example(batch, begin..begin + length, tokenizer)?);
                begin += length;
            }
            Ok(BatchRow { places, tokens, padding: batch.length - batch.attended[row] })
        })
        .collect()
}

/// The tokens of one example; a token is supervised where the position before it has it as its target.
fn example(
    batch: &MicroBatch,
    range: std::ops::Range<usize>,
    tokenizer: &Tokenizer,
) -> Result<Vec<BatchToken>, DataError> {
    let ids = &batch.input_ids[range.clone()];
    let pieces = tokenizer.pieces(&ids.iter().map(|id| *id as u32).collect::<Vec<_>>())?;
    let tokens = pieces.into_iter().zip(ids).enumerate().map(|(index, (text, id))| BatchToken {
        id: *id,
        text,
        supervised: index > 0 && batch.labels[range.start + index - 1] != NO_TARGET,
        starts: index == 0,
    });
    Ok(tokens.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batch::Layout;
    use crate::data::dataset::{Example, RowText};
    use crate::data::packing::Packing;
    use std::sync::Arc;

    fn part() -> Arc<Part> {
        let mut part = Part::new(vec!["c.jsonl".into()]);
        for (number, text) in ["ask: yes", "hm: no", "q: a"].iter().enumerate() {
            let ids: Vec<u32> = text.bytes().map(u32::from).collect();
            let from = text.find(' ').expect("a space");
            let supervised: Vec<bool> = (0..ids.len()).map(|place| place > from).collect();
            let example = Example { ids: &ids, supervised: &supervised };
            part.push(example, RowText::default(), (0, number as u64 + 1));
        }
        Arc::new(part)
    }

    fn words(row: &BatchRow) -> String {
        let mark = |token: &BatchToken| {
            let start = if token.starts { "|" } else { "" };
            let target = if token.supervised { "*" } else { "" };
            format!("{start}{target}{}", token.text)
        };
        row.tokens.iter().map(mark).collect()
    }

    #[test]
    fn tokens_are_supervised_as_the_labels_say_and_examples_begin_where_they_were_packed() {
        let packing = Packing::Rows { max_len: 16 };
        let layout = Layout { micro: 2, accumulate: 1, packing, shuffle: None };
        let part = part();
        let batch = Schedule::new(&part, layout).step(0).remove(0);
        let rows = rows(&batch, &part, &Tokenizer::bytes()).expect("decodes");
        assert_eq!(words(&rows[0]), "|ask: *y*e*s|hm: *n*o");
        assert_eq!((words(&rows[1]), rows[1].padding), ("|q: *a".into(), 10));
        assert_eq!(rows[0].places, ["c.jsonl:1", "c.jsonl:2"]);
        let supervised = rows.iter().flat_map(|row| &row.tokens).filter(|token| token.supervised).count();
        assert_eq!(supervised, batch.supervised);
    }
}
