//! Devices: the word of a script becomes a device; CUDA's library is opened only when it is asked for.

use crate::torch::library::{Library, libtorch_folder};
use crate::torch::{TorchError, cuda, memory, processor, shim};
use crate::units::Bytes;
use std::path::Path;
use tch::{Cuda, Device, Tensor};

/// The device of `auto`, `cpu`, `cuda`, `cuda:1`. `auto` is the first CUDA device that works, else the CPU.
pub fn resolve(text: &str) -> Result<Device, TorchError> {
    match text {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(usable_cuda(0).unwrap_or(Device::Cpu)),
        "cuda" => usable_cuda(0),
        _ => {
            let index = text.strip_prefix("cuda:").and_then(|index| index.parse().ok());
            usable_cuda(index.ok_or_else(|| TorchError::UnknownDevice(text.to_string()))?)
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
        Device::Cuda(index) => cuda::line(index).unwrap_or_else(|error| error.to_string()),
        device => name(device),
    }
}

/// Brings a tensor of the host to a device. To a GPU through pinned memory, so that nobody waits for the copy: what is
/// asked of the GPU later comes after it.
pub fn put(tensor: &Tensor, device: Device) -> Result<Tensor, TorchError> {
    match device {
        Device::Cuda(_) => {
            Ok(tensor.f_pin_memory(device)?.f_internal_to_copy((tensor.kind(), device), true)?)
        }
        _ => Ok(tensor.f_to_device(device)?),
    }
}

/// Why there is no CUDA device, for people.
pub fn why_no_cuda() -> String {
    match usable_cuda(0) {
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

fn usable_cuda(index: usize) -> Result<Device, TorchError> {
    open_cuda()?;
    if !Cuda::is_available() {
        return Err(TorchError::NoCuda("libtorch finds a driver but no usable device".to_string()));
    }
    let found = Cuda::device_count().max(0) as usize;
    if index >= found {
        return Err(TorchError::NoSuchCuda { wanted: index, found });
    }
    // Without the kernels libtorch's own operations serve; `doctor` says why they are not there.
    let _ = cuda::load_kernels(index);
    Ok(Device::Cuda(index))
}

/// Opens `libtorch_cuda` and our half beside it for the whole process. Must come before libtorch is first asked about CUDA, since it
/// remembers the answer; so nothing else in ltune asks.
fn open_cuda() -> Result<(), TorchError> {
    if !["/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"].iter().any(|path| Path::new(path).exists()) {
        return Err(TorchError::NoCuda("no NVIDIA driver is loaded".to_string()));
    }
    // SAFETY: sets values of libtorch's own, before it first asks CUDA anything.
    unsafe { shim::checked(shim::ltune_ready_for_cuda())? };
    let beside = libtorch_folder().join("libtorch_cuda.so");
    Library::open(Path::new("libtorch_cuda.so"))
        .or_else(|_| Library::open(&beside))
        .map_err(|why| TorchError::NoCuda(format!("libtorch_cuda.so does not open ({why})")))?;
    cuda::open()
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
