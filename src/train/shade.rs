//! Tensors without numbers: an operation takes the memory that libtorch's takes, and the graph keeps what autograd keeps.
//! A step acted out on them (`rehearsal.rs`) says what the real one will take, to within some hundredths.
//!
//! What each operation saves and makes on the way is that of libtorch 2.11 on the CPU; where it has no operation of its
//! own (RMSNorm), that of the operations it is made of.

use crate::torch::heap::{self, Layout};
use crate::torch::{kernels, nf4};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use tch::Kind;

/// What memory is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Weights,
    Trained,
    Gradients,
    Moments,
    Activations,
    Logits,
}

impl Purpose {
    pub const ALL: [Purpose; 6] = [
        Purpose::Weights,
        Purpose::Trained,
        Purpose::Gradients,
        Purpose::Moments,
        Purpose::Activations,
        Purpose::Logits,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Purpose::Weights => "weights",
            Purpose::Trained => "trained",
            Purpose::Gradients => "gradients",
            Purpose::Moments => "moments",
            Purpose::Activations => "activations",
            Purpose::Logits => "logits",
        }
    }
}

/// Bytes at the moment that took most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// By purpose, in the order of `Purpose::ALL`.
    pub parts: [u64; Purpose::ALL.len()],
    /// Between tensors, where none fitted.
    pub gaps: u64,
    /// Of what lies outside the heap of large tensors: small ones, and what kernels keep; in `parts` too.
    pub small: u64,
}

impl Peak {
    pub fn bytes(&self) -> u64 {
        self.parts.iter().sum::<u64>() + self.gaps
    }
}

/// The memory that a play takes place in.
#[derive(Clone, Debug, Default)]
pub struct Stage(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    layout: Layout,
    /// Outside the heap of large tensors.
    small: u64,
    now: [u64; Purpose::ALL.len()],
    peak: Peak,
    sequence: u64,
    /// Operations build no graph.
    has_no_graph: bool,
}

impl Stage {
    pub fn peak(&self) -> Peak {
        self.0.borrow().peak
    }

    /// Bytes of all tensors now.
    pub fn held(&self) -> u64 {
        self.0.borrow().now.iter().sum()
    }

    /// A tensor of its own memory; `width` is the bytes of an element.
    pub fn make(&self, purpose: Purpose, rows: u64, columns: u64, width: u64) -> Shade {
        let memory = Rc::new(Memory::take(self, purpose, rows * columns * width));
        Shade { memory, rows, columns, width, node: None }
    }

    /// Memory that kernels keep for themselves, outside the heap.
    pub fn keep(&self, purpose: Purpose, bytes: u64) -> Kept {
        Kept(Memory::at(self, purpose, bytes, None))
    }

    /// A weight in nf4: a product takes it as floats, which are made for it.
    pub fn make_quantized(&self, rows: u64, columns: u64) -> Shade {
        let bytes = nf4::bytes_of((rows * columns) as usize);
        let memory = Rc::new(Memory::take(self, Purpose::Weights, bytes));
        Shade { memory, rows, columns, width: 0, node: None }
    }

    /// Builds no graph as long as what is given back lives.
    pub fn no_graph(&self) -> NoGraph {
        self.0.borrow_mut().has_no_graph = true;
        NoGraph(self.clone())
    }

    fn next(&self) -> u64 {
        let mut state = self.0.borrow_mut();
        state.sequence += 1;
        state.sequence
    }
}

/// See `Stage::no_graph`.
#[must_use]
pub struct NoGraph(Stage);

impl Drop for NoGraph {
    fn drop(&mut self) {
        self.0.0.borrow_mut().has_no_graph = false;
    }
}

