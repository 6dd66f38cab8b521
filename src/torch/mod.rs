//! What tch does not give: one C++ shim, kernels for the processor, devices, memory, threads, derived randomness, fused optimizers.
//! The only room besides `files` that holds unsafe code.

pub mod cuda;
pub mod device;
pub mod frozen;
pub mod gradient;
pub mod graph;
pub mod heap;
#[cfg(test)]
pub mod imitated;
pub mod kernels;
mod library;
pub mod memory;
pub mod message;
pub mod nf4;
pub mod nvrtc;
pub mod optimizer;
pub mod processor;
pub mod random;
pub mod raw;
mod shim;

/// What can go wrong below the model. Messages of libtorch are cut to what a person can use.
#[derive(Debug, thiserror::Error)]
pub enum TorchError {
    #[error("libtorch: {0}")]
    Operation(String),
    #[error("the device ran out of memory: {0}; take a smaller micro-batch or `max_len`")]
    OutOfMemory(String),
    #[error("`{0}` is not a device; write `auto`, `cpu`, `cuda` or `\"cuda:1\"`")]
    UnknownDevice(String),
    #[error("no CUDA device can be used: {0}; write `device = cpu`, or `auto` to take what is there")]
    NoCuda(String),
    #[error("there is no `cuda:{wanted}`: this machine has {found} CUDA device(s), numbered from 0")]
    NoSuchCuda { wanted: usize, found: usize },
    #[error(
        "what a step asks of the GPU is not to be recorded as a CUDA graph ({0}); write `cuda_graph = off`"
    )]
    NotRecorded(String),
    #[error("kernels for CUDA: {0}")]
    Kernels(String),
    #[error("a tensor of shape {shape:?} in {kind} takes {needed} bytes, and {given} were given")]
    Bytes { shape: Vec<i64>, kind: String, needed: usize, given: usize },
    #[error("a file for tensors: {0}")]
    File(#[from] std::io::Error),
}

impl From<tch::TchError> for TorchError {
    fn from(error: tch::TchError) -> TorchError {
        message::error(&error.to_string())
    }
}
