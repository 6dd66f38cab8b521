//! Low-rank adapters (Hu et al., 2021): settings, names and fresh tensors.

use crate::model::ModelError;
use crate::model::base::Base;
use crate::model::config::{Config, LINEAR_MODULES, module_name};
use crate::torch::random;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// `targets` are modules by the end of their name (`q_proj`) or whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraSettings {
    pub rank: i64,
    pub alpha: f64,
    /// Share of the adapter's input that is zeroed in training.
    pub dropout: f64,
    pub targets: Vec<String>,
    /// Scale by alpha / sqrt(rank) instead of alpha / rank (Kalajdzievski, 2023); read from PEFT folders.
    #[serde(default)]
    pub rank_stabilized: bool,
}

/// A module's name and its `[out, in]`.
pub type Module = (String, (i64, i64));

impl Default for LoraSettings {
    fn default() -> LoraSettings {
        let targets = LINEAR_MODULES.iter().map(ToString::to_string).collect();
        LoraSettings { rank: 16, alpha: 32.0, dropout: 0.0, targets, rank_stabilized: false }
    }
}

impl LoraSettings {
    /// What the adapter's product is multiplied by.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }

    /// Whether a module is among the targets, as PEFT decides it.
    pub fn matches(&self, module: &str) -> bool {
        self.targets.iter().any(|target| {
            module.strip_suffix(target.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }

    /// The modules to adapt with their `[out, in]`; every target must match one.
    pub fn modules(&self, base: &Base) -> Result<Vec<Module>, ModelError> {
        if self.rank < 1 {
            return Err(ModelError::RankTooSmall { rank: self.rank });
        }
        let all = linears(&base.config);
        for target in &self.targets {
            let alone = LoraSettings { targets: vec![target.clone()], ..self.clone() };
            if !all.iter().any(|(module, _)| alone.matches(module)) {
                let known = LINEAR_MODULES.map(|module| format!("`{module}`")).join(", ");
                return Err(ModelError::NoSuchTarget { target: target.clone(), known });
            }
        }
        let modules: Vec<_> = all.into_iter().filter(|(module, _)| self.matches(module)).collect();
        for (module, (out, width)) in &modules {
            let side = *out.min(width);
            if self.rank > side {
                return Err(ModelError::RankTooLarge { rank: self.rank, side, module: module.clone() });
            }
        }
        Ok(modules)
    }
}

/// All modules that an adapter can be for.
pub fn linears(config: &Config) -> Vec<Module> {
    let layers = 0..config.num_hidden_layers;
    let all = layers.flat_map(|layer| LINEAR_MODULES.map(|module| (module_name(layer, module), module)));
    all.map(|(name, module)| (name, config.linear_shape(module))).collect()
}

/// The names of a module's two tensors.
pub fn names(module: &str) -> (String, String) {
    (format!("{module}.lora_A.weight"), format!("{module}.lora_B.weight"))
}

/// The module of an adapter tensor's name.
pub fn module_of(name: &str) -> Option<&str> {
    name.strip_suffix(".lora_A.weight").or_else(|| name.strip_suffix(".lora_B.weight"))
}

/// Fresh tensors: A uniform within 1/sqrt(in) (Kaiming with a = sqrt 5, as PEFT), B zero.
pub fn fresh(
    base: &Base,
    settings: &LoraSettings,
    seed: u64,
) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let mut tensors = BTreeMap::new();
    for (module, (out, width)) in settings.modules(base)? {
        let (a, b) = names(&module);
        let a_rd = Tensor::f_empty([settings.rank, width], (Kind::Float, base.device))?;
        let bound = 1.0 / (width as f64).sqrt();
        random::fill_uniform(&a_rd, -bound, bound, random::derive(seed, &[random::place(&a)]))?;
        tensors.insert(a, a_rd);
        tensors.insert(b, Tensor::f_zeros([out, settings.rank], (Kind::Float, base.device))?);
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::preset;
    use tch::Device;

    fn tiny() -> Base {
        Base::random(preset("tiny").unwrap(), 1, Kind::Float, Device::Cpu).unwrap()
    }

    #[test]
    fn targets_match_whole_names_from_the_end() {
        let settings = LoraSettings { targets: vec!["q_proj".into()], ..LoraSettings::default() };
        assert!(settings.matches("model.layers.0.self_attn.q_proj"));
        assert!(!settings.matches("model.layers.0.self_attn.qq_proj"));
        let one =
            LoraSettings { targets: vec!["model.layers.1.mlp.up_proj".into()], ..LoraSettings::default() };
        assert_eq!(one.modules(&tiny()).unwrap().len(), 1);
        assert_eq!(LoraSettings::default().modules(&tiny()).unwrap().len(), 14);
    }

    #[test]
    fn settings_that_cannot_be_say_what_can() {
        let with = |rank, target: &str| {
            let settings = LoraSettings { rank, targets: vec![target.into()], ..LoraSettings::default() };
            settings.modules(&tiny()).unwrap_err().to_string()
        };
        assert_eq!(
            with(8, "qproj"),
            "`qproj` is not a linear layer of the model; targets are `q_proj`, `k_proj`, `v_proj`, `o_proj`, `gate_proj`, `up_proj`, `down_proj`"
        );
        assert_eq!(
            with(48, "k_proj"),
            "rank 48 is above the smaller side (32) of `model.layers.0.self_attn.k_proj`; take a rank of at most 32"
        );
        assert_eq!(with(0, "k_proj"), "rank 0 is not possible; take a whole number from 1");
    }

    #[test]
    fn fresh_adapters_depend_on_the_seed_and_start_as_nothing() {
        let (base, settings) = (tiny(), LoraSettings { rank: 4, ..LoraSettings::default() });
        let (one, same) = (fresh(&base, &settings, 1).unwrap(), fresh(&base, &settings, 1).unwrap());
        let (a, b) = names("model.layers.0.mlp.down_proj");
        assert_eq!(one[&a], same[&a]);
        assert_eq!(one[&a].size(), [4, 176]);
        assert!(one[&a].abs().max().double_value(&[]) <= 1.0 / 176f64.sqrt());
        assert_eq!(one[&b].abs().max().double_value(&[]), 0.0);
        assert_eq!(one[&b].size(), [64, 4]);
        assert_eq!(module_of(&a), Some("model.layers.0.mlp.down_proj"));
    }
}
