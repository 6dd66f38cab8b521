//! Memory of the host: allocators set for large tensors, and what this process holds; and what is free on a device.

use crate::torch::cuda;
use crate::torch::heap::Heap;
use crate::units::Bytes;
use tch::Device;

/// Keeps freed tensor memory instead of giving it back page by page: page faults dominate large elementwise work
/// (an rms_norm of 2048 x 2048 fell from 28 to 1.9 ms). Call first thing in `main`; malloc's part acts on the main
/// thread's heap.
pub fn tune_allocator() {
    #[cfg(target_os = "linux")]
    if let Some(all) = field("/proc/meminfo", "MemTotal:") {
        Heap::install(all.saturating_mul(2).next_multiple_of(1 << 21));
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // The threshold alone will not do: glibc caps it at 32 MiB, and a block of logits is larger.
        const NO_BLOCKS: i32 = 0;
        const NEVER: i32 = i32::MAX;
        const STEP: i32 = 64 << 20;
        // SAFETY: mallopt only sets parameters of the allocator; wrong ones are ignored.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, NO_BLOCKS);
            libc::mallopt(libc::M_TRIM_THRESHOLD, NEVER);
            libc::mallopt(libc::M_TOP_PAD, STEP);
        }
    }
}

/// Gives freed memory back to the system and to GPUs: after a model or a run is dropped.
pub fn trim() {
    cuda::give_back_cached();
    if let Some(heap) = Heap::installed() {
        heap.trim();
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes of this process that lie in memory now, where the system tells.
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// The most bytes of this process that ever lay in memory, where the system tells.
pub fn peak() -> Option<u64> {
    status("VmHWM:")
}

/// Bytes of large tensors on the CPU now, and the most there were at once, where ltune serves them itself.
pub fn tensors() -> Option<(u64, u64)> {
    Heap::installed().map(Heap::held)
}

/// Bytes that new work may take without swapping, where the system tells.
pub fn available() -> Option<u64> {
    field("/proc/meminfo", "MemAvailable:")
}

/// Bytes of swap that are free, where the system tells.
pub fn swap() -> Option<u64> {
    field("/proc/meminfo", "SwapFree:")
}

/// The same as `available`, and no more than is left of `$LTUNE_MEMORY`, a limit such as `8GiB`, and of the limit of
/// the group that the process runs in.
pub fn free() -> Option<u64> {
    let used = resident().unwrap_or(0);
    let wished = std::env::var("LTUNE_MEMORY").ok().and_then(|text| Bytes::parse(&text));
    let limits = wished.map(|limit| limit.0.saturating_sub(used)).into_iter().chain(left_of_group());
    available().into_iter().chain(limits).min()
}

/// Bytes that new tensors may take on a device, where it is known: `free` on the CPU.
pub fn free_on(device: Device) -> Option<u64> {
    match device {
        Device::Cpu => free(),
        Device::Cuda(index) => cuda::memory(index).ok().map(|memory| memory.room()),
        _ => None,
    }
}

/// What a control group (version 2) still lets its processes take.
fn left_of_group() -> Option<u64> {
    let number = |name| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

fn status(name: &str) -> Option<u64> {
    field("/proc/self/status", name)
}

fn field(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_in_use_is_known_and_below_its_peak() {
        tune_allocator();
        trim();
        assert!(resident().unwrap() <= peak().unwrap());
        assert!(available().unwrap() > 0);
    }
}
