//! `eval [name] [on part]`: held-out numbers of a model or a run.

use crate::data::dataset::{Dataset, Part, PartName};
use crate::evaluate::exact_match::{answers, exact_match};
use crate::evaluate::{EvaluateError, labels};
use crate::events::{Diagnostic, Evaluation, Event, Out, Progress};
use crate::language::codes;
use crate::language::schema::{Choice, Clause, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::session::definitions::DataDefinition;
use crate::session::training::measure;
use crate::session::{Session, Subject, sentence};
use crate::statements::run::one_run;
use crate::statements::{Action, Check, Checking, Statement};
use std::rc::Rc;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

pub const METRICS: &[Choice] = &[
    Choice::new("loss", "mean cross-entropy of the supervised tokens, in nats"),
    Choice::new("perplexity", "e to the loss"),
    Choice::new("token_accuracy", "share of supervised tokens that are the likeliest one"),
    Choice::new("exact_match", "share of rows whose completion is written exactly, greedily"),
    Choice::new("accuracy", "share of rows whose right label is the likeliest one"),
    Choice::new("f1", "mean of the labels' f1 scores"),
];

const FORM: Form = Form {
    name: "eval",
    summary: "measures a model or a run on data",
    usage: "eval [name] [on data[.part]] [{ metrics = [loss, exact_match] }]",
    details: "Without a part it is `validation` when there is one, else all rows; without `on`, the data of the run. \
              Evaluating changes nothing about a run.",
    example: "eval a on chat.test",
    positional: &[Setting::new("name", Kind::Name(&[NameKind::Run, NameKind::Model]), "a run or a model")
        .computed("the run last named")],
    clauses: &[Clause::new(
        "on",
        Setting::new("on", Kind::Part, "the data, or a part of it")
            .computed("the run's data")
            .example("on chat.test"),
    )],
    settings: &[
        Setting::new("metrics", Kind::list(&Kind::Choice(METRICS)), "what is measured")
            .or("[loss, perplexity, token_accuracy]")
            .example("metrics = [loss, exact_match]"),
        Setting::new("batch", Kind::COUNT, "sequences at a time")
            .or("8")
            .aliases(&["per_device_eval_batch_size"]),
    ],
    ..Form::VERB
};

pub struct Eval {
    name: String,
    data: Rc<DataDefinition>,
    part: Option<PartName>,
    batch: usize,
    metrics: Vec<String>,
}

impl Action for Eval {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let model = session.model_of(&self.name)?;
        let dataset = session.dataset(&self.data, &model, out)?;
        let validation = dataset.part(PartName::Validation);
        let part = match self.part {
            Some(part) => dataset.part(part),
            None if !validation.is_empty() => validation,
            None => dataset.part(PartName::Train),
        }
        .clone();
        let data = self.data_name();
        if part.is_empty() {
            return Err(Diagnostic::error(codes::EMPTY_PART, format!("`{data}` has no rows")));
        }
        session.trained_on(&self.name, &dataset, &part, &data, out);
        let subject = session.subject(&self.name, out)?;
        let Some(mut evaluation) = measure(&self.name, &subject.policy(), &data, &part, self.batch, out)?
        else {
            return Ok(());
        };
        evaluation.step = subject.step();
        self.measure_rows(&subject, &dataset, &part, &mut evaluation, out)?;
        if let Some(run) = session.runs.get_mut(&self.name) {
            run.note_evaluation(evaluation.clone())?;
        }
        out.emit(Event::Eval(evaluation));
        Ok(())
    }
}

impl Eval {
    /// The metrics that look at whole rows.
    fn measure_rows(
        &self,
        subject: &Subject,
        dataset: &Dataset,
        part: &Part,
        evaluation: &mut Evaluation,
        out: &mut Out,
    ) -> Result<(), Diagnostic> {
        let failed = |error: EvaluateError| Diagnostic::error(codes::EVALUATION, sentence(&error));
        let wants = |name: &str| self.metrics.iter().any(|metric| metric == name);
        let (policy, rows) = (subject.policy(), (0..part.len()).collect::<Vec<_>>());
        let cancel = out.cancel.clone();
        let mut observe = |done, total| {
            let task = format!("eval {} on {}", self.name, self.data_name());
            let unit = "rows".to_string();
            out.emit(Event::Progress(Progress { task, done, total, unit, note: String::new() }));
            !cancel.stop()
        };
        let mut insert = |name: &str, value: f64| {
            evaluation.metrics.insert(name.to_string(), value);
        };
        if wants("exact_match") {
            let answers = answers(&policy, &subject.tokenizer, part, &rows, &mut observe).map_err(failed)?;
            insert("exact_match", exact_match(&answers));
        }
        if wants("accuracy") || wants("f1") {
            let candidates = labels::candidates(dataset);
            let choices = labels::choose(&policy, part, &rows, &candidates, self.batch, &mut observe)
                .map_err(failed)?;
            if wants("accuracy") {
                insert("accuracy", labels::accuracy(&choices));
            }
            if wants("f1") {
                insert("f1", labels::macro_f1(&choices));
            }
        }
        Ok(())
    }

    fn data_name(&self) -> String {
        match self.part {
            Some(part) => format!("{}.{}", self.data.name, part.name()),
            None => self.data.name.clone(),
        }
    }
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let name = settings.word("name").to_string();
    if checking.outline.run(&name).is_some() {
        one_run(&name, checking.place(&settings, "name"), checking)?;
        checking.outline.name_run(&name);
    }
    let (data, part) = match settings.maybe_part("on") {
        Some((data, part)) => (checking.outline.data(data)?, part.and_then(PartName::parse)),
        None => match checking.outline.run(&name) {
            Some(run) => (run.data.clone(), None),
            None => {
                checking.report(
                    Diagnostic::error(codes::MISSING_SETTING, format!("`eval {name}` does not say on what"))
                        .at(checking.span)
                        .note(format!("write `eval {name} on DATA`: a model has no data of its own")),
                );
                return None;
            }
        },
    };
    Some(Box::new(Eval {
        name,
        data,
        part,
        batch: settings.integer("batch") as usize,
        metrics: settings.words("metrics"),
    }))
}
