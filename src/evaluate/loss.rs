//! Loss, perplexity and token accuracy on the rows of a part.

use crate::data::batch::MicroBatch;
use crate::data::dataset::Part;
use crate::data::packing::Packing;
use crate::evaluate::{EvaluateError, Observe, report};
use crate::model::llama::{Inputs, Policy};
use crate::model::loss::{Detail, LossSum, measure_micro};

/// What was measured on one set of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// The mean over all supervised tokens, in nats.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// The share of supervised tokens that were the likeliest.
    pub token_accuracy: f64,
    /// Supervised tokens.
    pub tokens: u64,
    pub rows: u64,
}

/// The loss of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowLoss {
    /// The example's number in its part.
    pub example: usize,
    /// The mean over its supervised tokens.
    pub loss: f64,
    pub tokens: u64,
}

/// Measures all rows, `micro` at a time.
pub fn evaluate(
    policy: &Policy,
    part: &Part,
    micro: usize,
    observe: Observe,
) -> Result<Evaluation, EvaluateError> {
    let (mut loss, mut correct, mut tokens, mut done) = (0.0, 0, 0, 0);
    let examples = by_length(part);
    for rows in examples.chunks(micro.max(1)) {
        report(observe, done, examples.len())?;
        let sum = measure(policy, MicroBatch::new(part, &alone(rows), Packing::Off), Detail::Sum)?;
        loss += sum.loss_sum;
        correct += sum.correct;
        tokens += sum.tokens;
        done += rows.len();
    }
    if tokens == 0 {
        return Err(EvaluateError::NoRows);
    }
    report(observe, done, examples.len())?;
    let loss = loss / tokens as f64;
    let token_accuracy = correct as f64 / tokens as f64;
    Ok(Evaluation { loss, perplexity: loss.exp(), token_accuracy, tokens: tokens as u64, rows: done as u64 })
}

/// The loss of each of these examples, in their order; one without supervised tokens has a loss of 0 over 0 tokens.
pub fn row_losses(
    policy: &Policy,
    part: &Part,
    examples: &[usize],
    micro: usize,
    observe: Observe,
) -> Result<Vec<RowLoss>, EvaluateError> {
    let mut losses = Vec::with_capacity(examples.len());
    for rows in examples.chunks(micro.max(1)) {
        report(observe, losses.len(), examples.len())?;
        let batch = MicroBatch::new(part, &alone(rows), Packing::Off);
        let counts = supervised_by_row(&batch);
        let sum = measure(policy, batch, Detail::PerToken)?;
        for (example, row) in rows.iter().zip(split(&sum.per_token, &counts)) {
            let loss = row.iter().map(|loss| f64::from(*loss)).sum::<f64>() / row.len().max(1) as f64;
            losses.push(RowLoss { example: *example, loss, tokens: row.len() as u64 });
        }
    }
    report(observe, losses.len(), examples.len())?;
    Ok(losses)
}

/// One forward pass without gradients.
pub(super) fn measure(policy: &Policy, batch: MicroBatch, detail: Detail) -> Result<LossSum, EvaluateError> {
    let MicroBatch { input_ids, labels, rows, documents, attended, .. } = batch;
    let inputs = Inputs::new(policy.base, &input_ids, rows, documents, attended)?;
    Ok(measure_micro(policy, &inputs, &labels, detail)?)
}

/// Targets of each row.
pub(super) fn supervised_by_row(batch: &MicroBatch) -> Vec<usize> {
    let rows = batch.labels.chunks(batch.length.max(1));
    rows.map(|labels| labels.iter().filter(|label| **label >= 0).count()).collect()
}

/// Consecutive stretches of these lengths.
pub(super) fn split<'a>(losses: &'a [f32], lengths: &[usize]) -> Vec<&'a [f32]> {
    let mut rest = losses;
    let take = lengths.iter().map(|length| {
        let (taken, left) = rest.split_at(*length);
        rest = left;
        taken
    });
    take.collect()
}

/// Each example as a row of its own.
fn alone(examples: &[usize]) -> Vec<Vec<usize>> {
    examples.iter().map(|example| vec![*example]).collect()
}

/// All examples, longest first: rows of one batch have nearly one length, and what needs most memory comes first.
fn by_length(part: &Part) -> Vec<usize> {
    let mut examples: Vec<usize> = (0..part.len()).collect();
    examples.sort_by_key(|example| std::cmp::Reverse(part.length(*example)));
    examples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::{base, bytes, lora, material, part, steps, trainer};

    #[test]
    fn the_loss_is_the_mean_over_supervised_tokens_whatever_the_batch() {
        let (base, part) = (base(), part(&[9, 30, 12, 5, 21]));
        let policy = Policy { base: &base, trainables: None };
        let measured = |micro| evaluate(&policy, &part, micro, &mut |_, _| true).unwrap();
        let (one, many) = (measured(1), measured(4));
        assert!((one.loss - many.loss).abs() < 1e-5 && one.token_accuracy == many.token_accuracy);
        assert_eq!((one.tokens, one.rows), (part.supervised_tokens() as u64, 5));
        assert_eq!(one.perplexity, one.loss.exp());
        assert!((one.loss - 512f64.ln()).abs() < 0.5, "a random model knows nothing: {}", one.loss);
        let rows = row_losses(&policy, &part, &[3, 0, 1, 2, 4], 2, &mut |_, _| true).unwrap();
        let mean = rows.iter().map(|row| row.loss * row.tokens as f64).sum::<f64>() / one.tokens as f64;
        assert!((mean - one.loss).abs() < 1e-5);
        assert_eq!(rows[0].example, 3);
    }

    #[test]
    fn evaluating_between_steps_changes_nothing() {
        let mut run = trainer(material(), lora());
        let mut never = trainer(material(), lora());
        for _ in 0..3 {
            evaluate(&run.policy(), &material().part, 4, &mut |_, _| true).unwrap();
            assert_eq!(steps(&mut run, 1), steps(&mut never, 1));
        }
        assert_eq!(bytes(&run), bytes(&never));
    }

    #[test]
    fn an_evaluation_can_be_stopped() {
        let (base, part) = (base(), part(&[5; 8]));
        let policy = Policy { base: &base, trainables: None };
        let error = evaluate(&policy, &part, 2, &mut |done, _| done < 4).unwrap_err();
        assert_eq!(error.to_string(), "stopped after 4 of 8 rows");
        assert!(matches!(
            evaluate(&policy, &Part::default(), 2, &mut |_, _| true),
            Err(EvaluateError::NoRows)
        ));
    }
}
