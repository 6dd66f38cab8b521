//! What a run will cost, by arithmetic alone: parameters, rows, steps, bytes, files and floating-point operations.

use crate::data::batch::{Footprint, Schedule, Size};
use crate::data::dataset::Part;
use crate::model::base::Storage;
use crate::model::config::{Config, LINEAR_MODULES, layer_of, module_name};
use crate::model::lora::{self, LoraSettings};
use crate::model::loss::CHUNK;
use crate::model::recomputed::Activations;
use crate::train::error::TrainError;
use crate::train::material::Material;
use crate::train::recipe::{Every, Method, Recipe};
use crate::train::rehearsal::{MicroBatch, Play, rehearse};
use crate::train::selection::trained;
use crate::train::shade::{Peak, Purpose};
use crate::train::start;
use std::collections::BTreeMap;

/// What a plan depends on beside model, rows and recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    pub storage: Storage,
    /// Bytes of the process beside its tensors.
    pub process: u64,
    /// Bytes of the file that the weights are read from.
    pub file: u64,
    /// The most bytes that snapshots for going back may take.
    pub snapshots: u64,
}

/// A run before it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Numbers in the model, a tied head counted once, adapters not counted.
    pub parameters: u64,
    pub trainable: u64,
    /// Numbers in adapters, trained or frozen.
    pub adapters: u64,
    /// Names and shapes of what is trained.
    pub trained: BTreeMap<String, Vec<i64>>,
    pub examples: u64,
    /// Rows an epoch; with packing fewer than examples.
    pub rows: u64,
    /// Tokens of the rows, each epoch.
    pub tokens: u64,
    pub supervised: u64,
    /// Tokens with padding: what the model works through each epoch.
    pub padded: u64,
    /// Tokens of the longest row.
    pub longest: u64,
    pub micro_batches_per_epoch: u64,
    pub rows_per_step: u64,
    pub steps_per_epoch: u64,
    pub steps: u64,
    pub warmup_steps: u64,
    pub epochs: f64,
    /// Bytes at the peak.
    pub memory: Vec<Component>,
    /// Bytes of one snapshot, and how many are held at most.
    pub snapshot: (u64, u64),
    /// The lowest block that a gradient reaches; all from it on take part in the backward pass.
    pub lowest_trained: u64,
    /// Blocks that are computed twice.
    pub recomputed: u64,
    /// Floating-point operations of one epoch, forward and backward.
    pub flops_per_epoch: f64,
}

/// One part of the memory that a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    pub name: &'static str,
    pub bytes: u64,
}

impl Plan {
    pub fn trainable_share(&self) -> f64 {
        self.trainable as f64 / self.all_parameters() as f64
    }

    /// The share of the model's work that goes into padding.
    pub fn padding_waste(&self) -> f64 {
        if self.padded == 0 { 0.0 } else { 1.0 - self.tokens as f64 / self.padded as f64 }
    }

    pub fn peak_bytes(&self) -> u64 {
        self.memory.iter().map(|component| component.bytes).sum()
    }

    /// The same without what is held for going back.
    pub fn peak_without_snapshots(&self) -> u64 {
        let others = self.memory.iter().filter(|component| component.name != SNAPSHOTS);
        others.map(|component| component.bytes).sum()
    }

    /// Floating-point operations of the whole run.
    pub fn flops(&self) -> f64 {
        self.flops_per_epoch * self.steps as f64 / self.steps_per_epoch as f64
    }

    /// Of one token that the model works through, on average.
    pub fn flops_per_token(&self) -> f64 {
        self.flops_per_epoch / self.padded as f64
    }

    pub fn flops_per_step(&self) -> f64 {
        self.flops_per_epoch / self.steps_per_epoch as f64
    }

    /// Numbers in the model and its adapters.
    pub fn all_parameters(&self) -> u64 {
        self.parameters + self.adapters
    }

