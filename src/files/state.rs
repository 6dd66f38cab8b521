//! The user's folder for what a program remembers: histories of prompts and notebooks.

use crate::files::plain;
use std::path::PathBuf;

/// `$XDG_STATE_HOME/ltune`, else `~/.local/state/ltune`, which is made if need be; or why there is none.
pub fn folder() -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    let folder = state.ok_or("neither `HOME` nor `XDG_STATE_HOME` is set")?.join("ltune");
    match std::fs::create_dir_all(&folder) {
        Ok(()) => Ok(folder),
        Err(error) => Err(format!("`{}`: {}", folder.display(), plain(&error))),
    }
}
