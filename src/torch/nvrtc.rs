//! NVRTC, CUDA's own compiler as a library: it makes the kernels of `kernels/cuda` for a device, without nvcc and without a GPU.

use crate::files::{atomic, cache, hash};
use crate::torch::TorchError;
use crate::torch::library::{Library, libtorch_folder};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::PathBuf;

/// The kernels, one program. What comes first is used by what follows.
const SOURCES: [&str; 7] = [
    include_str!("../../kernels/cuda/common.cu"),
    include_str!("../../kernels/cuda/rms_norm.cu"),
    include_str!("../../kernels/cuda/rotate.cu"),
    include_str!("../../kernels/cuda/swiglu.cu"),
    include_str!("../../kernels/cuda/loss.cu"),
    include_str!("../../kernels/cuda/nf4_values.cu"),
    include_str!("../../kernels/cuda/nf4.cu"),
];

/// The options beside the architecture. Registers and spills are told in the log, which costs nothing.
const OPTIONS: [&CStr; 3] = [c"--std=c++17", c"--ptxas-options=-v", c"--display-error-number"];

/// A compiled program, and what the compiler said of it.
#[derive(Debug)]
pub struct Compiled {
    pub cubin: Vec<u8>,
    pub log: String,
}

/// The compiler, opened.
#[derive(Debug)]
pub struct Nvrtc {
    library: Library,
    /// The library that the compiler looks up by its name.
    _builtins: Option<Library>,
}

/// The text of all kernels.
pub fn source() -> String {
    SOURCES.concat()
}

/// The architecture to compile for, of a device's capability.
pub fn architecture(major: i32, minor: i32) -> String {
    // `a` is the form that may use all of a Hopper.
    let all = if (major, minor) == (9, 0) { "a" } else { "" };
    format!("sm_{major}{minor}{all}")
}

/// The kernels for an architecture: those kept in the cache, or compiled now and kept.
pub fn kernels(architecture: &str) -> Result<Vec<u8>, TorchError> {
    let compiler = Nvrtc::open(&usual_places())?;
    let (major, minor) = compiler.version()?;
    let text = source();
    let kept = cache::folder().ok().map(|folder| {
        let name = hash::sha256(format!("{OPTIONS:?}{text}"));
        folder.join(format!("kernels/{}-{architecture}-nvrtc{major}.{minor}.cubin", &name[..16]))
    });
    if let Some(cubin) =
        kept.as_ref().and_then(|path| std::fs::read(path).ok()).filter(|bytes| is_whole(bytes))
    {
        return Ok(cubin);
    }
    let cubin = compiler.compile(&text, architecture)?.cubin;
    if let Some(path) = kept {
        let _ = atomic::write(&path, &cubin); // a cache that cannot be written costs a second at the next start
    }
    Ok(cubin)
}

fn is_whole(cubin: &[u8]) -> bool {
    cubin.starts_with(b"\x7fELF")
}

/// Where PyTorch's wheels put it, then where the system finds it.
pub fn usual_places() -> Vec<PathBuf> {
    vec![libtorch_folder().join("../../nvidia/cu13/lib"), PathBuf::new()]
}

impl Nvrtc {
    /// Opens it from the first folder that has it; an empty path stands for where the system looks.
    pub fn open(folders: &[PathBuf]) -> Result<Nvrtc, TorchError> {
        let mut why = String::new();
        for folder in folders {
            // It opens its builtins by name, and finds them when they are open already.
            let builtins = Library::open(&folder.join("libnvrtc-builtins.so.13.0")).ok();
            match Library::open(&folder.join("libnvrtc.so.13")) {
                Ok(library) => return Ok(Nvrtc { library, _builtins: builtins }),
                Err(error) => why = error,
            }
        }
        Err(TorchError::Kernels(format!(
            "NVRTC does not open ({why}); it comes with the full set of PyTorch's wheels"
        )))
    }

