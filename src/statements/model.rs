//! `model NAME { … }`: which Llama, in which precision, on which device.

use crate::data::tokenizer::Tokenizer;
use crate::events::{Diagnostic, Out};
use crate::files::{hub, samples};
use crate::language::codes;
use crate::language::peers;
use crate::language::schema::{Choice, Default, Form, Kind, Setting};
use crate::language::value::{Origin, Resolved, Settings, Value};
use crate::model::base::Quantization;
use crate::model::config::Config;
use crate::model::load::read_config;
use crate::model::preset::preset;
use crate::session::Session;
use crate::session::definitions::{ModelDefinition, ModelOrigin, Precision, TokenizerOrigin};
use crate::session::load::other_tokenizer;
use crate::statements::{Action, Check, Checking, Statement};
use std::path::{Path, PathBuf};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Definition(check) };

const SIZE: Kind = Kind::Integer { min: 1, max: 1 << 24, unit: None };

const SHAPE: &[Setting] = &[
    Setting::new("preset", Kind::Choice(PRESETS), "a known shape to start from")
        .or("tiny")
        .example("preset = tiny"),
    Setting::new("layers", SIZE, "transformer blocks")
        .computed("the preset")
        .aliases(&["num_hidden_layers"])
        .example("layers = 2"),
    Setting::new("width", SIZE, "hidden size")
        .computed("the preset")
        .aliases(&["hidden_size"])
        .example("width = 64"),
    Setting::new("heads", SIZE, "attention heads")
        .computed("the preset")
        .aliases(&["num_attention_heads"])
        .example("heads = 4"),
    Setting::new("kv_heads", SIZE, "key and value heads (grouped-query attention)")
        .computed("the preset, or `heads` when only that is given")
        .aliases(&["num_key_value_heads"])
        .example("kv_heads = 2"),
    Setting::new("head_dim", SIZE, "width of a head")
        .computed("`width` over `heads`")
        .example("head_dim = 16"),
    Setting::new("ffn", SIZE, "width of the feed-forward layer")
        .computed("the preset")
        .aliases(&["intermediate_size"])
        .example("ffn = 176"),
    Setting::new("vocabulary", SIZE, "number of token ids")
        .computed("the tokenizer's")
        .aliases(&["vocab_size"])
        .example("vocabulary = 512"),
    Setting::new("context", SIZE, "positions the model is made for")
        .computed("the preset")
        .aliases(&["max_position_embeddings"])
        .example("context = 512"),
    Setting::new("theta", Kind::POSITIVE, "base of the rotary embedding")
        .computed("the preset")
        .aliases(&["rope_theta"])
        .example("theta = 10000.0"),
    Setting::new("tied", Kind::Bool, "whether the output head is the embedding")
        .computed("the preset")
        .aliases(&["tie_word_embeddings"])
        .example("tied = on"),
    Setting::new("seed", Kind::SEED, "seed of the weights").or("42").example("seed = 1"),
];

const PRESETS: &[Choice] = &[
    Choice::new("tiny", "2 blocks of width 64: for tests, runs in milliseconds"),
    Choice::new("smollm2-135m", "30 blocks of width 576"),
    Choice::new("llama-3.2-1b", "16 blocks of width 2048"),
    Choice::new("llama-3.2-3b", "28 blocks of width 3072"),
    Choice::new("llama-3.1-8b", "32 blocks of width 4096"),
];

