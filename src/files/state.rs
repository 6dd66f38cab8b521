//! The user's folder for what a program remembers: histories of prompts and notebooks.

use crate::files::{plain, variables};
use std::path::PathBuf;

/// `$XDG_STATE_HOME/ltune`, else `~/.local/state/ltune`, which is made if need be; or why there is none.
pub fn folder() -> Result<PathBuf, String> {
    let state = variables::xdg("XDG_STATE_HOME", ".local/state");
    let folder = state.ok_or("neither `HOME` nor `XDG_STATE_HOME` is set")?.join("ltune");
    match std::fs::create_dir_all(&folder) {
        Ok(()) => Ok(folder),
        Err(error) => Err(format!("`{}`: {}", folder.display(), plain(&error))),
    }
}
