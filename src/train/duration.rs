//! How long a run will take: which blocks and batches are to be probed for it, and the sum over its steps.

use crate::data::batch::Schedule;
use crate::model::config::{Config, layer_of};
use crate::train::material::Material;
use crate::train::plan::{Circumstances, Plan, lora_settings};
use crate::train::probe::{Probed, Subject, renamed};
use crate::train::recipe::Recipe;
use crate::train::rehearsal::MicroBatch;
use tch::Kind;

/// Seconds that a run takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Duration {
    pub step: f64,
    /// All planned steps, without what happens on the way.
    pub steps: f64,
    /// One pass over the validation rows.
    pub evaluation: f64,
    pub probed: Probed,
}

/// The micro-batches of an epoch, in the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Typical {
    pub rows: f64,
    /// Tokens of a row with padding.
    pub length: f64,
    /// Examples in a row.
    pub examples: f64,
    pub supervised: f64,
}

impl Typical {
    /// None when there are no rows.
    pub fn of(material: &Material, recipe: &Recipe) -> Option<Typical> {
        let sizes = Schedule::new(&material.part, material.layout(recipe)).sizes(0);
        let sum = |of: fn(&crate::data::batch::Size) -> usize| sizes.iter().map(of).sum::<usize>() as f64;
        let (rows, batches) = (sum(|size| size.rows), sizes.len() as f64);
        (rows > 0.0).then(|| Typical {
            rows: rows / batches,
            length: sum(|size| size.rows * size.length) / rows,
            examples: material.part.len() as f64 / rows,
            supervised: sum(|size| size.supervised) / batches,
        })
    }

    fn tokens(&self) -> f64 {
        self.rows * self.length
    }

    /// Pairs of tokens that attention looks at.
    fn pairs(&self) -> f64 {
        let example = self.length / self.examples;
        self.tokens() * (example + 1.0) / 2.0
    }

    /// As whole rows and tokens, cut down to about `most` tokens where it has more.
    fn cut_to(&self, most: f64) -> MicroBatch {
        let rows = self.rows.min((most / self.length).max(1.0)).round();
        let length = self.length.min((most / rows).max(8.0)).round().max(1.0);
        let share = rows * length / self.tokens();
        let examples = self.examples.round().max(1.0) as u64;
        let document = (length as u64 / examples).max(1);
        let row = vec![document; examples as usize];
        MicroBatch {
            rows: rows as u64,
            length: length as u64,
            supervised: (self.supervised * share.min(1.0)).round().clamp(1.0, rows * length) as u64,
            documents: if examples > 1 { vec![row; rows as usize] } else { vec![] },
        }
    }
}

impl From<&MicroBatch> for Typical {
    fn from(batch: &MicroBatch) -> Typical {
        Typical {
            rows: batch.rows as f64,
            length: batch.length as f64,
            examples: batch.documents.first().map_or(1, Vec::len) as f64,
            supervised: batch.supervised as f64,
        }
    }
}

/// What is to be probed for a run; small enough to be stepped a few times in two or three seconds.
pub fn subject(
    config: &Config,
    circumstances: &Circumstances,
    device: &str,
    typical: &Typical,
    plan: &Plan,
    recipe: &Recipe,
) -> Subject {
    let top = plan.trained.keys().filter_map(|name| layer_of(name)).max();
    let (block, ends): (Vec<_>, Vec<_>) = plan
        .trained
        .iter()
        .filter(|(name, _)| layer_of(name).is_none_or(|layer| Some(layer) == top))
        .partition(|(name, _)| layer_of(name).is_some());
    // A second or so of a processor's core; a GPU does it in no time.
    let operations = if device == "cpu" { 1e11 } else { 2e13 };
    let micro_batch = typical.cut_to((operations / operations_per_token(config, typical)).max(64.0));
    Subject {
        config: Config { num_hidden_layers: 1, ..config.clone() },
        bf16: circumstances.storage.dtype == Kind::BFloat16,
        quantization: circumstances.storage.quantization,
        device: device.to_string(),
        block: block.into_iter().map(|(name, shape)| (renamed(name, 0), shape.clone())).collect(),
        ends: ends.into_iter().map(|(name, _)| name.clone()).collect(),
        lora: lora_settings(recipe).cloned(),
        optimizer: recipe.optimizer.clone(),
        micro_batch,
    }
}

/// Of one round of the probe, roughly: four blocks and the head, forwards and backwards.
fn operations_per_token(config: &Config, typical: &Typical) -> f64 {
    let head = (config.vocab_size * config.hidden_size) as f64 * typical.supervised / typical.tokens();
    4.0 * 4.0 * block_weights(config) + 4.0 * head
}

fn block_weights(config: &Config) -> f64 {
    let sides = crate::model::config::LINEAR_MODULES.map(|module| config.linear_shape(module));
    sides.iter().map(|(rows, columns)| (rows * columns) as f64).sum()
}

