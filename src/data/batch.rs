//! Micro-batches: which rows each optimizer step sees, as a pure function of (seed, step).

use crate::data::dataset::Part;
use crate::data::order::{Purpose, permutation};
use crate::data::packing::{Packing, pack_in_order, pack_tightly};
use std::sync::{Arc, Mutex, PoisonError};

/// The label of a position that has no target.
pub const NO_TARGET: i64 = -100;

/// Rows of equal length, padded on the right to the longest of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MicroBatch {
    /// `rows` x `length`; padding is token 0 and never matters.
    pub input_ids: Vec<i64>,
    /// Already shifted: `labels[i]` is the target of position `i`, -100 where there is none.
    pub labels: Vec<i64>,
    pub rows: usize,
    /// Tokens of the longest row.
    pub length: usize,
    /// For each row the lengths of the examples packed into it; empty when it is not packed.
    pub documents: Vec<Vec<usize>>,
    /// The tokens of each row that are not padding.
    pub attended: Vec<usize>,
    /// Labels that are targets.
    pub supervised: usize,
    /// The examples in it, row by row.
    pub examples: Vec<usize>,
}

impl MicroBatch {
    /// Lays out rows of examples; `rows` holds, for each row, the examples that share it.
    pub fn new(part: &Part, rows: &[Vec<usize>], packing: Packing) -> MicroBatch {
        let attended: Vec<usize> =
            rows.iter().map(|row| row.iter().map(|example| part.length(*example)).sum()).collect();
        let length = attended.iter().copied().max().unwrap_or(0);
        let mut batch = MicroBatch {
            input_ids: vec![0; rows.len() * length],
            labels: vec![NO_TARGET; rows.len() * length],
            rows: rows.len(),
            length,
            documents: vec![],
            attended,
            supervised: 0,
            examples: rows.concat(),
        };
        for (index, row) in rows.iter().enumerate() {
            let mut position = index * length;
            for &example in row {
                batch.place(part, example, position);
                position += part.length(example);
            }
            let lengths = row.iter().map(|example| part.length(*example));
            batch.documents.push(match packing {
                Packing::Off => vec![],
                Packing::Rows { .. } => lengths.collect(),
            });
        }
        batch
    }

    fn place(&mut self, part: &Part, example: usize, position: usize) {
        let example = part.example(example);
        for (offset, id) in example.ids.iter().enumerate() {
            self.input_ids[position + offset] = i64::from(*id);
        }
        let targets = example.ids.iter().zip(example.supervised).enumerate().skip(1);
        for (offset, (id, _)) in targets.filter(|(_, (_, supervised))| **supervised) {
            self.labels[position + offset - 1] = i64::from(*id);
            self.supervised += 1;
        }
    }
}

/// How examples become steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rows a micro-batch.
    pub micro: usize,
    /// Micro-batches an optimizer step.
    pub accumulate: usize,
    pub packing: Packing,
    /// The seed of the order; none keeps the order of the file.
    pub shuffle: Option<u64>,
}

/// What an epoch costs: its rows, and how much of them is padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    pub rows: usize,
    /// Tokens of the examples.
    pub tokens: usize,
    /// Tokens with padding: what the model works through.
    pub padded: usize,
    /// Tokens of the longest row.
    pub longest: usize,
}

/// The size of a micro-batch before it is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub rows: usize,
    /// Tokens of the longest row.
    pub length: usize,
    /// Tokens that are not padding.
    pub tokens: usize,
    pub supervised: usize,
}

type Rows = Arc<Vec<Vec<usize>>>;

/// Every step of training on one part.
#[derive(Debug)]
pub struct Schedule {
    part: Arc<Part>,
    layout: Layout,
    lengths: Vec<u32>,
    rows: usize,
    /// The rows of the epoch asked for last: a step does not shuffle all of it again.
    latest: Mutex<Option<(u64, Rows)>>,
}

