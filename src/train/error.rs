//! What can go wrong while a run is planned or trained, in words for the user.

use crate::events::Refusal;
use crate::files::FilesError;
use crate::model::ModelError;
use crate::torch::TorchError;
use std::path::PathBuf;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum TrainError {
    #[error("`{name}` is {value}; it must be {wanted}")]
    Setting { name: String, value: f64, wanted: String },

    #[error("the run has no end; give `epochs` or `steps` above zero")]
    Endless,

    #[error("`last_layers` asks for {count} layers; the model has {layers}: give 1 to {layers}")]
    LastLayers { count: usize, layers: usize },

    #[error(
        "`{pattern}` names no tensors; write `layers 0..3`, `embeddings`, `head`, `norms`, `attention`, `mlp`, \
         `all` or a tensor's name with `*`"
    )]
    Pattern { pattern: String },

    #[error(
        "`{pattern}` matches no tensor of the model; a tied head is `embeddings`, a module is `q_proj`, a tensor its \
         whole name"
    )]
    PatternMatchesNothing { pattern: String },

    #[error("`{pattern}` changes nothing: what it matches is {} before it", if *trained { "trained" } else { "not trained" })]
    PatternChangesNothing { pattern: String, trained: bool },

    #[error("`{pattern}` reaches beyond the model, whose last layer is {last}")]
    LayersOutside { pattern: String, last: usize },

    #[error("nothing is left to train; unfreeze something, for example `layers 0`")]
    NothingTrained,

    #[error(
        "`{name}` is held in 4 bits and takes no update; train adapters over it (`method = lora`), or leave `quantization` out"
    )]
    Quantized { name: String },

    #[error("there are no rows to train on; look at `data`: every row was dropped, or the part is empty")]
    NoRows,

    #[error(
        "step {step}: none of its rows has a token to learn from ({rows}); look at `loss_on` and `max_len`"
    )]
    NothingSupervised { step: u64, rows: String },

    #[error(
        "step {step}: the {what} is not a finite number; it comes from {rows}. The run is as it was after step \
         {}: lower `lr`, set `clip`, or look at these rows", step - 1
    )]
    NotFinite { what: &'static str, step: u64, rows: String },

    #[error("step {step} ran out of memory ({reason}); the run is as it was after step {}", step - 1)]
    OutOfMemory { step: u64, reason: String },

    #[error("step {step} was aborted; the run is as it was after step {}", step - 1)]
    Aborted { step: u64 },

    #[error(
        "`{setting}` cannot change on a run that has taken {step} steps; `fork` it, or begin a fresh run"
    )]
    Unchangeable { setting: &'static str, step: u64 },

    #[error(
        "the schedule `{name}` is not in this session; run its `rust` block, or add it with `own_schedule`, before training goes on"
    )]
    NoSchedule { name: String },

    #[error(
        "the schedule `{name}` gave {share} for step {step}; it must give a share of `lr`, a number from zero up"
    )]
    ScheduleGave { name: String, step: u64, share: f64 },

    #[error("the schedule `{name}` failed at step {step}: {}", refusal.why)]
    ScheduleFailed { name: String, step: u64, refusal: Refusal },

    #[error("`{}` cannot be continued from: {reason}", path.display())]
    Checkpoint { path: PathBuf, reason: String },

    #[error(
        "`{}` was made with another {what} ({then}…, now {now}…); give it the one it was made with, or begin a fresh run",
        path.display()
    )]
    OriginChanged { what: &'static str, path: PathBuf, then: String, now: String },

    #[error("cannot keep metrics in `{path}`: {source}")]
    Metrics { path: PathBuf, source: std::io::Error },

    #[error(transparent)]
    Files(#[from] FilesError),

    #[error(transparent)]
    Model(#[from] ModelError),

    #[error(transparent)]
    Torch(#[from] TorchError),
}

impl TrainError {
    /// What libtorch said when it had no memory left, if that is what this is.
    fn shortage(&self) -> Option<&str> {
        match self {
            TrainError::Torch(TorchError::OutOfMemory(reason))
            | TrainError::Model(ModelError::Torch(TorchError::OutOfMemory(reason))) => Some(reason),
            _ => None,
        }
    }

    /// The same error as one of this step, if memory was short.
    pub(super) fn of_step(self, step: u64) -> TrainError {
        match self.shortage().map(str::to_string) {
            Some(reason) => TrainError::OutOfMemory { step, reason },
            None => self,
        }
    }
}

impl From<tch::TchError> for TrainError {
    fn from(error: tch::TchError) -> TrainError {
        TrainError::Torch(TorchError::from(error))
    }
}
