//! A run: it owns the trained tensors, the optimizer's moments and the step; all else follows from its recipe.

use crate::data::batch::{MicroBatch, Schedule};
use crate::events::Cancel;
use crate::model::base::Base;
use crate::model::llama::{DropoutSeed, Policy};
use crate::model::loss::PendingSum;
use crate::model::recorded::Recordings;
use crate::model::trainables::Trainables;
use crate::torch::{TorchError, message, random};
use crate::train::clip::{clip, gradient_norm};
use crate::train::error::TrainError;
use crate::train::material::Material;
use crate::train::objective;
use crate::train::optimizer::{Moments, update};
use crate::train::recipe::{Checkpointing, Recipe};
use crate::train::schedule::{OwnSchedules, rate};
use crate::train::start;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

/// One fine-tune under way.
#[derive(Debug)]
pub struct Trainer {
    pub(super) base: Arc<Base>,
    pub(super) material: Material,
    pub(super) order: Arc<Schedule>,
    pub(super) recipe: Recipe,
    pub(super) trainables: Trainables,
    pub(super) moments: Moments,
    /// Optimizer steps taken.
    pub(super) step: u64,
    /// Schedules of a Rust program, which the recipe may name.
    pub(super) own: OwnSchedules,
    /// Micro-batches recorded for the GPU.
    pub(super) recordings: RefCell<Recordings>,
}

/// What one optimizer step did.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// From 1.
    pub step: u64,
    /// The mean over the step's supervised tokens.
    pub loss: f64,
    pub lr: f64,
    /// Of all gradients together, before clipping.
    pub grad_norm: f64,
    /// Supervised tokens.
    pub tokens: u64,
    pub seconds: f64,
    /// Passes over the rows so far.
    pub epoch: f64,
    /// The examples of the step.
    pub examples: Vec<usize>,
}

impl Trainer {
    /// A run at step 0.
    pub fn new(base: Arc<Base>, material: Material, recipe: Recipe) -> Result<Trainer, TrainError> {
        recipe.check()?;
        let recipe = Recipe { checkpointing: recipe.checkpointing.or(Checkpointing::Off), ..recipe };
        let (trainables, recipe) = start::trainables(&base, recipe)?;
        let order = Arc::new(Schedule::new(&material.part, material.layout(&recipe)));
        if order.steps_per_epoch() == 0 {
            return Err(TrainError::NoRows);
        }
        let (moments, own) = (Moments::new(), OwnSchedules::default());
        let recordings = RefCell::default();
        Ok(Trainer { base, material, order, recipe, trainables, moments, step: 0, own, recordings })
    }

    /// The same run with the schedules that a Rust program has added.
    #[must_use]
    pub fn with_schedules(self, own: &OwnSchedules) -> Trainer {
        Trainer { own: own.clone(), ..self }
    }

    pub fn schedules(&self) -> &OwnSchedules {
        &self.own
    }

