//! Measuring a model or a run on the rows of a part: the metrics asked for, with progress, and how each row came out.

use crate::data::dataset::{Dataset, Part, PartName};
use crate::evaluate::EvaluateError;
use crate::evaluate::answer::Answer;
use crate::evaluate::comparison::Verdict;
use crate::evaluate::exact_match::{answers, exact_match};
use crate::evaluate::labels;
use crate::events::{Diagnostic, Evaluation, Event, Out, Progress};
use crate::language::codes;
use crate::session::own::OwnMetric;
use crate::session::training::measure;
use crate::session::{Subject, sentence};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is measured, and on which rows.
pub struct Measurement<'a> {
    /// As it is shown: `chat.test`.
    pub data: &'a str,
    pub dataset: &'a Dataset,
    pub part: &'a Part,
    pub metrics: &'a [String],
    /// Those of them that a Rust program or a `rust` block has added.
    pub own: &'a [OwnMetric],
    /// Sequences at a time.
    pub batch: usize,
}

/// The numbers, and how each row came out that was answered or labelled.
pub struct Measured {
    pub evaluation: Evaluation,
    pub verdicts: Vec<Verdict>,
}

/// The part that is measured: the one asked for, else `validation` when it has rows, else all rows.
pub fn held_out(dataset: &Dataset, asked: Option<PartName>) -> PartName {
    let validation = !dataset.part(PartName::Validation).is_empty();
    asked.unwrap_or(if validation { PartName::Validation } else { PartName::Train })
}

/// What is measured, for people and plots: `chat.validation`; `chat` for all rows of data that has no such part.
pub fn measured_name(data: &str, asked: Option<PartName>, part: PartName) -> String {
    match asked {
        None if part != PartName::Validation => data.to_string(),
        _ => format!("{data}.{}", part.name()),
    }
}

/// The rows of a part, of which there must be some. `data` is the name it was asked for by.
pub fn rows_of(dataset: &Dataset, part: PartName, data: &str) -> Result<Arc<Part>, Diagnostic> {
    let part = dataset.part(part);
    if part.is_empty() {
        return Err(Diagnostic::error(codes::EMPTY_PART, format!("`{data}` has no rows")));
    }
    Ok(part.clone())
}

impl Measurement<'_> {
    /// Measures and changes nothing about a run. `None` when it was interrupted.
    pub fn of(&self, subject: &Subject, out: &mut Out) -> Result<Option<Measured>, Diagnostic> {
        let policy = subject.policy();
        let evaluation = measure(&subject.name, &policy, self.data, self.part, self.batch, out)?;
        let Some(mut evaluation) = evaluation else { return Ok(None) };
        evaluation.step = subject.step();
        match self.verdicts(subject, &mut evaluation.metrics, out) {
            Ok(verdicts) => Ok(Some(Measured { evaluation, verdicts })),
            Err(EvaluateError::Stopped { .. }) => Ok(None),
            Err(error @ EvaluateError::OwnMetric { .. }) => {
                Err(Diagnostic::error(codes::OWN_CODE, sentence(&error)))
            }
            Err(ref error @ EvaluateError::OwnFailed { ref refusal, .. }) => {
                Err(Diagnostic::error(codes::OWN_CODE, sentence(error)).refused(refusal))
            }
            Err(error) => Err(Diagnostic::error(codes::EVALUATION, sentence(&error))),
        }
    }

    /// The metrics that look at whole rows; labels say more of a row than words do.
    fn verdicts(
        &self,
        subject: &Subject,
        metrics: &mut BTreeMap<String, f64>,
        out: &mut Out,
    ) -> Result<Vec<Verdict>, EvaluateError> {
        let wants = |name: &str| self.metrics.iter().any(|metric| metric == name);
        let (policy, rows) = (subject.policy(), (0..self.part.len()).collect::<Vec<_>>());
        let cancel = out.cancel.clone();
        let task = format!("eval {} on {}", subject.name, self.data);
        let mut observe = |done, total| {
            let (task, unit) = (task.clone(), "rows".to_string());
            out.emit(Event::Progress(Progress { task, done, total, unit, note: String::new() }));
            !cancel.stop()
        };
        let mut verdicts = vec![];
        if wants("exact_match") || !self.own.is_empty() {
            let answers = answers(&policy, &subject.tokenizer, self.part, &rows, &mut observe)?;
            for own in self.own {
                metrics.insert(own.0.clone(), mean(own, &answers, self.part)?);
            }
            if wants("exact_match") {
                metrics.insert("exact_match".into(), exact_match(&answers));
                verdicts = answers.iter().map(|answer| Verdict::of_answer(answer, self.part)).collect();
            }
        }
        if wants("accuracy") || wants("f1") {
            let candidates = labels::candidates(self.dataset);
            let choices = labels::choose(&policy, self.part, &rows, &candidates, self.batch, &mut observe)?;
            if wants("accuracy") {
                metrics.insert("accuracy".into(), labels::accuracy(&choices));
            }
            if wants("f1") {
                metrics.insert("f1".into(), labels::macro_f1(&choices));
            }
            let verdict = |choice| Verdict::of_choice(choice, &candidates, self.part);
            verdicts = choices.iter().map(verdict).collect();
        }
        Ok(verdicts)
    }
}

/// The mean of a metric of one's own over the answers.
fn mean((name, function): &OwnMetric, answers: &[Answer], part: &Part) -> Result<f64, EvaluateError> {
    let mut sum = 0.0;
    for answer in answers {
        let (metric, place) = (name.clone(), part.place(answer.example));
        match function(answer) {
            Ok(value) if value.is_finite() => sum += value,
            Ok(value) => return Err(EvaluateError::OwnMetric { metric, value, place }),
            Err(refusal) => return Err(EvaluateError::OwnFailed { metric, place, refusal }),
        }
    }
    Ok(sum / answers.len() as f64)
}