/// Operations of a block for a micro-batch, up to a factor.
fn block_operations(config: &Config, batch: &Typical) -> f64 {
    let width = (config.num_attention_heads * config.head_dim) as f64;
    block_weights(config) * batch.tokens() + 2.0 * width * batch.pairs()
}

/// The sum over a run's steps at a measured pace. `validation` are its micro-batches and how many there are.
pub fn duration(
    config: &Config,
    probed: Probed,
    subject: &Subject,
    typical: &Typical,
    validation: Option<(Typical, u64)>,
    plan: &Plan,
) -> Duration {
    let (pace, measured) = (probed.pace, Typical::from(&subject.micro_batch));
    let layers = config.num_hidden_layers as f64;
    let back = (layers - plan.lowest_trained as f64).max(0.0);
    let blocks = if back > 0.0 { pace.first + (back - 1.0) * pace.block } else { 0.0 };
    let larger = |batch: &Typical| block_operations(config, batch) / block_operations(config, &measured);
    let ends = |batch: &Typical| pace.ends * batch.supervised.max(1.0) / measured.supervised;
    let forwards = layers - back + plan.recomputed as f64;
    let micro_batch = ends(typical) + (blocks + forwards * pace.forward) * larger(typical);
    let update = pace.update_ends + back * pace.update_block;
    let per_step = plan.micro_batches_per_epoch as f64 / plan.steps_per_epoch as f64;
    let step = per_step * micro_batch + update;
    // Measuring computes the logits once; a step also goes back through them.
    let evaluation = validation.map_or(0.0, |(batch, count)| {
        count as f64 * (ends(&batch) / 2.0 + layers * pace.forward * larger(&batch))
    });
    Duration { step, steps: step * plan.steps as f64, evaluation, probed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::packing::Packing;
    use crate::model::preset::preset;
    use crate::train::fixtures::{material, packed, part};
    use crate::train::plan::plan;
    use crate::train::probe::{Freshness, Pace};
    use crate::train::recipe::{Batch, Length, Method};

    fn recipe() -> Recipe {
        let batch = Batch { micro: 4, accumulate: 2 };
        Recipe { batch, length: Length::Steps(10), ..Recipe::new(Method::LastLayers { count: 4 }) }
    }

    fn whole() -> Material {
        Material { part: part(&[256; 20]), packing: Packing::Off, shuffle: false }
    }

    #[test]
    fn a_run_takes_the_sum_of_its_parts() {
        let (config, material) = (preset("smollm2-135m").unwrap(), whole());
        let circumstances = Circumstances::default();
        let plan = plan(&config, circumstances, &material, &recipe()).unwrap();
        let typical = Typical::of(&material, &recipe()).unwrap();
        let subject = subject(&config, &circumstances, "cpu", &typical, &plan, &recipe());
        let pace =
            Pace { ends: 0.3, first: 0.05, block: 0.06, forward: 0.02, update_block: 0.01, update_ends: 0.0 };
        let probed = Probed { pace, at: 0, source: Freshness::Kept };
        let found = duration(&config, probed, &subject, &typical, Some((typical, 3)), &plan);
        // Five micro-batches in three steps; the probe had three of their four rows.
        assert_eq!((subject.micro_batch.tokens(), plan.steps_per_epoch), (768, 3));
        let (larger, blocks) = (4.0 / 3.0, 0.05 + 3.0 * 0.06 + 26.0 * 0.02);
        assert!((found.step - (5.0 / 3.0 * larger * (0.3 + blocks) + 0.04)).abs() < 2e-3, "{found:?}");
        assert!((found.steps / found.step - 10.0).abs() < 1e-9);
        assert!((found.evaluation - 3.0 * larger * (0.15 + 30.0 * 0.02)).abs() < 2e-3, "{found:?}");
    }

    #[test]
    fn ragged_and_packed_rows_are_probed_in_their_mean() {
        let ragged = Typical::of(&material(), &recipe()).unwrap();
        assert!(ragged.length > 10.0 && ragged.length < 25.0 && ragged.examples == 1.0);
        assert_eq!(ragged.cut_to(1e9).documents, Vec::<Vec<u64>>::new());
        let packed = Typical::of(&packed(), &recipe()).unwrap();
        assert!(packed.examples > 2.0);
        let batch = packed.cut_to(1e9);
        assert_eq!(batch.documents.len() as u64, batch.rows);
        assert!(batch.documents.iter().all(|row| row.len() > 1 && row.iter().sum::<u64>() <= batch.length));
    }

    #[test]
    fn what_is_probed_is_cut_to_size() {
        let long = Typical { rows: 8.0, length: 4096.0, examples: 1.0, supervised: 8.0 * 4095.0 };
        let cut = long.cut_to(512.0);
        assert_eq!((cut.rows, cut.length, cut.supervised), (1, 512, 512));
        let wide = Typical { rows: 64.0, length: 100.0, examples: 1.0, supervised: 640.0 };
        let cut = wide.cut_to(512.0);
        assert_eq!((cut.rows, cut.length, cut.supervised), (5, 100, 50));
    }
}