const FORM: Form = Form {
    name: "model",
    summary: "names a Llama: real weights from a folder, a GGUF file or a known sample, or random ones",
    usage: "model NAME { … }",
    details: "Either `from` or `init` is given. Nothing is loaded before it is needed; weights are mapped, not read. \
              A loaded model is never changed: a `tune` lays what it trains over it, and several share it.",
    example: "model base { from = \"smollm2-135m\" }",
    settings: &[
        Setting::new(
            "from",
            Kind::Path,
            "a Hugging Face folder, a .gguf file, a known sample (`ltune samples`), or a hub id in the local cache",
        )
        .optional()
        .aliases(&["base_model", "model_name_or_path", "pretrained_model_name_or_path"])
        .example("from = \"smollm2-135m\""),
        Setting::new(
            "init",
            Kind::Choice(&[Choice::new("random", "random weights of a given shape").with(SHAPE)]),
            "weights that are made instead of loaded",
        )
        .optional()
        .example("init = random { preset = tiny }"),
        Setting::new(
            "tokenizer",
            Kind::AnyOf(&[
                Kind::Choice(&[Choice::new("bytes", "one token a byte, and begin, end and pad: 259 in all")]),
                Kind::Path,
            ]),
            "another tokenizer than the model's own: a folder, a tokenizer.json, or `bytes`",
        )
        .computed("the model's own; `bytes` for random weights")
        .example("tokenizer = bytes"),
        Setting::new(
            "dtype",
            Kind::Choice(&[
                Choice::new("f32", "32-bit floats").aliases(&["float32", "fp32"]),
                Choice::new("bf16", "bfloat16 weights; adapters, norms and loss stay f32")
                    .aliases(&["bfloat16"]),
            ]),
            "precision of the weights",
        )
        .computed("f32 on the CPU, bf16 on CUDA")
        .aliases(&["torch_dtype", "precision"])
        .example("dtype = bf16"),
        Setting::new(
            "quantization",
            Kind::AnyOf(&[
                Kind::None,
                Kind::Choice(&[Choice::new("nf4", "normal floats of 4 bits, their scales of 8 (QLoRA)")]),
            ]),
            "how the linears of the blocks are held; adapters are trained over them, and computing stays in floats",
        )
        .or("none")
        .translated(peers::QUANTIZATION)
        .misnomers(peers::QUANTIZATION_MISNOMERS)
        .example("quantization = nf4"),
        Setting::new(
            "device",
            Kind::AnyOf(&[
                Kind::Choice(&[
                    Choice::new("auto", "the first CUDA device, else the CPU"),
                    Choice::new("cpu", "the processor"),
                    Choice::new("cuda", "the first CUDA device"),
                ]),
                Kind::Text,
            ]),
            "where it computes: `auto`, `cpu`, `cuda` or \"cuda:1\"",
        )
        .default(Default::Fixed("auto"))
        .example("device = cpu"),
    ],
    ..Form::NOUN
};

struct Define(ModelDefinition);

impl Action for Define {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        session.define_model(self.0.clone(), out);
        Ok(())
    }
}

fn check(name: &str, settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let definition = define(name, settings, checking)?;
    checking.outline.define_model(definition.clone());
    Some(Box::new(Define(definition)))
}

fn define(name: &str, settings: Settings, checking: &mut Checking) -> Option<ModelDefinition> {
    let tokenizer = tokenizer(&settings, checking)?;
    let (origin, config) = match (settings.maybe_text("from"), settings.maybe_choice("init")) {
        (Some(from), None) => {
            let place = checking.place(&settings, "from");
            match locate(from, checking) {
                Ok(found) => found,
                Err(diagnostic) => {
                    checking.report(diagnostic.at(place));
                    return None;
                }
            }
        }
        (None, Some((_, shape))) => {
            let seed = shape.integer("seed") as u64;
            match random_config(shape, &tokenizer) {
                Ok(config) => (ModelOrigin::Random { seed }, config),
                Err(message) => {
                    let place = checking.place(&settings, "init");
                    checking.report(Diagnostic::error(codes::MODEL_SHAPE, message).at(place));
                    return None;
                }
            }
        }
        (given, _) => {
            let message = match given {
                Some(_) => format!("model `{name}` has both `from` and `init`"),
                None => format!("model `{name}` has neither `from` nor `init`"),
            };
            checking.report(
                Diagnostic::error(codes::MODEL_ORIGIN, message)
                    .at(checking.span)
                    .note("write one: `from = \"smollm2-135m\"`, or `init = random { preset = tiny }`"),
            );
            return None;
        }
    };
    let dtype = match settings.maybe_word("dtype") {
        None => Precision::Auto,
        Some("bf16") => Precision::Bf16,
        Some(_) => Precision::F32,
    };
    let quantization = match settings.maybe_word("quantization") {
        Some(_) => Quantization::Nf4,
        None => Quantization::Off,
    };
    let device = settings.text("device").to_string();
    if !is_device(&device) {
        let place = checking.place(&settings, "device");
        checking.report(
            Diagnostic::error(codes::DEVICE, format!("`{device}` is no device"))
                .at(place)
                .note("write `auto`, `cpu`, `cuda`, or one of several GPUs as \"cuda:1\""),
        );
        return None;
    }
    if let (TokenizerOrigin::Bytes, Some(config)) = (&tokenizer, &config)
        && (config.vocab_size as usize) < Tokenizer::bytes().vocabulary_size()
    {
        let place = checking.place(&settings, "tokenizer");
        checking.report(
            Diagnostic::error(
                codes::VOCABULARY,
                format!(
                    "the tokenizer has {} ids and the model only {}",
                    Tokenizer::bytes().vocabulary_size(),
                    config.vocab_size
                ),
            )
            .at(place)
            .note("give a tokenizer of the model's vocabulary, or a `vocabulary` that holds all ids"),
        );
        return None;
    }
    let settings = resolved(settings, config.as_ref());
    let name = name.to_string();
    let model = ModelDefinition { name, origin, tokenizer, dtype, quantization, device, config, settings };
    if model.tokenizer == TokenizerOrigin::Bytes {
        other_tokenizer(&model, Tokenizer::bytes().vocabulary_size())
            .into_iter()
            .for_each(|warning| checking.report(warning));
    }
    Some(model)
}

