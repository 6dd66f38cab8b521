//! CUDA graphs: what was asked of a GPU while it was recorded, done again by one call.

use crate::torch::cuda::Half;
use crate::torch::{TorchError, cuda, message, shim};
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{NonNull, null_mut};

/// A recording. It reads and writes the memory that its tensors had, and keeps what it computes in between.
#[derive(Debug)]
pub struct Graph {
    held: NonNull<c_void>,
    half: &'static Half,
}

// SAFETY: libtorch's graph belongs to no thread; one thread at a time has this one.
unsafe impl Send for Graph {}

impl Graph {
    /// Records what `ask` asks of a device; nothing of it happens until it is played. While it lasts nothing may wait for
    /// the device or copy from memory of the host, and all that is asked must have been asked before outside of a
    /// recording: libtorch makes ready for some operations when they are first wanted.
    pub fn record<T, E: From<TorchError>>(
        device: usize,
        ask: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Graph, T), E> {
        let half = cuda::half()?;
        let mut held = null_mut();
        // SAFETY: the function writes one pointer.
        unsafe { shim::checked((half.begin_graph)(device as c_int, &raw mut held))? };
        let graph = Graph { held: NonNull::new(held).expect("a graph without an error"), half };
        let asked = catch_unwind(AssertUnwindSafe(ask));
        // SAFETY: the graph lives, and its recording has begun and not ended.
        let ended = unsafe { shim::checked((half.end_graph)(held)) };
        let asked = asked.unwrap_or_else(|panic| match message::of_panic(&*panic) {
            Some(error) => Err(error.into()),
            None => resume_unwind(panic),
        })?;
        ended?;
        Ok((graph, asked))
    }

    /// Does it all, in its order, after what was asked of the device before.
    pub fn play(&self) -> Result<(), TorchError> {
        // SAFETY: the graph lives.
        unsafe { shim::checked((self.half.play_graph)(self.held.as_ptr())) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: the graph lives, and nobody has it after this.
        unsafe { (self.half.free_graph)(self.held.as_ptr()) }
    }
}
