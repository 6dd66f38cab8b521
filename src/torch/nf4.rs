//! Weights of 4 bits: nf4 with double quantisation (Dettmers et al., 2023, arXiv 2305.14314), in the scheme of bitsandbytes.
//!
//! The layout, for kernels on every device. A matrix `[rows, columns]` is taken row by row as one line of `n` numbers:
//! - `codes`, u8 `[⌈n/2⌉]`: a code of 4 bits a number, two in a byte, the first in its high half. A code stands for one of
//!   16 values, the quantiles of a normal distribution from -1 to 1 (`code_book`).
//! - Each block of 64 numbers has a scale, the largest magnitude in it: `number = code_book[code] · scale`. The last block
//!   may be shorter. Blocks go on from one row to the next.
//! - `scales`, u8 `[⌈n/64⌉]`: the scales, less their mean, as codes of 8 bits for one of 256 values from -1 to 1 (`scale_map`).
//! - `ranges`, fp32 `[⌈n/64/256⌉ + 1]`: each group of 256 scales has a range, `scale = scale_map[code] · range + mean`, the
//!   product rounded before the sum; the mean stands behind the last range.
//!
//! That is 4.13 bits a number. Arithmetic is fp32; only the result is rounded to bf16.

use crate::torch::{TorchError, kernels, raw, shim};
use tch::{Device, Kind, Tensor};

const BLOCK: usize = 64;
const GROUP: usize = 256;

/// A matrix in nf4.
#[derive(Debug)]
pub struct Nf4 {
    rows: i64,
    columns: i64,
    pub(super) codes: Tensor,
    pub(super) scales: Tensor,
    pub(super) ranges: Tensor,
}

/// Elements of codes, scales and ranges that a matrix of so many numbers takes.
pub fn sizes(numbers: usize) -> [usize; 3] {
    let blocks = numbers.div_ceil(BLOCK);
    [numbers.div_ceil(2), blocks, blocks.div_ceil(GROUP) + 1]
}

/// Bytes that it takes.
pub fn bytes_of(numbers: usize) -> u64 {
    let [codes, scales, ranges] = sizes(numbers);
    (codes + scales + 4 * ranges) as u64
}

impl Nf4 {
    /// From a matrix of floats, on its device; the work is the processor's.
    pub fn quantize(weight: &Tensor) -> Result<Nf4, TorchError> {
        let (rows, columns) = weight.size2()?;
        let device = weight.device();
        let weight = weight.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
        let [codes, scales, ranges] = sizes(weight.numel()).map(|size| size as i64);
        let empty = |size, kind| Tensor::f_empty([size], (kind, Device::Cpu));
        let (codes, scales) = (empty(codes, Kind::Uint8)?, empty(scales, Kind::Uint8)?);
        let ranges = empty(ranges, Kind::Float)?;
        let made = [&codes, &scales, &ranges].map(Tensor::as_ptr);
        // SAFETY: the handles live through the call, which holds their sizes against each other.
        unsafe {
            shim::checked(shim::ltune_nf4_quantize(weight.as_ptr(), made[0], made[1], made[2]))?;
        }
        Nf4 { rows, columns, codes, scales, ranges }.to_device(device)
    }

    /// The matrix `[rows, columns]` as floats, in fresh memory.
    pub fn dequantize(&self, kind: Kind) -> Result<Tensor, TorchError> {
        let is_served = matches!(kind, Kind::Float | Kind::BFloat16) && kernels::serve(&self.ranges);
        if is_served { self.by_kernel(kind) } else { self.plainly(kind) }
    }

    fn by_kernel(&self, kind: Kind) -> Result<Tensor, TorchError> {
        let parts = [&self.codes, &self.scales, &self.ranges].map(Tensor::as_ptr);
        let mut out = std::ptr::null_mut();
        let is_bf16 = i32::from(kind == Kind::BFloat16);
        // SAFETY: the handles live through the call, which fills `out` with a handle of our own or fails.
        unsafe {
            let made =
                shim::ltune_nf4_dequantize(parts[0], parts[1], parts[2], self.columns, is_bf16, &raw mut out);
            shim::checked(made)?;
            Ok(Tensor::from_ptr(out))
        }
    }

