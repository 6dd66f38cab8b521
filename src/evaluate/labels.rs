//! Labels: which of them the model finds likeliest for each row; accuracy and macro-F1.

use crate::data::batch::MicroBatch;
use crate::data::dataset::{Dataset, Example, Part, RowText};
use crate::data::packing::Packing;
use crate::evaluate::loss::{measure, split, supervised_by_row};
use crate::evaluate::{EvaluateError, Observe, report};
use crate::model::llama::Policy;
use crate::model::loss::Detail;
use std::collections::BTreeMap;

/// A label and the tokens it is written with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub label: String,
    pub ids: Vec<u32>,
}

/// Every label of a data set, sorted, with the tokens of the first row that has it.
pub fn candidates(dataset: &Dataset) -> Vec<Candidate> {
    candidates_of(dataset.parts.iter().map(AsRef::as_ref))
}

fn candidates_of<'a>(parts: impl Iterator<Item = &'a Part>) -> Vec<Candidate> {
    let mut found: BTreeMap<&str, &[u32]> = BTreeMap::new();
    for part in parts {
        for example in 0..part.len() {
            if let Some(label) = part.row(example).label {
                found.entry(label).or_insert_with(|| part.completion_ids(example));
            }
        }
    }
    let owned = |(label, ids): (&str, &[u32])| Candidate { label: label.into(), ids: ids.to_vec() };
    found.into_iter().map(owned).collect()
}

/// The label a row has and the one the model chose, both as numbers of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The example's number in its part.
    pub example: usize,
    pub wanted: usize,
    pub chosen: usize,
}

/// For each example the candidate with the least loss after its prompt, summed over the candidate's tokens: the
/// likeliest one. Ties go to the first.
pub fn choose(
    policy: &Policy,
    part: &Part,
    examples: &[usize],
    candidates: &[Candidate],
    micro: usize,
    observe: Observe,
) -> Result<Vec<Choice>, EvaluateError> {
    let mut choices = vec![];
    for (done, &example) in examples.iter().enumerate() {
        report(observe, done, examples.len())?;
        let Some(label) = part.row(example).label else { continue };
        let wanted = candidates.iter().position(|candidate| candidate.label == label).ok_or_else(|| {
            EvaluateError::UnknownLabel { place: part.place(example), label: label.to_string() }
        })?;
        let losses = candidate_losses(policy, part.prompt_ids(example), candidates, micro)?;
        let least = losses.iter().enumerate().min_by(|one, other| one.1.total_cmp(other.1));
        choices.push(Choice { example, wanted, chosen: least.map_or(0, |(index, _)| index) });
    }
    report(observe, examples.len(), examples.len())?;
    if choices.is_empty() {
        return Err(EvaluateError::DoesNotFit { metric: "accuracy", needed: "a label" });
    }
    Ok(choices)
}

fn candidate_losses(
    policy: &Policy,
    prompt: &[u32],
    candidates: &[Candidate],
    micro: usize,
) -> Result<Vec<f64>, EvaluateError> {
    let mut part = Part::new(vec![]);
    for candidate in candidates {
        let ids = [prompt, &candidate.ids].concat();
        let supervised: Vec<bool> = (0..ids.len()).map(|position| position >= prompt.len().max(1)).collect();
        part.push(Example { ids: &ids, supervised: &supervised }, RowText::default(), (0, 0));
    }
    let rows: Vec<Vec<usize>> = (0..candidates.len()).map(|index| vec![index]).collect();
    let mut losses = vec![];
    for rows in rows.chunks(micro.max(1)) {
        let batch = MicroBatch::new(&part, rows, Packing::Off);
        let counts = supervised_by_row(&batch);
        let sum = measure(policy, batch, Detail::PerToken)?;
        let of_row = |row: &[f32]| row.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        losses.extend(split(&sum.per_token, &counts).into_iter().map(of_row));
    }
    Ok(losses)
}

/// The share of rows whose label was chosen.
pub fn accuracy(choices: &[Choice]) -> f64 {
    let right = choices.iter().filter(|choice| choice.wanted == choice.chosen).count();
    right as f64 / choices.len().max(1) as f64
}

