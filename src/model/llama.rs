//! The forward pass of a Llama: a base, and what a run lays over it.

use crate::model::ModelError;
use crate::model::attention::{Attention, Starts};
use crate::model::base::Base;
use crate::model::cache::KvCache;
use crate::model::config::module_name;
use crate::model::lora::{self, LoraSettings};
use crate::model::operations;
use crate::model::rope::Rotation;
use crate::model::trainables::Trainables;
use crate::torch::kernels::{Linear, Weight};
use crate::torch::{device, random};
use std::borrow::Cow;
use tch::Tensor;

/// A model as it computes: frozen weights with a run's tensors and adapters over them.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    pub base: &'a Base,
    pub trainables: Option<&'a Trainables>,
}

/// The rows of a micro-batch on the device of the model.
#[derive(Debug)]
pub struct Inputs {
    /// `[b, t]`, padded on the right with any token.
    pub input_ids: Tensor,
    /// For each row the lengths of the documents packed into it; empty when nothing is packed.
    pub documents: Vec<Vec<usize>>,
    /// Positions of each row that are not padding.
    pub attended: Vec<usize>,
    /// Where the documents begin, for attention in one call.
    starts: Option<Starts>,
}

/// On a GPU rows are padded to a multiple of so many positions: each length that is new to it costs a plan.
const BUCKET: usize = 64;

/// Seeds the dropout of one micro-batch: derived from (run seed, step, micro-batch). Modules derive theirs from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutSeed(pub u64);

impl Inputs {
    /// Rows of equal length, row by row in `ids`; each id is held against the vocabulary. `documents` as in `Inputs`.
    pub fn new(
        base: &Base,
        ids: &[i64],
        rows: usize,
        documents: Vec<Vec<usize>>,
        attended: Vec<usize>,
    ) -> Result<Inputs, ModelError> {
        let vocabulary = base.config.vocab_size;
        if let Some(&id) = ids.iter().find(|id| !(0..vocabulary).contains(*id)) {
            return Err(ModelError::TokenOutside { id, vocabulary });
        }
        let packed = documents.iter().any(|row| row.len() > 1);
        let documents = if packed { whole(documents, &attended) } else { vec![] };
        let length = ids.len() / rows.max(1);
        let multiple = if base.device.is_cuda() && !packed { BUCKET } else { 1 };
        let (ids, length) = padded(ids, length, multiple);
        let input_ids = Tensor::f_from_slice(&ids)?.f_view([rows as i64, length as i64])?;
        let starts = Starts::of(&documents, length, base.device)?;
        Ok(Inputs { input_ids: device::put(&input_ids, base.device)?, documents, attended, starts })
    }

    /// Rows, and positions of a row, padding included.
    pub fn shape(&self) -> (i64, i64) {
        (self.input_ids.size()[0], self.length())
    }

    /// Positions of one row, padding included.
    pub fn length(&self) -> i64 {
        self.input_ids.size()[1]
    }
}

/// Rows of `length` positions, each padded with token 0 to a multiple of positions; and how long they are then.
fn padded(ids: &[i64], length: usize, multiple: usize) -> (Cow<'_, [i64]>, usize) {
    let long = length.next_multiple_of(multiple);
    if long == length {
        return (Cow::Borrowed(ids), length);
    }
    let rows = ids.chunks(length.max(1));
    (rows.flat_map(|row| row.iter().copied().chain(vec![0; long - length])).collect(), long)
}

/// A row that names no documents is one.
fn whole(documents: Vec<Vec<usize>>, attended: &[usize]) -> Vec<Vec<usize>> {
    let rows = documents.into_iter().zip(attended);
    rows.map(|(row, attended)| if row.is_empty() { vec![*attended] } else { row }).collect()
}

/// What a forward pass goes by besides its input.
#[derive(Debug)]
pub(super) struct Course<'a> {
    /// Rows, and positions of a row.
    pub shape: (i64, i64),
    pub rotation: Rotation,
    pub attention: Attention<'a>,
    pub dropout: Option<DropoutSeed>,
}

