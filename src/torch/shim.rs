//! The C functions of the shim, and how their handles and messages cross into Rust.

use crate::torch::cuda::Half;
use crate::torch::{TorchError, message};
use std::ffi::{CStr, c_char, c_double, c_int, c_void};
use tch::Tensor;
use torch_sys::C_tensor;

pub(super) type Handle = *const C_tensor;
/// A handle that the caller is to own.
pub(super) type Made = *mut C_tensor;
/// Gives a block of a heap, or null.
pub(super) type HeapTake = unsafe extern "C" fn(heap: *const c_void, bytes: usize) -> *mut c_void;
/// Takes a block back; 0 when it is not of this heap.
pub(super) type HeapGive = unsafe extern "C" fn(heap: *const c_void, block: *mut c_void) -> c_int;

unsafe extern "C" {
    pub(super) fn ltune_torch_version() -> *const c_char;
    fn ltune_free(message: *mut c_char);
    pub(super) fn ltune_backward(
        outputs: *const Handle,
        gradients: *const Handle,
        count: usize,
    ) -> *mut c_char;
    pub(super) fn ltune_set_gradient(leaf: Handle, gradient: Handle) -> *mut c_char;
    pub(super) fn ltune_fused_adamw(
        parameters: *const Handle,
        gradients: *const Handle,
        means: *const Handle,
        squares: *const Handle,
        count: usize,
        step: i64,
        lr: c_double,
        beta1: c_double,
        beta2: c_double,
        eps: c_double,
        weight_decay: c_double,
    ) -> *mut c_char;
    pub(super) fn ltune_fused_sgd(
        parameters: *const Handle,
        gradients: *const Handle,
        velocities: *const Handle,
        count: usize,
        lr: c_double,
        momentum: c_double,
        weight_decay: c_double,
        nesterov: c_int,
        first_step: c_int,
    ) -> *mut c_char;
    pub(super) fn ltune_fill_bernoulli(tensor: Handle, probability: c_double, seed: u64) -> *mut c_char;
    pub(super) fn ltune_fill_uniform(tensor: Handle, low: c_double, high: c_double, seed: u64)
    -> *mut c_char;
    pub(super) fn ltune_fill_normal(
        tensor: Handle,
        mean: c_double,
        deviation: c_double,
        seed: u64,
    ) -> *mut c_char;
    pub(super) fn ltune_set_onednn_float32(reduced: c_int) -> *mut c_char;
    pub(super) fn ltune_cpu_capability() -> *const c_char;
    pub(super) fn ltune_use_heap(heap: *const c_void, take: HeapTake, give: HeapGive);
    pub(super) fn ltune_heap() -> *const c_void;
    pub(super) fn ltune_rms_norm(x: Handle, weight: Handle, eps: c_double, out: *mut Made) -> *mut c_char;
    pub(super) fn ltune_add_rms_norm(
        x: Handle,
        residual: Handle,
        weight: Handle,
        eps: c_double,
        sum: *mut Made,
        out: *mut Made,
    ) -> *mut c_char;
    pub(super) fn ltune_rotate(x: Handle, cos: Handle, sin: Handle, out: *mut Made) -> *mut c_char;
    pub(super) fn ltune_swiglu(gate: Handle, up: Handle, out: *mut Made) -> *mut c_char;
    pub(super) fn ltune_linears(
        x: Handle,
        residual: Handle,
        layers: *const Handle,
        count: usize,
        scale: c_double,
        outs: *mut Made,
    ) -> *mut c_char;
    pub(super) fn ltune_product(left: Handle, right: Handle, turned: c_int, out: Handle) -> *mut c_char;
    pub(super) fn ltune_product_over_rows(left: Handle, right: Handle, out: *mut Made) -> *mut c_char;
    pub(super) fn ltune_nf4_quantize(
        weight: Handle,
        codes: Handle,
        scales: Handle,
        ranges: Handle,
    ) -> *mut c_char;
    pub(super) fn ltune_nf4_dequantize(
        codes: Handle,
        scales: Handle,
        ranges: Handle,
        columns: i64,
        bf16: c_int,
        out: *mut Made,
    ) -> *mut c_char;
    pub(super) fn ltune_nf4_tables(code: *mut *const f32, map: *mut *const f32);
    pub(super) fn ltune_loss_to_gradient(
        logits: Handle,
        targets: Handle,
        scale: c_double,
        losses: *mut Made,
    ) -> *mut c_char;
    pub(super) fn ltune_losses(
        logits: Handle,
        targets: Handle,
        losses: *mut Made,
        are_likeliest: *mut Made,
    ) -> *mut c_char;
    pub(super) fn ltune_nf4_on_cuda(
        codes: Handle,
        scales: Handle,
        ranges: Handle,
        out: Handle,
    ) -> *mut c_char;
    pub(super) fn ltune_has_tiles(bf16: c_int) -> c_int;
    pub(super) fn ltune_tiles_multiply(bf16: c_int) -> c_int;
    pub(super) fn ltune_attend(
        q: Handle,
        k: Handle,
        v: Handle,
        places: *const i64,
        count: usize,
        out: *mut Made,
    ) -> *mut c_char;
    pub(super) fn ltune_attend_documents(
        q: Handle,
        k: Handle,
        v: Handle,
        starts: Handle,
        longest: i64,
        out: *mut Made,
    ) -> *mut c_char;
    pub(super) fn ltune_norm_of_all(tensors: *const Handle, count: usize, out: *mut Made) -> *mut c_char;
    pub(super) fn ltune_multiply_all(tensors: *const Handle, count: usize, factor: c_double) -> *mut c_char;
    pub(super) fn ltune_use_cuda(half: *const Half);
    #[cfg(test)]
    pub(super) fn ltune_imitate_cuda(half: *const Half);
    pub(super) fn ltune_cuda() -> *const Half;
    pub(super) fn ltune_serves(x: Handle) -> c_int;
    pub(super) fn ltune_ready_for_cuda() -> *mut c_char;
    pub(super) fn ltune_grad_mode() -> c_int;
    pub(super) fn ltune_set_grad_mode(on: c_int);
}

/// The handles of tensors, in order. They live as long as the tensors are borrowed.
pub(super) fn handles(tensors: &[&Tensor]) -> Vec<Handle> {
    tensors.iter().map(|tensor| tensor.as_ptr()).collect()
}

/// Turns what a shim function returned into a result, and frees its message.
///
/// # Safety
/// `message` is null or was returned by a shim function and not freed yet.
pub(super) unsafe fn checked(message: *mut c_char) -> Result<(), TorchError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: the caller gives a message of the shim, a C string made by strdup.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    // SAFETY: as above; nothing reads it after this.
    unsafe { ltune_free(message) };
    Err(message::error(&text))
}

/// A constant C string of the shim.
///
/// # Safety
/// `text` is a constant of the shim.
pub(super) unsafe fn constant(text: *const c_char) -> String {
    // SAFETY: the caller gives a constant of the shim, which never changes.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