/// The mean over labels of the harmonic mean of precision and recall. A label counts when a row has it or it was
/// chosen, as in scikit-learn.
pub fn macro_f1(choices: &[Choice]) -> f64 {
    let mut counts: BTreeMap<usize, [f64; 3]> = BTreeMap::new(); // right, wanted, chosen
    for choice in choices {
        counts.entry(choice.wanted).or_default()[1] += 1.0;
        counts.entry(choice.chosen).or_default()[2] += 1.0;
        if choice.wanted == choice.chosen {
            counts.entry(choice.wanted).or_default()[0] += 1.0;
        }
    }
    let scores = counts.values().map(|[right, wanted, chosen]| 2.0 * right / (wanted + chosen));
    scores.sum::<f64>() / counts.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::{base, full, steps, trainer};
    use crate::train::material::Material;
    use crate::train::recipe::{Batch, Length, Recipe, Schedule};
    use std::sync::Arc;

    fn choices(pairs: &[(usize, usize)]) -> Vec<Choice> {
        pairs.iter().map(|(wanted, chosen)| Choice { example: 0, wanted: *wanted, chosen: *chosen }).collect()
    }

    // Computed apart from this program, from the definition.
    #[test]
    fn accuracy_and_macro_f1_have_their_known_values() {
        let mixed = choices(&[(0, 0), (0, 0), (0, 1), (1, 1), (1, 2), (2, 0)]);
        assert_eq!(accuracy(&mixed), 0.5);
        assert!((macro_f1(&mixed) - 7.0 / 18.0).abs() < 1e-12, "{}", macro_f1(&mixed));
        assert_eq!(macro_f1(&choices(&[(3, 3), (1, 1)])), 1.0);
        assert_eq!(macro_f1(&[]), 0.0);
    }

    fn labelled() -> Part {
        let mut part = Part::new(vec!["labels.jsonl".into()]);
        for row in 0..8u32 {
            // Odd rows begin with 40 and are "odd" (61 62), even ones with 30 and are "even" (60).
            let (first, label, after): (u32, &str, &[u32]) =
                if row % 2 == 1 { (40, "odd", &[61, 62]) } else { (30, "even", &[60]) };
            let ids = [&[first, 100 + row], after].concat();
            let supervised: Vec<bool> = (0..ids.len()).map(|position| position >= 2).collect();
            let text = RowText { prompt: "x", label: Some(label), ..RowText::default() };
            part.push(Example { ids: &ids, supervised: &supervised }, text, (0, u64::from(row) + 1));
        }
        part
    }

    #[test]
    fn a_model_that_learned_the_labels_chooses_them() {
        let material = Material { part: Arc::new(labelled()), packing: Packing::Off, shuffle: false };
        let candidates = candidates_of(std::iter::once(material.part.as_ref()));
        assert_eq!(candidates[0], Candidate { label: "even".into(), ids: vec![60] });
        assert_eq!(candidates[1].ids, [61, 62]);
        let recipe = Recipe {
            batch: Batch { micro: 8, accumulate: 1 },
            length: Length::Steps(20),
            schedule: Schedule::Constant,
            lr: 3e-3,
            ..full()
        };
        let mut run = trainer(material.clone(), recipe);
        steps(&mut run, 20);
        let examples: Vec<usize> = (0..8).collect();
        let choices =
            choose(&run.policy(), &material.part, &examples, &candidates, 4, &mut |_, _| true).unwrap();
        assert_eq!((accuracy(&choices), macro_f1(&choices)), (1.0, 1.0));
        assert_eq!(choices[3], Choice { example: 3, wanted: 1, chosen: 1 });
    }

    #[test]
    fn rows_without_labels_and_unknown_labels_are_told() {
        let base = base();
        let policy = Policy { base: &base, trainables: None };
        let asked = |part: &Part, candidates: &[Candidate]| {
            choose(&policy, part, &[0], candidates, 4, &mut |_, _| true).unwrap_err().to_string()
        };
        let plain = crate::train::fixtures::part(&[9]);
        assert!(asked(&plain, &[]).starts_with("`accuracy` needs rows with a label"));
        assert!(asked(&labelled(), &[]).contains("`even`"));
    }
}
