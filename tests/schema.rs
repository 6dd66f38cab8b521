//! One schema: what is generated from it is true, its examples check, and nothing was forgotten.

use crate::program::Folder;
use ltune::language::check::schema_mistakes;
use ltune::language::codes;
use ltune::language::reference::reference;
use ltune::statements::{STATEMENTS, forms};
use std::path::Path;

#[test]
fn the_reference_is_what_the_schema_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("grammar/REFERENCE.md");
    let wanted = reference(&forms());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("the reference can be written");
    }
    let written = std::fs::read_to_string(&path).expect("grammar/REFERENCE.md is there");
    assert!(written == wanted, "grammar/REFERENCE.md is not what the schema says; BLESS=1 writes it anew");
}

#[test]
fn every_example_of_a_statement_checks() {
    let folder = Folder::new();
    folder.write("chat.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
    folder.write("models.ltune", "let n = 1\n");
    std::fs::create_dir_all(folder.path().join("runs/a")).expect("folders can be made");
    for statement in STATEMENTS {
        let form = statement.form;
        let script = format!(
            "model base {{ from = \"smollm2-135m\" }}\ndata chat {{ from = \"aclsum\"; split = 90% / 5% / 5% }}\n\
             tune a {{ model = base; data = chat }}\ntune b {{ model = base; data = chat }}\n{}\n",
            form.example
        );
        let script = if form.name == "ltune" { form.example.to_string() } else { script };
        folder.write("example.ltune", &script);
        let ran = folder.ltune(&["check", "example.ltune"]);
        if form.name == "rust" && cfg!(not(feature = "rust-cells")) {
            assert!(
                ran.stderr.contains("L0605") && ran.stderr.matches("error[").count() == 1,
                "{}",
                ran.stderr
            );
            continue;
        }
        assert_eq!(ran.code, 0, "example of `{}`:\n{}", form.name, ran.stderr);
    }
}

#[test]
fn every_statement_and_setting_is_described() {
    for form in forms() {
        assert!(!form.summary.is_empty() && !form.usage.is_empty(), "`{}` is not described", form.name);
        for setting in form.all_settings() {
            assert!(
                !setting.summary.is_empty(),
                "`{}.{}` has no line of documentation",
                form.name,
                setting.name
            );
            assert!(
                !setting.summary.ends_with('.'),
                "`{}.{}` ends with a full stop",
                form.name,
                setting.name
            );
        }
    }
}

#[test]
fn every_default_fits_its_setting_and_no_name_is_given_twice() {
    let mistakes: Vec<String> = forms().into_iter().flat_map(schema_mistakes).collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn every_statement_has_a_golden_section() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).expect("tests/golden is there") {
        text += &std::fs::read_to_string(entry.expect("its entries can be read").path())
            .expect("golden files are text");
    }
    for form in forms() {
        let found = text
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("{} ", form.name)) || line == form.name);
        assert!(found, "no golden section uses `{}`", form.name);
    }
}

#[test]
fn every_diagnostic_code_that_is_used_is_in_the_table() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("its entries can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            for (at, _) in text.match_indices("\"L0") {
                let code = &text[at + 1..(at + 6).min(text.len())];
                if text.as_bytes().get(at + 6) == Some(&b'"') {
                    assert!(codes::find(code).is_some(), "{}: `{code}` is not in the table", path.display());
                }
            }
        }
    }
}
