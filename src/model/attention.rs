//! Causal attention: over whole rows, over the documents of a packed row, or over a cache.

use crate::model::cache::KvCache;
use crate::torch::{TorchError, device, kernels};
use tch::{Device, Kind, Tensor};

/// What the queries of a forward pass may see.
#[derive(Debug)]
pub enum Attention<'a> {
    /// Each row up to the position itself. Padding stands on the right, so nothing real sees it.
    Rows,
    /// Each document of each row for itself; what is left of a row is padding. In one call where there are starts for it.
    Documents { lengths: &'a [Vec<usize>], starts: Option<&'a Starts> },
    /// All cached positions and the new ones up to the position itself.
    Cached(&'a mut KvCache),
}

/// Where the documents of packed rows begin when all rows lie one behind the other.
#[derive(Debug)]
pub struct Starts {
    /// `[documents + 1]`, int32, on the device; the last number is where all end. Padding counts as a document.
    cumulative: Tensor,
    longest: i64,
}

impl Starts {
    /// Of rows of `length` positions on a GPU. None elsewhere: there documents are attended to one by one.
    pub fn of(documents: &[Vec<usize>], length: usize, device: Device) -> Result<Option<Starts>, TorchError> {
        if !device.is_cuda() || documents.is_empty() {
            return Ok(None);
        }
        let (cumulative, longest) = cumulated(documents, length);
        let cumulative = device::put(&Tensor::f_from_slice(&cumulative)?, device)?;
        Ok(Some(Starts { cumulative, longest }))
    }
}

/// The starts and the end, and the length of the longest document; what a row has left is one more.
fn cumulated(documents: &[Vec<usize>], length: usize) -> (Vec<i32>, i64) {
    let (mut starts, mut longest, mut at) = (vec![0], 0, 0);
    for row in documents {
        let left = length.saturating_sub(row.iter().sum());
        for document in row.iter().copied().chain([left]).filter(|document| *document > 0) {
            at += document;
            starts.push(i32::try_from(at).expect("a micro-batch holds fewer than 2^31 tokens"));
            longest = longest.max(document as i64);
        }
    }
    (starts, longest)
}

impl Attention<'_> {
    /// `q` `[b, t, h, k]`, keys and values `[b, t, g, k]` → `[b, t, h, k]`.
    pub fn attend(&mut self, layer: usize, q_bthk: &Tensor, k_btgk: &Tensor, v_btgk: &Tensor) -> Tensor {
        if let Attention::Documents { starts: Some(starts), .. } = self
            && kernels::attend_documents_serves(q_bthk)
        {
            return in_one_call(q_bthk, k_btgk, v_btgk, starts);
        }
        if let Some(documents) = self.documents_for_the_processor(q_bthk) {
            return kernels::attend(q_bthk, k_btgk, v_btgk, &documents);
        }
        let heads_first = |x: &Tensor| x.transpose(1, 2);
        let (q_bhtk, k_bgtk, v_bgtk) = (heads_first(q_bthk), heads_first(k_btgk), heads_first(v_btgk));
        let out_bhtk = match self {
            Attention::Rows => causal(&q_bhtk, &k_bgtk, &v_bgtk),
            Attention::Documents { lengths, .. } => by_document(&q_bhtk, &k_bgtk, &v_bgtk, lengths),
            Attention::Cached(cache) => {
                let (k_bgtk, v_bgtk) = cache.append(layer, &k_bgtk, &v_bgtk);
                over_cache(&q_bhtk, &k_bgtk, &v_bgtk)
            }
        };
        out_bhtk.transpose(1, 2)
    }

    /// Starts and lengths among all tokens, where our own kernels attend to these queries.
    fn documents_for_the_processor(&self, q_bthk: &Tensor) -> Option<Vec<(i64, i64)>> {
        let (rows, length, _, width) = q_bthk.size4().expect("queries have four axes");
        if q_bthk.device() != Device::Cpu || !kernels::attends(q_bthk.kind(), width) {
            return None;
        }
        match self {
            Attention::Rows => Some((0..rows).map(|row| (row * length, length)).collect()),
            Attention::Documents { lengths, .. } => Some(places(lengths, length)),
            Attention::Cached(_) => None,
        }
    }
}

