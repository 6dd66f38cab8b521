//! Every `ltune` block of the README and every script of the repository is checked; scripts stand as `fmt` writes them.

use crate::program::Folder;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is fenced with this after its three backticks.
fn blocks(text: &str, fence: &str) -> Vec<String> {
    let fence = format!("```{fence}");
    let mut blocks = vec![];
    let mut inside: Option<String> = None;
    for line in text.lines() {
        match (&mut inside, line.trim()) {
            (None, line) if line == fence => inside = Some(String::new()),
            (Some(_), "```") => blocks.extend(inside.take()),
            (Some(block), _) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

#[test]
fn every_ltune_block_of_the_readme_checks_as_one_session() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("README.md is there");
    let blocks = blocks(&text, "ltune");
    assert!(blocks.len() >= 3, "the README shows the language");
    let folder = Folder::new();
    folder.write("dolly.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
    let names: Vec<String> = (0..blocks.len()).map(|index| format!("block-{}.ltune", index + 1)).collect();
    for (name, block) in names.iter().zip(&blocks) {
        folder.write(name, block);
    }
    let arguments: Vec<&str> = std::iter::once("check").chain(names.iter().map(String::as_str)).collect();
    let ran = folder.ltune(&arguments);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

/// An ltune that compiles no Rust says so, and nothing else.
#[test]
fn the_rust_of_the_readme_checks_where_it_can_be_compiled() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("README.md is there");
    let folder = Folder::new();
    folder.write("faq.jsonl", "{\"question\": \"a?\", \"answer\": \"b\"}\n");
    for block in blocks(&text, "ltune rust") {
        folder.write("s.ltune", format!("model base {{ from = \"smollm2-135m\" }}\n{block}"));
        assert_eq!(folder.ltune(&["fmt", "--check", "s.ltune"]).code, 0);
        let errors = if cfg!(feature = "rust-cells") { 0 } else { 1 };
        let checked = folder.ltune(&["check", "s.ltune"]);
        assert_eq!(checked.stderr.matches("error[").count(), errors, "{}", checked.stderr);
        assert_eq!(checked.stderr.matches("error[L0605]").count(), errors, "{}", checked.stderr);
    }
}

fn scripts() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("scripts")).expect("scripts is there");
    let paths = entries.map(|entry| entry.expect("its entries can be read").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "ltune")).collect()
}

#[test]
fn every_script_of_the_repository_checks_and_is_formatted() {
    let folder = Folder::new();
    let scripts = scripts();
    assert!(!scripts.is_empty());
    for path in scripts {
        let path = path.display().to_string();
        let checked = folder.ltune(&["check", &path]);
        assert_eq!(checked.code, 0, "{path}\n{}", checked.stderr);
        let formatted = folder.ltune(&["fmt", "--check", &path]);
        assert_eq!(formatted.code, 0, "{path} is not as `ltune fmt` writes it");
    }
}