impl<'a> Course<'a> {
    pub fn new(base: &Base, inputs: &'a Inputs, dropout: Option<DropoutSeed>) -> Course<'a> {
        let documents = &inputs.documents;
        if documents.is_empty() {
            return Course { dropout, ..Course::over_rows(base, inputs) };
        }
        let positions = restarting(documents, inputs.length());
        let longest = documents.iter().flatten().max().map_or(1, |longest| *longest as i64);
        let rotation =
            Rotation::positions(&base.config, &positions, documents.len() as i64, longest, base.device);
        let attention = Attention::Documents { lengths: documents, starts: inputs.starts.as_ref() };
        Course { shape: inputs.shape(), rotation, attention, dropout }
    }
}

impl Course<'static> {
    /// Over rows of one document each, without dropout.
    pub fn over_rows(base: &Base, inputs: &Inputs) -> Course<'static> {
        let rotation = Rotation::range(&base.config, 0, inputs.length(), base.device);
        Course { shape: inputs.shape(), rotation, attention: Attention::Rows, dropout: None }
    }
}

impl Policy<'_> {
    /// Hidden states after the final norm, `[b, t, d]` in the kind it computes in. With a seed, dropout is on.
    pub fn hidden(&self, inputs: &Inputs, dropout: Option<DropoutSeed>) -> Tensor {
        self.through(&inputs.input_ids, &mut Course::new(self.base, inputs, dropout))
    }

    /// Logits of hidden states `[.., d]` → `[.., v]`, in the kind of the hidden states.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        hidden.matmul(&self.head().tr())
    }

    /// The output head `[v, d]`, in the kind that the model computes in.
    pub fn head(&self) -> Tensor {
        self.weight(self.base.config.head_name()).to_kind(self.base.compute)
    }

    /// A weight as products take it: the run's own if it trains it, else that of the base, as it is held.
    pub fn weight(&self, name: &str) -> Tensor {
        match self.trainables.and_then(|trainables| trainables.get(name)) {
            Some(own) => own.to_kind(self.base.compute),
            None => self.base.get(name).expect("the base holds every tensor of its configuration"),
        }
    }

    /// The weight of a linear as products take it.
    fn linear_weight(&self, name: &str) -> Weight {
        let own = self.trainables.and_then(|trainables| trainables.get(name));
        match self.base.nf4(name).filter(|_| own.is_none()) {
            Some(held) => Weight::Nf4(held.shallow_clone()),
            None => Weight::Plain(self.weight(name)),
        }
    }

    pub(super) fn hidden_cached(&self, input_ids: &Tensor, cache: &mut KvCache) -> Tensor {
        let shape = input_ids.size2().expect("ids have two axes");
        let rotation = Rotation::range(&self.base.config, cache.length(), shape.1, self.base.device);
        let course = &mut Course { shape, rotation, attention: Attention::Cached(cache), dropout: None };
        self.through(input_ids, course)
    }

    /// Through the whole model: `[b, t]` → `[b, t, d]`.
    pub(super) fn through(&self, input_ids: &Tensor, course: &mut Course) -> Tensor {
        let mut x_nd = self.embed(input_ids);
        for layer in 0..self.base.config.num_hidden_layers {
            x_nd = self.block(x_nd, layer, course);
        }
        self.last_norm(&x_nd, course)
    }

    /// `[b, t]` → `[n, d]`
    pub(super) fn embed(&self, input_ids: &Tensor) -> Tensor {
        let table_vd = self.weight("model.embed_tokens.weight");
        Tensor::embedding(&table_vd, &input_ids.reshape([-1]), -1, false, false).to_kind(self.base.compute)
    }

    pub(super) fn block(&self, x_nd: Tensor, layer: i64, course: &mut Course) -> Tensor {
        let normed_nd = self.norm(&x_nd, &format!("model.layers.{layer}.input_layernorm.weight"));
        let mixed_nd = self.mix(&normed_nd, layer, course);
        let (x_nd, normed_nd) = self.add_and_norm(&mixed_nd, &x_nd, layer, course.dropout);
        let [gate_nf, up_nf] =
            self.linears(&normed_nd, layer, ["gate_proj", "up_proj"], None, course.dropout);
        let gated_nf = operations::swiglu(&gate_nf, &up_nf);
        let [x_nd] = self.linears(&gated_nf, layer, ["down_proj"], Some(&x_nd), course.dropout);
        x_nd
    }

    /// The final norm: `[n, d]` → `[b, t, d]`
    pub(super) fn last_norm(&self, x_nd: &Tensor, course: &Course) -> Tensor {
        let (b, t) = course.shape;
        self.norm(x_nd, "model.norm.weight").view([b, t, self.base.config.hidden_size])
    }

    /// Attention without its output product: `[n, d]` → `[n, h·k]`.
    fn mix(&self, x_nd: &Tensor, layer: i64, course: &mut Course) -> Tensor {
        let (config, (b, t)) = (&self.base.config, course.shape);
        let [q, k, v] = self.linears(x_nd, layer, ["q_proj", "k_proj", "v_proj"], None, course.dropout);
        let heads = |x: Tensor, count: i64| x.view([b, t, count, config.head_dim]);
        let q_bthk = course.rotation.apply(&heads(q, config.num_attention_heads));
        let k_btgk = course.rotation.apply(&heads(k, config.num_key_value_heads));
        let v_btgk = heads(v, config.num_key_value_heads);
        let out_bthk = course.attention.attend(layer as usize, &q_bthk, &k_btgk, &v_btgk);
        out_bthk.reshape([b * t, config.num_attention_heads * config.head_dim])
    }

    /// Adds what attention made of a block's input to it; that sum, and its norm. A GPU adds in the norm, which reads the sum
    /// anyway; the processor within the product.
    fn add_and_norm(
        &self,
        mixed_nd: &Tensor,
        x_nd: &Tensor,
        layer: i64,
        dropout: Option<DropoutSeed>,
    ) -> (Tensor, Tensor) {
        let name = format!("model.layers.{layer}.post_attention_layernorm.weight");
        if x_nd.device().is_cuda() {
            let [out_nd] = self.linears(mixed_nd, layer, ["o_proj"], None, dropout);
            let eps = self.base.config.rms_norm_eps;
            return operations::add_rms_norm(&out_nd, x_nd, &self.norm_weight(&name), eps);
        }
        let [x_nd] = self.linears(mixed_nd, layer, ["o_proj"], Some(x_nd), dropout);
        let normed_nd = self.norm(&x_nd, &name);
        (x_nd, normed_nd)
    }

    fn norm(&self, x_nd: &Tensor, name: &str) -> Tensor {
        operations::rms_norm(x_nd, &self.norm_weight(name), self.base.config.rms_norm_eps)
    }

    fn norm_weight(&self, name: &str) -> Tensor {
        let own = self.trainables.and_then(|trainables| trainables.get(name));
        own.map(Tensor::shallow_clone)
            .or_else(|| self.base.get(name))
            .expect("the base holds every tensor of its configuration")
    }

    /// Linear layers of a block over one input, with their biases and adapters, added to `residual` where there is one.
    fn linears<const COUNT: usize>(
        &self,
        x: &Tensor,
        layer: i64,
        modules: [&str; COUNT],
        residual: Option<&Tensor>,
        dropout: Option<DropoutSeed>,
    ) -> [Tensor; COUNT] {
        let names = modules.map(|module| module_name(layer, module));
        let share = self.dropout();
        let dropout = dropout.filter(|_| share > 0.0);
        let layers = names.each_ref().map(|name| Linear {
            weight: self.linear_weight(&format!("{name}.weight")),
            bias: self.bias(name),
            // With dropout each adapter has an input of its own.
            adapter: if dropout.is_some() { None } else { self.adapter(name) },
        });
        let scale = self.lora().map_or(0.0, LoraSettings::scale);
        let mut outs = operations::linears(x, residual, &layers, scale);
        if let Some(seed) = dropout {
            for (out, name) in outs.iter_mut().zip(&names) {
                self.adapt(out, x, name, share, seed);
            }
        }
        outs.try_into().expect("each layer has an output")
    }

    fn bias(&self, module: &str) -> Option<Tensor> {
        let has_bias = module.rsplit('.').next().is_some_and(|last| self.base.config.has_bias(last));
        has_bias.then(|| self.weight(&format!("{module}.bias")))
    }

    fn lora(&self) -> Option<&LoraSettings> {
        self.trainables?.lora.as_ref()
    }

    /// The share of an adapter's input that is dropped in training.
    pub fn dropout(&self) -> f64 {
        self.lora().map_or(0.0, |settings| settings.dropout)
    }

    /// The two tensors of a module's adapter, in the kind that the model computes in.
    fn adapter(&self, module: &str) -> Option<(Tensor, Tensor)> {
        let trainables = self.trainables.filter(|trainables| trainables.lora.is_some())?;
        let (a, b) = lora::names(module);
        let own = |name: &str| Some(trainables.get(name)?.to_kind(self.base.compute));
        Some((own(&a)?, own(&b)?))
    }

    /// Adds the adapter's product, of an input of which a share is dropped, into the output of the layer it belongs to.
    fn adapt(&self, out: &mut Tensor, x: &Tensor, module: &str, share: f64, DropoutSeed(seed): DropoutSeed) {
        let (Some(settings), Some((a_rd, b_dr))) = (self.lora(), self.adapter(module)) else { return };
        let kept = drop_out(x, share, random::derive(seed, &[random::place(module)]));
        let low_nr = kept.mm(&a_rd.tr()) * settings.scale();
        *out = out.addmm_(&low_nr, &b_dr.tr());
    }
}

