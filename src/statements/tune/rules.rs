//! What the settings of a `tune` mean together, with its model and data: rules that need no tensor and no row.

mod adapter;
mod freezing;
mod idle;
mod learning_rate;
mod with_data;

use crate::events::Diagnostic;
use crate::language::codes;
use crate::language::value::Settings;
use crate::model::base::{Quantization, is_linear};
use crate::session::definitions::{DataDefinition, ModelDefinition};
use crate::session::outline::Outline;
use crate::session::stretches::Stretches;
use crate::session::written::Written;
use crate::statements::Checking;
use crate::train::error::TrainError;
use crate::train::plan::trained_shapes;
use crate::train::recipe::{Method, Recipe};

/// What a rule looks at.
pub struct Facts<'a> {
    pub written: Written<'a>,
    pub recipe: &'a Recipe,
    pub model: &'a ModelDefinition,
    pub data: &'a DataDefinition,
    pub outline: &'a Outline,
}

type Rule = fn(&Facts) -> Vec<Diagnostic>;

/// Every rule, in the order in which mistakes are told. More come when the rows are known (`session/data_rules.rs`).
const RULES: &[Rule] = &[
    numbers,
    one_end,
    adapter::continued,
    adapter::targets,
    adapter::rank,
    last_layers,
    quantized,
    freezing::freezing,
    learning_rate::unusual,
    stretches,
    with_data::validation,
    with_data::positions,
    with_data::chat_template,
    idle::optimizer,
    idle::cuda_graph,
    idle::evaluations,
];

/// What settings that are each legal mean together.
pub fn rules(
    settings: &Settings,
    recipe: &Recipe,
    model: &ModelDefinition,
    data: &DataDefinition,
    checking: &mut Checking,
) {
    let found = found(settings, recipe, model, data, checking);
    found.into_iter().for_each(|diagnostic| checking.report(diagnostic));
}

/// The same for settings that were changed: only what those before the change had not, so that `set` does not warn again
/// of what `tune` has warned of.
pub fn rules_of_change(
    before: (&Settings, &Recipe),
    after: (&Settings, &Recipe),
    model: &ModelDefinition,
    data: &DataDefinition,
    checking: &mut Checking,
) {
    let known = found(before.0, before.1, model, data, checking);
    let is_new = |diagnostic: &Diagnostic| known.iter().all(|known| known.message != diagnostic.message);
    let found = found(after.0, after.1, model, data, checking);
    found.into_iter().filter(is_new).for_each(|diagnostic| checking.report(diagnostic));
}

/// What the rules find, without saying it.
pub fn found(
    settings: &Settings,
    recipe: &Recipe,
    model: &ModelDefinition,
    data: &DataDefinition,
    checking: &Checking,
) -> Vec<Diagnostic> {
    let written = Written { settings, span: Some(checking.span) };
    let facts = Facts { written, recipe, model, data, outline: checking.outline };
    RULES.iter().flat_map(|rule| rule(&facts)).collect()
}

/// A number that training cannot work with.
fn numbers(facts: &Facts) -> Vec<Diagnostic> {
    let Err(error) = facts.recipe.check() else { return vec![] };
    let name = match &error {
        TrainError::Setting { name, .. } => name.clone(),
        _ => String::new(),
    };
    vec![facts.written.at(&name, Diagnostic::error(codes::RECIPE, error.to_string()))]
}

fn one_end(facts: &Facts) -> Vec<Diagnostic> {
    let written = &facts.written;
    if !written.is_given("steps") || !written.is_given("epochs") {
        return vec![];
    }
    let mut diagnostic = Diagnostic::error(codes::CONTRADICTION, "both `steps` and `epochs` are given")
        .note("keep one of them: a run has one planned end");
    for (name, what) in [("steps", "planned steps"), ("epochs", "planned epochs")] {
        if let Some(span) = written.place(name) {
            diagnostic = diagnostic.label(span, what);
        }
    }
    vec![diagnostic]
}

fn last_layers(facts: &Facts) -> Vec<Diagnostic> {
    let (Method::LastLayers { count }, Some(config)) = (&facts.recipe.method, &facts.model.config) else {
        return vec![];
    };
    let layers = config.num_hidden_layers;
    if *count as i64 <= layers {
        return vec![];
    }
    let message = format!("`last_layers` asks for {count} layers and the model has {layers}");
    let diagnostic = Diagnostic::error(codes::TOO_MANY_LAYERS, message);
    vec![facts.written.at("method.count", diagnostic).note(format!("write `count = {layers}` or less"))]
}

/// What is held in 4 bits takes no update.
fn quantized(facts: &Facts) -> Vec<Diagnostic> {
    let model = facts.model;
    let (path, what) = match &facts.recipe.method {
        _ if model.quantization == Quantization::Off => return vec![],
        Method::Full => ("method", "`full` trains"),
        Method::LastLayers { .. } => ("method", "`last_layers` trains"),
        Method::Lora { .. } => ("freeze", "`freeze` leaves trained"),
    };
    let shapes = model.config.as_ref().map(|config| trained_shapes(config, facts.recipe));
    // Without its shape a model is known to have linears; with it, they may all be frozen.
    let reaches = match shapes {
        Some(Ok(shapes)) => shapes.keys().any(|name| is_linear(name)),
        Some(Err(_)) => false, // told by another rule
        None => path == "method",
    };
    if !reaches {
        return vec![];
    }
    let message = format!("{what} weights that model `{}` holds in 4 bits", model.name);
    vec![
        facts
            .written
            .at(path, Diagnostic::error(codes::QUANTIZED, message))
            .note("write `method = lora` to train adapters over them (QLoRA)")
            .note(format!("or leave `quantization` out of `model {}`", model.name)),
    ]
}

fn stretches(facts: &Facts) -> Vec<Diagnostic> {
    Stretches { written: facts.written, recipe: facts.recipe, steps_per_epoch: None }.rules()
}
