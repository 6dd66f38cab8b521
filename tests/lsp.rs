//! The language server, spoken to over its pipes as an editor does.

use crate::program::Folder;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Nothing that a test waits for takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const SCRIPT: &str = "let width = 64\nmodel base { init = random }\n\
                      data noise { from = random; rows = 64; length = 16 tokens; split = none }\n\
                      tune a { model = base; data = noise; batch = 4 x 1; method = lora { rank = width / 4 } }\nstep a 2\n";

/// An editor with its server.
struct Editor {
    folder: Folder,
    child: Child,
    input: ChildStdin,
    heard: Receiver<Value>,
    asked: i64,
    version: i64,
    /// Diagnostics as they were published last, by URI.
    published: std::collections::BTreeMap<String, Vec<Value>>,
}

impl Editor {
    /// An editor that has greeted its server, with an empty workspace.
    fn start() -> Editor {
        let mut editor = Editor::spawn();
        let folder = editor.uri("");
        let folder = folder.trim_end_matches('/');
        let capabilities = json!({ "workspaceFolders": [{ "uri": folder, "name": "a" }], "capabilities": {}, "processId": null });
        let greeted = editor.ask("initialize", capabilities);
        assert_eq!(greeted["capabilities"]["positionEncoding"], "utf-16");
        editor.tell("initialized", json!({}));
        editor
    }

    fn spawn() -> Editor {
        let folder = Folder::new();
        let mut child =
            folder.command(&["lsp", "--stdio"]).stdin(Stdio::piped()).spawn().expect("ltune starts");
        let input = child.stdin.take().expect("it is piped");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, heard) = channel();
        std::thread::spawn(move || {
            while let Some(message) = message(&mut output) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Editor { folder, child, input, heard, asked: 0, version: 0, published: Default::default() }
    }

    fn uri(&self, name: &str) -> String {
        let root = self.folder.path().canonicalize().expect("it is there");
        format!("file://{}/{name}", root.display())
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("the server reads");
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// The answer, or the error under `error`.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let message = self.next();
            if message["id"] == id {
                assert!(message.get("result").is_some() != message.get("error").is_some(), "{message}");
                return message.get("result").cloned().unwrap_or(json!({ "error": message["error"] }));
            }
        }
    }

    fn next(&mut self) -> Value {
        let message = self.heard.recv_timeout(PATIENCE).expect("the server says something in time");
        assert_eq!(message["jsonrpc"], "2.0");
        if message["method"] == "textDocument/publishDiagnostics" {
            let params = &message["params"];
            let found = params["diagnostics"].as_array().expect("a list").clone();
            self.published.insert(params["uri"].as_str().expect("a URI").into(), found);
        }
        message
    }

    fn open(&mut self, name: &str, text: &str) -> Vec<Value> {
        let uri = self.uri(name);
        self.tell(
            "textDocument/didOpen",
            json!({ "textDocument": { "uri": uri, "languageId": "ltune", "version": 0, "text": text } }),
        );
        self.diagnostics(name)
    }

    fn rewrite(&mut self, name: &str, text: &str) -> Vec<Value> {
        self.change(name, json!({ "text": text }));
        self.diagnostics(name)
    }

