//! Rotary positions (Su et al., 2021) and the ways they are stretched to longer texts.

use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::operations;
use crate::torch::device;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

/// How the angles are changed for texts longer than those of pretraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
pub enum RopeScaling {
    None,
    /// Positions divided by a factor (Chen et al., 2023).
    Linear {
        factor: f64,
    },
    /// Theta grows with the text once it is longer than `original` ("dynamic NTK").
    Dynamic {
        factor: f64,
        original: i64,
    },
    /// Low frequencies divided, high ones kept, a ramp between (Llama 3.1).
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original: i64,
    },
    /// One divisor a frequency, as GGUF files carry them.
    Factors {
        factors: Vec<f64>,
    },
}

impl RopeScaling {
    /// Reads `rope_scaling` or `rope_parameters`; the kind stands under `rope_type`, or `type` of old.
    pub fn from_hf(rope: Option<&Map<String, Value>>, positions: i64) -> Result<RopeScaling, ModelError> {
        let Some(rope) = rope else { return Ok(RopeScaling::None) };
        let kind =
            rope.get("rope_type").or_else(|| rope.get("type")).and_then(Value::as_str).unwrap_or("default");
        let number = |field: &'static str| {
            rope.get(field).and_then(Value::as_f64).ok_or(ModelError::ConfigMissing { field })
        };
        let original =
            rope.get("original_max_position_embeddings").and_then(Value::as_i64).unwrap_or(positions);
        match kind {
            "default" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear { factor: number("factor")? }),
            "dynamic" => Ok(RopeScaling::Dynamic { factor: number("factor")?, original }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original,
            }),
            other => Err(ModelError::ConfigValue {
                field: "rope_scaling",
                found: other.to_string(),
                wanted: "ltune knows `linear`, `dynamic` and `llama3`".to_string(),
            }),
        }
    }

    /// `rope_scaling` as transformers writes it.
    pub fn to_hf(&self) -> Result<Option<Map<String, Value>>, ModelError> {
        let value = match self {
            RopeScaling::None => return Ok(None),
            RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            RopeScaling::Dynamic { factor, original } => {
                json!({"rope_type": "dynamic", "factor": factor, "original_max_position_embeddings": original})
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor, "original_max_position_embeddings": original,
            }),
            RopeScaling::Factors { .. } => {
                return Err(ModelError::ExportScaling { scaling: "frequency factors".to_string() });
            }
        };
        Ok(value.as_object().cloned())
    }

    pub fn validate(&self, head_dim: i64) -> Result<(), ModelError> {
        let refuse = |found: String, wanted: &str| {
            Err(ModelError::ConfigValue { field: "rope_scaling", found, wanted: wanted.to_string() })
        };
        match self {
            RopeScaling::Linear { factor }
            | RopeScaling::Dynamic { factor, .. }
            | RopeScaling::Llama3 { factor, .. }
                if !(*factor >= 1.0 && factor.is_finite()) =>
            {
                refuse(format!("factor {factor}"), "the factor must be at least 1")
            }
            RopeScaling::Dynamic { original, .. } | RopeScaling::Llama3 { original, .. } if *original < 1 => {
                refuse(format!("original_max_position_embeddings {original}"), "it must be at least 1")
            }
            RopeScaling::Llama3 { low_freq_factor: low, high_freq_factor: high, .. }
                if !(*low > 0.0 && low < high && high.is_finite()) =>
            {
                refuse(format!("low_freq_factor {low}, high_freq_factor {high}"), "0 < low < high is needed")
            }
            RopeScaling::Factors { factors }
                if factors.len() as i64 * 2 != head_dim
                    || factors.iter().any(|factor| factor.is_nan() || *factor <= 0.0) =>
            {
                refuse(format!("{} factors", factors.len()), "one above 0 for each pair of a head is needed")
            }
            _ => Ok(()),
        }
    }

    /// The angle that each pair turns by a position, for texts of `length` positions. `[head_dim / 2]`
    pub fn frequencies(&self, theta: f64, head_dim: i64, length: i64) -> Vec<f32> {
        let pairs = |theta: f64| {
            (0..head_dim / 2).map(move |pair| (1.0 / theta.powf((2 * pair) as f64 / head_dim as f64)) as f32)
        };
        match self {
            RopeScaling::None => pairs(theta).collect(),
            RopeScaling::Linear { factor } => {
                pairs(theta).map(|frequency| frequency / *factor as f32).collect()
            }
            RopeScaling::Dynamic { factor, original } => {
                let stretch = factor * length.max(*original) as f64 / *original as f64 - (factor - 1.0);
                pairs(theta * stretch.powf(head_dim as f64 / (head_dim - 2) as f64)).collect()
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => pairs(theta)
                .map(|frequency| llama3(frequency, *factor, *low_freq_factor, *high_freq_factor, *original))
                .collect(),
            RopeScaling::Factors { factors } => {
                pairs(theta).zip(factors).map(|(frequency, factor)| frequency / *factor as f32).collect()
            }
        }
    }
}

