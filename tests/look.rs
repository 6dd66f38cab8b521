//! Looking at what the model is given: the marks of `show batch` are the targets that a step counts.

use crate::program::{Folder, of_type};
use serde_json::Value;

const CHAT: &str = "{\"prompt\": \"Who is it?\", \"completion\": \"It is me.\"}\n\
                    {\"prompt\": \"Where?\", \"completion\": \"Here, in the house.\"}\n\
                    {\"prompt\": \"When will you come to see us in the old house?\", \"completion\": \"Soon.\"}\n\
                    {\"prompt\": \"Why?\", \"completion\": \"Because.\"}\n\
                    {\"prompt\": \"How?\", \"completion\": \"On foot, as always.\"}\n";

fn events(data: &str, statements: &str) -> Vec<Value> {
    let folder = Folder::new();
    folder.fixture("tiny");
    folder.write("chat.jsonl", CHAT);
    folder.events(&format!(
        "model m {{ from = \"tiny\" }}\ndata chat {{ from = \"chat.jsonl\"; split = none; {data} }}\n\
         tune a {{ model = m; data = chat; batch = 2 x 2 }}\n{statements}"
    ))
}

fn tokens(batch: &Value) -> Vec<&Value> {
    let rows = batch["rows"].as_array().expect("rows");
    rows.iter().flat_map(|row| row["tokens"].as_array().expect("tokens")).collect()
}

fn count(batches: &[&Value], flag: &str) -> usize {
    batches.iter().flat_map(|batch| tokens(batch)).filter(|token| token[flag] == true).count()
}

#[test]
fn the_tokens_marked_in_a_batch_are_those_that_its_step_counts() {
    for data in ["max_len = 96 tokens", "max_len = 96 tokens; packing = on", "loss_on = all"] {
        let events = events(data, "show batch a 1..2\nstep a 2");
        let counted: u64 =
            of_type(&events, "step").iter().map(|step| step["tokens"].as_u64().expect("a count")).sum();
        let batches = of_type(&events, "batch");
        assert_eq!(count(&batches, "supervised") as u64, counted, "{data}");
    }
}

#[test]
fn every_example_of_an_epoch_begins_once_and_its_pieces_are_its_text() {
    let events = events("max_len = 96 tokens; packing = on", "show batch chat 0");
    let batches = of_type(&events, "batch");
    assert_eq!(count(&batches, "starts"), 5);
    let text: String =
        tokens(batches[0]).iter().map(|token| token["text"].as_str().expect("a text")).collect();
    assert!(text.starts_with("<|im_start|>user\n") && text.contains("<|im_start|>assistant\n"), "{text}");
    let row = &batches[0]["rows"][0];
    let packed = row["places"].as_array().expect("places").len();
    let starts = row["tokens"].as_array().expect("tokens").iter().filter(|token| token["starts"] == true);
    assert_eq!((starts.count(), packed > 1), (packed, true), "several examples share the first row");
}

#[test]
fn looking_changes_nothing() {
    let losses = |statements: &str| {
        let events = events("max_len = 96 tokens", statements);
        of_type(&events, "step").iter().map(|step| step["loss"].as_f64().expect("a loss")).collect::<Vec<_>>()
    };
    let looked =
        losses("show batch a\nstep a 1\nshow rows a 0..1\nshow lengths chat\nshow batch a\nstep a 1");
    assert_eq!(looked, losses("step a 2"));
}
