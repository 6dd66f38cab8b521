//! The contract for programs: the two scripts and the events of `--json`.

use crate::program::{Folder, fixture, numbers, of_type};
use serde_json::Value;

fn tiny_reference(name: &str) -> Value {
    let text = std::fs::read_to_string(fixture("tiny.json")).expect("the fixture is there");
    let all: Value = serde_json::from_str(&text).expect("it is JSON");
    all[name].clone()
}

/// The second contract script, on a tiny model whose numbers transformers gave.
fn reads_scores_and_writes(model: &str) {
    let reference = tiny_reference(model);
    let folder = Folder::new();
    folder.fixture(model);
    folder.write("text.txt", reference["text"].as_str().expect("a text"));
    let events = folder.events(&format!(
        r#"ltune 1
        model base {{ from = "{model}" }}
        data t {{ from = "text.txt"; format = text; max_len = 2000 tokens; eos = off; split = none; shuffle = off }}
        eval base on t
        generate base "The capital of France is" {{ max = 20 tokens; temperature = 0; raw = on }}"#
    ));
    assert_eq!(events[0]["type"], "version");
    assert_eq!(events[0]["schema"], "1.0");
    let evaluation = of_type(&events, "eval")[0];
    assert_eq!(evaluation["model"], "base");
    assert_eq!(evaluation["data"], "t");
    assert_eq!(evaluation["tokens"], 199);
    let loss = evaluation["loss"].as_f64().expect("a loss");
    let wanted = reference["mean_loss"].as_f64().expect("a loss");
    assert!((loss - wanted).abs() < 2e-4, "loss {loss}, reference {wanted}");
    let perplexity = evaluation["perplexity"].as_f64().expect("a perplexity");
    assert!((perplexity - loss.exp()).abs() < 1e-9 * perplexity);
    let generation = of_type(&events, "generation")[0];
    assert_eq!(generation["prompt"], "The capital of France is");
    assert!(!generation["tokens"].as_array().expect("tokens").is_empty());
    assert!(generation["text"].is_string());
}

#[test]
fn the_second_contract_script_reaches_the_numbers_of_the_tiny_model() {
    reads_scores_and_writes("tiny");
}

#[test]
fn the_second_contract_script_reaches_the_numbers_of_the_sharded_tiny_model() {
    reads_scores_and_writes("tiny-llama3");
}

#[test]
fn the_first_contract_script_gives_step_events_with_every_number() {
    let folder = Folder::new();
    folder.fixture("tiny");
    folder.write("wiki.txt", tiny_reference("tiny")["text"].as_str().expect("a text").repeat(4));
    let events = folder.events(
        r#"ltune 1
        model base { from = "tiny"; dtype = f32 }
        data wiki { from = "wiki.txt"; format = text; max_len = 32 tokens; eos = off; split = none; shuffle = off }
        tune a {
          model = base; data = wiki
          method = lora { rank = 4 }
          optimizer = adamw { betas = [0.9, 0.999]; eps = 1e-8; weight_decay = 0 }
          lr = 1e-3; schedule = constant; clip = 1.0; batch = 4 x 1
        }
        step a 5
        eval a on wiki"#,
    );
    let steps = of_type(&events, "step");
    assert_eq!(numbers(&steps, "step"), [1.0, 2.0, 3.0, 4.0, 5.0]);
    for step in &steps {
        assert_eq!(step["run"], "a");
        assert_eq!(step["lr"], 1e-3);
        assert_eq!(step["tokens"], 4 * 31);
        assert!(step["loss"].as_f64().is_some_and(|loss| loss > 5.0 && loss < 8.0), "{step}");
        assert!(step["grad_norm"].as_f64().is_some_and(|norm| norm > 0.0), "{step}");
        assert!(step["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{step}");
    }
    let evaluation = of_type(&events, "eval")[0];
    assert_eq!((evaluation["model"].as_str(), evaluation["data"].as_str()), (Some("a"), Some("wiki")));
}

#[test]
fn a_diagnostic_says_its_place_code_and_fix() {
    let folder = Folder::new();
    folder.write("broken.ltune", "model base { init = random }\n\ntune a { modle = base }\n");
    let ran = folder.ltune(&["--json", "broken.ltune"]);
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    let events = ran.events();
    let found = of_type(&events, "diagnostic");
    let unknown =
        found.iter().find(|found| found["code"] == "L0102").expect("the unknown setting is reported");
    assert_eq!(unknown["severity"], "error");
    assert_eq!(unknown["file"], "broken.ltune");
    assert_eq!((unknown["line"].as_u64(), unknown["column"].as_u64()), (Some(3), Some(10)));
    assert!(unknown["message"].as_str().is_some_and(|message| message.contains("modle")));
    assert!(unknown["fix"].as_str().is_some_and(|fix| fix.contains("model")), "{unknown}");
}

#[test]
fn a_value_and_a_figure_are_events_of_their_own() {
    let folder = Folder::new();
    let events = folder.events(
        r#"model m { init = random }
        data r { from = random; rows = 32; length = 16 tokens; split = none }
        tune a { model = m; data = r; batch = 4 x 1 }
        step a 3
        print 2 * 21
        plot loss, lr of a to "loss.svg""#,
    );
    assert_eq!(of_type(&events, "value")[0]["value"], 42);
    assert_eq!(of_type(&events, "figure")[0]["path"], "loss.svg");
    let svg = std::fs::read_to_string(folder.path().join("loss.svg")).expect("the figure is written");
    assert!(svg.contains("<svg"));
}