    /// Checkpoints that `run` writes on its way to the planned end and there; none where only the clock decides.
    pub fn checkpoints(&self, recipe: &Recipe) -> Option<u64> {
        let at_end = |every: Every| every.is_due(self.steps, self.steps_per_epoch, 0.0);
        let on_the_way = match recipe.save_every {
            None => 0,
            Some(every) => every.times(self.steps, self.steps_per_epoch)? - u64::from(at_end(every)),
        };
        Some(on_the_way + 1)
    }

    /// Bytes of one checkpoint: what is trained, and what the optimizer remembers of it.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.snapshot.0
    }

    /// Evaluations on the way; none where only the clock decides.
    pub fn evaluations(&self, recipe: &Recipe) -> Option<u64> {
        recipe.eval_every.map_or(Some(0), |every| every.times(self.steps, self.steps_per_epoch))
    }
}

/// Plans a run of `recipe` on a model of this shape.
pub fn plan(
    config: &Config,
    circumstances: Circumstances,
    material: &Material,
    recipe: &Recipe,
) -> Result<Plan, TrainError> {
    let recipe = &start::resolved(recipe)?; // an adapter's folder knows its rank
    recipe.check()?;
    let order = Schedule::new(&material.part, material.layout(recipe));
    let (footprint, steps_per_epoch) = (order.footprint(0), order.steps_per_epoch() as u64);
    if steps_per_epoch == 0 {
        return Err(TrainError::NoRows);
    }
    let (own, trained) = (own_shapes(config, recipe)?, trained_shapes(config, recipe)?);
    let count = |shapes: &BTreeMap<String, Vec<i64>>| shapes.values().map(|shape| numel(shape)).sum::<u64>();
    let steps = recipe.planned_steps(steps_per_epoch);
    let supervised = material.part.supervised_tokens() as u64;
    let activations = recipe.checkpointing.activations();
    let work = Work { config, trained: &trained, activations, footprint, supervised, part: &material.part };
    let snapshot_bytes = FP32 * (count(&own) + recipe.optimizer.moments() * count(&trained));
    let snapshots = snapshots(snapshot_bytes, circumstances.snapshots, steps);
    let peak = peak(config, circumstances, recipe, &order)?;
    let lowest_trained = work.lowest_trained() as u64;
    let flops_per_epoch = work.flops();
    let memory = memory(config, &peak, circumstances, snapshots * snapshot_bytes);
    Ok(Plan {
        parameters: config.parameter_count(),
        trainable: count(&trained),
        adapters: own
            .iter()
            .filter(|(name, _)| lora::module_of(name).is_some())
            .map(|(_, shape)| numel(shape))
            .sum(),
        examples: material.part.len() as u64,
        rows: footprint.rows as u64,
        tokens: footprint.tokens as u64,
        supervised,
        padded: footprint.padded as u64,
        longest: footprint.longest as u64,
        micro_batches_per_epoch: order.micro_batches_per_epoch() as u64,
        rows_per_step: recipe.batch.rows() as u64,
        steps_per_epoch,
        steps,
        warmup_steps: recipe.warmup.steps(steps, steps_per_epoch),
        epochs: steps as f64 / steps_per_epoch as f64,
        memory,
        snapshot: (snapshot_bytes, snapshots),
        lowest_trained,
        recomputed: work.recomputed(),
        flops_per_epoch,
        trained,
    })
}

/// Up to this size a snapshot is held after every step; larger ones after as many steps as they are times larger.
pub const SNAPSHOT_EVERY_STEP: u64 = 64 << 20;
/// Small states are many before they are large: going through more of them would take longer than taking steps again.
pub const MOST_SNAPSHOTS: u64 = 1024;

/// How many snapshots of this size are held at most: the beginning and one after every step; larger ones after every
/// other step, and so on, without the beginning, which is made anew from the base; all within the budget.
fn snapshots(bytes: u64, budget: u64, steps: u64) -> u64 {
    let every = bytes.div_ceil(SNAPSHOT_EVERY_STEP).max(1);
    let beginning = u64::from(every == 1);
    (budget / bytes.max(1)).min(steps / every + beginning).min(MOST_SNAPSHOTS)
}

