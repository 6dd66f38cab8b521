//! The types in which every statement and setting is described once; the checker, completion, help, the formatter
//! and the reference all read these descriptions.
//!
//! Everything is `&'static` and can be built in a `const`:
//!
//! ```ignore
//! const STEP: Form = Form {
//!     name: "step",
//!     summary: "takes optimizer steps",
//!     usage: "step [run] [count]",
//!     positional: &[
//!         Setting::new("run", Kind::Name(&[NameKind::Run]), "the run to train").default(Default::Computed("the run last named")),
//!         Setting::new("count", Kind::COUNT, "how many steps").default(Default::Fixed("1")),
//!     ],
//!     ..Form::VERB
//! };
//! ```

use crate::language::scope::NameKind;
use crate::units::Unit;

/// A noun, a verb or a construct of the language.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub name: &'static str,
    pub kind: FormKind,
    /// One line, without a full stop: `takes optimizer steps`.
    pub summary: &'static str,
    /// The shape with optional parts in brackets: `step [run] [count]`.
    pub usage: &'static str,
    /// Markdown for `help` and the reference.
    pub details: &'static str,
    /// A script that passes `check` (given the names it uses).
    pub example: &'static str,
    /// What stands directly after the verb, in order. A list takes a whole comma group.
    pub positional: &'static [Setting],
    /// What follows a preposition.
    pub clauses: &'static [Clause],
    /// What may stand in the block.
    pub settings: &'static [Setting],
    /// Whether the block describes a whole thing or changes one.
    pub fill: Fill,
    /// What a journal of the session makes of it.
    pub role: Role,
}

impl Form {
    const EMPTY: Form = Form {
        name: "",
        kind: FormKind::Language,
        summary: "",
        usage: "",
        details: "",
        example: "",
        positional: &[],
        clauses: &[],
        settings: &[],
        fill: Fill::Defaults,
        role: Role::Binds,
    };
    /// A noun to fill in: `Form { name: "model", …, ..Form::NOUN }`.
    pub const NOUN: Form = Form { kind: FormKind::Noun, ..Form::EMPTY };
    /// A verb to fill in.
    pub const VERB: Form = Form { kind: FormKind::Verb, role: Role::Looks, ..Form::EMPTY };
    /// A construct of the language to fill in: `let`, `include`, `repeat`, `ltune`.
    pub const LANGUAGE: Form = Form::EMPTY;

    /// The setting of the block with this name (not an alias).
    pub fn setting(&self, name: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// Positional values, clauses and settings of the block, in the order of the usage line.
    pub fn all_settings(&self) -> impl Iterator<Item = &'static Setting> {
        let clauses = self.clauses.iter().map(|clause| &clause.setting);
        self.positional.iter().chain(clauses).chain(self.settings)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormKind {
    Noun,
    Verb,
    Language,
}

/// What a statement is to a journal of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It defines, loads, drops or renames: kept in its place.
    Binds,
    /// It makes a run from a run.
    Forks,
    /// It takes a run forward: written as long as what is left of it.
    Trains,
    /// It goes through a run's time: left out, since what it took back is left out.
    Moves,
    /// It looks at models and runs: kept where what it looked at is kept.
    Looks,
    /// It speaks of the session or the language: left out.
    Talks,
}

/// What a checked block holds beside the settings that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Defaults are filled in and required settings must be there.
    Defaults,
    /// Only what was written (`set`, `fork`); positional values and clauses still have their defaults.
    GivenOnly,
}

/// A preposition and the value after it: `to "loss.svg"`.
#[derive(Clone, Copy, Debug)]
pub struct Clause {
    pub word: &'static str,
    pub setting: Setting,
    pub required: bool,
}

impl Clause {
    pub const fn new(word: &'static str, setting: Setting) -> Clause {
        Clause { word, setting, required: false }
    }

    pub const fn required(word: &'static str, setting: Setting) -> Clause {
        Clause { word, setting, required: true }
    }
}

/// One setting: a name, what it may be, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// Peers' names that mean exactly the same.
    pub aliases: &'static [&'static str],
    /// Peers' names that mean the same after a translation of their values.
    pub translated: &'static [Translated],
    /// Names that mean different things in different tools, and what to write instead.
    pub misnomers: &'static [(&'static str, &'static str)],
    /// One line, without a full stop.
    pub summary: &'static str,
    /// As it stands in a script: `rank = 16`.
    pub example: &'static str,
    /// Whether `one_of(…)`, `log(…)` and ranges may stand here.
    pub sweepable: bool,
}

impl Setting {
    /// A required setting; the methods below refine it.
    pub const fn new(name: &'static str, kind: Kind, summary: &'static str) -> Setting {
        Setting {
            name,
            kind,
            default: Default::Required,
            aliases: &[],
            translated: &[],
            misnomers: &[],
            summary,
            example: "",
            sweepable: false,
        }
    }

    pub const fn default(self, default: Default) -> Setting {
        Setting { default, ..self }
    }

    /// A default written as it would stand in a script.
    pub const fn or(self, literal: &'static str) -> Setting {
        self.default(Default::Fixed(literal))
    }

    /// May be left out; then there is no value.
    pub const fn optional(self) -> Setting {
        self.default(Default::Absent)
    }

    /// May be left out; then the value depends on something, said here.
    pub const fn computed(self, from: &'static str) -> Setting {
        self.default(Default::Computed(from))
    }

