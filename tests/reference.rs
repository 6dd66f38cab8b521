//! Numbers that transformers and PEFT gave on the real SmolLM2-135M. Slow, and the model comes through pip, so these
//! run under `scripts/test --all`.

use crate::program::{Folder, fixture, numbers, of_type};
use serde_json::Value;

fn reference(name: &str) -> Value {
    let text = std::fs::read_to_string(fixture("reference").join(name)).expect("the fixture is there");
    serde_json::from_str(&text).expect("it is JSON")
}

/// A folder whose cache is the user's own, so that the model is fetched once.
fn events(folder: &Folder, script: &str) -> Vec<Value> {
    let path = folder.write("script.ltune", script);
    let mut command = folder.command(&["--json", &path.display().to_string()]);
    command.env_remove("LTUNE_CACHE").env_remove("OMP_NUM_THREADS");
    let ran = crate::program::Ran::from(command.output().expect("ltune starts"));
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    ran.events()
}

fn reaches(trace: &Value, steps: &[&Value]) {
    let wanted = trace["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), wanted.len());
    for (step, wanted) in steps.iter().zip(wanted) {
        for name in ["loss", "grad_norm"] {
            let (ours, theirs) = (step[name].as_f64().expect(name), wanted[name].as_f64().expect(name));
            assert!((ours - theirs).abs() < 2e-3, "step {}: {name} {ours}, reference {theirs}", step["step"]);
        }
    }
}

const WIKI: &str = r#"data wiki { from = "wiki.txt"; format = text; max_len = 256 tokens; eos = off; split = none; shuffle = off }"#;

fn with_wiki() -> Folder {
    let folder = Folder::new();
    folder.write(
        "wiki.txt",
        std::fs::read(fixture("reference/wiki_5120_tokens.txt")).expect("the fixture is there"),
    );
    folder
}

#[test]
#[ignore = "real model"]
fn the_first_contract_script_reaches_the_lora_trace_of_peft() {
    let folder = with_wiki();
    folder.fixture("lora_init");
    let events = events(
        &folder,
        &format!(
            r#"ltune 1
            model base {{ from = "smollm2-135m"; dtype = f32 }}
            {WIKI}
            tune a {{
              model = base; data = wiki
              method = lora {{ from = "lora_init" }}
              optimizer = adamw {{ betas = [0.9, 0.999]; eps = 1e-8; weight_decay = 0 }}
              lr = 1e-3; schedule = constant; clip = 1.0; batch = 4 x 1
            }}
            step a 5
            eval a on wiki"#
        ),
    );
    reaches(&reference("lora_trace.json"), &of_type(&events, "step"));
    assert_eq!(numbers(&of_type(&events, "eval"), "tokens"), [5100.0]);
}

#[test]
#[ignore = "real model"]
fn full_fine_tuning_reaches_the_trace_of_transformers() {
    let events = events(
        &with_wiki(),
        &format!(
            r#"model base {{ from = "smollm2-135m" }}
            {WIKI}
            tune a {{
              model = base; data = wiki; method = full
              optimizer = adamw {{ weight_decay = 0.01; decay = all }}
              lr = 2e-5; schedule = constant; batch = 4 x 1
            }}
            step a 5"#
        ),
    );
    reaches(&reference("full_trace.json"), &of_type(&events, "step"));
}

#[test]
#[ignore = "real model"]
fn the_second_contract_script_reaches_the_loss_and_the_greedy_tokens_of_smollm2() {
    let folder = Folder::new();
    let wanted = reference("smollm2.json");
    let prompt = &wanted["prompts"][0];
    folder.write("text.txt", wanted["texts"]["wiki"]["text"].as_str().expect("a text"));
    let events = events(
        &folder,
        r#"model base { from = "smollm2-135m" }
        data t { from = "text.txt"; format = text; max_len = 2000 tokens; eos = off; split = none; shuffle = off; limit = 1 row }
        eval base on t
        generate base "The capital of France is" { max = 20 tokens; temperature = 0; raw = on }"#,
    );
    let loss = of_type(&events, "eval")[0]["loss"].as_f64().expect("a loss");
    let mean = wanted["texts"]["wiki"]["mean_loss"].as_f64().expect("a loss");
    assert!((loss - mean).abs() < 2e-4, "loss {loss}, reference {mean}");
    let generation = of_type(&events, "generation")[0];
    assert_eq!(generation["tokens"], prompt["greedy_20_ids"]);
    assert_eq!(generation["text"], prompt["greedy_20_text"]);
}

#[test]
#[ignore = "real model"]
fn a_hugging_face_folder_and_the_gguf_file_of_the_same_weights_agree() {
    let folder = with_wiki();
    let events = events(
        &folder,
        &format!(
            r#"model gguf {{ from = "smollm2-135m" }}
            save gguf to "hf"
            model hf {{ from = "hf" }}
            {WIKI}
            eval gguf on wiki
            eval hf on wiki
            generate gguf "Once upon a time" {{ max = 12 tokens; temperature = 0 }}
            generate hf "Once upon a time" {{ max = 12 tokens; temperature = 0 }}"#
        ),
    );
    let losses = numbers(&of_type(&events, "eval"), "loss");
    assert!((losses[0] - losses[1]).abs() < 1e-6, "{losses:?}");
    let generations = of_type(&events, "generation");
    assert_eq!(generations[0]["tokens"], generations[1]["tokens"]);
}
