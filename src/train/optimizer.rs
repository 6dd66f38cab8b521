//! AdamW and SGD over moments that the run owns, keyed by the parameter's name, so that they can be saved and put back.

use crate::torch::optimizer;
use crate::train::clip::gradients;
use crate::train::error::TrainError;
use crate::train::recipe::{Decay, Optimizer, Recipe};
use crate::train::selection::is_matrix;
use std::collections::BTreeMap;
use tch::Tensor;

/// What an optimizer remembers of one parameter.
#[derive(Debug)]
pub struct Moment {
    /// AdamW: mean and mean square of the gradient. SGD: the velocity, or nothing without momentum.
    pub tensors: Vec<Tensor>,
    /// Updates so far: a parameter unfrozen late begins its bias correction late.
    pub updates: u64,
}

impl Moment {
    fn zeros(optimizer: &Optimizer, parameter: &Tensor) -> Result<Moment, TrainError> {
        let zeros = (0..optimizer.moments()).map(|_| Ok(parameter.f_detach()?.f_zeros_like()?));
        Ok(Moment { tensors: zeros.collect::<Result<_, TrainError>>()?, updates: 0 })
    }

    /// A copy that shares nothing.
    pub fn deep_copy(&self) -> Moment {
        Moment { tensors: self.tensors.iter().map(Tensor::copy).collect(), updates: self.updates }
    }
}

/// The names of `Moment::tensors` in a checkpoint, in their order.
pub fn moment_names(optimizer: &Optimizer) -> &'static [&'static str] {
    match optimizer {
        Optimizer::AdamW { .. } => &["mean", "square"],
        Optimizer::Sgd { momentum, .. } if *momentum != 0.0 => &["velocity"],
        Optimizer::Sgd { .. } => &[],
    }
}

/// Moments by parameter name; a parameter that was never updated has none yet.
pub type Moments = BTreeMap<String, Moment>;

/// A parameter, its gradient and its name.
type Member<'a> = (&'a Tensor, Tensor, &'a str);

/// Updates every tensor that has a gradient, in place, with the gradient as it stands. Whatever takes memory comes first,
/// so that nothing has changed if there is none.
pub fn update(
    recipe: &Recipe,
    lr: f64,
    parameters: &BTreeMap<String, Tensor>,
    moments: &mut Moments,
) -> Result<(), TrainError> {
    let mut fresh = Moments::new();
    for (name, parameter, _) in gradients(parameters).filter(|(name, ..)| !moments.contains_key(*name)) {
        fresh.insert(name.clone(), Moment::zeros(&recipe.optimizer, parameter)?);
    }
    moments.append(&mut fresh);
    let mut groups: BTreeMap<(u64, bool), Vec<Member>> = BTreeMap::new();
    for (name, parameter, gradient) in gradients(parameters) {
        let decays = recipe.optimizer.decay() == Decay::All || is_matrix(name, parameter.dim());
        groups.entry((moments[name].updates, decays)).or_default().push((parameter, gradient, name));
    }
    for ((updates, decays), members) in &groups {
        let weight_decay = if *decays { recipe.optimizer.weight_decay() } else { 0.0 };
        update_group(&recipe.optimizer, lr, weight_decay, *updates, members, moments)?;
    }
    for (_, _, name) in groups.values().flatten() {
        if let Some(moment) = moments.get_mut(*name) {
            moment.updates += 1;
        }
    }
    Ok(())
}

