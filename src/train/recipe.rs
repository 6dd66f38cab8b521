//! A fine-tune as plain, resolved values: everything a run is a pure function of, besides its model and data.

use crate::model::lora::LoraSettings;
use crate::model::recomputed::Activations;
use crate::train::error::TrainError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The resolved settings of one fine-tune. Equal recipes on equal models and data give equal runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    pub method: Method,
    /// What is frozen or unfrozen on top of what the method trains, in order; the last rule that matches wins.
    #[serde(default)]
    pub freeze: Vec<Selection>,
    #[serde(default)]
    pub objective: Objective,
    pub optimizer: Optimizer,
    /// The peak of the schedule.
    pub lr: f64,
    pub schedule: Schedule,
    pub warmup: Length,
    /// The largest norm of all gradients together; larger ones are scaled down to it.
    pub clip: Option<f64>,
    pub batch: Batch,
    /// Where the plan ends: epochs or steps.
    pub length: Length,
    pub seed: u64,
    #[serde(default)]
    pub checkpointing: Checkpointing,
    /// Whether micro-batches of one shape are recorded on a GPU and played. It changes no number.
    #[serde(default)]
    pub cuda_graph: bool,
    #[serde(default)]
    pub eval_every: Option<Every>,
    #[serde(default)]
    pub save_every: Option<Every>,
    #[serde(default)]
    pub keep_best: bool,
    #[serde(default)]
    pub early_stopping: Option<EarlyStopping>,
}

/// Which tensors are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every tensor of the model.
    Full,
    /// The last `count` transformer blocks and nothing else.
    LastLayers { count: usize },
    /// Low-rank adapters (Hu et al. 2021, arXiv 2106.09685). With `from`, a PEFT folder, weights and settings are
    /// taken from there; only `dropout` stays the recipe's.
    Lora { settings: LoraSettings, from: Option<PathBuf> },
}

impl Method {
    /// Fresh adapters of this shape.
    pub fn lora(settings: LoraSettings) -> Method {
        Method::Lora { settings, from: None }
    }
}

/// One rule of freezing: what it matches, and whether that is trained from here on.
/// Patterns: `layers 0..3`, `embeddings`, `head`, `norms`, `attention`, `mlp`, `all`, or a tensor name with `*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    pub pattern: String,
    pub trained: bool,
}

impl Selection {
    pub fn freeze(pattern: impl Into<String>) -> Selection {
        Selection { pattern: pattern.into(), trained: false }
    }

    pub fn unfreeze(pattern: impl Into<String>) -> Selection {
        Selection { pattern: pattern.into(), trained: true }
    }
}

/// What is minimised. Other objectives take their place here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Cross-entropy of the next token, averaged over the supervised tokens of a step.
    #[default]
    NextToken,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Loshchilov & Hutter 2019 (arXiv 1711.05101): weight decay apart from the gradient.
    AdamW { betas: (f64, f64), eps: f64, weight_decay: f64, decay: Decay },
    /// Gradient descent with momentum as PyTorch defines it: `v = momentum v + g`, weight decay as an L2 term in `g`.
    Sgd { momentum: f64, weight_decay: f64, nesterov: bool, decay: Decay },
}

impl Optimizer {
    pub fn weight_decay(&self) -> f64 {
        match self {
            Optimizer::AdamW { weight_decay, .. } | Optimizer::Sgd { weight_decay, .. } => *weight_decay,
        }
    }

    pub fn decay(&self) -> Decay {
        match self {
            Optimizer::AdamW { decay, .. } | Optimizer::Sgd { decay, .. } => *decay,
        }
    }

    /// fp32 numbers kept for each trained one between steps.
    pub fn moments(&self) -> u64 {
        match self {
            Optimizer::AdamW { .. } => 2,
            Optimizer::Sgd { momentum, .. } => u64::from(*momentum != 0.0),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Optimizer::AdamW { .. } => "adamw",
            Optimizer::Sgd { .. } => "sgd",
        }
    }
}

/// Which tensors weight decay pulls towards zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Matrices of the linears and the head; norms, biases and embeddings are spared.
    #[default]
    Matrices,
    All,
}

/// How the learning rate moves after the warmup; `schedule.rs` holds the formulas.
/// `min` is a share of `lr` from 0 to 1, so that a changed `lr` rescales the whole curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    Constant,
    Linear {
        min: f64,
    },
    Cosine {
        min: f64,
    },
    CosineRestarts {
        cycles: u64,
        min: f64,
    },
    StepDecay {
        every: Length,
        factor: f64,
    },
    Cyclical {
        period: Length,
        min: f64,
        decay: f64,
    },
    Wsd {
        decay: Length,
        shape: DecayShape,
        min: f64,
    },
    /// A function of the Rust program, by its name; the trainer has it.
    Own {
        name: String,
    },
}