/// Zeroes a share of the elements and scales up the rest.
fn drop_out(x: &Tensor, share: f64, seed: u64) -> Tensor {
    let mut mask = x.detach().empty_like();
    random::fill_bernoulli(&mask, 1.0 - share, seed).expect("a fresh tensor of floats can be filled");
    x * mask.divide_scalar_(1.0 - share)
}

/// The position of each token within its document; padding goes on from zero.
fn restarting(documents: &[Vec<usize>], length: i64) -> Vec<f32> {
    let mut positions = Vec::with_capacity(documents.len() * length as usize);
    for row in documents {
        let used: usize = row.iter().sum();
        let padding = (length as usize).saturating_sub(used);
        for document in row.iter().copied().chain([padding]) {
            positions.extend((0..document).map(|position| position as f32));
        }
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures;
    use crate::model::lora::LoraSettings;
    use crate::model::loss::{Detail, measure_micro, train_micro};
    use crate::model::recomputed::Activations;
    use tch::Kind;

    fn ids(count: i64, seed: i64) -> Vec<i64> {
        (0..count).map(|index| (index * 37 + seed * 101 + index * index) % 512).collect()
    }

    fn close(left: &Tensor, right: &Tensor) -> bool {
        (left - right).abs().max().double_value(&[]) < 1e-5
    }

    #[test]
    fn padding_changes_nothing_real() {
        let base = fixtures::random(Kind::Float);
        let policy = fixtures::policy(&base);
        let (short, long) = (ids(5, 1), ids(9, 2));
        let alone = policy.hidden(&fixtures::inputs(&base, &short, 1), None);
        let padded = [short.clone(), vec![0; 4], long].concat();
        let inputs = Inputs::new(&base, &padded, 2, vec![vec![], vec![]], vec![5, 9]).unwrap();
        assert!(close(&policy.hidden(&inputs, None).narrow(0, 0, 1).narrow(1, 0, 5), &alone));
    }

    #[test]
    fn rows_are_padded_to_a_bucket_and_labels_keep_their_places() {
        assert_eq!(padded(&[1, 2, 3, 4, 5, 6], 3, 4), ([1, 2, 3, 0, 4, 5, 6, 0].as_slice().into(), 4));
        assert_eq!(padded(&[1, 2], 2, 1), ([1, 2].as_slice().into(), 2));
        let base = fixtures::random(Kind::Float);
        let policy = fixtures::policy(&base);
        let (ids, labels) = (ids(10, 1), (1..11).collect::<Vec<i64>>());
        let loss = |ids: &[i64]| {
            measure_micro(&policy, &fixtures::inputs(&base, ids, 2), &labels, Detail::PerToken).unwrap()
        };
        let (plain, long) = (loss(&ids), loss(&padded(&ids, 5, 8).0));
        assert!(plain.per_token.iter().zip(&long.per_token).all(|(one, other)| (one - other).abs() < 1e-5));
        assert_eq!((plain.tokens, long.tokens), (10, 10));
    }

    #[test]
    fn packed_examples_are_as_if_alone() {
        let base = fixtures::random(Kind::Float);
        let policy = fixtures::policy(&base);
        let (one, two, three) = (ids(5, 1), ids(7, 2), ids(9, 3));
        let packed = [one.clone(), two.clone(), three.clone(), vec![0; 3]].concat();
        let inputs = Inputs::new(&base, &packed, 2, vec![vec![5, 7], vec![9]], vec![12, 9]).unwrap();
        let hidden = policy.hidden(&inputs, None);
        for (row, start, example) in [(0, 0, one), (0, 5, two), (1, 0, three)] {
            let alone = policy.hidden(&fixtures::inputs(&base, &example, 1), None);
            let length = example.len() as i64;
            assert!(close(&hidden.narrow(0, row, 1).narrow(1, start, length), &alone));
        }
    }

    #[test]
    fn what_is_frozen_builds_no_graph() {
        let base = fixtures::random(Kind::Float);
        let inputs = fixtures::inputs(&base, &ids(8, 1), 1);
        assert!(!fixtures::policy(&base).hidden(&inputs, None).requires_grad());
        let last = Trainables::last_layers(&base, 1).unwrap();
        let policy = Policy { base: &base, trainables: Some(&last) };
        assert!(policy.hidden(&inputs, None).requires_grad());
        train_micro(&policy, &inputs, &fixtures::shifted(&ids(8, 1)), 1.0, DropoutSeed(1), Activations::Kept)
            .unwrap();
        assert!(base.all().values().all(|tensor| !tensor.grad().defined()));
        assert!(last.tensors.values().all(|tensor| tensor.grad().defined()));
    }

    #[test]
    fn a_fresh_adapter_is_the_base_and_a_trained_one_is_its_merged_weight() {
        let base = fixtures::random(Kind::Float);
        let inputs = fixtures::inputs(&base, &ids(8, 1), 1);
        let settings = LoraSettings { rank: 4, alpha: 6.0, ..LoraSettings::default() };
        let adapters = Trainables::lora(&base, &settings, 3).unwrap();
        let policy = Policy { base: &base, trainables: Some(&adapters) };
        assert!(close(&policy.hidden(&inputs, None), &fixtures::policy(&base).hidden(&inputs, None)));

        let no_grad = tch::no_grad_guard();
        for (name, tensor) in &adapters.tensors {
            random::fill_normal(tensor, 0.0, 0.1, random::place(name)).unwrap();
        }
        let modules = settings.modules(&base).unwrap();
        let merged = modules.into_iter().map(|(module, _)| {
            let (a, b) = lora::names(&module);
            let name = format!("{module}.weight");
            let delta = adapters.tensors[&b].mm(&adapters.tensors[&a]) * settings.scale();
            let weight = base.get(&name).unwrap() + delta;
            (name, weight)
        });
        let merged = Trainables::new(merged.collect(), None).unwrap();
        let whole = Policy { base: &base, trainables: Some(&merged) }.hidden(&inputs, None);
        assert!(close(&policy.hidden(&inputs, None), &whole));
        drop(no_grad);
    }

    #[test]
    fn gradients_of_adapters_are_slopes_of_the_loss() {
        let base = fixtures::random(Kind::Float);
        let (row, settings) = (ids(12, 4), LoraSettings { rank: 2, alpha: 2.0, ..LoraSettings::default() });
        let adapters = Trainables::lora(&base, &settings, 3).unwrap();
        let (name, _) = lora::names("model.layers.0.self_attn.v_proj");
        {
            let _no_grad = tch::no_grad_guard();
            for (name, tensor) in &adapters.tensors {
                random::fill_normal(tensor, 0.0, 0.3, random::place(name)).unwrap();
            }
        }
        let policy = Policy { base: &base, trainables: Some(&adapters) };
        let (inputs, labels) = (fixtures::inputs(&base, &row, 1), fixtures::shifted(&row));
        train_micro(&policy, &inputs, &labels, 1.0, DropoutSeed(1), Activations::Kept).unwrap();
        let direction = adapters.tensors[&name].grad();
        let slope = direction.square().sum(Kind::Double).double_value(&[]);
        let at = |step: f64| {
            let _no_grad = tch::no_grad_guard();
            let mut tensor = adapters.tensors[&name].shallow_clone();
            let _ = tensor.f_add_(&(&direction * step)).unwrap();
            let loss = measure_micro(&policy, &inputs, &labels, Detail::Sum).unwrap().loss_sum;
            let _ = tensor.f_sub_(&(&direction * step)).unwrap();
            loss
        };
        let step = 1e-2 / slope.sqrt();
        let found = (at(step) - at(-step)) / (2.0 * step);
        assert!((found / slope - 1.0).abs() < 0.02, "{found} for {slope}");
    }

    #[test]
    fn dropout_is_drawn_from_its_seed_alone() {
        let base = fixtures::random(Kind::Float);
        let settings = LoraSettings { rank: 2, dropout: 0.5, ..LoraSettings::default() };
        let adapters = Trainables::lora(&base, &settings, 3).unwrap();
        for tensor in adapters.tensors.values() {
            random::fill_normal(tensor, 0.0, 0.3, 9).unwrap();
        }
        let policy = Policy { base: &base, trainables: Some(&adapters) };
        let inputs = fixtures::inputs(&base, &ids(8, 1), 1);
        let hidden = |seed| policy.hidden(&inputs, Some(DropoutSeed(seed)));
        assert_eq!(hidden(1), hidden(1));
        assert_ne!(hidden(1), hidden(2));
        assert_ne!(hidden(1), policy.hidden(&inputs, None));
    }

    #[test]
    fn a_token_outside_the_vocabulary_is_refused() {
        let base = fixtures::random(Kind::Float);
        let error =
            Inputs::new(&base, &[1, 512], 1, vec![vec![]], vec![2]).map(|_| ()).unwrap_err().to_string();
        assert_eq!(
            error,
            "token 512 is outside the model's vocabulary of 512; the tokenizer does not fit the model"
        );
    }

    #[test]
    fn biases_are_added_in_every_layer_that_has_one() {
        let config = crate::model::config::Config {
            attention_bias: true,
            mlp_bias: true,
            ..crate::model::preset::preset("tiny").unwrap()
        };
        let base = Base::random(config, 7, Kind::Float, tch::Device::Cpu).unwrap();
        let inputs = fixtures::inputs(&base, &ids(8, 1), 1);
        let plain = fixtures::policy(&base).hidden(&inputs, None);
        for module in crate::model::config::LINEAR_MODULES {
            let name = format!("{}.bias", module_name(1, module));
            let only = Trainables::of(&base, |tensor| tensor == name).unwrap();
            let _no_grad = tch::no_grad_guard();
            // Neighbours of a pair differ, since softmax does not see a constant added to all scores.
            random::fill_normal(&only.tensors[&name], 0.0, 1.0, 5).unwrap();
            let changed = Policy { base: &base, trainables: Some(&only) }.hidden(&inputs, None);
            assert!(!close(&changed, &plain), "{name}");
        }
    }
}
