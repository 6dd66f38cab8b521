//! A small schema for the tests of this room.

use crate::language::peers;
use crate::language::schema::{Bounds, Choice, Clause, Default, Form, Kind, Setting};
use crate::language::scope::{NameKind, Scope};
use crate::language::value::Value;
use crate::units::Unit;

const WARMUP: Setting = Setting::new(
    "warmup",
    Kind::Measure {
        units: &[Unit::Steps, Unit::Epochs, Unit::Percent],
        bare: None,
        bounds: Bounds::NON_NEGATIVE,
    },
    "steps over which lr rises",
)
.or("3%")
.translated(peers::WARMUP)
.misnomers(peers::WARMUP_MISNOMERS);

const METHODS: &[Choice] = &[
    Choice::new("full", "trains every weight"),
    Choice::new("lora", "trains low-rank adapters").with(&[
        Setting::new("rank", Kind::COUNT, "columns of the adapter").or("16").aliases(peers::RANK).sweepable(),
        Setting::new("alpha", Kind::POSITIVE, "strength").or("32").aliases(peers::ALPHA),
        Setting::new("dropout", Kind::Fraction, "share that is dropped").or("0"),
        Setting::new("targets", Kind::list(&Kind::Text), "modules").optional(),
    ]),
];

const SCHEDULES: &[Choice] = &[
    Choice::new("constant", "stays").with(&[WARMUP]),
    Choice::new("cosine", "falls like a cosine").with(&[WARMUP]).aliases(&["cosine_annealing"]),
    Choice::new("step", "falls in steps")
        .with(&[WARMUP, Setting::new("factor", Kind::Fraction, "what lr is multiplied by").or("0.5")]),
];

pub const TUNE: Form = Form {
    name: "tune",
    summary: "describes a fine-tune",
    usage: "tune NAME { … }",
    settings: &[
        Setting::new("model", Kind::Name(&[NameKind::Model]), "the model to train").example("model = base"),
        Setting::new("data", Kind::Part, "the data to train on").example("data = chat"),
        Setting::new("method", Kind::Choice(METHODS), "which weights are trained")
            .or("lora")
            .misnomers(peers::METHOD_MISNOMERS),
        Setting::new("lr", Kind::POSITIVE, "the learning rate")
            .computed("the method")
            .aliases(peers::LR)
            .sweepable(),
        Setting::new("schedule", Kind::Choice(SCHEDULES), "how lr changes")
            .or("cosine")
            .aliases(peers::SCHEDULE)
            .sweepable(),
        Setting::new("batch", Kind::Batch, "micro-batch x accumulation")
            .or("4 x 4")
            .misnomers(peers::BATCH_MISNOMERS),
        Setting::new(
            "epochs",
            Kind::Measure { units: &[Unit::Epochs], bare: None, bounds: Bounds::POSITIVE },
            "passes over the data",
        )
        .or("1")
        .aliases(peers::EPOCHS),
        Setting::new("clip", Kind::AnyOf(&[Kind::None, Kind::POSITIVE]), "largest norm of the gradient")
            .or("1.0"),
        Setting::new("seed", Kind::SEED, "start of all randomness").or("42"),
        Setting::new("packing", Kind::Bool, "several rows in one sequence").or("off").aliases(peers::PACKING),
        Setting::new(
            "loss_on",
            Kind::Choice(&[Choice::new("completion", "answers only"), Choice::new("all", "everything")]),
            "which tokens are learned",
        )
        .or("completion")
        .translated(peers::LOSS_ON),
        Setting::new("split", Kind::AnyOf(&[Kind::None, Kind::Split]), "shares of the parts").optional(),
        Setting::new("betas", Kind::List { of: &Kind::Fraction, least: 2, most: 2 }, "averages")
            .or("[0.9, 0.999]"),
        Setting::new("from", Kind::Path, "a folder").optional(),
        Setting::new("columns", Kind::Columns, "names of columns").optional(),
        Setting::new(
            "memory",
            Kind::Measure { units: &[Unit::Bytes], bare: None, bounds: Bounds::POSITIVE },
            "the most memory",
        )
        .optional(),
    ],
    ..Form::NOUN
};