/// The last phase of warmup–stable–decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecayShape {
    #[default]
    Linear,
    Cosine,
    /// `1 - sqrt(progress)` (Hägele et al. 2024, arXiv 2405.18392).
    Sqrt,
}

/// A stretch of training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Length {
    Steps(u64),
    Epochs(f64),
    /// Hundredths of the planned steps.
    Percent(f64),
}

impl Length {
    /// In whole steps, to the nearest; something that is not zero is at least one step.
    pub fn steps(self, planned_steps: u64, steps_per_epoch: u64) -> u64 {
        let steps = match self {
            Length::Steps(steps) => return steps,
            Length::Epochs(epochs) => epochs * steps_per_epoch as f64,
            Length::Percent(percent) => percent / 100.0 * planned_steps as f64,
        };
        if steps > 0.0 { (steps.round() as u64).max(1) } else { 0 }
    }
}

/// Whether activations are computed twice instead of kept. It changes no number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checkpointing {
    /// Where they do not fit otherwise: decided when a run begins, and kept from then on.
    Auto,
    On,
    #[default]
    Off,
}

impl Checkpointing {
    /// What was decided, where nothing was said.
    #[must_use]
    pub fn or(self, decided: Checkpointing) -> Checkpointing {
        if self == Checkpointing::Auto { decided } else { self }
    }

    pub fn activations(self) -> Activations {
        if self == Checkpointing::On { Activations::Recomputed } else { Activations::Kept }
    }
}

/// Something that happens again and again while a run trains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    Steps(u64),
    Epochs(f64),
    Seconds(f64),
}

/// Stop when `patience` evaluations in a row were not better than the best by more than `min_delta`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    pub patience: u64,
    pub min_delta: f64,
}

/// Rows of one forward pass, and forward passes of one optimizer step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub micro: usize,
    pub accumulate: usize,
}

impl Batch {
    /// Rows of one optimizer step.
    pub fn rows(self) -> usize {
        self.micro * self.accumulate
    }
}

impl Recipe {
    /// The recipe with every setting at its default for the method.
    pub fn new(method: Method) -> Recipe {
        let lr = if matches!(method, Method::Lora { .. }) { 2e-4 } else { 2e-5 };
        Recipe {
            method,
            freeze: vec![],
            objective: Objective::NextToken,
            optimizer: Optimizer::AdamW {
                betas: (0.9, 0.999),
                eps: 1e-8,
                weight_decay: 0.01,
                decay: Decay::Matrices,
            },
            lr,
            schedule: Schedule::Cosine { min: 0.0 },
            warmup: Length::Percent(3.0),
            clip: Some(1.0),
            batch: Batch { micro: 4, accumulate: 4 },
            length: Length::Epochs(1.0),
            seed: 42,
            checkpointing: Checkpointing::Auto,
            cuda_graph: false,
            eval_every: None,
            save_every: None,
            keep_best: false,
            early_stopping: None,
        }
    }

    /// Optimizer steps from the start to the planned end.
    pub fn planned_steps(&self, steps_per_epoch: u64) -> u64 {
        self.length.steps(0, steps_per_epoch)
    }

    /// Whether every number is one that a run can use; the first that is not is named.
    pub fn check(&self) -> Result<(), TrainError> {
        let rules = [
            ("lr", self.lr, self.lr >= 0.0, "zero or more"),
            ("clip", self.clip.unwrap_or(1.0), self.clip.is_none_or(|clip| clip > 0.0), "above zero"),
            ("micro-batch", self.batch.micro as f64, self.batch.micro > 0, "one or more"),
            ("accumulation", self.batch.accumulate as f64, self.batch.accumulate > 0, "one or more"),
        ];
        let dropout = match &self.method {
            Method::Lora { settings, .. } => settings.dropout,
            _ => 0.0,
        };
        let dropout = ("dropout", dropout, (0.0..1.0).contains(&dropout), "from 0 to below 1");
        for (name, value, holds, wanted) in rules.into_iter().chain([dropout]).chain(self.optimizer.rules()) {
            if !holds || !value.is_finite() {
                return Err(TrainError::Setting { name: name.into(), value, wanted: wanted.into() });
            }
        }
        match self.length {
            Length::Steps(steps) if steps > 0 => Ok(()),
            Length::Epochs(epochs) if epochs > 0.0 && epochs.is_finite() => Ok(()),
            _ => Err(TrainError::Endless),
        }
    }

