//! A run: a trainer with its record and folder. It takes steps, evaluates and saves when due, and stops when asked.

use crate::data::dataset::{Dataset, PartName};
use crate::data::shape::Shape;
use crate::data::tokenizer::Tokenizer;
use crate::evaluate::EvaluateError;
use crate::evaluate::loss::evaluate;
use crate::events::{Diagnostic, Evaluation, Event, Out, Progress, Step};
use crate::language::codes;
use crate::language::tree::Comparison;
use crate::model::base::Base;
use crate::model::llama::Policy;
use crate::session::curves::{View, curves};
use crate::session::definitions::TuneDefinition;
use crate::session::folder::RunFolder;
use crate::session::record::{self, Record};
use crate::session::{Session, sentence};
use crate::torch::processor::Processor;
use crate::train::checkpoint;
use crate::train::checkpoint::Origin;
use crate::train::error::TrainError;
use crate::train::material::Material;
use crate::train::metrics::Entry;
use crate::train::trainer::{StepReport, Trainer};
use crate::train::watch::{Judged, judge};
use crate::units::{Seconds, counted, grouped};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub struct Run {
    pub definition: Rc<TuneDefinition>,
    pub base: Arc<Base>,
    pub processor: Processor,
    pub tokenizer: Arc<Tokenizer>,
    pub dataset: Arc<Dataset>,
    pub trainer: Trainer,
    pub record: Record,
    /// From the first step on.
    pub folder: Option<RunFolder>,
    saved: Due,
    evaluated: Due,
}

/// When something that happens every so often last happened.
struct Due {
    at: Instant,
    step: Option<u64>,
}

impl Due {
    fn now() -> Due {
        Due { at: Instant::now(), step: None }
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
}

impl Run {
    /// The run at step 0: everything loaded, nothing trained.
    pub fn begin(
        session: &mut Session,
        definition: Rc<TuneDefinition>,
        out: &mut Out,
    ) -> Result<Run, Diagnostic> {
        if let Some(family) = &definition.family {
            return Err(Diagnostic::error(
                codes::FAMILY,
                format!(
                    "`{}` is a family of {}, not one run",
                    definition.name,
                    counted(family.members.len() as u64, "member")
                ),
            )
            .note(format!(
                "`plan {}` lists them; give one value for each setting to train",
                definition.name
            )));
        }
        let tokenizer = session.tokenizer(&definition.model, out)?;
        let dataset = session.dataset(&definition.data, &definition.model, out)?;
        if matches!(dataset.shape, Shape::Preference | Shape::Labelled) {
            return Err(Diagnostic::error(
                codes::NO_OBJECTIVE,
                format!("data `{}` holds {} rows, and training on them is not there yet", definition.data.name, dataset.shape.name()),
            )
            .note("`show`, `eval` and `generate` take them; to train on texts or completions, map them with `columns`"));
        }
        let processor = session.processor()?;
        session.must_fit(&definition, out)?;
        let base = session.base(&definition.model, out)?;
        let longest = dataset.part(PartName::Train).longest() as i64;
        if longest > base.config.max_position_embeddings {
            out.diagnostic(
                Diagnostic::warning(
                    codes::BEYOND_CONTEXT,
                    format!(
                        "the longest example of `{}` has {longest} tokens and model `{}` is made for {}",
                        definition.data.name, definition.model.name, base.config.max_position_embeddings
                    ),
                )
                .note(format!("write `max_len = {} tokens` or less", base.config.max_position_embeddings)),
            );
        }
        let material = Material::new(&dataset, &definition.data.specification, PartName::Train);
        let trainer = Trainer::new(base.clone(), material, definition.recipe.clone())
            .map_err(|error| train_error(&definition.name, &error))?;
        let run = Run {
            definition,
            base,
            processor,
            tokenizer,
            dataset,
            trainer,
            record: Record::default(),
            folder: None,
            saved: Due::now(),
            evaluated: Due::now(),
        };
        run.say_plan(out);
        Ok(run)
    }

    pub fn policy(&self) -> Policy<'_> {
        self.trainer.policy()
    }

    /// Steps over which the learning rate rises.
    pub fn warmup_steps(&self) -> u64 {
        let trainer = &self.trainer;
        trainer.recipe().warmup.steps(trainer.planned_steps(), trainer.steps_per_epoch())
    }

    /// Hashes of what the run is made from.
    pub fn origin(&self) -> Result<Origin, Diagnostic> {
        let base =
            self.base.hash().map_err(|error| Diagnostic::error(codes::MODEL_FILE, sentence(&error)))?;
        Ok(Origin { base, tokenizer: self.tokenizer.hash().to_string(), data: self.dataset.hash.clone() })
    }

    /// A checkpoint of this step is there.
    pub fn saved_at(&mut self, step: u64) {
        self.saved = Due { at: Instant::now(), step: Some(step) };
    }

    fn say_plan(&self, out: &mut Out) {
        let trained = self.trainer.trainables().trained_count();
        let adapter = |name: &&String| crate::model::lora::module_of(name).is_some();
        let trainables = self.trainer.trainables();
        let added: usize = trainables
            .tensors
            .iter()
            .filter(|(name, _)| adapter(name))
            .map(|(_, tensor)| tensor.numel())
            .sum();
        let total = self.base.config.parameter_count() + added as u64;
        out.note(format!(
            "run {}: trains {} of {} parameters ({:.2} %), {} an epoch, {} planned, warmup {}",
            self.definition.name,
            grouped(trained),
            grouped(total),
            100.0 * trained as f64 / total as f64,
            counted(self.trainer.steps_per_epoch(), "step"),
            counted(self.trainer.planned_steps(), "step"),
            counted(self.warmup_steps(), "step"),
        ));
    }

