//! A step acted out to see the memory it takes: the same operations in the same order as `model/llama.rs` (on the
//! processor, with its kernels), `model/loss.rs` and `optimizer.rs`, on tensors without numbers. What changes there
//! changes here.

use crate::model::base::Storage;
use crate::model::config::{Config, module_name};
use crate::model::lora::{self, LoraSettings};
use crate::model::loss::CHUNK;
use crate::model::recomputed::{Activations, Lowest};
use crate::torch::kernels;
use crate::train::shade::{Kept, Layer, Peak, Purpose, Shade, Stage};
use std::collections::BTreeMap;
use tch::{Device, Kind};

/// What is acted out.
pub struct Play<'a> {
    pub config: &'a Config,
    pub storage: Storage,
    /// The run's own tensors and their shapes: what it trains, and adapters that are frozen.
    pub own: &'a BTreeMap<String, Vec<i64>>,
    /// Which of them take gradients.
    pub trained: &'a dyn Fn(&str) -> bool,
    pub lora: Option<&'a LoraSettings>,
    /// fp32 numbers that the optimizer keeps for each trained one.
    pub moments: u64,
    pub accumulate: usize,
    pub activations: Activations,
    pub micro_batch: &'a MicroBatch,
}

/// The size of a micro-batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct MicroBatch {
    pub rows: u64,
    /// Tokens of the longest row.
    pub length: u64,
    pub supervised: u64,
    /// Lengths of the examples that are packed into each row; empty when nothing is packed.
    pub documents: Vec<Vec<u64>>,
}

impl MicroBatch {
    /// Tokens with padding.
    pub fn tokens(&self) -> u64 {
        self.rows * self.length
    }

    /// Tokens of its documents, each to the next whole number of the blocks in which attention takes them.
    fn in_blocks(&self) -> u64 {
        const BLOCK: u64 = 64;
        if self.documents.is_empty() {
            return self.rows * self.length.next_multiple_of(BLOCK);
        }
        self.documents.iter().flatten().map(|length| length.next_multiple_of(BLOCK)).sum()
    }
}

/// fp32
const WIDE: u64 = 4;

/// The peak of loading the weights and of two steps; from the second on all are alike.
pub fn rehearse(play: &Play) -> Peak {
    let stage = Stage::default();
    let cast = Cast::load(play, &stage);
    let _kept = cast.kept_by_attention();
    for _ in 0..2 {
        // A third micro-batch takes what the second does.
        for _ in 0..play.accumulate.min(2) {
            cast.micro_batch(play.micro_batch);
        }
        cast.update();
    }
    stage.peak()
}

/// Everything on the stage from the start.
struct Cast<'a> {
    play: &'a Play<'a>,
    stage: Stage,
    base: BTreeMap<String, Shade>,
    own: BTreeMap<String, Shade>,
    moments: std::cell::RefCell<Vec<Shade>>,
}

