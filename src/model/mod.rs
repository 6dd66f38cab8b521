//! Llama: its configuration, weights, adapters, forward pass, loss and export.
//!
//! Axes, as suffixes of tensor names:
//! - `b` rows of a micro-batch, `t` positions of a row, `n` all positions (`b·t`)
//! - `d` width (`hidden_size`), `f` width of the MLP, `v` vocabulary
//! - `h` query heads, `g` key and value heads, `k` width of a head
//! - `r` rank of an adapter, `s` supervised positions
//!
//! Weights are `[out, in]`, as in the checkpoint; activations keep all positions in one axis, `x_nd`, outside attention.

pub mod attention;
pub mod base;
pub mod cache;
pub mod config;
pub mod config_gguf;
pub mod export;
pub mod llama;
pub mod load;
pub mod lora;
pub mod loss;
pub mod operations;
pub mod peft;
pub mod preset;
pub mod recomputed;
pub mod recorded;
pub mod rope;
pub mod trainables;

#[cfg(test)]
pub mod fixtures;
#[cfg(test)]
mod reference;

use crate::files::FilesError;
use crate::torch::TorchError;
use std::path::PathBuf;

/// What can go wrong with a model, told with its next step.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Torch(#[from] TorchError),
    #[error("`{}` is not JSON: {reason}", path.display())]
    Json { path: PathBuf, reason: String },
    #[error("`{}` is neither a Hugging Face folder with `config.json` nor a `.gguf` file", path.display())]
    NotAModel { path: PathBuf },
    #[error("the model's configuration has no `{field}`")]
    ConfigMissing { field: &'static str },
    #[error("the model's `{field}` is `{found}`; {wanted}")]
    ConfigValue { field: &'static str, found: String, wanted: String },
    #[error("the model's weights have no tensor `{name}`, which its configuration calls for")]
    TensorMissing { name: String },
    #[error("tensor `{name}` has shape {found:?}; the configuration calls for {wanted:?}")]
    TensorShape { name: String, found: Vec<i64>, wanted: Vec<i64> },
    #[error("tensor `{name}` holds {found}; weights are F32, F16, BF16 or F64")]
    TensorKind { name: String, found: &'static str },
    #[error("the model has no tensor `{name}`")]
    NoSuchTensor { name: String },
    #[error("`{target}` is not a linear layer of the model; targets are {known}")]
    NoSuchTarget { target: String, known: String },
    #[error("rank {rank} is above the smaller side ({side}) of `{module}`; take a rank of at most {side}")]
    RankTooLarge { rank: i64, side: i64, module: String },
    #[error("rank {rank} is not possible; take a whole number from 1")]
    RankTooSmall { rank: i64 },
    #[error("the adapter in `{}` {reason}", path.display())]
    Adapter { path: PathBuf, reason: String },
    #[error(
        "token {id} is outside the model's vocabulary of {vocabulary}; the tokenizer does not fit the model"
    )]
    TokenOutside { id: i64, vocabulary: i64 },
    #[error("`{scaling}` RoPE scaling cannot be written to a Hugging Face folder; save the adapter instead")]
    ExportScaling { scaling: String },
    #[error("what was written to `{}` gives other logits than the model in memory (difference {relative:.1e}, at most {accepted:.0e} is rounding); do not use it", path.display())]
    ExportDiffers { path: PathBuf, relative: f64, accepted: f64 },
    #[error("stopped while {doing}; nothing was changed")]
    Stopped { doing: &'static str },
}

impl From<tch::TchError> for ModelError {
    fn from(error: tch::TchError) -> ModelError {
        ModelError::Torch(error.into())
    }
}
