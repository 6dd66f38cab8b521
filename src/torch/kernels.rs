//! One-pass kernels, with gradients, for the processor and for CUDA: what libtorch computes in several passes, or in several nodes.
//!
//! Like tch's plain operations these panic when libtorch refuses; shapes are checked before.

use crate::torch::nf4::Nf4;
use crate::torch::{TorchError, shim};
use std::ffi::c_int;
use tch::{Kind, Tensor};

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

/// Whether the kernels serve this tensor: fp32 or bf16, on the CPU or where those of CUDA are loaded.
pub fn serve(tensor: &Tensor) -> bool {
    // SAFETY: the handle lives through the call.
    unsafe { shim::ltune_serves(tensor.as_ptr()) != 0 }
}

/// Whether layers of products are one node here: fp32 or bf16 anywhere, since they are libtorch's own products.
pub fn serve_products(tensor: &Tensor) -> bool {
    matches!(tensor.kind(), Kind::Float | Kind::BFloat16)
}

/// RMSNorm (Zhang and Sennrich, 2019) over the last axis, computed in fp32, given back in the kind of `x`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    // SAFETY: the handles live through the call, which fills `out` or fails.
    made(|out| unsafe { shim::checked(shim::ltune_rms_norm(x.as_ptr(), weight.as_ptr(), eps, out)) })
}