    /// In libtorch's operations, on any device: the oracle of the kernels.
    fn plainly(&self, kind: Kind) -> Result<Tensor, TorchError> {
        let (numbers, device) = (self.rows * self.columns, self.codes.device());
        let bytes = self.codes.f_to_kind(Kind::Int64)?;
        let halves = [bytes.f_divide_scalar_mode(16, "floor")?, bytes.f_remainder(16)?];
        let codes = Tensor::f_stack(&halves, 1)?.f_flatten(0, -1)?.f_narrow(0, 0, numbers)?;
        let values = table(code_book(), device)?.f_index_select(0, &codes.f_to_kind(Kind::Int64)?)?;
        let groups = self.ranges.size()[0] - 1;
        let each = |values: &Tensor, times: usize, count: i64| {
            values.f_repeat_interleave_self_int(times as i64, 0, None::<i64>)?.f_narrow(0, 0, count)
        };
        let ranges = each(&self.ranges.f_narrow(0, 0, groups)?, GROUP, self.scales.size()[0])?;
        let scales = table(scale_map(), device)?.f_index_select(0, &self.scales.f_to_kind(Kind::Int64)?)?;
        let scales = scales.f_mul(&ranges)?.f_add(&self.ranges.f_narrow(0, groups, 1)?)?;
        let numbers = values.f_mul(&each(&scales, BLOCK, numbers)?)?;
        Ok(numbers.f_view([self.rows, self.columns])?.f_to_kind(kind)?)
    }

    pub fn to_device(&self, device: Device) -> Result<Nf4, TorchError> {
        let moved = [&self.codes, &self.scales, &self.ranges].map(|tensor| tensor.f_to_device(device));
        let [codes, scales, ranges] = moved;
        Ok(Nf4 { codes: codes?, scales: scales?, ranges: ranges?, ..*self })
    }

    /// `[rows, columns]`
    pub fn size(&self) -> [i64; 2] {
        [self.rows, self.columns]
    }

    pub fn bytes(&self) -> u64 {
        [&self.codes, &self.scales, &self.ranges].into_iter().map(raw::size).sum()
    }

    /// The same matrix on the same memory.
    pub fn shallow_clone(&self) -> Nf4 {
        let [codes, scales, ranges] = [&self.codes, &self.scales, &self.ranges].map(Tensor::shallow_clone);
        Nf4 { codes, scales, ranges, ..*self }
    }
}

/// The values of the codes of numbers, in order.
pub fn code_book() -> &'static [f32] {
    tables().0
}

/// The values of the codes of scales, in order.
pub fn scale_map() -> &'static [f32] {
    tables().1
}

fn tables() -> (&'static [f32], &'static [f32]) {
    let (mut code, mut map) = (std::ptr::null(), std::ptr::null());
    // SAFETY: the shim gives the addresses of constants of 16 and 256 numbers.
    unsafe {
        shim::ltune_nf4_tables(&raw mut code, &raw mut map);
        (std::slice::from_raw_parts(code, 16), std::slice::from_raw_parts(map, GROUP))
    }
}