    /// Optimizer steps taken.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    pub fn steps_per_epoch(&self) -> u64 {
        self.order.steps_per_epoch() as u64
    }

    /// Sequences an epoch; with packing fewer than examples.
    pub fn rows_per_epoch(&self) -> u64 {
        self.order.rows_per_epoch() as u64
    }

    /// The planned last step.
    pub fn planned_steps(&self) -> u64 {
        self.recipe.planned_steps(self.steps_per_epoch())
    }

    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    pub fn base(&self) -> &Arc<Base> {
        &self.base
    }

    pub fn material(&self) -> &Material {
        &self.material
    }

    pub fn trainables(&self) -> &Trainables {
        &self.trainables
    }

    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// The model as it is now.
    pub fn policy(&self) -> Policy<'_> {
        Policy { base: &self.base, trainables: Some(&self.trainables) }
    }

    /// The micro-batches of a step, counted from 1: for looking at them.
    pub fn batches_of(&self, step: u64) -> Vec<MicroBatch> {
        self.order.step(step.max(1) - 1)
    }

    /// Changes the settings from the next step on. What cannot change on a live run is named; then nothing changes.
    pub fn amend(&mut self, recipe: Recipe) -> Result<(), TrainError> {
        recipe.check()?;
        let recipe = Recipe { checkpointing: recipe.checkpointing.or(self.recipe.checkpointing), ..recipe };
        match recipe.unchangeable(&self.recipe) {
            // Nothing is lost yet. The tensors are made anew only if they must be: an adapter's folder may have changed.
            Some(_) if self.step == 0 => {
                let fresh = Trainer::new(Arc::clone(&self.base), self.material.clone(), recipe)?;
                *self = fresh.with_schedules(&self.own);
                return Ok(());
            }
            Some(setting) => return Err(TrainError::Unchangeable { setting, step: self.step }),
            None => {}
        }
        let (trainables, recipe) = start::amended(&self.base, &self.trainables, recipe)?;
        self.trainables = trainables;
        self.settle(recipe);
        Ok(())
    }

    /// Takes a recipe as the one in force; rows are laid out anew only if it lays them out otherwise.
    pub(super) fn settle(&mut self, recipe: Recipe) {
        let layout = self.material.layout(&recipe);
        if layout != self.order.layout() {
            self.order = Arc::new(Schedule::new(&self.material.part, layout));
        }
        self.recipe = recipe;
        self.recordings = RefCell::default();
    }

    /// Takes one optimizer step. After an error, an abort or a lack of memory the run is as it was after the step before.
    pub fn step(&mut self, cancel: &Cancel) -> Result<StepReport, TrainError> {
        let started = Instant::now();
        let step = self.step + 1;
        let batches = self.batches_of(step);
        self.trainables.clear_gradients();
        let result = within_memory(|| {
            let (loss, grad_norm) = self.gradients(step, &batches, cancel)?;
            let lr = rate(&self.recipe, &self.own, self.steps_per_epoch(), step)?;
            if let Some(limit) = self.recipe.clip {
                clip(&self.trainables.tensors, grad_norm, limit)?;
            }
            update(&self.recipe, lr, &self.trainables.tensors, &mut self.moments)?;
            Ok((loss, grad_norm, lr))
        });
        self.trainables.clear_gradients();
        let (loss, grad_norm, lr) = result.map_err(|error| error.of_step(step))?;
        self.step = step;
        Ok(StepReport {
            step,
            loss,
            lr,
            grad_norm,
            tokens: supervised(&batches) as u64,
            seconds: started.elapsed().as_secs_f64(),
            epoch: step as f64 / self.steps_per_epoch() as f64,
            examples: batches.into_iter().flat_map(|batch| batch.examples).collect(),
        })
    }

    /// Leaves the gradients of the step's mean loss on the trained tensors; returns that loss and their norm.
    pub(super) fn gradients(
        &self,
        step: u64,
        batches: &[MicroBatch],
        cancel: &Cancel,
    ) -> Result<(f64, f64), TrainError> {
        let tokens = supervised(batches);
        if tokens == 0 {
            let examples: Vec<usize> = batches.iter().flat_map(|batch| batch.examples.clone()).collect();
            return Err(TrainError::NothingSupervised { step, rows: self.material.places(&examples) });
        }
        let mut loss_sum = PendingSum::default();
        let mut recordings = self.recordings.borrow_mut();
        for (index, batch) in batches.iter().enumerate() {
            if cancel.abort() {
                return Err(TrainError::Aborted { step });
            }
            let seed = self.dropout_seed(step, index);
            let recordings = Some(&mut *recordings).filter(|_| self.recipe.cuda_graph);
            let sum =
                objective::backward(&self.policy(), &self.recipe, batch.clone(), tokens, seed, recordings)?;
            if !sum.may_be_finite() {
                return Err(self.not_finite("loss", step, std::slice::from_ref(batch)));
            }
            loss_sum.add(sum)?;
        }
        if cancel.abort() {
            return Err(TrainError::Aborted { step });
        }
        // On a GPU the one place of a step that waits for it: for all that the step computes but the update.
        let norm = gradient_norm(&self.trainables.tensors)?;
        let loss_sum = loss_sum.read()?;
        if !loss_sum.is_finite() {
            return Err(self.not_finite("loss", step, batches));
        }
        if !norm.is_finite() {
            return Err(self.not_finite("gradient", step, batches));
        }
        Ok((loss_sum / tokens as f64, norm))
    }

    pub(super) fn dropout_seed(&self, step: u64, micro_batch: usize) -> DropoutSeed {
        let places = [random::place("dropout"), step, micro_batch as u64];
        DropoutSeed(random::derive(self.recipe.seed, &places))
    }

    /// Looks for the rows that bring the bad number in, one at a time; all of them are named if none does alone.
    fn not_finite(&self, what: &'static str, step: u64, batches: &[MicroBatch]) -> TrainError {
        let mut guilty = vec![];
        for (index, batch) in batches.iter().enumerate() {
            let seed = self.dropout_seed(step, index);
            for row in self.material.single_rows(batch).into_iter().filter(|row| row.supervised > 0) {
                self.trainables.clear_gradients();
                let examples = row.examples.clone();
                let tokens = row.supervised;
                let sum = objective::backward(&self.policy(), &self.recipe, row, tokens, seed, None);
                let sum = sum.and_then(|sum| Ok(sum.read()?));
                let norm = gradient_norm(&self.trainables.tensors);
                let finite = |number: Result<f64, TrainError>| number.is_ok_and(f64::is_finite);
                if !finite(sum) || !finite(norm) {
                    guilty.extend(examples);
                }
            }
        }
        if guilty.is_empty() {
            guilty = batches.iter().flat_map(|batch| batch.examples.clone()).collect();
        }
        TrainError::NotFinite { what, step, rows: self.material.places(&guilty) }
    }
}

