//! Which tensors a recipe trains: the method's own, then the freezing rules in order.

use crate::model::config::{Config, LINEAR_MODULES, module_name};
use crate::model::lora;
use crate::train::error::TrainError;
use crate::train::recipe::{Method, Recipe, Selection};
use std::collections::BTreeSet;

/// The names that are trained. `base` are the model's tensors, `adapters` those that the method adds.
pub fn trained(
    recipe: &Recipe,
    base: &[String],
    adapters: &[String],
    layers: usize,
) -> Result<BTreeSet<String>, TrainError> {
    let mut trained = method_trains(&recipe.method, base, adapters, layers)?;
    for rule in &recipe.freeze {
        apply(rule, &mut trained, base, adapters, layers)?;
    }
    if trained.is_empty() {
        return Err(TrainError::NothingTrained);
    }
    Ok(trained)
}

/// What is wrong with the freezing rules of a recipe on a model of this shape, also that a rule changes nothing: told
/// from names alone. An adapter that is continued from a folder is not looked into.
pub fn selection_mistake(config: &Config, recipe: &Recipe) -> Option<TrainError> {
    if matches!(recipe.method, Method::Lora { from: Some(_), .. }) {
        return None;
    }
    let layers = config.num_hidden_layers as usize;
    let base: Vec<String> = config.parameter_shapes().into_iter().map(|(name, _)| name).collect();
    let adapters = adapter_names(config, &recipe.method);
    let mut trained = match method_trains(&recipe.method, &base, &adapters, layers) {
        Ok(trained) => trained,
        Err(error) => return Some(error),
    };
    for rule in &recipe.freeze {
        match apply(rule, &mut trained, &base, &adapters, layers) {
            Ok(0) => {
                let Selection { pattern, trained } = rule.clone();
                return Some(TrainError::PatternChangesNothing { pattern, trained });
            }
            Ok(_) => {}
            Err(error) => return Some(error),
        }
    }
    trained.is_empty().then_some(TrainError::NothingTrained)
}

/// The tensors of a fresh adapter.
fn adapter_names(config: &Config, method: &Method) -> Vec<String> {
    let Method::Lora { settings, .. } = method else { return vec![] };
    let layers = 0..config.num_hidden_layers;
    let modules = layers.flat_map(|layer| LINEAR_MODULES.map(|module| module_name(layer, module)));
    modules
        .filter(|module| settings.matches(module))
        .flat_map(|module| <[String; 2]>::from(lora::names(&module)))
        .collect()
}

/// Applies one rule; how many tensors are trained or frozen by it that were not before.
fn apply(
    rule: &Selection,
    trained: &mut BTreeSet<String>,
    base: &[String],
    adapters: &[String],
    layers: usize,
) -> Result<usize, TrainError> {
    let pattern = Pattern::parse(&rule.pattern, layers)?;
    let matched = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| pattern.matches(name)).cloned().collect()
    };
    // Where a rule reaches adapters it means them; the weights below an adapter stay frozen.
    let of_adapters = matched(adapters);
    let names = if of_adapters.is_empty() || !rule.trained {
        [of_adapters, matched(base)].concat()
    } else {
        of_adapters
    };
    if names.is_empty() {
        return Err(TrainError::PatternMatchesNothing { pattern: rule.pattern.clone() });
    }
    let mut changed = |name: String| if rule.trained { trained.insert(name) } else { trained.remove(&name) };
    Ok(names.into_iter().map(|name| usize::from(changed(name))).sum())
}

fn method_trains(
    method: &Method,
    base: &[String],
    adapters: &[String],
    layers: usize,
) -> Result<BTreeSet<String>, TrainError> {
    match method {
        Method::Full => Ok(base.iter().cloned().collect()),
        Method::Lora { .. } => Ok(adapters.iter().cloned().collect()),
        Method::LastLayers { count } if *count == 0 || *count > layers => {
            Err(TrainError::LastLayers { count: *count, layers })
        }
        Method::LastLayers { count } => {
            let pattern = Pattern::Layers(layers - count, layers - 1);
            Ok(base.iter().filter(|name| pattern.matches(name)).cloned().collect())
        }
    }
}

/// Whether weight decay spares this tensor under `decay = matrices`.
pub fn is_matrix(name: &str, dimensions: usize) -> bool {
    dimensions >= 2 && !Pattern::Part("embed_tokens").matches(name)
}

/// What a freezing rule matches.
enum Pattern {
    All,
    /// Both ends included.
    Layers(usize, usize),
    /// One part of a dotted name.
    Part(&'static str),
    Norms,
    /// A tensor name, a part of one, or either with `*`.
    Name(String),
}

impl Pattern {
    fn parse(text: &str, layers: usize) -> Result<Pattern, TrainError> {
        let text = text.trim();
        if let Some(range) = text.strip_prefix("layers ").or_else(|| text.strip_prefix("layer ")) {
            let (start, end) = range.split_once("..").unwrap_or((range, range));
            let (Ok(start), Ok(end)) = (start.trim().parse(), end.trim().parse()) else {
                return Err(TrainError::Pattern { pattern: text.into() });
            };
            if start > end || end >= layers {
                return Err(TrainError::LayersOutside {
                    pattern: text.into(),
                    last: layers.saturating_sub(1),
                });
            }
            return Ok(Pattern::Layers(start, end));
        }
        Ok(match text {
            "" => return Err(TrainError::Pattern { pattern: text.into() }),
            "all" => Pattern::All,
            "embeddings" => Pattern::Part("embed_tokens"),
            "head" => Pattern::Part("lm_head"),
            "attention" => Pattern::Part("self_attn"),
            "mlp" => Pattern::Part("mlp"),
            "norms" => Pattern::Norms,
            name => Pattern::Name(name.into()),
        })
    }