    fn change(&mut self, name: &str, change: Value) {
        self.version += 1;
        let document = json!({ "uri": self.uri(name), "version": self.version });
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [change] }));
    }

    /// What is published of a file next.
    fn diagnostics(&mut self, name: &str) -> Vec<Value> {
        let uri = self.uri(name);
        loop {
            let message = self.next();
            if message["method"] == "textDocument/publishDiagnostics" && message["params"]["uri"] == uri {
                return self.published[&uri].clone();
            }
        }
    }

    fn at(&self, name: &str, line: u32, character: u32) -> Value {
        json!({ "textDocument": { "uri": self.uri(name) }, "position": { "line": line, "character": character } })
    }

    fn document(&self, name: &str) -> Value {
        json!({ "textDocument": { "uri": self.uri(name) } })
    }

    /// Code actions at a place, with the diagnostics that an editor would show there.
    fn actions(&mut self, name: &str, line: u32, only: Option<&str>) -> Vec<Value> {
        let place = json!({ "line": line, "character": 0 });
        let mut params = self.document(name);
        params["range"] = json!({ "start": place, "end": place });
        params["context"] = json!({ "diagnostics": [] });
        if let Some(only) = only {
            params["context"]["only"] = json!([only]);
        }
        self.ask("textDocument/codeAction", params).as_array().expect("a list").clone()
    }

    fn leave(mut self) -> i32 {
        assert_eq!(self.ask("shutdown", Value::Null), Value::Null);
        self.tell("exit", Value::Null);
        self.child.wait().expect("it ends").code().expect("by itself")
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn message(output: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        output.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end().strip_prefix("Content-Length: ") {
            Some(number) => length = number.parse().expect("a length"),
            None => {
                assert_eq!(line, "\r\n", "nothing but messages goes to standard output");
                break;
            }
        }
    }
    let mut body = vec![0; length];
    output.read_exact(&mut body).ok()?;
    Some(serde_json::from_slice(&body).expect("it is JSON"))
}

/// The text with edits made, places counted in UTF-16 units.
fn edited(text: &str, edits: &Value) -> String {
    let offset = |place: &Value| {
        let (line, column) =
            (place["line"].as_u64().expect("a line"), place["character"].as_u64().expect("a column"));
        let start: usize = text.split_inclusive('\n').take(line as usize).map(str::len).sum();
        let units: Vec<u16> = text[start..].encode_utf16().take(column as usize).collect();
        start + String::from_utf16(&units).expect("no half of a pair").len()
    };
    let range = |edit: &Value| offset(&edit["range"]["start"])..offset(&edit["range"]["end"]);
    let mut edits: Vec<&Value> = edits.as_array().expect("a list of edits").iter().collect();
    edits.sort_by_key(|edit| std::cmp::Reverse((range(edit).start, range(edit).end)));
    let mut result = text.to_string();
    for edit in edits {
        result.replace_range(range(edit), edit["newText"].as_str().expect("a text"));
    }
    result
}

fn labels(completion: &Value) -> Vec<&str> {
    let items = completion["items"].as_array().expect("a list of items");
    items.iter().map(|item| item["label"].as_str().expect("a label")).collect()
}

fn messages(found: &[Value]) -> String {
    found.iter().map(|found| found["message"].as_str().expect("a message")).collect::<Vec<_>>().join("\n")
}

#[test]
fn it_is_greeted_serves_and_leaves_with_0() {
    let mut editor = Editor::start();
    assert_eq!(editor.open("a.ltune", SCRIPT), [Value::Null; 0]);
    assert_eq!(editor.leave(), 0);
}

#[test]
fn without_a_farewell_it_ends_with_1() {
    let mut editor = Editor::start();
    editor.tell("exit", Value::Null);
    assert_eq!(editor.child.wait().expect("it ends").code(), Some(1));
    let mut editor = Editor::start();
    let (_, closed) =
        (editor.open("a.ltune", SCRIPT), std::mem::replace(&mut editor.input, Editor::spawn_pipe()));
    drop(closed);
    assert_eq!(editor.child.wait().expect("it ends").code(), Some(1));
}

impl Editor {
    /// A pipe to nobody that matters.
    fn spawn_pipe() -> ChildStdin {
        let mut child =
            std::process::Command::new("true").stdin(Stdio::piped()).spawn().expect("`true` starts");
        let input = child.stdin.take().expect("it is piped");
        let _ = child.wait();
        input
    }
}