/// See `Stage::keep`.
#[must_use]
pub struct Kept(#[expect(dead_code, reason = "held as long as it is kept")] Memory);

/// Memory that is given back when the last tensor on it goes.
#[derive(Debug)]
struct Memory {
    stage: Stage,
    bytes: u64,
    /// Where it lies, if it is large.
    start: Option<u64>,
    purpose: Cell<Purpose>,
}

impl Memory {
    fn take(stage: &Stage, purpose: Purpose, bytes: u64) -> Memory {
        let start = (bytes >= heap::LEAST).then(|| stage.0.borrow_mut().layout.take(bytes));
        Memory::at(stage, purpose, bytes, start)
    }

    fn at(stage: &Stage, purpose: Purpose, bytes: u64, start: Option<u64>) -> Memory {
        let mut state = stage.0.borrow_mut();
        if start.is_none() {
            state.small += bytes;
        }
        state.now[purpose as usize] += bytes;
        let all = state.layout.end() + state.small;
        if all > state.peak.bytes() {
            let parts = state.now;
            let gaps = all.saturating_sub(parts.iter().sum());
            state.peak = Peak { parts, gaps, small: state.small };
        }
        Memory { stage: stage.clone(), bytes, start, purpose: Cell::new(purpose) }
    }

    fn is_now_for(&self, purpose: Purpose) {
        let mut state = self.stage.0.borrow_mut();
        state.now[self.purpose.replace(purpose) as usize] -= self.bytes;
        state.now[purpose as usize] += self.bytes;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut state = self.stage.0.borrow_mut();
        match self.start {
            Some(start) => state.layout.give(start),
            None => state.small -= self.bytes,
        }
        state.now[self.purpose.get() as usize] -= self.bytes;
    }
}

/// A matrix without numbers.
#[derive(Clone, Debug)]
pub struct Shade {
    memory: Rc<Memory>,
    pub rows: u64,
    pub columns: u64,
    /// Bytes of an element.
    pub width: u64,
    node: Option<Edge>,
}

/// Which output of which node it is.
#[derive(Clone, Debug)]
struct Edge {
    node: Rc<Node>,
    output: usize,
}

/// A linear layer of `Shade::linears`.
#[derive(Debug)]
pub struct Layer {
    pub weight: Shade,
    pub bias: Option<Shade>,
    pub adapter: Option<(Shade, Shade)>,
}

impl Layer {
    fn tensors(&self) -> impl Iterator<Item = &Shade> {
        let adapter = self.adapter.iter().flat_map(|(a, b)| [a, b]);
        [&self.weight].into_iter().chain(&self.bias).chain(adapter)
    }
}

/// The shape of a layer, and which of its tensors take gradients.
#[derive(Clone, Copy)]
struct LayerPart {
    out: u64,
    /// Bytes of a number of its weight.
    held: u64,
    weight: bool,
    bias: Option<bool>,
    adapter: Option<AdapterPart>,
}

#[derive(Clone, Copy)]
struct AdapterPart {
    rank: u64,
    a: bool,
    b: bool,
}

impl LayerPart {
    fn of(Layer { weight, bias, adapter }: &Layer) -> LayerPart {
        let part = |(a, b): &(Shade, Shade)| AdapterPart { rank: a.rows, a: a.needs(), b: b.needs() };
        LayerPart {
            out: weight.rows,
            held: weight.width,
            weight: weight.needs(),
            bias: bias.as_ref().map(Shade::needs),
            adapter: adapter.as_ref().map(part),
        }
    }
}

type Gradients = Vec<Option<Shade>>;
type Backward = Box<dyn FnOnce(Gradients) -> Gradients>;

/// How a tensor came to be, or a leaf with its gradient.
struct Node {
    sequence: u64,
    inputs: Vec<Option<Edge>>,
    outputs: usize,
    /// From the gradients of the outputs to those of the inputs; it owns what is saved. A leaf has none.
    backward: RefCell<Option<Backward>>,
    gradient: RefCell<Option<Shade>>,
    /// Its output can be made again from what it keeps, so linear layers do not keep it.
    can_make_again: Cell<bool>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {}", self.sequence)
    }
}

