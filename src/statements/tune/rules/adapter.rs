//! Adapters: targets that match nothing, an adapter on a tied embedding, a rank above the matrix.

use crate::events::Diagnostic;
use crate::language::codes;
use crate::language::suggest::nearest;
use crate::language::value::Value;
use crate::model::config::{Config, LINEAR_MODULES, module_name};
use crate::model::lora::LoraSettings;
use crate::model::peft;
use crate::session::sentence;
use crate::statements::tune::rules::Facts;
use crate::train::recipe::Method;

/// Matrices that other tools put adapters on and ltune does not.
const EMBEDDINGS: [&str; 2] = ["lm_head", "embed_tokens"];

/// `from`: the folder is there, and nothing is given that it decides.
pub fn continued(facts: &Facts) -> Vec<Diagnostic> {
    let Method::Lora { from: Some(from), .. } = &facts.recipe.method else { return vec![] };
    let mut found = vec![];
    if !facts.outline.exists(from) {
        let message = format!("there is no PEFT folder `{}`", from.display());
        let diagnostic = facts.written.at("method.from", Diagnostic::error(codes::MISSING_FILE, message));
        found.push(diagnostic.note("give the folder that holds adapter_config.json"));
    } else if from.exists()
        && let Err(error) = peft::read_config(from)
    {
        let diagnostic = Diagnostic::error(codes::MODEL_FILE, sentence(&error));
        found.push(facts.written.at("method.from", diagnostic));
    }
    for name in ["rank", "alpha", "targets", "rank_stabilized"] {
        let path = format!("method.{name}");
        if facts.written.is_given(&path) {
            let message = format!("`{name}` has no effect with `from`");
            found.push(
                facts
                    .written
                    .at(&path, Diagnostic::error(codes::NO_EFFECT, message))
                    .note("rank, scale and targets are those of the adapter that is continued"),
            );
        }
    }
    found
}

pub fn targets(facts: &Facts) -> Vec<Diagnostic> {
    let Method::Lora { settings: lora, from: None } = &facts.recipe.method else { return vec![] };
    let wrong = lora.targets.iter().filter(|target| !is_linear(target, facts.model.config.as_ref()));
    wrong.map(|target| wrong_target(target, lora, facts)).collect()
}

/// A module by the end of its name or whole; without the model's shape a whole name is believed.
fn is_linear(target: &str, config: Option<&Config>) -> bool {
    if LINEAR_MODULES.contains(&target) {
        return true;
    }
    let last = target.rsplit('.').next().unwrap_or(target);
    let Some(config) = config else { return target.contains('.') && LINEAR_MODULES.contains(&last) };
    let alone = LoraSettings { targets: vec![target.to_string()], ..LoraSettings::default() };
    let mut layers = 0..config.num_hidden_layers;
    layers.any(|layer| LINEAR_MODULES.iter().any(|module| alone.matches(&module_name(layer, module))))
}

fn wrong_target(target: &str, lora: &LoraSettings, facts: &Facts) -> Diagnostic {
    let written = &facts.written;
    let at = |code, message: String| written.at("method.targets", Diagnostic::error(code, message));
    if EMBEDDINGS.contains(&target) {
        if facts.model.config.as_ref().is_some_and(|config| config.tie_word_embeddings) {
            let model = &facts.model.name;
            let message = format!(
                "target `{target}` is tied: the embedding and the head of model `{model}` are one tensor"
            );
            return at(codes::TIED_TARGET, message)
                .note("an adapter on one of them could not be merged; leave it out");
        }
        return at(codes::NO_SUCH_TARGET, format!("target `{target}` is no linear of a block")).note(
            format!("there are {}; the head and the embedding get no adapter", LINEAR_MODULES.join(", ")),
        );
    }
    let diagnostic = at(codes::NO_SUCH_TARGET, format!("target `{target}` matches no linear of a Llama"));
    if matches!(target, "all-linear" | "all" | "all_linear") {
        return diagnostic.note("without `targets` every linear of a block gets an adapter: leave it out");
    }
    let Some(near) = nearest(target, LINEAR_MODULES) else {
        return diagnostic.note(format!("there are {}", LINEAR_MODULES.join(", ")));
    };
    let mended = |known: &String| Value::Text(if known == target { near.into() } else { known.clone() });
    let list = Value::List(lora.targets.iter().map(mended).collect());
    written.mend("method.targets", &list, diagnostic)
}

/// An adapter is smaller than the matrix it stands on.
pub fn rank(facts: &Facts) -> Vec<Diagnostic> {
    let Method::Lora { settings: lora, from: None } = &facts.recipe.method else { return vec![] };
    let Some(config) = &facts.model.config else { return vec![] };
    let targeted = LINEAR_MODULES.into_iter().filter(|module| {
        (0..config.num_hidden_layers).any(|layer| lora.matches(&module_name(layer, module)))
    });
    let side = |module: &str| {
        let (out, width) = config.linear_shape(module);
        out.min(width)
    };
    let Some((narrowest, module)) = targeted.map(|module| (side(module), module)).min() else {
        return vec![];
    };
    if lora.rank <= narrowest {
        return vec![];
    }
    let message = format!("`rank` is {} and target `{module}` is {narrowest} wide", lora.rank);
    let diagnostic = facts.written.at("method.rank", Diagnostic::error(codes::RANK_TOO_LARGE, message));
    vec![diagnostic.note(format!("write `rank = {narrowest}` or less; 8 to 64 are usual"))]
}
