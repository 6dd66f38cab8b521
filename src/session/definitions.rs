//! What nouns define: pure values, made by a check, held by the session and by the runs that use them.

use crate::data::shape::Shape;
use crate::data::specification::Specification;
use crate::language::value::Settings;
use crate::model::base::Quantization;
use crate::model::config::Config;
use crate::train::recipe::Recipe;
use std::path::PathBuf;
use std::rc::Rc;

/// A `model`.
#[derive(Clone, Debug)]
pub struct ModelDefinition {
    pub name: String,
    pub origin: ModelOrigin,
    pub tokenizer: TokenizerOrigin,
    pub dtype: Precision,
    pub quantization: Quantization,
    /// As written: `auto`, `cpu`, `cuda`, `cuda:1`.
    pub device: String,
    /// Known without fetching or loading anything, where it is.
    pub config: Option<Config>,
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ModelOrigin {
    Folder(PathBuf),
    Gguf(PathBuf),
    /// A known sample; fetched when it is first needed.
    Sample(String),
    Random {
        seed: u64,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum TokenizerOrigin {
    /// The one that comes with the weights.
    Model,
    /// A folder, a tokenizer.json or a GGUF file.
    Path(PathBuf),
    Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f32 on the CPU, bf16 on CUDA.
    Auto,
    F32,
    Bf16,
}

/// A `data`.
#[derive(Clone, Debug)]
pub struct DataDefinition {
    pub name: String,
    pub origin: DataOrigin,
    pub specification: Specification,
    pub settings: Settings,
    /// The `rust` block that its transform was checked with, if it is of one.
    pub block: Option<Rc<str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DataOrigin {
    /// The shape is known when the file could be looked into.
    Path {
        shape: Option<Shape>,
    },
    /// A known sample; fetched when it is first needed.
    Sample {
        name: String,
    },
    Random,
}

impl DataDefinition {
    /// The parts that the split makes, in order.
    pub fn parts(&self) -> Vec<&'static str> {
        ["train", "validation", "test"][..self.specification.split.len().clamp(1, 3)].to_vec()
    }

    /// The row transform that its rows go through.
    pub fn transform(&self) -> Option<&str> {
        self.settings.maybe_word("transform")
    }
}

/// A `tune`: it keeps the model and data that it was checked with, whatever their names come to mean later.
#[derive(Clone, Debug)]
pub struct TuneDefinition {
    pub name: String,
    pub model: Rc<ModelDefinition>,
    pub data: Rc<DataDefinition>,
    pub recipe: Recipe,
    pub settings: Settings,
    /// The `rust` blocks that it was checked with: of its schedule and of the transform of its data.
    pub blocks: Vec<Rc<str>>,
    /// Settings that are sweeps, and how many members they make together.
    pub family: Option<Family>,
}

/// The members of a `tune` whose settings hold sweeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    pub members: Vec<Member>,
}

/// One of a family: what is its own, and all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// `lr = 1e-4, rank = 8`
    pub text: String,
    pub recipe: Recipe,
}

/// Whether two blocks say the same, wherever they were written.
pub fn same(left: &Settings, right: &Settings) -> bool {
    left.len() == right.len() && left.to_ltune("\n") == right.to_ltune("\n")
}

impl ModelDefinition {
    /// A few words: where it comes from and how large it is.
    pub fn describe(&self) -> String {
        let held = if self.quantization == Quantization::Nf4 { " in nf4" } else { "" };
        let size = self.config.as_ref().map_or(String::new(), |config| {
            format!(", {} parameters{held}", crate::units::grouped(config.parameter_count()))
        });
        match &self.origin {
            ModelOrigin::Folder(path) | ModelOrigin::Gguf(path) => format!("{}{size}", path.display()),
            ModelOrigin::Sample(name) => format!("sample {name}{size}"),
            ModelOrigin::Random { seed } => format!("random, seed {seed}{size}"),
        }
    }

    /// The name that an adapter gives as its base.
    pub fn base_name(&self) -> String {
        match &self.origin {
            ModelOrigin::Folder(path) | ModelOrigin::Gguf(path) => path.display().to_string(),
            ModelOrigin::Sample(name) => name.clone(),
            ModelOrigin::Random { .. } => self.name.clone(),
        }
    }
}

impl DataDefinition {
    /// A few words: where rows come from.
    pub fn describe(&self) -> String {
        use crate::data::specification::From;
        match (&self.origin, &self.specification.from) {
            (DataOrigin::Sample { name }, _) => format!("sample {name}"),
            (_, From::Random { rows, length, .. }) => format!("{rows} random rows of {length} tokens"),
            (DataOrigin::Path { shape: Some(shape) }, From::Path(path)) => {
                format!("{} ({})", path.display(), shape.name())
            }
            (_, From::Path(path)) => path.display().to_string(),
        }
    }
}