impl Shade {
    /// A leaf that takes a gradient, on this tensor's memory.
    pub fn leaf(self) -> Shade {
        let node = Node {
            sequence: u64::MAX,
            inputs: vec![],
            outputs: 1,
            backward: RefCell::default(),
            gradient: RefCell::default(),
            can_make_again: Cell::default(),
        };
        Shade { node: Some(Edge { node: Rc::new(node), output: 0 }), ..self }
    }

    /// Whether it lies in the heap of large tensors.
    pub fn is_large(&self) -> bool {
        self.memory.start.is_some()
    }

    /// Whether a gradient reaches it.
    pub fn needs(&self) -> bool {
        self.node.is_some()
    }

    /// The same memory outside of the graph.
    pub fn detach(&self) -> Shade {
        Shade { node: None, ..self.clone() }
    }

    /// The same memory, seen as other rows.
    pub fn view(&self, rows: u64, columns: u64) -> Shade {
        Shade { rows, columns, ..self.clone() }
    }

    /// A tensor of this width and its own memory.
    pub fn make(&self, rows: u64, columns: u64) -> Shade {
        self.make_for(Purpose::Activations, rows, columns, self.width)
    }

    pub fn make_for(&self, purpose: Purpose, rows: u64, columns: u64, width: u64) -> Shade {
        self.memory.stage.make(purpose, rows, columns, width)
    }

    /// A tensor of this size and its own memory.
    pub fn like(&self) -> Shade {
        self.make(self.rows, self.columns)
    }

    /// The gradient of a leaf.
    pub fn has_gradient(&self) -> bool {
        self.node.as_ref().is_some_and(|edge| edge.node.gradient.borrow().is_some())
    }

    /// Adds to the gradient of a leaf: the first one stays, others are added into it.
    pub fn accumulate(&self, gradient: Shade) {
        if let Some(edge) = &self.node {
            edge.node.accumulate(gradient);
        }
    }

    /// The gradient of a leaf, which has none any more: an activation again.
    pub fn take_gradient(&self) -> Option<Shade> {
        let gradient = self.node.as_ref()?.node.gradient.take()?;
        gradient.memory.is_now_for(Purpose::Activations);
        Some(gradient)
    }

    pub fn clear_gradient(&self) {
        if let Some(edge) = &self.node {
            edge.node.gradient.take();
        }
    }

    /// `output` as what `backward` leads back from, if a gradient reaches one of the inputs.
    fn derived(
        self,
        inputs: &[&Shade],
        backward: impl FnOnce(Shade) -> Vec<Option<Shade>> + 'static,
    ) -> Shade {
        let backward =
            |gradients: Gradients| backward(gradients.into_iter().flatten().next().expect("it has one"));
        Shade::derived_together(vec![self], inputs, backward).swap_remove(0)
    }

    /// The same for several outputs of one operation; one that no gradient comes back to has `None`.
    fn derived_together(
        outs: Vec<Shade>,
        inputs: &[&Shade],
        backward: impl FnOnce(Gradients) -> Gradients + 'static,
    ) -> Vec<Shade> {
        let has_no_graph = outs[0].memory.stage.0.borrow().has_no_graph;
        if has_no_graph || !inputs.iter().any(|input| input.needs()) {
            return outs.iter().map(Shade::detach).collect();
        }
        let node = Rc::new(Node {
            sequence: outs[0].memory.stage.next(),
            inputs: inputs.iter().map(|input| input.node.clone()).collect(),
            outputs: outs.len(),
            backward: RefCell::new(Some(Box::new(backward))),
            gradient: RefCell::default(),
            can_make_again: Cell::default(),
        });
        let derived = |(output, out)| Shade { node: Some(Edge { node: Rc::clone(&node), output }), ..out };
        outs.into_iter().enumerate().map(derived).collect()
    }

    /// Says that its node can make it again.
    fn made_again(self) -> Shade {
        if let Some(edge) = &self.node {
            edge.node.can_make_again.set(true);
        }
        self
    }

    // ---- operations ---------------------------------------------------------------------------------------------

    /// In elements of another width; the same tensor if it has that already.
    pub fn cast(&self, width: u64) -> Shade {
        self.cast_for(Purpose::Activations, width)
    }