impl Schedule {
    pub fn new(part: &Arc<Part>, layout: Layout) -> Schedule {
        let layout = Layout { micro: layout.micro.max(1), accumulate: layout.accumulate.max(1), ..layout };
        let lengths = (0..part.len()).map(|index| part.length(index) as u32).collect();
        let mut schedule =
            Schedule { part: Arc::clone(part), layout, lengths, rows: 0, latest: Mutex::new(None) };
        schedule.rows = schedule.rows_of(0).len();
        schedule
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Rows an epoch; with packing fewer than examples.
    pub fn rows_per_epoch(&self) -> usize {
        self.rows
    }

    pub fn micro_batches_per_epoch(&self) -> usize {
        self.rows.div_ceil(self.layout.micro)
    }

    pub fn steps_per_epoch(&self) -> usize {
        self.micro_batches_per_epoch().div_ceil(self.layout.accumulate)
    }

    /// The micro-batches of a step, counted from 0 over all epochs. The last step of an epoch holds what is left.
    pub fn step(&self, step: u64) -> Vec<MicroBatch> {
        let steps = self.steps_per_epoch() as u64;
        if steps == 0 {
            return vec![];
        }
        let rows = self.rows_of(step / steps);
        let rows_per_step = self.layout.micro * self.layout.accumulate;
        let begin = (step % steps) as usize * rows_per_step;
        let end = (begin + rows_per_step).min(rows.len());
        rows[begin..end]
            .chunks(self.layout.micro)
            .map(|rows| MicroBatch::new(&self.part, rows, self.layout.packing))
            .collect()
    }

    /// What an epoch costs, without laying out its batches.
    pub fn footprint(&self, epoch: u64) -> Footprint {
        let mut footprint = Footprint::default();
        for size in self.sizes(epoch) {
            footprint.rows += size.rows;
            footprint.tokens += size.tokens;
            footprint.padded += size.length * size.rows;
            footprint.longest = footprint.longest.max(size.length);
        }
        footprint
    }

    /// The sizes of an epoch's micro-batches, in order.
    pub fn sizes(&self, epoch: u64) -> Vec<Size> {
        self.rows_of(epoch).chunks(self.layout.micro).map(|rows| self.size(rows)).collect()
    }

    fn size(&self, rows: &[Vec<usize>]) -> Size {
        let mut size = Size { rows: rows.len(), ..Size::default() };
        for row in rows {
            let length = row.iter().map(|example| self.lengths[*example] as usize).sum();
            size.tokens += length;
            size.length = size.length.max(length);
            size.supervised += row.iter().map(|example| self.part.targets(*example)).sum::<usize>();
        }
        size
    }

    fn rows_of(&self, epoch: u64) -> Rows {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((held, rows)) if *held == epoch => Arc::clone(rows),
            _ => {
                let rows = Arc::new(self.lay_out(epoch));
                *latest = Some((epoch, Arc::clone(&rows)));
                rows
            }
        }
    }

    fn lay_out(&self, epoch: u64) -> Vec<Vec<usize>> {
        let count = self.lengths.len();
        let order = match self.layout.shuffle {
            Some(seed) => permutation(Purpose::Epoch, seed, epoch, count),
            None => (0..count).collect(),
        };
        match (self.layout.packing, self.layout.shuffle) {
            (Packing::Off, _) => order.into_iter().map(|example| vec![example]).collect(),
            (Packing::Rows { max_len }, None) => pack_in_order(&order, &self.lengths, max_len),
            (Packing::Rows { max_len }, Some(_)) => pack_tightly(&order, &self.lengths, max_len),
        }
    }
}