/// Where each document starts among all tokens of rows of `length` positions, and how long it is.
fn places(documents: &[Vec<usize>], length: i64) -> Vec<(i64, i64)> {
    let row = |(row, documents): (i64, &Vec<usize>)| {
        let starts = documents.iter().scan(row * length, |at, document| {
            let start = *at;
            *at += *document as i64;
            Some((start, *document as i64))
        });
        starts.collect::<Vec<_>>()
    };
    (0..).zip(documents).flat_map(row).collect()
}

fn causal(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    Tensor::scaled_dot_product_attention(q, k, v, None::<Tensor>, 0.0, true, None, true)
}

/// All documents at once. cuDNN's way for this builds its plan at every call and is not taken.
fn in_one_call(q_bthk: &Tensor, k_btgk: &Tensor, v_btgk: &Tensor, starts: &Starts) -> Tensor {
    let flat = |x: &Tensor| x.flatten(0, 1);
    let (q, k, v) = (flat(q_bthk), flat(k_btgk), flat(v_btgk));
    kernels::attend_documents(&q, &k, &v, &starts.cumulative, starts.longest).view_as(q_bthk)
}

fn by_document(q: &Tensor, k: &Tensor, v: &Tensor, documents: &[Vec<usize>]) -> Tensor {
    let (_, heads, length, width) = q.size4().expect("queries have four axes");
    let rows: Vec<Tensor> = documents
        .iter()
        .enumerate()
        .map(|(row, lengths)| {
            let part = |x: &Tensor, start, length| x.narrow(0, row as i64, 1).narrow(2, start, length);
            let mut start = 0;
            let mut parts: Vec<Tensor> = vec![];
            for &document in lengths {
                let document = document as i64;
                let [q, k, v] = [q, k, v].map(|x| part(x, start, document));
                parts.push(causal(&q, &k, &v));
                start += document;
            }
            if start < length {
                parts.push(Tensor::zeros([1, heads, length - start, width], (q.kind(), q.device())));
            }
            Tensor::cat(&parts, 2)
        })
        .collect();
    Tensor::cat(&rows, 0)
}

