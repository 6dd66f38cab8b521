//! The shape of a Llama from the metadata of a GGUF file.

use crate::files::FilesError;
use crate::files::gguf::Gguf;
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::rope::RopeScaling;

/// llama.cpp's tensor of frequency divisors; Llama 3 files carry it in place of `rope_scaling`.
const ROPE_FACTORS: &str = "rope_freqs.weight";

impl Config {
    /// Reads the `llama.*` metadata; whether the head is tied and biases exist is seen from the tensors.
    pub fn from_gguf(gguf: &Gguf) -> Result<Config, ModelError> {
        let architecture = gguf.text("general.architecture")?;
        if architecture != "llama" {
            let wanted = "ltune tunes models of type `llama`".to_string();
            return Err(ModelError::ConfigValue {
                field: "general.architecture",
                found: architecture.into(),
                wanted,
            });
        }
        let heads = gguf.integer("llama.attention.head_count")?;
        let hidden_size = gguf.integer("llama.embedding_length")?;
        let positions = gguf.integer("llama.context_length")?;
        let theta = optional(gguf, "llama.rope.freq_base", Gguf::number)?.unwrap_or(10_000.0);
        let head_dim = optional(gguf, "llama.attention.key_length", Gguf::integer)?
            .or(optional(gguf, "llama.rope.dimension_count", Gguf::integer)?)
            .unwrap_or(hidden_size / heads.max(1));
        refuse_other_shapes(gguf, head_dim)?;
        let has = |name: &str| gguf.tensor(name).is_ok();
        let vocab_size = match gguf.tensor("token_embd.weight")?.shape.first() {
            Some(rows) => *rows as i64,
            None => return Err(ModelError::TensorMissing { name: "token_embd.weight".to_string() }),
        };
        let token = |key: &str| optional(gguf, key, Gguf::integer);
        let config = Config {
            vocab_size,
            hidden_size,
            intermediate_size: gguf.integer("llama.feed_forward_length")?,
            num_hidden_layers: gguf.integer("llama.block_count")?,
            num_attention_heads: heads,
            num_key_value_heads: optional(gguf, "llama.attention.head_count_kv", Gguf::integer)?
                .unwrap_or(heads),
            head_dim,
            max_position_embeddings: positions,
            rms_norm_eps: rounded(gguf.number("llama.attention.layer_norm_rms_epsilon")?),
            rope_theta: theta,
            rope_scaling: scaling(gguf, theta, head_dim, positions)?,
            tie_word_embeddings: !has("output.weight"),
            attention_bias: has("blk.0.attn_q.bias"),
            mlp_bias: has("blk.0.ffn_up.bias"),
            initializer_range: 0.02,
            bos_token_id: token("tokenizer.ggml.bos_token_id")?,
            eos_token_id: token("tokenizer.ggml.eos_token_id")?.into_iter().collect(),
            pad_token_id: token("tokenizer.ggml.padding_token_id")?,
        };
        config.validate()?;
        Ok(config)
    }
}

/// A value that may be missing, but not of the wrong kind.
fn optional<'a, T>(
    gguf: &'a Gguf,
    key: &str,
    read: impl FnOnce(&'a Gguf, &str) -> Result<T, FilesError>,
) -> Result<Option<T>, ModelError> {
    if gguf.has(key) { Ok(Some(read(gguf, key)?)) } else { Ok(None) }
}

fn refuse_other_shapes(gguf: &Gguf, head_dim: i64) -> Result<(), ModelError> {
    let refuse = |field, found: i64, wanted: &str| {
        Err(ModelError::ConfigValue { field, found: found.to_string(), wanted: wanted.to_string() })
    };
    match optional(gguf, "llama.expert_count", Gguf::integer)? {
        None | Some(0) => {}
        Some(experts) => {
            return refuse("llama.expert_count", experts, "mixtures of experts are not supported");
        }
    }
    match optional(gguf, "llama.rope.dimension_count", Gguf::integer)? {
        Some(turned) if turned != head_dim => {
            refuse("llama.rope.dimension_count", turned, "RoPE on part of a head is not supported")
        }
        _ => Ok(()),
    }
}

fn scaling(gguf: &Gguf, theta: f64, head_dim: i64, positions: i64) -> Result<RopeScaling, ModelError> {
    if gguf.tensor(ROPE_FACTORS).is_ok() {
        let factors: Vec<f64> = gguf.floats(ROPE_FACTORS)?.into_iter().map(f64::from).collect();
        return Ok(llama3_of(&factors, theta, head_dim).unwrap_or(RopeScaling::Factors { factors }));
    }
    let factor = optional(gguf, "llama.rope.scaling.factor", Gguf::number)?;
    match optional(gguf, "llama.rope.scaling.type", Gguf::text)? {
        None | Some("none") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: factor.unwrap_or(1.0) }),
        Some(other) => {
            let wanted = format!("ltune knows `linear` in a GGUF file (of {positions} positions)");
            Err(ModelError::ConfigValue {
                field: "llama.rope.scaling.type",
                found: other.to_string(),
                wanted,
            })
        }
    }
}

/// The Llama 3 scaling that gives these divisors, so that it can be written to `config.json` again.
fn llama3_of(factors: &[f64], theta: f64, head_dim: i64) -> Option<RopeScaling> {
    let factor = factors.iter().copied().fold(0.0, f64::max).round();
    let guess = RopeScaling::Llama3 { factor, low_freq_factor: 1.0, high_freq_factor: 4.0, original: 8192 };
    guess.validate(head_dim).ok()?;
    let plain = RopeScaling::None.frequencies(theta, head_dim, 1);
    let scaled = guess.frequencies(theta, head_dim, 1);
    let close = |((plain, scaled), factor): ((&f32, &f32), &f64)| {
        (f64::from(plain / scaled) / factor - 1.0).abs() < 1e-4
    };
    let fits = factors.len() == plain.len() && plain.iter().zip(&scaled).zip(factors).all(close);
    fits.then_some(guess)
}

/// The shortest decimal of a number that was stored as a float: 1e-5, not 9.999999747378752e-6.
fn rounded(stored: f64) -> f64 {
    (stored as f32).to_string().parse().unwrap_or(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_divisors_are_recognised_and_others_kept() {
        let scaling =
            RopeScaling::Llama3 { factor: 32.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original: 8192 };
        let plain = RopeScaling::None.frequencies(500_000.0, 64, 1);
        let scaled = scaling.frequencies(500_000.0, 64, 1);
        let factors: Vec<f64> =
            plain.iter().zip(&scaled).map(|(plain, scaled)| f64::from(plain / scaled)).collect();
        assert_eq!(llama3_of(&factors, 500_000.0, 64), Some(scaling));
        assert_eq!(llama3_of(&vec![3.0; 32], 500_000.0, 64), None);
        assert_eq!(rounded(f64::from(1e-5f32)), 1e-5);
    }
}
