//! The kernels for CUDA as plain C++ on the processor, for tests: `tests/cuda/emulated.cpp`, compiled when it is first wanted.

use crate::files::hash;
use crate::torch::cuda::Half;
use crate::torch::library::Library;
use crate::torch::{nvrtc, shim};
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// While it lives, tensors of this thread are computed with the kernels for CUDA.
#[derive(Debug)]
pub struct Imitation(Library);

impl Imitation {
    pub fn begin() -> Imitation {
        let library = Library::open(&built()).unwrap();
        type Give = unsafe extern "C" fn() -> *const Half;
        // SAFETY: the library exports one function of that type, which gives a constant.
        unsafe { shim::ltune_imitate_cuda(library.function::<Give>(c"ltune_cuda_half").unwrap()()) };
        Imitation(library)
    }

    /// How many kernels there are, and how many of them this process has launched.
    pub fn launched(&self) -> (i32, i32) {
        type Count = unsafe extern "C" fn() -> i32;
        // SAFETY: the signatures are those of tests/cuda/emulated.cpp.
        let count = |name: &CStr| unsafe { self.0.function::<Count>(name).unwrap()() };
        (count(c"ltune_kernels"), count(c"ltune_launched"))
    }
}

impl Drop for Imitation {
    fn drop(&mut self) {
        // SAFETY: null ends it.
        unsafe { shim::ltune_imitate_cuda(std::ptr::null()) };
    }
}

/// Built once for its text: each test may run in a process of its own.
fn built() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["tests/cuda/emulated.cpp", "src/torch/cuda/launches.h", "src/torch/cuda/half.h"];
    let text =
        files.map(|name| std::fs::read_to_string(root.join(name)).unwrap()).concat() + &nvrtc::source();
    let made = Path::new(env!("OUT_DIR")).join(format!("imitated-{}.so", &hash::sha256(text)[..16]));
    if made.exists() {
        return made;
    }
    let place = tempfile::tempdir_in(env!("OUT_DIR")).unwrap();
    let new = place.path().join("made.so");
    let status = Command::new(std::env::var("CXX").unwrap_or("c++".to_string()))
        .args([
            "-std=c++20",
            "-O1",
            "-fPIC",
            "-shared",
            "-w",
            "-fno-strict-aliasing",
            "-D_GLIBCXX_USE_CXX11_ABI=1",
        ])
        .arg("-I")
        .arg(Path::new(env!("LTUNE_LIBTORCH")).join("../include"))
        .arg(root.join(files[0]))
        .arg("-o")
        .arg(&new)
        .status();
    assert!(status.unwrap().success(), "the kernels are not C++");
    std::fs::rename(&new, &made).unwrap();
    made
}
