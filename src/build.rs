//! Compiles the C++ shim of `src/torch` with the headers torch-sys uses, and tells the linker where libtorch lies.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src/build.rs");
    let half = ["cuda/half.cpp", "cuda/half.h", "cuda/launches.h"];
    let own = ["shim.cpp", "kernels.cpp", "attention.cpp", "products.cpp", "nf4.cpp"];
    let headers = ["shim.h", "products.h", "tiles.h", "exponential.h", "nf4.h", "guarded.h"];
    for file in own.into_iter().chain(headers).chain(half) {
        println!("cargo:rerun-if-changed=src/torch/{file}");
    }
    println!("cargo:rerun-if-changed=kernels/cuda/nf4_values.cu");

    let library = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from).expect(
        "torch-sys did not say where libtorch is; run `scripts/ltune` once, or set LIBTORCH to the folder of libtorch 2.11.0",
    );
    let include = library.join("../include");

    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .pic(true)
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .opt_level(3)
        .flag_if_supported("-fno-trapping-math") // or comparisons in a loop are not vectorised
        .flag_if_supported("-fno-math-errno")
        .flag_if_supported("-fopenmp") // rows side by side, on the threads of libtorch
        .files(own.map(|file| format!("src/torch/{file}")))
        .compile("ltune_shim");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo:rustc-link-lib=gomp");
    }

    build_cuda_half(&library);

    // Binary, tests and examples find libtorch without any environment variable. Links are not resolved: what
    // `.libtorch/torch` points to may change without a new build.
    let library = std::path::absolute(&library).unwrap_or(library);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", library.display());
    println!("cargo:rustc-env=LTUNE_LIBTORCH={}", library.display());
    println!("cargo:libtorch_lib={}", library.display());
}

/// The CUDA half is a library of its own, which the binary carries and opens at run time: what it stands on is not linked.
/// No GPU and no nvcc are needed, only headers; without them the file is empty, and asking for CUDA says so.
fn build_cuda_half(library: &Path) {
    let made = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names it")).join("libltune_cuda.so");
    std::fs::write(&made, []).expect("cargo's folder can be written");
    let own =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it")).join(".libtorch/cuda");
    let folders = [library.join("../../nvidia/cu13/include"), own.join("nvidia/cu13/include")];
    let headers: Option<Vec<PathBuf>> = ["cuda_runtime_api.h", "cuda.h", "crt/host_defines.h"]
        .map(|header| folders.iter().find(|folder| folder.join(header).exists()).cloned())
        .into_iter()
        .collect();
    let Some(headers) =
        headers.filter(|_| env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux"))
    else {
        return;
    };
    let include = library.join("../include");
    let mut command = cc::Build::new()
        .cpp(true)
        .std("c++20")
        .pic(true)
        .warnings(false)
        .opt_level(2)
        .get_compiler()
        .to_command();
    command.args(["-shared", "-fvisibility=hidden", "-s", "-w", "-D_GLIBCXX_USE_CXX11_ABI=1"]);
    command.arg("-I").arg(&include).arg("-I").arg(include.join("torch/csrc/api/include"));
    for folder in headers {
        command.arg("-isystem").arg(folder);
    }
    command.arg("src/torch/cuda/half.cpp").arg("-o").arg(&made);
    if !command.status().is_ok_and(|status| status.success()) {
        println!(
            "cargo:warning=the CUDA half does not compile with the headers that are here; ltune is built without it"
        );
        std::fs::write(&made, []).expect("cargo's folder can be written");
    }
}