#[test]
fn diagnostics_appear_and_vanish_with_the_edit() {
    let mut editor = Editor::start();
    let found = editor.open("a.ltune", &SCRIPT.replace("batch", "batsch"));
    assert_eq!(found.len(), 1, "{}", messages(&found));
    let place = json!({ "start": { "line": 3, "character": 37 }, "end": { "line": 3, "character": 43 } });
    assert_eq!(
        (&found[0]["range"], &found[0]["code"], &found[0]["severity"]),
        (&place, &"L0102".into(), &1.into())
    );
    assert_eq!(
        (found[0]["source"].as_str(), messages(&found).contains("help: write `batch`")),
        (Some("ltune"), true)
    );
    editor.change("a.ltune", json!({ "range": place, "text": "batch" }));
    assert_eq!(editor.diagnostics("a.ltune"), [Value::Null; 0]);
    let uri = editor.uri("a.ltune");
    editor.rewrite("a.ltune", "stepp a");
    editor.tell("textDocument/didClose", json!({ "textDocument": { "uri": uri } }));
    assert_eq!(editor.diagnostics("a.ltune"), [Value::Null; 0], "a closed file has no diagnostics");
}

#[test]
fn a_fix_as_a_code_action_gives_a_clean_script() {
    let mut editor = Editor::start();
    let text = SCRIPT.replace("batch", "batsch").replace("tokens", "tokenz");
    assert_eq!(editor.open("a.ltune", &text).len(), 2);
    let titles = |actions: &[Value]| -> Vec<String> {
        actions.iter().map(|action| action["title"].as_str().expect("a title").to_string()).collect()
    };
    let actions = editor.actions("a.ltune", 3, None);
    assert_eq!(titles(&actions), ["write `batch`", "make all 2 fixes"]);
    assert_eq!((&actions[0]["kind"], &actions[0]["isPreferred"]), (&"quickfix".into(), &true.into()));
    assert_eq!(actions[0]["diagnostics"][0]["code"], "L0102");
    let edits = |action: &Value| action["edit"]["documentChanges"][0]["edits"].clone();
    assert_eq!(actions[0]["edit"]["documentChanges"][0]["textDocument"]["version"], 0);
    let once = edited(&text, &edits(&actions[0]));
    assert_eq!(once, SCRIPT.replace("tokens", "tokenz"));
    let all = editor.actions("a.ltune", 0, Some("source.fixAll"));
    assert_eq!(titles(&all), ["make all 2 fixes"]);
    assert_eq!(edited(&text, &edits(&all[0])), SCRIPT);
    assert_eq!(editor.rewrite("a.ltune", SCRIPT), [Value::Null; 0]);
    assert_eq!(editor.actions("a.ltune", 3, None), [Value::Null; 0]);
    assert_eq!(editor.actions("a.ltune", 3, Some("refactor")), [Value::Null; 0]);
}

#[test]
fn completion_knows_settings_names_above_and_what_they_mean() {
    let mut editor = Editor::start();
    let text = format!("{SCRIPT}tune b {{ model = \nstep \nlet later = 3\n");
    editor.open("a.ltune", &text);
    let at = editor.at("a.ltune", 5, 17);
    assert_eq!(labels(&editor.ask("textDocument/completion", at)), ["base"]);
    editor.rewrite("a.ltune", &format!("{SCRIPT}tune b {{ sched }}\nprint \nlet later = 3\n"));
    let at = editor.at("a.ltune", 5, 14);
    let found = editor.ask("textDocument/completion", at);
    let item = &found["items"][0];
    assert_eq!(
        (item["label"].as_str(), item["textEdit"]["newText"].as_str()),
        (Some("schedule"), Some("schedule = "))
    );
    assert_eq!(item["textEdit"]["range"]["start"], json!({ "line": 5, "character": 9 }));
    assert_eq!(item["detail"], "how the learning rate moves");
    assert!(item["documentation"]["value"].as_str().is_some_and(|text| text.contains("cosine")), "{item}");
    let at = editor.at("a.ltune", 6, 6);
    let values = editor.ask("textDocument/completion", at);
    assert!(labels(&values).contains(&"width") && !labels(&values).contains(&"later"), "{values}");
}