impl<'a> Cast<'a> {
    fn load(play: &'a Play<'a>, stage: &Stage) -> Cast<'a> {
        let sides = |shape: &[i64]| match *shape {
            [rows, columns] => (rows as u64, columns as u64),
            _ => (1, shape.iter().product::<i64>() as u64),
        };
        let weight = |(name, shape): (String, Vec<i64>)| {
            let (rows, columns) = sides(&shape);
            let norm = name.ends_with("norm.weight");
            let width = if norm { WIDE } else { play.storage.width() };
            if play.storage.quantization.holds(&name) {
                let _read = stage.make(Purpose::Weights, rows, columns, WIDE);
                return (name, stage.make_quantized(rows, columns));
            }
            // What is read is fp32, until it is brought to its kind.
            let read = (width < WIDE).then(|| stage.make(Purpose::Weights, rows, columns, WIDE));
            let kept = stage.make(Purpose::Weights, rows, columns, width);
            drop(read);
            (name, kept)
        };
        let mut base: BTreeMap<_, _> = play.config.parameter_shapes().into_iter().map(weight).collect();
        let own = play.own.iter().map(|(name, shape)| {
            let (rows, columns) = sides(shape);
            let tensor = stage.make(Purpose::Trained, rows, columns, WIDE);
            (name.clone(), if (play.trained)(name) { tensor.leaf() } else { tensor })
        });
        let own: BTreeMap<_, _> = own.collect();
        // What the run never reads makes room: `Base::lay_aside`.
        let is_aside = |name: &String, weight: &Shade| {
            own.contains_key(name) && weight.is_large() && play.storage.device == Device::Cpu
        };
        base.retain(|name, weight| !is_aside(name, weight));
        Cast { play, stage: stage.clone(), base, own, moments: Default::default() }
    }

    /// Bytes of a number of activations and products.
    fn compute(&self) -> u64 {
        self.play.storage.compute_width()
    }

    /// Whether our own kernels attend, which take a batch's documents as they lie.
    fn attends(&self) -> bool {
        let kind = if self.compute() == WIDE { Kind::Float } else { Kind::BFloat16 };
        kernels::attends(kind, self.play.config.head_dim)
    }

    /// What those keep: the gradients of keys and values, of each head by itself. Counted where libtorch attends too, so that a
    /// plan reads the same there.
    fn kept_by_attention(&self) -> Kept {
        let Config { num_attention_heads: heads, head_dim, .. } = self.play.config;
        let width = (heads * head_dim) as u64;
        self.stage.keep(Purpose::Activations, 2 * self.play.micro_batch.in_blocks() * width * WIDE)
    }

    fn micro_batch(&self, batch: &MicroBatch) {
        match self.play.activations {
            Activations::Kept => self.after_blocks(&self.hidden(batch), batch),
            Activations::Recomputed => self.recomputed(batch),
        }
    }

    fn update(&self) {
        let mut moments = self.moments.borrow_mut();
        if moments.is_empty() {
            for tensor in self.own.values().filter(|tensor| tensor.has_gradient()) {
                let make = || tensor.make_for(Purpose::Moments, tensor.rows, tensor.columns, WIDE);
                moments.extend((0..self.play.moments).map(|_| make()));
            }
        }
        self.own.values().for_each(Shade::clear_gradient);
    }

    // ---- model/llama.rs -----------------------------------------------------------------------------------------

    fn weight(&self, name: &str) -> Shade {
        match self.own.get(name) {
            Some(own) => own.cast(self.compute()),
            None => self.base[name].clone(),
        }
    }

    fn hidden(&self, batch: &MicroBatch) -> Shade {
        let _rotation = self.rotation(batch);
        let mut x_nd = self.embed(batch);
        for layer in 0..self.play.config.num_hidden_layers {
            x_nd = self.block(x_nd, batch, layer);
        }
        self.norm(&x_nd, "model.norm.weight")
    }

    /// Cosines and sines.
    fn rotation(&self, batch: &MicroBatch) -> [Shade; 2] {
        let positions = if batch.documents.is_empty() { batch.length } else { batch.tokens() };
        let half = self.play.config.head_dim as u64 / 2;
        [(); 2].map(|()| self.stage.make(Purpose::Activations, positions, half, WIDE))
    }

    fn embed(&self, batch: &MicroBatch) -> Shade {
        let (n, d) = (batch.tokens(), self.play.config.hidden_size as u64);
        self.weight("model.embed_tokens.weight").select(n).view(n, d).cast(self.compute())
    }

    fn block(&self, mut x_nd: Shade, batch: &MicroBatch, layer: i64) -> Shade {
        let normed_nd = self.norm(&x_nd, &format!("model.layers.{layer}.input_layernorm.weight"));
        let mixed_nd = self.mix(&normed_nd, batch, layer);
        [x_nd] = self.linears(&mixed_nd, layer, ["o_proj"], Some(&x_nd));
        let normed_nd = self.norm(&x_nd, &format!("model.layers.{layer}.post_attention_layernorm.weight"));
        let [gate_nf, up_nf] = self.linears(&normed_nd, layer, ["gate_proj", "up_proj"], None);
        let gated_nf = gate_nf.swiglu(&up_nf);
        let [x_nd] = self.linears(&gated_nf, layer, ["down_proj"], Some(&x_nd));
        x_nd
    }

    fn mix(&self, x_nd: &Shade, batch: &MicroBatch, layer: i64) -> Shade {
        let [q, k, v] = self.linears(x_nd, layer, ["q_proj", "k_proj", "v_proj"], None);
        let (q, k) = (q.rotate(), k.rotate());
        let heads = self.play.config.num_attention_heads as u64;
        if self.attends() || batch.documents.is_empty() {
            return q.attend(&k, &v, heads);
        }
        let rows: Vec<Shade> = batch
            .documents
            .iter()
            .map(|lengths| {
                let [q, k, v] = [&q, &k, &v].map(|x| x.narrow(batch.length));
                let attend =
                    |length: &u64| q.narrow(*length).attend(&k.narrow(*length), &v.narrow(*length), heads);
                let mut parts: Vec<Shade> = lengths.iter().map(attend).collect();
                let padding = batch.length.saturating_sub(lengths.iter().sum());
                if padding > 0 {
                    parts.push(q.make(padding, q.columns));
                }
                Shade::join(&parts)
            })
            .collect();
        let all = Shade::join(&rows);
        drop(rows);
        all.contiguous()
    }

    fn norm(&self, x_nd: &Shade, name: &str) -> Shade {
        x_nd.rms_norm(self.own.get(name).unwrap_or_else(|| &self.base[name]))
    }

    fn linears<const COUNT: usize>(
        &self,
        x: &Shade,
        layer: i64,
        modules: [&str; COUNT],
        residual: Option<&Shade>,
    ) -> [Shade; COUNT] {
        let drops = self.play.lora.is_some_and(|settings| settings.dropout > 0.0);
        let layers = modules.map(|module| {
            let name = module_name(layer, module);
            let has_bias = self.play.config.has_bias(module);
            Layer {
                weight: self.weight(&format!("{name}.weight")),
                bias: has_bias.then(|| self.weight(&format!("{name}.bias"))),
                adapter: if drops { None } else { self.adapter(&name) },
            }
        });
        let mut outs = x.linears(residual, &layers);
        drop(layers);
        if drops {
            for (out, module) in outs.iter_mut().zip(modules) {
                let Some((a_rd, b_dr)) = self.adapter(&module_name(layer, module)) else { continue };
                let low_nr = x.drop_out().mm(&a_rd).scale();
                *out = out.addmm_in_place(&low_nr, &b_dr);
            }
        }
        outs.try_into().expect("each layer has an output")
    }

    fn adapter(&self, module: &str) -> Option<(Shade, Shade)> {
        self.play.lora?;
        let (a, b) = lora::names(module);
        let own = |name: &str| Some(self.own.get(name)?.cast(self.compute()));
        Some((own(&a)?, own(&b)?))
    }

    // ---- model/recomputed.rs ------------------------------------------------------------------------------------

    fn recomputed(&self, batch: &MicroBatch) {
        let layers = self.play.config.num_hidden_layers;
        let trained = self.own.iter().filter(|(_, tensor)| tensor.needs());
        let lowest = Lowest::of(trained.map(|(name, _)| name.as_str()));
        let _rotation = self.rotation(batch);
        let (mut into_blocks, x_nd) = {
            let _no_graph = self.stage.no_graph();
            let mut into_blocks = vec![];
            let mut x_nd = self.embed(batch);
            for layer in 0..layers {
                into_blocks.extend(lowest.reaches(layer).then(|| (layer, x_nd.clone())));
                x_nd = self.block(x_nd, batch, layer);
            }
            (into_blocks, x_nd)
        };
        let leaf = |x_nd: Shade, layer| if lowest.goes_below(layer) { x_nd.leaf() } else { x_nd };
        let x_nd = leaf(x_nd, layers);
        self.after_blocks(&self.norm(&x_nd, "model.norm.weight"), batch);
        let mut of_x = x_nd.take_gradient();
        drop(x_nd);
        while let Some((layer, x_nd)) = into_blocks.pop() {
            let Some(gradient) = of_x else { return };
            let x_nd = leaf(x_nd, layer);
            self.block(x_nd.clone(), batch, layer).backward(gradient.clone());
            of_x = x_nd.take_gradient();
        }
        if let Some(gradient) = of_x {
            self.embed(batch).backward(gradient);
        }
    }

    // ---- model/loss.rs ------------------------------------------------------------------------------------------

    fn after_blocks(&self, hidden_nd: &Shade, batch: &MicroBatch) {
        if batch.supervised == 0 {
            return;
        }
        let hidden_sd = hidden_nd.select(batch.supervised);
        if let Some(gradient_sd) = self.loss(&hidden_sd) {
            hidden_sd.backward(gradient_sd.clone()); // who began the way back holds it to the end
        }
    }

    /// The gradient of the hidden states, if one reaches them.
    fn loss(&self, hidden_sd: &Shade) -> Option<Shade> {
        let config = self.play.config;
        let (v, d) = (config.vocab_size as u64, config.hidden_size as u64);
        let head_leaf = self.own.get(config.head_name()).filter(|head| head.needs());
        let _head_vd = self.weight(config.head_name()).detach().cast(self.compute());
        let gradient_sd = hidden_sd.needs().then(|| hidden_sd.like());
        let mut left = hidden_sd.rows;
        while left > 0 {
            let rows = left.min(CHUNK as u64);
            left -= rows;
            let difference_sv = hidden_sd.make_for(Purpose::Logits, rows, v, self.compute());
            if let Some(leaf) = head_leaf {
                // In fp32 a gradient that is there takes the product in.
                if !(leaf.has_gradient() && self.compute() == WIDE) {
                    let product = difference_sv.make_for(Purpose::Gradients, v, d, self.compute());
                    leaf.accumulate(product.cast_for(Purpose::Gradients, WIDE));
                }
            }
        }
        gradient_sd
    }
}

