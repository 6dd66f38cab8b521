//! Models, data and fine-tunes without a text of the language: settings as Rust values, checked by the one schema.

use crate::language::value::{Origin, Settings, Value};
use crate::units::Unit;
use std::path::{Path, PathBuf};

/// A `model`.
pub struct Model;

/// A `data`.
pub struct Data;

/// A `tune`.
pub struct Tune;

impl Model {
    pub fn named(name: &str) -> Definition {
        Definition::new("model", name)
    }
}

impl Data {
    pub fn named(name: &str) -> Definition {
        Definition::new("data", name)
    }
}

impl Tune {
    pub fn named(name: &str) -> Definition {
        Definition::new("tune", name)
    }
}

/// A definition under way: a noun, its name and its settings. `Session::define` checks it against the schema that the
/// language has, and reports as the language does.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    noun: &'static str,
    name: String,
    settings: Settings,
}

impl Definition {
    fn new(noun: &'static str, name: &str) -> Definition {
        Definition { noun, name: name.to_string(), settings: Settings::new() }
    }

    /// The setting with this value. Numbers, texts and paths stand for themselves, `(4, 2)` is the batch `4 x 2`, a list
    /// is a list, another definition is its name; see [`word`], [`choice`] and [`measure`] for the rest.
    #[must_use]
    pub fn with(mut self, setting: &str, value: impl Into<Value>) -> Definition {
        self.settings.insert(setting, value.into(), Origin::CommandLine);
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a script would say.
    pub fn to_ltune(&self) -> String {
        format!("{} {} {{\n  {}\n}}", self.noun, self.name, self.settings.to_ltune("\n  "))
    }
}

/// A bare word: a choice without settings (`constant`), or the name of a model, a schedule, a `let`.
pub fn word(word: &str) -> Value {
    Value::Word(word.to_string())
}

/// A number with its unit: `measure(24, Unit::Tokens)`, `measure(0.5, Unit::Epochs)`, `measure(3, Unit::Percent)`.
pub fn measure(number: impl Into<f64>, unit: Unit) -> Value {
    Value::Measure { number: number.into(), unit }
}

/// A word with settings of its own: `choice("lora").with("rank", 4)`.
pub fn choice(word: &str) -> Choice {
    Choice { word: word.to_string(), settings: Settings::new() }
}

/// See [`choice`].
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    word: String,
    settings: Settings,
}

impl Choice {
    #[must_use]
    pub fn with(mut self, setting: &str, value: impl Into<Value>) -> Choice {
        self.settings.insert(setting, value.into(), Origin::CommandLine);
        self
    }
}

impl From<Choice> for Value {
    fn from(choice: Choice) -> Value {
        Value::Choice { word: choice.word, settings: choice.settings }
    }
}

impl From<&Definition> for Value {
    fn from(definition: &Definition) -> Value {
        Value::Name(definition.name.clone())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Bool(flag)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value::Integer(number.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_string())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<&Path> for Value {
    fn from(path: &Path) -> Value {
        Value::Text(path.display().to_string())
    }
}

impl From<PathBuf> for Value {
    fn from(path: PathBuf) -> Value {
        path.as_path().into()
    }
}

/// Sequences of a micro-batch, and micro-batches of a step.
impl From<(i64, i64)> for Value {
    fn from((micro, accumulate): (i64, i64)) -> Value {
        Value::Batch { micro, accumulate }
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Value {
        Value::List(items.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_reads_as_a_script_would_say_it() {
        let base = Model::named("base").with("init", choice("random").with("preset", word("tiny")));
        let tune = Tune::named("a")
            .with("model", &base)
            .with("method", choice("lora").with("rank", 4).with("targets", vec!["q_proj"]))
            .with("lr", 1e-2)
            .with("batch", (4, 2))
            .with("epochs", measure(0.5, Unit::Epochs))
            .with("keep_best", true);
        assert_eq!(base.to_ltune(), "model base {\n  init = random { preset = tiny }\n}");
        assert_eq!(
            tune.to_ltune(),
            "tune a {\n  model = base\n  method = lora { rank = 4; targets = [\"q_proj\"] }\n  lr = 0.01\n  \
             batch = 4 x 2\n  epochs = 0.5 epochs\n  keep_best = on\n}"
        );
    }
}
