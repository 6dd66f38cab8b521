//! The shape of a Llama: `config.json` read in its old and new style, checked, and written again.

use crate::model::ModelError;
use crate::model::rope::RopeScaling;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Field names are those of `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub vocab_size: i64,
    pub hidden_size: i64,
    pub intermediate_size: i64,
    pub num_hidden_layers: i64,
    pub num_attention_heads: i64,
    pub num_key_value_heads: i64,
    pub head_dim: i64,
    pub max_position_embeddings: i64,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    pub rope_scaling: RopeScaling,
    pub tie_word_embeddings: bool,
    pub attention_bias: bool,
    pub mlp_bias: bool,
    pub initializer_range: f64,
    pub bos_token_id: Option<i64>,
    /// Any of these ends a text.
    pub eos_token_id: Vec<i64>,
    pub pad_token_id: Option<i64>,
}

/// The modules of a block that hold a matrix, with the names of the checkpoint.
pub const LINEAR_MODULES: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Beyond any Llama: larger numbers are a lie of the file, told before memory is asked for.
const LARGEST_SIDE: i64 = 1 << 24;
const MOST_LAYERS: i64 = 4096;

impl Config {
    /// Reads `config.json` of transformers, before or since version 5.
    pub fn from_hf(config: &Value) -> Result<Config, ModelError> {
        let fields = Fields(config);
        fields.refuse_other_models()?;
        let hidden_size = fields.integer("hidden_size")?;
        let num_attention_heads = fields.integer("num_attention_heads")?;
        let head_dim = match fields.maybe_integer("head_dim")? {
            Some(head_dim) => head_dim,
            None if num_attention_heads > 0 && hidden_size % num_attention_heads == 0 => {
                hidden_size / num_attention_heads
            }
            None => {
                return Err(indivisible(
                    "hidden_size",
                    hidden_size,
                    "num_attention_heads",
                    num_attention_heads,
                ));
            }
        };
        // transformers 5 keeps all of RoPE in `rope_parameters`; before, `rope_theta` stood beside `rope_scaling`.
        let rope = ["rope_parameters", "rope_scaling"].iter().find_map(|name| config.get(name)?.as_object());
        let theta = rope.and_then(|rope| rope.get("rope_theta")).or_else(|| config.get("rope_theta"));
        let max_position_embeddings = fields.maybe_integer("max_position_embeddings")?.unwrap_or(2048);
        let read = Config {
            vocab_size: fields.integer("vocab_size")?,
            hidden_size,
            intermediate_size: fields.integer("intermediate_size")?,
            num_hidden_layers: fields.integer("num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads: fields.maybe_integer("num_key_value_heads")?.unwrap_or(num_attention_heads),
            head_dim,
            max_position_embeddings,
            rms_norm_eps: fields.maybe_number("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta: theta.and_then(Value::as_f64).unwrap_or(10_000.0),
            rope_scaling: RopeScaling::from_hf(rope, max_position_embeddings)?,
            tie_word_embeddings: fields.flag("tie_word_embeddings"),
            attention_bias: fields.flag("attention_bias"),
            mlp_bias: fields.flag("mlp_bias"),
            initializer_range: fields.maybe_number("initializer_range")?.unwrap_or(0.02),
            bos_token_id: fields.integers("bos_token_id").first().copied(),
            eos_token_id: fields.integers("eos_token_id"),
            pad_token_id: fields.maybe_integer("pad_token_id")?,
        };
        read.validate()?;
        Ok(read)
    }

    /// Whether the numbers can be a Llama at all.
    pub fn validate(&self) -> Result<(), ModelError> {
        let sides = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        for (field, found) in sides {
            within(field, found, LARGEST_SIDE)?;
        }
        within("num_hidden_layers", self.num_hidden_layers, MOST_LAYERS)?;
        within("num_attention_heads", self.num_attention_heads * self.head_dim, LARGEST_SIDE)?;
        if self.num_attention_heads % self.num_key_value_heads != 0 {
            let (heads, groups) = (self.num_attention_heads, self.num_key_value_heads);
            return Err(indivisible("num_attention_heads", heads, "num_key_value_heads", groups));
        }
        if self.head_dim % 2 != 0 {
            return Err(value("head_dim", self.head_dim, "RoPE turns pairs, so it must be even"));
        }
        let positive = [("rms_norm_eps", self.rms_norm_eps), ("rope_theta", self.rope_theta)];
        for (field, found) in positive {
            if !(found > 0.0 && found.is_finite()) {
                return Err(value(field, found, "it must be a number above 0"));
            }
        }
        if !(self.initializer_range >= 0.0 && self.initializer_range.is_finite()) {
            return Err(value("initializer_range", self.initializer_range, "it must be a number from 0"));
        }
        self.rope_scaling.validate(self.head_dim)
    }

    /// Every tensor of the checkpoint with its shape, in the order of the forward pass.
    pub fn parameter_shapes(&self) -> Vec<(String, Vec<i64>)> {
        let d = self.hidden_size;
        let mut shapes = vec![("model.embed_tokens.weight".to_string(), vec![self.vocab_size, d])];
        for layer in 0..self.num_hidden_layers {
            for module in LINEAR_MODULES {
                let name = module_name(layer, module);
                let (out, width) = self.linear_shape(module);
                shapes.push((format!("{name}.weight"), vec![out, width]));
                if self.has_bias(module) {
                    shapes.push((format!("{name}.bias"), vec![out]));
                }
            }
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                shapes.push((format!("model.layers.{layer}.{norm}.weight"), vec![d]));
            }
        }
        shapes.push(("model.norm.weight".to_string(), vec![d]));
        if !self.tie_word_embeddings {
            shapes.push(("lm_head.weight".to_string(), vec![self.vocab_size, d]));
        }
        shapes
    }

    /// `[out, in]` of one of the linear modules of a block.
    pub fn linear_shape(&self, module: &str) -> (i64, i64) {
        let (d, f, k) = (self.hidden_size, self.intermediate_size, self.head_dim);
        let (queries, keys) = (self.num_attention_heads * k, self.num_key_value_heads * k);
        match module {
            "q_proj" => (queries, d),
            "k_proj" | "v_proj" => (keys, d),
            "o_proj" => (d, queries),
            "down_proj" => (d, f),
            _ => (f, d),
        }
    }

    /// Whether a linear module of a block has a bias.
    pub fn has_bias(&self, module: &str) -> bool {
        match module {
            "gate_proj" | "up_proj" | "down_proj" => self.mlp_bias,
            _ => self.attention_bias,
        }
    }

    /// Numbers in all tensors; a tied head counts once.
    pub fn parameter_count(&self) -> u64 {
        self.parameter_shapes().iter().map(|(_, shape)| shape.iter().product::<i64>() as u64).sum()
    }

    /// The tensor that turns hidden states into logits.
    pub fn head_name(&self) -> &'static str {
        if self.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" }
    }

    /// `config.json` as transformers reads it, old or new: RoPE is written in both styles.
    /// `dtype` is `float32` or `bfloat16`.
    pub fn to_hf_json(&self, dtype: &str) -> Result<Value, ModelError> {
        let scaling = self.rope_scaling.to_hf()?;
        let mut rope =
            scaling.clone().unwrap_or_else(|| Map::from_iter([("rope_type".into(), json!("default"))]));
        rope.insert("rope_theta".into(), json!(self.rope_theta));
        let eos = match self.eos_token_id.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        };
        Ok(json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.max_position_embeddings,
            "initializer_range": self.initializer_range,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "rope_scaling": scaling,
            "rope_parameters": rope,
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": self.attention_bias,
            "attention_dropout": 0.0,
            "mlp_bias": self.mlp_bias,
            "pretraining_tp": 1,
            "use_cache": true,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": eos,
            "pad_token_id": self.pad_token_id,
            "torch_dtype": dtype,
            "dtype": dtype,
        }))
    }
}

/// The checkpoint's name of a module of a block: `model.layers.3.self_attn.q_proj`.
pub fn module_name(layer: i64, module: &str) -> String {
    let part = if matches!(module, "gate_proj" | "up_proj" | "down_proj") { "mlp" } else { "self_attn" };
    format!("model.layers.{layer}.{part}.{module}")
}

/// The block a tensor or module belongs to, if it belongs to one.
pub fn layer_of(name: &str) -> Option<i64> {
    name.strip_prefix("model.layers.")?.split('.').next()?.parse().ok()
}

fn within(field: &'static str, found: i64, most: i64) -> Result<(), ModelError> {
    if (1..=most).contains(&found) {
        Ok(())
    } else {
        Err(value(field, found, &format!("it must lie in 1..{most}")))
    }
}

fn value(field: &'static str, found: impl ToString, wanted: &str) -> ModelError {
    ModelError::ConfigValue { field, found: found.to_string(), wanted: wanted.to_string() }
}

fn indivisible(field: &'static str, found: i64, by: &str, divisor: i64) -> ModelError {
    value(field, found, &format!("it must be a multiple of `{by}`, which is {divisor}"))
}

/// Typed reading of a JSON object.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn refuse_other_models(&self) -> Result<(), ModelError> {
        let kind = self.0.get("model_type").and_then(Value::as_str);
        if let Some(found) = kind.filter(|kind| *kind != "llama") {
            return Err(value("model_type", found, "ltune tunes models of type `llama`"));
        }
        if let Some(found) = self.0.get("hidden_act").and_then(Value::as_str).filter(|act| *act != "silu") {
            return Err(value("hidden_act", found, "a Llama uses `silu`"));
        }
        if let Some(found) = self.0.get("quantization_config").filter(|found| !found.is_null()) {
            let method = found.get("quant_method").and_then(Value::as_str).unwrap_or("unknown");
            return Err(value(
                "quantization_config",
                method,
                "take the folder with the original weights, or a GGUF",
            ));
        }
        Ok(())
    }

    fn present(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn integer(&self, field: &'static str) -> Result<i64, ModelError> {
        self.maybe_integer(field)?.ok_or(ModelError::ConfigMissing { field })
    }

    fn maybe_integer(&self, field: &'static str) -> Result<Option<i64>, ModelError> {
        let Some(found) = self.present(field) else { return Ok(None) };
        found.as_i64().map(Some).ok_or_else(|| value(field, found, "it must be a whole number"))
    }

    fn maybe_number(&self, field: &'static str) -> Result<Option<f64>, ModelError> {
        let Some(found) = self.present(field) else { return Ok(None) };
        found.as_f64().map(Some).ok_or_else(|| value(field, found, "it must be a number"))
    }

    fn flag(&self, field: &str) -> bool {
        self.present(field).and_then(Value::as_bool).unwrap_or(false)
    }

    /// One number or a list of them.
    fn integers(&self, field: &str) -> Vec<i64> {
        match self.present(field) {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_i64).collect(),
            Some(one) => one.as_i64().into_iter().collect(),
            None => vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smallest() -> Value {
        json!({"model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 176,
               "num_hidden_layers": 2, "num_attention_heads": 4})
    }

    fn with(field: &str, found: Value) -> Value {
        let mut config = smallest();
        config[field] = found;
        config
    }

    #[test]
    fn what_a_configuration_leaves_out_has_the_defaults_of_transformers() {
        let config = Config::from_hf(&smallest()).unwrap();
        assert_eq!((config.num_key_value_heads, config.head_dim, config.rope_theta), (4, 16, 10_000.0));
        assert_eq!(config.rope_scaling, RopeScaling::None);
        assert!(!config.tie_word_embeddings && config.eos_token_id.is_empty());
    }

    #[test]
    fn old_and_new_style_say_the_same() {
        let llama3 = json!({"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                            "original_max_position_embeddings": 128, "rope_type": "llama3"});
        let mut old = with("rope_scaling", llama3.clone());
        old["rope_theta"] = json!(500000.0);
        let mut new = with("rope_parameters", llama3);
        new["rope_parameters"]["rope_theta"] = json!(500000.0);
        assert_eq!(Config::from_hf(&old).unwrap(), Config::from_hf(&new).unwrap());
        assert_eq!(Config::from_hf(&old).unwrap().rope_theta, 500_000.0);
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for scaling in [
            json!(null),
            json!({"type": "linear", "factor": 2.0}),
            json!({"rope_type": "dynamic", "factor": 4}),
        ] {
            let mut hf = with("rope_scaling", scaling);
            hf["eos_token_id"] = json!([2, 3]);
            hf["attention_bias"] = json!(true);
            let config = Config::from_hf(&hf).unwrap();
            assert_eq!(Config::from_hf(&config.to_hf_json("float32").unwrap()).unwrap(), config);
        }
    }

    #[test]
    fn a_wrong_configuration_says_what_is_wrong() {
        let message = |config: Value| Config::from_hf(&config).unwrap_err().to_string();
        assert_eq!(
            message(with("model_type", json!("qwen2"))),
            "the model's `model_type` is `qwen2`; ltune tunes models of type `llama`"
        );
        assert_eq!(message(with("vocab_size", Value::Null)), "the model's configuration has no `vocab_size`");
        assert_eq!(
            message(with("num_key_value_heads", json!(3))),
            "the model's `num_attention_heads` is `4`; it must be a multiple of `num_key_value_heads`, which is 3"
        );
        assert_eq!(
            message(with("hidden_size", json!(-1))),
            "the model's `hidden_size` is `-1`; it must be a multiple of `num_attention_heads`, which is 4"
        );
        assert_eq!(
            message(with("num_hidden_layers", json!(99999))),
            "the model's `num_hidden_layers` is `99999`; it must lie in 1..4096"
        );
        assert!(message(with("rope_scaling", json!({"rope_type": "yarn", "factor": 2}))).contains("yarn"));
        assert!(message(with("rms_norm_eps", json!("x"))).contains("rms_norm_eps"));
    }

    #[test]
    fn parameters_are_counted_from_the_shapes() {
        let config = Config::from_hf(&with("tie_word_embeddings", json!(true))).unwrap();
        let block = 4 * 64 * 64 + 3 * 64 * 176 + 2 * 64;
        assert_eq!(config.parameter_count(), (512 * 64 + 2 * block + 64) as u64);
        assert_eq!(layer_of(&module_name(7, "q_proj")), Some(7));
        assert_eq!(layer_of("model.norm.weight"), None);
    }
}
