//! Packing: which examples share a row, so that little of it is padding and no example is split.

use std::collections::BTreeMap;

/// How examples share rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// One example a row.
    Off,
    /// Rows of at most this many tokens.
    Rows { max_len: usize },
}

/// Packs in the order given: a row is closed when the next example does not fit.
pub fn pack_in_order(order: &[usize], lengths: &[u32], max_len: usize) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = vec![];
    let mut room = 0;
    for &example in order {
        let length = lengths[example] as usize;
        match rows.last_mut() {
            Some(row) if length <= room => row.push(example),
            _ => {
                rows.push(vec![example]);
                room = max_len.max(length);
            }
        }
        room -= length;
    }
    rows
}

/// Packs tightly: longest first, each into the fullest row that still has room (best-fit decreasing).
///
/// How many rows come out depends on the lengths alone, so every epoch has as many; `order` decides which of
/// the examples of one length goes where, and rows are given in the order of their first example in it.
pub fn pack_tightly(order: &[usize], lengths: &[u32], max_len: usize) -> Vec<Vec<usize>> {
    let mut longest_first: Vec<usize> = (0..order.len()).collect();
    longest_first.sort_by_key(|place| std::cmp::Reverse(lengths[order[*place]]));
    let mut rows: Vec<Vec<usize>> = vec![];
    // Rows by the room they have left; among equals the one filled last.
    let mut by_room: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for place in longest_first {
        let length = lengths[order[place]] as usize;
        let (row, room) = match take_fitting(&mut by_room, length) {
            Some(found) => found,
            None => {
                rows.push(vec![]);
                (rows.len() - 1, max_len.max(length))
            }
        };
        rows[row].push(place);
        if room > length {
            by_room.entry(room - length).or_default().push(row);
        }
    }
    for row in &mut rows {
        row.sort_unstable();
    }
    rows.sort_unstable_by_key(|row| row[0]);
    for place in rows.iter_mut().flatten() {
        *place = order[*place];
    }
    rows
}

fn take_fitting(by_room: &mut BTreeMap<usize, Vec<usize>>, length: usize) -> Option<(usize, usize)> {
    let (&room, rows) = by_room.range_mut(length..).next()?;
    let row = rows.pop()?;
    if rows.is_empty() {
        by_room.remove(&room);
    }
    Some((row, room))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::order::{Purpose, permutation};
    use proptest::prelude::*;

    #[test]
    fn rows_are_filled_to_the_brim() {
        let rows = pack_tightly(&[0, 1, 2, 3], &[6, 5, 4, 5], 10);
        assert_eq!(rows, [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn in_order_nothing_changes_places() {
        assert_eq!(pack_in_order(&[0, 1, 2, 3], &[6, 5, 4, 5], 10), [vec![0], vec![1, 2], vec![3]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn each_example_lies_in_one_row_and_no_row_overflows(
            lengths in prop::collection::vec(1_u32..40, 0..120), max_len in 40_usize..100, seed: u64,
        ) {
            let order = permutation(Purpose::Epoch, seed, 0, lengths.len());
            let other = permutation(Purpose::Epoch, seed, 1, lengths.len());
            for rows in [pack_tightly(&order, &lengths, max_len), pack_in_order(&order, &lengths, max_len)] {
                for row in &rows {
                    prop_assert!(row.iter().map(|example| lengths[*example] as usize).sum::<usize>() <= max_len);
                }
                let mut all: Vec<usize> = rows.into_iter().flatten().collect();
                all.sort_unstable();
                prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
            }
            let count = pack_tightly(&order, &lengths, max_len).len();
            prop_assert_eq!(count, pack_tightly(&other, &lengths, max_len).len(), "epochs have equally many rows");
        }
    }
}
