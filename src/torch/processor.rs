//! The processor: threads, and float32 products through oneDNN where they prove accurate.

use crate::torch::{TorchError, random, shim};
use serde::Serialize;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// How float32 products are computed. Recorded in a run: it changes the last bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MathMode {
    /// oneDNN, checked to be as accurate as float32: about twice MKL's speed on an AMD with AVX-512.
    OneDnn,
    /// What PyTorch takes by default: on Intel as fast as oneDNN, and ready sooner with each product.
    Mkl,
}

/// What was set, for `doctor` and for the record of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Processor {
    pub threads: usize,
    /// `AVX512`, `AVX2`: what libtorch's own loops were compiled for and chose.
    pub capability: String,
    pub math: MathMode,
    /// Error of a float32 product in that mode, relative to its entries (root mean square).
    pub error: f64,
}

/// A float32 product through bf16 has an error of about 3e-3, a true one about 5e-7.
const ACCEPTED_ERROR: f64 = 1e-5;

/// Sets threads to the physical cores (unless `OMP_NUM_THREADS` says otherwise) and the fastest math mode that is
/// accurate. Call once, on the thread that will compute, before the first product.
pub fn prepare() -> Result<Processor, TorchError> {
    if std::env::var_os("OMP_NUM_THREADS").is_none() {
        tch::set_num_threads(physical_cores() as i32);
    }
    let (math, error) = choose_math()?;
    Ok(Processor { threads: tch::get_num_threads() as usize, capability: capability(), math, error })
}

/// Sends float32 products to oneDNN or leaves them with MKL.
pub fn set_math(mode: MathMode) -> Result<(), TorchError> {
    let reduced = i32::from(mode == MathMode::OneDnn);
    // SAFETY: sets one value of libtorch's context.
    unsafe { shim::checked(shim::ltune_set_onednn_float32(reduced)) }
}

/// What libtorch's loops use: `AVX512`, `AVX2`, `DEFAULT`.
pub fn capability() -> String {
    // SAFETY: the shim returns a constant.
    unsafe { shim::constant(shim::ltune_cpu_capability()) }
}

/// What the system calls the processor; empty where it does not say.
pub fn name() -> String {
    said_of_it("model name")
}

/// Whether it multiplies bf16 faster than fp32.
pub fn multiplies_bf16() -> bool {
    multiplier_of_bf16().is_some()
}

/// What it multiplies bf16 with, if that is faster than fp32: AMX, or on an AMD AVX-512. Intel's AVX-512 alone takes twice
/// the time of fp32 (measured), and without either libtorch imitates it.
pub fn multiplier_of_bf16() -> Option<&'static str> {
    // A plan asks for every weight; the system's answer is a file, long where there are many cores.
    static FOUND: OnceLock<Option<&str>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let flags = said_of_it("flags");
        let has = |wanted: &str| flags.split(' ').any(|flag| flag == wanted);
        if has("amx_bf16") {
            return Some("AMX");
        }
        (has("avx512_bf16") && vendor() == "AuthenticAMD").then_some("AVX-512")
    })
}

/// Who made it: `GenuineIntel`, `AuthenticAMD`; empty where the system does not say.
fn vendor() -> String {
    said_of_it("vendor_id")
}

fn said_of_it(what: &str) -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(what));
    line.and_then(|line| Some(line.split_once(':')?.1.trim().to_string())).unwrap_or_default()
}

/// The libtorch this binary was compiled against.
pub fn torch_version() -> String {
    // SAFETY: the shim returns a constant.
    unsafe { shim::constant(shim::ltune_torch_version()) }
}

fn choose_math() -> Result<(MathMode, f64), TorchError> {
    // By who made it, not by a race between the two: the same machine must choose the same each time.
    // Without AVX-512 libtorch multiplies by MKL even when told otherwise.
    if tch::utils::has_mkldnn() && vendor() != "GenuineIntel" && capability() == "AVX512" {
        set_math(MathMode::OneDnn)?;
        let error = product_error()?;
        if error < ACCEPTED_ERROR {
            return Ok((MathMode::OneDnn, error));
        }
    }
    set_math(MathMode::Mkl)?;
    Ok((MathMode::Mkl, product_error()?))
}

/// The error of the three products that training takes, against float64; the worst of them.
fn product_error() -> Result<f64, TorchError> {
    let _no_grad = tch::no_grad_guard();
    let random = |rows: i64, columns: i64, seed| {
        let tensor = Tensor::f_empty([rows, columns], (Kind::Float, Device::Cpu))?;
        random::fill_normal(&tensor, 0.0, 1.0, seed)?;
        Ok::<Tensor, TorchError>(tensor)
    };
    let (x, weight, gradient) = (random(256, 320, 1)?, random(192, 320, 2)?, random(256, 192, 3)?);
    let mut worst: f64 = 0.0;
    for (left, right) in [(&x, &weight.tr()), (&gradient, &weight), (&gradient.tr(), &x)] {
        let exact = left.f_to_kind(Kind::Double)?.f_matmul(&right.f_to_kind(Kind::Double)?)?;
        let difference = left.f_mm(right)?.f_to_kind(Kind::Double)?.f_sub(&exact)?;
        let typical = |tensor: &Tensor| tensor.square().mean(Kind::Double).sqrt().double_value(&[]);
        worst = worst.max(typical(&difference) / typical(&exact));
    }
    Ok(worst)
}

/// Cores that can compute at once: one for each set of hyper-threads this process may use.
pub fn physical_cores() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, |count| count.get());
    let mut cores = std::collections::BTreeSet::new();
    for index in 0.. {
        let path = format!("/sys/devices/system/cpu/cpu{index}/topology/thread_siblings_list");
        let Ok(siblings) = std::fs::read_to_string(path) else { break };
        cores.insert(siblings.trim().to_string());
    }
    if cores.is_empty() { allowed } else { cores.len().min(allowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_math_mode_is_accurate() {
        let processor = prepare().unwrap();
        assert!(processor.error < ACCEPTED_ERROR, "{processor:?}");
        assert!(processor.threads >= 1 && processor.threads <= physical_cores().max(1));
        assert_eq!(torch_version(), "2.11.0");
    }
}
