//! Loading what definitions name: weights, tokenizers and data sets, each once, with progress.

use crate::data::dataset::{Dataset, PartName};
use crate::data::error::DataError;
use crate::data::prepare::prepare;
use crate::data::specification::From;
use crate::data::tokenizer::Tokenizer;
use crate::events::{Diagnostic, Event, Out, Progress};
use crate::files::gguf::Gguf;
use crate::files::samples;
use crate::files::{FilesError, cache};
use crate::language::codes;
use crate::model::base::{Base, Quantization, Storage, kind_name};
use crate::model::config::Config;
use crate::model::load::load as load_weights;
use crate::session::definitions::{
    DataDefinition, DataOrigin, ModelDefinition, ModelOrigin, Precision, TokenizerOrigin,
};
use crate::session::written::Written;
use crate::session::{DatasetKey, Session, sentence};
use crate::torch::processor::{self, Processor};
use crate::torch::{device, memory};
use crate::units::{Bytes, Seconds, counted, grouped};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

impl Session {
    /// The weights of a model, loaded once and shared.
    pub fn base(&mut self, model: &Rc<ModelDefinition>, out: &mut Out) -> Result<Arc<Base>, Diagnostic> {
        if let Some(base) = self.loaded(model) {
            return Ok(base.clone());
        }
        self.processor()?;
        let started = Instant::now();
        let base = Arc::new(load_base(model, out)?);
        memory::trim(); // what reading took
        out.note(format!(
            "model {}: {} parameters, {} in {} on {}, {}",
            model.name,
            grouped(base.config.parameter_count()),
            Bytes(base.bytes()),
            kinds_text(base.dtype, base.quantization),
            device::name(base.device),
            Seconds(started.elapsed().as_secs_f64()),
        ));
        self.bases.push((model.clone(), base.clone()));
        Ok(base)
    }

    /// The weights of a model, if they are loaded.
    pub fn loaded(&self, model: &ModelDefinition) -> Option<&Arc<Base>> {
        self.bases.iter().find(|(known, _)| same_weights(known, model)).map(|(_, base)| base)
    }

    /// The tokenizer of a model, loaded once.
    pub fn tokenizer(
        &mut self,
        model: &Rc<ModelDefinition>,
        out: &mut Out,
    ) -> Result<Arc<Tokenizer>, Diagnostic> {
        let same =
            |known: &ModelDefinition| known.tokenizer == model.tokenizer && known.origin == model.origin;
        if let Some((_, tokenizer)) = self.tokenizers.iter().find(|(known, _)| same(known)) {
            return Ok(tokenizer.clone());
        }
        let tokenizer = Arc::new(load_tokenizer(model, out)?);
        if let Some(config) = &model.config
            && tokenizer.vocabulary_size() as i64 > config.vocab_size
        {
            return Err(Diagnostic::error(
                codes::VOCABULARY,
                format!(
                    "the tokenizer of model `{}` has {} ids and the model {}",
                    model.name,
                    grouped(tokenizer.vocabulary_size() as u64),
                    grouped(config.vocab_size as u64)
                ),
            )
            .note("ids beyond the model's vocabulary have no embedding: give the tokenizer that the model was made with"));
        }
        if matches!(model.tokenizer, TokenizerOrigin::Path(_))
            && let Some(warning) = other_tokenizer(model, tokenizer.vocabulary_size())
        {
            out.diagnostic(warning);
        }
        self.tokenizers.push((model.clone(), tokenizer.clone()));
        Ok(tokenizer)
    }

