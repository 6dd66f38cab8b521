//! The operations a block is made of: kernels of our own where they serve, libtorch's operations elsewhere.
//!
//! Both ways compute the same; the second is the oracle of the first.

use crate::torch::TorchError;
use crate::torch::kernels::{self, Linear, Weight};
use tch::{Kind, Tensor};

/// RMSNorm (Zhang and Sennrich, 2019), computed in fp32, given back in the kind of `x`.
pub fn rms_norm(x_nd: &Tensor, weight_d: &Tensor, eps: f64) -> Tensor {
    if kernels::serve(x_nd) {
        return kernels::rms_norm(x_nd, weight_d, eps);
    }
    plain::rms_norm(x_nd, weight_d, eps)
}

/// `x + residual` and its RMSNorm.
pub fn add_rms_norm(x_nd: &Tensor, residual_nd: &Tensor, weight_d: &Tensor, eps: f64) -> (Tensor, Tensor) {
    if kernels::serve(x_nd) {
        return kernels::add_rms_norm(x_nd, residual_nd, weight_d, eps);
    }
    let sum_nd = x_nd + residual_nd;
    let normed_nd = plain::rms_norm(&sum_nd, weight_d, eps);
    (sum_nd, normed_nd)
}

/// Turns the two halves of each head. `x` is `[.., t, heads, k]`, cosines and sines `[t, 1, k / 2]` or with the rows before
/// them; computed in fp32, given back in the kind of `x`.
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    if kernels::serve(x) {
        return kernels::rotate(x, cos, sin);
    }
    plain::rotate(x, cos, sin)
}

/// SwiGLU without its products (Shazeer, 2020): `silu(gate) · up`.
pub fn swiglu(gate_nf: &Tensor, up_nf: &Tensor) -> Tensor {
    if kernels::serve(gate_nf) {
        return kernels::swiglu(gate_nf, up_nf);
    }
    gate_nf.silu() * up_nf
}

/// The outputs of linear layers over one input, with their adapters; a residual is added to the one layer it is for.
pub fn linears(x: &Tensor, residual: Option<&Tensor>, layers: &[Linear], scale: f64) -> Vec<Tensor> {
    if kernels::serve_products(x) {
        return kernels::linears(x, residual, layers, scale);
    }
    layers.iter().map(|layer| plain::linear(x, residual, layer, scale)).collect()
}

/// The losses of rows of logits `[s, v]` at their targets, in nats, and how many have the target as their likeliest token.
pub fn losses(logits_sv: &Tensor, targets_s: &Tensor) -> Result<(Vec<f32>, usize), TorchError> {
    if kernels::serve(logits_sv) {
        let (losses, are_likeliest) = kernels::losses(logits_sv, targets_s);
        return counted(&losses, &are_likeliest);
    }
    plain::losses(logits_sv, targets_s)
}

/// Losses and hits, read where numbers are.
fn counted(losses: &Tensor, are_likeliest: &Tensor) -> Result<(Vec<f32>, usize), TorchError> {
    let correct = are_likeliest.f_sum(Kind::Int64)?.f_int64_value(&[])?;
    Ok((Vec::<f32>::try_from(losses)?, correct as usize))
}

/// The losses of rows of logits at their targets, and the gradient of `scale` times their sum, in the memory and the kind
/// of the logits where it can be; the losses stay on the device. With p the probabilities and y the targets it is `scale · (p - y)`.
pub fn loss_to_gradient(
    logits_sv: Tensor,
    targets_s: &Tensor,
    scale: f64,
) -> Result<(Tensor, Tensor), TorchError> {
    if kernels::serve(&logits_sv) {
        let losses = kernels::loss_to_gradient(&logits_sv, targets_s, scale);
        return Ok((losses, logits_sv));
    }
    plain::loss_to_gradient(logits_sv, targets_s, scale)
}

/// In libtorch's operations.
mod plain {
    use super::*;

    pub fn rms_norm(x_nd: &Tensor, weight_d: &Tensor, eps: f64) -> Tensor {
        let normed_nd = x_nd.to_kind(Kind::Float).rms_norm(weight_d.size(), Some(weight_d), eps);
        normed_nd.to_kind(x_nd.kind())
    }

    pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
        let halves = x.to_kind(Kind::Float).chunk(2, -1);
        let (first, second) = (&halves[0], &halves[1]);
        let turned = [first * cos - second * sin, second * cos + first * sin];
        Tensor::cat(&turned, -1).to_kind(x.kind())
    }

    /// The sums are taken inside the products, so that no tensor is made only to be added.
    pub fn linear(x: &Tensor, residual: Option<&Tensor>, layer: &Linear, scale: f64) -> Tensor {
        let weight_t = match &layer.weight {
            Weight::Plain(weight) => weight.tr(),
            Weight::Nf4(held) => held.dequantize(x.kind()).expect("its parts belong together").tr(),
        };
        let mut out = match (residual, &layer.bias) {
            (Some(residual), None) => residual.addmm(x, &weight_t),
            (Some(residual), Some(bias)) => (residual + bias).addmm(x, &weight_t),
            (None, Some(bias)) => bias.addmm(x, &weight_t),
            (None, None) => x.mm(&weight_t),
        };
        let Some((a_rd, b_dr)) = &layer.adapter else { return out };
        out.addmm_(&(x.mm(&a_rd.tr()) * scale), &b_dr.tr())
    }

    pub fn losses(logits_sv: &Tensor, targets_s: &Tensor) -> Result<(Vec<f32>, usize), TorchError> {
        let are_likeliest = logits_sv.f_argmax(-1, false)?.f_eq_tensor(targets_s)?;
        let log_sv = logits_sv.f_log_softmax(-1, Kind::Float)?;
        counted(&chosen_of(&log_sv, targets_s)?, &are_likeliest)
    }

    pub fn loss_to_gradient(
        logits_sv: Tensor,
        targets_s: &Tensor,
        scale: f64,
    ) -> Result<(Tensor, Tensor), TorchError> {
        let mut log_sv = logits_sv.f_log_softmax(-1, Kind::Float)?;
        let kind = logits_sv.kind();
        drop(logits_sv);
        let losses = chosen_of(&log_sv, targets_s)?;
        let mut difference_sv = log_sv.f_exp_()?;
        let minus_one = Tensor::f_full([targets_s.size()[0], 1], -1.0, (Kind::Float, log_sv.device()))?;
        let mut difference_sv = difference_sv.f_scatter_add_(1, &targets_s.f_unsqueeze(1)?, &minus_one)?;
        Ok((losses, difference_sv.f_mul_scalar_(scale)?.f_to_kind(kind)?))
    }

    /// The losses of the entries that belong to the targets.
    fn chosen_of(log_sv: &Tensor, targets_s: &Tensor) -> Result<Tensor, TorchError> {
        let chosen = log_sv.f_gather(1, &targets_s.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?;
        Ok(chosen.f_neg()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::random::normal;

    fn difference(left: &Tensor, right: &Tensor) -> f64 {
        (left - right).abs().max().double_value(&[])
    }

    #[test]
    fn losses_and_their_gradient_are_those_of_libtorch() {
        let (logits, targets) =
            (normal(&[9, 5000], 1), Tensor::from_slice(&[0i64, 4999, 7, 7, 100, 4096, 1, 2, 3]));
        let likely = logits.copy();
        let _ = likely.get(3).narrow(0, 7, 1).fill_(50.0);
        let (wanted, hits) = plain::losses(&likely, &targets).unwrap();
        let (got, our_hits) = losses(&likely, &targets).unwrap();
        assert_eq!((our_hits, hits), (1, 1));
        let (again, gradient) = loss_to_gradient(likely.copy(), &targets, 0.25).unwrap();
        let again = Vec::<f32>::try_from(again).unwrap();
        let (_, plain_gradient) = plain::loss_to_gradient(likely, &targets, 0.25).unwrap();
        for ((wanted, got), again) in wanted.iter().zip(&got).zip(&again) {
            assert!((wanted - got).abs() < 1e-5 && got == again, "{wanted} {got} {again}");
        }
        assert!(difference(&gradient, &plain_gradient) < 1e-6);
    }

    #[test]
    fn kernels_compute_what_libtorch_computes() {
        let (x, weight) = (normal(&[40, 48], 2), normal(&[48], 3));
        assert!(difference(&rms_norm(&x, &weight, 1e-5), &plain::rms_norm(&x, &weight, 1e-5)) < 1e-5);
        let (cos, sin) = (normal(&[10, 1, 6], 4).cos(), normal(&[10, 1, 6], 4).sin());
        let heads = x.view([4, 10, 4, 12]);
        assert!(difference(&rotate(&heads, &cos, &sin), &plain::rotate(&heads, &cos, &sin)) < 1e-5);
        let layer = Linear {
            weight: Weight::Plain(normal(&[7, 48], 5)),
            bias: Some(normal(&[7], 6)),
            adapter: Some((normal(&[2, 48], 7), normal(&[7, 2], 8))),
        };
        let residual = normal(&[40, 7], 9);
        let wanted = plain::linear(&x, Some(&residual), &layer, 0.5);
        let got = linears(&x, Some(&residual), std::slice::from_ref(&layer), 0.5);
        assert!(difference(&got[0], &wanted) < 1e-3 && got.len() == 1);
    }
}
