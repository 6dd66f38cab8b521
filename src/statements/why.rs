//! `why [run] [step 31]`: what was in a step: its rows, their losses and texts, and the gradient layer by layer.

use crate::data::dataset::Part;
use crate::data::tokenizer::{SpecialTokens, Tokenizer};
use crate::events::{Diagnostic, Event, Out, Step, Table};
use crate::language::codes;
use crate::language::schema::{Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::plot::ticks::{measured, number};
use crate::session::Session;
use crate::session::run::{Run, train_error};
use crate::statements::run::one_run;
use crate::statements::{Action, Check, Checking, Statement};
use crate::train::anatomy::{Anatomy, ExampleLoss};
use crate::units::{counted, grouped};
use serde_json::json;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "why",
    summary: "shows what was in a step: its rows, their losses and texts, and the gradient layer by layer",
    usage: "why [run] [step 31] [{ rows = 16 }]",
    details: "The step is looked at again from the run as it was before it, with the dropout it had: the losses of its \
              rows, weighted by their supervised tokens, make the loss of the step. Without a step it is the one whose \
              loss jumped furthest above the median of the steps before it. The run stays where it is.",
    example: "why a",
    positional: &[
        Setting::new("run", Kind::Name(&[NameKind::Run]), "the run").computed("the run last named"),
        Setting::new("step", Kind::STEPS, "the step")
            .computed("the one with the largest jump of the loss among the last 100")
            .example("why a step 31"),
    ],
    settings: &[Setting::new("rows", Kind::COUNT, "how many rows are shown, the worst first")
        .or("16")
        .example("rows = 4")],
    ..Form::VERB
};

/// A row whose loss is more than so many times the median of its step is marked.
const OUTLYING: f64 = 3.0;
/// Why the last step is shown when none stands out.
const LAST: &str = "it is the last one, and no loss lies above the median of the steps before it";
/// Characters of a text that are shown.
const SHOWN: usize = 72;

struct Why {
    run: String,
    step: Option<u64>,
    rows: usize,
}

impl Action for Why {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let run = &*session.run(&self.run, out)?;
        let (step, reason) = self.chosen(run)?;
        let before = run.trainer_at(step - 1, out)?;
        let anatomy = before.dissect(&out.cancel).map_err(|error| train_error(&self.run, &error))?;
        if out.cancel.stop() {
            return Ok(());
        }
        let examples = worst_first(&anatomy);
        out.emit(Event::Table(rows(run, &anatomy, &examples[..self.rows.min(examples.len())])));
        out.emit(Event::Table(gradient(&anatomy)));
        let text = summary(run, before.recipe().clip, &anatomy, &reason);
        out.emit(Event::Value { name: None, text, value: details(run, &anatomy) });
        Ok(())
    }
}

impl Why {
    /// The step to look at, and why it is this one.
    fn chosen(&self, run: &Run) -> Result<(u64, String), Diagnostic> {
        let now = run.trainer.step_count();
        match self.step {
            Some(step) if step <= now => Ok((step, String::new())),
            Some(step) => Err(Diagnostic::error(
                codes::NO_SUCH_STEP,
                format!("run `{}` is at step {now} and has not taken step {step}", self.run),
            )
            .note(if now == 0 {
                "take steps first, for example `step 20`".into()
            } else {
                format!("give a step from 1 to {now}")
            })),
            None if now == 0 => Err(Diagnostic::error(
                codes::NO_SUCH_STEP,
                format!("run `{}` has taken no step yet", self.run),
            )
            .note("take steps first, for example `step 20`")),
            None => Ok(largest_jump(&run.record.steps).unwrap_or((now, LAST.into()))),
        }
    }
}