/// Names and shapes of the tensors that a recipe trains.
pub fn trained_shapes(config: &Config, recipe: &Recipe) -> Result<BTreeMap<String, Vec<i64>>, TrainError> {
    let base: BTreeMap<String, Vec<i64>> = config.parameter_shapes().into_iter().collect();
    let adapters = adapter_shapes(config, recipe);
    let names = |shapes: &BTreeMap<String, Vec<i64>>| shapes.keys().cloned().collect::<Vec<_>>();
    let trained = trained(recipe, &names(&base), &names(&adapters), config.num_hidden_layers as usize)?;
    Ok(base.into_iter().chain(adapters).filter(|(name, _)| trained.contains(name)).collect())
}

/// Names and shapes of the run's own tensors: what it trains, and adapters that stand frozen over their layers.
fn own_shapes(config: &Config, recipe: &Recipe) -> Result<BTreeMap<String, Vec<i64>>, TrainError> {
    Ok(trained_shapes(config, recipe)?.into_iter().chain(adapter_shapes(config, recipe)).collect())
}

pub fn lora_settings(recipe: &Recipe) -> Option<&LoraSettings> {
    match &recipe.method {
        Method::Lora { settings, .. } => Some(settings),
        _ => None,
    }
}

fn adapter_shapes(config: &Config, recipe: &Recipe) -> BTreeMap<String, Vec<i64>> {
    let mut shapes = BTreeMap::new();
    let Some(settings) = lora_settings(recipe) else { return shapes };
    for layer in 0..config.num_hidden_layers {
        for module in LINEAR_MODULES {
            let (name, (rows, columns)) = (module_name(layer, module), config.linear_shape(module));
            if settings.matches(&name) {
                let (a, b) = lora::names(&name);
                shapes.insert(a, vec![settings.rank, columns]);
                shapes.insert(b, vec![rows, settings.rank]);
            }
        }
    }
    shapes
}

fn numel(shape: &[i64]) -> u64 {
    shape.iter().product::<i64>() as u64
}

/// The micro-batch of the first epoch that takes most memory.
fn heaviest(order: &Schedule, config: &Config, width: u64) -> MicroBatch {
    let (d, f) = (config.hidden_size as u64, config.intermediate_size as u64);
    let a_token = config.num_hidden_layers as u64 * (4 * d + 3 * f) * width;
    let a_target = 2 * config.vocab_size as u64 * FP32;
    let weight = |size: &Size| {
        (size.rows * size.length) as u64 * a_token + (size.supervised as u64).min(CHUNK as u64) * a_target
    };
    let sizes = order.sizes(0);
    let Some((index, size)) = sizes.iter().enumerate().max_by_key(|(_, size)| weight(size)) else {
        return MicroBatch::default();
    };
    let accumulate = order.layout().accumulate;
    let batch = order.step((index / accumulate) as u64).swap_remove(index % accumulate);
    let packed = batch.documents.iter().any(|documents| documents.len() > 1);
    let documents = batch.documents.iter().map(|row| row.iter().map(|length| *length as u64).collect());
    MicroBatch {
        rows: size.rows as u64,
        length: size.length as u64,
        supervised: size.supervised as u64,
        documents: if packed { documents.collect() } else { vec![] },
    }
}

/// What the tensors of a step with the heaviest micro-batches take.
pub(super) fn peak(
    config: &Config,
    Circumstances { storage, .. }: Circumstances,
    recipe: &Recipe,
    order: &Schedule,
) -> Result<Peak, TrainError> {
    let (own, trained) = (own_shapes(config, recipe)?, trained_shapes(config, recipe)?);
    let (is_trained, micro_batch) =
        (|name: &str| trained.contains_key(name), heaviest(order, config, storage.compute_width()));
    Ok(rehearse(&Play {
        config,
        storage,
        own: &own,
        trained: &is_trained,
        lora: lora_settings(recipe),
        moments: recipe.optimizer.moments(),
        accumulate: recipe.batch.accumulate,
        activations: recipe.checkpointing.activations(),
        micro_batch: &micro_batch,
    }))
}

