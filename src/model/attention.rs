//! Causal attention: over whole rows, over the documents of a packed row, or over a cache.

use crate::model::cache::KvCache;
use tch::{Kind, Tensor};

/// What the queries of a forward pass may see.
#[derive(Debug)]
pub enum Attention<'a> {
    /// Each row up to the position itself. Padding stands on the right, so nothing real sees it.
    Rows,
    /// Each document of each row for itself; what is left of a row is padding.
    Documents(&'a [Vec<usize>]),
    /// All cached positions and the new ones up to the position itself.
    Cached(&'a mut KvCache),
}

impl Attention<'_> {
    /// `q` `[b, t, h, k]`, keys and values `[b, t, g, k]` → `[b, t, h, k]`.
    pub fn attend(&mut self, layer: usize, q_bthk: &Tensor, k_btgk: &Tensor, v_btgk: &Tensor) -> Tensor {
        let heads_first = |x: &Tensor| x.transpose(1, 2);
        let (q_bhtk, k_bgtk, v_bgtk) = (heads_first(q_bthk), heads_first(k_btgk), heads_first(v_btgk));
        let out_bhtk = match self {
            Attention::Rows => causal(&q_bhtk, &k_bgtk, &v_bgtk),
            Attention::Documents(documents) => by_document(&q_bhtk, &k_bgtk, &v_bgtk, documents),
            Attention::Cached(cache) => {
                let (k_bgtk, v_bgtk) = cache.append(layer, &k_bgtk, &v_bgtk);
                over_cache(&q_bhtk, &k_bgtk, &v_bgtk)
            }
        };
        out_bhtk.transpose(1, 2)
    }
}

fn causal(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    Tensor::scaled_dot_product_attention(q, k, v, None::<Tensor>, 0.0, true, None, true)
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