#[cfg(test)]
mod tests {
    use crate::data::batch::Schedule;
    use crate::data::packing::Packing;
    use crate::events::Cancel;
    use crate::model::base::{Base, Quantization, Storage};
    use crate::model::config::Config;
    use crate::model::lora::LoraSettings;
    use crate::model::preset::preset;
    use crate::torch::heap::Heap;
    use crate::torch::memory;
    use crate::train::fixtures::part;
    use crate::train::material::Material;
    use crate::train::plan::{Circumstances, peak};
    use crate::train::recipe::{Batch, Checkpointing, Method, Recipe, Selection};
    use crate::train::trainer::Trainer;
    use std::sync::Arc;
    use tch::{Device, Kind};

    /// Two blocks as wide as SmolLM2's, so that what a token takes is large enough for the heap.
    fn config() -> Config {
        let smollm2 = preset("smollm2-135m").unwrap();
        Config { num_hidden_layers: 2, vocab_size: 512, intermediate_size: 512, ..smollm2 }
    }

    fn recipe(method: Method) -> Recipe {
        Recipe { batch: Batch { micro: 2, accumulate: 2 }, ..Recipe::new(method) }
    }

    fn lora(dropout: f64, targets: &[&str]) -> Recipe {
        let targets = targets.iter().map(ToString::to_string).collect();
        recipe(Method::lora(LoraSettings { rank: 8, dropout, targets, ..LoraSettings::default() }))
    }