fn table(values: &[f32], device: Device) -> Result<Tensor, TorchError> {
    Ok(Tensor::f_from_slice(values)?.f_to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::hash;
    use crate::torch::imitated::Imitation;
    use serde_json::Value;

    /// What bitsandbytes makes of `matrix` (tests/fixtures/nf4/make.py).
    fn wanted() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/nf4/bitsandbytes.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn floats(value: &Value) -> Vec<f32> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
    }

    fn bytes(value: &Value) -> Vec<u8> {
        let text = value.as_str().unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn matrix(rows: usize, columns: usize) -> Tensor {
        let mut state = 7u32;
        let mut number = |index: usize| {
            let mut total = 0f32;
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                total += (f64::from(state >> 8) / f64::from(1 << 24) - 0.5) as f32;
            }
            total * (1 + index / columns % 7) as f32
        };
        let numbers: Vec<f32> = (0..rows * columns).map(&mut number).collect();
        Tensor::from_slice(&numbers).view([rows as i64, columns as i64])
    }

    fn sha256(tensor: &Tensor) -> String {
        hash::sha256(raw::to_bytes(tensor).unwrap())
    }

    #[test]
    fn codes_and_scales_are_those_of_bitsandbytes() {
        let (wanted, weight) = (wanted(), matrix(130, 131));
        assert_eq!(sha256(&weight), wanted["weight_sha256"]);
        assert_eq!(code_book(), floats(&wanted["code"]));
        assert_eq!(scale_map(), floats(&wanted["map"]));
        let held = Nf4::quantize(&weight).unwrap();
        assert_eq!(raw::to_bytes(&held.codes).unwrap(), bytes(&wanted["codes"]));
        assert_eq!(raw::to_bytes(&held.scales).unwrap(), bytes(&wanted["scales"]));
        let ranges = Vec::<f32>::try_from(&held.ranges).unwrap();
        let wanted = [floats(&wanted["absmax"]), vec![wanted["offset"].as_f64().unwrap() as f32]].concat();
        assert!(
            ranges.iter().zip(&wanted).all(|(got, wanted)| (got / wanted - 1.0).abs() < 1e-6),
            "{ranges:?}"
        );
        assert_eq!((ranges.len(), held.bytes()), (3, bytes_of(130 * 131)));
    }

    #[test]
    fn a_matrix_comes_back_as_bitsandbytes_gives_it_back() {
        let (wanted, weight) = (wanted(), matrix(130, 131));
        let mut held = Nf4::quantize(&weight).unwrap();
        // Its mean is summed in another order, so that ranges differ by a last bit.
        let ranges = [floats(&wanted["absmax"]), vec![wanted["offset"].as_f64().unwrap() as f32]].concat();
        held.ranges = Tensor::from_slice(&ranges);
        assert_eq!(sha256(&held.dequantize(Kind::Float).unwrap()), wanted["dequantized_sha256"]);
        assert_eq!(sha256(&held.dequantize(Kind::BFloat16).unwrap()), wanted["bf16_sha256"]);
    }

    #[test]
    fn the_kernel_gives_the_bits_of_plain_operations_in_every_shape() {
        for (rows, columns) in [(1, 7), (3, 5), (1, 64), (7, 64), (9, 65), (64, 96), (257, 129)] {
            let weight = matrix(rows, columns);
            let held = Nf4::quantize(&weight).unwrap();
            for kind in [Kind::Float, Kind::BFloat16] {
                let (fast, plain) = (held.by_kernel(kind).unwrap(), held.plainly(kind).unwrap());
                assert_eq!(fast, plain, "{rows} {columns} {kind:?}");
            }
            assert_eq!(held.size(), [rows as i64, columns as i64]);
            let error = (held.dequantize(Kind::Float).unwrap() - &weight).abs().mean(Kind::Float);
            assert!(error.double_value(&[]) < 0.3, "{rows} {columns}");
        }
    }

    #[test]
    fn the_kernel_for_cuda_gives_the_bits_of_the_processor() {
        for (rows, columns) in [(3, 5), (7, 64), (257, 129)] {
            let held = Nf4::quantize(&matrix(rows, columns)).unwrap();
            for kind in [Kind::Float, Kind::BFloat16] {
                let plain = held.plainly(kind).unwrap();
                let imitation = Imitation::begin();
                let imitated = held.by_kernel(kind).unwrap();
                drop(imitation);
                assert_eq!(imitated, plain, "{rows} {columns} {kind:?}");
            }
        }
    }

    #[test]
    fn nothing_stays_nothing_and_threads_change_no_bit() {
        let zeros = Tensor::zeros([3, 70], (Kind::Float, Device::Cpu));
        let held = Nf4::quantize(&zeros).unwrap();
        assert_eq!(held.dequantize(Kind::Float).unwrap(), zeros);
        let held = |threads| {
            tch::set_num_threads(threads);
            let held = Nf4::quantize(&matrix(300, 257)).unwrap();
            (sha256(&held.codes), sha256(&held.scales), sha256(&held.dequantize(Kind::Float).unwrap()))
        };
        assert_eq!(held(1), held(2));
    }
}