/// The settings with every size of a random shape filled in, so that `show` says them.
fn resolved(mut settings: Settings, config: Option<&Config>) -> Settings {
    let (Some(config), Some(Resolved { value: Value::Choice { word, settings: shape }, origin, .. })) =
        (config, settings.resolved("init"))
    else {
        return settings;
    };
    let (word, mut shape, origin) = (word.clone(), shape.clone(), *origin);
    let values = [
        ("layers", Value::Integer(config.num_hidden_layers)),
        ("width", Value::Integer(config.hidden_size)),
        ("heads", Value::Integer(config.num_attention_heads)),
        ("kv_heads", Value::Integer(config.num_key_value_heads)),
        ("head_dim", Value::Integer(config.head_dim)),
        ("ffn", Value::Integer(config.intermediate_size)),
        ("vocabulary", Value::Integer(config.vocab_size)),
        ("context", Value::Integer(config.max_position_embeddings)),
        ("theta", Value::Number(config.rope_theta)),
        ("tied", Value::Bool(config.tie_word_embeddings)),
    ];
    for (name, value) in values {
        if shape.get(name).is_none() {
            shape.insert(name, value, Origin::Default);
        }
    }
    settings.insert("init", Value::Choice { word, settings: shape }, origin);
    settings
}

fn is_device(device: &str) -> bool {
    matches!(device, "auto" | "cpu" | "cuda")
        || device.strip_prefix("cuda:").is_some_and(|index| index.parse::<u8>().is_ok())
}

fn tokenizer(settings: &Settings, checking: &mut Checking) -> Option<TokenizerOrigin> {
    let chosen = match settings.maybe("tokenizer") {
        None if settings.maybe("init").is_some() => return Some(TokenizerOrigin::Bytes),
        None => return Some(TokenizerOrigin::Model),
        Some(Value::Choice { .. }) => return Some(TokenizerOrigin::Bytes),
        Some(_) => PathBuf::from(settings.text("tokenizer")),
    };
    if checking.outline.exists(&chosen) {
        return Some(TokenizerOrigin::Path(chosen));
    }
    let place = checking.place(settings, "tokenizer");
    checking.report(
        Diagnostic::error(codes::MISSING_FILE, format!("there is no tokenizer at `{}`", chosen.display()))
            .at(place)
            .note("give a folder with a tokenizer.json, such a file, a .gguf file, or `bytes`"),
    );
    None
}

