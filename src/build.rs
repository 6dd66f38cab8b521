//! Compiles the C++ shim of `src/torch` with the headers torch-sys uses, and tells the linker where libtorch lies.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src/build.rs");
    for file in ["shim.cpp", "shim.h", "kernels.cpp", "nf4.cpp", "nf4.h", "guarded.h"] {
        println!("cargo:rerun-if-changed=src/torch/{file}");
    }

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
        .file("src/torch/shim.cpp")
        .file("src/torch/kernels.cpp")
        .file("src/torch/nf4.cpp")
        .compile("ltune_shim");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo:rustc-link-lib=gomp");
    }

    // Binary, tests and examples find libtorch without any environment variable. Links are not resolved: what
    // `.libtorch/torch` points to may change without a new build.
    let library = std::path::absolute(&library).unwrap_or(library);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", library.display());
    println!("cargo:rustc-env=LTUNE_LIBTORCH={}", library.display());
    println!("cargo:libtorch_lib={}", library.display());
}