#[test]
fn a_peers_name_is_completed_to_ours_and_a_broken_definition_still_has_its_name() {
    let mut editor = Editor::start();
    editor.open("a.ltune", "model base { form = 3 }\ntune a { learning_r }\neval ");
    let at = editor.at("a.ltune", 1, 19);
    let found = editor.ask("textDocument/completion", at);
    assert_eq!((labels(&found), &found["items"][0]["filterText"]), (vec!["lr"], &"learning_r".into()));
    let at = editor.at("a.ltune", 2, 5);
    assert!(labels(&editor.ask("textDocument/completion", at)).contains(&"base"));
}

#[test]
fn a_name_is_renamed_wherever_it_stands_and_nowhere_else() {
    let mut editor = Editor::start();
    let text =
        format!("{SCRIPT}fork a as b\nprint f\"\u{1F600} {{width}} of {{a}}\"  # width\nplot loss of a, b\n");
    editor.open("a.ltune", &text);
    let at = editor.at("a.ltune", 6, 15);
    let prepared = editor.ask("textDocument/prepareRename", at.clone());
    assert_eq!(prepared["placeholder"], "width");
    assert_eq!(prepared["range"]["start"], json!({ "line": 6, "character": 12 }));
    let mut rename = |at: &Value, name: &str| {
        let mut params = at.clone();
        params["newName"] = name.into();
        editor.ask("textDocument/rename", params)
    };
    let renamed = rename(&at, "size");
    let renamed = edited(&text, &renamed["documentChanges"][0]["edits"]);
    let wanted = text.replace("width", "size").replace("# size", "# width");
    assert_eq!(renamed, wanted);
    for (name, why) in [
        ("a", "is a run already"),
        ("base", "is a model already"),
        ("3x", "cannot be a name"),
        ("chat.test", "cannot be a name"),
        ("", "cannot be a name"),
        ("of", "cannot be a name"),
        ("on", "cannot be a name"),
        ("step a", "cannot be a name"),
    ] {
        let refused = rename(&at, name);
        let message = refused["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(why), "`{name}`: {refused}");
    }
    let at = editor.at("a.ltune", 4, 5);
    let mut params = at.clone();
    params["newName"] = "first".into();
    let renamed = editor.ask("textDocument/rename", params);
    let renamed = edited(&text, &renamed["documentChanges"][0]["edits"]);
    assert_eq!(editor.rewrite("a.ltune", &renamed), [Value::Null; 0], "{renamed}");
    let nowhere = editor.at("a.ltune", 0, 1);
    assert_eq!(editor.ask("textDocument/prepareRename", nowhere), Value::Null);
}

#[test]
fn a_new_name_that_would_mean_something_else_is_refused() {
    let mut editor = Editor::start();
    let text = "let shape = \"cosine\"\nmodel m { init = random }\ndata r { from = random; rows = 8; length = 16 }\n\
                tune a { model = m; data = r; schedule = shape }\n";
    assert_eq!(editor.open("a.ltune", text), [Value::Null; 0]);
    let mut params = editor.at("a.ltune", 0, 5);
    params["newName"] = "linear".into();
    let refused = editor.ask("textDocument/rename", params);
    assert!(
        refused["error"]["message"].as_str().is_some_and(|text| text.contains("would mean something else")),
        "{refused}"
    );
}

#[test]
fn definitions_references_highlights_symbols_folds_and_hints_are_found() {
    let mut editor = Editor::start();
    editor.open("a.ltune", &format!("# one\n# two\n{SCRIPT}repeat 2 {{\n  step a\n}}\n"));
    let at = editor.at("a.ltune", 8, 7);
    let found = editor.ask("textDocument/definition", at.clone());
    assert_eq!(found["range"]["start"], json!({ "line": 5, "character": 5 }));
    let mut params = at.clone();
    params["context"] = json!({ "includeDeclaration": false });
    let found = editor.ask("textDocument/references", params);
    let lines: Vec<_> = found
        .as_array()
        .expect("a list")
        .iter()
        .map(|found| found["range"]["start"]["line"].as_u64())
        .collect();
    assert_eq!(lines, [Some(6), Some(8)]);
    assert_eq!(editor.ask("textDocument/documentHighlight", at).as_array().map(Vec::len), Some(3));
    let document = editor.document("a.ltune");
    let symbols = editor.ask("textDocument/documentSymbol", document.clone());
    let names: Vec<_> =
        symbols.as_array().expect("a list").iter().map(|symbol| symbol["name"].as_str()).collect();
    assert_eq!(names, [Some("width"), Some("base"), Some("noise"), Some("a")]);
    assert!(symbols[3]["detail"].as_str().is_some_and(|detail| detail.contains("lora")), "{symbols}");
    let folds = editor.ask("textDocument/foldingRange", document.clone());
    let folds: Vec<_> = folds
        .as_array()
        .expect("a list")
        .iter()
        .map(|fold| (fold["startLine"].as_u64(), fold["endLine"].as_u64()))
        .collect();
    assert_eq!(folds, [(Some(7), Some(8)), (Some(0), Some(1))]);
    let mut params = document;
    params["range"] =
        json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 20, "character": 0 } });
    let hints = editor.ask("textDocument/inlayHint", params);
    assert_eq!(hints.as_array().map(Vec::len), Some(1), "{hints}");
    assert_eq!((&hints[0]["label"], &hints[0]["position"]["line"]), (&"= 16".into(), &5.into()));
}