    /// Major and minor.
    pub fn version(&self) -> Result<(c_int, c_int), TorchError> {
        type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the signature is that of nvrtc.h; both places live through the call.
        let code =
            unsafe { self.library.function::<Version>(c"nvrtcVersion")?(&raw mut major, &raw mut minor) };
        self.checked(code, "asking for its version").map(|()| (major, minor))
    }

    /// Compiles a program for an architecture such as `sm_90a`.
    pub fn compile(&self, source: &str, architecture: &str) -> Result<Compiled, TorchError> {
        type Create = unsafe extern "C" fn(
            *mut *mut c_void,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> c_int;
        type Compile = unsafe extern "C" fn(*mut c_void, c_int, *const *const c_char) -> c_int;
        type Destroy = unsafe extern "C" fn(*mut *mut c_void) -> c_int;
        let odd = |_| TorchError::Kernels("a kernel's text holds a null byte".to_string());
        let (text, target) =
            (CString::new(source).map_err(odd)?, format!("--gpu-architecture={architecture}"));
        let target = CString::new(target).map_err(odd)?;
        let options: Vec<*const c_char> =
            std::iter::once(target.as_c_str()).chain(OPTIONS).map(CStr::as_ptr).collect();
        let mut program = std::ptr::null_mut();
        // SAFETY: signatures are those of nvrtc.h; texts and options live through the calls, and the program is
        // destroyed once, after its last use.
        unsafe {
            let create = self.library.function::<Create>(c"nvrtcCreateProgram")?;
            let none = std::ptr::null();
            let code = create(&raw mut program, text.as_ptr(), c"ltune.cu".as_ptr(), 0, none, none);
            self.checked(code, "taking in the kernels")?;
            let code = self.library.function::<Compile>(c"nvrtcCompileProgram")?(
                program,
                options.len() as c_int,
                options.as_ptr(),
            );
            let log = self.text_of(program, c"nvrtcGetProgramLogSize", c"nvrtcGetProgramLog");
            let cubin = match code {
                0 => self.text_of(program, c"nvrtcGetCUBINSize", c"nvrtcGetCUBIN"),
                _ => Ok(vec![]),
            };
            self.library.function::<Destroy>(c"nvrtcDestroyProgram")?(&raw mut program);
            let log = String::from_utf8_lossy(&log?).trim_end_matches('\0').to_string();
            self.checked(code, &format!("compiling for {architecture}: {}", log.trim()))?;
            Ok(Compiled { cubin: cubin?, log })
        }
    }

    /// What a program holds under two functions, one for its size and one for itself.
    ///
    /// # Safety
    /// `program` is alive, and the two functions have the signatures below.
    unsafe fn text_of(&self, program: *mut c_void, size: &CStr, get: &CStr) -> Result<Vec<u8>, TorchError> {
        type Size = unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int;
        type Get = unsafe extern "C" fn(*mut c_void, *mut c_char) -> c_int;
        let mut bytes = 0usize;
        // SAFETY: as the caller says; the second function writes as many bytes as the first one told.
        unsafe {
            self.checked(self.library.function::<Size>(size)?(program, &raw mut bytes), "asking for a size")?;
            let mut made = vec![0u8; bytes];
            let code = self.library.function::<Get>(get)?(program, made.as_mut_ptr().cast());
            self.checked(code, "giving out what it made").map(|()| made)
        }
    }

    fn checked(&self, code: c_int, doing: &str) -> Result<(), TorchError> {
        type Describe = unsafe extern "C" fn(c_int) -> *const c_char;
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the signature is that of nvrtc.h, which gives a constant for any number.
        let reason =
            unsafe { CStr::from_ptr(self.library.function::<Describe>(c"nvrtcGetErrorString")?(code)) };
        Err(TorchError::Kernels(format!("NVRTC, {doing}: {}", reason.to_string_lossy())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    /// Where the slow test below puts the compiler's wheel.
    fn fetched() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/nvrtc")
    }

    fn opened() -> Option<Nvrtc> {
        let own = [fetched(), Path::new(env!("CARGO_MANIFEST_DIR")).join(".libtorch/cuda")];
        let folders = own.map(|folder| folder.join("nvidia/cu13/lib")).into_iter().chain(usual_places());
        Nvrtc::open(&folders.collect::<Vec<_>>()).ok()
    }

    /// Each kernel with its registers, and everything the compiler complains of.
    fn told(log: &str) -> (Vec<(String, u32)>, Vec<String>) {
        let (mut kernels, mut wrong) = (vec![], vec![]);
        for line in log.lines() {
            let quoted = || line.split('\'').nth(1).unwrap_or_default().to_string();
            let number = |before: &str| -> Option<u32> {
                line.split(before).next()?.rsplit(' ').find_map(|word| word.parse().ok())
            };
            if line.contains("Compiling entry function") {
                kernels.push((quoted(), 0));
            } else if line.contains(" registers") {
                kernels.last_mut().expect("a kernel was named").1 = number(" registers").expect("a number");
            } else if line.contains("spill stores")
                && !line.contains(" 0 bytes spill stores, 0 bytes spill loads")
            {
                wrong.push(format!("{:?} {line}", kernels.last()));
            } else if ["warning", "error"].iter().any(|word| line.contains(word)) {
                wrong.push(line.to_string());
            }
        }
        (kernels, wrong)
    }

    fn assert_all_compile(compiler: &Nvrtc) {
        let (major, minor) = compiler.version().unwrap();
        for architecture in ["sm_80", "sm_90a", "sm_100"] {
            let compiled = compiler.compile(&source(), architecture).unwrap();
            let (kernels, wrong) = told(&compiled.log);
            assert!(wrong.is_empty(), "{architecture}: {wrong:#?}");
            assert!(is_whole(&compiled.cubin), "{architecture}: no program");
            // Every kernel that a launch may name is there.
            assert_eq!(kernels.len(), 34, "{architecture}: {kernels:?}");
            let most = kernels.iter().max_by_key(|(_, registers)| registers).unwrap();
            println!(
                "{architecture}: {} kernels, {} bytes, at most {} registers ({}), no spills; NVRTC {major}.{minor}",
                kernels.len(),
                compiled.cubin.len(),
                most.1,
                most.0
            );
            assert!(most.1 > 0 && most.1 <= 64, "{architecture}: {most:?}");
        }
        let error = compiler.compile("KERNEL broken(", "sm_90a").unwrap_err().to_string();
        assert!(error.contains("ltune.cu(1): error"), "{error}");
    }

    #[test]
    fn every_kernel_compiles_where_the_compiler_is() {
        match opened() {
            Some(compiler) => assert_all_compile(&compiler),
            None => println!("skipped: NVRTC is not here; `scripts/test --all` fetches it"),
        }
    }

    #[test]
    #[ignore = "fetches NVRTC through pip, 90 MB"]
    fn every_kernel_compiles_for_each_architecture() {
        if opened().is_none() {
            let folder = fetched();
            let arguments = ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"];
            let fetch = Command::new("python3")
                .args(arguments)
                .args(["--root-user-action", "ignore", "--only-binary", ":all:", "--target"])
                .arg(&folder)
                .arg("nvidia-cuda-nvrtc==13.0.88")
                .status();
            if !fetch.is_ok_and(|status| status.success()) {
                println!("skipped: NVRTC cannot be fetched");
                return;
            }
        }
        assert_all_compile(&opened().expect("it was fetched"));
    }

    #[test]
    fn architectures_are_named_after_the_capability() {
        let named =
            [(8, 0), (8, 9), (9, 0), (10, 0), (12, 0)].map(|(major, minor)| architecture(major, minor));
        assert_eq!(named, ["sm_80", "sm_89", "sm_90a", "sm_100", "sm_120"]);
    }
}
