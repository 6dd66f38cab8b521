//! The folder that keeps what can be made again: fetched samples, tokenized data.

use crate::files::FilesError;
use std::ffi::OsString;
use std::path::PathBuf;

/// `$LTUNE_CACHE`, else `$XDG_CACHE_HOME/ltune`, else `~/.cache/ltune`. Not made until something is put there.
pub fn folder() -> Result<PathBuf, FilesError> {
    choose(|name| std::env::var_os(name))
}

fn choose(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, FilesError> {
    let given = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = given("LTUNE_CACHE") {
        return Ok(folder);
    }
    // The XDG standard: a relative path is to be ignored.
    if let Some(folder) = given("XDG_CACHE_HOME").filter(|folder| folder.is_absolute()) {
        return Ok(folder.join("ltune"));
    }
    given("HOME").map(|home| home.join(".cache/ltune")).ok_or(FilesError::NoCache)
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
