//! The norm of all gradients together, and scaling them down to a largest one.

use crate::torch::kernels;
use crate::train::error::TrainError;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Elements summed in fp32 before the sums are added up in fp64.
const STRETCH: i64 = 4096;

/// The Euclidean norm over all gradients; NaN or infinite if one of them is.
pub fn gradient_norm(parameters: &BTreeMap<String, Tensor>) -> Result<f64, TrainError> {
    let _no_grad = tch::no_grad_guard();
    let all: Vec<Tensor> = gradients(parameters).map(|(.., gradient)| gradient).collect();
    if all.first().is_some_and(|gradient| gradient.device().is_cuda()) {
        let norm = kernels::norm_of_all(&all.iter().collect::<Vec<_>>())?;
        return Ok(norm.f_double_value(&[])?);
    }
    let sums = gradients(parameters).map(|(.., gradient)| sum_of_squares(&gradient));
    let sums = sums.collect::<Result<Vec<_>, _>>()?;
    if sums.is_empty() {
        return Ok(0.0);
    }
    let sum = Tensor::f_stack(&sums, 0)?.f_sum(Kind::Double)?;
    Ok(sum.f_double_value(&[])?.sqrt())
}

fn sum_of_squares(gradient: &Tensor) -> Result<Tensor, TrainError> {
    let flat = gradient.f_flatten(0, -1)?;
    let whole = flat.size()[0] / STRETCH * STRETCH;
    let norm = |part: Tensor| -> Result<Tensor, TrainError> {
        let norms = part.f_norm_scalaropt_dim(2.0, [-1i64].as_slice(), false)?;
        Ok(norms.f_to_kind(Kind::Double)?.f_square()?.f_sum(Kind::Double)?)
    };
    let rest = norm(flat.f_narrow(0, whole, flat.size()[0] - whole)?)?;
    if whole == 0 {
        return Ok(rest);
    }
    Ok(norm(flat.f_narrow(0, 0, whole)?.f_view([-1, STRETCH])?)?.f_add(&rest)?)
}

/// Scales all gradients so that a norm above `limit` becomes `limit`, as PyTorch does.
pub fn clip(parameters: &BTreeMap<String, Tensor>, norm: f64, limit: f64) -> Result<(), TrainError> {
    let scale = limit / (norm + 1e-6);
    if scale >= 1.0 {
        return Ok(());
    }
    let all: Vec<Tensor> = gradients(parameters).map(|(.., gradient)| gradient).collect();
    Ok(kernels::multiply_all(&all.iter().collect::<Vec<_>>(), scale)?)
}

/// Name, tensor and gradient of each tensor that is trained and has one.
pub fn gradients(parameters: &BTreeMap<String, Tensor>) -> impl Iterator<Item = (&String, &Tensor, Tensor)> {
    let trained = parameters.iter().filter(|(_, parameter)| parameter.requires_grad());
    let all = trained.map(|(name, parameter)| (name, parameter, parameter.grad()));
    all.filter(|(.., gradient)| gradient.defined())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn with_gradients(gradients: Vec<Tensor>) -> BTreeMap<String, Tensor> {
        let leaf = |gradient: Tensor| {
            let leaf = gradient.zeros_like().set_requires_grad(true);
            (&leaf * gradient).sum(Kind::Float).backward();
            leaf
        };
        gradients
            .into_iter()
            .enumerate()
            .map(|(index, gradient)| (index.to_string(), leaf(gradient)))
            .collect()
    }

    #[test]
    fn the_norm_is_that_of_all_gradients_to_fp32_accuracy() {
        let first = Tensor::arange(10_000, (Kind::Float, Device::Cpu)) / 7919.0;
        let second = Tensor::from_slice(&[3.0f32, -4.0]).reshape([2, 1]);
        let mut exact = 0.0;
        for tensor in [&first, &second] {
            exact += tensor.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[]);
        }
        let norm = gradient_norm(&with_gradients(vec![first, second])).unwrap();
        assert!((norm / exact.sqrt() - 1.0).abs() < 1e-7, "{norm}, not {}", exact.sqrt());
        assert_eq!(gradient_norm(&with_gradients(vec![Tensor::from_slice(&[3f32, 4.0])])).unwrap(), 5.0);
        assert_eq!(gradient_norm(&BTreeMap::new()).unwrap(), 0.0);
        let all = [Tensor::arange(10_000, (Kind::Float, Device::Cpu)), Tensor::from_slice(&[3.0f32])];
        let all: Vec<&Tensor> = all.iter().collect();
        let exact: f64 =
            all.iter().map(|x| x.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[])).sum();
        let norm = kernels::norm_of_all(&all).unwrap().double_value(&[]);
        assert!((norm / exact.sqrt() - 1.0).abs() < 1e-5, "as a GPU takes it: {norm}, not {}", exact.sqrt());
    }

    #[test]
    fn a_norm_is_not_a_number_when_a_gradient_is_not() {
        let norm = |bad: f32| gradient_norm(&with_gradients(vec![Tensor::from_slice(&[1.0, bad])])).unwrap();
        assert!(norm(f32::NAN).is_nan());
        assert_eq!(norm(f32::INFINITY), f64::INFINITY);
    }

    #[test]
    fn clipping_scales_down_and_never_up() {
        let parameters = with_gradients(vec![Tensor::from_slice(&[3f32]), Tensor::from_slice(&[4f32])]);
        clip(&parameters, 5.0, 10.0).unwrap();
        assert_eq!(gradient_norm(&parameters).unwrap(), 5.0);
        clip(&parameters, 5.0, 1.0).unwrap();
        assert!((gradient_norm(&parameters).unwrap() - 1.0).abs() < 1e-6);
    }
}
