//! What a Rust program adds to a session: schedules and metrics of its own, which scripts then use by name.

use crate::evaluate::exact_match::Answer;
use crate::events::Diagnostic;
use crate::language::check::unusable_word;
use crate::language::codes;
use crate::language::scope::{NameKind, Scope};
use crate::session::Session;
use crate::session::run::Run;
use crate::train::recipe::Schedule;
use crate::train::schedule::{OwnSchedules, ScheduleFunction};
use std::collections::BTreeMap;
use std::rc::Rc;

/// From what the model wrote for a row, and what was wanted, to a number; a metric is the mean over the rows.
pub type MetricFunction = Box<dyn Fn(&Answer) -> f64>;

/// The functions by name.
#[derive(Default)]
pub struct Own {
    pub schedules: OwnSchedules,
    metrics: BTreeMap<String, Rc<MetricFunction>>,
}

/// A metric and its name.
pub type OwnMetric = (String, Rc<MetricFunction>);

impl Session {
    /// A schedule that `tune`, `set` and `fork` take by this name. A run that has begun with it keeps it.
    pub fn add_schedule(&mut self, name: &str, function: ScheduleFunction) -> Result<(), Diagnostic> {
        self.may_be_added(name, NameKind::Schedule)?;
        if let Some(run) = self.runs.values().find(|run| goes_by(run, name)) {
            return Err(Diagnostic::error(
                codes::RUN_STARTED,
                format!("run `{}` goes by the schedule `{name}`, which another would change", run.name()),
            )
            .note(format!("give the new one another name, or `drop {}` first", run.name())));
        }
        self.own.schedules.add(name, function);
        self.outline.define_own(name, NameKind::Schedule);
        Ok(())
    }

    /// A metric that `eval`, `compare` and `plot` take by this name.
    pub fn add_metric(&mut self, name: &str, function: MetricFunction) -> Result<(), Diagnostic> {
        self.may_be_added(name, NameKind::Metric)?;
        self.own.metrics.insert(name.to_string(), Rc::new(function));
        self.outline.define_own(name, NameKind::Metric);
        Ok(())
    }

    /// Those of the metrics that the program has added.
    pub fn own_metrics(&self, names: &[String]) -> Vec<OwnMetric> {
        let own = names.iter().filter_map(|name| Some((name.clone(), self.own.metrics.get(name)?.clone())));
        own.collect()
    }

    fn may_be_added(&self, name: &str, kind: NameKind) -> Result<(), Diagnostic> {
        if let Some(unusable) = unusable_word(name) {
            return Err(unusable);
        }
        match self.outline.kind_of(name) {
            Some(other) if other != kind => Err(Diagnostic::error(
                codes::NAME_TAKEN,
                format!("`{name}` is {} already", other.described()),
            )
            .note("models, data, runs, schedules and metrics share one namespace: choose another name")),
            _ => Ok(()),
        }
    }
}

/// Whether a run has taken steps by this schedule, or would take them again.
fn goes_by(run: &Run, name: &str) -> bool {
    let own = Schedule::Own { name: name.to_string() };
    run.trainer.step_count() > 0 && run.lineage.changes().iter().any(|change| change.recipe.schedule == own)
}