    fn rows(packing: Packing) -> Material {
        let lengths: Vec<usize> = (0..12).map(|row| if row % 2 == 0 { 96 } else { 30 + row }).collect();
        Material { part: part(&lengths), packing, shuffle: true }
    }

    /// Bytes that the large tensors of an epoch's real steps lie in, and the planned ones.
    fn measured_and_planned(
        kind: Kind,
        quantization: Quantization,
        recipe: &Recipe,
        material: &Material,
    ) -> (f64, f64) {
        let heap = Heap::installed().expect("this process has one");
        memory::trim();
        heap.forget();
        let storage = Storage { dtype: kind, quantization, device: Device::Cpu };
        let base = Arc::new(Base::random_in(config(), 1, storage).unwrap());
        let mut run = Trainer::new(base, material.clone(), recipe.clone()).unwrap();
        for _ in 0..run.steps_per_epoch() {
            run.step(&Cancel::default()).unwrap();
        }
        let order = Schedule::new(&material.part, material.layout(recipe));
        let circumstances = Circumstances { storage, ..Circumstances::default() };
        let peak = peak(&config(), circumstances, recipe, &order).unwrap();
        (heap.farthest() as f64, (peak.bytes() - peak.small) as f64)
    }

    /// If this fails, an operation of the model or the loss takes or keeps other tensors than its counterpart here.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_step_takes_what_its_rehearsal_says() {
        memory::tune_allocator();
        tch::set_num_threads(1);
        let all = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        let mut frozen = lora(0.0, &all);
        let mut wrong = vec![];
        frozen.freeze = vec![Selection::freeze("layers 0"), Selection::unfreeze("norms")];
        let twice = |recipe| Recipe { checkpointing: Checkpointing::On, ..recipe };
        let (floats, nf4) = (Quantization::Off, Quantization::Nf4);
        for (what, quantization, recipe, packing) in [
            ("lora", floats, lora(0.0, &all), Packing::Off),
            ("lora with dropout", floats, lora(0.1, &all), Packing::Off),
            ("lora on two", floats, lora(0.0, &["q_proj", "v_proj"]), Packing::Off),
            ("packed lora", floats, lora(0.0, &all), Packing::Rows { max_len: 128 }),
            ("partly frozen lora", floats, frozen, Packing::Off),
            ("full", floats, recipe(Method::Full), Packing::Off),
            ("last layer", floats, recipe(Method::LastLayers { count: 1 }), Packing::Off),
            ("lora computed twice", floats, twice(lora(0.1, &all)), Packing::Off),
            ("packed lora computed twice", floats, twice(lora(0.0, &all)), Packing::Rows { max_len: 128 }),
            ("full computed twice", floats, twice(recipe(Method::Full)), Packing::Off),
            ("lora over 4 bits", nf4, lora(0.0, &all), Packing::Off),
            ("lora over 4 bits, computed twice", nf4, twice(lora(0.1, &all)), Packing::Off),
        ] {
            for kind in [Kind::Float, Kind::BFloat16] {
                let (measured, planned) = measured_and_planned(kind, quantization, &recipe, &rows(packing));
                let ratio = planned / measured;
                println!(
                    "{what} {kind:?}: planned {:.1} MB, measured {:.1} MB",
                    planned / 1e6,
                    measured / 1e6
                );
                // Floats that are made for a product or a weight of another kind and given back leave gaps which the order of
                // loading decides on.
                let accepted = match (quantization, kind) {
                    (Quantization::Off, Kind::Float) => 0.03,
                    (Quantization::Off, _) => 0.05,
                    _ => 0.1,
                };
                let is_off = (ratio - 1.0).abs() > accepted;
                wrong.extend(is_off.then(|| format!("{what} {kind:?}: {ratio:.3}")));
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
