//! Taking steps: a run trains towards a goal, evaluates and saves when due, and stops when asked.

use crate::data::dataset::PartName;
use crate::evaluate::EvaluateError;
use crate::evaluate::loss::evaluate;
use crate::events::{Diagnostic, Evaluation, Event, Out, Progress, Step};
use crate::language::codes;
use crate::language::tree::Comparison;
use crate::model::llama::Policy;
use crate::session::curves::{View, curves};
use crate::session::folder::RunFolder;
use crate::session::record::{self, Record};
use crate::session::run::{Run, train_error};
use crate::session::sentence;
use crate::torch::memory;
use crate::train::error::TrainError;
use crate::train::trainer::StepReport;
use crate::train::watch::judge;
use crate::units::{Seconds, counted, grouped};
use std::time::{Duration, Instant};

/// When something that happens every so often last happened.
pub(in crate::session) struct Due {
    at: Instant,
    step: Option<u64>,
}

impl Due {
    pub fn now() -> Due {
        Due { at: Instant::now(), step: None }
    }

    /// It is done for this step.
    pub fn done(step: u64) -> Due {
        Due { at: Instant::now(), step: Some(step) }
    }

    pub fn is_done(&self, step: u64) -> bool {
        self.step == Some(step)
    }
}

/// Progress is said this often at most; steps themselves are said each.
const BETWEEN_PROGRESS: Duration = Duration::from_millis(200);

/// How far to go.
#[derive(Clone, Debug, PartialEq)]
pub enum Goal {
    /// This many more steps, beyond the planned end if need be.
    Steps(u64),
    PlannedEnd,
    /// To the end of this epoch.
    Epoch(f64),
    /// Until a metric is so, or the planned end.
    Metric {
        name: String,
        comparison: Comparison,
        number: f64,
    },
}

/// Why training stopped.
enum Stop {
    Reached,
    EarlyStopping,
    Interrupted,
    /// In the middle of a step, which is gone.
    Aborted,
}

impl Run {
    /// Trains towards the goal; whether a step was taken. Whatever happens, the run is at its last whole step after it.
    pub fn train(&mut self, goal: &Goal, out: &mut Out) -> Result<bool, Diagnostic> {
        let before = self.lineage.clone();
        self.hold_start();
        let result = self.towards(goal, out);
        self.did("step", before);
        result
    }

    fn towards(&mut self, goal: &Goal, out: &mut Out) -> Result<bool, Diagnostic> {
        let last = self.pass_over(self.last_step(goal), goal, out)?;
        if self.trainer.step_count() >= last {
            out.note(format!(
                "run {} is at step {} of {} already",
                self.definition.name,
                self.trainer.step_count(),
                self.trainer.planned_steps()
            ));
            return Ok(false);
        }
        self.ensure_folder(out)?;
        self.warn_beyond_the_end(last, out);
        let first = self.trainer.step_count();
        self.say_progress(0, last - first, out);
        let stop = self.train_to(last, goal, out);
        let taken = self.trainer.step_count() - first;
        self.say_progress(taken, taken, out);
        let stop = stop?;
        let step = self.trainer.step_count();
        match stop {
            Stop::Reached => {}
            Stop::EarlyStopping => out.note(format!(
                "run {} stopped at step {step}: the last evaluations were no better than the best",
                self.definition.name
            )),
            Stop::Interrupted => {
                out.note(format!("run {} stopped at step {step}; everything is kept", self.definition.name));
            }
            Stop::Aborted => out.note(format!(
                "run {} stopped at step {step}; the step under way was dropped, everything before it is kept",
                self.definition.name
            )),
        }
        // An interrupted script ends here: what was trained must outlive it.
        let interrupted = matches!(stop, Stop::Interrupted | Stop::Aborted);
        if interrupted || !matches!(goal, Goal::Steps(_)) || self.trainer.recipe().save_every.is_some() {
            self.save_checkpoint()?;
        }
        Ok(true)
    }