#[test]
fn semantic_tokens_follow_each_other_and_cover_their_words() {
    let mut editor = Editor::start();
    let text = "let n = \"\u{1F600}\"\nprint n, \"\"\"a\n\nb\"\"\" # c\nstep";
    editor.open("a.ltune", text);
    let document = editor.document("a.ltune");
    let found = editor.ask("textDocument/semanticTokens/full", document);
    let (mut line, mut column, mut words) = (0, 0, vec![]);
    let lines: Vec<Vec<u16>> = text.split('\n').map(|line| line.encode_utf16().collect()).collect();
    for token in found["data"].as_array().expect("a list").chunks(5) {
        let [down, right, length] = [0, 1, 2].map(|index| token[index].as_u64().expect("a number") as usize);
        (line, column) = (line + down, if down > 0 { right } else { column + right });
        words.push(String::from_utf16_lossy(&lines[line][column..column + length]));
    }
    assert_eq!(words, ["let", "n", "\"\u{1F600}\"", "print", "n", "\"\"\"a", "b\"\"\"", "# c", "step"]);
}

#[test]
fn places_are_counted_in_utf16_units_or_in_bytes_as_agreed() {
    let text = "print \"\u{1F600}é\", nn\n";
    let mut editor = Editor::start();
    assert_eq!(editor.open("a.ltune", text)[0]["range"]["start"]["character"], 13);
    let mut editor = Editor::spawn();
    let offered = json!({ "capabilities": { "general": { "positionEncodings": ["utf-8", "utf-16"] } }, "rootUri": null });
    assert_eq!(editor.ask("initialize", offered)["capabilities"]["positionEncoding"], "utf-8");
    assert_eq!(editor.open("a.ltune", text)[0]["range"]["start"]["character"], 16);
    let range = json!({ "start": { "line": 0, "character": 16 }, "end": { "line": 0, "character": 18 } });
    editor.change("a.ltune", json!({ "range": range, "text": "1" }));
    assert_eq!(editor.diagnostics("a.ltune"), [Value::Null; 0]);
}

#[test]
fn a_part_of_a_script_is_judged_by_the_open_script_that_includes_it() {
    let mut editor = Editor::start();
    editor.folder.write("part.ltune", "print n\n");
    editor.open("main.ltune", "let n = 3\ninclude \"part.ltune\"\n");
    assert_eq!(editor.open("part.ltune", "print n\n"), [Value::Null; 0]);
    let at = editor.at("part.ltune", 0, 7);
    let hover = editor.ask("textDocument/hover", at);
    assert!(hover["contents"]["value"].as_str().is_some_and(|text| text.contains('3')), "{hover}");
}