    /// Rows as examples under the tokenizer of a model, prepared once; what was dropped or cut is said.
    pub fn dataset(
        &mut self,
        data: &DataDefinition,
        model: &Rc<ModelDefinition>,
        out: &mut Out,
    ) -> Result<Arc<Dataset>, Diagnostic> {
        let tokenizer = self.tokenizer(model, out)?;
        let sample = match &data.origin {
            DataOrigin::Sample { name } => Some(name.clone()),
            _ => None,
        };
        let own = data.transform().map(|name| self.own.transform(name)).transpose()?;
        let key = DatasetKey {
            transform: own.as_ref().map(|own| own.number),
            specification: data.specification.clone(),
            sample: sample.clone(),
            tokenizer: tokenizer.hash().to_string(),
        };
        if let Some((_, dataset)) = self.datasets.iter().find(|(known, _)| *known == key) {
            return Ok(dataset.clone());
        }
        let mut specification = data.specification.clone();
        if let Some(sample) = sample {
            specification.from = From::Path(sample_path(&sample, out)?);
        }
        let cache = cache::folder().ok().map(|folder| folder.join("tokens"));
        let task = format!("data {}", data.name);
        let started = Instant::now();
        let prepared = {
            let mut observe = |progress: crate::data::progress::Progress| {
                out.emit(Event::Progress(Progress {
                    task: task.clone(),
                    done: progress.done,
                    total: progress.total,
                    unit: "rows".into(),
                    note: progress.what.into(),
                }));
                !out.cancel.stop()
            };
            let transform = own.as_ref().map(|own| &*own.transform);
            prepare(&specification, &tokenizer, transform, cache.as_deref(), &mut observe)
        };
        let dataset = prepared.map_err(|error| {
            let message = format!("data `{}`: {}", data.name, sentence(&error));
            data_place(data, &error, Diagnostic::error(data_code(&error), message))
        })?;
        say_counts(&data.name, &dataset, started.elapsed().as_secs_f64(), out);
        many_cut(data, &dataset).into_iter().for_each(|warning| out.diagnostic(warning));
        if let Some(why) = &dataset.uncached {
            out.diagnostic(Diagnostic::warning(
                codes::NOT_CACHED,
                format!("the tokens of `{}` are not kept: {why}", data.name),
            ));
        }
        let dataset = Arc::new(dataset);
        self.datasets.push((key, dataset.clone()));
        Ok(dataset)
    }

    /// Sequences of an epoch of training on this data, once they have been counted.
    pub fn training_rows(&self, data: &DataDefinition) -> Option<u64> {
        let same =
            |other: &DataDefinition| other.specification == data.specification && other.origin == data.origin;
        if let Some(run) = self.runs.values().find(|run| same(&run.definition.data)) {
            return Some(run.trainer.rows_per_epoch());
        }
        if data.specification.packing {
            return None; // how the rows are packed is known to the runs alone
        }
        let sample = match &data.origin {
            DataOrigin::Sample { name } => Some(name),
            _ => None,
        };
        let of_data =
            |key: &DatasetKey| key.specification == data.specification && key.sample.as_ref() == sample;
        let (_, dataset) = self.datasets.iter().find(|(key, _)| of_data(key))?;
        Some(dataset.part(PartName::Train).len() as u64)
    }

    /// Threads and math mode, chosen once before the first product.
    pub fn processor(&mut self) -> Result<Processor, Diagnostic> {
        if let Some(processor) = &self.processor {
            return Ok(processor.clone());
        }
        let processor =
            processor::prepare().map_err(|error| Diagnostic::error(codes::TORCH, sentence(&error)))?;
        self.processor = Some(processor.clone());
        Ok(processor)
    }
}

fn same_weights(left: &ModelDefinition, right: &ModelDefinition) -> bool {
    left.origin == right.origin
        && left.dtype == right.dtype
        && left.quantization == right.quantization
        && left.device == right.device
        && match left.origin {
            ModelOrigin::Random { .. } => left.config == right.config,
            _ => true,
        }
}

/// `f32`, `nf4 and f32`
fn kinds_text(dtype: tch::Kind, quantization: Quantization) -> String {
    match quantization {
        Quantization::Off => kind_name(dtype).to_string(),
        Quantization::Nf4 => format!("nf4 and {}", kind_name(dtype)),
    }
}

/// What the weights of a model take, and in what: `98.13 MB in nf4 and f32`.
pub fn weights_text(model: &ModelDefinition) -> Option<String> {
    let (config, device) = (model.config.as_ref()?, device::resolve(&model.device).ok()?);
    let storage = storage_on(device, model);
    let kinds = kinds_text(storage.dtype, storage.quantization);
    Some(format!("{} in {kinds} on {}", Bytes(storage.bytes(config)), device::name(device)))
}

/// How the weights of a model are held on this device.
pub fn storage_on(device: tch::Device, model: &ModelDefinition) -> Storage {
    let dtype = match model.dtype {
        Precision::Bf16 => tch::Kind::BFloat16,
        Precision::Auto if device.is_cuda() => tch::Kind::BFloat16,
        _ => tch::Kind::Float,
    };
    Storage { dtype, quantization: model.quantization, device }
}

