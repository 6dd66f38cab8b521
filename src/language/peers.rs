//! The names that users of other tools type, ready for `aliases`, `translated` and `misnomers` of a setting.
//! Where a name means exactly one thing it is understood; where tools disagree the message says what to write.

use crate::language::schema::Translated;
use crate::units::Unit;

pub const LR: &[&str] = &["learning_rate"];
pub const SCHEDULE: &[&str] = &["lr_scheduler_type", "lr_scheduler", "lr_schedule"];
pub const EPOCHS: &[&str] = &["num_train_epochs", "num_epochs"];
pub const STEPS: &[&str] = &["max_steps", "iters"];
pub const MAX_LEN: &[&str] = &["max_length", "max_seq_length", "sequence_len", "cutoff_len", "max_seq_len"];
pub const CLIP: &[&str] = &["max_grad_norm", "clip_grad_norm", "max_norm"];
pub const PACKING: &[&str] = &["sample_packing", "packed"];
pub const CHECKPOINTING: &[&str] =
    &["gradient_checkpointing", "checkpoint_activations", "grad_checkpoint", "activation_checkpointing"];
pub const CUDA_GRAPH: &[&str] = &["use_cuda_graph", "enable_cuda_graph", "cuda_graphs"];
pub const OPTIMIZER: &[&str] = &["optim"];

pub const RANK: &[&str] = &["lora_r", "lora_rank", "r"];
pub const ALPHA: &[&str] = &["lora_alpha"];
pub const DROPOUT: &[&str] = &["lora_dropout"];
pub const TARGETS: &[&str] = &["lora_target_modules", "target_modules", "lora_target"];

pub const COSINE_WITH_RESTARTS: &[&str] = &["cosine_with_restarts"];
pub const ADAMW: &[&str] = &["adamw_torch", "adamw_torch_fused", "adamw_hf"];
pub const WSD: &[&str] = &["warmup_stable_decay"];

/// Each of these gives the first half of a batch; `Kind::Batch` understands them by itself.
pub const MICRO_BATCH: &[&str] = &["per_device_train_batch_size", "micro_batch_size"];
/// Each of these gives the second half of a batch.
pub const ACCUMULATION: &[&str] = &["gradient_accumulation_steps", "grad_accumulation_steps"];

/// For `batch`.
pub const BATCH_MISNOMERS: &[(&str, &str)] = &[
    (
        "batch_size",
        "it is the whole batch in some tools and the micro-batch in others: write `batch = 4 x 4`, \
         the micro-batch times the accumulation",
    ),
    (
        "global_batch_size",
        "write `batch = 4 x 4`: the micro-batch times the accumulation gives the whole batch",
    ),
    ("train_batch_size", "write `batch = 4 x 4`, the micro-batch times the accumulation"),
];

/// For `warmup`: a bare number of steps.
pub const WARMUP: &[Translated] = &[
    Translated { name: "warmup_steps", bare: Some(Unit::Steps), values: &[] },
    Translated { name: "num_warmup_steps", bare: Some(Unit::Steps), values: &[] },
];
/// For `warmup`.
pub const WARMUP_MISNOMERS: &[(&str, &str)] =
    &[("warmup_ratio", "tools disagree on what it is a share of: write `warmup = 3%` of the planned steps")];

/// For `quantization`.
pub const QUANTIZATION: &[Translated] = &[
    Translated { name: "load_in_4bit", bare: None, values: &[("on", "nf4"), ("off", "none")] },
    Translated { name: "bnb_4bit_quant_type", bare: None, values: &[] },
];
/// For `quantization`.
pub const QUANTIZATION_MISNOMERS: &[(&str, &str)] = &[
    ("quantization_bit", "write `quantization = nf4` for 4 bits; other numbers of bits are not there"),
    ("load_in_8bit", "8 bits are not there: write `quantization = nf4` for 4 bits, or `dtype = bf16`"),
];

/// For `loss_on`.
pub const LOSS_ON: &[Translated] = &[
    Translated { name: "train_on_inputs", bare: None, values: ALL_WHEN_ON },
    Translated { name: "train_on_input", bare: None, values: ALL_WHEN_ON },
    Translated { name: "train_on_prompt", bare: None, values: ALL_WHEN_ON },
    Translated { name: "mask_prompt", bare: None, values: COMPLETION_WHEN_ON },
    Translated { name: "completion_only_loss", bare: None, values: COMPLETION_WHEN_ON },
    Translated { name: "assistant_only_loss", bare: None, values: COMPLETION_WHEN_ON },
];
const ALL_WHEN_ON: &[(&str, &str)] = &[("on", "all"), ("off", "completion")];
const COMPLETION_WHEN_ON: &[(&str, &str)] = &[("on", "completion"), ("off", "all")];

/// For `method`.
pub const METHOD_MISNOMERS: &[(&str, &str)] = &[
    ("freeze_trainable_layers", LAST_LAYERS),
    ("finetune_last_n_layers", LAST_LAYERS),
    ("num_layers", LAST_LAYERS),
    ("lora", "write `method = lora { rank = 16 }`"),
    ("adapter", "write `method = lora { rank = 16 }`"),
    ("finetuning_type", "write `method = lora`, `method = full` or `method = last_layers { count = 2 }`"),
];
const LAST_LAYERS: &str = "write `method = last_layers { count = 2 }`";
