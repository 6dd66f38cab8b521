//! What can go wrong while a run is planned or trained, in words for the user.

use crate::files::FilesError;
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

    #[error("`{pattern}` matches no tensor of this run; `show` lists them, and a tied head is `embeddings`")]
    PatternMatchesNothing { pattern: String },

    #[error("`{pattern}` reaches beyond the model, whose last layer is {last}")]
    LayersOutside { pattern: String, last: usize },

    #[error("nothing is left to train; unfreeze something, for example `layers 0`")]
    NothingTrained,

    #[error("cannot keep metrics in `{path}`: {source}")]
    Metrics { path: PathBuf, source: std::io::Error },

    #[error(transparent)]
    Files(#[from] FilesError),

    #[error(transparent)]
    Torch(#[from] TorchError),
}

impl From<tch::TchError> for TrainError {
    fn from(error: tch::TchError) -> TrainError {
        TrainError::Torch(TorchError::from(error))
    }
}