/// libtorch's plain operations panic when there is no memory for their result: here that becomes an error.
fn within_memory<T>(compute: impl FnOnce() -> Result<T, TrainError>) -> Result<T, TrainError> {
    let panic = match catch_unwind(AssertUnwindSafe(compute)) {
        Ok(result) => return result,
        Err(panic) => panic,
    };
    match message::of_panic(&*panic) {
        Some(error @ TorchError::OutOfMemory(_)) => Err(error.into()),
        _ => resume_unwind(panic),
    }
}

fn supervised(batches: &[MicroBatch]) -> usize {
    batches.iter().map(|batch| batch.supervised).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::Part;
    use crate::data::packing::Packing;
    use crate::model::base::{Quantization, Storage};
    use crate::model::config::Config;
    use crate::model::llama::Inputs;
    use crate::model::lora::LoraSettings;
    use crate::model::loss::{Detail, measure_micro};
    use crate::train::fixtures::{base, bytes, full, lora, material, packed, part, steps, trainer};
    use crate::train::recipe::{Batch, Decay, Length, Method, Optimizer, Selection};
    use tch::{Device, Kind, Tensor};

    fn assert_ten_and_ten_is_twenty(material: Material, recipe: Recipe) {
        let mut whole = trainer(material.clone(), recipe.clone());
        let at_once = steps(&mut whole, 20);
        let mut halves = trainer(material, recipe);
        let mut in_two = steps(&mut halves, 10);
        look_at(&halves);
        in_two.extend(steps(&mut halves, 10));
        assert_eq!(at_once, in_two);
        assert_eq!(bytes(&whole), bytes(&halves));
    }

    /// Evaluates and generates, as a person does between two steps.
    fn look_at(trainer: &Trainer) {
        let batch = &trainer.batches_of(3)[0];
        let MicroBatch { input_ids, rows, documents, attended, .. } = batch.clone();
        let inputs = Inputs::new(&trainer.base, &input_ids, rows, documents, attended).unwrap();
        measure_micro(&trainer.policy(), &inputs, &batch.labels, Detail::Sum).unwrap();
        let _ = Tensor::rand([5], tch::kind::FLOAT_CPU);
        tch::manual_seed(99);
    }

    #[test]
    fn ten_steps_and_ten_are_twenty_with_dropout_and_accumulation() {
        assert_ten_and_ten_is_twenty(material(), lora());
    }

    #[test]
    fn ten_steps_and_ten_are_twenty_when_packed() {
        assert_ten_and_ten_is_twenty(packed(), lora());
        assert_ten_and_ten_is_twenty(packed(), full());
    }

    #[test]
    fn ten_steps_and_ten_are_twenty_in_full_and_by_sgd() {
        assert_ten_and_ten_is_twenty(material(), full());
        let sgd = Optimizer::Sgd { momentum: 0.9, weight_decay: 0.01, nesterov: true, decay: Decay::All };
        assert_ten_and_ten_is_twenty(material(), Recipe { optimizer: sgd, lr: 0.05, ..full() });
    }

    #[test]
    fn ten_steps_and_ten_are_twenty_over_bf16_weights_and_two_threads() {
        let run = || {
            let base = Base::random(base().config.clone(), 1, Kind::BFloat16, Device::Cpu).unwrap();
            tch::set_num_threads(2);
            Trainer::new(Arc::new(base), material(), full()).unwrap()
        };
        let (mut whole, mut halves) = (run(), run());
        let at_once = steps(&mut whole, 6);
        let in_two = [steps(&mut halves, 3), steps(&mut halves, 3)].concat();
        assert_eq!((at_once, bytes(&whole)), (in_two, bytes(&halves)));
    }

    #[test]
    fn computing_activations_twice_changes_no_bit() {
        let frozen = vec![Selection::freeze("layers 0"), Selection::unfreeze("norms")];
        let head = vec![Selection::freeze("all"), Selection::unfreeze("model.norm.weight")];
        for (what, material, recipe) in [
            ("lora with dropout", material(), lora()),
            ("packed", packed(), lora()),
            ("full", material(), full()),
            ("packed and full", packed(), full()),
            ("the last layer", material(), Recipe { method: Method::LastLayers { count: 1 }, ..full() }),
            ("frozen below", material(), Recipe { freeze: frozen, ..lora() }),
            ("nothing in the blocks", material(), Recipe { freeze: head, ..full() }),
        ] {
            let run = |checkpointing| {
                let mut run =
                    trainer(material.clone(), Recipe { checkpointing, clip: None, ..recipe.clone() });
                (steps(&mut run, 5), bytes(&run))
            };
            assert_eq!(run(Checkpointing::On), run(Checkpointing::Off), "{what}");
        }
    }

    #[test]
    fn activations_of_bf16_weights_may_be_computed_twice_too() {
        let run = |checkpointing| {
            let base = Base::random(base().config.clone(), 1, Kind::BFloat16, Device::Cpu).unwrap();
            let recipe = Recipe { checkpointing, ..full() };
            let mut run = Trainer::new(Arc::new(base), material(), recipe).unwrap();
            (steps(&mut run, 3), bytes(&run))
        };
        assert_eq!(run(Checkpointing::On), run(Checkpointing::Off));
    }

    /// Rows of one shape, so that all micro-batches after the first two are played; and rows of two shapes by turns.
    fn for_graphs() -> [Material; 2] {
        let rows = |lengths: [usize; 2]| {
            let lengths: Vec<usize> = (0..24).map(|row| lengths[row / 4 % 2]).collect();
            Material { part: part(&lengths), packing: Packing::Off, shuffle: false }
        };
        [rows([17, 17]), rows([17, 23])]
    }

    fn without_dropout() -> Recipe {
        let settings = LoraSettings { rank: 4, alpha: 8.0, ..LoraSettings::default() };
        Recipe { method: Method::lora(settings), ..lora() }
    }

    #[test]
    fn micro_batches_that_are_played_change_no_bit() {
        let [alike, by_turns] = for_graphs();
        let head = vec![Selection::freeze("all"), Selection::unfreeze("model.norm.weight")];
        let whole = Recipe { batch: Batch { micro: 4, accumulate: 1 }, ..full() };
        for (what, material, recipe, holds_one) in [
            ("lora", alike.clone(), without_dropout(), true),
            ("full", alike.clone(), whole, true),
            ("nothing in the blocks", alike.clone(), Recipe { freeze: head, ..full() }, true),
            ("two shapes", by_turns, without_dropout(), true),
            ("with dropout", alike, lora(), false),
            ("no shape twice", material(), without_dropout(), false),
            ("packed", packed(), without_dropout(), false),
        ] {
            let run = |cuda_graph| {
                let mut run = trainer(material.clone(), Recipe { cuda_graph, ..recipe.clone() });
                let reports = steps(&mut run, 6);
                let held = run.recordings.borrow().holds_one();
                (reports, bytes(&run), held)
            };
            let ((wanted, wanted_bytes, _), (found, found_bytes, held)) = (run(false), run(true));
            assert_eq!(wanted, found, "{what}");
            assert!(wanted_bytes == found_bytes, "{what}");
            assert_eq!(held, holds_one, "{what}");
        }
    }

    #[test]
    fn going_back_changing_and_forking_leave_no_stale_recording() {
        let walk = |cuda_graph| {
            let mut run = trainer(for_graphs()[0].clone(), Recipe { cuda_graph, ..without_dropout() });
            let mut reports = steps(&mut run, 2);
            let held = run.snapshot();
            reports.extend(steps(&mut run, 2));
            let mut fork = run.fork();
            reports.extend(steps(&mut fork, 2));
            run.restore(&held);
            reports.extend(steps(&mut run, 3));
            let freeze = vec![Selection::freeze("layers 0"), Selection::unfreeze("norms")];
            run.amend(Recipe { cuda_graph, freeze, ..without_dropout() }).unwrap();
            reports.extend(steps(&mut run, 3));
            (reports, bytes(&run), bytes(&fork))
        };
        assert!(walk(true) == walk(false));
    }

    /// On a GPU: what is recorded against the plain way. Attention's gradients are summed in no fixed order there.
    #[test]
    fn micro_batches_played_on_a_gpu_train_as_the_plain_ones() {
        let Ok(device) = crate::torch::device::resolve("cuda") else {
            println!("skipped: no CUDA device");
            return;
        };
        for kind in [Kind::Float, Kind::BFloat16] {
            let run = |cuda_graph| {
                let base = Base::random(base().config.clone(), 1, kind, device).unwrap();
                let recipe = Recipe { cuda_graph, ..without_dropout() };
                let mut run = Trainer::new(Arc::new(base), for_graphs()[0].clone(), recipe).unwrap();
                let held = run.snapshot();
                let mut reports = steps(&mut run, 6);
                run.restore(&held);
                reports.extend(steps(&mut run, 6));
                assert_eq!(run.recordings.borrow().holds_one(), cuda_graph);
                reports
            };
            for (played, plain) in run(true).iter().zip(run(false)) {
                assert!((played.loss / plain.loss - 1.0).abs() < 1e-3, "{} {}", played.loss, plain.loss);
                assert!((played.grad_norm / plain.grad_norm - 1.0).abs() < 2e-2);
            }
        }
    }

    /// A run of adapters over weights of 4 bits.
    fn over_nf4(recipe: Recipe) -> Trainer {
        let config = base().config.clone();
        let storage =
            Storage { quantization: Quantization::Nf4, ..Storage::floats(Kind::Float, Device::Cpu) };
        let base = Base::random_in(config, 1, storage).unwrap();
        Trainer::new(Arc::new(base), material(), recipe).unwrap()
    }

    #[test]
    fn adapters_over_4_bits_are_those_over_the_dequantised_weights() {
        let mut held = over_nf4(lora());
        let floats = held.base().names().into_iter().map(|name| {
            let floats = held.base().floats(&name).unwrap().unwrap();
            (name, floats)
        });
        let origin = crate::model::base::Origin::Random { seed: 1 };
        let config = held.base().config.clone();
        let whole = Base::new(config, floats.collect(), Kind::Float, Device::Cpu, origin).unwrap();
        let mut whole = Trainer::new(Arc::new(whole), material(), lora()).unwrap();
        assert_eq!(steps(&mut held, 6), steps(&mut whole, 6));
        assert_eq!(bytes(&held), bytes(&whole));
        assert!(held.base().bytes() < whole.base().bytes() / 2);
    }

    #[test]
    fn over_4_bits_ten_steps_and_ten_are_twenty_also_with_activations_computed_twice_and_after_going_back() {
        let (mut whole, mut halves) = (over_nf4(lora()), over_nf4(lora()));
        let at_once = steps(&mut whole, 8);
        assert_eq!(at_once, [steps(&mut halves, 4), steps(&mut halves, 4)].concat());
        let mut twice = over_nf4(Recipe { checkpointing: Checkpointing::On, ..lora() });
        let held = twice.snapshot();
        steps(&mut twice, 3);
        twice.restore(&held);
        assert_eq!((steps(&mut twice.fork(), 8), steps(&mut twice, 8)), (at_once.clone(), at_once));
        assert_eq!(bytes(&twice), bytes(&whole));
    }

    #[test]
    fn weights_of_4_bits_are_not_trained_and_norms_over_them_are() {
        let freeze = vec![Selection::unfreeze("norms"), Selection::unfreeze("embeddings")];
        let mut run = over_nf4(Recipe { freeze, ..lora() });
        let before = bytes(&run);
        steps(&mut run, 3);
        assert_ne!(bytes(&run)["model.norm.weight"], before["model.norm.weight"]);
        for recipe in [full(), Recipe { method: Method::LastLayers { count: 1 }, ..full() }] {
            let base = run.base().clone();
            let error = Trainer::new(base, material(), recipe).unwrap_err().to_string();
            assert!(error.contains("is held in 4 bits and takes no update"), "{error}");
        }
    }

    #[test]
    fn what_was_decided_on_checkpointing_stays_until_it_is_set() {
        let on = Recipe { checkpointing: Checkpointing::On, ..lora() };
        let mut run = trainer(material(), on.clone());
        run.amend(Recipe { checkpointing: Checkpointing::Auto, ..on.clone() }).unwrap();
        assert_eq!(run.recipe().checkpointing, Checkpointing::On);
        steps(&mut run, 1);
        run.amend(Recipe { checkpointing: Checkpointing::Off, ..on }).unwrap();
        assert_eq!(run.recipe().checkpointing, Checkpointing::Off);
        let auto = Recipe { checkpointing: Checkpointing::Auto, ..lora() };
        assert_eq!(trainer(material(), auto).recipe().checkpointing, Checkpointing::Off);
    }

    #[test]
    fn a_run_on_the_kernels_for_cuda_has_the_losses_of_the_processor() {
        let run = || [lora(), full()].map(|recipe| steps(&mut trainer(material(), recipe), 3));
        let wanted = run();
        let imitation = crate::torch::imitated::Imitation::begin();
        let found = run();
        for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
            assert!((found.loss / wanted.loss - 1.0).abs() < 1e-5, "{} {}", found.loss, wanted.loss);
            assert!((found.grad_norm / wanted.grad_norm - 1.0).abs() < 1e-4);
        }
        assert!(imitation.launched().1 >= 7, "norm, turn, gate and loss, and their gradients");
        drop(imitation);
        assert_eq!(run()[0].last().map(|last| last.loss), wanted[0].last().map(|last| last.loss));
    }

    #[test]
    fn training_lowers_the_loss_and_reports_what_it_did() {
        let reports = steps(&mut trainer(material(), Recipe { length: Length::Steps(40), ..full() }), 40);
        let mean =
            |part: &[StepReport]| part.iter().map(|report| report.loss).sum::<f64>() / part.len() as f64;
        assert!(
            mean(&reports[34..]) < mean(&reports[..6]) - 0.5,
            "{} {}",
            mean(&reports[..6]),
            mean(&reports[34..])
        );
        assert_eq!(reports[5].epoch, 1.0);
        assert_eq!(reports[2].lr, 1e-3);
        assert_eq!((reports[0].step, reports[39].step), (1, 40));
        let first: usize = reports[..6].iter().map(|report| report.tokens as usize).sum();
        assert_eq!(first, material().part.supervised_tokens());
    }

    #[test]
    fn accumulation_weighs_every_supervised_token_the_same() {
        let run = |micro, accumulate| {
            let batch = Batch { micro, accumulate };
            steps(&mut trainer(material(), Recipe { batch, ..full() }), 1).remove(0)
        };
        let (together, apart) = (run(4, 1), run(1, 4));
        assert_eq!(together.tokens, apart.tokens);
        assert!((together.loss - apart.loss).abs() < 1e-5, "{} {}", together.loss, apart.loss);
        assert!((together.grad_norm / apart.grad_norm - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_bad_number_stops_with_its_rows_and_harms_nothing() {
        let example = trainer(material(), lora()).batches_of(3)[0].examples[0];
        // One row alone holds token 255, whose embedding is infinite; the head is another tensor.
        let mut part = Part::clone(&material().part);
        let first = part.offsets[example];
        part.ids.iter_mut().for_each(|id| *id = (*id).min(254));
        part.ids[first] = 255;
        let material = Material { part: Arc::new(part), ..material() };
        let config = Config { tie_word_embeddings: false, ..base().config.clone() };
        let base = Base::random(config, 1, Kind::Float, Device::Cpu).unwrap();
        let mut row = base.get("model.embed_tokens.weight").unwrap().select(0, 255);
        let _ = row.fill_(f64::INFINITY);
        let mut run = Trainer::new(Arc::new(base), material, lora()).unwrap();
        steps(&mut run, 2);
        let before = bytes(&run);
        let error = run.step(&Cancel::default()).unwrap_err().to_string();
        let place = format!("`rows.jsonl:{}`. ", example + 1);
        assert!(
            error.starts_with("step 3: the loss is not a finite number") && error.contains(&place),
            "{error}"
        );
        assert_eq!(bytes(&run), before);
        assert!(run.trainables.tensors.values().all(|tensor| !tensor.grad().defined()));
    }

    #[test]
    fn an_abort_leaves_the_run_at_its_last_whole_step() {
        let mut run = trainer(material(), lora());
        steps(&mut run, 2);
        let before = bytes(&run);
        let cancel = Cancel::default();
        cancel.request();
        assert!(run.fork().step(&cancel).is_ok(), "a first request lets the step finish");
        cancel.request();
        assert!(matches!(run.step(&cancel), Err(TrainError::Aborted { step: 3 })));
        assert_eq!(bytes(&run), before);
        let mut never = trainer(material(), lora());
        steps(&mut never, 3);
        steps(&mut run, 1);
        assert_eq!(bytes(&run), bytes(&never));
    }

    #[test]
    fn settings_change_from_the_next_step_on() {
        let mut run = trainer(material(), full());
        let reports = steps(&mut run, 4);
        let amended = Recipe { lr: 2e-3, schedule: crate::train::recipe::Schedule::Constant, ..full() };
        run.amend(amended.clone()).unwrap();
        assert_eq!(steps(&mut run, 1)[0].lr, 2e-3);
        assert!(reports[3].lr < 1e-3);
        let error = run.amend(Recipe { seed: 7, ..amended.clone() }).unwrap_err().to_string();
        assert!(error.starts_with("`seed` cannot change on a run that has taken 5 steps"), "{error}");
        assert_eq!(run.recipe(), &amended);
        let mut fresh = trainer(material(), full());
        fresh.amend(Recipe { seed: 7, ..amended.clone() }).unwrap();
        assert_eq!(steps(&mut fresh, 2), steps(&mut trainer(material(), Recipe { seed: 7, ..amended }), 2));
    }

    #[test]
    fn what_is_frozen_keeps_its_bytes_and_what_is_unfrozen_moves() {
        let mut run = trainer(material(), lora());
        steps(&mut run, 2);
        let freeze = vec![Selection::freeze("layers 0"), Selection::unfreeze("embeddings")];
        run.amend(Recipe { freeze, ..lora() }).unwrap();
        let before = bytes(&run);
        steps(&mut run, 2);
        let after = bytes(&run);
        for (name, bytes) in before {
            if name == "step" || name.ends_with("_A.weight updates") {
                continue;
            }
            let moves = !name.contains("layers.0.");
            assert_eq!(bytes != after[&name], moves, "{name}");
        }
        assert_eq!(run.moments()["model.embed_tokens.weight"].updates, 2);
    }
}
