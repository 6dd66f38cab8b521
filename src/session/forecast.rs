//! What a fine-tune will take on this machine: planned from its definitions and rows, before any weight is loaded.

use crate::data::dataset::{Dataset, PartName};
use crate::events::{Diagnostic, Out};
use crate::files::cache;
use crate::language::codes;
use crate::model::config::Config;
use crate::model::load::read_config;
use crate::session::definitions::{ModelDefinition, ModelOrigin, TuneDefinition};
use crate::session::run::{snapshot_budget, train_error};
use crate::session::{Session, fit, load, sentence};
use crate::torch::{device, memory};
use crate::train::duration::{Duration, Typical, duration, subject};
use crate::train::material::Material;
use crate::train::plan::{Circumstances, Plan, plan};
use crate::train::probe::{Freshness, probe};
use crate::train::recipe::{Checkpointing, Recipe};
use std::path::Path;
use std::sync::Arc;
use tch::Device;

/// Bytes of the process beside tensors and data, measured: the code of libtorch and ltune that runs, the plans and
/// buffers of oneDNN's products, a tokenizer.
const PROCESS: u64 = 190_000_000;

/// A planned fine-tune with what it was planned from.
pub struct Forecast {
    pub plan: Plan,
    /// That of the fine-tune, with what it leaves to the free memory decided.
    pub recipe: Recipe,
    pub config: Config,
    pub circumstances: Circumstances,
    pub dataset: Arc<Dataset>,
    pub material: Material,
    /// Bytes that the run may take without swapping, on the CPU and where the system tells.
    pub room: Option<u64>,
}

impl Forecast {
    pub fn device(&self) -> Device {
        self.circumstances.storage.device
    }

    /// Whether there is no room for it.
    pub fn lacks_room(&self) -> bool {
        self.room.is_some_and(|room| self.plan.peak_bytes() > room)
    }
}

impl Session {
    /// Tokenizes the rows if that was not done yet, and plans.
    pub fn forecast(&mut self, tune: &TuneDefinition, out: &mut Out) -> Result<Forecast, Diagnostic> {
        let config = config(&tune.model, out)?;
        let dataset = self.dataset(&tune.data, &tune.model, out)?;
        let material = Material::new(&dataset, &tune.data.specification, PartName::Train);
        let device = resolve(&tune.model)?;
        let circumstances = Circumstances {
            storage: load::storage_on(device, &tune.model),
            process: PROCESS + dataset.parts.iter().map(|part| part.bytes()).sum::<u64>(),
            file: load::weights_path(&tune.model, out)?.map_or(0, |path| bytes_of(&path)),
            snapshots: snapshot_budget(&tune.settings),
        };
        let room = self.room(tune, device, circumstances.process);
        let planned = |checkpointing| {
            let recipe = Recipe { checkpointing, ..tune.recipe.clone() };
            let plan = plan(&config, circumstances, &material, &recipe);
            Ok((plan.map_err(|error| train_error(&tune.name, &error))?, recipe))
        };
        let begun = self.runs.get(&tune.name).map(|run| run.trainer.recipe().checkpointing);
        let (plan, recipe) = match tune.recipe.checkpointing.or(begun.unwrap_or(Checkpointing::Auto)) {
            Checkpointing::Auto => as_needed(planned, room)?,
            given => planned(given)?,
        };
        Ok(Forecast { plan, recipe, config, circumstances, dataset, material, room })
    }

    /// The time of a run, on the base of a probe; none where the probe itself would not fit.
    pub fn duration(
        &mut self,
        forecast: &Forecast,
        recipe: &Recipe,
        freshness: Freshness,
    ) -> Result<Option<Duration>, Diagnostic> {
        let failed = |error: &dyn std::error::Error| Diagnostic::error(codes::TRAINING, sentence(error));
        let processor = self.processor()?;
        let Some(typical) = Typical::of(&forecast.material, recipe) else { return Ok(None) };
        let recipe = &crate::train::start::resolved(recipe).map_err(|error| failed(&error))?;
        let device = device::name(forecast.device());
        let subject =
            subject(&forecast.config, &forecast.circumstances, &device, &typical, &forecast.plan, recipe);
        if memory::available()
            .is_some_and(|free| forecast.device() == Device::Cpu && subject.bytes() > free / 2)
        {
            return Ok(None);
        }
        let folder = cache::folder().ok().map(|folder| folder.join("probes"));
        let probed =
            probe(&subject, &processor, folder.as_deref(), freshness).map_err(|error| failed(&error))?;
        let validation = Material {
            part: Arc::clone(forecast.dataset.part(PartName::Validation)),
            packing: crate::data::packing::Packing::Off,
            shuffle: false,
        };
        let validation = Typical::of(&validation, recipe)
            .map(|typical| (typical, validation.part.len().div_ceil(recipe.batch.micro) as u64));
        Ok(Some(duration(&forecast.config, probed, &subject, &typical, validation, &forecast.plan)))
    }