/// Every example of a part in order, `micro` a batch, unpacked.
pub fn evaluation_batches(part: &Part, micro: usize) -> impl Iterator<Item = MicroBatch> + '_ {
    let micro = micro.max(1);
    (0..part.len()).step_by(micro).map(move |begin| {
        let rows: Vec<Vec<usize>> = (begin..part.len().min(begin + micro)).map(|index| vec![index]).collect();
        MicroBatch::new(part, &rows, Packing::Off)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::{Example, RowText};
    use proptest::prelude::*;

    /// A part whose example `i` has `lengths[i]` tokens, all different, all but the first supervised.
    fn part(lengths: &[usize]) -> Arc<Part> {
        let mut part = Part::new(vec!["x.jsonl".into()]);
        let mut next = 1;
        for (index, length) in lengths.iter().enumerate() {
            let ids: Vec<u32> = (next..next + *length as u32).collect();
            next += *length as u32;
            let supervised: Vec<bool> = (0..*length).map(|position| position > 0).collect();
            let example = Example { ids: &ids, supervised: &supervised };
            part.push(example, RowText::default(), (0, index as u64 + 1));
        }
        Arc::new(part)
    }

    fn layout(micro: usize, accumulate: usize) -> Layout {
        Layout { micro, accumulate, packing: Packing::Off, shuffle: None }
    }

    #[test]
    fn labels_are_the_next_tokens_and_padding_has_none() {
        let batch = evaluation_batches(&part(&[3, 2]), 2).next().expect("one batch");
        assert_eq!(batch.input_ids, [1, 2, 3, 4, 5, 0]);
        assert_eq!(batch.labels, [2, 3, -100, 5, -100, -100]);
        assert_eq!((batch.rows, batch.length, batch.supervised), (2, 3, 3));
        assert_eq!((batch.attended, batch.documents), (vec![3, 2], vec![vec![], vec![]]));
    }

    #[test]
    fn packed_examples_never_predict_each_other() {
        let packing = Packing::Rows { max_len: 5 };
        let schedule = Schedule::new(&part(&[3, 2]), Layout { packing, ..layout(2, 1) });
        let batches = schedule.step(0);
        assert_eq!(batches[0].input_ids, [1, 2, 3, 4, 5]);
        assert_eq!(batches[0].labels, [2, 3, -100, 5, -100]);
        assert_eq!(batches[0].documents, [vec![3, 2]]);
    }

    #[test]
    fn the_last_step_of_an_epoch_keeps_what_is_left() {
        let schedule = Schedule::new(&part(&[2; 7]), layout(2, 2));
        assert_eq!((schedule.micro_batches_per_epoch(), schedule.steps_per_epoch()), (4, 2));
        assert_eq!(schedule.step(1).iter().map(|batch| batch.rows).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(schedule.step(2), schedule.step(0));
    }

    #[test]
    fn a_footprint_counts_the_padding() {
        let footprint = Schedule::new(&part(&[4, 2, 3]), layout(2, 1)).footprint(0);
        assert_eq!(footprint, Footprint { rows: 3, tokens: 9, padded: 11, longest: 4 });
    }

    #[test]
    fn sizes_are_those_of_the_batches() {
        let packing = Packing::Rows { max_len: 9 };
        let layout = Layout { packing, shuffle: Some(1), ..layout(2, 2) };
        let schedule = Schedule::new(&part(&[4, 2, 3, 9, 1, 5, 7]), layout);
        let steps = 0..schedule.steps_per_epoch() as u64;
        let laid_out: Vec<Size> = steps
            .flat_map(|step| schedule.step(step))
            .map(|MicroBatch { rows, length, supervised, attended, .. }| Size {
                rows,
                length,
                supervised,
                tokens: attended.iter().sum(),
            })
            .collect();
        assert_eq!(schedule.sizes(0), laid_out);
    }

    #[test]
    fn nothing_to_train_on_gives_no_steps() {
        let schedule = Schedule::new(&part(&[]), layout(2, 2));
        assert_eq!(schedule.steps_per_epoch(), 0);
        assert!(schedule.step(3).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn an_epoch_holds_every_target_once_and_steps_are_pure(
            lengths in prop::collection::vec(1_usize..20, 1..60),
            micro in 1_usize..5, accumulate in 1_usize..4, seed: u64, packed: bool, epoch in 0_u64..3,
        ) {
            let part = part(&lengths);
            let packing = if packed { Packing::Rows { max_len: 24 } } else { Packing::Off };
            let layout = Layout { micro, accumulate, packing, shuffle: Some(seed) };
            let schedule = Schedule::new(&part, layout);
            let steps = schedule.steps_per_epoch() as u64;
            let mut seen: Vec<usize> = vec![];
            let mut targets = 0;
            // Backwards: what a step holds does not depend on the steps before it.
            for step in (epoch * steps..(epoch + 1) * steps).rev() {
                let batches = schedule.step(step);
                prop_assert_eq!(&batches, &Schedule::new(&part, layout).step(step));
                for batch in batches {
                    prop_assert_eq!(batch.length, batch.attended.iter().copied().max().unwrap_or(0));
                    prop_assert!(batch.length <= 24 && batch.rows <= micro);
                    prop_assert_eq!(batch.supervised, batch.labels.iter().filter(|label| **label >= 0).count());
                    targets += batch.supervised;
                    seen.extend(batch.examples);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            prop_assert_eq!(targets, part.supervised_tokens());
        }
    }
}
