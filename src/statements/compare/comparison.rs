//! What a comparison found: the numbers of each, and the rows that changed side against the first; in words and as data.

use crate::evaluate::comparison::{Change, Verdict, changes, shared, sign_test};
use crate::events::{Diagnostic, Evaluation, Out};
use crate::language::codes;
use crate::session::Subject;
use crate::session::measurement::Measured;
use crate::session::record::method_text;
use crate::statements::compare::table;
use crate::train::checkpoint::Conditions;
use crate::units::{counted, grouped};
use serde_json::{Map, Value, json};

/// All that was measured.
pub struct Comparison {
    /// `chat.test`
    pub data: String,
    pub rows: usize,
    pub metrics: Vec<String>,
    /// Changed examples shown of each.
    pub examples: usize,
    pub subjects: Vec<Compared>,
    /// What the numbers depend on besides; of the first.
    pub conditions: Option<Conditions>,
}

/// One model or run of a comparison.
pub struct Compared {
    pub name: String,
    /// A few words: `lora r 16, alpha 32 on chat with base`.
    pub what: String,
    pub parameters: u64,
    /// Trained ones, of a run.
    pub trained: Option<u64>,
    pub evaluation: Evaluation,
    pub verdicts: Vec<Verdict>,
    /// Of the tokenizer: losses compare over the same tokens only.
    pub tokenizer: String,
}

/// How the rows of one changed against the first.
pub struct Sides {
    pub gained: u64,
    pub lost: u64,
    /// Rows that both have.
    pub rows: u64,
}

impl Compared {
    pub fn new(subject: &Subject, Measured { evaluation, verdicts }: Measured) -> Compared {
        let trained = subject.run.map(|run| {
            let tensors = run.trainer.trainables().tensors.values();
            tensors.filter(|tensor| tensor.requires_grad()).map(|tensor| tensor.numel() as u64).sum()
        });
        Compared {
            name: subject.name.clone(),
            what: describe(subject),
            parameters: subject.base.config.parameter_count(),
            trained,
            evaluation,
            verdicts,
            tokenizer: subject.tokenizer.hash().to_string(),
        }
    }
}

fn describe(subject: &Subject) -> String {
    let Some(run) = subject.run else { return format!("model: {}", subject.definition.describe()) };
    format!(
        "run: {} on {} with {}, step {} of {}",
        method_text(&run.trainer.recipe().method),
        run.definition.data.name,
        run.definition.model.name,
        grouped(run.trainer.step_count()),
        grouped(run.trainer.planned_steps()),
    )
}

impl Comparison {
    pub fn first(&self) -> &Compared {
        &self.subjects[0]
    }

    /// `None` when no metric looked at whole rows.
    pub fn sides(&self, compared: &Compared) -> Option<Sides> {
        if compared.verdicts.is_empty() {
            return None;
        }
        let first = &self.first().verdicts;
        let changes = changes(first, &compared.verdicts);
        let gained = changes.iter().filter(|change| change.is_gain()).count() as u64;
        let lost = changes.len() as u64 - gained;
        Some(Sides { gained, lost, rows: shared(first, &compared.verdicts) as u64 })
    }

    /// Whether the numbers of a metric may be set against each other: means over tokens only where the tokens are the same.
    pub fn compares(&self, metric: &str) -> bool {
        !matches!(metric, "loss" | "perplexity" | "token_accuracy") || self.other_tokens().is_none()
    }

    /// The first that cuts the rows into other tokens than the first of all.
    fn other_tokens(&self) -> Option<&Compared> {
        self.subjects.iter().find(|compared| compared.tokenizer != self.first().tokenizer)
    }

    pub fn warn_of_other_tokens(&self, out: &mut Out) {
        let first = self.first();
        if let Some(other) = self.other_tokens() {
            out.diagnostic(
                Diagnostic::warning(
                    codes::OTHER_TOKENS,
                    format!(
                        "`{}` and `{}` have different tokenizers: their losses are over different tokens",
                        first.name, other.name
                    ),
                )
                .note("`exact_match`, `accuracy` and `f1` compare"),
            );
        }
    }

    /// What changed, a line for each but the first.
    pub fn in_words(&self) -> String {
        let lines = self.subjects[1..].iter().map(|compared| self.changed_in_words(compared));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn changed_in_words(&self, compared: &Compared) -> String {
        let (name, first) = (&compared.name, &self.first().name);
        match self.sides(compared) {
            None if !self.compares("loss") => format!("{name} against {first}: not the same tokens"),
            None => match compared.evaluation.loss - self.first().evaluation.loss {
                0.0 => format!("{name} against {first}: the same loss"),
                more if more > 0.0 => format!("{name} against {first}: loss {more:.4} above"),
                less if less < 0.0 => format!("{name} against {first}: loss {:.4} below", -less),
                _ => format!("{name} against {first}: a loss that is no number"),
            },
            Some(Sides { gained: 0, lost: 0, rows }) => {
                format!("{name} against {first}: none of {} changed side", counted(rows, "row"))
            }
            Some(Sides { gained, lost, rows }) => format!(
                "{name} against {first}: {} gained, {} lost of {} (exact McNemar test: p {})",
                grouped(gained),
                grouped(lost),
                counted(rows, "row"),
                table::probability(sign_test(gained, lost)),
            ),
        }
    }

    /// All of it, for programs: every number in full, every changed example.
    pub fn details(&self) -> Value {
        let others = &self.subjects[1..];
        json!({
            "data": self.data,
            "rows": self.rows,
            "subjects": self.subjects.iter().map(|compared| self.numbers(compared)).collect::<Vec<_>>(),
            "changed": others.iter().filter_map(|compared| self.changed(compared)).collect::<Vec<_>>(),
        })
    }

    fn numbers(&self, compared: &Compared) -> Value {
        let value = |metric: &String| (metric.clone(), json!(table::value_of(metric, &compared.evaluation)));
        json!({
            "name": compared.name,
            "what": compared.what,
            "parameters": compared.parameters,
            "trained": compared.trained,
            "step": compared.evaluation.step,
            "tokens": compared.evaluation.tokens,
            "metrics": self.metrics.iter().map(value).collect::<Map<_, _>>(),
        })
    }

    fn changed(&self, compared: &Compared) -> Option<Value> {
        let Sides { gained, lost, rows } = self.sides(compared)?;
        let example = |change: &Change| {
            json!({
                "row": change.before.place,
                "side": if change.is_gain() { "gained" } else { "lost" },
                "prompt": change.before.prompt,
                "wanted": change.before.wanted,
                "before": change.before.given,
                "after": change.after.given,
            })
        };
        let changes = changes(&self.first().verdicts, &compared.verdicts);
        Some(json!({
            "name": compared.name,
            "against": self.first().name,
            "rows": rows,
            "gained": gained,
            "lost": lost,
            "p": sign_test(gained, lost),
            "examples": changes.iter().map(example).collect::<Vec<_>>(),
        }))
    }
}
