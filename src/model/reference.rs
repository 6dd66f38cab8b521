//! The numbers of `tests/fixtures/tiny.json`, made with transformers in float32: logits, losses, greedy tokens and
//! gradients of two tiny Llamas. Agreement: 2e-3 at worst, 2e-4 on average. The same for SmolLM2-135M where it is in
//! the cache.

use crate::files::samples;
use crate::model::base::{Base, Storage};
use crate::model::cache::KvCache;
use crate::model::fixtures::{self, NAMES, differences, floats, inputs, integers, policy, shifted};
use crate::model::llama::{DropoutSeed, Policy};
use crate::model::load;
use crate::model::loss::{Detail, measure_micro, train_micro};
use crate::model::recomputed::Activations;
use crate::model::trainables::Trainables;
use crate::torch::processor;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

#[test]
fn logits_and_losses_of_both_models_are_reached() {
    for name in NAMES {
        let (base, numbers) = (fixtures::load(name), fixtures::numbers(name));
        let ids = integers(&numbers["token_ids"]);
        let inputs = inputs(&base, &ids, 1);
        let sum = measure_micro(&policy(&base), &inputs, &shifted(&ids), Detail::PerToken).unwrap();
        let losses: Vec<f64> = sum.per_token.iter().map(|loss| f64::from(*loss)).collect();
        let (worst, mean) = differences(&losses, &floats(&numbers["per_token_loss"]));
        assert!(worst < 2e-3 && mean < 2e-4, "{name}: losses differ by {worst} at worst, {mean} on average");
        let mean_loss = sum.loss_sum / sum.tokens as f64;
        assert!(
            (mean_loss - numbers["mean_loss"].as_f64().unwrap()).abs() < 2e-4,
            "{name}: mean loss {mean_loss}"
        );

        let last = policy(&base).logits(&policy(&base).hidden(&inputs, None).select(1, -1));
        let last = Vec::<f64>::try_from(last.narrow(1, 0, 16).view([16]).to_kind(Kind::Double)).unwrap();
        let (worst, mean) = differences(&last, &floats(&numbers["last_logits_first16"]));
        assert!(worst < 2e-3 && mean < 2e-4, "{name}: logits differ by {worst} at worst, {mean} on average");
    }
}

#[test]
fn greedy_tokens_of_both_models_are_reached() {
    for name in NAMES {
        let (base, numbers) = (fixtures::load(name), fixtures::numbers(name));
        let prompt = &integers(&numbers["token_ids"])[..12];
        let mut cache = KvCache::new();
        let mut logits = policy(&base).decode(&Tensor::from_slice(prompt).unsqueeze(0), &mut cache);
        let mut greedy = vec![];
        for _ in 0..16 {
            let next = logits.argmax(-1, false).int64_value(&[0]);
            greedy.push(next);
            logits = policy(&base).decode(&Tensor::from_slice(&[next]).unsqueeze(0), &mut cache);
        }
        assert_eq!(greedy, integers(&numbers["greedy_after_12"]), "{name}");
    }
}

#[test]
fn gradients_of_both_models_are_reached_tied_head_and_embeddings_included() {
    for name in NAMES {
        let (base, numbers) = (fixtures::load(name), fixtures::numbers(name));
        let ids = integers(&numbers["token_ids"]);
        let trainables = Trainables::full(&base).unwrap();
        let policy = Policy { base: &base, trainables: Some(&trainables) };
        let scale = 1.0 / (ids.len() - 1) as f64;
        let sum = train_micro(
            &policy,
            &inputs(&base, &ids, 1),
            &shifted(&ids),
            scale,
            DropoutSeed(1),
            Activations::Kept,
        )
        .unwrap();
        assert!((sum.read().unwrap() * scale - numbers["loss"].as_f64().unwrap()).abs() < 2e-4, "{name}");
        let wanted = numbers["gradient_norms"].as_object().unwrap();
        assert_eq!(wanted.len(), trainables.tensors.len());
        for (tensor, wanted) in wanted {
            let found = trainables.tensors[tensor].grad().norm().double_value(&[]);
            let difference = (found - wanted.as_f64().unwrap()).abs();
            assert!(difference < 2e-4, "{name}: gradient of {tensor} is {found}, not {wanted}");
        }
    }
}

