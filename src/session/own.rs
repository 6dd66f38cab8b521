//! What a Rust program or a `rust` block adds to a session: schedules, metrics and row transforms, which scripts then use
//! by name.

use crate::data::row::Row;
use crate::data::transform::{Transform, TransformFunction};
use crate::evaluate::answer::Answer;
use crate::events::{Diagnostic, Out, Refusal};
use crate::language::check::unusable_word;
use crate::language::codes;
use crate::language::scope::{NameKind, Scope};
use crate::session::Session;
use crate::session::run::Run;
use crate::train::recipe::Schedule;
use crate::train::schedule::{OwnSchedules, ScheduleFunction};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// From what the model wrote for a row, and what was wanted, to a number, or why there is none; a metric is the mean over
/// the rows.
pub type MetricFunction = Box<dyn Fn(&Answer) -> Result<f64, Refusal>>;

/// The functions by name.
#[derive(Default)]
pub struct Own {
    pub schedules: OwnSchedules,
    metrics: BTreeMap<String, Rc<MetricFunction>>,
    transforms: BTreeMap<String, OwnTransform>,
    /// Transforms added so far: another one of the same name gives other rows.
    added: u64,
    /// What functions of `rust` blocks have printed and nobody has shown yet.
    pub printed: Printed,
}

/// Lines that the functions of `rust` blocks printed.
pub type Printed = Rc<RefCell<Vec<String>>>;

/// A metric and its name.
pub type OwnMetric = (String, Rc<MetricFunction>);

/// A transform with a number that tells it from all others.
#[derive(Clone)]
pub struct OwnTransform {
    pub number: u64,
    pub transform: Rc<Transform>,
}

/// A function of one of the kinds.
pub enum OwnFunction {
    Schedule(ScheduleFunction),
    Metric(MetricFunction),
    /// With what is equal for functions of equal text.
    Transform {
        function: Box<TransformFunction>,
        fingerprint: Option<String>,
    },
}

impl OwnFunction {
    pub fn kind(&self) -> NameKind {
        match self {
            OwnFunction::Schedule(_) => NameKind::Schedule,
            OwnFunction::Metric(_) => NameKind::Metric,
            OwnFunction::Transform { .. } => NameKind::Transform,
        }
    }

    /// A transform that looks at one row at a time.
    pub fn each_row(function: impl Fn(Row) -> Option<Row> + 'static) -> OwnFunction {
        let one = guarded(function);
        let all = move |rows: Vec<Row>| {
            let given = rows.into_iter().enumerate();
            given.map(|(index, row)| one(row).map_err(|refusal| (Some(index), refusal))).collect()
        };
        OwnFunction::Transform { function: Box::new(all), fingerprint: None }
    }
}

/// The function with its panics as refusals.
pub fn guarded<A, R>(function: impl Fn(A) -> R) -> impl Fn(A) -> Result<R, Refusal> {
    move |argument| {
        catch_unwind(AssertUnwindSafe(|| function(argument))).map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Refusal::new(text.map_or("it panicked".to_string(), |text| format!("it panicked: {text}")))
        })
    }
}

impl Session {
    /// Adds functions that scripts take by name: a schedule in `tune`, `set` and `fork`, a metric in `eval` and
    /// `compare`, a transform in `data`. All of them or, when one cannot be, none. A run that has begun with a schedule
    /// keeps it.
    pub fn add_own(
        &mut self,
        functions: Vec<(String, OwnFunction)>,
        out: &mut Out,
    ) -> Result<(), Diagnostic> {
        for (name, function) in &functions {
            self.may_be_added(name, function.kind())?;
        }
        for (name, function) in functions {
            let kind = function.kind();
            match function {
                OwnFunction::Schedule(function) => self.own.schedules.add(&name, function),
                OwnFunction::Metric(function) => {
                    drop(self.own.metrics.insert(name.clone(), Rc::new(function)))
                }
                OwnFunction::Transform { function, fingerprint } => {
                    self.say_kept(
                        "transform",
                        &name,
                        |run| run.definition.data.transform() == Some(name.as_str()),
                        out,
                    );
                    self.own.add_transform(Transform { name: name.clone(), fingerprint, function });
                }
            }
            self.outline.define_own(&name, kind);
        }
        Ok(())
    }

    /// Those of the metrics that were added.
    pub fn own_metrics(&self, names: &[String]) -> Vec<OwnMetric> {
        let own = names.iter().filter_map(|name| Some((name.clone(), self.own.metrics.get(name)?.clone())));
        own.collect()
    }

    fn may_be_added(&self, name: &str, kind: NameKind) -> Result<(), Diagnostic> {
        if let Some(unusable) = unusable_word(name) {
            return Err(unusable);
        }
        match self.outline.kind_of(name) {
            Some(other) if other != kind => return Err(taken(name, other)),
            _ => {}
        }
        match self.runs.values().find(|run| kind == NameKind::Schedule && goes_by(run, name)) {
            Some(run) => Err(Diagnostic::error(
                codes::RUN_STARTED,
                format!("run `{}` goes by the schedule `{name}`, which another would change", run.name()),
            )
            .note(format!("give the new one another name, or `drop {}` first", run.name()))),
            None => Ok(()),
        }
    }
}

impl Own {
    fn add_transform(&mut self, transform: Transform) {
        self.added += 1;
        let own = OwnTransform { number: self.added, transform: Rc::new(transform) };
        self.transforms.insert(own.transform.name.clone(), own);
    }

    /// The transform that data names.
    pub fn transform(&self, name: &str) -> Result<OwnTransform, Diagnostic> {
        self.transforms.get(name).cloned().ok_or_else(|| {
            Diagnostic::error(codes::OWN_CODE, format!("the row transform `{name}` is not in this session"))
                .note("run its `rust` block, or add it with `own_transform`, before its rows are read")
        })
    }
}

/// A name that stands for something else.
pub fn taken(name: &str, kind: NameKind) -> Diagnostic {
    Diagnostic::error(codes::NAME_TAKEN, format!("`{name}` is {} already", kind.described())).note(
        "models, data, runs, `let` names and functions of one's own share one namespace: choose another name",
    )
}

/// Whether a run has taken steps by this schedule, or would take them again.
fn goes_by(run: &Run, name: &str) -> bool {
    let own = Schedule::Own { name: name.to_string() };
    run.trainer.step_count() > 0 && run.lineage.changes().iter().any(|change| change.recipe.schedule == own)
}
