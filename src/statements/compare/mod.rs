//! `compare NAME, NAME, … [on part] [to "report.html"]`: models and runs on the same rows, side by side.

mod differences;
mod report;
mod table;

use crate::data::dataset::{Dataset, Part, PartName};
use crate::evaluate::comparison::{Verdict, changes, sign_test};
use crate::events::{Diagnostic, Evaluation, Event, Out};
use crate::files::atomic;
use crate::language::codes;
use crate::language::schema::{Clause, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::{Settings, Value};
use crate::session::definitions::DataDefinition;
use crate::session::measurement::{Measured, Measurement, held_out, rows_of};
use crate::session::record::method_text;
use crate::session::{Session, Subject, sentence};
use crate::statements::eval::METRICS;
use crate::statements::run::one_run;
use crate::statements::{Action, Check, Checking, Statement};
use crate::train::checkpoint::Conditions;
use crate::units::{counted, grouped};
use serde_json::json;
use std::path::PathBuf;
use std::rc::Rc;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "compare",
    summary: "measures models and runs on the same rows, side by side",
    usage: "compare NAME, NAME, … [on data[.part]] [to \"report.html\"] [{ metrics = [loss, exact_match] }]",
    details: "One table, the best of each metric marked, with the differences to the first; then the examples that \
              changed side against the first: those that one answers exactly (or labels rightly) and the other does \
              not, with how likely chance would do as much (exact McNemar test). Without a part it is `validation` \
              when there is one, else all rows; without `on`, the data of the first run. `to` writes all of it, with \
              loss curves and the settings that differ, as one HTML page that needs nothing beside it. Comparing \
              changes nothing about a run.",
    example: "compare base, a, b on chat.test to \"report.html\"",
    positional: &[Setting::new(
        "names",
        Kind::List {
            of: &Kind::Name(&[NameKind::Run, NameKind::Model]),
            least: 2,
            most: usize::MAX,
        },
        "models and runs; the others are set against the first",
    )
    .example("compare base, a")],
    clauses: &[
        Clause::new(
            "on",
            Setting::new("on", Kind::Part, "the data, or a part of it")
                .computed("the data of the first run")
                .example("on chat.test"),
        ),
        Clause::new(
            "to",
            Setting::new("to", Kind::Path, "an .html file for the report")
                .optional()
                .example("to \"report.html\""),
        ),
    ],
    settings: &[
        Setting::new("metrics", Kind::list(&Kind::Choice(METRICS)), "what is measured")
            .computed(
                "loss, perplexity and token_accuracy; accuracy too for labelled rows, exact_match too where the \
                 completions are short",
            )
            .example("metrics = [loss, exact_match]"),
        Setting::new("examples", Kind::Integer { min: 0, max: i64::MAX, unit: None }, "changed examples shown of each")
            .or("5")
            .example("examples = 20"),
        Setting::new("batch", Kind::COUNT, "sequences at a time")
            .or("8")
            .aliases(&["per_device_eval_batch_size"]),
    ],
    ..Form::VERB
};

/// Answers of so many tokens together are written without being asked for.
const WRITTEN: usize = 2000;

struct Compare {
    names: Vec<String>,
    data: Rc<DataDefinition>,
    part: Option<PartName>,
    metrics: Option<Vec<String>>,
    examples: usize,
    batch: usize,
    to: Option<PathBuf>,
}

/// All that was measured.
struct Comparison {
    /// `chat.test`
    data: String,
    rows: usize,
    metrics: Vec<String>,
    /// Changed examples shown of each.
    examples: usize,
    subjects: Vec<Compared>,
    /// What the numbers depend on besides; of the first.
    conditions: Option<Conditions>,
}

/// One model or run of a comparison.
struct Compared {
    name: String,
    /// A few words: `lora r 16, alpha 32 on chat with base`.
    what: String,
    parameters: u64,
    /// Trained ones, of a run.
    trained: Option<u64>,
    evaluation: Evaluation,
    verdicts: Vec<Verdict>,
    /// Of the tokenizer: losses compare over the same tokens only.
    tokenizer: String,
}