    fn train_to(&mut self, last: u64, goal: &Goal, out: &mut Out) -> Result<Stop, Diagnostic> {
        let cancel = out.cancel.clone();
        let first = self.trainer.step_count();
        let mut said = Instant::now();
        if self.holds(goal) && first > 0 && self.passed_to(first) {
            return Ok(Stop::Reached);
        }
        while self.trainer.step_count() < last {
            match self.trainer.step(&cancel) {
                Ok(report) => {
                    self.took(&report, out)?;
                    if said.elapsed() > BETWEEN_PROGRESS {
                        said = Instant::now();
                        self.say_progress(report.step - first, last - first, out);
                    }
                }
                Err(TrainError::Aborted { .. }) => return Ok(Stop::Aborted),
                Err(error) => {
                    memory::trim(); // what the step took
                    return Err(train_error(&self.definition.name, &error));
                }
            }
            if self.look_around(out)? {
                return Ok(Stop::EarlyStopping);
            }
            if cancel.stop() {
                return Ok(Stop::Interrupted);
            }
            if self.holds(goal) {
                return Ok(Stop::Reached);
            }
        }
        Ok(Stop::Reached)
    }

    /// How far the statement has come; at its end `done` is `total`.
    pub(in crate::session) fn say_progress(&self, done: u64, total: u64, out: &mut Out) {
        let note = match self.record.steps.last() {
            Some(last) if done > 0 => {
                format!(
                    "loss {:.4}  {} tok/s",
                    last.loss,
                    grouped((last.tokens as f64 / last.seconds) as u64)
                )
            }
            _ => String::new(),
        };
        let task = self.definition.name.clone();
        out.emit(Event::Progress(Progress { task, done, total, unit: "steps".into(), note }));
    }

    fn last_step(&self, goal: &Goal) -> u64 {
        let (step, planned) = (self.trainer.step_count(), self.trainer.planned_steps());
        match goal {
            Goal::Steps(count) => step.saturating_add(*count),
            Goal::PlannedEnd => planned,
            Goal::Epoch(epoch) => (epoch * self.trainer.steps_per_epoch() as f64).round() as u64,
            Goal::Metric { .. } => planned,
        }
    }

    fn warn_beyond_the_end(&self, last: u64, out: &mut Out) {
        let planned = self.trainer.planned_steps();
        if last > planned {
            out.diagnostic(
                Diagnostic::warning(
                    codes::BEYOND_THE_END,
                    format!(
                        "run `{}` is planned for {} and goes on to step {last}",
                        self.definition.name,
                        counted(planned, "step")
                    ),
                )
                .note("it goes on into the next epoch at the final learning rate of the schedule"),
            );
        }
    }

    fn ensure_folder(&mut self, out: &mut Out) -> Result<(), Diagnostic> {
        if self.folder.is_none() {
            self.open_earlier_folder()?;
        }
        if self.folder.is_some() {
            return Ok(());
        }
        let mut folder = RunFolder::create(&self.definition.name, &record::experiment(self)?, out)?;
        // What came before the folder: the steps of the run that this is a fork of, and settings changed at step 0.
        for entry in self.inherited() {
            folder.record(entry)?;
        }
        self.folder = Some(folder);
        Ok(())
    }

    fn took(&mut self, report: &StepReport, out: &mut Out) -> Result<(), Diagnostic> {
        let step = Step {
            run: self.definition.name.clone(),
            step: report.step,
            loss: report.loss,
            lr: report.lr,
            grad_norm: report.grad_norm,
            tokens: report.tokens,
            seconds: report.seconds,
            epoch: report.epoch,
            planned: self.trainer.planned_steps(),
        };
        self.lineage = self.lineage.at(report.step);
        self.record.steps.push(step.clone());
        if self.held.is_due(report.step, self.trainer.bytes()) {
            self.hold();
        }
        if let Some(folder) = &mut self.folder {
            folder.record(record::step_entry(&step))?;
        }
        out.emit(Event::Step(step));
        Ok(())
    }

    /// Evaluates and saves where that is due; whether patience has run out.
    fn look_around(&mut self, out: &mut Out) -> Result<bool, Diagnostic> {
        let (step, per_epoch) = (self.trainer.step_count(), self.trainer.steps_per_epoch());
        let recipe = self.trainer.recipe().clone();
        let due = |every: Option<crate::train::recipe::Every>, last: &Due| {
            every.is_some_and(|every| every.is_due(step, per_epoch, last.at.elapsed().as_secs_f64()))
        };
        let mut patience_ended = false;
        if due(recipe.eval_every, &self.evaluated) {
            let evaluation = self.evaluate_validation(out)?;
            self.evaluated = Due::done(step);
            if evaluation.is_some() {
                let verdict = judge(&self.record.judged(&self.validation_name()), recipe.early_stopping);
                if verdict.improved && recipe.keep_best {
                    self.save_best()?;
                }
                patience_ended = verdict.stop;
            }
        }
        if due(recipe.save_every, &self.saved) {
            self.save_checkpoint()?;
        }
        Ok(patience_ended)
    }

