//! Fused optimizer updates over moments that the caller owns.

use crate::torch::{TorchError, shim};
use tch::Tensor;

/// The numbers of one AdamW update (Loshchilov and Hutter, 2019). `step` counts from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    pub step: i64,
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
}

/// The numbers of one SGD update. With `first` the velocity is set to the gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    pub lr: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    pub nesterov: bool,
    pub first: bool,
}

/// One AdamW update in place: fp32 tensors, the four slices in the same order.
pub fn adamw(
    parameters: &[&Tensor],
    gradients: &[&Tensor],
    means: &[&Tensor],
    squares: &[&Tensor],
    numbers: AdamW,
) -> Result<(), TorchError> {
    let count = parameters.len();
    assert!(
        gradients.len() == count && means.len() == count && squares.len() == count,
        "one of each a parameter"
    );
    let (parameters, gradients) = (shim::handles(parameters), shim::handles(gradients));
    let (means, squares) = (shim::handles(means), shim::handles(squares));
    let AdamW { step, lr, beta1, beta2, eps, weight_decay } = numbers;
    // SAFETY: four slices of `count` live handles.
    unsafe {
        shim::checked(shim::ltune_fused_adamw(
            parameters.as_ptr(),
            gradients.as_ptr(),
            means.as_ptr(),
            squares.as_ptr(),
            count,
            step,
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
        ))
    }
}

/// One SGD update in place. `velocities` is empty when momentum is 0.
pub fn sgd(
    parameters: &[&Tensor],
    gradients: &[&Tensor],
    velocities: &[&Tensor],
    numbers: Sgd,
) -> Result<(), TorchError> {
    let count = parameters.len();
    assert!(gradients.len() == count, "one gradient a parameter");
    assert!(velocities.len() == if numbers.momentum == 0.0 { 0 } else { count }, "one velocity a parameter");
    let (parameters, gradients) = (shim::handles(parameters), shim::handles(gradients));
    let velocities = shim::handles(velocities);
    let velocities = if velocities.is_empty() { std::ptr::null() } else { velocities.as_ptr() };
    let Sgd { lr, momentum, weight_decay, nesterov, first } = numbers;
    // SAFETY: slices of `count` live handles; null velocities are the shim's word for none.
    unsafe {
        shim::checked(shim::ltune_fused_sgd(
            parameters.as_ptr(),
            gradients.as_ptr(),
            velocities,
            count,
            lr,
            momentum,
            weight_decay,
            i32::from(nesterov),
            i32::from(first),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adamw_equals_its_formula() {
        let (parameter, gradient) = (Tensor::from_slice(&[1f32, -2.0]), Tensor::from_slice(&[0.5f32, -0.25]));
        let (mean, square) = (parameter.zeros_like(), parameter.zeros_like());
        let numbers = AdamW { step: 1, lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
        adamw(&[&parameter], &[&gradient], &[&mean], &[&square], numbers).unwrap();
        // After the first step the update is the sign of the gradient times lr, after decay.
        let expected = [1.0 * (1.0 - 0.001) - 0.1, -2.0 * (1.0 - 0.001) + 0.1];
        for (got, expected) in Vec::<f32>::try_from(&parameter).unwrap().iter().zip(expected) {
            assert!((f64::from(*got) - expected).abs() < 1e-6, "{got} {expected}");
        }
        assert!((mean.double_value(&[0]) - 0.05).abs() < 1e-7);
        assert!((square.double_value(&[0]) - 0.00025).abs() < 1e-8);
    }

    #[test]
    fn sgd_with_momentum_equals_its_formula() {
        let (parameter, gradient) = (Tensor::from_slice(&[1f32]), Tensor::from_slice(&[0.5f32]));
        let velocity = parameter.zeros_like();
        let numbers = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.0, nesterov: false, first: true };
        sgd(&[&parameter], &[&gradient], &[&velocity], numbers).unwrap();
        sgd(&[&parameter], &[&gradient], &[&velocity], Sgd { first: false, ..numbers }).unwrap();
        assert!((parameter.double_value(&[0]) - (1.0 - 0.05 - 0.1 * 0.95)).abs() < 1e-6);
        let plain = Sgd { momentum: 0.0, ..numbers };
        sgd(&[&parameter], &[&gradient], &[], plain).unwrap();
        assert!((parameter.double_value(&[0]) - (1.0 - 0.05 - 0.1 * 0.95 - 0.05)).abs() < 1e-6);
    }
}