/// One fused call for tensors that share their number of updates and their weight decay.
fn update_group(
    settings: &Optimizer,
    lr: f64,
    weight_decay: f64,
    updates: u64,
    members: &[Member],
    moments: &Moments,
) -> Result<(), TrainError> {
    let parameters: Vec<&Tensor> = members.iter().map(|(parameter, _, _)| *parameter).collect();
    let gradients: Vec<&Tensor> = members.iter().map(|(_, gradient, _)| gradient).collect();
    let remembered = |which: usize| -> Vec<&Tensor> {
        members.iter().map(|(.., name)| &moments[*name].tensors[which]).collect()
    };
    match *settings {
        Optimizer::AdamW { betas: (beta1, beta2), eps, .. } => {
            let step = i64::try_from(updates).unwrap_or(i64::MAX - 1) + 1;
            let numbers = optimizer::AdamW { step, lr, beta1, beta2, eps, weight_decay };
            optimizer::adamw(&parameters, &gradients, &remembered(0), &remembered(1), numbers)?;
        }
        Optimizer::Sgd { momentum, nesterov, .. } => {
            let velocities = if momentum == 0.0 { vec![] } else { remembered(0) };
            let numbers = optimizer::Sgd { lr, momentum, weight_decay, nesterov, first: updates == 0 };
            optimizer::sgd(&parameters, &gradients, &velocities, numbers)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::gradient;
    use crate::train::recipe::Method;
    use tch::{Device, Kind};

    const NAMES: [&str; 2] = ["model.layers.0.mlp.up_proj.weight", "model.norm.weight"];

    /// A matrix and a norm, and the loss whose gradient is `2 (x - target)`.
    fn parameters() -> BTreeMap<String, Tensor> {
        let matrix = Tensor::arange(6, (Kind::Float, Device::Cpu)).reshape([2, 3]) / 3.0 - 0.8;
        let norm = Tensor::ones([3], (Kind::Float, Device::Cpu));
        NAMES
            .iter()
            .map(|name| name.to_string())
            .zip([matrix, norm].map(|t| t.set_requires_grad(true)))
            .collect()
    }

    fn clear_gradients(parameters: &BTreeMap<String, Tensor>) {
        parameters.values().for_each(gradient::clear);
    }

    fn backward(parameters: &BTreeMap<String, Tensor>) {
        let loss: Tensor =
            parameters.values().map(|parameter| (parameter - 0.3).square().sum(Kind::Float)).sum();
        loss.backward();
    }

    fn recipe(optimizer: Optimizer) -> Recipe {
        Recipe { optimizer, ..Recipe::new(Method::Full) }
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::<f32>::try_from(tensor.detach().flatten(0, -1)).unwrap().into_iter().map(f64::from).collect()
    }

    /// Three updates against the same rule written out in f64.
    fn assert_follows(optimizer: Optimizer, rule: impl Fn(f64, f64, &mut [f64; 2], i32, f64) -> f64) {
        let recipe = recipe(optimizer);
        let parameters = parameters();
        let mut moments = Moments::new();
        let start: Vec<Vec<f64>> = parameters.values().map(values).collect();
        for _ in 0..3 {
            backward(&parameters);
            update(&recipe, 0.05, &parameters, &mut moments).unwrap();
            clear_gradients(&parameters);
        }
        for ((name, parameter), start) in parameters.iter().zip(start) {
            let decays = recipe.optimizer.decay() == Decay::All || *name == NAMES[0];
            let weight_decay = if decays { recipe.optimizer.weight_decay() } else { 0.0 };
            for (got, mut wanted) in values(parameter).into_iter().zip(start) {
                let mut memory = [0.0; 2];
                for step in 1..=3 {
                    wanted = rule(wanted, 2.0 * (wanted - 0.3), &mut memory, step, weight_decay);
                }
                assert!((got - wanted).abs() < 2e-6, "{name}: {got}, not {wanted}");
            }
        }
    }

    fn adamw_rule(x: f64, g: f64, memory: &mut [f64; 2], step: i32, weight_decay: f64) -> f64 {
        memory[0] = 0.8 * memory[0] + 0.2 * g;
        memory[1] = 0.99 * memory[1] + 0.01 * g * g;
        let (mean, square) = (memory[0] / (1.0 - 0.8f64.powi(step)), memory[1] / (1.0 - 0.99f64.powi(step)));
        x * (1.0 - 0.05 * weight_decay) - 0.05 * mean / (square.sqrt() + 1e-6)
    }

    #[test]
    fn adamw_follows_its_rule_and_decays_what_it_should() {
        for decay in [Decay::Matrices, Decay::All] {
            let adamw = Optimizer::AdamW { betas: (0.8, 0.99), eps: 1e-6, weight_decay: 0.5, decay };
            assert_follows(adamw, adamw_rule);
        }
    }

    #[test]
    fn sgd_follows_its_rule_with_and_without_momentum() {
        for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
            let sgd = Optimizer::Sgd { momentum, weight_decay: 0.1, nesterov, decay: Decay::Matrices };
            assert_follows(sgd, |x, g, memory, step, weight_decay| {
                let g = g + weight_decay * x;
                memory[0] = if step == 1 { g } else { momentum * memory[0] + g };
                x - 0.05 * if nesterov { g + momentum * memory[0] } else { memory[0] }
            });
        }
    }

    #[test]
    fn a_parameter_without_gradient_is_left_alone_and_counts_its_own_updates() {
        let parameters = parameters();
        let mut moments = Moments::new();
        let recipe = Recipe::new(Method::Full);
        let only_norm = BTreeMap::from([(NAMES[1].to_string(), parameters[NAMES[1]].shallow_clone())]);
        let before = values(&parameters[NAMES[0]]);
        backward(&only_norm);
        update(&recipe, 0.05, &parameters, &mut moments).unwrap();
        clear_gradients(&parameters);
        assert_eq!(values(&parameters[NAMES[0]]), before);
        backward(&parameters);
        update(&recipe, 0.05, &parameters, &mut moments).unwrap();
        assert_eq!(NAMES.map(|name| moments[name].updates), [1, 2]);
    }

    #[test]
    fn a_copied_moment_shares_nothing() {
        let parameters = parameters();
        let mut moments = Moments::new();
        backward(&parameters);
        update(&Recipe::new(Method::Full), 0.05, &parameters, &mut moments).unwrap();
        let copy = moments[NAMES[1]].deep_copy();
        let before = values(&copy.tensors[0]);
        update(&Recipe::new(Method::Full), 0.05, &parameters, &mut moments).unwrap();
        assert_eq!(values(&copy.tensors[0]), before);
        assert_ne!(values(&moments[NAMES[1]].tensors[0]), before);
    }
}