    pub const fn aliases(self, aliases: &'static [&'static str]) -> Setting {
        Setting { aliases, ..self }
    }

    pub const fn translated(self, translated: &'static [Translated]) -> Setting {
        Setting { translated, ..self }
    }

    pub const fn misnomers(self, misnomers: &'static [(&'static str, &'static str)]) -> Setting {
        Setting { misnomers, ..self }
    }

    pub const fn example(self, example: &'static str) -> Setting {
        Setting { example, ..self }
    }

    pub const fn sweepable(self) -> Setting {
        Setting { sweepable: true, ..self }
    }
}

/// What a setting is when it is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// It must be written.
    Required,
    /// A literal in ltune syntax: `0.01`, `cosine { warmup = 3% }`.
    Fixed(&'static str),
    /// Decided by the statement; the text says from what: `2e-5 for full, 2e-4 for lora`. Not in the settings.
    Computed(&'static str),
    /// There is then no value. Not in the settings.
    Absent,
}

/// A peer's name whose value has to be read differently: `train_on_inputs = true` is `loss_on = all`.
#[derive(Clone, Copy, Debug)]
pub struct Translated {
    pub name: &'static str,
    /// The unit of a bare number under this name: `warmup_steps = 100` is `100 steps`.
    pub bare: Option<Unit>,
    /// Words and what they become; empty when only the unit is to be known.
    pub values: &'static [(&'static str, &'static str)],
}

/// One of the words a setting may be, with settings of its own: `lora { rank = 16 }`.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    pub word: &'static str,
    pub summary: &'static str,
    pub settings: &'static [Setting],
    /// Peers' words for the same: `adamw_torch`.
    pub aliases: &'static [&'static str],
}

impl Choice {
    pub const fn new(word: &'static str, summary: &'static str) -> Choice {
        Choice { word, summary, settings: &[], aliases: &[] }
    }

    pub const fn with(self, settings: &'static [Setting]) -> Choice {
        Choice { settings, ..self }
    }

    pub const fn aliases(self, aliases: &'static [&'static str]) -> Choice {
        Choice { aliases, ..self }
    }
}

/// The range a number must lie in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub min: f64,
    pub max: f64,
    /// The lower end itself is not allowed.
    pub open_min: bool,
    /// The upper end itself is not allowed.
    pub open_max: bool,
}

impl Bounds {
    pub const ANY: Bounds = Bounds::between(f64::NEG_INFINITY, f64::INFINITY);
    pub const NON_NEGATIVE: Bounds = Bounds::between(0.0, f64::INFINITY);
    pub const POSITIVE: Bounds = Bounds { open_min: true, ..Bounds::NON_NEGATIVE };

    /// Both ends are allowed.
    pub const fn between(min: f64, max: f64) -> Bounds {
        Bounds { min, max, open_min: false, open_max: false }
    }

    pub fn contains(&self, number: f64) -> bool {
        let above = if self.open_min { number > self.min } else { number >= self.min };
        let below = if self.open_max { number < self.max } else { number <= self.max };
        above && below
    }
}

/// What may be written for a setting, and so which `Value` comes out.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number → `Value::Integer`. The unit may be written after it.
    Integer { min: i64, max: i64, unit: Option<Unit> },
    /// → `Value::Number`.
    Number(Bounds),
    /// A number from 0 to 1, also written as a share: `10%` → `Value::Number`.
    Fraction,
    /// A number with a unit → `Value::Measure`. Without one it takes `bare`, or the only unit there is.
    Measure { units: &'static [Unit], bare: Option<Unit>, bounds: Bounds },
    /// → `Value::Text`.
    Text,
    /// A file, a folder or a known name → `Value::Text`.
    Path,
    /// `on`, `off`, `true`, `false` → `Value::Bool`.
    Bool,
    /// `none` → `Value::None`.
    None,
    /// One of these words → `Value::Choice`.
    Choice(&'static [Choice]),
    /// A name that is defined, of one of these kinds → `Value::Name`.
    Name(&'static [NameKind]),
    /// Any one word, such as a new name → `Value::Word`.
    Word,
    /// A word or a dotted one, such as `tune.lr` → `Value::Word`.
    Topic,
    /// `chat`, `chat.test` → `Value::Part`.
    Part,
    /// `[a, b]`; one value alone is a list of one → `Value::List`.
    List { of: &'static Kind, least: usize, most: usize },
    /// `4 x 4`, a bare `4` is `4 x 1` → `Value::Batch`.
    Batch,
    /// `90% / 5% / 5%`, two or three shares that sum to 100% → `Value::Split`.
    Split,
    /// `{ prompt = "question" }` → `Value::Columns`.
    Columns,
    /// A text or a chat `[user("…"), assistant("…")]` → `Value::Text` or `Value::Chat`.
    Prompt,
    /// `eval.loss < 1.8` on one of these metrics → `Value::Condition`.
    Condition(&'static [&'static str]),
    /// `0..12`, whole numbers, both ends included; a single number is a range of one → `Value::Range`.
    Range,
    /// The first of these that the value's form fits.
    AnyOf(&'static [Kind]),
    /// Whatever an expression can be (`print`, `let`).
    Any,
}

impl Kind {
    /// One or more.
    pub const COUNT: Kind = Kind::Integer { min: 1, max: i64::MAX, unit: None };
    pub const POSITIVE: Kind = Kind::Number(Bounds::POSITIVE);
    pub const NON_NEGATIVE: Kind = Kind::Number(Bounds::NON_NEGATIVE);
    pub const STEPS: Kind = Kind::Integer { min: 1, max: i64::MAX, unit: Some(Unit::Steps) };
    pub const SEED: Kind = Kind::Integer { min: 0, max: i64::MAX, unit: None };

    /// A list of any length from one.
    pub const fn list(of: &'static Kind) -> Kind {
        Kind::List { of, least: 1, most: usize::MAX }
    }
}
