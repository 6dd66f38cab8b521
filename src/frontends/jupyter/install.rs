//! Writes descriptions of kernels where Jupyter finds them, with the places of this very program in them.

use crate::events::Diagnostic;
use crate::files::{atomic, cache, plain, variables};
use crate::language::codes;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whose Jupyter is to find the kernel.
pub enum Target {
    User,
    /// The active Python environment.
    Environment,
    Prefix(PathBuf),
}

/// What Jupyter is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    Ltune,
    /// evcxr's kernel, for Rust cells that use ltune.
    Rust,
}

impl Kernel {
    /// The name that Jupyter knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Ltune => "ltune",
            Kernel::Rust => "rust-ltune",
        }
    }

    fn specification(self) -> Result<String, Diagnostic> {
        match self {
            Kernel::Ltune => ours(),
            Kernel::Rust => rust(),
        }
    }
}

const OURS: &str = include_str!("../../../kernels/jupyter/ltune/kernel.json");
const RUST: &str = include_str!("../../../kernels/jupyter/rust/kernel.json");
const CARGO: &str = include_str!("../../../kernels/jupyter/rust/cargo.toml");
const LOGOS: &[(&str, &[u8])] = &[
    ("logo-svg.svg", include_bytes!("../../../kernels/jupyter/ltune/logo-svg.svg")),
    ("logo-32x32.png", include_bytes!("../../../kernels/jupyter/ltune/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("../../../kernels/jupyter/ltune/logo-64x64.png")),
];
/// Where the libraries of libtorch lie that this program was built with.
const LIBTORCH: &str = env!("LTUNE_LIBTORCH");
/// The sources that this program was built from: what Rust cells depend on.
pub const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

/// The folder that the kernel was installed in.
pub fn install(kernel: Kernel, target: &Target) -> Result<PathBuf, Diagnostic> {
    let folder = data_folder(target)?.join("kernels").join(kernel.name());
    let specification = kernel.specification()?;
    std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, &plain(&error)))?;
    for (name, bytes) in LOGOS.iter().copied().chain([("kernel.json", specification.as_bytes())]) {
        atomic::write(&folder.join(name), bytes).map_err(|error| failed(&folder, &error.to_string()))?;
    }
    Ok(folder)
}

/// The description of the repository with the program's own path in place of its bare name.
fn ours() -> Result<String, Diagnostic> {
    let program = std::env::current_exe().map_err(|error| {
        failed(Path::new("ltune"), &format!("where it is cannot be told: {}", plain(&error)))
    })?;
    Ok(filled(OURS, &[("/argv/0", json!(program))]))
}

/// The description of evcxr's kernel with the library path and a lasting folder, so that a notebook needs neither, and a
/// second session finds everything built.
fn rust() -> Result<String, Diagnostic> {
    let program = evcxr()?;
    if !Path::new(SOURCES).join("src/api.rs").exists() {
        let message = format!("the sources that this ltune was built from are not in `{SOURCES}` any more");
        return Err(Diagnostic::error(codes::NO_EVCXR, message)
            .note("build ltune again (`cargo build --release`) and install the kernel with that one"));
    }
    let folder = lasting_folder()?;
    let libraries = match variables::path("LD_LIBRARY_PATH") {
        Some(already) => format!("{LIBTORCH}:{}", already.display()),
        None => LIBTORCH.to_string(),
    };
    Ok(filled(
        RUST,
        &[
            ("/argv/0", json!(program)),
            ("/env/LIBTORCH", json!(Path::new(LIBTORCH).parent())),
            ("/env/LD_LIBRARY_PATH", json!(libraries)),
            ("/env/EVCXR_TMPDIR", json!(folder.join("cells"))),
        ],
    ))
}

/// Where what Rust cells stand on is built once and kept, with cargo's settings for it.
fn lasting_folder() -> Result<PathBuf, Diagnostic> {
    let cache = cache::folder().map_err(|error| failed(Path::new("the cache"), &error.to_string()))?;
    let folder = std::path::absolute(cache.join("evcxr")).unwrap_or(cache);
    let settings = folder.join(".cargo/config.toml");
    std::fs::create_dir_all(folder.join(".cargo")).map_err(|error| failed(&folder, &plain(&error)))?;
    atomic::write(&settings, CARGO.as_bytes()).map_err(|error| failed(&folder, &error.to_string()))?;
    Ok(folder)
}

