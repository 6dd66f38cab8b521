//! A fine-tune and its data: a part to evaluate on, positions of the model, a chat template.

use crate::data::folder::has_chat_template;
use crate::data::shape::Shape;
use crate::events::Diagnostic;
use crate::files::gguf::Gguf;
use crate::language::codes;
use crate::language::value::Value;
use crate::session::definitions::{DataOrigin, ModelDefinition, ModelOrigin, TokenizerOrigin};
use crate::session::written::Written;
use crate::statements::tune::rules::Facts;
use crate::units::Unit;
use std::path::Path;

/// What goes by validation loss needs rows to measure it on.
pub fn validation(facts: &Facts) -> Vec<Diagnostic> {
    if facts.data.specification.split.len() > 1 {
        return vec![];
    }
    let wanted = [
        (facts.recipe.eval_every.is_some(), "eval_every"),
        (facts.recipe.keep_best, "keep_best"),
        (facts.recipe.early_stopping.is_some(), "early_stopping"),
    ];
    let data = &facts.data.name;
    let diagnostic = |name: &str| {
        let message = format!("`{name}` needs a part `validation`, and data `{data}` has none");
        facts
            .written
            .at(name, Diagnostic::error(codes::NO_VALIDATION, message))
            .note(format!("write `split = 95% / 5%` in `data {data}`"))
    };
    wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| diagnostic(name)).collect()
}

/// Beyond its positions a model was never trained.
pub fn positions(facts: &Facts) -> Vec<Diagnostic> {
    let of_data = Written { settings: &facts.data.settings, span: None };
    let Some(config) = facts.model.config.as_ref().filter(|_| of_data.is_given("max_len")) else {
        return vec![];
    };
    let (max_len, positions) = (facts.data.specification.max_len, config.max_position_embeddings);
    if max_len as i64 <= positions {
        return vec![];
    }
    let message = format!(
        "`max_len` of `{}` is {max_len} tokens and model `{}` is made for {positions}",
        facts.data.name, facts.model.name
    );
    let diagnostic = facts.written.at("data", Diagnostic::warning(codes::BEYOND_CONTEXT, message));
    let mended = Value::Measure { number: positions as f64, unit: Unit::Tokens };
    vec![of_data.mend("max_len", &mended, diagnostic)]
}

/// A chat becomes tokens through a template: the data's or the tokenizer's own.
pub fn chat_template(facts: &Facts) -> Vec<Diagnostic> {
    let DataOrigin::Path { shape: Some(Shape::Messages | Shape::Conversations) } = facts.data.origin else {
        return vec![];
    };
    if facts.data.specification.template.is_some() || has_template(facts.model) != Some(false) {
        return vec![];
    }
    let (data, model) = (&facts.data.name, &facts.model.name);
    let message =
        format!("data `{data}` holds chats, and the tokenizer of model `{model}` has no chat template");
    let mut diagnostic = facts.written.at("data", Diagnostic::error(codes::NO_TEMPLATE, message));
    if let Some(span) = facts.data.settings.span("from") {
        let end = crate::events::Span { start: span.end, ..span };
        diagnostic = diagnostic.fix(
            end,
            "; template = \"chatml\"",
            format!("write `template = \"chatml\"` in `data {data}`, or give another one"),
        );
    }
    vec![diagnostic]
}

/// Whether the model's tokenizer brings a chat template, where that is told by the files beside it.
fn has_template(model: &ModelDefinition) -> Option<bool> {
    let path = match (&model.tokenizer, &model.origin) {
        (TokenizerOrigin::Bytes, _) | (TokenizerOrigin::Model, ModelOrigin::Random { .. }) => {
            return Some(false);
        }
        (TokenizerOrigin::Path(path), _) => path,
        (TokenizerOrigin::Model, ModelOrigin::Folder(path) | ModelOrigin::Gguf(path)) => path,
        (TokenizerOrigin::Model, ModelOrigin::Sample(_)) => return None,
    };
    if path.is_dir() {
        return path.join("tokenizer.json").is_file().then(|| has_chat_template(path).ok())?;
    }
    if is_gguf(path) {
        return Gguf::open(path).ok().map(|file| file.has("tokenizer.chat_template"));
    }
    path.is_file().then_some(false) // a `tokenizer.json` alone has none
}

fn is_gguf(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "gguf")
}
