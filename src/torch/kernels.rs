//! One-pass kernels for the processor, with gradients: what libtorch computes in several passes, or in several nodes.
//!
//! Like tch's plain operations these panic when libtorch refuses; shapes are checked before.

use crate::torch::nf4::Nf4;
use crate::torch::{TorchError, shim};
use tch::{Device, Kind, Tensor};

/// A frozen weight in 4 bits, or any in floats.
#[derive(Debug)]
pub enum Weight {
    Plain(Tensor),
    Nf4(Nf4),
}

impl Weight {
    /// `[out, in]`
    pub fn size(&self) -> Vec<i64> {
        match self {
            Weight::Plain(tensor) => tensor.size(),
            Weight::Nf4(held) => held.size().to_vec(),
        }
    }
}

/// A linear layer as a product takes it. Weight `[out, in]`, bias `[out]`, adapter `[r, in]` and `[out, r]`. All are of the
/// kind of the input, but that weight and bias may be bf16 where they are frozen, and the weight nf4.
#[derive(Debug)]
pub struct Linear {
    pub weight: Weight,
    pub bias: Option<Tensor>,
    pub adapter: Option<(Tensor, Tensor)>,
}

/// Whether the kernels serve this tensor: fp32 or bf16 on the CPU.
pub fn serve(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && matches!(tensor.kind(), Kind::Float | Kind::BFloat16)
}

/// RMSNorm (Zhang and Sennrich, 2019) over the last axis, computed in fp32, given back in the kind of `x`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    // SAFETY: the handles live through the call, which fills `out` or fails.
    made(|out| unsafe { shim::checked(shim::ltune_rms_norm(x.as_ptr(), weight.as_ptr(), eps, out)) })
}

/// Turns the two halves of each head (Su et al., 2021). `x` `[.., t, heads, k]`; cosines and sines in fp32, `[t, 1, k / 2]`
/// or with the rows before them.
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    // SAFETY: as above.
    made(|out| unsafe { shim::checked(shim::ltune_rotate(x.as_ptr(), cos.as_ptr(), sin.as_ptr(), out)) })
}

/// `silu(gate) · up` (Shazeer, 2020), of one shape.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Tensor {
    // SAFETY: as above.
    made(|out| unsafe { shim::checked(shim::ltune_swiglu(gate.as_ptr(), up.as_ptr(), out)) })
}

/// The outputs of linear layers over one input `[n, in]`, each `[n, out]`: `residual + x · weightᵀ + bias + scale · x · Aᵀ · Bᵀ`.
/// A residual is for one layer alone.
pub fn linears(x: &Tensor, residual: Option<&Tensor>, layers: &[Linear], scale: f64) -> Vec<Tensor> {
    assert!(residual.is_none() || layers.len() == 1, "a residual is for one layer alone");
    let pointer = |tensor: Option<&Tensor>| tensor.map_or(std::ptr::null(), Tensor::as_ptr);
    let handles: Vec<shim::Handle> = layers
        .iter()
        .flat_map(|Linear { weight, bias, adapter }| {
            let (weight, scales, ranges) = match weight {
                Weight::Plain(weight) => (weight, None, None),
                Weight::Nf4(held) => (&held.codes, Some(&held.scales), Some(&held.ranges)),
            };
            let (a, b) = adapter.as_ref().map_or((None, None), |(a, b)| (Some(a), Some(b)));
            [Some(weight), scales, ranges, bias.as_ref(), a, b].map(pointer)
        })
        .collect();
    let mut outs = vec![std::ptr::null_mut(); layers.len()];
    // SAFETY: the handles live through the call; it fills every place of `outs` or fails.
    let result = unsafe {
        shim::checked(shim::ltune_linears(
            x.as_ptr(),
            pointer(residual),
            handles.as_ptr(),
            layers.len(),
            scale,
            outs.as_mut_ptr(),
        ))
    };
    succeed(result);
    // SAFETY: each is a fresh handle that nobody else holds.
    outs.into_iter().map(|out| unsafe { Tensor::from_ptr(out) }).collect()
}

/// The loss of each row of logits `[s, v]` at its target, in nats; the logits become the gradient of `scale` times it.
pub fn loss_to_gradient(logits: &Tensor, targets: &Tensor, scale: f64) -> Vec<f32> {
    let mut losses = vec![0.0; targets.numel()];
    // SAFETY: the handles live through the call, which writes one number a target.
    let result = unsafe {
        shim::checked(shim::ltune_loss_to_gradient(
            logits.as_ptr(),
            targets.as_ptr(),
            scale,
            losses.as_mut_ptr(),
        ))
    };
    succeed(result);
    losses
}