const RUN: Setting = Setting::new("run", Kind::Name(&[NameKind::Run]), "the run")
    .default(Default::Computed("the run last named"));

pub const STEP: Form = Form {
    name: "step",
    summary: "takes optimizer steps",
    usage: "step [run] [count]",
    positional: &[RUN, Setting::new("count", Kind::STEPS, "how many").or("1")],
    ..Form::VERB
};

pub const RUN_VERB: Form = Form {
    name: "run",
    summary: "goes to the planned end",
    usage: "run [run] [until CONDITION]",
    positional: &[RUN],
    clauses: &[Clause::new(
        "until",
        Setting::new("until", Kind::Condition(&["loss", "eval.loss"]), "when to stop").optional(),
    )],
    ..Form::VERB
};

pub const PLOT: Form = Form {
    name: "plot",
    summary: "draws metrics",
    usage: "plot METRIC, … [of RUN, …] [to \"FILE\"] [{ … }]",
    positional: &[Setting::new(
        "metrics",
        Kind::list(&Kind::Choice(&[Choice::new("loss", "loss"), Choice::new("lr", "learning rate")])),
        "what to draw",
    )],
    clauses: &[
        Clause::new(
            "of",
            Setting::new("runs", Kind::list(&Kind::Name(&[NameKind::Run])), "the runs")
                .computed("the run last named"),
        ),
        Clause::new("to", Setting::new("to", Kind::Path, "the file").optional()),
    ],
    settings: &[Setting::new("smooth", Kind::Fraction, "share of the past").or("0")],
    ..Form::VERB
};

pub const GENERATE: Form = Form {
    name: "generate",
    summary: "lets a model write",
    usage: "generate [run or model] PROMPT [{ … }]",
    positional: &[
        Setting::new("model", Kind::Name(&[NameKind::Run, NameKind::Model]), "who writes")
            .default(Default::Computed("the run last named")),
        Setting::new("prompt", Kind::Prompt, "how it begins"),
    ],
    settings: &[Setting::new(
        "max",
        Kind::Integer { min: 1, max: 100_000, unit: Some(Unit::Tokens) },
        "most tokens",
    )
    .or("128")],
    ..Form::VERB
};

pub const SAVE: Form = Form {
    name: "save",
    summary: "writes a model",
    usage: "save [run] to \"FOLDER\"",
    positional: &[RUN],
    clauses: &[Clause::required("to", Setting::new("to", Kind::Path, "the folder to write"))],
    ..Form::VERB
};

pub const FORMS: &[&Form] = &[&TUNE, &STEP, &RUN_VERB, &PLOT, &GENERATE, &SAVE];

/// Knows the model `base`, the data `chat` with two parts, the runs `a` and `b`, and a few `let` names.
pub struct SampleScope;

impl Scope for SampleScope {
    fn kind_of(&self, name: &str) -> Option<NameKind> {
        self.names().into_iter().find(|(known, _)| known == name).map(|(_, kind)| kind)
    }

    fn names(&self) -> Vec<(String, NameKind)> {
        let names = [
            ("base", NameKind::Model),
            ("chat", NameKind::Data),
            ("a", NameKind::Run),
            ("b", NameKind::Run),
            ("peak", NameKind::Variable),
            ("shape", NameKind::Variable),
            ("rates", NameKind::Variable),
        ];
        names.into_iter().map(|(name, kind)| (name.to_string(), kind)).collect()
    }

    fn variable(&self, name: &str) -> Option<Value> {
        match name {
            "peak" => Some(Value::Number(3e-4)),
            "shape" => Some(Value::Text("cosine".into())),
            "rates" => Some(Value::Sweep(vec![Value::Number(1e-4), Value::Number(2e-4)])),
            _ => None,
        }
    }

    fn last_run(&self) -> Option<String> {
        Some("b".into())
    }

    fn parts(&self, data: &str) -> Option<Vec<String>> {
        (data == "chat").then(|| vec!["train".into(), "validation".into()])
    }
}