const SNAPSHOTS: &str = "snapshots";

/// Bytes at the moment that takes most: of a step, or of loading, when the file lies beside the weights read from it.
fn memory(config: &Config, peak: &Peak, circumstances: Circumstances, snapshots: u64) -> Vec<Component> {
    let component = |name, bytes| Component { name, bytes };
    let weights = circumstances.storage.bytes(config);
    let process = component("process", circumstances.process);
    if weights + circumstances.file > peak.bytes() + snapshots {
        return vec![component("weights", weights), component("their file", circumstances.file), process];
    }
    let parts = Purpose::ALL.iter().zip(peak.parts).map(|(purpose, bytes)| component(purpose.name(), bytes));
    let more = [component("gaps", peak.gaps), component(SNAPSHOTS, snapshots), process];
    parts.chain(more).collect()
}

const FP32: u64 = 4;

/// What an epoch's work consists of.
struct Work<'a> {
    config: &'a Config,
    trained: &'a BTreeMap<String, Vec<i64>>,
    activations: Activations,
    footprint: Footprint,
    supervised: u64,
    part: &'a Part,
}

impl Work<'_> {
    /// Two operations a weight and token forwards; as many again for the gradient of the input, from the lowest
    /// block that trains anything up, and there once more where activations are computed twice; as many again for the
    /// gradient of a weight that is trained.
    fn flops(&self) -> f64 {
        let tokens = self.footprint.padded as f64;
        let blocks: f64 = (0..self.config.num_hidden_layers).map(|layer| self.block(layer)).sum();
        let head = numel(&[self.config.vocab_size, self.config.hidden_size]) as f64;
        let head_passes = if self.trained.contains_key(self.config.head_name()) { 3.0 } else { 2.0 };
        blocks * tokens + 2.0 * head * head_passes * self.supervised as f64 + self.attention()
    }

    /// Operations of the linears of a block for one token.
    fn block(&self, layer: i64) -> f64 {
        let takes_part = layer >= self.lowest_trained();
        let input_gradient = f64::from(u8::from(takes_part));
        let again = f64::from(u8::from(takes_part && self.activations == Activations::Recomputed));
        let mut operations = 0.0;
        for module in LINEAR_MODULES {
            let (name, (rows, columns)) = (module_name(layer, module), self.config.linear_shape(module));
            let weights = (rows * columns) as f64;
            let is_trained = self.trained.contains_key(&format!("{name}.weight"));
            operations += 2.0 * weights * (1.0 + again + input_gradient + f64::from(u8::from(is_trained)));
            for side in ["A", "B"] {
                let adapter = self.trained.get(&format!("{name}.lora_{side}.weight"));
                operations += adapter.map_or(0.0, |shape| (6.0 + 2.0 * again) * numel(shape) as f64);
            }
        }
        operations
    }

    /// Scores and their product with the values, over the earlier half of each example; backwards twice as much.
    fn attention(&self) -> f64 {
        let width = (self.config.num_attention_heads * self.config.head_dim) as f64;
        let pairs: f64 = (0..self.part.len())
            .map(|example| {
                let length = self.part.length(example) as f64;
                length * (length + 1.0) / 2.0
            })
            .sum();
        let backwards = (self.config.num_hidden_layers - self.lowest_trained()).max(0) as f64;
        let forwards = self.config.num_hidden_layers as f64 + self.recomputed() as f64;
        4.0 * width * pairs * (forwards + 2.0 * backwards)
    }

    /// Blocks that are computed twice.
    fn recomputed(&self) -> u64 {
        match self.activations {
            Activations::Kept => 0,
            Activations::Recomputed => (self.config.num_hidden_layers - self.lowest_trained()).max(0) as u64,
        }
    }

    /// The lowest block that a gradient reaches.
    fn lowest_trained(&self) -> i64 {
        let after = self.config.num_hidden_layers;
        let embeddings = self.trained.contains_key("model.embed_tokens.weight");
        let lowest = self.trained.keys().filter_map(|name| layer_of(name)).min().unwrap_or(after);
        if embeddings { 0 } else { lowest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::packing::Packing;
    use crate::model::lora::LoraSettings;
    use crate::model::preset::preset;
    use crate::train::fixtures::{material, part, trainer};
    use crate::train::recipe::{Batch, Checkpointing, Decay, Length, Optimizer, Selection};

    fn smollm2(recipe: &Recipe) -> Plan {
        let config = preset("smollm2-135m").unwrap();
        let material = Material { part: part(&[256; 20]), packing: Packing::Off, shuffle: false };
        plan(&config, Circumstances::default(), &material, recipe).unwrap()
    }

    fn lora(rank: i64) -> Recipe {
        let method = Method::lora(LoraSettings { rank, alpha: 16.0, ..LoraSettings::default() });
        Recipe { batch: Batch { micro: 4, accumulate: 1 }, ..Recipe::new(method) }
    }

    #[test]
    fn parameters_are_those_of_the_reference() {
        let adapters = smollm2(&lora(8));
        assert_eq!((adapters.parameters, adapters.trainable), (134_515_008, 2_442_240));
        let full = smollm2(&Recipe::new(Method::Full));
        assert_eq!((full.trainable, full.trainable_share()), (134_515_008, 1.0));
        assert_eq!(smollm2(&Recipe::new(Method::LastLayers { count: 2 })).trainable, 2 * 3_540_096);
    }

    #[test]
    fn the_plan_trains_what_the_trainer_trains() {
        let freeze = vec![Selection::freeze("layers 0"), Selection::unfreeze("norms")];
        for method in [Method::Full, Method::LastLayers { count: 1 }, lora(4).method] {
            let recipe = Recipe { freeze: freeze.clone(), ..Recipe::new(method) };
            let run = trainer(material(), recipe.clone());
            let trained = run.trainables().tensors.iter().filter(|(_, tensor)| tensor.requires_grad());
            let trained: BTreeMap<String, Vec<i64>> =
                trained.map(|(name, tensor)| (name.clone(), tensor.size())).collect();
            let plan = plan(&run.base().config, Circumstances::default(), &material(), &recipe).unwrap();
            assert_eq!(plan.trained, trained);
            assert_eq!(plan.trainable, run.trainables().trained_count());
            assert_eq!((plan.steps, plan.steps_per_epoch), (run.planned_steps(), run.steps_per_epoch()));
        }
    }

    #[test]
    fn steps_warmup_and_padding_are_counted() {
        let plan = plan(
            &preset("tiny").unwrap(),
            Circumstances::default(),
            &material(),
            &Recipe {
                length: Length::Epochs(20.0),
                batch: Batch { micro: 2, accumulate: 2 },
                ..Recipe::new(Method::Full)
            },
        )
        .unwrap();
        assert_eq!((plan.rows, plan.steps_per_epoch, plan.steps, plan.warmup_steps), (22, 6, 120, 4));
        assert_eq!(plan.tokens as usize, material().part.tokens());
        assert!(plan.padding_waste() > 0.0 && plan.padding_waste() < 0.5);
        assert_eq!(smollm2(&lora(8)).padding_waste(), 0.0);
    }

    /// 6N + attention for full, 4N + attention + 6 N_lora for LoRA, where N are the linears and the head.
    #[test]
    fn operations_follow_the_known_formulas() {
        let (linears, head) = (30.0 * (3_540_096.0 - 2.0 * 576.0), 49_152.0 * 576.0);
        let attention = 6.0 * 30.0 * 2.0 * 576.0 * 257.0 / 2.0; // forward and twice backward, half the positions
        let supervised = smollm2(&lora(8)).supervised as f64 / (20.0 * 256.0);
        let near = |found: f64, wanted: f64| assert!((found / wanted - 1.0).abs() < 1e-9, "{found} {wanted}");
        let full = smollm2(&Recipe::new(Method::Full)).flops_per_token();
        near(full, 6.0 * (linears + head * supervised) + attention);
        let adapters = smollm2(&lora(8)).flops_per_token();
        near(adapters, 4.0 * (linears + head * supervised) + attention + 6.0 * 2_442_240.0);
        let twice = smollm2(&Recipe { checkpointing: Checkpointing::On, ..lora(8) });
        let forward = 2.0 * (linears + 2_442_240.0) + attention / 3.0;
        near(twice.flops_per_token(), adapters + forward);
        assert_eq!(twice.recomputed, 30);
    }

    #[test]
    fn memory_follows_the_method_and_the_optimizer() {
        let bytes =
            |plan: &Plan, name: &str| plan.memory.iter().find(|part| part.name == name).unwrap().bytes;
        let adapters = smollm2(&lora(8));
        assert_eq!(bytes(&adapters, "weights"), 4 * 134_515_008);
        assert_eq!(bytes(&adapters, "moments"), 8 * 2_442_240);
        let sgd = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0, nesterov: false, decay: Decay::All };
        assert_eq!(bytes(&smollm2(&Recipe { optimizer: sgd, ..lora(8) }), "moments"), 0);
        let last = Recipe {
            batch: Batch { micro: 4, accumulate: 1 },
            ..Recipe::new(Method::LastLayers { count: 3 })
        };
        assert!(bytes(&smollm2(&last), "activations") * 6 < bytes(&adapters, "activations"));
        assert_eq!(adapters.peak_bytes(), adapters.memory.iter().map(|part| part.bytes).sum::<u64>());
        let twice = smollm2(&Recipe { checkpointing: Checkpointing::On, ..lora(8) });
        assert!(bytes(&twice, "activations") * 4 < bytes(&adapters, "activations"));
    }

    #[test]
    fn snapshots_stay_within_their_budget_and_are_no_more_than_steps() {
        let planned = |snapshots| {
            let material = Material { part: part(&[256; 20]), packing: Packing::Off, shuffle: false };
            let circumstances = Circumstances { snapshots, ..Circumstances::default() };
            plan(&preset("smollm2-135m").unwrap(), circumstances, &material, &lora(8)).unwrap()
        };
        let one = 3 * 4 * 2_442_240;
        assert_eq!(planned(0).snapshot, (one, 0));
        assert_eq!(planned(one * 2 + 1).snapshot, (one, 2));
        assert_eq!(planned(u64::MAX).snapshot, (one, 6), "five steps, and the state before them");
        assert_eq!(planned(one * 2).peak_bytes(), planned(0).peak_bytes() + 2 * one);
        assert_eq!(snapshots(200 << 20, u64::MAX, 11), 2, "a large one after every fourth step");
    }

    #[test]
    fn a_small_run_takes_most_while_its_weights_are_read() {
        let material = Material { part: part(&[4; 2]), packing: Packing::Off, shuffle: false };
        let circumstances = Circumstances { file: 1 << 30, process: 7, ..Circumstances::default() };
        let plan = plan(&preset("smollm2-135m").unwrap(), circumstances, &material, &lora(8)).unwrap();
        let names: Vec<&str> = plan.memory.iter().map(|part| part.name).collect();
        assert_eq!(names, ["weights", "their file", "process"]);
        assert_eq!(plan.peak_bytes(), 4 * 134_515_008 + (1 << 30) + 7);
    }

    #[test]
    fn checkpoints_and_evaluations_are_counted() {
        let counted = |save_every, eval_every| {
            let recipe = Recipe { save_every, eval_every, length: Length::Steps(10), ..lora(8) };
            let plan = smollm2(&recipe);
            (plan.checkpoints(&recipe), plan.evaluations(&recipe))
        };
        assert_eq!(counted(None, None), (Some(1), Some(0)));
        assert_eq!(counted(Some(Every::Steps(4)), Some(Every::Steps(5))), (Some(3), Some(2)));
        assert_eq!(counted(Some(Every::Steps(5)), Some(Every::Epochs(0.5))), (Some(2), Some(4)));
        assert_eq!(counted(Some(Every::Seconds(9.0)), Some(Every::Seconds(9.0))), (None, None));
    }
}
