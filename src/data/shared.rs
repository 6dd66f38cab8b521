//! What two parts share: rows of the same tokens, and labels that only one of them has.

use crate::data::dataset::Part;
use std::collections::{BTreeSet, HashMap};

/// The rows of `held` whose tokens are exactly those of a row of `train`, each with the first such row.
pub fn shared_rows(train: &Part, held: &Part) -> Vec<(usize, usize)> {
    let held_rows = || (0..held.len()).map(|row| held.example(row).ids);
    let mut found: HashMap<&[u32], Option<usize>> = held_rows().map(|ids| (ids, None)).collect();
    for row in 0..train.len() {
        if let Some(first @ None) = found.get_mut(train.example(row).ids) {
            *first = Some(row);
        }
    }
    held_rows().enumerate().filter_map(|(row, ids)| Some((row, found[ids]?))).collect()
}

/// The labels of `held` that no row of `train` has, in order.
pub fn unseen_labels<'a>(train: &Part, held: &'a Part) -> Vec<&'a str> {
    let seen = labels(train);
    labels(held).into_iter().filter(|label| !seen.contains(label)).collect()
}

fn labels(part: &Part) -> BTreeSet<&str> {
    (0..part.len()).filter_map(|row| part.row(row).label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::{Example, RowText};

    fn part(rows: &[(&[u32], &str)]) -> Part {
        let mut part = Part::new(vec!["a.jsonl".into()]);
        for (number, (ids, label)) in rows.iter().enumerate() {
            let supervised = vec![true; ids.len()];
            let row = RowText {
                label: Some(label).filter(|label| !label.is_empty()).copied(),
                ..RowText::default()
            };
            part.push(Example { ids, supervised: &supervised }, row, (0, number as u64 + 1));
        }
        part
    }

    #[test]
    fn rows_are_shared_when_every_token_is_the_same() {
        let train = part(&[(&[1, 2], ""), (&[3], ""), (&[1, 2], ""), (&[4, 5], "")]);
        let held = part(&[(&[1], ""), (&[1, 2], ""), (&[4, 5], ""), (&[1, 2], "")]);
        assert_eq!(shared_rows(&train, &held), [(1, 0), (2, 3), (3, 0)]);
        assert!(shared_rows(&train, &part(&[])).is_empty());
    }

    #[test]
    fn labels_that_training_never_sees_are_named_once() {
        let train = part(&[(&[1], "good"), (&[2], "bad")]);
        let held = part(&[(&[3], "odd"), (&[4], "good"), (&[5], "odd"), (&[6], "")]);
        assert_eq!(unseen_labels(&train, &held), ["odd"]);
        assert!(unseen_labels(&held, &train).contains(&"bad"));
    }
}