/// The loss of each row of logits `[s, v]` at its target, in nats, and of how many rows that is the likeliest token.
pub fn losses(logits: &Tensor, targets: &Tensor) -> (Vec<f32>, usize) {
    let (mut losses, mut are_likeliest) = (vec![0.0; targets.numel()], vec![0; targets.numel()]);
    // SAFETY: the handles live through the call, which writes one number a target into each.
    let result = unsafe {
        shim::checked(shim::ltune_losses(
            logits.as_ptr(),
            targets.as_ptr(),
            losses.as_mut_ptr(),
            are_likeliest.as_mut_ptr(),
        ))
    };
    succeed(result);
    (losses, are_likeliest.into_iter().filter(|is_likeliest| *is_likeliest == 1).count())
}

fn made(make: impl FnOnce(*mut *mut torch_sys::C_tensor) -> Result<(), TorchError>) -> Tensor {
    let mut out = std::ptr::null_mut();
    succeed(make(&raw mut out));
    // SAFETY: a fresh handle that nobody else holds.
    unsafe { Tensor::from_ptr(out) }
}

/// Panics as tch's plain operations do, so that who catches them finds libtorch's message.
fn succeed(result: Result<(), TorchError>) {
    let message = |error| match error {
        TorchError::Operation(text) | TorchError::OutOfMemory(text) => text,
        other => other.to_string(),
    };
    result.map_err(|error| tch::TchError::Torch(message(error))).expect("shapes were checked");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::random;

    fn normal(shape: &[i64], seed: u64) -> Tensor {
        let tensor = Tensor::empty(shape, (Kind::Float, Device::Cpu));
        random::fill_normal(&tensor, 0.0, 1.0, seed).unwrap();
        tensor
    }

    /// Outputs and all gradients of both ways, relative to their size.
    fn assert_same(
        what: &str,
        kind: Kind,
        inputs: &[Tensor],
        ours: impl Fn(&[Tensor]) -> Vec<Tensor>,
        plain: impl Fn(&[Tensor]) -> Vec<Tensor>,
    ) {
        let tolerance = if kind == Kind::Float { 2e-6 } else { 2e-2 };
        let run = |compute: &dyn Fn(&[Tensor]) -> Vec<Tensor>, kind: Kind| -> Vec<Tensor> {
            let leaves: Vec<Tensor> =
                inputs.iter().map(|x| x.to_kind(kind).copy().set_requires_grad(true)).collect();
            let outs = compute(&leaves);
            let seeds =
                outs.iter().zip(11..).map(|(out, seed)| normal(&out.size(), seed).to_kind(out.kind()));
            let total: Tensor = outs.iter().zip(seeds).map(|(out, seed)| (out * seed).sum(Kind::Float)).sum();
            total.backward();
            outs.iter().map(Tensor::detach).chain(leaves.iter().map(Tensor::grad)).collect()
        };
        // The plain way in double: what both should be.
        let exact = run(&plain, Kind::Double);
        for (index, (got, wanted)) in run(&ours, kind).iter().zip(&exact).enumerate() {
            let difference = (got.to_kind(Kind::Double) - wanted).norm().double_value(&[]);
            let size = wanted.norm().double_value(&[]) + 1e-9;
            assert!(difference / size < tolerance, "{what} {kind:?} {index}: {}", difference / size);
        }
    }

    const KINDS: [Kind; 2] = [Kind::Float, Kind::BFloat16];

    #[test]
    fn norms_and_their_gradients_are_those_of_the_formula() {
        for kind in KINDS {
            let inputs = [normal(&[130, 97], 1) * 3.0, normal(&[97], 2)];
            let plain = |x: &[Tensor]| {
                let factor = (x[0].square().mean_dim([-1i64].as_slice(), true, None::<Kind>) + 1e-5).rsqrt();
                vec![&x[0] * factor * &x[1]]
            };
            assert_same("norm", kind, &inputs, |x| vec![rms_norm(&x[0], &x[1], 1e-5)], plain);
        }
    }

    #[test]
    fn heads_are_turned_by_the_angle_of_their_position() {
        let (cos, sin) = (normal(&[7, 1, 8], 3).cos(), normal(&[7, 1, 8], 3).sin());
        for kind in KINDS {
            let plain = |x: &[Tensor]| {
                let (cos, sin) = (cos.to_kind(x[0].kind()), sin.to_kind(x[0].kind()));
                let half = x[0].chunk(2, -1);
                vec![Tensor::cat(&[&half[0] * &cos - &half[1] * &sin, &half[1] * &cos + &half[0] * &sin], -1)]
            };
            assert_same(
                "rotation",
                kind,
                &[normal(&[3, 7, 5, 16], 4)],
                |x| vec![rotate(&x[0], &cos, &sin)],
                plain,
            );
        }
    }

    #[test]
    fn the_gate_is_open_as_far_as_its_formula_says() {
        for kind in KINDS {
            let inputs = [normal(&[33, 130], 5) * 6.0, normal(&[33, 130], 6)];
            assert_same("gate", kind, &inputs, |x| vec![swiglu(&x[0], &x[1])], |x| vec![x[0].silu() * &x[1]]);
        }
        let extreme = Tensor::from_slice(&[-1e30f32, -200.0, 0.0, 200.0, 1e30]).view([1, 5]);
        let out = Vec::<f32>::try_from(swiglu(&extreme, &extreme.ones_like()).view(-1)).unwrap();
        assert!(out[..3].iter().all(|x| x.abs() < 1e-8) && out[3..] == [200.0, 1e30], "{out:?}");
    }

    #[test]
    fn layers_over_one_input_are_their_products_with_and_without_adapters() {
        let shapes: &[&[i64]] = &[&[20, 12], &[6, 12], &[9, 12], &[9], &[4, 12], &[9, 4], &[2, 12], &[6, 2]];
        let inputs: Vec<Tensor> = shapes.iter().zip(20..).map(|(shape, seed)| normal(shape, seed)).collect();
        let layer = |x: &[Tensor], weight: usize, bias: Option<usize>, adapter: Option<usize>| Linear {
            weight: Weight::Plain(x[weight].shallow_clone()),
            bias: bias.map(|index| x[index].shallow_clone()),
            adapter: adapter.map(|index| (x[index].shallow_clone(), x[index + 1].shallow_clone())),
        };
        let plain = |x: &Tensor, layer: &Linear| {
            let Weight::Plain(weight) = &layer.weight else { panic!("weights are floats here") };
            let out = x.mm(&weight.tr());
            let out = layer.bias.iter().fold(out, |out, bias| out + bias);
            layer.adapter.iter().fold(out, |out, (a, b)| out + x.mm(&a.tr()).mm(&b.tr()) * 0.7)
        };
        for kind in KINDS {
            let three_layers = |x: &[Tensor]| {
                [layer(x, 2, Some(3), Some(4)), layer(x, 1, None, None), layer(x, 1, None, Some(6))]
            };
            assert_same(
                "three",
                kind,
                &inputs,
                |x| linears(&x[0], None, &three_layers(x), 0.7),
                |x| three_layers(x).iter().map(|layer| plain(&x[0], layer)).collect(),
            );
        }
    }

    /// The same bits as products with the dequantised weight, forwards and backwards; the graph holds no float of it.
    #[test]
    fn layers_of_4_bits_are_those_of_their_dequantised_weights() {
        let shapes: &[&[i64]] = &[&[20, 12], &[9], &[4, 12], &[9, 4], &[20, 9]];
        let inputs: Vec<Tensor> = shapes.iter().zip(30..).map(|(shape, seed)| normal(shape, seed)).collect();
        let held = Nf4::quantize(&normal(&[9, 12], 40)).unwrap();
        for kind in KINDS {
            let run = |weight: &dyn Fn() -> Weight| -> Vec<Tensor> {
                let leaves: Vec<Tensor> =
                    inputs.iter().map(|x| x.to_kind(kind).copy().set_requires_grad(true)).collect();
                let [x, bias, a, b, residual] = &leaves[..] else { panic!("there are five") };
                let adapter = Some((a.shallow_clone(), b.shallow_clone()));
                let layer = Linear { weight: weight(), bias: Some(bias.shallow_clone()), adapter };
                let out = linears(x, Some(residual), &[layer], 0.7).swap_remove(0);
                (&out * &out).sum(Kind::Float).backward();
                leaves.iter().map(Tensor::grad).chain([out.detach()]).collect()
            };
            let whole = held.dequantize(kind).unwrap();
            let plain = run(&|| Weight::Plain(whole.shallow_clone()));
            assert_eq!(run(&|| Weight::Nf4(held.shallow_clone())), plain, "{kind:?}");
        }
    }
}
