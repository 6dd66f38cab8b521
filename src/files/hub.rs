//! Finds a Hugging Face hub id (`HuggingFaceTB/SmolLM2-135M`) in the local hub cache. Nothing is downloaded.

use crate::files::variables;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The snapshot folder of a hub id: that of `main`, else the newest one with a `config.json`.
pub fn find(id: &str) -> Option<PathBuf> {
    find_in(&folder(|name| std::env::var_os(name))?, id)
}

/// Where the hub's own tools keep their downloads.
fn folder(environment: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let given = |name| variables::path_in(&environment, name);
    given("HF_HUB_CACHE")
        .or_else(|| given("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| given("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| {
            Some(variables::xdg_in(&environment, "XDG_CACHE_HOME", ".cache")?.join("huggingface/hub"))
        })
}

fn find_in(hub: &Path, id: &str) -> Option<PathBuf> {
    if !is_id(id) {
        return None;
    }
    let repository = hub.join(format!("models--{}", id.replace('/', "--")));
    let snapshots = repository.join("snapshots");
    let has_config = |snapshot: &PathBuf| snapshot.join("config.json").exists();
    if let Ok(commit) = fs::read_to_string(repository.join("refs/main")) {
        let snapshot = snapshots.join(commit.trim());
        if has_config(&snapshot) {
            return Some(snapshot);
        }
    }
    let age = |snapshot: &PathBuf| {
        fs::metadata(snapshot).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let entries = fs::read_dir(snapshots).ok()?.flatten().map(|entry| entry.path());
    entries.filter(has_config).max_by_key(age)
}

/// `name` or `owner/name`, of letters, digits, `-`, `_` and `.`, never `..`.
fn is_id(id: &str) -> bool {
    let plain = |part: &str| {
        let letters = part.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
        letters && !part.is_empty() && !part.starts_with('.') && !part.contains("..")
    };
    id.split('/').count() <= 2 && id.split('/').all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_found_by_main_or_by_age() {
        let home = tempfile::tempdir().unwrap();
        let repository = home.path().join("models--HuggingFaceTB--SmolLM2-135M");
        assert_eq!(find_in(home.path(), "HuggingFaceTB/SmolLM2-135M"), None);
        for commit in ["aaa", "bbb", "empty"] {
            fs::create_dir_all(repository.join("snapshots").join(commit)).unwrap();
        }
        fs::write(repository.join("snapshots/aaa/config.json"), "{}").unwrap();
        let found = |id| find_in(home.path(), id).map(|path| path.file_name().unwrap().to_owned());
        assert_eq!(found("HuggingFaceTB/SmolLM2-135M").unwrap(), "aaa");
        fs::write(repository.join("snapshots/bbb/config.json"), "{}").unwrap();
        fs::create_dir(repository.join("refs")).unwrap();
        fs::write(repository.join("refs/main"), "aaa\n").unwrap();
        assert_eq!(found("HuggingFaceTB/SmolLM2-135M").unwrap(), "aaa");
        fs::write(repository.join("refs/main"), "empty").unwrap();
        assert!(found("HuggingFaceTB/SmolLM2-135M").is_some());
    }

    #[test]
    fn only_what_can_be_an_id_is_looked_for() {
        assert!(is_id("gpt2") && is_id("meta-llama/Llama-3.2-1B"));
        assert!(
            !is_id("../x") && !is_id("a/b/c") && !is_id("/a") && !is_id("") && !is_id("a b") && !is_id("./x")
        );
    }

    #[test]
    fn the_hub_lies_where_its_own_tools_put_it() {
        let chosen = |variables: &[(&str, &str)]| {
            folder(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            })
        };
        assert_eq!(chosen(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/f")]), Some("/c".into()));
        assert_eq!(chosen(&[("HF_HOME", "/f"), ("HOME", "/h")]), Some("/f/hub".into()));
        assert_eq!(chosen(&[("HOME", "/h")]), Some("/h/.cache/huggingface/hub".into()));
    }
}
