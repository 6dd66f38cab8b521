//! `freeze`: rules that fit no tensor, change nothing, or leave nothing to train.

use crate::events::Diagnostic;
use crate::language::codes;
use crate::language::suggest::nearest;
use crate::language::value::Value;
use crate::model::config::LINEAR_MODULES;
use crate::statements::tune::rules::Facts;
use crate::train::error::TrainError;
use crate::train::selection::selection_mistake;

/// Words and names that a rule may be, for one that is nearly so.
const WORDS: [&str; 12] = [
    "embeddings",
    "head",
    "norms",
    "attention",
    "mlp",
    "all",
    "self_attn",
    "embed_tokens",
    "lm_head",
    "input_layernorm",
    "post_attention_layernorm",
    "norm",
];

pub fn freezing(facts: &Facts) -> Vec<Diagnostic> {
    let Some(config) = facts.model.config.as_ref().filter(|_| !facts.recipe.freeze.is_empty()) else {
        return vec![];
    };
    let Some(mistake) = selection_mistake(config, facts.recipe) else { return vec![] };
    let model = &facts.model.name;
    let at = |code, message: String| facts.written.at("freeze", Diagnostic::error(code, message));
    let diagnostic = match &mistake {
        TrainError::LastLayers { .. } => return vec![], // told by its own rule
        TrainError::LayersOutside { pattern, last } => {
            at(codes::FREEZING, format!("`{pattern}` reaches beyond model `{model}`"))
                .note(format!("layers are counted from 0: it has 0..{last}"))
        }
        TrainError::PatternMatchesNothing { pattern } => {
            let diagnostic = at(codes::FREEZING, format!("`{pattern}` matches no tensor of model `{model}`"));
            match (pattern.as_str(), config.tie_word_embeddings) {
                ("head" | "lm_head", true) => {
                    diagnostic.note("its head is tied to the embedding: write `embeddings`")
                }
                _ => nearly(pattern, facts, diagnostic),
            }
        }
        TrainError::PatternChangesNothing { pattern, trained } => {
            let (rule, already) = match trained {
                true => (format!("not {pattern}"), "trained"),
                false => (pattern.clone(), "frozen"),
            };
            let method = facts.written.settings.maybe_word("method").unwrap_or("the method");
            at(codes::NO_EFFECT, format!("`{rule}` has no effect: all it matches is {already} already"))
                .note(format!("with `{method}` and the rules before it; leave it out"))
        }
        TrainError::NothingTrained => at(codes::NOTHING_TRAINED, "nothing is left to train".to_string())
            .note("the rules reach every tensor that the method trains"),
        other => at(codes::FREEZING, other.to_string()),
    };
    vec![diagnostic]
}

fn nearly(pattern: &str, facts: &Facts, diagnostic: Diagnostic) -> Diagnostic {
    let Some(near) = nearest(pattern, WORDS.into_iter().chain(LINEAR_MODULES)) else {
        return diagnostic.note(
            "write `layers 0..3`, `embeddings`, `head`, `norms`, `attention`, `mlp`, a module such as `q_proj`, or \
             tensor names with `*`",
        );
    };
    if !facts.written.stands("freeze") {
        return diagnostic.note(format!("did you mean `{near}`?"));
    }
    let rules = facts.written.settings.words("freeze");
    let mended = |rule: String| if names(&rule, pattern) { rule.replace(pattern, near) } else { rule };
    let list = rules.into_iter().map(|rule| Value::Text(mended(rule))).collect();
    facts.written.mend("freeze", &Value::List(list), diagnostic)
}

/// Whether a rule as it is written is of this pattern, frozen or not.
fn names(rule: &str, pattern: &str) -> bool {
    let rule = rule.trim();
    rule == pattern || rule.strip_prefix("not ").is_some_and(|rule| rule.trim() == pattern)
}