    /// The same, for another purpose.
    pub fn cast_for(&self, purpose: Purpose, width: u64) -> Shade {
        if width == self.width {
            return self.clone();
        }
        let (back, out) = (self.width, self.make_for(purpose, self.rows, self.columns, width));
        out.derived(&[self], move |gradient| vec![Some(gradient.cast(back))])
    }

    /// `x · weightᵀ`, for a weight `[out, in]`.
    pub fn mm(&self, weight: &Shade) -> Shade {
        let (saved_x, saved_weight) = self.saved_by_product(weight);
        let (x, w) = ((self.rows, self.columns), (weight.rows, weight.columns));
        self.make(self.rows, weight.rows).derived(&[self, weight], move |gradient| {
            let for_weight = saved_x.as_ref().map(|_| gradient.make(w.0, w.1));
            vec![saved_weight.as_ref().map(|_| gradient.make(x.0, x.1)), for_weight]
        })
    }

    /// `self + x · weightᵀ` in the memory of `self`.
    pub fn addmm_in_place(&self, x: &Shade, weight: &Shade) -> Shade {
        let (saved_x, saved_weight) = x.saved_by_product(weight);
        let (n, w) = ((x.rows, x.columns), (weight.rows, weight.columns));
        self.detach().derived(&[self, x, weight], move |gradient| {
            let for_x = saved_weight.as_ref().map(|_| gradient.make(n.0, n.1));
            let for_weight = saved_x.as_ref().map(|_| gradient.make(w.0, w.1));
            vec![Some(gradient), for_x, for_weight]
        })
    }

    /// Each factor is kept for the gradient of the other.
    fn saved_by_product(&self, weight: &Shade) -> (Option<Shade>, Option<Shade>) {
        (weight.needs().then(|| self.detach()), self.needs().then(|| weight.detach()))
    }

    pub fn scale(&self) -> Shade {
        self.like().derived(&[self], |gradient| vec![Some(gradient.like())])
    }

    pub fn mul(&self, other: &Shade) -> Shade {
        let (saved, saved_other) = self.saved_by_product(other);
        self.like().derived(&[self, other], move |gradient| {
            let for_other = saved.as_ref().map(|_| gradient.like());
            vec![saved_other.as_ref().map(|_| gradient.like()), for_other]
        })
    }

    /// SwiGLU without its products; both inputs are kept.
    pub fn swiglu(&self, up: &Shade) -> Shade {
        let saved = [self, up].map(Shade::detach);
        let out = self.like().derived(&[self, up], move |gradient| {
            let made = [gradient.like(), gradient.like()];
            drop((gradient, saved));
            made.map(Some).into()
        });
        out.made_again()
    }

    /// Zeroes a share: the mask is drawn as whole numbers first.
    pub fn drop_out(&self) -> Shade {
        let mask = self.like();
        drop(self.make_for(Purpose::Activations, self.rows, self.columns, 4));
        self.mul(&mask)
    }

    /// RMSNorm in one pass: its input and a number a row are kept.
    pub fn rms_norm(&self, weight: &Shade) -> Shade {
        let out = self.like();
        let factors = self.make_for(Purpose::Activations, self.rows, 1, 4);
        let (saved, needs, weight_needs) = (self.detach(), self.needs(), weight.needs());
        let out = out.derived(&[self, weight], move |gradient| {
            let for_x = needs.then(|| gradient.like());
            let for_weight = weight_needs.then(|| {
                let _parts = saved.make_for(Purpose::Activations, saved.rows.div_ceil(64), saved.columns, 4);
                saved.make_for(Purpose::Activations, 1, saved.columns, 4)
            });
            drop((gradient, saved, factors));
            vec![for_x, for_weight]
        });
        out.made_again()
    }

    /// Turns the halves of each head. What it was is not kept; the cosines and sines are held elsewhere.
    pub fn rotate(self) -> Shade {
        self.like().derived(&[&self], |gradient| vec![Some(gradient.like())])
    }

