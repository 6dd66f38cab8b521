//! Gradients that tch cannot ask for: backward from a given gradient, and a gradient set by hand.

use crate::torch::{TorchError, shim};
use tch::Tensor;

/// Runs backward from `outputs`, each with the gradient it is given (same shape); adds to `.grad` of the leaves.
pub fn backward(outputs: &[&Tensor], gradients: &[&Tensor]) -> Result<(), TorchError> {
    assert_eq!(outputs.len(), gradients.len(), "each output has its gradient");
    let (outputs, gradients) = (shim::handles(outputs), shim::handles(gradients));
    // SAFETY: both slices hold live handles and have the same length.
    unsafe { shim::checked(shim::ltune_backward(outputs.as_ptr(), gradients.as_ptr(), outputs.len())) }
}

/// Adds to the gradient of a leaf.
pub fn accumulate(leaf: &Tensor, gradient: &Tensor) -> Result<(), TorchError> {
    let mut held = leaf.grad();
    if held.defined() {
        let _no_grad = tch::no_grad_guard();
        let _ = held.f_add_(gradient)?;
        return Ok(());
    }
    // SAFETY: both handles live through the call.
    unsafe { shim::checked(shim::ltune_set_gradient(leaf.as_ptr(), gradient.as_ptr())) }
}

/// Drops the gradient of a leaf, and its memory.
pub fn clear(leaf: &Tensor) {
    // SAFETY: a null gradient is the shim's word for none; the handle lives through the call.
    let cleared = unsafe { shim::checked(shim::ltune_set_gradient(leaf.as_ptr(), std::ptr::null())) };
    debug_assert!(cleared.is_ok());
}

/// Whether operations build a graph on this thread.
pub fn is_enabled() -> bool {
    // SAFETY: reads a thread-local flag.
    unsafe { shim::ltune_grad_mode() != 0 }
}

/// Lets operations build graphs again: after a panic was caught, whatever it left behind.
pub fn enable() {
    // SAFETY: sets a thread-local flag.
    unsafe { shim::ltune_set_grad_mode(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn backward_takes_the_gradient_it_is_given_and_adds_up() {
        let leaf = Tensor::from_slice(&[1f32, 2.0, 3.0]).set_requires_grad(true);
        for _ in 0..2 {
            let output = &leaf * 2.0;
            backward(&[&output], &[&Tensor::from_slice(&[1f32, 10.0, 100.0])]).unwrap();
        }
        assert_eq!(Vec::<f32>::try_from(leaf.grad()).unwrap(), [4.0, 40.0, 400.0]);
        accumulate(&leaf, &Tensor::ones([3], (Kind::Float, Device::Cpu))).unwrap();
        assert_eq!(Vec::<f32>::try_from(leaf.grad()).unwrap(), [5.0, 41.0, 401.0]);
        clear(&leaf);
        assert!(!leaf.grad().defined());
        accumulate(&leaf, &Tensor::ones([3], (Kind::Float, Device::Cpu))).unwrap();
        assert_eq!(Vec::<f32>::try_from(leaf.grad()).unwrap(), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_failure_is_an_error_with_a_short_message() {
        let leaf = Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true);
        let error =
            backward(&[&(&leaf * 2.0)], &[&Tensor::from_slice(&[1f32, 1.0, 1.0])]).unwrap_err().to_string();
        assert!(error.starts_with("libtorch: ") && !error.contains("Exception raised from"), "{error}");
    }
}