/// Where a `from` leads, and the model's configuration if it can be read without fetching anything.
fn locate(from: &str, checking: &Checking) -> Result<(ModelOrigin, Option<Config>), Diagnostic> {
    let path = Path::new(from);
    if path.is_dir() {
        return folder(path);
    }
    if path.is_file() {
        return gguf(path);
    }
    if checking.outline.exists(path) {
        return Ok((ModelOrigin::Folder(path.to_path_buf()), None)); // an earlier statement writes it
    }
    if let Some(sample) = samples::find(from) {
        if sample.kind != samples::SampleKind::Model {
            return Err(Diagnostic::error(
                codes::MODEL_ORIGIN,
                format!("`{from}` is a data sample, not a model"),
            )
            .note("use it in `data NAME { from = … }`"));
        }
        return Ok((ModelOrigin::Sample(from.to_string()), preset(from)));
    }
    if let Some(snapshot) = hub::find(from) {
        return folder(&snapshot);
    }
    Err(no_such_model(from))
}

fn folder(path: &Path) -> Result<(ModelOrigin, Option<Config>), Diagnostic> {
    let config = read_config(path)
        .map_err(|error| Diagnostic::error(codes::MODEL_FILE, crate::session::sentence(&error)))?;
    Ok((ModelOrigin::Folder(path.to_path_buf()), Some(config)))
}

fn gguf(path: &Path) -> Result<(ModelOrigin, Option<Config>), Diagnostic> {
    if path.extension().is_none_or(|extension| extension != "gguf") {
        return Err(Diagnostic::error(
            codes::MODEL_FILE,
            format!("`{}` is a file, but not a .gguf file", path.display()),
        )
        .note("give the folder that holds config.json and the safetensors files"));
    }
    let config = read_config(path)
        .map_err(|error| Diagnostic::error(codes::MODEL_FILE, crate::session::sentence(&error)))?;
    Ok((ModelOrigin::Gguf(path.to_path_buf()), Some(config)))
}

fn no_such_model(from: &str) -> Diagnostic {
    let known: Vec<&str> = samples::SAMPLES
        .iter()
        .filter(|sample| sample.kind == samples::SampleKind::Model)
        .map(|sample| sample.name)
        .collect();
    let diagnostic = Diagnostic::error(codes::MISSING_FILE, format!("there is no model `{from}`"))
        .note(format!("known samples: {}", known.join(", ")));
    if from.matches('/').count() == 1 && !from.starts_with(['.', '/']) {
        return diagnostic.note(format!(
            "the local Hugging Face cache does not hold `{from}`; `hf download {from}` puts it there"
        ));
    }
    diagnostic.note("or give a folder with config.json and safetensors files, or a .gguf file")
}

fn random_config(shape: &Settings, tokenizer: &TokenizerOrigin) -> Result<Option<Config>, String> {
    let start = shape.word("preset");
    let mut config = preset(start).ok_or_else(|| format!("there is no preset `{start}`"))?;
    let size = |name: &str| shape.maybe_integer(name);
    if let Some(layers) = size("layers") {
        config.num_hidden_layers = layers;
    }
    if let Some(width) = size("width") {
        config.hidden_size = width;
    }
    if let Some(heads) = size("heads") {
        config.num_attention_heads = heads;
        config.num_key_value_heads = heads;
    }
    if let Some(heads) = size("kv_heads") {
        config.num_key_value_heads = heads;
    }
    if size("width").is_some() || size("heads").is_some() {
        config.head_dim = config.hidden_size / config.num_attention_heads.max(1);
    }
    if let Some(head_dim) = size("head_dim") {
        config.head_dim = head_dim;
    }
    if let Some(ffn) = size("ffn") {
        config.intermediate_size = ffn;
    }
    if let Some(context) = size("context") {
        config.max_position_embeddings = context;
    }
    if let Some(theta) = shape.maybe_number("theta") {
        config.rope_theta = theta;
    }
    if let Some(tied) = shape.maybe_flag("tied") {
        config.tie_word_embeddings = tied;
    }
    match size("vocabulary") {
        Some(vocabulary) => config.vocab_size = vocabulary,
        None if *tokenizer == TokenizerOrigin::Bytes && start == "tiny" => {
            config.vocab_size = Tokenizer::bytes().vocabulary_size() as i64;
        }
        None => {}
    }
    config.validate().map_err(|error| crate::session::sentence(&error))?;
    Ok(Some(config))
}
