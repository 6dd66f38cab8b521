//! What editors read of the repository: the generated grammar, the extension beside it, and scripts as `fmt` leaves them.

use crate::program::Folder;
use ltune::language::format::format;
use ltune::language::textmate::grammar;
use ltune::statements::forms;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of the repository with this ending; what git ignores lies in folders that are passed over.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let ignored = ["node_modules", "target", "runs", "out", "__pycache__"];
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("its entries can be read").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !ignored.contains(&name.as_str()) && !name.starts_with('.') {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) && path.is_file() {
            found.push(path);
        }
    }
    found
}

fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).expect("it can be read");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_grammar_of_editors_is_what_the_schema_says() {
    let path = root().join("grammar/ltune.tmLanguage.json");
    let wanted = grammar(&forms());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("the grammar can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == wanted,
        "grammar/ltune.tmLanguage.json is not what the schema says; BLESS=1 writes it anew"
    );
}

#[test]
fn every_include_of_the_grammar_leads_somewhere() {
    let grammar = json(&root().join("grammar/ltune.tmLanguage.json"));
    let text = grammar.to_string();
    let includes = text.split("\"include\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    // A `rust` block is in the hands of the editor's own grammar for Rust.
    for name in includes.filter(|name| !["$self", "source.rust"].contains(name)) {
        let name = name.trim_start_matches('#');
        assert!(grammar["repository"].get(name).is_some(), "`{name}` is included and not there");
    }
}

#[test]
fn the_extension_is_whole() {
    let folder = root().join("grammar/vscode");
    for path in files(&folder, ".json") {
        json(&path);
    }
    let package = json(&folder.join("package.json"));
    let contributes = &package["contributes"];
    for file in [&package["main"], &contributes["languages"][0]["configuration"]] {
        let file = file.as_str().expect("a path");
        assert!(folder.join(file).is_file(), "{file} is named and not there");
    }
    let grammar = json(&root().join("grammar/ltune.tmLanguage.json"));
    assert_eq!(contributes["grammars"][0]["scopeName"], grammar["scopeName"]);
    // The grammar itself is copied by a step of the build.
    assert_eq!(contributes["grammars"][0]["path"], "./ltune.tmLanguage.json");
    assert!(package["scripts"]["vscode:prepublish"].as_str().is_some_and(|step| step.contains("grammar")));
}

#[test]
fn every_script_of_the_repository_formats_to_itself() {
    let mut scripts = files(&root().join("scripts"), ".ltune");
    scripts.extend(files(&root().join("tests"), ".ltune"));
    assert!(!scripts.is_empty());
    for path in scripts {
        let text = std::fs::read_to_string(&path).expect("scripts are text");
        let formatted = format(&text).unwrap_or_else(|found| panic!("{}: {found:?}", path.display()));
        assert_eq!(formatted, text, "{}", path.display());
    }
}

#[test]
fn every_example_of_the_schema_formats_to_itself() {
    for form in forms().into_iter().filter(|form| !form.example.is_empty()) {
        let example = form.example.trim_end().to_string() + "\n";
        assert_eq!(format(&example), Ok(example.clone()), "the example of `{}`", form.name);
    }
}

#[test]
fn fmt_formats_standard_input_to_standard_output() {
    let folder = Folder::new();
    let ran = folder.ltune_with(&["fmt", "-"], "let   n=3 # three\n\n\n\nprint n;");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "let n = 3  # three\n\nprint n\n"));
    let ran = folder.ltune_with(&["fmt", "-"], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    let ran = folder.ltune_with(&["fmt", "--check", "-"], "let   n=3\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "standard input would change\n"));
    assert_eq!(folder.ltune_with(&["fmt", "--check", "-"], "let n = 3\n").stdout, "");
}

#[test]
fn fmt_leaves_a_script_with_a_syntax_error_as_it_is_and_formats_the_others() {
    let folder = Folder::new();
    let broken = folder.write("broken.ltune", "let   n = \nprint   1\n");
    let good = folder.write("good.ltune", "print   1\n");
    let ran = folder.ltune(&["fmt", "broken.ltune", "good.ltune"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("broken.ltune:1"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(broken).expect("it is there"), "let   n = \nprint   1\n");
    assert_eq!(std::fs::read_to_string(good).expect("it is there"), "print 1\n");
    let ran = folder.ltune_with(&["fmt", "-"], "let n =");
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
}

#[test]
fn check_gives_programs_every_mistake_with_its_place_and_its_fix() {
    let folder = Folder::new();
    folder.write(
        "two.ltune",
        "model m { init = random }\nprint \"\u{1F600}\", nn\nstep \u{1F600}\nlet n = 10 * 2 stepz\n",
    );
    let ran = folder.ltune(&["check", "--json", "two.ltune"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (3, ""));
    let found: Vec<serde_json::Value> =
        ran.events().into_iter().filter(|event| event["type"] == "diagnostic").collect();
    assert_eq!(found.len(), ran.stdout.lines().count() - 1, "beside the version there are diagnostics only");
    let unknown = found.iter().find(|found| found["line"] == 2).expect("the second line has a mistake");
    assert_eq!(
        (&unknown["file"], &unknown["column"], &unknown["end_column"]),
        (&"two.ltune".into(), &12.into(), &14.into())
    );
    assert_eq!((unknown["severity"].as_str(), unknown["end_line"].as_u64()), (Some("error"), Some(2)));
    assert!(unknown["code"].as_str().is_some_and(|code| code.starts_with('L')), "{unknown}");
    let fixes: Vec<&serde_json::Value> =
        found.iter().flat_map(|found| found["fixes"].as_array().expect("a list")).collect();
    let fix = fixes.iter().find(|fix| fix["replacement"] == "steps").expect("a unit is nearly right");
    assert_eq!((&fix["line"], &fix["column"], &fix["end_column"]), (&4.into(), &16.into(), &21.into()));
    folder.write("good.ltune", "print 1\n");
    let ran = folder.ltune(&["check", "--json", "good.ltune"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 1), "{}", ran.stdout);
}

/// Scopes of a script, a line each: number, piece, scope.
fn tokenised(modules: &Path, scripts: &[PathBuf]) -> String {
    let mut command = Command::new("node");
    command
        .arg(root().join("tests/peers/textmate.js"))
        .arg(modules)
        .arg(root().join("grammar/ltune.tmLanguage.json"));
    let output = command.args(scripts).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "fetches vscode-textmate through npm"]
fn vs_code_colours_every_part_of_the_language() {
    let folder = Folder::new();
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(folder.path());
    npm.args(["vscode-textmate@9.3.2", "vscode-oniguruma@2.0.1"]);
    if !npm.output().is_ok_and(|output| output.status.success()) {
        println!("skipped: npm could not install vscode-textmate (is node there?)");
        return;
    }
    let modules = folder.path().join("node_modules");
    let script = folder.write(
        "all.ltune",
        "ltune 1\n# note\nlet peak = 3e-4 * 2\nmodel base { from = \"x\\n\"; learning_rate = 1 }\n\
         tune a {\n  model    = base  # the model\n  batch    = 4 x 4\n  method   = lora { rank = 8 }\n  packing  = on\n  max_len  = 512 tokens\n\
         \x20 nonsense = 10%\n}\nstep a 20; fork a as b\nplot loss,\n  lr of a to \"l.svg\" { by = step }\n\
         print f\"w {peak} {{\", r\"\\d\"\nrepeat 3 { step a }\ninclude \"m.ltune\"\nlet p = [user(\"\"\"one\ntwo\"\"\")]\nstep b\n",
    );
    let told = tokenised(&modules, &[script]);
    for wanted in [
        "1\tltune\tkeyword.control",
        "2\t# note\tcomment",
        "3\tlet\tstorage.type",
        "3\tpeak\tvariable.other.constant",
        "3\t3e-4\tconstant.numeric",
        "4\tmodel\tstorage.type",
        "4\tbase\tentity.name.type",
        "4\t\\n\tconstant.character.escape",
        "4\tlearning_rate\tsupport.type.property-name",
        "6\tmodel\tsupport.type.property-name",
        "6\tbase\tvariable.other",
        "6\t# the model\tcomment",
        "7\tx\tkeyword.operator",
        "8\tlora\tsupport.constant",
        "8\trank\tsupport.type.property-name",
        "9\ton\tconstant.language",
        "10\ttokens\tkeyword.other.unit",
        "11\tnonsense\tvariable.other.property",
        "11\t%\tkeyword.other.unit",
        "13\tstep\tkeyword.control",
        "13\tfork\tkeyword.control",
        "13\tas\tkeyword.other.preposition",
        "13\tb\tentity.name.type",
        "14\tloss\tsupport.constant",
        "15\tof\tkeyword.other.preposition",
        "15\tto\tkeyword.other.preposition",
        "15\tby\tsupport.type.property-name",
        "15\tstep\tsupport.constant",
        "16\tpeak\tvariable.other",
        "16\t{{\tconstant.character.escape",
        "17\trepeat\tkeyword.control",
        "17\tstep\tkeyword.control",
        "18\tinclude\tkeyword.control",
        "19\tuser\tsupport.function",
        "20\ttwo\tstring.quoted.triple",
        "21\tstep\tkeyword.control",
    ] {
        assert!(told.lines().any(|line| line.starts_with(wanted)), "no {wanted:?} in\n{told}");
    }
    let scripts = tokenised(&modules, &files(&root().join("scripts"), ".ltune"));
    let plain = scripts.lines().filter(|line| line.ends_with("\tsource.ltune")).count();
    assert_eq!(plain, 0, "every piece of the scripts has a scope of its own:\n{scripts}");
}