/// Among the last steps the one whose loss lies furthest above the median of those before it.
fn largest_jump(steps: &[Step]) -> Option<(u64, String)> {
    const RECENT: usize = 100;
    const BEFORE: usize = 5;
    const LEAST: usize = 3;
    let first = steps.len().saturating_sub(RECENT).max(LEAST);
    let jumps = (first..steps.len()).map(|index| {
        let before = &steps[index.saturating_sub(BEFORE)..index];
        (index, before.len(), median(before.iter().map(|step| step.loss)))
    });
    let jump = |(index, _, median): &(usize, usize, f64)| steps[*index].loss - median;
    let (index, before, median) =
        jumps.filter(|found| jump(found) > 0.0).max_by(|one, other| jump(one).total_cmp(&jump(other)))?;
    let step = &steps[index];
    Some((
        step.step,
        format!(
            "its loss is {:.4} above {median:.4}, the median of the {} before it: the largest jump of the last {}",
            step.loss - median,
            counted(before as u64, "step"),
            counted((steps.len() - first) as u64, "step")
        ),
    ))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// The step's examples by their loss; those without a supervised token, which have none, come last.
fn worst_first(anatomy: &Anatomy) -> Vec<&ExampleLoss> {
    let mut examples: Vec<&ExampleLoss> = anatomy.examples.iter().collect();
    let key = |example: &ExampleLoss| if example.loss.is_nan() { f64::NEG_INFINITY } else { example.loss };
    examples.sort_by(|one, other| key(other).total_cmp(&key(one)));
    examples
}

/// The loss above which a row is marked.
fn outlying(anatomy: &Anatomy) -> f64 {
    OUTLYING * median(anatomy.examples.iter().map(|example| example.loss))
}

fn rows(run: &Run, anatomy: &Anatomy, examples: &[&ExampleLoss]) -> Table {
    let part = &run.trainer.material().part;
    let title = format!("rows of step {} of {}", anatomy.step, run.definition.name);
    let mut table = Table::new(title, &[">loss", ">of loss", ">supervised", ">tokens", "row", "text"]);
    let all: f64 = anatomy.examples.iter().map(loss_sum).sum();
    for example in examples {
        let mark = if example.loss > outlying(anatomy) { "* " } else { "" };
        table.row([
            if example.tokens == 0 { "none".into() } else { format!("{mark}{:.4}", example.loss) },
            share(loss_sum(example) / all),
            grouped(example.tokens as u64),
            grouped(example.length as u64),
            part.place(example.example),
            text(part, example.example, &run.tokenizer),
        ]);
    }
    table
}

fn loss_sum(example: &ExampleLoss) -> f64 {
    if example.tokens == 0 { 0.0 } else { example.loss * example.tokens as f64 }
}

fn share(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// What a person wrote in the row, prompt and completion on lines of their own; else what its tokens say.
fn text(part: &Part, example: usize, tokenizer: &Tokenizer) -> String {
    let row = part.row(example);
    match (row.prompt, row.completion) {
        ("", "") => {
            let decoded = tokenizer.decode(part.example(example).ids, SpecialTokens::Skip);
            shortened(&decoded.unwrap_or_default(), 2 * SHOWN)
        }
        (prompt, "") => shortened(prompt, SHOWN),
        (prompt, completion) => format!("{}\n→ {}", shortened(prompt, SHOWN), shortened(completion, SHOWN)),
    }
}

/// On one line, within so many characters.
pub fn shortened(text: &str, longest: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= longest {
        return line;
    }
    let kept: String = line.chars().take(longest - 1).collect();
    format!("{}…", kept.trim_end())
}

fn gradient(anatomy: &Anatomy) -> Table {
    let mut table =
        Table::new("gradient by layer, before clipping", &["block", ">norm", ">share", ">attention", ">mlp"]);
    let whole = anatomy.grad_norm.powi(2);
    let norm = |norm: Option<f64>| norm.map_or(String::new(), |norm| measured(norm, 3));
    for block in &anatomy.blocks {
        table.row([
            block.block.name(),
            measured(block.norm, 3),
            share(block.norm.powi(2) / whole),
            norm(block.attention),
            norm(block.mlp),
        ]);
    }
    table
}

fn summary(run: &Run, clip: Option<f64>, anatomy: &Anatomy, reason: &str) -> String {
    let clipped = match clip {
        Some(limit) if anatomy.grad_norm > limit => format!(", clipped to {}", number(limit, 3)),
        _ => String::new(),
    };
    let Anatomy { step, loss, .. } = *anatomy;
    let tokens: usize = anatomy.examples.iter().map(|example| example.tokens).sum();
    let mut lines = vec![format!(
        "step {step}: loss {loss:.4} over {} and {}, gradient norm {}{clipped}, lr {}",
        counted(anatomy.examples.len() as u64, "row"),
        counted(tokens as u64, "supervised token"),
        number(anatomy.grad_norm, 3),
        number(anatomy.lr, 3),
    )];
    if !reason.is_empty() {
        lines.push(format!("step {step} was chosen: {reason}"));
    }
    lines.extend(outliers(anatomy));
    let recorded = run.record.steps.iter().find(|recorded| recorded.step == step);
    if let Some(recorded) = recorded.filter(|recorded| recorded.loss != loss) {
        lines.push(format!(
            "when it was taken its loss was {:.4}: here a step is not repeated exactly",
            recorded.loss
        ));
    }
    lines.join("\n")
}

/// How many rows are marked, and against what.
fn outliers(anatomy: &Anatomy) -> Option<String> {
    let limit = outlying(anatomy);
    let marked = anatomy.examples.iter().filter(|example| example.loss > limit).count() as u64;
    let verb = if marked == 1 { "has" } else { "have" };
    (marked > 0).then(|| {
        format!(
            "* {} {verb} more than {OUTLYING} times the median loss, {:.4}",
            counted(marked, "row"),
            limit / OUTLYING
        )
    })
}

fn details(run: &Run, anatomy: &Anatomy) -> serde_json::Value {
    let part = &run.trainer.material().part;
    let rows = anatomy.examples.iter().map(|example| {
        json!({
            "row": part.place(example.example),
            "loss": (example.tokens > 0).then_some(example.loss),
            "supervised": example.tokens,
            "tokens": example.length,
            "outlying": example.loss > outlying(anatomy),
            "text": text(part, example.example, &run.tokenizer),
        })
    });
    let blocks = anatomy.blocks.iter().map(|block| {
        json!({
            "block": block.block.name(), "norm": block.norm,
            "attention": block.attention, "mlp": block.mlp,
        })
    });
    json!({
        "run": run.definition.name,
        "step": anatomy.step,
        "loss": anatomy.loss,
        "lr": anatomy.lr,
        "grad_norm": anatomy.grad_norm,
        "rows": rows.collect::<Vec<_>>(),
        "blocks": blocks.collect::<Vec<_>>(),
    })
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let run = settings.word("run").to_string();
    one_run(&run, checking.place(&settings, "run"), checking)?;
    checking.outline.name_run(&run);
    let step = settings.maybe_integer("step").map(|step| step as u64);
    Some(Box::new(Why { run, step, rows: settings.integer("rows") as usize }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(losses: &[f64]) -> Vec<Step> {
        let step = |(index, loss): (usize, &f64)| Step {
            run: "a".into(),
            step: index as u64 + 1,
            loss: *loss,
            lr: 1e-3,
            grad_norm: 1.0,
            tokens: 10,
            seconds: 1.0,
            epoch: 0.0,
            planned: 100,
        };
        losses.iter().enumerate().map(step).collect()
    }

    #[test]
    fn the_largest_jump_is_measured_against_the_median_before_it() {
        let (step, reason) = largest_jump(&steps(&[9.0, 2.0, 2.1, 1.9, 2.0, 4.0, 1.8, 2.2])).unwrap();
        assert_eq!(step, 6);
        assert_eq!(
            reason,
            "its loss is 2.0000 above 2.0000, the median of the 5 steps before it: the largest jump of the last 5 steps"
        );
        assert_eq!(largest_jump(&steps(&[5.0, 4.0, 3.0])), None);
        assert_eq!(largest_jump(&steps(&[5.0, 4.0, 3.0, 2.0, 1.0, 0.5])), None);
    }

    #[test]
    fn only_the_last_hundred_steps_are_looked_at() {
        let mut losses = vec![2.0; 120];
        (losses[10], losses[60]) = (9.0, 3.0);
        assert_eq!(largest_jump(&steps(&losses)).unwrap().0, 61);
    }

    #[test]
    fn a_median_passes_over_what_is_no_number() {
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([1.0, 2.0].into_iter()), 1.5);
        assert!(median([].into_iter()).is_nan());
    }

    #[test]
    fn a_long_text_is_cut_to_one_line() {
        assert_eq!(shortened("a\n b", 8), "a b");
        assert_eq!(shortened("日本 日本 日本", 6), "日本 日本…");
    }
}