impl Action for Compare {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let Some(comparison) = self.measure(session, out)? else { return Ok(()) };
        comparison.warn_of_other_tokens(out);
        out.emit(Event::Table(table::results(&comparison)));
        for compared in &comparison.subjects[1..] {
            if let Some(table) = table::changed(&comparison, compared) {
                out.emit(Event::Table(table));
            }
        }
        let text = comparison.in_words();
        out.emit(Event::Value { name: None, text, value: comparison.details() });
        if let Some(path) = &self.to {
            let page = report::page(&comparison, session)?;
            atomic::write(path, page.as_bytes())
                .map_err(|error| Diagnostic::error(codes::FILE, sentence(&error)))?;
            let (name, path) = ("the comparison".to_string(), path.display().to_string());
            out.emit(Event::Saved { name, path, note: String::new() });
        }
        Ok(())
    }
}

impl Compare {
    /// `None` when it was interrupted.
    fn measure(&self, session: &mut Session, out: &mut Out) -> Result<Option<Comparison>, Diagnostic> {
        let mut comparison = Comparison {
            data: self.data.name.clone(),
            rows: 0,
            metrics: self.metrics.clone().unwrap_or_default(),
            examples: self.examples,
            subjects: vec![],
            conditions: None,
        };
        let processor = session.processor()?;
        for name in &self.names {
            let model = session.model_of(name)?;
            let dataset = session.dataset(&self.data, &model, out)?;
            let name_of_part = held_out(&dataset, self.part);
            if self.part.is_some() || name_of_part == PartName::Validation {
                comparison.data = format!("{}.{}", self.data.name, name_of_part.name());
            }
            let part = rows_of(&dataset, name_of_part, &comparison.data)?;
            if comparison.metrics.is_empty() {
                comparison.metrics = default_metrics(&dataset, &part, out);
            }
            comparison.rows = part.len();
            let subject = session.subject(name, out)?;
            let (data, metrics) = (&comparison.data, &comparison.metrics);
            let measurement =
                Measurement { data, dataset: &dataset, part: &part, metrics, batch: self.batch };
            let Some(measured) = measurement.of(&subject, out)? else { return Ok(None) };
            comparison.conditions.get_or_insert_with(|| Conditions::now(&subject.base, &processor));
            comparison.subjects.push(compared(&subject, measured));
        }
        Ok(Some(comparison))
    }
}

