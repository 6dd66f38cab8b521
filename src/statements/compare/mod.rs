//! `compare NAME, NAME, … [on part] [to "report.html"]`: models and runs on the same rows, side by side.

mod comparison;
mod differences;
mod report;
mod table;

use crate::data::dataset::{Dataset, Part, PartName};
use crate::events::{Diagnostic, Event, Out};
use crate::files::atomic;
use crate::language::codes;
use crate::language::schema::{Clause, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::{Settings, Value};
use crate::session::definitions::DataDefinition;
use crate::session::measurement::{Measurement, held_out, measured_name, rows_of};
use crate::session::{Session, sentence};
use crate::statements::compare::comparison::{Compared, Comparison};
use crate::statements::eval::METRICS;
use crate::statements::run::one_run;
use crate::statements::{Action, Check, Checking, Statement};
use crate::train::checkpoint::Conditions;
use crate::units::counted;
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
            let part = held_out(&dataset, self.part);
            comparison.data = measured_name(&self.data.name, self.part, part);
            let part = rows_of(&dataset, part, &comparison.data)?;
            if comparison.metrics.is_empty() {
                comparison.metrics = default_metrics(&dataset, &part, out);
            }
            comparison.rows = part.len();
            let own = session.own_metrics(&comparison.metrics);
            let subject = session.subject(name, out)?;
            let (data, metrics) = (&comparison.data, &comparison.metrics);
            let (batch, own) = (self.batch, own.as_slice());
            let measurement = Measurement { data, dataset: &dataset, part: &part, metrics, own, batch };
            let Some(measured) = measurement.of(&subject, out)? else { return Ok(None) };
            comparison.conditions.get_or_insert_with(|| Conditions::now(&subject.base, &processor));
            comparison.subjects.push(Compared::new(&subject, measured));
        }
        Ok(Some(comparison))
    }
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
