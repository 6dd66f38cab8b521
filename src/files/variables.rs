//! Folders that the environment names.

use std::ffi::OsString;
use std::path::PathBuf;

/// The path in a variable; an empty one is none.
pub fn path(name: &str) -> Option<PathBuf> {
    path_in(&from_process, name)
}

/// The folder of an XDG variable, else the one below the user's home.
pub fn xdg(name: &str, below_home: &str) -> Option<PathBuf> {
    xdg_in(&from_process, name, below_home)
}

/// `path` in an environment that is given.
pub fn path_in(environment: &impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    environment(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// `xdg` in an environment that is given. The standard: a relative path is to be ignored.
pub fn xdg_in(
    environment: &impl Fn(&str) -> Option<OsString>,
    name: &str,
    below_home: &str,
) -> Option<PathBuf> {
    let given = path_in(environment, name).filter(|folder| folder.is_absolute());
    given.or_else(|| Some(path_in(environment, "HOME")?.join(below_home)))
}

fn from_process(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
