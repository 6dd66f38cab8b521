//! The tensors a run trains: made at its start, changed by freezing, and put together again from a checkpoint.

use crate::model::base::Base;
use crate::model::lora::LoraSettings;
use crate::model::peft;
use crate::model::trainables::Trainables;
use crate::torch::random;
use crate::train::error::TrainError;
use crate::train::recipe::{Method, Recipe};
use crate::train::selection::trained;
use std::collections::{BTreeMap, BTreeSet};
use tch::Tensor;

/// The tensors at step 0, and the recipe with the adapter's settings as its folder gives them.
pub fn trainables(base: &Base, recipe: Recipe) -> Result<(Trainables, Recipe), TrainError> {
    let (adapters, recipe) = adapters(base, recipe)?;
    let names = selected(base, &recipe, &adapters)?;
    let mut trainables = Trainables::of(base, |name| names.contains(name))?;
    // An adapter that is frozen from the start still stands over its layer.
    trainables.tensors.extend(adapters.tensors);
    trainables.lora = adapters.lora;
    settle(base, &mut trainables, &names);
    Ok((trainables, recipe))
}

fn adapters(base: &Base, recipe: Recipe) -> Result<(Trainables, Recipe), TrainError> {
    let Method::Lora { settings, from } = recipe.method.clone() else {
        return Ok((Trainables::default(), recipe));
    };
    let Some(folder) = from else {
        let seed = random::derive(recipe.seed, &[random::place("adapters")]);
        return Ok((Trainables::lora(base, &settings, seed)?, recipe));
    };
    let adapters = peft::read(&folder, base)?;
    let found = adapters.lora.clone().unwrap_or_else(|| settings.clone());
    let settings = LoraSettings { dropout: settings.dropout, ..found };
    let adapters = Trainables { lora: Some(settings.clone()), ..adapters };
    Ok((adapters, Recipe { method: Method::Lora { settings, from: Some(folder) }, ..recipe }))
}

/// The recipe with the adapter's settings as its folder gives them, before any run is there.
pub fn resolved(recipe: &Recipe) -> Result<Recipe, TrainError> {
    let Method::Lora { settings, from: Some(folder) } = &recipe.method else { return Ok(recipe.clone()) };
    let (found, _) = peft::read_folder(folder)?;
    let settings = LoraSettings { dropout: settings.dropout, ..found };
    Ok(Recipe { method: Method::Lora { settings, from: Some(folder.clone()) }, ..recipe.clone() })
}

/// The tensors under a changed recipe. They are the same tensors; one that is unfrozen is copied from the base.
pub fn amended(
    base: &Base,
    now: &Trainables,
    mut recipe: Recipe,
) -> Result<(Trainables, Recipe), TrainError> {
    let mut amended = Trainables { tensors: BTreeMap::new(), lora: now.lora.clone() };
    if let (Method::Lora { settings, .. }, Some(lora)) = (&mut recipe.method, &mut amended.lora) {
        lora.dropout = settings.dropout;
        *settings = lora.clone();
    }
    let names = selected(base, &recipe, now)?;
    let unfrozen = |name: &str| names.contains(name) && now.get(name).is_none();
    amended.tensors = Trainables::of(base, unfrozen)?.tensors;
    for (name, tensor) in &now.tensors {
        amended.tensors.insert(name.clone(), tensor.shallow_clone());
    }
    settle(base, &mut amended, &names);
    Ok((amended, recipe))
}

/// The tensors of a checkpoint, of which the recipe says which are trained.
pub fn resumed(
    base: &Base,
    tensors: BTreeMap<String, Tensor>,
    recipe: &Recipe,
) -> Result<Trainables, TrainError> {
    let lora = match &recipe.method {
        Method::Lora { settings, .. } => Some(settings.clone()),
        _ => None,
    };
    let mut trainables = Trainables { tensors, lora };
    let names = selected(base, recipe, &trainables)?;
    settle(base, &mut trainables, &names);
    Ok(trainables)
}

/// The names that the recipe trains, of the base's tensors and of the adapters among `held`.
fn selected(base: &Base, recipe: &Recipe, held: &Trainables) -> Result<BTreeSet<String>, TrainError> {
    let adapters: Vec<String> = held.tensors.keys().filter(|name| !base.has(name)).cloned().collect();
    let names = trained(recipe, &base.names(), &adapters, base.config.num_hidden_layers as usize)?;
    match names.iter().find(|name| base.nf4(name).is_some()) {
        Some(name) => Err(TrainError::Quantized { name: name.clone() }),
        None => Ok(names),
    }
}

/// Only tensors of these names take gradients, and what the base has under the run's own tensors makes room for them.
fn settle(base: &Base, trainables: &mut Trainables, names: &BTreeSet<String>) {
    for (name, tensor) in &mut trainables.tensors {
        *tensor = tensor.shallow_clone().set_requires_grad(names.contains(name));
    }
    base.lay_aside(&trainables.tensors);
}