    pub(in crate::session) fn validation_name(&self) -> String {
        format!("{}.validation", self.definition.data.name)
    }

    fn evaluate_validation(&mut self, out: &mut Out) -> Result<Option<Evaluation>, Diagnostic> {
        let part = self.dataset.part(PartName::Validation).clone();
        if part.is_empty() {
            return Ok(None);
        }
        let micro = self.trainer.recipe().batch.micro;
        let name = self.validation_name();
        let evaluation = measure(&self.definition.name, &self.policy(), &name, &part, micro, out)?;
        let Some(mut evaluation) = evaluation else { return Ok(None) };
        evaluation.step = Some(self.trainer.step_count());
        self.note_evaluation(evaluation.clone())?;
        out.emit(Event::Eval(evaluation.clone()));
        Ok(Some(evaluation))
    }

    /// Writes an evaluation into the record and the metrics.
    pub fn note_evaluation(&mut self, evaluation: Evaluation) -> Result<(), Diagnostic> {
        if let Some(folder) = &mut self.folder {
            folder.record(record::evaluation_entry(&evaluation))?;
        }
        self.record.evaluations.push(evaluation);
        Ok(())
    }

    fn holds(&self, goal: &Goal) -> bool {
        holds(goal, &self.record, &self.validation_name())
    }

    /// Draws the loss into the run's folder; at the end of `run`.
    pub fn finish(&self, out: &mut Out) -> Result<(), Diagnostic> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.path.join("loss.svg");
        let figure = curves(&["loss"], &[(self.definition.name.as_str(), &self.record)], &View::default())?;
        crate::plot::write::write(&figure, &path, &crate::plot::style::Style::default())
            .map_err(|error| Diagnostic::error(codes::PLOT, sentence(&error)))?;
        out.emit(Event::Figure { path: Some(path.display().to_string()), figure });
        Ok(())
    }
}

/// Held-out numbers of a model on a part; `None` when it was interrupted.
pub fn measure(
    model: &str,
    policy: &Policy,
    data: &str,
    part: &crate::data::dataset::Part,
    micro: usize,
    out: &mut Out,
) -> Result<Option<Evaluation>, Diagnostic> {
    let started = Instant::now();
    let task = format!("eval {model} on {data}");
    let measured = evaluate(policy, part, micro, &mut |done, total| {
        out.emit(Event::Progress(Progress {
            task: task.clone(),
            done,
            total,
            unit: "rows".into(),
            note: String::new(),
        }));
        !out.cancel.stop()
    });
    let measured = match measured {
        Ok(measured) => measured,
        Err(EvaluateError::Stopped { .. }) => return Ok(None),
        Err(error) => return Err(Diagnostic::error(codes::EVALUATION, sentence(&error))),
    };
    Ok(Some(Evaluation {
        model: model.to_string(),
        data: data.to_string(),
        loss: measured.loss,
        perplexity: measured.perplexity,
        token_accuracy: measured.token_accuracy,
        tokens: measured.tokens,
        seconds: started.elapsed().as_secs_f64(),
        step: None,
        metrics: Default::default(),
    }))
}

/// Whether the goal is reached by what was measured last.
pub(in crate::session) fn holds(goal: &Goal, record: &Record, validation: &str) -> bool {
    let Goal::Metric { name, comparison, number } = goal else { return false };
    let last_eval = || record.evaluations.iter().rev().find(|found| found.data == validation);
    let last_step = record.steps.last();
    let value = match name.as_str() {
        "loss" => last_step.map(|step| step.loss),
        "lr" => last_step.map(|step| step.lr),
        "grad_norm" => last_step.map(|step| step.grad_norm),
        "eval.loss" => last_eval().map(|found| found.loss),
        "eval.perplexity" => last_eval().map(|found| found.perplexity),
        _ => last_eval().map(|found| found.token_accuracy),
    };
    value.is_some_and(|value| comparison.holds(value, *number))
}

/// The time left at the pace of the last steps.
pub fn time_left(steps: &[Step], left: u64) -> Option<Seconds> {
    let recent = &steps[steps.len().saturating_sub(10)..];
    let mean = recent.iter().map(|step| step.seconds).sum::<f64>() / recent.len().max(1) as f64;
    (!recent.is_empty()).then_some(Seconds(mean * left as f64))
}
