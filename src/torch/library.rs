//! A library opened at run time, and its functions by name.

use crate::torch::TorchError;
use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// An open library. It stays open to the end of the process: what was taken from it may be in use.
#[derive(Debug)]
pub struct Library(*mut c_void);

impl Library {
    /// Opens it with what it needs, for all that is opened later. The error is the reason that the system gives.
    pub fn open(path: &Path) -> Result<Library, String> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| "its path is odd".to_string())?;
        // SAFETY: what is opened is code that comes with libtorch or with ltune; opening it again only counts.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if handle.is_null() { Err(last_error()) } else { Ok(Library(handle)) }
    }

    /// A function by its name.
    ///
    /// # Safety
    /// `F` is the type of a pointer to the function that the library has under that name.
    pub unsafe fn function<F: Copy>(&self, name: &CStr) -> Result<F, TorchError> {
        assert_eq!(size_of::<F>(), size_of::<*mut c_void>(), "a pointer to a function");
        // SAFETY: the handle is open and the name is a C string.
        let found = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if found.is_null() {
            return Err(TorchError::Kernels(format!("a library has no `{}`", name.to_string_lossy())));
        }
        // SAFETY: as large as a pointer, and of the type that the caller says.
        Ok(unsafe { std::mem::transmute_copy(&found) })
    }
}

/// The folder of the libtorch that this process runs on: it may be another than the one it was built with.
pub fn libtorch_folder() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let path = maps.lines().find_map(|line| {
        Some(line[line.find('/')?..].trim_end()).filter(|path| path.ends_with("/libtorch_cpu.so"))
    });
    let folder = path.and_then(|path| Path::new(path).parent());
    folder.map_or_else(|| PathBuf::from(env!("LTUNE_LIBTORCH")), Path::to_path_buf)
}

fn last_error() -> String {
    // SAFETY: dlerror returns null or a C string that lives until the next call on this thread.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            return "no reason given".to_string();
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libtorch_in_use_is_found() {
        assert!(libtorch_folder().join("libtorch_cpu.so").exists());
    }

    #[test]
    fn what_is_not_there_says_so() {
        let error = Library::open(Path::new("/nowhere/libnothing.so")).unwrap_err();
        assert!(error.contains("libnothing.so"), "{error}");
        let own = Library::open(Path::new("libc.so.6")).unwrap();
        // SAFETY: nothing is called.
        let error = unsafe { own.function::<extern "C" fn()>(c"ltune_nothing") }.map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "kernels for CUDA: a library has no `ltune_nothing`");
    }
}
