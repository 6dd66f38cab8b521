//! Which token comes next: greedy, or drawn from what temperature, top-k, top-p and min-p leave.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// How text is made. Each filter has a value that turns it off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Tokens at most.
    pub max: usize,
    /// 0 takes the likeliest token; the filters below then do nothing.
    pub temperature: f64,
    /// Only the k likeliest; 0 is off.
    pub top_k: usize,
    /// Only the likeliest that together reach this share (Holtzman et al., 2020); 1 is off.
    pub top_p: f64,
    /// Only those at least this share of the likeliest (Nguyen et al., 2024); 0 is off.
    pub min_p: f64,
    /// Divides the scores of tokens already there (Keskar et al., 2019); 1 is off.
    pub repetition_penalty: f64,
    pub seed: u64,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            max: 128,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
            stop: vec![],
        }
    }
}

/// Draws tokens one after the other; its stream of draws is its own.
pub struct Sampler<'a> {
    sampling: &'a Sampling,
    random: ChaCha8Rng,
}

impl<'a> Sampler<'a> {
    pub fn new(sampling: &'a Sampling) -> Sampler<'a> {
        Sampler { sampling, random: ChaCha8Rng::seed_from_u64(sampling.seed) }
    }

    /// The next token after `history` for these logits; none when they are not finite.
    pub fn next(&mut self, logits: &mut [f32], history: &[u32]) -> Option<u32> {
        penalize(logits, history, self.sampling.repetition_penalty as f32);
        let likeliest = likeliest(logits)?;
        if self.sampling.temperature <= 0.0 {
            return Some(likeliest as u32);
        }
        let kept = self.kept(logits, logits[likeliest]);
        let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
        let mut left = self.uniform() * total;
        for (token, weight) in &kept {
            left -= weight;
            if left < 0.0 {
                return Some(*token);
            }
        }
        // Rounding may leave a crumb after the last.
        Some(kept.last().map_or(likeliest as u32, |(token, _)| *token))
    }

    /// The tokens that the filters leave, likeliest first, with weights relative to the likeliest.
    fn kept(&self, logits: &[f32], highest: f32) -> Vec<(u32, f64)> {
        let Sampling { temperature, top_k, top_p, min_p, .. } = *self.sampling;
        let weight = |logit: f32| (f64::from(logit - highest) / temperature).exp();
        let all = logits.iter().enumerate().map(|(token, logit)| (token as u32, weight(*logit)));
        // Weights below this can never be drawn; leaving them out keeps the sort short.
        let mut kept: Vec<(u32, f64)> = all.filter(|(_, weight)| *weight > 1e-12).collect();
        kept.sort_unstable_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        if top_k > 0 {
            kept.truncate(top_k);
        }
        if top_p < 1.0 {
            let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
            let mut reached = 0.0;
            let enough = kept.iter().position(|(_, weight)| {
                reached += weight;
                reached >= top_p * total
            });
            kept.truncate(enough.map_or(kept.len(), |last| last + 1).max(1));
        }
        kept.retain(|(_, weight)| *weight >= min_p.min(1.0));
        kept
    }

    /// A number of [0, 1) with 53 random bits.
    fn uniform(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn penalize(logits: &mut [f32], history: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let seen: std::collections::BTreeSet<u32> = history.iter().copied().collect();
    for token in seen {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
        }
    }
}

/// The first of the highest; none if one is not a number.
fn likeliest(logits: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if logit.is_nan() || *logit == f32::INFINITY {
            return None;
        }
        if *logit > logits[best] {
            best = token;
        }
    }
    (!logits.is_empty()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, -1.0, 2.9];

    fn drawn(sampling: &Sampling) -> std::collections::BTreeSet<u32> {
        let mut sampler = Sampler::new(sampling);
        (0..2000).map(|_| sampler.next(&mut LOGITS.clone(), &[]).unwrap()).collect()
    }

    fn hot() -> Sampling {
        Sampling { temperature: 1.0, seed: 3, ..Sampling::default() }
    }

    #[test]
    fn greedy_takes_the_likeliest_and_the_first_of_equals() {
        let greedy = Sampling::default();
        assert_eq!(Sampler::new(&greedy).next(&mut LOGITS.clone(), &[]), Some(1));
        assert_eq!(Sampler::new(&greedy).next(&mut [2.0, 2.0], &[]), Some(0));
        assert_eq!(Sampler::new(&greedy).next(&mut [2.0, f32::NAN], &[]), None);
    }

    #[test]
    fn filters_leave_what_they_should() {
        assert_eq!(drawn(&hot()).len(), 5);
        assert_eq!(drawn(&Sampling { top_k: 2, ..hot() }), [1, 4].into());
        assert_eq!(drawn(&Sampling { top_p: 0.5, ..hot() }), [1, 4].into());
        assert_eq!(drawn(&Sampling { top_p: 0.1, ..hot() }), [1].into());
        assert_eq!(drawn(&Sampling { min_p: 0.3, ..hot() }), [1, 2, 4].into());
        assert_eq!(drawn(&Sampling { min_p: 1.0, ..hot() }), [1].into());
    }

    #[test]
    fn shares_follow_the_probabilities_and_the_seed() {
        let sampling = hot();
        let draw = |seed| {
            let sampling = Sampling { seed, ..sampling.clone() };
            let mut sampler = Sampler::new(&sampling);
            (0..20_000).map(|_| sampler.next(&mut LOGITS.clone(), &[]).unwrap()).collect::<Vec<u32>>()
        };
        let tokens = draw(1);
        assert_eq!(tokens, draw(1));
        assert_ne!(tokens, draw(2));
        let total: f64 = LOGITS.iter().map(|logit| f64::from(*logit).exp()).sum();
        for (token, logit) in LOGITS.iter().enumerate() {
            let share = tokens.iter().filter(|drawn| **drawn == token as u32).count() as f64 / 20_000.0;
            assert!((share - f64::from(*logit).exp() / total).abs() < 0.015, "{token}: {share}");
        }
    }

    #[test]
    fn repetition_costs() {
        let sampling = Sampling { repetition_penalty: 2.0, ..Sampling::default() };
        assert_eq!(Sampler::new(&sampling).next(&mut LOGITS.clone(), &[1, 1]), Some(4));
        assert_eq!(Sampler::new(&sampling).next(&mut [-1.0, -1.5], &[0]), Some(1));
    }
}