    /// Linear layers over one input as one operation: see `Linears` in `torch/kernels.cpp`.
    pub fn linears(&self, residual: Option<&Shade>, layers: &[Layer]) -> Vec<Shade> {
        let x = self.detach();
        let parts: Vec<LayerPart> = layers.iter().map(LayerPart::of).collect();
        let ranks: Vec<u64> = parts.iter().filter_map(|part| Some(part.adapter?.rank)).collect();
        let rank: u64 = ranks.iter().sum();
        let all_a = (ranks.len() > 1).then(|| x.make(rank, x.columns));
        let low = (rank > 0).then(|| x.make(x.rows, rank));
        let out = |layer: &Layer| {
            let _weight = layer.weight.detach().cast(x.width);
            let _start = layer.bias.as_ref().and(residual).map(Shade::like);
            x.make(x.rows, layer.weight.rows)
        };
        let outs = layers.iter().map(out).collect();
        drop(all_a);
        let tensors = || layers.iter().flat_map(Layer::tensors);
        let inputs: Vec<&Shade> = [self].into_iter().chain(residual).chain(tensors()).collect();
        let adapted =
            |wants: fn(AdapterPart) -> bool| parts.iter().any(|part| part.adapter.is_some_and(wants));
        // The input is kept only where a gradient is made with it and it cannot be made again; the adapters' first products are
        // kept where a gradient is made with them.
        let wants_x = parts.iter().any(|part| part.weight) || adapted(|adapter| adapter.a);
        let makes_x = wants_x && self.node.as_ref().is_some_and(|edge| edge.node.can_make_again.get());
        let kept_x = (wants_x && !makes_x).then_some(x.clone());
        let kept_low = low.filter(|_| adapted(|adapter| adapter.b));
        let back = LinearsBack {
            stage: self.memory.stage.clone(),
            rows: x.rows,
            columns: x.columns,
            width: x.width,
            for_x: self.needs(),
            has_residual: residual.is_some(),
            makes_x,
            kept: tensors().map(Shade::detach).chain(kept_x).chain(kept_low).collect(),
            parts,
        };
        Shade::derived_together(outs, &inputs, |gradients| back.gradients(&gradients))
    }

    /// Attention that never makes all scores: it keeps what goes in, what comes out, and one number a query.
    pub fn attend(&self, keys: &Shade, values: &Shade, heads: u64) -> Shade {
        let out = self.like();
        let sums = self.make_for(Purpose::Activations, self.rows, heads, 4);
        let saved = [self, keys, values, &out].map(Shade::detach);
        out.derived(&[self, keys, values], move |gradient| {
            let [q, k, v, _] = &saved;
            let made = [q, k, v].map(|x| Some(x.like()));
            drop((gradient, sums));
            made.into()
        })
    }

    /// A stretch of the rows, looked at where it lies; its gradient stands among zeros.
    pub fn narrow(&self, rows: u64) -> Shade {
        let (all, columns) = (self.rows, self.columns);
        self.view(rows, columns)
            .detach()
            .derived(&[self], move |gradient| vec![Some(gradient.make(all, columns))])
    }

    /// Tensors one below the other; a gradient is looked at where it lies.
    pub fn join(parts: &[Shade]) -> Shade {
        let rows = parts.iter().map(|part| part.rows).sum();
        let inputs: Vec<&Shade> = parts.iter().collect();
        let sizes: Vec<u64> = parts.iter().map(|part| part.rows).collect();
        parts[0].make(rows, parts[0].columns).derived(&inputs, move |gradient| {
            sizes.iter().map(|rows| Some(gradient.view(*rows, gradient.columns))).collect()
        })
    }

    /// The same in other strides.
    pub fn contiguous(&self) -> Shade {
        self.like().derived(&[self], |gradient| vec![Some(gradient)])
    }