fn llama3(frequency: f32, factor: f64, low: f64, high: f64, original: i64) -> f32 {
    let turns = original as f64 * f64::from(frequency) / std::f64::consts::TAU;
    if turns < low {
        return (f64::from(frequency) / factor) as f32;
    }
    if turns > high {
        return frequency;
    }
    let smooth = (turns - low) / (high - low);
    ((1.0 - smooth) * f64::from(frequency) / factor + smooth * f64::from(frequency)) as f32
}

/// Cosines and sines of the positions in hand, in fp32: `[t, 1, head_dim / 2]`, or with the rows before them.
#[derive(Debug)]
pub struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// For positions `start..start + length` of every row.
    pub fn range(config: &Config, start: i64, length: i64, device: Device) -> Rotation {
        let positions = Tensor::arange_start(start, start + length, (Kind::Float, device));
        Rotation::at(config, &positions, &[length, 1, -1], start + length)
    }

    /// For positions `[b·t]` that restart with each document; `longest` is the longest document.
    pub fn positions(
        config: &Config,
        positions: &[f32],
        rows: i64,
        longest: i64,
        device: Device,
    ) -> Rotation {
        let length = positions.len() as i64 / rows;
        let positions = on_device(positions, device);
        Rotation::at(config, &positions, &[rows, length, 1, -1], longest)
    }

    fn at(config: &Config, positions: &Tensor, shape: &[i64], length: i64) -> Rotation {
        let frequencies = config.rope_scaling.frequencies(config.rope_theta, config.head_dim, length);
        let frequencies = on_device(&frequencies, positions.device());
        let angles = positions.outer(&frequencies).view(shape);
        Rotation { cos: angles.cos(), sin: angles.sin() }
    }

    /// Turns the two halves of each head. `x` is `[.., t, heads, k]`; computed in fp32, kept in the kind of `x`.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        operations::rotate(x, &self.cos, &self.sin)
    }
}

fn on_device(values: &[f32], device: Device) -> Tensor {
    // As tch's plain operations do: who catches the panic finds libtorch's message.
    let put = device::put(&Tensor::from_slice(values), device);
    put.map_err(|error| tch::TchError::Torch(error.to_string())).expect("a few numbers fit on a device")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_scaling_the_first_pair_turns_one_radian_a_position() {
        let frequencies = RopeScaling::None.frequencies(10_000.0, 16, 100);
        assert_eq!(frequencies[0], 1.0);
        assert!((frequencies[4] - 0.01).abs() < 1e-8);
    }

    #[test]
    fn llama3_keeps_high_frequencies_and_divides_low_ones() {
        let scaling =
            RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original: 128 };
        let (plain, scaled) =
            (RopeScaling::None.frequencies(500_000.0, 16, 1), scaling.frequencies(500_000.0, 16, 1));
        assert_eq!(plain[0], scaled[0]);
        assert!((scaled[7] * 8.0 - plain[7]).abs() < 1e-9);
        assert!(
            scaled
                .iter()
                .zip(&plain)
                .any(|(scaled, plain)| *scaled < *plain && *scaled * 8.0 > *plain * 1.01)
        );
    }

    #[test]
    fn dynamic_scaling_starts_beyond_the_original_length() {
        let scaling = RopeScaling::Dynamic { factor: 2.0, original: 100 };
        let plain = RopeScaling::None.frequencies(10_000.0, 16, 1);
        assert_eq!(scaling.frequencies(10_000.0, 16, 100), plain);
        let longer = scaling.frequencies(10_000.0, 16, 300);
        let theta: f64 = 10_000.0 * 5f64.powf(16.0 / 14.0);
        assert!((f64::from(longer[7]) - theta.powf(-14.0 / 16.0)).abs() < 1e-9);
    }

    #[test]
    fn scaling_that_cannot_be_is_refused() {
        assert!(RopeScaling::Linear { factor: 0.5 }.validate(16).is_err());
        assert!(RopeScaling::Factors { factors: vec![1.0; 7] }.validate(16).is_err());
        assert!(RopeScaling::Factors { factors: vec![1.0; 8] }.validate(16).is_ok());
    }
}
