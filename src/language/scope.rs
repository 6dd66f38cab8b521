//! What a check may ask about the session so far: which names exist and what they are.

use crate::language::value::Value;
use serde::Serialize;

/// What a name stands for; all names share one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NameKind {
    Model,
    Data,
    Run,
    Variable,
    /// A schedule that a Rust program or a `rust` block has added.
    Schedule,
    /// A metric of the same.
    Metric,
    /// A row transform of the same.
    Transform,
}

impl NameKind {
    /// The kind with its article, as messages say it: `a run`, `a data set`.
    pub fn described(self) -> &'static str {
        match self {
            NameKind::Model => "a model",
            NameKind::Data => "a data set",
            NameKind::Run => "a run",
            NameKind::Variable => "a `let` name",
            NameKind::Schedule => "a schedule of its own",
            NameKind::Metric => "a metric of its own",
            NameKind::Transform => "a row transform",
        }
    }

    /// How such a name comes to be: `tune NAME { … }`.
    pub fn definition(self) -> &'static str {
        match self {
            NameKind::Model => "model NAME { … }",
            NameKind::Data => "data NAME { … }",
            NameKind::Run => "tune NAME { … }",
            NameKind::Variable => "let NAME = …",
            NameKind::Schedule => "rust { fn NAME(at: Moment) -> f64 { … } }",
            NameKind::Metric => "rust { fn NAME(answer: &Answer) -> f64 { … } }",
            NameKind::Transform => "rust { fn NAME(row: Row) -> Option<Row> { … } }",
        }
    }

    /// The setting in which such a name may stand where a word is wanted.
    pub fn stands_in(self) -> Option<&'static str> {
        match self {
            NameKind::Schedule => Some("schedule"),
            NameKind::Metric => Some("metrics"),
            _ => None,
        }
    }
}

/// The outline of a session that a check reads. Line 40 sees what line 3 defined.
pub trait Scope {
    fn kind_of(&self, name: &str) -> Option<NameKind>;
    /// Every name with its kind, in the order of definition.
    fn names(&self) -> Vec<(String, NameKind)>;
    /// The value of a `let` name.
    fn variable(&self, name: &str) -> Option<Value>;
    /// The run last named, which a verb takes when it names none.
    fn last_run(&self) -> Option<String>;
    /// The parts a data set has, once they are known.
    fn parts(&self, data: &str) -> Option<Vec<String>>;
}

/// A session in which nothing is defined.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyScope;

impl Scope for EmptyScope {
    fn kind_of(&self, _name: &str) -> Option<NameKind> {
        None
    }

    fn names(&self) -> Vec<(String, NameKind)> {
        vec![]
    }

    fn variable(&self, _name: &str) -> Option<Value> {
        None
    }

    fn last_run(&self) -> Option<String> {
        None
    }

    fn parts(&self, _data: &str) -> Option<Vec<String>> {
        None
    }
}
