//! What the settings of a `tune` mean together, with its model and data: rules that need no tensor and no row.

use crate::events::{Diagnostic, Span};
use crate::language::codes;
use crate::language::value::{Settings, plain_number};
use crate::model::config::LINEAR_MODULES;
use crate::model::lora::LoraSettings;
use crate::model::peft;
use crate::session::definitions::{DataDefinition, ModelDefinition};
use crate::statements::Checking;
use crate::train::recipe::{Method, Recipe};
use std::path::Path;

/// What settings that are each legal mean together. More rules come with the model and data in hand, in `plan`.
pub fn rules(
    settings: &Settings,
    recipe: &Recipe,
    model: &ModelDefinition,
    data: &DataDefinition,
    checking: &mut Checking,
) {
    let place = |name: &str| settings.span(name).unwrap_or(checking.span);
    let mut found = vec![];
    if let Err(error) = recipe.check() {
        found.push(Diagnostic::error(codes::RECIPE, error.to_string()).at(checking.span));
    }
    if settings.is_given("steps") && settings.is_given("epochs") {
        found.push(
            Diagnostic::error(codes::CONTRADICTION, "both `steps` and `epochs` are given")
                .label(place("steps"), "planned steps")
                .label(place("epochs"), "planned epochs")
                .note("keep one of them: a run has one planned end"),
        );
    }
    if let Method::Lora { settings: lora, from } = &recipe.method {
        lora_rules(settings, lora, from.as_deref(), model, &place, checking, &mut found);
    }
    if let (Method::LastLayers { count }, Some(config)) = (&recipe.method, &model.config)
        && *count as i64 > config.num_hidden_layers
    {
        found.push(
            Diagnostic::error(
                codes::TOO_MANY_LAYERS,
                format!(
                    "`last_layers` asks for {count} layers and the model has {}",
                    config.num_hidden_layers
                ),
            )
            .at(place("method")),
        );
    }
    if let Some(config) = &model.config
        && data.settings.is_given("max_len")
        && data.specification.max_len as i64 > config.max_position_embeddings
    {
        found.push(
            Diagnostic::warning(
                codes::BEYOND_CONTEXT,
                format!(
                    "`max_len` of `{}` is {} tokens and model `{}` is made for {}",
                    data.name, data.specification.max_len, model.name, config.max_position_embeddings
                ),
            )
            .at(place("data"))
            .note(format!("write `max_len = {} tokens` or less", config.max_position_embeddings)),
        );
    }
    let validation = data.specification.split.len() > 1;
    let wants_validation = [
        (recipe.eval_every.is_some(), "eval_every"),
        (recipe.keep_best, "keep_best"),
        (recipe.early_stopping.is_some(), "early_stopping"),
    ];
    for (wanted, name) in wants_validation {
        if wanted && !validation {
            found.push(
                Diagnostic::error(
                    codes::NO_VALIDATION,
                    format!("`{name}` needs a part `validation`, and data `{}` has none", data.name),
                )
                .at(place(name))
                .note(format!("write `split = 95% / 5%` in `data {}`", data.name)),
            );
        } else if wanted && name != "eval_every" && recipe.eval_every.is_none() {
            found.push(
                Diagnostic::error(codes::NO_EFFECT, format!("`{name}` has no effect without `eval_every`"))
                    .at(place(name))
                    .note("write, for example, `eval_every = 50 steps`"),
            );
        }
    }
    let usual = if matches!(recipe.method, Method::Lora { .. }) { (1e-5, 3e-3) } else { (1e-7, 3e-4) };
    if settings.is_given("lr") && recipe.lr > 0.0 && (recipe.lr < usual.0 || recipe.lr > usual.1) {
        let method = settings.word("method");
        found.push(
            Diagnostic::warning(
                codes::ODD_LR,
                format!(
                    "`lr = {}` is far from what `{method}` usually takes ({:e} to {:e})",
                    plain_number(recipe.lr),
                    usual.0,
                    usual.1
                ),
            )
            .at(place("lr")),
        );
    }
    found.into_iter().for_each(|diagnostic| checking.report(diagnostic));
}

fn lora_rules(
    settings: &Settings,
    lora: &LoraSettings,
    from: Option<&Path>,
    model: &ModelDefinition,
    place: &dyn Fn(&str) -> Span,
    checking: &Checking,
    found: &mut Vec<Diagnostic>,
) {
    let (_, inner) = settings.choice("method");
    let inner_place = |name: &str| inner.span(name).unwrap_or(place("method"));
    if let Some(from) = from {
        if !checking.outline.exists(from) {
            found.push(
                Diagnostic::error(
                    codes::MISSING_FILE,
                    format!("there is no PEFT folder `{}`", from.display()),
                )
                .at(inner_place("from"))
                .note("give the folder that holds adapter_config.json"),
            );
        } else if from.exists()
            && let Err(error) = peft::read_config(from)
        {
            found.push(
                Diagnostic::error(codes::MODEL_FILE, crate::session::sentence(&error))
                    .at(inner_place("from")),
            );
        }
        for name in ["rank", "alpha", "targets"] {
            if inner.is_given(name) {
                found.push(
                    Diagnostic::error(codes::NO_EFFECT, format!("`{name}` has no effect with `from`"))
                        .at(inner_place(name))
                        .note("rank, alpha and targets are those of the adapter that is continued"),
                );
            }
        }
        return;
    }
    for target in &lora.targets {
        if !LINEAR_MODULES.contains(&target.as_str()) && target != "lm_head" && target != "embed_tokens" {
            let nearest = LINEAR_MODULES.iter().max_by(|left, right| {
                strsim::jaro_winkler(left, target).total_cmp(&strsim::jaro_winkler(right, target))
            });
            let nearest = nearest.copied().unwrap_or(LINEAR_MODULES[0]);
            found.push(
                Diagnostic::error(
                    codes::NO_SUCH_TARGET,
                    format!("target `{target}` matches no linear of a Llama"),
                )
                .at(inner_place("targets"))
                .note(format!("did you mean `{nearest}`? There are {}", LINEAR_MODULES.join(", "))),
            );
        }
    }
    let Some(config) = &model.config else { return };
    if config.tie_word_embeddings
        && let Some(tied) =
            lora.targets.iter().find(|target| matches!(target.as_str(), "lm_head" | "embed_tokens"))
    {
        found.push(
            Diagnostic::error(
                codes::TIED_TARGET,
                format!(
                    "target `{tied}` is tied: the embedding and the head of model `{}` are one tensor",
                    model.name
                ),
            )
            .at(inner_place("targets"))
            .note("an adapter on one of them could not be merged; leave it out"),
        );
    }
    let narrowest =
        config.hidden_size.min(config.intermediate_size).min(config.num_key_value_heads * config.head_dim);
    if lora.rank > narrowest {
        found.push(
            Diagnostic::error(
                codes::RANK_TOO_LARGE,
                format!("`rank` is {} and the narrowest target matrix is {narrowest} wide", lora.rank),
            )
            .at(inner_place("rank"))
            .note(format!("write `rank = {narrowest}` or less; 8 to 64 are usual")),
        );
    }
}