    /// Trains towards the goal; whether a step was taken. Whatever happens, the run is at its last whole step after it.
    pub fn train(&mut self, goal: &Goal, out: &mut Out) -> Result<bool, Diagnostic> {
        let last = self.last_step(goal);
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
        }
        // An interrupted script ends here: what was trained must outlive it.
        let interrupted = matches!(stop, Stop::Interrupted);
        if interrupted || !matches!(goal, Goal::Steps(_)) || self.definition.recipe.save_every.is_some() {
            self.save_checkpoint()?;
        }
        Ok(true)
    }

    fn train_to(&mut self, last: u64, goal: &Goal, out: &mut Out) -> Result<Stop, Diagnostic> {
        let cancel = out.cancel.clone();
        let first = self.trainer.step_count();
        let mut said = Instant::now();
        while self.trainer.step_count() < last {
            match self.trainer.step(&cancel) {
                Ok(report) => {
                    self.took(&report, out)?;
                    if said.elapsed() > BETWEEN_PROGRESS {
                        said = Instant::now();
                        self.say_progress(report.step - first, last - first, out);
                    }
                }
                Err(TrainError::Aborted { .. }) => return Ok(Stop::Interrupted),
                Err(error) => return Err(train_error(&self.definition.name, &error)),
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
    fn say_progress(&self, done: u64, total: u64, out: &mut Out) {
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
            self.folder = Some(RunFolder::create(&self.definition.name, &record::experiment(self)?, out)?);
        }
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
        if let Some(folder) = &mut self.folder {
            folder.record(Entry::Step {
                step: step.step,
                loss: step.loss,
                lr: step.lr,
                grad_norm: step.grad_norm,
                tokens: step.tokens,
                seconds: step.seconds,
                epoch: step.epoch,
            })?;
        }
        self.record.steps.push(step.clone());
        out.emit(Event::Step(step));
        Ok(())
    }

    /// Evaluates and saves where that is due; whether patience has run out.
    fn look_around(&mut self, out: &mut Out) -> Result<bool, Diagnostic> {
        let (step, per_epoch) = (self.trainer.step_count(), self.trainer.steps_per_epoch());
        let recipe = self.definition.recipe.clone();
        let due = |every: Option<crate::train::recipe::Every>, last: &Due| {
            every.is_some_and(|every| every.is_due(step, per_epoch, last.at.elapsed().as_secs_f64()))
        };
        let mut patience_ended = false;
        if due(recipe.eval_every, &self.evaluated) {
            let evaluation = self.evaluate_validation(out)?;
            self.evaluated = Due { at: Instant::now(), step: Some(step) };
            if evaluation.is_some() {
                let verdict = judge(&self.judged(), recipe.early_stopping);
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

    /// Evaluations on the validation part, which early stopping and `keep_best` go by.
    fn judged(&self) -> Vec<Judged> {
        let name = self.validation_name();
        let ours = self.record.evaluations.iter().filter(|evaluation| evaluation.data == name);
        ours.filter_map(|evaluation| Some(Judged { step: evaluation.step?, loss: evaluation.loss })).collect()
    }

    fn validation_name(&self) -> String {
        format!("{}.validation", self.definition.data.name)
    }

    fn evaluate_validation(&mut self, out: &mut Out) -> Result<Option<Evaluation>, Diagnostic> {
        let part = self.dataset.part(PartName::Validation).clone();
        if part.is_empty() {
            return Ok(None);
        }
        let micro = self.definition.recipe.batch.micro;
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
            folder.record(Entry::Eval {
                step: self.trainer.step_count(),
                data: evaluation.data.clone(),
                loss: evaluation.loss,
                perplexity: evaluation.perplexity,
                token_accuracy: evaluation.token_accuracy,
                tokens: evaluation.tokens,
                seconds: evaluation.seconds,
                metrics: evaluation.metrics.clone(),
            })?;
        }
        self.record.evaluations.push(evaluation);
        Ok(())
    }

    fn holds(&self, goal: &Goal) -> bool {
        let Goal::Metric { name, comparison, number } = goal else { return false };
        let last_eval =
            || self.record.evaluations.iter().rev().find(|found| found.data == self.validation_name());
        let last_step = self.record.steps.last();
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

    /// Writes a checkpoint of this step, if there is none yet.
    pub fn save_checkpoint(&mut self) -> Result<(), Diagnostic> {
        let step = self.trainer.step_count();
        if self.saved.step == Some(step) {
            return Ok(());
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        self.write_checkpoint(&folder.checkpoint(step))?;
        self.saved_at(step);
        Ok(())
    }

    fn save_best(&self) -> Result<(), Diagnostic> {
        let Some(folder) = &self.folder else { return Ok(()) };
        self.write_checkpoint(&folder.best())
    }

    fn write_checkpoint(&self, path: &Path) -> Result<(), Diagnostic> {
        checkpoint::write(path, &self.trainer, &self.origin()?, &self.processor, serde_json::Value::Null)
            .map_err(|error| train_error(&self.definition.name, &error))
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

/// A training error as a diagnostic of this run.
pub fn train_error(run: &str, error: &TrainError) -> Diagnostic {
    let code = match error {
        TrainError::NotFinite { .. } => codes::NOT_FINITE,
        _ => codes::TRAINING,
    };
    Diagnostic::error(code, format!("run `{run}`: {}", sentence(error)))
}

/// The time left at the pace of the last steps.
pub fn time_left(steps: &[Step], left: u64) -> Option<Seconds> {
    let recent = &steps[steps.len().saturating_sub(10)..];
    let mean = recent.iter().map(|step| step.seconds).sum::<f64>() / recent.len().max(1) as f64;
    (!recent.is_empty()).then_some(Seconds(mean * left as f64))
}