    /// Rows of a table, or some rows of a matrix; the gradient has the size of the whole.
    pub fn select(&self, rows: u64) -> Shade {
        let (all, columns) = (self.rows, self.columns);
        self.make(rows, columns).derived(&[self], move |gradient| vec![Some(gradient.make(all, columns))])
    }

    /// Backward from here with this gradient: the latest operation first, as libtorch does.
    pub fn backward(&self, gradient: Shade) {
        let Some(root) = &self.node else { return };
        let mut ready = Ready::default();
        ready.add(root, gradient);
        while let Some((node, gradients)) = ready.take() {
            let Some(backward) = node.backward.take() else { continue };
            for (input, gradient) in node.inputs.iter().zip(backward(gradients)) {
                let (Some(input), Some(gradient)) = (input, gradient) else { continue };
                if input.node.inputs.is_empty() {
                    input.node.accumulate(gradient);
                } else {
                    ready.add(input, gradient);
                }
            }
        }
    }
}

/// What leads back through linear layers.
struct LinearsBack {
    stage: Stage,
    /// The sides of the input, and bytes of a number.
    rows: u64,
    columns: u64,
    width: u64,
    for_x: bool,
    /// The input was not kept and is made again.
    makes_x: bool,
    has_residual: bool,
    parts: Vec<LayerPart>,
    kept: Vec<Shade>,
}

impl LinearsBack {
    fn make(&self, rows: u64, columns: u64) -> Shade {
        self.stage.make(Purpose::Activations, rows, columns, self.width)
    }

    /// Of the input, the residual and the layers' tensors, as `linears` takes them.
    fn gradients(self, gradients: &Gradients) -> Gradients {
        let (mut of_x, mut lows, mut made, mut weights) = (None, vec![], vec![], vec![]);
        let at_once = kernels::tiles_multiply(if self.width == 2 { Kind::BFloat16 } else { Kind::Float });
        let _x = self.makes_x.then(|| self.make(self.rows, self.columns));
        for part in &self.parts {
            if self.for_x {
                weights.extend((part.held != self.width).then(|| self.make(part.out, self.columns)));
                of_x.get_or_insert_with(|| self.make(self.rows, self.columns));
                if !at_once {
                    weights.clear();
                }
            }
            made.push(self.of_layer(part));
            lows.extend(part.adapter.map(|adapter| self.make(self.rows, adapter.rank)));
        }
        let of_a = self.of_all_a(&lows);
        drop(weights);
        let residual = self.has_residual.then(|| gradients[0].clone());
        let layers = self.parts.iter().zip(made).flat_map(|(part, [weight, bias, b])| {
            let a = |adapter: AdapterPart| of_a.as_ref().filter(|_| adapter.a).map(Shade::detach);
            let adapter = part.adapter.map(|adapter| [a(adapter), b]);
            [weight].into_iter().chain(part.bias.map(|_| bias)).chain(adapter.into_iter().flatten())
        });
        let all = [of_x].into_iter().chain(residual).chain(layers).collect();
        drop(self.kept);
        all
    }

    /// Of weight, bias and B.
    fn of_layer(&self, part: &LayerPart) -> [Option<Shade>; 3] {
        let b = part.adapter.filter(|adapter| adapter.b);
        [
            part.weight.then(|| self.over_rows(part.out, self.columns)),
            part.bias.unwrap_or(false).then(|| self.make(1, part.out)),
            b.map(|adapter| self.over_rows(part.out, adapter.rank)),
        ]
    }

    /// A sum over rows, for which tiles turn the narrower factor. Counted where libtorch multiplies too, so that a plan reads
    /// the same there.
    fn over_rows(&self, left: u64, right: u64) -> Shade {
        let out = self.make(left, right);
        let _turned = self.make(left.min(right), self.rows.next_multiple_of(32) + 32);
        out
    }

    /// Of all A, one below the other, from the gradients of their products.
    fn of_all_a(&self, lows: &[Shade]) -> Option<Shade> {
        let rank = lows.iter().map(|low| low.columns).sum();
        let _low = (lows.len() > 1).then(|| self.make(self.rows, rank));
        if self.for_x && lows.len() > 1 {
            drop(self.make(rank, self.columns)); // the A themselves
        }
        let adapters = self.parts.iter().filter_map(|part| part.adapter);
        adapters.into_iter().any(|adapter| adapter.a).then(|| self.over_rows(rank, self.columns))
    }
}