    /// Why this recipe cannot take the place of `earlier` on a run that has taken steps, if so: the setting's name.
    pub fn unchangeable(&self, earlier: &Recipe) -> Option<&'static str> {
        if self.seed != earlier.seed {
            return Some("seed");
        }
        if self.objective != earlier.objective {
            return Some("objective");
        }
        if self.batch.rows() != earlier.batch.rows() {
            return Some("batch");
        }
        if self.optimizer.name() != earlier.optimizer.name()
            || self.optimizer.moments() != earlier.optimizer.moments()
        {
            return Some("optimizer");
        }
        let same_method = match (&self.method, &earlier.method) {
            (Method::Lora { from: Some(now), .. }, Method::Lora { from: Some(then), .. }) => now == then,
            (Method::Lora { settings: now, from: None }, Method::Lora { settings: then, from: None }) => {
                LoraSettings { dropout: then.dropout, ..now.clone() } == *then
            }
            (now, then) => now == then,
        };
        (!same_method).then_some("method")
    }
}

impl Optimizer {
    fn rules(&self) -> Vec<(&'static str, f64, bool, &'static str)> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let below_one = "from 0 to below 1";
        let mut rules =
            vec![("weight_decay", self.weight_decay(), self.weight_decay() >= 0.0, "zero or more")];
        match *self {
            Optimizer::AdamW { betas, eps, .. } => rules.extend([
                ("betas", betas.0, share(betas.0), below_one),
                ("betas", betas.1, share(betas.1), below_one),
                ("eps", eps, eps > 0.0, "above zero"),
            ]),
            Optimizer::Sgd { momentum, .. } => {
                rules.push(("momentum", momentum, share(momentum), below_one));
            }
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_json_exactly() {
        let mut recipe = Recipe::new(Method::lora(LoraSettings::default()));
        recipe.lr = 1.0 / 3.0 * 1e-4;
        recipe.freeze = vec![Selection::freeze("layers 0..3"), Selection::unfreeze("embeddings")];
        recipe.schedule = Schedule::Wsd { decay: Length::Percent(20.0), shape: DecayShape::Sqrt, min: 0.1 };
        recipe.save_every = Some(Every::Seconds(300.0));
        let text = serde_json::to_string(&recipe).unwrap();
        assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), recipe);
    }

    #[test]
    fn lengths_round_to_whole_steps_and_never_vanish() {
        assert_eq!(Length::Percent(3.0).steps(312, 312), 9);
        assert_eq!(Length::Percent(3.0).steps(5, 5), 1);
        assert_eq!(Length::Percent(0.0).steps(312, 312), 0);
        assert_eq!(Length::Epochs(0.3).steps(1000, 312), 94);
        assert_eq!(Length::Steps(0).steps(10, 10), 0);
        assert_eq!(Recipe::new(Method::Full).planned_steps(312), 312);
    }

    #[test]
    fn numbers_no_run_can_use_are_named() {
        let named = |change: fn(&mut Recipe)| {
            let mut recipe = Recipe::new(Method::Full);
            change(&mut recipe);
            recipe.check().unwrap_err().to_string()
        };
        assert_eq!(named(|r| r.lr = f64::NAN), "`lr` is NaN; it must be zero or more");
        assert_eq!(named(|r| r.clip = Some(0.0)), "`clip` is 0; it must be above zero");
        assert!(named(|r| r.batch.micro = 0).starts_with("`micro-batch` is 0"));
        assert!(named(|r| r.length = Length::Percent(10.0)).contains("no end"));
        let beta = |r: &mut Recipe| {
            r.optimizer =
                Optimizer::AdamW { betas: (0.9, 1.0), eps: 1e-8, weight_decay: 0.0, decay: Decay::All }
        };
        assert_eq!(named(beta), "`betas` is 1; it must be from 0 to below 1");
    }

    #[test]
    fn a_live_run_keeps_its_seed_rank_and_rows_a_step() {
        let then = Recipe::new(Method::lora(LoraSettings::default()));
        let changed = |change: fn(&mut Recipe)| {
            let mut now = then.clone();
            change(&mut now);
            now.unchangeable(&then)
        };
        assert_eq!(changed(|r| r.lr = 1.0), None);
        assert_eq!(changed(|r| r.batch = Batch { micro: 2, accumulate: 8 }), None);
        assert_eq!(changed(|r| r.batch = Batch { micro: 2, accumulate: 4 }), Some("batch"));
        assert_eq!(changed(|r| r.seed = 1), Some("seed"));
        assert_eq!(
            changed(|r| r.method = Method::lora(LoraSettings { dropout: 0.1, ..LoraSettings::default() })),
            None
        );
        assert_eq!(
            changed(|r| r.method = Method::lora(LoraSettings { rank: 8, ..LoraSettings::default() })),
            Some("method")
        );
    }
}
