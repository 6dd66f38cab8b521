//! The CUDA half of the shim, a library of its own inside this binary: opened after `libtorch_cuda`, whose symbols it
//! takes. Memory of devices, and the kernels of `kernels/cuda`, compiled for the device that is there.

use crate::torch::library::Library;
use crate::torch::{TorchError, nvrtc, shim};
use crate::units::Bytes;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::Write;

/// The library; empty where NVIDIA's headers were not there when ltune was built.
const HALF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libltune_cuda.so"));

/// The first fields of `CudaHalf` in `cuda/half.h`; those that follow are for the other half.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Half {
    memory: unsafe extern "C" fn(device: c_int, bytes: *mut i64) -> *mut c_char,
    forget_peak: unsafe extern "C" fn(device: c_int) -> *mut c_char,
    give_back_cached: unsafe extern "C" fn() -> *mut c_char,
    describe: unsafe extern "C" fn(
        device: c_int,
        name: *mut c_char,
        size: usize,
        major: *mut c_int,
        minor: *mut c_int,
    ) -> *mut c_char,
    load: unsafe extern "C" fn(device: c_int, cubin: *const c_void) -> *mut c_char,
    pub(super) begin_graph: unsafe extern "C" fn(device: c_int, graph: *mut *mut c_void) -> *mut c_char,
    pub(super) end_graph: unsafe extern "C" fn(graph: *mut c_void) -> *mut c_char,
    pub(super) play_graph: unsafe extern "C" fn(graph: *mut c_void) -> *mut c_char,
    pub(super) free_graph: unsafe extern "C" fn(graph: *mut c_void),
}

/// Memory of one device, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In tensors, now and at the most since the peak was forgotten.
    pub allocated: u64,
    pub most_allocated: u64,
    /// Held by libtorch for tensors, now and at the most.
    pub reserved: u64,
    pub most_reserved: u64,
    /// Free on the device, for any process.
    pub free: u64,
    pub all: u64,
}

impl Memory {
    /// What new tensors may take: what is free, and what libtorch holds without using it.
    pub fn room(&self) -> u64 {
        self.free + self.reserved.saturating_sub(self.allocated)
    }
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub name: String,
    /// Major and minor, as in 9.0.
    pub capability: (i32, i32),
}

/// Opens the half for the whole process; `libtorch_cuda` is open already.
pub(super) fn open() -> Result<(), TorchError> {
    if half().is_ok() {
        return Ok(());
    }
    if HALF.is_empty() {
        return Err(TorchError::NoCuda(
            "ltune was built without its CUDA half, since NVIDIA's headers were not there; run `scripts/ltune`, which fetches them and builds it"
                .to_string(),
        ));
    }
    let library = open_embedded(HALF)?;
    type Give = unsafe extern "C" fn() -> *const Half;
    // SAFETY: the library exports one function, which gives a constant of that type.
    unsafe { shim::ltune_use_cuda(library.function::<Give>(c"ltune_cuda_half")?()) };
    Ok(())
}

/// Opens a library from memory: from a file that nobody else sees and that is gone afterwards.
fn open_embedded(bytes: &[u8]) -> Result<Library, TorchError> {
    let failed = |reason: String| TorchError::NoCuda(format!("its half of ltune does not open ({reason})"));
    let mut file = tempfile::Builder::new()
        .prefix("ltune-cuda")
        .suffix(".so")
        .tempfile()
        .map_err(|error| failed(error.to_string()))?;
    file.write_all(bytes).map_err(|error| failed(error.to_string()))?;
    Library::open(file.path()).map_err(failed)
}

pub(super) fn half() -> Result<&'static Half, TorchError> {
    // SAFETY: null, or the constant that `open` gave, which lives as long as the process.
    unsafe { shim::ltune_cuda().as_ref() }.ok_or_else(|| TorchError::NoCuda("it was not opened".to_string()))
}

/// The memory of a device.
pub fn memory(device: usize) -> Result<Memory, TorchError> {
    let mut bytes = [0i64; 6];
    // SAFETY: the function writes six numbers.
    unsafe { shim::checked((half()?.memory)(device as c_int, bytes.as_mut_ptr()))? };
    let [allocated, reserved, most_allocated, most_reserved, free, all] =
        bytes.map(|bytes| bytes.max(0) as u64);
    Ok(Memory { allocated, most_allocated, reserved, most_reserved, free, all })
}

/// Begins the peaks anew.
pub fn forget_peak(device: usize) -> Result<(), TorchError> {
    // SAFETY: a call without pointers.
    unsafe { shim::checked((half()?.forget_peak)(device as c_int)) }
}