#[test]
fn what_vanishes_circles_or_never_ends_is_a_diagnostic() {
    let mut editor = Editor::start();
    let found = editor.open(
        "a.ltune",
        "include \"gone.ltune\"\ninclude \"a.ltune\"\ninclude \"/dev/stdin\"\ninclude \"/dev/zero\"\n",
    );
    assert_eq!(found.iter().filter(|found| found["severity"] == 1).count(), found.len());
    let lines: std::collections::BTreeSet<_> =
        found.iter().filter_map(|found| found["range"]["start"]["line"].as_u64()).collect();
    assert!(lines.is_superset(&[0, 2, 3].into()), "{}", messages(&found));
    editor.folder.write("gone.ltune", "print 1\n");
    let document = editor.document("a.ltune");
    editor.tell("textDocument/didSave", document);
    let found = editor.diagnostics("a.ltune");
    assert!(!messages(&found).contains("gone.ltune`: no such file"), "{}", messages(&found));
}

#[test]
fn nothing_is_run_or_written() {
    let mut editor = Editor::start();
    editor.open("a.ltune", &format!("{SCRIPT}save a to \"out/a\"\nplot loss of a to \"loss.svg\"\n"));
    let at = editor.at("a.ltune", 4, 3);
    for method in ["textDocument/hover", "textDocument/completion", "textDocument/definition"] {
        editor.ask(method, at.clone());
    }
    let left: Vec<_> = std::fs::read_dir(editor.folder.path()).expect("it is there").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn paths_of_data_are_seen_from_the_folder_of_the_workspace() {
    let mut editor = Editor::start();
    editor.folder.write("rows/chat.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
    let found = editor.open(
        "scripts/a.ltune",
        "data chat { from = \"rows/chat.jsonl\"; split = none }\ndata d { from = \"rows/",
    );
    assert!(!messages(&found).contains("chat.jsonl"), "{}", messages(&found));
    let at = editor.at("scripts/a.ltune", 1, 22);
    let found = editor.ask("textDocument/completion", at);
    assert!(labels(&found).iter().any(|label| label.contains("chat.jsonl")), "{found}");
    assert!(Path::new("tests").is_dir(), "the working directory of the test is as it was");
}

#[test]
fn at_a_terminal_it_says_who_starts_it() {
    let folder = Folder::new();
    let help = folder.ltune(&["lsp", "--help"]);
    assert!(help.code == 0 && help.stdout.contains("language server"), "{}", help.stdout);
}

#[test]
fn hover_says_what_a_word_means() {
    let mut editor = Editor::start();
    editor.open("a.ltune", SCRIPT);
    let mut about = |line, character| {
        let at = editor.at("a.ltune", line, character);
        let found = editor.ask("textDocument/hover", at);
        (found["contents"]["value"].as_str().unwrap_or("").to_string(), found["range"].clone())
    };
    let (text, range) = about(3, 55);
    assert!(text.starts_with("**`method`**"), "{text}");
    assert_eq!(
        range,
        json!({ "start": { "line": 3, "character": 52 }, "end": { "line": 3, "character": 58 } })
    );
    assert!(about(4, 1).0.contains("Takes optimizer steps"));
    assert!(about(4, 5).0.contains("is a run") && about(4, 5).0.contains("rank"));
    assert!(about(0, 5).0.contains("64"));
    assert_eq!(about(90, 0).1, Value::Null);
}

#[test]
fn formatting_edits_only_lines_that_change_and_refuses_a_broken_script() {
    let mut editor = Editor::start();
    let text = "let n = 3\nlet   m=4 # \u{1F600}  four\n\n\n\nprint n,m\n";
    editor.open("a.ltune", text);
    let mut params = editor.document("a.ltune");
    params["options"] = json!({ "tabSize": 8, "insertSpaces": false });
    let edits = editor.ask("textDocument/formatting", params.clone());
    assert_eq!(edited(text, &edits), "let n = 3\nlet m = 4  # \u{1F600}  four\n\nprint n, m\n");
    assert!(edits.as_array().expect("a list").iter().all(|edit| edit["range"]["start"]["line"] != 0));
    let mut range = params.clone();
    range["range"] = json!({ "start": { "line": 1, "character": 0 }, "end": { "line": 2, "character": 0 } });
    let edits = editor.ask("textDocument/rangeFormatting", range);
    assert_eq!(edited(text, &edits), text.replace("let   m=4 #", "let m = 4  #"));
    editor.rewrite("a.ltune", "let n =\n");
    let refused = editor.ask("textDocument/formatting", params);
    assert!(refused["error"]["message"].as_str().is_some_and(|text| text.contains("line 1")), "{refused}");
}

#[test]
fn an_included_script_is_read_as_the_editor_has_it_and_judged_where_it_is_included() {
    let mut editor = Editor::start();
    editor.folder.write("models.ltune", "model base { init = random }\nlet n = q\n");
    let main = "include \"models.ltune\"\ndata r { from = random; rows = 8; length = 16 }\ntune a { model = base; data = r; steps = n }\n";
    let found = editor.open("main.ltune", main);
    assert!(messages(&found).contains("`models.ltune` has 1 mistake"), "{}", messages(&found));
    let summary =
        found.iter().find(|found| found["range"]["start"]["line"] == 0).expect("where it is included");
    assert!(
        summary["relatedInformation"][0]["location"]["uri"]
            .as_str()
            .is_some_and(|uri| uri.ends_with("models.ltune"))
    );
    let models = editor.uri("models.ltune");
    assert_eq!(editor.diagnostics("models.ltune").len(), 1);
    let fixed = "model base { init = random }\nlet n = 3\n";
    let found = editor.open("models.ltune", fixed);
    assert_eq!(found, [Value::Null; 0]);
    assert_eq!(editor.published.get(&editor.uri("main.ltune")), Some(&vec![]), "the unsaved text counts");
    let at = editor.at("main.ltune", 2, 42);
    let found = editor.ask("textDocument/definition", at.clone());
    assert_eq!((&found["uri"], &found["range"]["start"]["line"]), (&models.into(), &1.into()));
    let mut params = at;
    params["newName"] = "count".into();
    let renamed = editor.ask("textDocument/rename", params);
    assert_eq!(renamed["documentChanges"].as_array().map(Vec::len), Some(2), "{renamed}");
    let at = editor.at("main.ltune", 0, 12);
    assert_eq!(editor.ask("textDocument/definition", at)["uri"], editor.uri("models.ltune"));
    let found = editor.rewrite("models.ltune", "model base { init = randm }\nlet n = 3\n");
    assert_eq!(found.len(), 1, "{}", messages(&found));
}

#[test]
fn nonsense_is_answered_and_the_next_question_too() {
    let mut editor = Editor::start();
    editor.open("a.ltune", SCRIPT);
    editor
        .input
        .write_all(b"Content-Length: 3\r\n\r\n{]}nonsense\r\nContent-Length: 14\r\n\r\n[\"no message\"]")
        .expect("it reads");
    for _ in 0..2 {
        let answer = editor.next();
        assert_eq!((&answer["id"], answer["error"]["code"].as_i64()), (&Value::Null, Some(-32700)));
    }
    assert_eq!(editor.ask("textDocument/nonsense", json!({}))["error"]["code"], -32601);
    assert_eq!(editor.ask("textDocument/hover", json!([1]))["error"]["code"], -32602);
    let beyond = editor.at("a.ltune", u32::MAX, u32::MAX);
    assert_eq!(editor.ask("textDocument/hover", beyond.clone()), Value::Null);
    assert!(!labels(&editor.ask("textDocument/completion", beyond)).is_empty());
    let backwards = json!({ "start": { "line": 9, "character": 0 }, "end": { "line": 0, "character": 3 } });
    editor.change("a.ltune", json!({ "range": backwards, "text": "\u{1F600}" }));
    editor.diagnostics("a.ltune");
    let at = editor.at("a.ltune", 0, 1);
    editor.ask("textDocument/hover", at);
    assert_eq!(editor.leave(), 0);
}
