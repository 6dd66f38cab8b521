//! Derived randomness: every draw comes from a seed that says where it belongs; no ambient generator is touched.

use crate::torch::{TorchError, shim};
use tch::Tensor;

/// A seed for one purpose: mixes a run's seed with the numbers that name the place (step, micro-batch, layer).
pub fn derive(seed: u64, places: &[u64]) -> u64 {
    places
        .iter()
        .fold(mix(seed ^ 0x6c74_756e_6531_0001), |state, place| mix(state ^ mix(*place).rotate_left(23)))
}

/// A number that stands for a name, the same on every machine (FNV-1a).
pub fn place(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// Fills with ones of the given probability, zeros elsewhere.
pub fn fill_bernoulli(tensor: &Tensor, probability: f64, seed: u64) -> Result<(), TorchError> {
    // SAFETY: the handle lives through the call.
    unsafe { shim::checked(shim::ltune_fill_bernoulli(tensor.as_ptr(), probability, seed)) }
}

/// Fills with numbers of [low, high).
pub fn fill_uniform(tensor: &Tensor, low: f64, high: f64, seed: u64) -> Result<(), TorchError> {
    // SAFETY: the handle lives through the call.
    unsafe { shim::checked(shim::ltune_fill_uniform(tensor.as_ptr(), low, high, seed)) }
}

/// Fills with normal numbers.
pub fn fill_normal(tensor: &Tensor, mean: f64, deviation: f64, seed: u64) -> Result<(), TorchError> {
    // SAFETY: the handle lives through the call.
    unsafe { shim::checked(shim::ltune_fill_normal(tensor.as_ptr(), mean, deviation, seed)) }
}

/// Normal numbers in fp32 on the CPU, for tests.
#[cfg(test)]
pub fn normal(shape: &[i64], seed: u64) -> Tensor {
    let tensor = Tensor::empty(shape, (tch::Kind::Float, tch::Device::Cpu));
    fill_normal(&tensor, 0.0, 1.0, seed).unwrap();
    tensor
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn seeds_differ_by_place_and_order() {
        assert_eq!(derive(42, &[1, 2]), derive(42, &[1, 2]));
        assert_ne!(derive(42, &[1, 2]), derive(42, &[2, 1]));
        assert_ne!(derive(42, &[1]), derive(43, &[1]));
        assert_ne!(derive(42, &[]), derive(42, &[0]));
    }

    #[test]
    fn a_fill_depends_on_its_seed_alone() {
        let draw = |seed| {
            let tensor = Tensor::empty([1000], (Kind::Float, Device::Cpu));
            fill_normal(&tensor, 0.0, 1.0, seed).unwrap();
            Vec::<f32>::try_from(tensor).unwrap()
        };
        let first = draw(7);
        let _ = Tensor::rand([10], (Kind::Float, Device::Cpu));
        assert_eq!(first, draw(7));
        assert_ne!(first, draw(8));
        let mask = Tensor::empty([10_000], (Kind::Float, Device::Cpu));
        fill_bernoulli(&mask, 0.9, 1).unwrap();
        let share = mask.mean(Kind::Float).double_value(&[]);
        assert!((share - 0.9).abs() < 0.02, "{share}");
        fill_uniform(&mask, -1.0, 1.0, 1).unwrap();
        assert!(mask.abs().max().double_value(&[]) <= 1.0);
    }
}