/// RoPE stretched linearly and dynamically, biases, and heads wider than the width divided by their number.
#[test]
fn variants_of_the_architecture_reach_the_logits_of_transformers() {
    let text = std::fs::read_to_string(fixtures::folder("variants/numbers.json")).unwrap();
    let numbers: Value = serde_json::from_str(&text).unwrap();
    for name in ["linear", "dynamic", "biases"] {
        let (base, numbers) = (fixtures::load(&format!("variants/{name}")), &numbers[name]);
        let ids = integers(&numbers["token_ids"]);
        for (length, wanted) in [(8, "logits_after_8"), (ids.len(), "last_logits")] {
            let hidden = policy(&base).hidden(&inputs(&base, &ids[..length], 1), None);
            let last = policy(&base).logits(&hidden.select(1, -1)).view(-1).to_kind(Kind::Double);
            let (worst, _) = differences(&Vec::<f64>::try_from(last).unwrap(), &floats(&numbers[wanted]));
            assert!(worst < 1e-4, "{name} after {length}: logits differ by {worst}");
        }
        let sum =
            measure_micro(&policy(&base), &inputs(&base, &ids, 1), &shifted(&ids), Detail::Sum).unwrap();
        let difference = sum.loss_sum / sum.tokens as f64 - numbers["mean_loss"].as_f64().unwrap();
        assert!(difference.abs() < 1e-5, "{name}: mean loss differs by {difference}");
    }
}

#[test]
fn bf16_stays_near_float32() {
    for name in NAMES {
        let (base, numbers) = (fixtures::load_as(name, Kind::BFloat16), fixtures::numbers(name));
        let ids = integers(&numbers["token_ids"]);
        let sum =
            measure_micro(&policy(&base), &inputs(&base, &ids, 1), &shifted(&ids), Detail::Sum).unwrap();
        let mean_loss = sum.loss_sum / sum.tokens as f64;
        let wanted = numbers["mean_loss"].as_f64().unwrap();
        assert!((mean_loss / wanted - 1.0).abs() < 0.005, "{name}: {mean_loss} for {wanted}");
    }
}

/// SmolLM2-135M-Instruct from ltune's cache (`from = "smollm2-135m"` puts it there).
fn smollm2() -> Option<(Base, Value)> {
    let Some(path) = samples::cached("smollm2-135m") else {
        eprintln!("skipped: smollm2-135m is not in the cache");
        return None;
    };
    processor::prepare().unwrap();
    let base = load::load(&path, Storage::floats(Kind::Float, Device::Cpu), &mut |_, _| true).unwrap();
    let text = std::fs::read_to_string(fixtures::folder("smollm2.json")).unwrap();
    Some((base, serde_json::from_str(&text).unwrap()))
}

#[test]
fn losses_of_smollm2_are_reached() {
    let Some((base, numbers)) = smollm2() else { return };
    let numbers = &numbers["texts"]["wiki"];
    let ids = integers(&numbers["token_ids"]);
    let sum =
        measure_micro(&policy(&base), &inputs(&base, &ids, 1), &shifted(&ids), Detail::PerToken).unwrap();
    let losses: Vec<f64> = sum.per_token.iter().map(|loss| f64::from(*loss)).collect();
    let (worst, mean) = differences(&losses, &floats(&numbers["per_token_loss"]));
    let mean_loss = sum.loss_sum / sum.tokens as f64;
    let accuracy = sum.correct as f64 / sum.tokens as f64;
    eprintln!("mean loss {mean_loss}, accuracy {accuracy}, differences {worst} at worst, {mean} on average");
    assert!(worst < 2e-3 && mean < 2e-4, "losses differ by {worst} at worst, {mean} on average");
    assert!((mean_loss - numbers["mean_loss"].as_f64().unwrap()).abs() < 2e-4);
    assert!((accuracy - numbers["argmax_accuracy"].as_f64().unwrap()).abs() < 1e-3);
}

#[test]
fn logits_and_greedy_tokens_of_smollm2_are_reached() {
    let Some((base, numbers)) = smollm2() else { return };
    for prompt in numbers["prompts"].as_array().unwrap() {
        let ids = integers(&prompt["ids"]);
        let mut cache = KvCache::new();
        let mut logits = policy(&base).decode(&Tensor::from_slice(&ids).unsqueeze(0), &mut cache);
        for top in prompt["last_logits_top5"].as_array().unwrap() {
            let (id, wanted) = (top[0].as_i64().unwrap(), top[2].as_f64().unwrap());
            let found = logits.double_value(&[0, id]);
            eprintln!("token {id}: {found} for {wanted}");
            assert!((found - wanted).abs() < 2e-3, "token {id}: {found} for {wanted}");
        }
        let mut greedy = vec![];
        for _ in 0..20 {
            greedy.push(logits.argmax(-1, false).int64_value(&[0]));
            logits = policy(&base)
                .decode(&Tensor::from_slice(&greedy[greedy.len() - 1..]).unsqueeze(0), &mut cache);
        }
        assert_eq!(greedy, integers(&prompt["greedy_20_ids"]));
    }
}
