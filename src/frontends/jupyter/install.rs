//! Writes the kernel's description where Jupyter finds it, with the place of this very program in it.

use crate::events::Diagnostic;
use crate::files::{atomic, plain};
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

const SPECIFICATION: &str = include_str!("../../../kernels/jupyter/ltune/kernel.json");
const LOGOS: &[(&str, &[u8])] = &[
    ("logo-svg.svg", include_bytes!("../../../kernels/jupyter/ltune/logo-svg.svg")),
    ("logo-32x32.png", include_bytes!("../../../kernels/jupyter/ltune/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("../../../kernels/jupyter/ltune/logo-64x64.png")),
];

/// The folder that the kernel was installed in.
pub fn install(target: &Target) -> Result<PathBuf, Diagnostic> {
    let folder = data_folder(target)?.join("kernels/ltune");
    let program = std::env::current_exe().map_err(|error| failed(&folder, &plain(&error)))?;
    std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, &plain(&error)))?;
    let specification =
        specification(&program).ok_or_else(|| failed(&folder, "its description is broken"))?;
    for (name, bytes) in LOGOS.iter().copied().chain([("kernel.json", specification.as_bytes())]) {
        atomic::write(&folder.join(name), bytes).map_err(|error| failed(&folder, &error.to_string()))?;
    }
    Ok(folder)
}

/// The description of the repository with the program's own path in place of its bare name.
fn specification(program: &Path) -> Option<String> {
    let mut specification: Value = serde_json::from_str(SPECIFICATION).ok()?;
    *specification.get_mut("argv")?.get_mut(0)? = json!(program);
    serde_json::to_string_pretty(&specification).ok()
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

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where Jupyter keeps what belongs to one user.
fn user_folder() -> Option<PathBuf> {
    let home = variable("HOME");
    variable("JUPYTER_DATA_DIR").or_else(|| match cfg!(target_os = "macos") {
        true => Some(home?.join("Library/Jupyter")),
        false => {
            Some(variable("XDG_DATA_HOME").or_else(|| Some(home?.join(".local/share")))?.join("jupyter"))
        }
    })
}

fn environment() -> Option<PathBuf> {
    variable("VIRTUAL_ENV").or_else(|| variable("CONDA_PREFIX")).or_else(|| {
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
        let installed = install(&Target::Prefix(folder.path().to_path_buf())).unwrap();
        let text = std::fs::read_to_string(installed.join("kernel.json")).unwrap();
        let specification: Value = serde_json::from_str(&text).unwrap();
        let program = specification["argv"][0].as_str().unwrap();
        assert!(Path::new(program).is_absolute(), "{program}");
        assert_eq!(specification["interrupt_mode"], "message");
        assert!(installed.join("logo-64x64.png").exists());
    }
}
