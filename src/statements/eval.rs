//! `eval [name] [on part]`: held-out numbers of a model or a run.

use crate::data::dataset::PartName;
use crate::events::{Diagnostic, Event, Out};
use crate::language::codes;
use crate::language::schema::{Choice, Clause, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::session::Session;
use crate::session::definitions::DataDefinition;
use crate::session::measurement::{Measured, Measurement, held_out, measured_name, rows_of};
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
        let part = held_out(&dataset, self.part);
        let data = measured_name(&self.data.name, self.part, part);
        let part = rows_of(&dataset, part, &data)?;
        session.trained_on(&self.name, &dataset, &part, &data, out);
        let (metrics, own) = (&self.metrics, session.own_metrics(&self.metrics));
        let subject = session.subject(&self.name, out)?;
        let (batch, own) = (self.batch, own.as_slice());
        let measurement = Measurement { data: &data, dataset: &dataset, part: &part, metrics, own, batch };
        let Some(Measured { evaluation, .. }) = measurement.of(&subject, out)? else { return Ok(()) };
        if let Some(run) = session.runs.get_mut(&self.name) {
            run.note_evaluation(evaluation.clone())?;
        }
        out.emit(Event::Eval(evaluation));
        Ok(())
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
