//! `ltune doctor`: what ltune runs on, and whether it is well.

use crate::events::{Event, Out, Table};
use crate::files::{cache, samples};
use crate::torch::{device, kernels, memory, processor};
use crate::units::Bytes;

/// Emits one table; nothing is fetched or written.
pub fn report(out: &mut Out) {
    let mut table = Table::new("", &["what", "found"]);
    let mut row = |what: &str, text: String| table.row([what.to_string(), text]);
    row("ltune", env!("CARGO_PKG_VERSION").to_string());
    row("libtorch", format!("{} in {}", processor::torch_version(), env!("LTUNE_LIBTORCH")));
    match processor::prepare() {
        Ok(found) => {
            row("threads", found.threads.to_string());
            row("processor", found.capability.clone());
            let by = if kernels::tiles_multiply(tch::Kind::Float) { "by tiles (AVX-512), else " } else { "" };
            row("f32 products", format!("{by}{:?}, relative error {:.1e}", found.math, found.error));
            row("bf16 products", bf16_products());
        }
        Err(error) => row("processor", crate::session::sentence(&error)),
    }
    row("cpu", device::describe(tch::Device::Cpu));
    match device::cuda_devices() {
        0 => row("cuda", device::why_no_cuda()),
        count => (0..count).for_each(|index| row("cuda", device::describe(tch::Device::Cuda(index)))),
    }
    if let Some(bytes) = memory::available() {
        row("free memory", Bytes(bytes).to_string());
    }
    match cache::folder() {
        Ok(folder) => row("cache", folder.display().to_string()),
        Err(error) => row("cache", crate::session::sentence(&error)),
    }
    let held: Vec<&str> = samples::SAMPLES
        .iter()
        .map(|sample| sample.name)
        .filter(|name| samples::cached(name).is_some())
        .collect();
    row("samples", if held.is_empty() { "none fetched yet".to_string() } else { held.join(", ") });
    out.emit(Event::Table(table));
}

/// How weights of `dtype = bf16` are multiplied on the processor.
fn bf16_products() -> String {
    match processor::multiplier_of_bf16() {
        Some(by) if kernels::has_tiles(tch::Kind::BFloat16) => format!("by tiles ({by})"),
        Some(by) => format!("by oneDNN ({by})"),
        None => "in f32, which is faster here".into(),
    }
}
