//! Two models on the same rows: how each row came out, which rows changed side, and whether chance would do as much.

use crate::data::dataset::Part;
use crate::evaluate::answer::Answer;
use crate::evaluate::labels::{Candidate, Choice};
use std::collections::{HashMap, HashSet};

/// How one row came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The row's file and line, by which it is found again under another tokenizer.
    pub place: String,
    pub prompt: String,
    pub wanted: String,
    /// What the model wrote, or the label it chose.
    pub given: String,
    pub right: bool,
}

impl Verdict {
    pub fn of_answer(answer: &Answer, part: &Part) -> Verdict {
        Verdict {
            place: part.place(answer.example),
            prompt: part.row(answer.example).prompt.to_string(),
            wanted: answer.wanted.clone(),
            given: answer.written.clone(),
            right: answer.is_right(),
        }
    }

    pub fn of_choice(choice: &Choice, candidates: &[Candidate], part: &Part) -> Verdict {
        Verdict {
            place: part.place(choice.example),
            prompt: part.row(choice.example).prompt.to_string(),
            wanted: candidates[choice.wanted].label.clone(),
            given: candidates[choice.chosen].label.clone(),
            right: choice.wanted == choice.chosen,
        }
    }
}

/// A row that one of two models has right and the other wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    pub before: &'a Verdict,
    pub after: &'a Verdict,
}

impl Change<'_> {
    /// Wrong before, right after.
    pub fn is_gain(&self) -> bool {
        self.after.right
    }
}

/// The rows that changed side, in the order of `before`. Rows that only one of the two has are passed over.
pub fn changes<'a>(before: &'a [Verdict], after: &'a [Verdict]) -> Vec<Change<'a>> {
    let after: HashMap<&str, &Verdict> =
        after.iter().map(|verdict| (verdict.place.as_str(), verdict)).collect();
    let pairs = before.iter().filter_map(|before| {
        let after = *after.get(before.place.as_str())?;
        (before.right != after.right).then_some(Change { before, after })
    });
    pairs.collect()
}

/// How many rows both have.
pub fn shared(before: &[Verdict], after: &[Verdict]) -> usize {
    let places: HashSet<&str> = before.iter().map(|verdict| verdict.place.as_str()).collect();
    after.iter().filter(|verdict| places.contains(verdict.place.as_str())).count()
}

/// How likely at least so uneven a split of the changed rows is when either side is as likely: the exact form of
/// McNemar's test (McNemar 1947; Dietterich 1998, Neural Computation 10:1895, for two classifiers on one test set).
/// Two-sided.
pub fn sign_test(gained: u64, lost: u64) -> f64 {
    let (fewer, all) = (gained.min(lost), gained + lost);
    let mut log_term = -(all as f64) * std::f64::consts::LN_2; // of C(all, index) / 2^all
    let mut tail = 0.0;
    for index in 0..=fewer {
        tail += log_term.exp();
        log_term += ((all - index) as f64 / (index + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(place: &str, right: bool) -> Verdict {
        let given = if right { "yes" } else { "no" };
        Verdict { place: place.into(), prompt: "?".into(), wanted: "yes".into(), given: given.into(), right }
    }

    #[test]
    fn rows_that_changed_side_are_found_by_their_place() {
        let before =
            [verdict("d:1", true), verdict("d:2", false), verdict("d:3", true), verdict("d:9", true)];
        let after = [verdict("d:3", false), verdict("d:2", true), verdict("d:1", true)];
        let found = changes(&before, &after);
        let shown: Vec<(&str, bool)> =
            found.iter().map(|change| (change.before.place.as_str(), change.is_gain())).collect();
        assert_eq!(shown, [("d:2", true), ("d:3", false)]);
        assert!(changes(&before, &before).is_empty());
        assert_eq!((shared(&before, &after), shared(&after, &before)), (3, 3));
    }

    // Computed apart from this program: binomial tails as fractions.
    #[test]
    fn the_sign_test_has_its_known_values() {
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-12, "{found}, not {wanted}");
        near(sign_test(0, 0), 1.0);
        near(sign_test(3, 3), 1.0);
        near(sign_test(5, 0), 2.0 / 32.0);
        near(sign_test(1, 9), 2.0 * 11.0 / 1024.0);
        near(sign_test(9, 1), sign_test(1, 9));
        assert!(sign_test(3000, 2000) < 1e-40 && sign_test(3000, 2000) > 0.0);
    }
}