/// Nodes with the gradients that have come back to them, by their place in time.
#[derive(Default)]
struct Ready(BTreeMap<u64, (Rc<Node>, Gradients)>);

impl Ready {
    /// A gradient that is there already takes the other in.
    fn add(&mut self, Edge { node, output }: &Edge, gradient: Shade) {
        let fresh = || (Rc::clone(node), vec![None; node.outputs]);
        let (_, gradients) = self.0.entry(node.sequence).or_insert_with(fresh);
        gradients[*output].get_or_insert(gradient);
    }

    fn take(&mut self) -> Option<(Rc<Node>, Gradients)> {
        self.0.pop_last().map(|(_, ready)| ready)
    }
}

impl Node {
    fn accumulate(&self, gradient: Shade) {
        let mut held = self.gradient.borrow_mut();
        if held.is_none() {
            gradient.memory.is_now_for(Purpose::Gradients);
            *held = Some(gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    /// 256 KiB.
    fn matrix(stage: &Stage) -> Shade {
        stage.make(Purpose::Activations, 256, 256, 4)
    }

    #[test]
    fn what_no_gradient_reaches_is_not_kept() {
        let stage = Stage::default();
        let (x, weight) = (matrix(&stage), matrix(&stage));
        let out = x.mm(&weight).scale().scale();
        assert!(!out.needs());
        drop(x);
        assert_eq!(stage.held(), 512 * KIB);
    }

    #[test]
    fn a_product_keeps_what_the_other_factor_needs() {
        let stage = Stage::default();
        let (x, frozen, trained) = (matrix(&stage), matrix(&stage), matrix(&stage).leaf());
        let low = x.mm(&trained);
        drop(x);
        assert_eq!(stage.held(), 4 * 256 * KIB, "the input of a trained weight is kept");
        let out = low.mm(&frozen);
        drop(low);
        assert_eq!(stage.held(), 4 * 256 * KIB, "that of a frozen one is not");
        out.backward(out.like());
        drop(out);
        assert!(trained.has_gradient());
        assert_eq!(stage.held(), 3 * 256 * KIB, "two weights and a gradient are left");
        trained.clear_gradient();
        assert_eq!(stage.held(), 2 * 256 * KIB);
    }

    #[test]
    fn nothing_is_kept_where_no_graph_is_built() {
        let stage = Stage::default();
        let (x, trained) = (matrix(&stage), matrix(&stage).leaf());
        let out = {
            let _no_graph = stage.no_graph();
            x.mm(&trained)
        };
        drop(x);
        assert!(!out.needs() && out.mm(&trained).needs());
        assert_eq!(stage.held(), 512 * KIB);
    }

    #[test]
    fn gradients_of_a_tensor_that_is_used_twice_become_one() {
        let stage = Stage::default();
        let leaf = matrix(&stage).leaf();
        let out = leaf.mul(&leaf);
        out.backward(out.like());
        drop(out);
        assert_eq!(stage.held(), 2 * 256 * KIB);
    }

    #[test]
    fn the_peak_says_what_it_was_for() {
        let stage = Stage::default();
        let held = stage.make(Purpose::Weights, 256, 256, 4);
        let first = matrix(&stage);
        let between = matrix(&stage);
        drop(first);
        let large = stage.make(Purpose::Logits, 512, 256, 4); // does not fit the gap
        drop((held, between, large));
        let peak = stage.peak();
        assert_eq!(peak.parts[Purpose::Weights as usize], 256 * KIB);
        assert_eq!((peak.parts[Purpose::Logits as usize], peak.gaps), (512 * KIB, 256 * KIB));
        assert_eq!((peak.bytes(), stage.held()), (1280 * KIB, 0));
    }
}