/// New queries stand at the end of the cached keys.
fn over_cache(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    let (new, all) = (q.size()[2], k.size()[2]);
    if new == all {
        return causal(q, k, v);
    }
    let mask = (new > 1).then(|| Tensor::ones([new, all], (Kind::Bool, q.device())).tril(all - new));
    Tensor::scaled_dot_product_attention(q, k, v, mask.as_ref(), 0.0, false, None, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::random;

    #[test]
    fn starts_count_what_a_row_has_left_as_a_document() {
        let found = cumulated(&[vec![3, 2], vec![7], vec![1, 1]], 7);
        assert_eq!(found, (vec![0, 3, 5, 7, 14, 15, 16, 21], 7));
        assert!(Starts::of(&[vec![3]], 4, Device::Cpu).unwrap().is_none());
    }

    #[test]
    fn places_of_documents_are_counted_over_all_rows() {
        assert_eq!(places(&[vec![3, 2], vec![], vec![7]], 7), [(0, 3), (3, 2), (14, 7)]);
    }

    /// Our own kernels against libtorch's attention in float64, with all gradients: whole rows and documents, blocks that are full
    /// and that are not, one head and several for a group.
    #[test]
    fn attention_on_the_processor_is_that_of_the_formula() {
        let cases = [
            (100, [4, 2, 64], vec![vec![100], vec![100]]),
            (130, [4, 1, 128], vec![vec![70, 59], vec![], vec![1, 64]]),
            (65, [3, 3, 80], vec![vec![65]]),
            (5, [2, 2, 32], vec![vec![5], vec![2, 1]]),
            (300, [2, 1, 16], vec![vec![300]]),
        ];
        for (kind, accepted) in [(Kind::Float, 2e-6), (Kind::BFloat16, 1e-2)] {
            for (length, [heads, groups, width], documents) in &cases {
                let (length, heads, groups, width) = (*length, *heads, *groups, *width);
                if !kernels::attends(kind, width) {
                    println!("skipped: this processor has no tiles for {kind:?}");
                    continue;
                }
                let normal = |heads: i64, seed| {
                    random::normal(&[documents.len() as i64, length, heads, width], seed).to_kind(kind)
                };
                let inputs = [normal(heads, 1), normal(groups, 2), normal(groups, 3)];
                let seed = normal(heads, 4).to_kind(Kind::Double);
                let run = |kind: Kind, attend: &dyn Fn([&Tensor; 3]) -> Tensor| -> Vec<Tensor> {
                    let leaves = inputs.each_ref().map(|x| x.to_kind(kind).copy().set_requires_grad(true));
                    let out = attend(leaves.each_ref());
                    (&out * seed.to_kind(kind)).sum(Kind::Double).backward();
                    std::iter::once(out.detach()).chain(leaves.iter().map(Tensor::grad)).collect()
                };
                let plain = |[q, k, v]: [&Tensor; 3]| {
                    let [q, k, v] = [q, k, v].map(|x| x.transpose(1, 2));
                    by_document(&q, &k, &v, documents).transpose(1, 2)
                };
                let ours = |[q, k, v]: [&Tensor; 3]| kernels::attend(q, k, v, &places(documents, length));
                let exact = run(Kind::Double, &plain);
                let threads = tch::get_num_threads();
                let [one, two] = [1, 2].map(|threads| {
                    tch::set_num_threads(threads);
                    run(kind, &ours)
                });
                tch::set_num_threads(threads);
                assert_eq!(one, two, "threads do not change the bits");
                for (index, (got, wanted)) in one.iter().zip(&exact).enumerate() {
                    let difference = (got.to_kind(Kind::Double) - wanted).norm().double_value(&[]);
                    let relative = difference / wanted.norm().double_value(&[]);
                    assert!(relative < accepted, "{kind:?} {length} {index}: {relative}");
                }
            }
        }
    }

    /// On a GPU: the documents in one call against one by one, forward and backward.
    #[test]
    fn documents_on_a_gpu_in_one_call_are_the_documents_one_by_one() {
        let Ok(device) = device::resolve("cuda") else {
            println!("skipped: no CUDA device");
            return;
        };
        let documents = vec![vec![3, 130, 60], vec![193], vec![1, 70]];
        let starts = Starts::of(&documents, 200, device).unwrap();
        let run = |starts: Option<&Starts>| -> Vec<Tensor> {
            let leaf = |heads: i64, seed| {
                let x = Tensor::empty([3, 200, heads, 64], (Kind::BFloat16, device));
                random::fill_normal(&x, 0.0, 1.0, seed).unwrap();
                x.set_requires_grad(true)
            };
            let leaves = [leaf(8, 1), leaf(2, 2), leaf(2, 3)];
            let mut attention = Attention::Documents { lengths: &documents, starts };
            let out = attention.attend(0, &leaves[0], &leaves[1], &leaves[2]);
            // What is padding is nobody's.
            let real: Vec<Tensor> = documents
                .iter()
                .zip(0..)
                .map(|(row, index)| out.get(index).narrow(0, 0, row.iter().sum::<usize>() as i64))
                .collect();
            let real = Tensor::cat(&real, 0).to_kind(Kind::Float);
            (&real * real.detach().cos()).sum(Kind::Float).backward();
            [real.detach()].into_iter().chain(leaves.iter().map(Tensor::grad)).collect()
        };
        for (at_once, one_by_one) in run(starts.as_ref()).iter().zip(run(None)) {
            let difference = (at_once - &one_by_one).norm().double_value(&[]);
            let relative = difference / one_by_one.norm().double_value(&[]);
            assert!(relative < 2e-2, "{relative}");
        }
    }
}