fn load_base(model: &ModelDefinition, out: &mut Out) -> Result<Base, Diagnostic> {
    let failed = |error: &dyn std::error::Error| {
        Diagnostic::error(codes::MODEL_FILE, format!("model `{}`: {}", model.name, sentence(error)))
    };
    let device = device::resolve(&model.device).map_err(|error| {
        Diagnostic::error(codes::DEVICE, sentence(&error)).note("`ltune doctor` lists what is there")
    })?;
    let storage = storage_on(device, model);
    let path = weights_path(model, out)?;
    if let Some(config) = &model.config {
        must_fit(model, config, storage)?;
    }
    let task = format!("model {}", model.name);
    let cancel = out.cancel.clone();
    let mut observe = |done: u64, total: u64| {
        out.emit(Event::Progress(Progress {
            task: task.clone(),
            done,
            total,
            unit: "bytes".into(),
            note: "loading".into(),
        }));
        !cancel.stop()
    };
    match (&model.origin, &path) {
        (ModelOrigin::Random { seed }, _) => {
            let config = model.config.clone().expect("the check gives random weights a configuration");
            Base::random_in(config, *seed, storage).map_err(|error| failed(&error))
        }
        (_, Some(path)) => load_weights(path, storage, &mut observe).map_err(|error| failed(&error)),
        (_, None) => unreachable!("only random weights have no file"),
    }
}

/// Weights that do not fit the free memory of their device are refused before they take it.
fn must_fit(model: &ModelDefinition, config: &Config, storage: Storage) -> Result<(), Diagnostic> {
    let Storage { dtype, quantization, device } = storage;
    let needed = Bytes(storage.bytes(config));
    let free = if device == tch::Device::Cpu { memory::available() } else { memory::free_on(device) };
    let Some(free) = free.map(Bytes).filter(|free| needed > *free) else {
        return Ok(());
    };
    let diagnostic = Diagnostic::error(
        codes::MEMORY,
        format!(
            "model `{}` takes {needed} in {}, and {free} of memory is free",
            model.name,
            kinds_text(dtype, quantization)
        ),
    );
    Err(match dtype {
        _ if quantization == Quantization::Nf4 => diagnostic.note("take a smaller model, or free memory"),
        tch::Kind::BFloat16 => {
            diagnostic.note("write `quantization = nf4` to train adapters over weights of 4 bits")
        }
        _ => diagnostic.note("write `dtype = bf16` for half of it, or take a smaller model"),
    })
}

/// A tokenizer that was given beside pretrained weights and is far too small for them. Vocabularies are often padded a
/// little, so only a large gap is told.
pub fn other_tokenizer(model: &ModelDefinition, ids: usize) -> Option<Diagnostic> {
    let vocabulary = model.config.as_ref()?.vocab_size as usize;
    let gap = vocabulary.saturating_sub(ids);
    if matches!(model.origin, ModelOrigin::Random { .. }) || gap <= 256 || gap * 20 <= vocabulary {
        return None;
    }
    let (ids, vocabulary) = (grouped(ids as u64), grouped(vocabulary as u64));
    let message =
        format!("the tokenizer of model `{}` has {ids} ids and its weights know {vocabulary}", model.name);
    let written = Written { settings: &model.settings, span: None };
    Some(
        written
            .at("tokenizer", Diagnostic::warning(codes::VOCABULARY, message))
            .note("pretrained weights know the tokens of their own tokenizer only: leave `tokenizer` out"),
    )
}

/// The folder or file that holds the weights; a sample is fetched when it is not in the cache.
pub fn weights_path(model: &ModelDefinition, out: &mut Out) -> Result<Option<PathBuf>, Diagnostic> {
    match &model.origin {
        ModelOrigin::Random { .. } => Ok(None),
        ModelOrigin::Folder(path) | ModelOrigin::Gguf(path) => Ok(Some(path.clone())),
        ModelOrigin::Sample(name) => sample_path(name, out).map(Some),
    }
}

fn load_tokenizer(model: &ModelDefinition, out: &mut Out) -> Result<Tokenizer, Diagnostic> {
    let path = match &model.tokenizer {
        TokenizerOrigin::Bytes => return Ok(Tokenizer::bytes()),
        TokenizerOrigin::Path(path) => path.clone(),
        TokenizerOrigin::Model => match weights_path(model, out)? {
            Some(path) => path,
            None => return Ok(Tokenizer::bytes()),
        },
    };
    read_tokenizer(&path).map_err(|text| {
        Diagnostic::error(codes::TOKENIZER, format!("the tokenizer of model `{}`: {text}", model.name))
            .note("another one can be given: `tokenizer = \"folder\"`, or `tokenizer = bytes`")
    })
}

fn read_tokenizer(path: &Path) -> Result<Tokenizer, String> {
    if path.is_dir() {
        return Tokenizer::from_folder(path).map_err(|error| sentence(&error));
    }
    if path.extension().is_some_and(|extension| extension == "gguf") {
        let file = Gguf::open(path).map_err(|error| sentence(&error))?;
        return Tokenizer::from_gguf(&file).map_err(|error| sentence(&error));
    }
    Tokenizer::from_file(path, None).map_err(|error| sentence(&error))
}

