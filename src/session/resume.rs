//! Taking a run up from a checkpoint: only on the weights, tokenizer and data that it was made with.

use crate::events::{Diagnostic, Evaluation, Out, Step};
use crate::language::codes;
use crate::session::folder::RunFolder;
use crate::session::record::Record;
use crate::session::run::{Run, train_error};
use crate::session::{Session, sentence};
use crate::train::checkpoint::{self, Conditions};
use crate::train::metrics::{self, Entry};
use std::path::{Path, PathBuf};

impl Session {
    /// Binds the run as a checkpoint of `from` left it: a run's folder (then its last checkpoint), or a checkpoint.
    pub fn resume(&mut self, name: &str, from: &Path, out: &mut Out) -> Result<(), Diagnostic> {
        let checkpoint = newest_checkpoint(from)?;
        let definition = self.tune(name)?;
        let processor = self.processor()?;
        let mut run = Run::begin(self, definition, out)?;
        let origin = run.origin()?;
        let (mut trainer, state) =
            checkpoint::read(&checkpoint, run.base.clone(), run.trainer.material().clone(), &origin)
                .map_err(|error| train_error(name, &error))?;
        let wanted = run.trainer.recipe().clone(); // with an adapter's shape as its folder gives it
        let changed = *trainer.recipe() != wanted;
        if changed {
            trainer.amend(wanted).map_err(|error| train_error(name, &error))?;
        }
        let step = trainer.step_count();
        run.trainer = trainer;
        run.record = record(&checkpoint, name, step, run.trainer.planned_steps())?;
        // Its own folder is gone on with; from another one the run starts a folder of its own.
        let own = RunFolder::path_of(name);
        if checkpoint.starts_with(&own) {
            self.runs.remove(name); // gives its lock on the folder back
            let mut folder = RunFolder::open(&own)?;
            folder.turn("resume", step)?;
            run.folder = Some(folder);
        }
        run.saved_at(step);
        out.note(format!("run {name}: taken up at step {step} from {}", checkpoint.display()));
        if changed {
            out.note(format!(
                "run {name}: its settings differ from the checkpoint's; the new ones hold from step {}",
                step + 1
            ));
        }
        for difference in state.conditions.differences(&Conditions::now(&run.base, &processor)) {
            out.diagnostic(
                Diagnostic::warning(codes::CONDITIONS, format!("run `{name}`: {difference}")).note(
                    "numbers go on from the checkpoint exactly, but may differ in the last bits from here",
                ),
            );
        }
        self.runs.insert(name.to_string(), run);
        self.outline.name_run(name);
        Ok(())
    }
}

/// The checkpoint itself, or the one of the highest step in a run's folder.
fn newest_checkpoint(from: &Path) -> Result<PathBuf, Diagnostic> {
    if from.join(checkpoint::STATE).is_file() {
        return Ok(from.to_path_buf());
    }
    let folder =
        if from.join("checkpoints").is_dir() { from.join("checkpoints") } else { from.to_path_buf() };
    let step_of =
        |path: &Path| -> Option<u64> { path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok() };
    let entries = std::fs::read_dir(&folder).map_err(|error| {
        Diagnostic::error(
            codes::FILE,
            format!("cannot read `{}`: {}", folder.display(), crate::files::plain(&error)),
        )
    })?;
    let found = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        Some((step_of(&path)?, path))
    });
    found.max_by_key(|(step, _)| *step).map(|(_, path)| path).ok_or_else(|| {
        Diagnostic::error(codes::FILE, format!("there is no checkpoint in `{}`", from.display()))
            .note("checkpoints are written at the end of `run`, and every `save_every`")
    })
}

/// The living branch up to the step, from the metrics beside the checkpoint.
fn record(checkpoint: &Path, run: &str, step: u64, planned: u64) -> Result<Record, Diagnostic> {
    let mut record = Record::default();
    let Some(folder) = checkpoint.ancestors().find(|folder| folder.join(metrics::FILE).is_file()) else {
        return Ok(record);
    };
    let history = metrics::read(folder).map_err(|error| Diagnostic::error(codes::FILE, sentence(&error)))?;
    for row in history.living() {
        match row.entry.clone() {
            Entry::Step { step: at, loss, lr, grad_norm, tokens, seconds, epoch } if at <= step => {
                record.steps.push(Step {
                    run: run.into(),
                    step: at,
                    loss,
                    lr,
                    grad_norm,
                    tokens,
                    seconds,
                    epoch,
                    planned,
                });
            }
            Entry::Eval { step: at, data, loss, perplexity, token_accuracy, tokens, seconds, metrics }
                if at <= step =>
            {
                record.evaluations.push(Evaluation {
                    model: run.into(),
                    data,
                    loss,
                    perplexity,
                    token_accuracy,
                    tokens,
                    seconds,
                    step: Some(at),
                    metrics,
                });
            }
            _ => {}
        }
    }
    Ok(record)
}