    fn matches(&self, name: &str) -> bool {
        let mut parts = name.split('.');
        match self {
            Pattern::All => true,
            Pattern::Layers(start, end) => {
                parts.any(|part| part == "layers")
                    && parts
                        .next()
                        .and_then(|index| index.parse::<usize>().ok())
                        .is_some_and(|index| (*start..=*end).contains(&index))
            }
            Pattern::Part(word) => parts.any(|part| part == *word),
            Pattern::Norms => parts.any(|part| part.ends_with("norm")),
            Pattern::Name(pattern) if pattern.contains('*') => glob(pattern.as_bytes(), name.as_bytes()),
            Pattern::Name(pattern) => format!(".{name}.").contains(&format!(".{pattern}.")),
        }
    }
}

/// Whether `*` in the pattern can stand for some text, dots included, so that it is the name. Linear in both.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut retry = None;
    while read < name.len() {
        if pattern.get(at) == Some(&b'*') {
            retry = Some((at, read));
            at += 1;
        } else if pattern.get(at) == Some(&name[read]) {
            at += 1;
            read += 1;
        } else if let Some((star, from)) = retry {
            (at, read) = (star + 1, from + 1);
            retry = Some((star, from + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lora::LoraSettings;
    use crate::model::preset::preset;

    fn base() -> Vec<String> {
        let mut names = vec!["model.embed_tokens.weight".to_string(), "model.norm.weight".into()];
        for layer in 0..12 {
            for part in ["self_attn.q_proj", "mlp.up_proj", "input_layernorm"] {
                names.push(format!("model.layers.{layer}.{part}.weight"));
            }
        }
        names
    }

    fn adapters() -> Vec<String> {
        (0..12)
            .flat_map(|layer| {
                ["A", "B"].map(|side| format!("model.layers.{layer}.self_attn.q_proj.lora_{side}.weight"))
            })
            .collect()
    }

    fn count(method: Method, freeze: Vec<Selection>) -> Result<usize, String> {
        let mut recipe = Recipe::new(method);
        let adapters = if matches!(recipe.method, Method::Lora { .. }) { adapters() } else { vec![] };
        recipe.freeze = freeze;
        trained(&recipe, &base(), &adapters, 12).map(|names| names.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_method_trains_its_own_tensors() {
        assert_eq!(count(Method::Full, vec![]), Ok(38));
        assert_eq!(count(Method::LastLayers { count: 2 }, vec![]), Ok(6));
        assert_eq!(count(Method::lora(LoraSettings::default()), vec![]), Ok(24));
        assert!(count(Method::LastLayers { count: 13 }, vec![]).unwrap_err().contains("12"));
    }

    #[test]
    fn rules_apply_in_order_and_the_last_one_wins() {
        let freeze = vec![Selection::freeze("layers 0..3"), Selection::unfreeze("layers 3")];
        assert_eq!(count(Method::Full, freeze), Ok(38 - 9));
        let freeze = vec![Selection::freeze("all"), Selection::unfreeze("norms")];
        assert_eq!(count(Method::Full, freeze), Ok(13));
    }

    #[test]
    fn unfreezing_layers_of_a_lora_run_means_their_adapters() {
        let freeze = vec![Selection::freeze("layers 0..5"), Selection::unfreeze("layers 5")];
        assert_eq!(count(Method::lora(LoraSettings::default()), freeze), Ok(14));
        let embeddings = vec![Selection::unfreeze("embeddings")];
        assert_eq!(count(Method::lora(LoraSettings::default()), embeddings), Ok(25));
    }

    #[test]
    fn names_and_stars_match_whole_parts() {
        let one = |pattern: &str| count(Method::Full, vec![Selection::freeze(pattern)]);
        assert_eq!(one("q_proj"), Ok(26));
        assert_eq!(one("model.layers.1.*"), Ok(35));
        assert_eq!(one("*proj.weight"), Ok(14));
        assert!(one("proj").unwrap_err().contains("`proj`"));
        assert!(one("layers 3..12").unwrap_err().contains("11"));
        assert!(one("all").unwrap_err().contains("nothing"));
    }

    #[test]
    fn mistakes_are_told_from_the_shape_of_a_model_alone() {
        let config = preset("tiny").unwrap();
        let mistake = |method: Method, freeze: &[&str]| {
            let freeze = freeze.iter().map(|pattern| Selection::freeze(*pattern)).collect();
            let recipe = Recipe { freeze, ..Recipe::new(method) };
            selection_mistake(&config, &recipe).map(|error| error.to_string())
        };
        let lora = || Method::lora(LoraSettings::default());
        assert_eq!(mistake(lora(), &["layers 0"]), None);
        assert_eq!(mistake(Method::Full, &["embeddings", "model.layers.1.*"]), None);
        assert!(mistake(Method::Full, &["head"]).unwrap().contains("`head` matches no tensor"));
        assert!(mistake(lora(), &["layers 0..2"]).unwrap().contains("last layer is 1"));
        let idle = "`embeddings` changes nothing: what it matches is not trained before it";
        assert_eq!(mistake(lora(), &["embeddings"]).unwrap(), idle);
        assert!(mistake(Method::LastLayers { count: 1 }, &["layers 0"]).unwrap().contains("changes nothing"));
        assert!(mistake(lora(), &["attention", "mlp"]).unwrap().contains("nothing is left to train"));
    }

    #[test]
    fn decay_spares_norms_biases_and_embeddings() {
        assert!(is_matrix("model.layers.0.self_attn.q_proj.weight", 2));
        assert!(is_matrix("lm_head.weight", 2));
        assert!(!is_matrix("model.layers.0.input_layernorm.weight", 1));
        assert!(!is_matrix("model.embed_tokens.weight", 2));
    }
}