    /// Before the weights are loaded: refuses a run that surely does not fit, warns of one that may not. Gives the recipe
    /// with what was left to the free memory decided.
    pub fn must_fit(&mut self, tune: &TuneDefinition, out: &mut Out) -> Result<Recipe, Diagnostic> {
        let forecast = self.forecast(tune, out)?;
        match fit::complaint(tune, &forecast) {
            None => {}
            Some(diagnostic) if fit::surely_lacks_room(&forecast) => return Err(diagnostic),
            Some(diagnostic) => {
                out.diagnostic(Diagnostic { severity: crate::events::Severity::Warning, ..diagnostic });
            }
        }
        Ok(forecast.recipe)
    }

    /// What is free, and what this run already holds of what it will take.
    fn room(&self, tune: &TuneDefinition, device: Device, process: u64) -> Option<u64> {
        let free = memory::free_on(device)?;
        let base = self.loaded(&tune.model).map_or(0, |base| base.bytes_there());
        let own = self.runs.get(&tune.name).map_or(0, |run| run.trainer.bytes());
        if device != Device::Cpu {
            return Some(free + base + own + process); // the process itself is not there
        }
        let tensors = memory::tensors().map_or(0, |(now, _)| now);
        let process = memory::resident().map_or(0, |resident| resident.saturating_sub(tensors).min(process));
        Some(free + base + own + process)
    }
}

/// Activations are kept where they fit, be it at the price of snapshots.
fn as_needed(
    planned: impl Fn(Checkpointing) -> Result<(Plan, Recipe), Diagnostic>,
    room: Option<u64>,
) -> Result<(Plan, Recipe), Diagnostic> {
    let kept = planned(Checkpointing::Off)?;
    if room.is_none_or(|room| kept.0.peak_without_snapshots() <= room) {
        return Ok(kept);
    }
    let twice = planned(Checkpointing::On)?;
    Ok(if twice.0.peak_bytes() < kept.0.peak_bytes() { twice } else { kept })
}

/// The model's configuration; a sample is fetched if it must be.
fn config(model: &ModelDefinition, out: &mut Out) -> Result<Config, Diagnostic> {
    if let Some(config) = &model.config {
        return Ok(config.clone());
    }
    let path = load::weights_path(model, out)?.expect("random weights have a configuration");
    read_config(&path).map_err(|error| Diagnostic::error(codes::MODEL_FILE, sentence(&error)))
}

fn resolve(model: &ModelDefinition) -> Result<Device, Diagnostic> {
    device::resolve(&model.device).map_err(|error| Diagnostic::error(codes::DEVICE, sentence(&error)))
}

/// Bytes of a file, or of the weights in a folder.
fn bytes_of(path: &Path) -> u64 {
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let Ok(entries) = std::fs::read_dir(path) else { return length(path) };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let weights = paths.filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    weights.map(|path| length(&path)).sum()
}

/// The hash that a base of this model will have, without loading it.
pub fn base_hash(model: &ModelDefinition, out: &mut Out) -> Result<String, Diagnostic> {
    let failed = |error: &dyn std::error::Error| Diagnostic::error(codes::MODEL_FILE, sentence(error));
    let config = config(model, out)?;
    let kind = load::storage_on(resolve(model)?, model).dtype;
    let origin = match (&model.origin, load::weights_path(model, out)?) {
        (ModelOrigin::Random { seed }, _) => crate::model::base::Origin::Random { seed: *seed },
        (_, Some(path)) => crate::model::load::origin(&path).map_err(|error| failed(&error))?,
        (_, None) => unreachable!("only random weights have no file"),
    };
    origin.hash(&config, kind, model.quantization).map_err(|error| failed(&error))
}