/// evcxr's kernel: on the path, or where cargo installs programs.
fn evcxr() -> Result<PathBuf, Diagnostic> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo = variables::path("CARGO_HOME").or_else(|| Some(variables::path("HOME")?.join(".cargo")));
    let folders = std::env::split_paths(&path).chain(cargo.map(|home| home.join("bin")));
    let mut programs = folders.map(|folder| folder.join("evcxr_jupyter"));
    programs.find(|program| program.is_file()).ok_or_else(|| {
        Diagnostic::error(
            codes::NO_EVCXR,
            "`evcxr_jupyter`, the kernel that runs Rust cells, is not installed",
        )
        .note("`cargo install --locked evcxr_jupyter@0.22.0` installs it, in about ten minutes on two cores")
    })
}

/// A description with these places in it filled in.
fn filled(specification: &str, places: &[(&str, Value)]) -> String {
    let mut specification: Value = serde_json::from_str(specification).expect("a test reads it");
    for (place, value) in places {
        *specification.pointer_mut(place).expect("a test reads it") = value.clone();
    }
    serde_json::to_string_pretty(&specification).expect("it was read as JSON")
}

fn data_folder(target: &Target) -> Result<PathBuf, Diagnostic> {
    match target {
        Target::Prefix(prefix) => {
            Ok(std::path::absolute(prefix).unwrap_or_else(|_| prefix.clone()).join("share/jupyter"))
        }
        Target::Environment => environment().map(|prefix| prefix.join("share/jupyter")).ok_or_else(|| {
            Diagnostic::error(codes::KERNEL_INSTALL, "no Python environment is active")
                .note("activate one first, or write `ltune kernel install --user`")
        }),
        Target::User => user_folder().ok_or_else(|| {
            Diagnostic::error(codes::KERNEL_INSTALL, "there is no home folder to install the kernel in")
                .note("write `ltune kernel install --prefix P`")
        }),
    }
}

/// Where Jupyter keeps what belongs to one user.
fn user_folder() -> Option<PathBuf> {
    variables::path("JUPYTER_DATA_DIR").or_else(|| match cfg!(target_os = "macos") {
        true => Some(variables::path("HOME")?.join("Library/Jupyter")),
        false => Some(variables::xdg("XDG_DATA_HOME", ".local/share")?.join("jupyter")),
    })
}

fn environment() -> Option<PathBuf> {
    variables::path("VIRTUAL_ENV").or_else(|| variables::path("CONDA_PREFIX")).or_else(|| {
        let output = Command::new("python3").args(["-c", "import sys; print(sys.prefix)"]).output().ok()?;
        let prefix = String::from_utf8(output.stdout).ok()?;
        (output.status.success() && !prefix.trim().is_empty()).then(|| PathBuf::from(prefix.trim()))
    })
}

fn failed(folder: &Path, why: &str) -> Diagnostic {
    Diagnostic::error(
        codes::KERNEL_INSTALL,
        format!("the kernel cannot be installed in `{}`: {why}", folder.display()),
    )
    .note("`--user`, `--sys-prefix` and `--prefix P` choose another folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_description_names_this_program() {
        let folder = tempfile::tempdir().unwrap();
        let installed = install(Kernel::Ltune, &Target::Prefix(folder.path().to_path_buf())).unwrap();
        let text = std::fs::read_to_string(installed.join("kernel.json")).unwrap();
        let specification: Value = serde_json::from_str(&text).unwrap();
        let program = specification["argv"][0].as_str().unwrap();
        assert!(Path::new(program).is_absolute(), "{program}");
        assert_eq!(specification["interrupt_mode"], "message");
        assert!(installed.join("logo-64x64.png").exists());
    }

    #[test]
    fn every_place_of_the_rust_description_can_be_filled() {
        let places = ["/argv/0", "/env/LIBTORCH", "/env/LD_LIBRARY_PATH", "/env/EVCXR_TMPDIR"];
        let text = filled(RUST, &places.map(|place| (place, json!("here"))));
        assert_eq!(text.matches("\"here\"").count(), 4, "{text}");
    }
}