/// A sample's file in the cache; fetched now if it is not there.
pub fn sample_path(name: &str, out: &mut Out) -> Result<PathBuf, Diagnostic> {
    let sample = samples::find(name)
        .ok_or_else(|| Diagnostic::error(codes::MISSING_FILE, format!("there is no sample `{name}`")))?;
    if let Some(path) = samples::cached(name) {
        return Ok(path);
    }
    out.note(format!("fetching {name}: {}; licence: {}", sample.what, sample.licence));
    let task = format!("sample {name}");
    let mut observe = |done: u64, total: u64, what: &str| {
        out.emit(Event::Progress(Progress {
            task: task.clone(),
            done,
            total,
            unit: "bytes".into(),
            note: what.into(),
        }));
        !out.cancel.stop()
    };
    samples::fetch(sample, &mut observe)
        .map_err(|error: FilesError| Diagnostic::error(codes::SAMPLE, sentence(&error)))
}

fn say_counts(name: &str, dataset: &Dataset, seconds: f64, out: &mut Out) {
    let counts = &dataset.counts;
    let parts: Vec<String> = dataset
        .part_names()
        .into_iter()
        .map(|part| format!("{} {}", part.name(), grouped(dataset.part(part).len() as u64)))
        .collect();
    let mut lines = vec![format!(
        "data {name}: {}, {} ({} supervised), {}; {}",
        counted(counts.examples, "example"),
        counted(counts.tokens, "token"),
        grouped(counts.supervised),
        Seconds(seconds),
        parts.join(", "),
    )];
    let left_out = [
        (counts.empty, "empty"),
        (counts.duplicates, "exact duplicates"),
        (counts.invalid_utf8, "invalid UTF-8"),
        (counts.left_out, "left out by the transform"),
        (counts.dropped_long, "longer than `max_len`"),
    ];
    let dropped: Vec<String> = left_out
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{} {why}", grouped(count)))
        .collect();
    if !dropped.is_empty() {
        lines.push(format!("  dropped: {}", dropped.join(", ")));
    }
    if counts.cut > 0 {
        let share = 100.0 * counts.cut as f64 / counts.examples.max(1) as f64;
        lines.push(format!(
            "  cut to `max_len`: {} ({share:.1} % of examples, {} left off)",
            counted(counts.cut, "example"),
            counted(counts.cut_tokens, "token"),
        ));
    }
    out.note(lines.join("\n"));
}

/// More than one example in a hundred lost its end, which is often what is to be learned.
fn many_cut(data: &DataDefinition, dataset: &Dataset) -> Option<Diagnostic> {
    let counts = &dataset.counts;
    let share = counts.cut as f64 / counts.examples.max(1) as f64;
    if share <= 0.01 {
        return None;
    }
    let message = format!(
        "{:.1} % of the examples of `{}` are longer than `max_len` and were cut",
        100.0 * share,
        data.name
    );
    let written = Written { settings: &data.settings, span: None };
    let diagnostic = written.at(place_of_length(&written), Diagnostic::warning(codes::MANY_CUT, message)).note(
        format!(
            "the longest has {}; raise `max_len`, or write `too_long = drop`; `show lengths {}` shows them all",
            counted(counts.longest, "token"),
            data.name
        ),
    );
    Some(diagnostic)
}

/// What decides how long an example may be, where it was written.
fn place_of_length(written: &Written) -> &'static str {
    if written.stands("max_len") { "max_len" } else { "from" }
}

/// Where the data is mended.
fn data_place(data: &DataDefinition, error: &DataError, diagnostic: Diagnostic) -> Diagnostic {
    let written = Written { settings: &data.settings, span: None };
    let place = match error {
        DataError::NothingSupervised { .. } | DataError::TooLong { .. } => place_of_length(&written),
        DataError::NoTemplate { .. } | DataError::UnknownTemplate { .. } if written.stands("template") => {
            "template"
        }
        DataError::Transform { refusal, .. } if refusal.at.is_some() => return diagnostic.refused(refusal),
        DataError::Transform { .. } => "transform",
        _ => "from",
    };
    written.at(place, diagnostic)
}

fn data_code(error: &DataError) -> &'static str {
    match error {
        DataError::NothingSupervised { .. } => codes::NOTHING_SUPERVISED,
        DataError::TooLong { .. } => codes::TOO_LONG_ROW,
        DataError::NoTemplate { .. } | DataError::UnknownTemplate { .. } => codes::NO_TEMPLATE,
        DataError::Transform { .. } => codes::OWN_CODE,
        _ => codes::DATA_FILE,
    }
}