fn compared(subject: &Subject, Measured { evaluation, verdicts }: Measured) -> Compared {
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

/// What is measured when nothing is asked for: what one pass over the rows gives, and how the rows came out where that
/// costs little more.
fn default_metrics(dataset: &Dataset, part: &Part, out: &mut Out) -> Vec<String> {
    let mut metrics = vec!["loss", "perplexity", "token_accuracy"];
    let answered = |row: &usize| !part.row(*row).completion.is_empty() && !part.prompt_ids(*row).is_empty();
    let written: usize = (0..part.len()).filter(answered).map(|row| part.completion_ids(row).len() + 8).sum();
    if !dataset.labels.is_empty() {
        metrics.push("accuracy");
    } else if (1..=WRITTEN).contains(&written) {
        metrics.push("exact_match");
    } else if written > 0 {
        out.note(format!(
            "exact_match is not measured: each would write up to {}; `{{ metrics = [loss, exact_match] }}` asks for it",
            counted(written as u64, "token")
        ));
    }
    metrics.into_iter().map(String::from).collect()
}

/// How the rows of one changed against the first.
struct Sides {
    gained: u64,
    lost: u64,
    /// Rows that both have.
    rows: u64,
}

impl Comparison {
    fn first(&self) -> &Compared {
        &self.subjects[0]
    }

    /// `None` when no metric looked at whole rows.
    fn sides(&self, compared: &Compared) -> Option<Sides> {
        if compared.verdicts.is_empty() {
            return None;
        }
        let changes = changes(&self.first().verdicts, &compared.verdicts);
        let gained = changes.iter().filter(|change| change.is_gain()).count() as u64;
        Some(Sides { gained, lost: changes.len() as u64 - gained, rows: compared.verdicts.len() as u64 })
    }

    fn warn_of_other_tokens(&self, out: &mut Out) {
        let first = self.first();
        let other = self.subjects.iter().find(|compared| compared.tokenizer != first.tokenizer);
        if let Some(other) = other {
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
    fn in_words(&self) -> String {
        let lines = self.subjects[1..].iter().map(|compared| self.changed_in_words(compared));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn changed_in_words(&self, compared: &Compared) -> String {
        let (name, first) = (&compared.name, &self.first().name);
        match self.sides(compared) {
            None => {
                let difference = compared.evaluation.loss - self.first().evaluation.loss;
                let direction = if difference > 0.0 { "above" } else { "below" };
                format!("{name} against {first}: loss {:.4} {direction}", difference.abs())
            }
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

    fn details(&self) -> serde_json::Value {
        let subjects = self.subjects.iter().map(|compared| {
            json!({
                "name": compared.name,
                "what": compared.what,
                "parameters": compared.parameters,
                "trained": compared.trained,
                "step": compared.evaluation.step,
                "tokens": compared.evaluation.tokens,
                "metrics": self.metrics.iter().map(|metric| {
                    (metric.clone(), json!(table::value_of(metric, &compared.evaluation)))
                }).collect::<serde_json::Map<_, _>>(),
            })
        });
        let changed = self.subjects[1..].iter().filter_map(|compared| {
            let Sides { gained, lost, rows } = self.sides(compared)?;
            let examples = changes(&self.first().verdicts, &compared.verdicts);
            let examples = examples.iter().map(|change| {
                json!({
                    "row": change.before.place, "prompt": change.before.prompt,
                    "wanted": change.before.wanted, "before": change.before.given,
                    "after": change.after.given, "side": if change.is_gain() { "gained" } else { "lost" },
                })
            });
            Some(json!({
                "name": compared.name, "against": self.first().name, "rows": rows,
                "gained": gained, "lost": lost, "p": sign_test(gained, lost),
                "examples": examples.collect::<Vec<_>>(),
            }))
        });
        json!({
            "data": self.data,
            "rows": self.rows,
            "subjects": subjects.collect::<Vec<_>>(),
            "changed": changed.collect::<Vec<_>>(),
        })
    }
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let names = settings.words("names");
    let place = checking.place(&settings, "names");
    if let Some(twice) = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
        let message = format!("`{}` is compared with itself", twice.1);
        checking.report(Diagnostic::error(codes::GIVEN_TWICE, message).at(place).note("name each once"));
        return None;
    }
    for name in &names {
        if checking.outline.run(name).is_some() {
            one_run(name, place, checking)?;
            checking.outline.name_run(name);
        }
    }
    let (data, part) = data_of(&names, &settings, checking)?;
    let metrics = match settings.maybe("metrics") {
        Some(Value::List(_)) => Some(settings.words("metrics")),
        _ => None,
    };
    Some(Box::new(Compare {
        names,
        data,
        part,
        metrics,
        examples: settings.integer("examples") as usize,
        batch: settings.integer("batch") as usize,
        to: report_path(&settings, checking)?,
    }))
}

fn data_of(
    names: &[String],
    settings: &Settings,
    checking: &mut Checking,
) -> Option<(Rc<DataDefinition>, Option<PartName>)> {
    if let Some((data, part)) = settings.maybe_part("on") {
        return Some((checking.outline.data(data)?, part.and_then(PartName::parse)));
    }
    if let Some(run) = names.iter().find_map(|name| checking.outline.run(name)) {
        return Some((run.data.clone(), None));
    }
    let names = names.join(", ");
    checking.report(
        Diagnostic::error(codes::MISSING_SETTING, format!("`compare {names}` does not say on what"))
            .at(checking.span)
            .note(format!("write `compare {names} on DATA`: models have no data of their own")),
    );
    None
}

/// The page that `to` names, if it names one; another kind of file is refused.
fn report_path(settings: &Settings, checking: &mut Checking) -> Option<Option<PathBuf>> {
    let Some(path) = settings.maybe_text("to").map(PathBuf::from) else { return Some(None) };
    if !path.extension().is_some_and(|ending| ending == "html" || ending == "htm") {
        let place = checking.place(settings, "to");
        let message = format!("`{}` is not an .html file", path.display());
        let page = path.with_extension("html");
        checking.report(
            Diagnostic::error(codes::REPORT, message)
                .at(place)
                .note(format!("the report is one HTML page: write `to \"{}\"`", page.display())),
        );
        return None;
    }
    checking.outline.write(path.clone());
    Some(Some(path))
}