/// `x + residual`, and its RMSNorm: in one pass each way.
pub fn add_rms_norm(x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> (Tensor, Tensor) {
    let mut sum = std::ptr::null_mut();
    let [x, residual, weight] = [x, residual, weight].map(Tensor::as_ptr);
    // SAFETY: as above, and it fills `sum` too.
    let normed = made(|out| unsafe {
        shim::checked(shim::ltune_add_rms_norm(x, residual, weight, eps, &raw mut sum, out))
    });
    // SAFETY: a fresh handle that nobody else holds.
    (unsafe { Tensor::from_ptr(sum) }, normed)
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

/// `left · right`, or `left · rightᵀ` if it lies turned, into `out`, where no graph is made.
pub fn product_into(out: &Tensor, left: &Tensor, right: &Tensor, turned: bool) -> Result<(), TorchError> {
    let [left, right, out] = [left, right, out].map(Tensor::as_ptr);
    // SAFETY: the handles live through the call.
    unsafe { shim::checked(shim::ltune_product(left, right, i32::from(turned), out)) }
}

/// `leftᵀ · right`, where no graph is made.
pub fn product_over_rows(left: &Tensor, right: &Tensor) -> Result<Tensor, TorchError> {
    let mut out = std::ptr::null_mut();
    // SAFETY: as above, and it fills `out` or fails.
    unsafe { shim::checked(shim::ltune_product_over_rows(left.as_ptr(), right.as_ptr(), &raw mut out))? };
    // SAFETY: a fresh handle that nobody else holds.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// The loss of each row of logits `[s, v]` at its target, in nats; the logits become the gradient of `scale` times it.
pub fn loss_to_gradient(logits: &Tensor, targets: &Tensor, scale: f64) -> Tensor {
    // SAFETY: as above.
    made(|out| unsafe {
        shim::checked(shim::ltune_loss_to_gradient(logits.as_ptr(), targets.as_ptr(), scale, out))
    })
}

/// The loss of each row of logits `[s, v]` at its target, in nats, and 1 where that is the likeliest token, else 0.
pub fn losses(logits: &Tensor, targets: &Tensor) -> (Tensor, Tensor) {
    let mut are_likeliest = std::ptr::null_mut();
    let losses = made(|out| {
        // SAFETY: as above.
        unsafe {
            shim::checked(shim::ltune_losses(logits.as_ptr(), targets.as_ptr(), out, &raw mut are_likeliest))
        }
    });
    // SAFETY: a fresh handle that nobody else holds.
    (losses, unsafe { Tensor::from_ptr(are_likeliest) })
}

/// Whether the processor has tile products of such numbers, which attention takes: of bf16 with AMX or an AMD's AVX-512, of fp32
/// with any AVX-512.
pub fn has_tiles(kind: Kind) -> bool {
    asked_of_tiles(kind, shim::ltune_has_tiles)
}

/// Whether layers and the loss multiply such numbers by them, from 32 rows on, and small factors from two: bf16, and on an AMD
/// fp32. A sum of products is then one product, whose factors are there together.
pub fn tiles_multiply(kind: Kind) -> bool {
    asked_of_tiles(kind, shim::ltune_tiles_multiply)
}

fn asked_of_tiles(kind: Kind, question: unsafe extern "C" fn(c_int) -> c_int) -> bool {
    let is_bf16 = kind == Kind::BFloat16;
    // SAFETY: both questions read what the processor has.
    (is_bf16 || kind == Kind::Float) && unsafe { question(i32::from(is_bf16)) != 0 }
}

/// Whether the processor attends to such numbers, in heads of this width, by a kernel of our own.
pub fn attends(kind: Kind, width: i64) -> bool {
    width % 16 == 0 && has_tiles(kind)
}

/// Causal attention on the processor (Dao et al., 2022). `q` `[b, t, h, k]`, keys and values `[b, t, g, k]`. Each document is
/// `(start, length)` among all `b · t` tokens, in order; what none of them holds is zero.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, documents: &[(i64, i64)]) -> Tensor {
    let tokens = q.size()[0] * q.size()[1];
    let mut end = 0;
    for (start, length) in documents {
        assert!(*start >= end && *length >= 0, "documents lie one behind the other");
        end = start + length;
    }
    assert!(
        end <= tokens && attends(q.kind(), q.size()[3]) && q.device() == tch::Device::Cpu,
        "they are all there"
    );
    let places: Vec<i64> = documents.iter().flat_map(|(start, length)| [*start, *length]).collect();
    let [q, k, v] = [q, k, v].map(Tensor::as_ptr);
    // SAFETY: the handles live through the call, every place is one of theirs, and it fills `out` or fails.
    made(|out| unsafe { shim::checked(shim::ltune_attend(q, k, v, places.as_ptr(), places.len(), out)) })
}

/// Whether documents that lie one behind the other are attended to in one call: on a GPU, in half precision.
pub fn attend_documents_serves(q: &Tensor) -> bool {
    let width = q.size().last().copied().unwrap_or_default();
    q.device().is_cuda() && matches!(q.kind(), Kind::BFloat16 | Kind::Half) && width % 8 == 0 && width <= 256
}

/// Causal attention within each document (Dao, 2023). `q` `[all, h, k]`, keys and values `[all, g, k]`; `starts` `[documents + 1]`
/// holds where each begins and where the last ends, as int32 on the device; `longest` is the length of the longest.
pub fn attend_documents(q: &Tensor, k: &Tensor, v: &Tensor, starts: &Tensor, longest: i64) -> Tensor {
    // SAFETY: as above.
    made(|out| unsafe {
        shim::checked(shim::ltune_attend_documents(
            q.as_ptr(),
            k.as_ptr(),
            v.as_ptr(),
            starts.as_ptr(),
            longest,
            out,
        ))
    })
}

/// The Euclidean norm over all tensors together, in fp64 where they lie: few launches, however many tensors.
pub fn norm_of_all(tensors: &[&Tensor]) -> Result<Tensor, TorchError> {
    let (handles, mut out) = (shim::handles(tensors), std::ptr::null_mut());
    // SAFETY: a slice of live handles; the call fills `out` or fails.
    unsafe { shim::checked(shim::ltune_norm_of_all(handles.as_ptr(), handles.len(), &raw mut out))? };
    // SAFETY: a fresh handle that nobody else holds.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Multiplies all tensors by a factor, in place.
pub fn multiply_all(tensors: &[&Tensor], factor: f64) -> Result<(), TorchError> {
    let handles = shim::handles(tensors);
    // SAFETY: a slice of live handles.
    unsafe { shim::checked(shim::ltune_multiply_all(handles.as_ptr(), handles.len(), factor)) }
}

/// nf4 with double quantisation on a GPU to numbers, which fill `out`: `codes` and `scales` of bytes, `ranges` in fp32 with the
/// mean behind the last; kernels/cuda/nf4.cu has the layout.
pub fn nf4_on_cuda(codes: &Tensor, scales: &Tensor, ranges: &Tensor, out: &Tensor) -> Result<(), TorchError> {
    let [codes, scales, ranges, out] = [codes, scales, ranges, out].map(Tensor::as_ptr);
    // SAFETY: the handles live through the call.
    unsafe { shim::checked(shim::ltune_nf4_on_cuda(codes, scales, ranges, out)) }
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
    use crate::torch::imitated::Imitation;
    use crate::torch::random::{self, normal};
    use tch::Device;

    /// Outputs and all gradients of both ways, relative to their size.
    fn assert_same(
        what: &str,
        (kind, device): (Kind, Device),
        inputs: &[Tensor],
        ours: impl Fn(&[Tensor]) -> Vec<Tensor>,
        plain: impl Fn(&[Tensor]) -> Vec<Tensor>,
    ) {
        let tolerance = if kind == Kind::Float { 2e-6 } else { 2e-2 };
        let run = |compute: &dyn Fn(&[Tensor]) -> Vec<Tensor>, kind: Kind| -> Vec<Tensor> {
            let leaf = |x: &Tensor| x.to_kind(kind).copy().to_device(device).set_requires_grad(true);
            let leaves: Vec<Tensor> = inputs.iter().map(leaf).collect();
            let outs = compute(&leaves);
            let seeds = outs
                .iter()
                .zip(11..)
                .map(|(out, seed)| normal(&out.size(), seed).to_kind(out.kind()).to_device(device));
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

    fn assert_norms(device: Device, rows: i64, width: i64) {
        for kind in KINDS {
            let inputs = [normal(&[rows, width], 1) * 3.0, normal(&[width], 2)];
            let plain = |x: &[Tensor]| {
                let factor = (x[0].square().mean_dim([-1i64].as_slice(), true, None::<Kind>) + 1e-5).rsqrt();
                vec![&x[0] * factor * &x[1]]
            };
            assert_same("norm", (kind, device), &inputs, |x| vec![rms_norm(&x[0], &x[1], 1e-5)], plain);
            let [x, weight] = &inputs;
            let inputs = [x.shallow_clone(), weight.shallow_clone(), normal(&[rows, width], 8) * 2.0];
            let plain = |x: &[Tensor]| {
                let sum = &x[0] + &x[2];
                let normed = plain(&[sum.shallow_clone(), x[1].shallow_clone()]).remove(0);
                vec![sum, normed]
            };
            let ours = |x: &[Tensor]| {
                let (sum, normed) = add_rms_norm(&x[0], &x[2], &x[1], 1e-5);
                vec![sum, normed]
            };
            assert_same("norm of a sum", (kind, device), &inputs, ours, plain);
            let alone = |x: &[Tensor]| ours(x).split_off(1);
            assert_same("norm alone", (kind, device), &inputs, alone, |x| plain(x).split_off(1));
        }
    }

    fn assert_turned(device: Device, positions: i64, heads: i64, half: i64) {
        let angles = normal(&[positions, 1, half], 3);
        let (cos, sin) = (angles.cos().to_device(device), angles.sin().to_device(device));
        for kind in KINDS {
            let plain = |x: &[Tensor]| {
                let (cos, sin) = (cos.to_kind(x[0].kind()), sin.to_kind(x[0].kind()));
                let half = x[0].chunk(2, -1);
                vec![Tensor::cat(&[&half[0] * &cos - &half[1] * &sin, &half[1] * &cos + &half[0] * &sin], -1)]
            };
            let x = normal(&[3, positions, heads, 2 * half], 4);
            assert_same("rotation", (kind, device), &[x], |x| vec![rotate(&x[0], &cos, &sin)], plain);
        }
    }

    fn assert_gates(device: Device, rows: i64, width: i64) {
        for kind in KINDS {
            let inputs = [normal(&[rows, width], 5) * 6.0, normal(&[rows, width], 6)];
            assert_same(
                "gate",
                (kind, device),
                &inputs,
                |x| vec![swiglu(&x[0], &x[1])],
                |x| vec![x[0].silu() * &x[1]],
            );
        }
        let extreme =
            Tensor::from_slice(&[-1e30f32, -200.0, 0.0, 200.0, 1e30]).view([1, 5]).to_device(device);
        let out = Vec::<f32>::try_from(swiglu(&extreme, &extreme.ones_like()).view(-1)).unwrap();
        assert!(out[..3].iter().all(|x| x.abs() < 1e-8) && out[3..] == [200.0, 1e30], "{out:?}");
    }

    /// Of rows of logits; in the second row the target is the likeliest, in the third as likely as one before it.
    fn assert_losses(device: Device, rows: i64, width: i64) {
        for kind in KINDS {
            let logits = normal(&[rows, width], 7) * 3.0;
            let targets: Vec<i64> = (0..rows).map(|row| (row * 37 + 5) % width).collect();
            let _ = logits.get(1).narrow(0, targets[1], 1).fill_(40.0);
            let _ = logits.get(2).narrow(0, targets[2], 1).fill_(40.0);
            let _ = logits.get(2).narrow(0, 1, 1).fill_(40.0);
            let targets = Tensor::from_slice(&targets).to_device(device);
            let logits = logits.to_kind(kind).to_device(device);
            let wide = logits.to_kind(Kind::Double);
            let wanted =
                wide.log_softmax(-1, Kind::Double).gather(1, &targets.unsqueeze(1), false).neg().view(-1);
            let one_hot = wide.zeros_like().scatter_value(1, &targets.unsqueeze(1), 1.0);
            let wanted_gradient = (wide.softmax(-1, Kind::Double) - one_hot) * 0.25;

            let (found, are_likeliest) = losses(&logits, &targets);
            let hits = Vec::<i64>::try_from(&are_likeliest).unwrap();
            assert_eq!((hits[1], hits[2]), (1, 0), "{hits:?}");
            let likeliest = wide.argmax(-1, false).eq_tensor(&targets).sum(Kind::Int64).int64_value(&[]);
            assert_eq!(hits.iter().sum::<i64>(), likeliest);
            let gradient = logits.copy();
            let again = loss_to_gradient(&gradient, &targets, 0.25);
            for losses in [&found, &again] {
                let difference = (losses - &wanted).abs().max().double_value(&[]);
                assert!(difference < 2e-5, "{kind:?} {width}: {difference}");
            }
            let difference = (gradient.to_kind(Kind::Double) - &wanted_gradient).norm().double_value(&[]);
            let tolerance = if kind == Kind::Float { 2e-6 } else { 5e-3 };
            let relative = difference / wanted_gradient.norm().double_value(&[]);
            assert!(relative < tolerance, "{kind:?} {width}: {relative}");
        }
    }

    #[test]
    fn norms_and_their_gradients_are_those_of_the_formula() {
        assert_norms(Device::Cpu, 130, 97);
    }

    #[test]
    fn heads_are_turned_by_the_angle_of_their_position() {
        assert_turned(Device::Cpu, 7, 5, 8);
    }

    #[test]
    fn the_gate_is_open_as_far_as_its_formula_says() {
        assert_gates(Device::Cpu, 33, 130);
    }

    #[test]
    fn losses_and_their_gradients_are_those_of_the_formula() {
        assert_losses(Device::Cpu, 9, 5000);
        assert_losses(Device::Cpu, 4, 131);
    }

    #[test]
    fn kernels_for_cuda_compute_the_same_when_they_run_on_the_processor() {
        let imitation = Imitation::begin();
        assert_all(Device::Cpu);
        assert_eq!(imitation.launched(), (34, 34), "of so many kernels each form was launched");
    }

    #[test]
    fn kernels_on_a_gpu_compute_the_same() {
        match crate::torch::device::resolve("cuda") {
            Ok(device) if serve(&Tensor::zeros([1], (Kind::Float, device))) => assert_all(device),
            Ok(device) => panic!("{}", crate::torch::device::describe(device)),
            Err(_) => println!("skipped: no CUDA device"),
        }
    }

    /// Widths that no load of 16 bytes divides, that all do, and of more packs than a block has threads.
    fn assert_all(device: Device) {
        for (rows, width) in [(70, 97), (70, 256), (3, 9000)] {
            assert_norms(device, rows, width);
        }
        assert_turned(device, 7, 5, 8);
        assert_turned(device, 5, 3, 9);
        assert_gates(device, 33, 131);
        assert_gates(device, 7, 512);
        for (rows, width) in [(4, 5000), (4, 131), (3, 9001)] {
            assert_losses(device, rows, width);
        }
        assert_nf4(device);
    }

    /// 4-bit numbers against the formulas of the two papers, in f64. The last count is odd.
    fn assert_nf4(device: Device) {
        for (kind, count) in
            [(Kind::Float, 64 * 600), (Kind::BFloat16, 64 * 600), (Kind::Float, 70), (Kind::BFloat16, 131)]
        {
            let blocks = (count as usize).div_ceil(64);
            let byte = |seed: u64, index: usize| (random::derive(seed, &[index as u64]) & 255) as u8;
            let codes: Vec<u8> = (0..(count as usize).div_ceil(2)).map(|index| byte(1, index)).collect();
            let scales: Vec<u8> = (0..blocks).map(|index| byte(3, index)).collect();
            let mut ranges: Vec<f32> =
                (0..blocks.div_ceil(256)).map(|index| 0.5 + index as f32 / 3.0).collect();
            ranges.push(0.75); // the mean
            let on_device = [&codes, &scales].map(|values| Tensor::from_slice(values).to_device(device));
            let out = Tensor::empty([count], (kind, device));
            let held = Tensor::from_slice(&ranges).to_device(device);
            nf4_on_cuda(&on_device[0], &on_device[1], &held, &out).unwrap();
            let out = Vec::<f32>::try_from(out.to_kind(Kind::Float)).unwrap();
            let tolerance = if kind == Kind::Float { 1e-6 } else { 4e-3 };
            for (index, found) in out.iter().enumerate() {
                let (byte, block) = (codes[index / 2], index / 64);
                let code = if index % 2 == 0 { byte >> 4 } else { byte & 15 };
                let scale = dynamic(scales[block]) * f64::from(ranges[block / 256]) + 0.75;
                let wanted = NORMAL_FLOAT[usize::from(code)] * scale;
                let difference = (f64::from(*found) - wanted).abs();
                assert!(difference <= tolerance * (wanted.abs() + 1e-2), "{index}: {found}, not {wanted}");
            }
        }
    }

    /// The 8-bit number of Dettmers et al., 2021: a power of ten, and within it the middle of one of 1, 2, 4 .. 64 stretches
    /// from 0.1 to 1; codes are in the order of their values, 127 is zero and 255 is one.
    fn dynamic(code: u8) -> f64 {
        match code {
            127 => 0.0,
            255 => 1.0,
            0..127 => -dynamic(254 - code),
            _ => {
                let rank = u32::from(code) - 127; // from 1
                let power = rank.ilog2();
                let (place, stretches) = (f64::from(rank - (1 << power)), f64::from(1 << power));
                10f64.powi(power as i32 - 6) * (0.1 + 0.9 * (place + 0.5) / stretches)
            }
        }
    }

    /// The numbers of the paper's appendix E.
    const NORMAL_FLOAT: [f64; 16] = [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ];

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
                (kind, Device::Cpu),
                &inputs,
                |x| linears(&x[0], None, &three_layers(x), 0.7),
                |x| three_layers(x).iter().map(|layer| plain(&x[0], layer)).collect(),
            );
        }
    }

    /// Blocks, panels and pairs that are whole and that are not; against float64.
    #[test]
    fn products_are_those_of_their_factors() {
        for (m, k, n) in
            [(1024, 576, 192), (1020, 1536, 64), (7, 9, 33), (1, 2, 64), (129, 8, 576), (100, 3100, 24)]
        {
            for kind in KINDS {
                let [left, right, turned, other] = [([m, k], 1), ([k, n], 2), ([n, k], 3), ([m, n], 4)]
                    .map(|(shape, seed)| normal(&shape, seed).to_kind(kind));
                let exact = |left: &Tensor, right: &Tensor| {
                    left.to_kind(Kind::Double).mm(&right.to_kind(Kind::Double))
                };
                let into = |right: &Tensor, turned| {
                    let out = Tensor::empty([m, n], (kind, Device::Cpu));
                    product_into(&out, &left, right, turned).unwrap();
                    out
                };
                for (what, got, wanted) in [
                    ("plain", into(&right, false), exact(&left, &right)),
                    ("turned", into(&turned, true), exact(&left, &turned.tr())),
                    ("over rows", product_over_rows(&left, &other).unwrap(), exact(&left.tr(), &other)),
                ] {
                    let difference = (got.to_kind(Kind::Double) - &wanted).norm().double_value(&[]);
                    let relative = difference / wanted.norm().double_value(&[]);
                    let tolerance = if kind == Kind::Float { 2e-6 } else { 4e-3 };
                    assert!(relative < tolerance, "{what} {kind:?} {m} {k} {n}: {relative}");
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_the_bits_of_products() {
        let [x, weight, residual] = [[300, 96], [200, 96], [300, 200]]
            .map(|shape| normal(&shape, shape[0] as u64).to_kind(Kind::BFloat16));
        let adapter = Some((normal(&[8, 96], 5), normal(&[200, 8], 6)));
        let adapter = adapter.map(|(a, b)| (a.to_kind(Kind::BFloat16), b.to_kind(Kind::BFloat16)));
        let layer = [Linear { weight: Weight::Plain(weight), bias: None, adapter }];
        let before = tch::get_num_threads();
        let all = [1, 2].map(|threads| {
            tch::set_num_threads(threads);
            linears(&x, Some(&residual), &layer, 0.5).swap_remove(0)
        });
        tch::set_num_threads(before);
        assert_eq!(all[0], all[1]);
    }

    /// A view hides the node before it, so what goes into a layer is kept; else that node makes it again.
    #[test]
    fn what_is_made_again_gives_the_gradients_of_what_is_kept() {
        let shapes: &[&[i64]] = &[&[40, 24], &[24], &[36, 24], &[24, 36], &[4, 24], &[36, 4], &[40, 24]];
        let inputs: Vec<Tensor> = shapes.iter().zip(50..).map(|(shape, seed)| normal(shape, seed)).collect();
        for kind in KINDS {
            let run = |pass: fn(Tensor) -> Tensor| -> Vec<Tensor> {
                let leaf = |x: &Tensor| x.to_kind(kind).copy().set_requires_grad(true);
                let leaves: Vec<Tensor> = inputs.iter().map(leaf).collect();
                let [x, norm, up, down, a, b, residual] = &leaves[..] else { panic!("there are seven") };
                let layer = |weight: &Tensor, adapter: Option<(&Tensor, &Tensor)>| Linear {
                    weight: Weight::Plain(weight.shallow_clone()),
                    bias: None,
                    adapter: adapter.map(|(a, b)| (a.shallow_clone(), b.shallow_clone())),
                };
                let pair = [layer(up, Some((a, b))), layer(up, None)];
                let through = |normed: Tensor| {
                    let outs = linears(&pass(normed), None, &pair, 0.5);
                    let gated = pass(swiglu(&outs[0], &outs[1]));
                    linears(&gated, Some(x), &[layer(down, None)], 0.5).swap_remove(0)
                };
                let out = through(rms_norm(x, norm, 1e-5));
                let (sum, normed) = add_rms_norm(&out, residual, norm, 1e-5);
                let out = through(normed) + sum;
                (&out * &out).sum(Kind::Float).backward();
                leaves.iter().map(Tensor::grad).chain([out.detach()]).collect()
            };
            assert_eq!(run(|x| x), run(|x| x.view_as(&x)), "{kind:?}");
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
