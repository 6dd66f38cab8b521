//! From the settings of a `tune` to its recipe, and back: what is computed is filled in.

use crate::language::value::{Origin, Resolved, Settings, Value};
use crate::model::config::LINEAR_MODULES;
use crate::model::lora::LoraSettings;
use crate::train::recipe::{
    Batch, Checkpointing, Decay, DecayShape, EarlyStopping, Every, Length, Method, Optimizer, Recipe,
    Schedule, Selection,
};
use crate::units::Unit;
use std::path::PathBuf;

/// The recipe that checked settings describe.
pub fn recipe(settings: &Settings) -> Recipe {
    let method = method(settings);
    let mut recipe = Recipe::new(method);
    if let Some(lr) = settings.maybe_number("lr") {
        recipe.lr = lr;
    }
    recipe.freeze = settings.words("freeze").iter().map(|pattern| selection(pattern)).collect();
    recipe.optimizer = optimizer(settings);
    let (schedule, warmup) = schedule(settings);
    recipe.schedule = schedule;
    recipe.warmup = warmup;
    recipe.clip = settings.maybe_number("clip");
    let (micro, accumulate) = settings.batch("batch");
    recipe.batch = Batch { micro: micro as usize, accumulate: accumulate as usize };
    recipe.length = match (settings.maybe_integer("steps"), settings.maybe_number("epochs")) {
        (Some(steps), _) => Length::Steps(steps as u64),
        (None, epochs) => Length::Epochs(epochs.unwrap_or(1.0)),
    };
    recipe.seed = settings.integer("seed") as u64;
    recipe.checkpointing = match settings.get("checkpointing") {
        Some(Value::Bool(true)) => Checkpointing::On,
        Some(Value::Bool(false)) => Checkpointing::Off,
        _ => Checkpointing::Auto,
    };
    recipe.cuda_graph = settings.flag("cuda_graph");
    recipe.eval_every = every(settings, "eval_every");
    recipe.save_every = every(settings, "save_every");
    recipe.keep_best = settings.flag("keep_best");
    recipe.early_stopping = settings.maybe_choice("early_stopping").map(|(_, stopping)| EarlyStopping {
        patience: stopping.integer("patience") as u64,
        min_delta: stopping.number("min_delta"),
    });
    recipe
}

/// `layers 0..3` is frozen, `not layers 0..3` is trained.
fn selection(pattern: &str) -> Selection {
    match pattern.trim().strip_prefix("not ") {
        Some(pattern) => Selection::unfreeze(pattern),
        None => Selection::freeze(pattern),
    }
}

fn method(settings: &Settings) -> Method {
    match settings.choice("method") {
        ("full", _) => Method::Full,
        ("last_layers", inner) => Method::LastLayers { count: inner.integer("count") as usize },
        (_, inner) => {
            let rank = inner.integer("rank");
            let mut targets = inner.words("targets");
            if targets.is_empty() {
                targets = LINEAR_MODULES.map(String::from).to_vec();
            }
            let settings = LoraSettings {
                rank,
                alpha: inner.maybe_number("alpha").unwrap_or(2.0 * rank as f64),
                dropout: inner.number("dropout"),
                targets,
                rank_stabilized: inner.flag("rank_stabilized"),
            };
            Method::Lora { settings, from: inner.maybe_text("from").map(PathBuf::from) }
        }
    }
}

fn optimizer(settings: &Settings) -> Optimizer {
    let (word, inner) = settings.choice("optimizer");
    let decay = if inner.word("decay") == "all" { Decay::All } else { Decay::Matrices };
    let weight_decay = inner.number("weight_decay");
    if word == "sgd" {
        let (momentum, nesterov) = (inner.number("momentum"), inner.flag("nesterov"));
        return Optimizer::Sgd { momentum, weight_decay, nesterov, decay };
    }
    let beta = |index: usize| match &inner.list("betas")[index] {
        Value::Number(beta) => *beta,
        Value::Integer(beta) => *beta as f64,
        other => unreachable!("the schema promises numbers for `betas`, found {other:?}"),
    };
    Optimizer::AdamW { betas: (beta(0), beta(1)), eps: inner.number("eps"), weight_decay, decay }
}

