//! Exact match: the share of rows whose completion the model writes word for word, greedily.

use crate::data::dataset::Part;
use crate::data::tokenizer::{SpecialTokens, Tokenizer};
use crate::evaluate::answer::Answer;
use crate::evaluate::{EvaluateError, Observe, report};
use crate::generate::decode::generate;
use crate::generate::sampling::Sampling;
use crate::model::llama::Policy;

/// Lets the model answer these examples; those without a prompt before their completion are passed over.
pub fn answers(
    policy: &Policy,
    tokenizer: &Tokenizer,
    part: &Part,
    examples: &[usize],
    observe: Observe,
) -> Result<Vec<Answer>, EvaluateError> {
    let mut answers = vec![];
    for (done, &example) in examples.iter().enumerate() {
        report(observe, done, examples.len())?;
        let (prompt, completion) = (part.prompt_ids(example), part.completion_ids(example));
        if prompt.is_empty() || completion.is_empty() || part.row(example).completion.is_empty() {
            continue;
        }
        // Room for the same words in other tokens; what runs on beyond that is wrong in any case.
        let sampling = Sampling { max: completion.len() + 8, temperature: 0.0, ..Sampling::default() };
        let written = generate(policy, tokenizer, prompt, &sampling, &mut |_| true)?.text;
        let decoded = tokenizer.decode(completion, SpecialTokens::Skip);
        let wanted = decoded.map_err(crate::generate::GenerateError::from)?;
        answers.push(Answer { example, wanted, written });
    }
    report(observe, examples.len(), examples.len())?;
    if answers.is_empty() {
        return Err(EvaluateError::DoesNotFit { metric: "exact_match", needed: "a prompt and a completion" });
    }
    Ok(answers)
}

/// The share of answers that are right.
pub fn exact_match(answers: &[Answer]) -> f64 {
    let right = answers.iter().filter(|answer| answer.is_right()).count();
    right as f64 / answers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batch::MicroBatch;
    use crate::data::dataset::{Example, RowText};
    use crate::data::packing::Packing;
    use crate::train::fixtures::{base, full, steps, trainer};
    use crate::train::material::Material;
    use crate::train::recipe::{Batch, Length, Recipe, Schedule};
    use std::sync::Arc;

    fn pairs(tokenizer: &Tokenizer, pairs: &[(&str, &str)]) -> Part {
        let mut part = Part::new(vec!["pairs.jsonl".into()]);
        for (index, (prompt, completion)) in pairs.iter().enumerate() {
            let mut ids = tokenizer.encode(prompt).unwrap();
            let before = ids.len();
            ids.extend(tokenizer.encode(completion).unwrap());
            ids.extend(tokenizer.eos);
            let supervised: Vec<bool> = (0..ids.len()).map(|position| position >= before).collect();
            let row = RowText { prompt, completion, ..RowText::default() };
            part.push(Example { ids: &ids, supervised: &supervised }, row, (0, index as u64 + 1));
        }
        part
    }

    #[test]
    fn a_model_that_learned_its_rows_by_heart_answers_them() {
        let tokenizer = Tokenizer::bytes();
        let learned = pairs(&tokenizer, &[("a?", "yes"), ("b?", "no")]);
        let material = Material { part: Arc::new(learned), packing: Packing::Off, shuffle: false };
        let recipe = Recipe {
            batch: Batch { micro: 2, accumulate: 1 },
            length: Length::Steps(30),
            schedule: Schedule::Constant,
            lr: 3e-3,
            ..full()
        };
        let mut run = trainer(material.clone(), recipe);
        let ask = |policy: &Policy, part: &Part| {
            let given = answers(policy, &tokenizer, part, &[0, 1], &mut |_, _| true).unwrap();
            (exact_match(&given), given)
        };
        assert_eq!(ask(&Policy { base: &base(), trainables: None }, &material.part).0, 0.0);
        steps(&mut run, 30);
        let (share, given) = ask(&run.policy(), &material.part);
        assert_eq!(share, 1.0, "{given:?}");
        let other = pairs(&tokenizer, &[("a?", " yes "), ("b?", "yes")]);
        let half = Answer { wanted: "yes".into(), ..given[1].clone() };
        assert!(given[0].is_right() && !half.is_right());
        assert_eq!(ask(&run.policy(), &other).0, 0.5);
    }

    #[test]
    fn rows_without_a_prompt_cannot_be_answered() {
        let part = crate::train::fixtures::part(&[9]);
        let base = base();
        let policy = Policy { base: &base, trainables: None };
        let error = answers(&policy, &Tokenizer::bytes(), &part, &[0], &mut |_, _| true).unwrap_err();
        assert!(error.to_string().starts_with("`exact_match` needs rows with a prompt and a completion"));
        assert_eq!(MicroBatch::new(&part, &[vec![0]], Packing::Off).examples, [0]);
    }
}
