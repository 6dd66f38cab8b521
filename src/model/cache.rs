//! Keys and values of the positions already seen, so that generating a token costs one position.

use crate::model::llama::Policy;
use tch::{Kind, Tensor};

/// Grows as needed; one for each text being generated.
#[derive(Debug, Default)]
pub struct KvCache {
    layers: Vec<(Tensor, Tensor)>,
    length: i64,
}

/// Positions a fresh cache has room for.
const FIRST_ROOM: i64 = 256;

impl KvCache {
    pub fn new() -> KvCache {
        KvCache::default()
    }

    /// Positions seen.
    pub fn length(&self) -> i64 {
        self.length
    }

    /// Puts new keys and values `[b, g, new, k]` behind those of the layer and gives all of them.
    pub(super) fn append(&mut self, layer: usize, k_bgtk: &Tensor, v_bgtk: &Tensor) -> (Tensor, Tensor) {
        let new = k_bgtk.size()[2];
        if layer == self.layers.len() {
            self.layers.push((room(k_bgtk, FIRST_ROOM.max(new)), room(v_bgtk, FIRST_ROOM.max(new))));
        }
        let all = self.length + new;
        let held = &mut self.layers[layer];
        if held.0.size()[2] < all {
            *held = (grown(&held.0, self.length, all), grown(&held.1, self.length, all));
        }
        held.0.narrow(2, self.length, new).copy_(k_bgtk);
        held.1.narrow(2, self.length, new).copy_(v_bgtk);
        (held.0.narrow(2, 0, all), held.1.narrow(2, 0, all))
    }

    /// After all layers have appended.
    pub(super) fn advance(&mut self, new: i64) {
        self.length += new;
    }
}

fn room(like_bgtk: &Tensor, positions: i64) -> Tensor {
    let (b, g, _, k) = like_bgtk.size4().expect("keys have four axes");
    Tensor::empty([b, g, positions, k], (like_bgtk.kind(), like_bgtk.device()))
}

fn grown(held: &Tensor, length: i64, all: i64) -> Tensor {
    let larger = room(held, all.max(2 * held.size()[2]));
    larger.narrow(2, 0, length).copy_(&held.narrow(2, 0, length));
    larger
}

impl Policy<'_> {
    /// Passes new ids `[b, new]` on from what the cache holds; logits of the last position, `[b, v]` in fp32.
    pub fn decode(&self, input_ids: &Tensor, cache: &mut KvCache) -> Tensor {
        let _no_grad = tch::no_grad_guard();
        let hidden_btd = self.hidden_cached(input_ids, cache);
        cache.advance(input_ids.size()[1]);
        let last_bd = hidden_btd.select(1, -1);
        self.logits(&last_bd).to_kind(Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures;

    #[test]
    fn positions_one_by_one_in_pieces_or_at_once_give_the_same_logits() {
        let base = fixtures::random(Kind::Float);
        let policy = fixtures::policy(&base);
        let ids: Vec<i64> = (0..300).map(|index| (index * index + 5) % 512).collect();
        let decode = |pieces: &[usize]| {
            let (mut cache, mut start) = (KvCache::new(), 0);
            let mut logits = Tensor::new();
            for piece in pieces {
                let part = Tensor::from_slice(&ids[start..start + piece]).unsqueeze(0);
                logits = policy.decode(&part, &mut cache);
                start += piece;
            }
            assert_eq!(cache.length(), 300);
            logits
        };
        let whole = decode(&[300]);
        assert_eq!(whole.size(), [1, 512]);
        for pieces in [[vec![250], vec![1; 50]].concat(), vec![100, 150, 49, 1]] {
            assert!((decode(&pieces) - &whole).abs().max().double_value(&[]) < 1e-5);
        }
    }
}