fn schedule(settings: &Settings) -> (Schedule, Length) {
    if let Some(Value::Name(name)) = settings.get("schedule") {
        return (Schedule::Own { name: name.clone() }, Length::Steps(0));
    }
    let (word, inner) = settings.choice("schedule");
    let stretch = |name: &str| length(inner.measure(name));
    let min = || inner.number("min");
    let schedule = match word {
        "constant" => Schedule::Constant,
        "linear" => Schedule::Linear { min: min() },
        "cosine_restarts" => Schedule::CosineRestarts { cycles: inner.integer("cycles") as u64, min: min() },
        "step" => Schedule::StepDecay { every: stretch("every"), factor: inner.number("factor") },
        "cyclical" => {
            Schedule::Cyclical { period: stretch("period"), min: min(), decay: inner.number("decay") }
        }
        "wsd" => {
            let shape = match inner.word("shape") {
                "cosine" => DecayShape::Cosine,
                "sqrt" => DecayShape::Sqrt,
                _ => DecayShape::Linear,
            };
            Schedule::Wsd { decay: stretch("decay"), shape, min: min() }
        }
        _ => Schedule::Cosine { min: min() },
    };
    (schedule, stretch("warmup"))
}

fn length((number, unit): (f64, Unit)) -> Length {
    match unit {
        Unit::Epochs => Length::Epochs(number),
        Unit::Percent => Length::Percent(number),
        _ => Length::Steps(number as u64),
    }
}

fn every(settings: &Settings, name: &str) -> Option<Every> {
    let (number, unit) = settings.maybe_measure(name)?;
    Some(match unit {
        Unit::Epochs => Every::Epochs(number),
        Unit::Seconds => Every::Seconds(number),
        _ => Every::Steps((number as u64).max(1)),
    })
}

/// The settings of a run with others put in their place; those say only what is given. `set_at` is the step at which
/// this is done, when it is not being checked.
pub fn merged(current: &Settings, given: &Settings, set_at: Option<u64>) -> (Settings, Recipe) {
    let mut merged = current.clone();
    let origin = |written: Origin| set_at.map_or(written, |step| Origin::Set { step });
    for (name, resolved) in given.given().iter() {
        let value = match (current.get(name), &resolved.value) {
            (Some(Value::Choice { word, settings: old }), Value::Choice { word: same, settings: new })
                if word == same =>
            {
                let mut inner = old.clone();
                for (name, resolved) in new.iter() {
                    inner.insert(name, resolved.value.clone(), origin(resolved.origin));
                }
                if new.get("rank").is_some() && !old.is_given("alpha") && new.get("alpha").is_none() {
                    inner.remove("alpha"); // it follows the rank
                }
                Value::Choice { word: word.clone(), settings: inner }
            }
            // Another word brings its own defaults.
            _ => given.get(name).cloned().unwrap_or(Value::None),
        };
        merged.insert(name, value, origin(resolved.origin));
    }
    let another_method = |settings: &Settings| given.is_given("method") && !settings.is_given("lr");
    if another_method(&merged) && current.word("method") != merged.word("method") {
        merged.remove("lr"); // its default follows the method
    }
    match (given.is_given("steps"), given.is_given("epochs")) {
        (true, false) => drop(merged.remove("epochs")),
        (false, true) => drop(merged.remove("steps")),
        _ => {}
    }
    let recipe = recipe(&merged);
    (resolved(merged, &recipe), recipe)
}

/// The settings with what is computed from others filled in, so that `show` and the run's folder say every value.
pub fn resolved(mut settings: Settings, recipe: &Recipe) -> Settings {
    fn fill(settings: &mut Settings, name: &str, value: Value) {
        if settings.get(name).is_none() {
            settings.insert(name, value, Origin::Default);
        }
    }
    fill(&mut settings, "lr", Value::Number(recipe.lr));
    if let Length::Epochs(epochs) = recipe.length {
        fill(&mut settings, "epochs", Value::Measure { number: epochs, unit: Unit::Epochs });
    }
    if let Method::Lora { settings: lora, from } = &recipe.method
        && let Some(Resolved { value: Value::Choice { word, settings: inner }, origin, .. }) =
            settings.resolved("method")
    {
        let (word, mut inner, origin) = (word.clone(), inner.clone(), *origin);
        if from.is_some() {
            inner.remove("rank");
            inner.remove("rank_stabilized");
        } else {
            fill(&mut inner, "alpha", Value::Number(lora.alpha));
            let targets = lora.targets.iter().map(|target| Value::Text(target.clone())).collect();
            fill(&mut inner, "targets", Value::List(targets));
        }
        settings.insert("method", Value::Choice { word, settings: inner }, origin);
    }
    settings
}
