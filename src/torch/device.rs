//! Devices: the word of a script becomes a device; CUDA's library is opened only when it is asked for.

use crate::torch::{TorchError, memory, processor};
use crate::units::Bytes;
use std::path::Path;
use tch::{Cuda, Device};

/// The device of `auto`, `cpu`, `cuda`, `cuda:1`. `auto` is the first CUDA device that works, else the CPU.
pub fn resolve(text: &str) -> Result<Device, TorchError> {
    match text {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(cuda(0).unwrap_or(Device::Cpu)),
        "cuda" => cuda(0),
        _ => {
            let index = text.strip_prefix("cuda:").and_then(|index| index.parse().ok());
            cuda(index.ok_or_else(|| TorchError::UnknownDevice(text.to_string()))?)
        }
    }
}

/// The device as a script writes it.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_string(),
    }
}

/// One line for people: what computes and how much memory is free.
pub fn describe(device: Device) -> String {
    match device {
        Device::Cpu => {
            let free = memory::available().map_or(String::new(), |bytes| format!(", {} free", Bytes(bytes)));
            let (threads, capability) = (tch::get_num_threads(), processor::capability());
            format!("cpu: {threads} threads, {capability}{free}")
        }
        device => name(device),
    }
}

/// Why there is no CUDA device, for people.
pub fn why_no_cuda() -> String {
    match cuda(0) {
        Ok(_) => "usable".to_string(),
        Err(error) => error.to_string(),
    }
}

/// How many CUDA devices can be used; opens the library if a driver is there.
pub fn cuda_devices() -> usize {
    if open_cuda().is_err() || !Cuda::is_available() {
        return 0;
    }
    Cuda::device_count().max(0) as usize
}

fn cuda(index: usize) -> Result<Device, TorchError> {
    open_cuda()?;
    if !Cuda::is_available() {
        return Err(TorchError::NoCuda("libtorch finds a driver but no usable device".to_string()));
    }
    let found = Cuda::device_count().max(0) as usize;
    if index >= found {
        return Err(TorchError::NoSuchCuda { wanted: index, found });
    }
    Ok(Device::Cuda(index))
}

/// Opens `libtorch_cuda` for the whole process. Must come before libtorch is first asked about CUDA, since it
/// remembers the answer; so nothing else in ltune asks.
fn open_cuda() -> Result<(), TorchError> {
    if !["/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"].iter().any(|path| Path::new(path).exists()) {
        return Err(TorchError::NoCuda("no NVIDIA driver is loaded".to_string()));
    }
    let flags = libc::RTLD_NOW | libc::RTLD_GLOBAL;
    // SAFETY: dlopen of a library of the same libtorch; opening it again only counts.
    if unsafe { libc::dlopen(c"libtorch_cuda.so".as_ptr(), flags) }.is_null() {
        let beside = format!("{}/libtorch_cuda.so", env!("LTUNE_LIBTORCH"));
        let beside =
            std::ffi::CString::new(beside).map_err(|_| TorchError::NoCuda("its path is odd".to_string()))?;
        // SAFETY: as above.
        if unsafe { libc::dlopen(beside.as_ptr(), flags) }.is_null() {
            return Err(TorchError::NoCuda(format!("libtorch_cuda.so does not open ({})", last_dlerror())));
        }
    }
    Ok(())
}

fn last_dlerror() -> String {
    // SAFETY: dlerror returns null or a C string that lives until the next call on this thread.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            return "no reason given".to_string();
        }
        std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_devices_or_say_what_to_write() {
        assert_eq!(resolve("cpu").unwrap(), Device::Cpu);
        assert!(resolve("auto").is_ok());
        let error = resolve("gpu").unwrap_err().to_string();
        assert_eq!(error, "`gpu` is not a device; write `auto`, `cpu`, `cuda` or `\"cuda:1\"`");
        assert!(describe(Device::Cpu).starts_with("cpu: "));
    }
}
