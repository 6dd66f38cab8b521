//! The folder that keeps what can be made again: fetched samples, tokenized data.

use crate::files::{FilesError, variables};
use std::ffi::OsString;
use std::path::PathBuf;

/// `$LTUNE_CACHE`, else `$XDG_CACHE_HOME/ltune`, else `~/.cache/ltune`. Not made until something is put there.
pub fn folder() -> Result<PathBuf, FilesError> {
    choose(|name| std::env::var_os(name))
}

fn choose(environment: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, FilesError> {
    let own = variables::path_in(&environment, "LTUNE_CACHE");
    let xdg = || Some(variables::xdg_in(&environment, "XDG_CACHE_HOME", ".cache")?.join("ltune"));
    own.or_else(xdg).ok_or(FilesError::NoCache)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)]) -> Option<String> {
        let folder = choose(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        });
        folder.ok().map(|folder| folder.display().to_string())
    }

    #[test]
    fn the_nearest_wish_wins() {
        let (own, xdg, home) = (("LTUNE_CACHE", "c"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h"));
        assert_eq!(chosen(&[own, xdg, home]).as_deref(), Some("c"));
        assert_eq!(chosen(&[xdg, home]).as_deref(), Some("/x/ltune"));
        assert_eq!(chosen(&[home]).as_deref(), Some("/h/.cache/ltune"));
        assert_eq!(chosen(&[("XDG_CACHE_HOME", "relative"), home]).as_deref(), Some("/h/.cache/ltune"));
        assert_eq!(chosen(&[("LTUNE_CACHE", ""), home]).as_deref(), Some("/h/.cache/ltune"));
        assert_eq!(chosen(&[]), None);
    }
}