/// Gives memory that libtorch holds without using it back to the devices, if any is open.
pub fn give_back_cached() {
    if let Ok(half) = half() {
        // SAFETY: a call without pointers.
        let given = unsafe { shim::checked((half.give_back_cached)()) };
        debug_assert!(given.is_ok());
    }
}

/// What a device is called and can do.
pub fn describe(device: usize) -> Result<Description, TorchError> {
    let (mut name, mut major, mut minor) = ([0 as c_char; 256], 0, 0);
    // SAFETY: the function writes a C string of at most so many bytes, and two numbers.
    unsafe {
        let told = (half()?.describe)(
            device as c_int,
            name.as_mut_ptr(),
            name.len(),
            &raw mut major,
            &raw mut minor,
        );
        shim::checked(told)?;
        let name = CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned();
        Ok(Description { name, capability: (major, minor) })
    }
}

/// Readies the kernels for a device: from the cache, or compiled now, about two seconds. Without them libtorch's
/// operations compute the same, slower.
pub fn load_kernels(device: usize) -> Result<(), TorchError> {
    let (major, minor) = describe(device)?.capability;
    let cubin = nvrtc::kernels(&nvrtc::architecture(major, minor))?;
    // SAFETY: the function reads a whole program, which says itself how long it is, during the call.
    unsafe { shim::checked((half()?.load)(device as c_int, cubin.as_ptr().cast())) }
}

/// One line for people.
pub fn line(device: usize) -> Result<String, TorchError> {
    let Description { name, capability: (major, minor) } = describe(device)?;
    let memory = memory(device)?;
    let kernels = match load_kernels(device) {
        Ok(()) => String::new(),
        Err(error) => format!("; slower than it could be: {error}"),
    };
    let (free, all) = (Bytes(memory.free), Bytes(memory.all));
    Ok(format!("cuda:{device}: {name}, capability {major}.{minor}, {free} of {all} free{kernels}"))
}

/// Whether the half is part of this binary.
pub fn is_embedded() -> bool {
    !HALF.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_of_a_half_that_is_not_open() {
        let error = memory(0).unwrap_err().to_string();
        assert!(error.starts_with("no CUDA device can be used: "), "{error}");
        give_back_cached();
    }

    #[test]
    fn room_is_what_is_free_and_what_is_held_without_use() {
        let memory = Memory { allocated: 3, reserved: 5, free: 7, ..Memory::default() };
        assert_eq!(memory.room(), 9);
    }

    /// Every symbol that the half wants is in the libraries that are open before it: on a GPU machine nothing is missing.
    #[test]
    fn the_embedded_half_finds_every_symbol_it_wants() {
        if !is_embedded() {
            println!("skipped: NVIDIA's headers were not here when ltune was built");
            return;
        }
        let folder = std::path::Path::new(env!("LTUNE_LIBTORCH"));
        let before = ["libc10.so", "libtorch_cpu.so", "libc10_cuda.so", "libtorch_cuda.so"]
            .map(|name| folder.join(name));
        let runtime = folder.join("../../nvidia/cu13/lib/libcudart.so.13");
        if !before.iter().chain([&runtime]).all(|path| path.exists()) {
            println!("skipped: libtorch's CUDA libraries are not here");
            return;
        }
        let mut file = tempfile::Builder::new().suffix(".so").tempfile().unwrap();
        file.write_all(HALF).unwrap();
        let symbols = |path: &std::path::Path, which: &str| -> Option<std::collections::BTreeSet<String>> {
            let found = std::process::Command::new("nm").args(["-D", which]).arg(path).output().ok()?;
            let text = String::from_utf8(found.stdout).ok().filter(|text| !text.is_empty())?;
            let lines = text.lines().filter(|line| !line.contains(" w ") && !line.contains(" v "));
            let names = lines.filter_map(|line| line.rsplit(' ').next());
            Some(names.filter_map(|name| Some(name.split('@').next()?.to_string())).collect())
        };
        let Some(mut wanted) = symbols(file.path(), "--undefined-only") else {
            println!("skipped: nm is not here");
            return;
        };
        assert!(wanted.contains("cudaMemGetInfo"), "{wanted:?}");
        for path in before.iter().chain([&runtime]) {
            for name in symbols(path, "--defined-only").unwrap() {
                wanted.remove(&name);
            }
        }
        // What is left is the system's: open already in any program of Rust and C++.
        wanted.retain(|name| {
            let name = std::ffi::CString::new(name.as_str()).unwrap();
            // SAFETY: looks a name up in what is open.
            unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.is_null()
        });
        assert!(wanted.is_empty(), "{wanted:?}");
    }
}
