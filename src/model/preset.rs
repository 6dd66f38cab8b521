//! Shapes of models that people know, for `init = random`.

use crate::model::config::Config;
use crate::model::rope::RopeScaling;

/// The names that `preset` knows.
pub const PRESETS: [&str; 5] = ["tiny", "smollm2-135m", "llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b"];

/// The configuration of a known model.
pub fn preset(name: &str) -> Option<Config> {
    match name {
        "tiny" => Some(Config { initializer_range: 0.08, ..shape(512, 64, 176, 2, 4, 2, 16) }),
        "smollm2-135m" => Some(Config {
            max_position_embeddings: 8192,
            rope_theta: 100_000.0,
            initializer_range: 0.041666666666666664,
            bos_token_id: Some(1),
            eos_token_id: vec![2],
            pad_token_id: Some(2),
            ..shape(49_152, 576, 1536, 30, 9, 3, 64)
        }),
        "llama-3.2-1b" => Some(llama3(32.0, true, shape(128_256, 2048, 8192, 16, 32, 8, 64))),
        "llama-3.2-3b" => Some(llama3(32.0, true, shape(128_256, 3072, 8192, 28, 24, 8, 128))),
        "llama-3.1-8b" => Some(llama3(8.0, false, shape(128_256, 4096, 14_336, 32, 32, 8, 128))),
        _ => None,
    }
}

fn shape(vocab: i64, width: i64, mlp: i64, layers: i64, heads: i64, groups: i64, head_dim: i64) -> Config {
    Config {
        vocab_size: vocab,
        hidden_size: width,
        intermediate_size: mlp,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: groups,
        head_dim,
        max_position_embeddings: 2048,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tie_word_embeddings: true,
        attention_bias: false,
        mlp_bias: false,
        initializer_range: 0.02,
        bos_token_id: None,
        eos_token_id: vec![],
        pad_token_id: None,
    }
}

fn llama3(factor: f64, tied: bool, shape: Config) -> Config {
    Config {
        max_position_embeddings: 131_072,
        rope_theta: 500_000.0,
        rope_scaling: RopeScaling::Llama3 {
            factor,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original: 8192,
        },
        tie_word_embeddings: tied,
        bos_token_id: Some(128_000),
        eos_token_id: vec![128_001],
        ..shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_sizes_they_are_known_for() {
        let count = |name| preset(name).unwrap().parameter_count();
        assert_eq!(count("smollm2-135m"), 134_515_008);
        assert_eq!(count("llama-3.2-1b"), 1_235_814_400);
        assert_eq!(count("llama-3.2-3b"), 3_212_749_824);
        assert_eq!(count("llama-3.1-8b"), 8_030_261_248);
        assert!(PRESETS.iter().all(|name| preset(name).is_some_and(|config| config.validate().is_ok())));
        assert!(preset("gpt-2").is_none());
    }
}
