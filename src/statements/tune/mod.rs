//! `tune NAME { … }`: a fine-tune as resolved values; the run begins at step 0 and takes steps when told.

pub mod recipe;
pub mod rules;
mod sweeps;

use crate::events::{Diagnostic, Out};
use crate::language::codes;
use crate::language::peers;
use crate::language::schema::{Bounds, Choice, Form, Kind, Setting, Translated};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::session::definitions::{Family, Member, TuneDefinition, same};
use crate::session::{Session, ways_on};
use crate::statements::tune::recipe::{recipe, resolved};
use crate::statements::tune::rules::rules;
use crate::statements::tune::sweeps::sweep_members;
use crate::statements::{Action, Check, Checking, Statement};
use crate::units::Unit;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Definition(check) };

const SHARE: Kind = Kind::Number(Bounds { min: 0.0, max: 1.0, open_min: false, open_max: true });
/// A stretch of training: steps, epochs or a share of the planned steps; a bare number does not say which.
const STRETCH: Kind = Kind::Measure {
    units: &[Unit::Steps, Unit::Epochs, Unit::Percent],
    bare: None,
    bounds: Bounds::NON_NEGATIVE,
};
const EVERY: Kind = Kind::AnyOf(&[
    Kind::None,
    Kind::Measure {
        units: &[Unit::Steps, Unit::Epochs, Unit::Seconds],
        bare: None,
        bounds: Bounds::POSITIVE,
    },
]);

const LORA: &[Setting] = &[
    Setting::new("rank", Kind::Integer { min: 1, max: 65536, unit: None }, "width of the adapters")
        .or("16")
        .aliases(peers::RANK)
        .example("rank = 16")
        .sweepable(),
    Setting::new("alpha", Kind::POSITIVE, "the adapters' product is scaled by alpha / rank")
        .computed("twice the rank")
        .aliases(peers::ALPHA)
        .misnomers(&[("scale", "ltune scales by `alpha / rank`: write `alpha = scale * rank`")])
        .example("alpha = 32")
        .sweepable(),
    Setting::new("dropout", SHARE, "share of the adapters' inputs that is dropped while training")
        .or("0.0")
        .aliases(peers::DROPOUT)
        .example("dropout = 0.05")
        .sweepable(),
    Setting::new(
        "targets",
        Kind::list(&Kind::Text),
        "linears that get an adapter, by the last part of their name",
    )
    .computed("all seven linears of a block")
    .aliases(peers::TARGETS)
    .example("targets = [\"q_proj\", \"v_proj\"]"),
    Setting::new("rank_stabilized", Kind::Bool, "scales by alpha over the root of the rank instead")
        .or("off")
        .aliases(&["use_rslora", "rslora"]),
    Setting::new(
        "from",
        Kind::Path,
        "a PEFT folder to start from: its weights, rank, alpha and targets are taken",
    )
    .optional()
    .example("from = \"out/a\""),
];

const WARMUP: Setting = Setting::new("warmup", STRETCH, "rises from 0 to `lr` over this stretch")
    .translated(peers::WARMUP)
    .misnomers(peers::WARMUP_MISNOMERS)
    .example("warmup = 3%");
const MIN: Setting =
    Setting::new("min", SHARE, "where it ends, as a share of `lr`").or("0.0").example("min = 0.1");

const METHODS: &[Choice] = &[
    Choice::new("lora", "low-rank adapters on the linears; the base stays frozen").with(LORA),
    Choice::new("full", "every tensor is trained"),
    Choice::new("last_layers", "only the last blocks are trained").with(&[Setting::new(
        "count",
        Kind::Integer { min: 1, max: 4096, unit: Some(Unit::Layers) },
        "how many",
    )
    .or("4")
    .aliases(&["freeze_trainable_layers", "finetune_last_n_layers", "num_layers"])
    .example("count = 4")]),
];

const DECAY: Setting = Setting::new(
    "decay",
    Kind::Choice(&[
        Choice::new("matrices", "weight decay spares norms, biases and embeddings"),
        Choice::new("all", "weight decay on every trained tensor"),
    ]),
    "what weight decay reaches",
)
.or("matrices");

const OPTIMIZERS: &[Choice] = &[
    Choice::new("adamw", "Adam with weight decay apart from the gradient").aliases(peers::ADAMW).with(&[
        Setting::new("betas", Kind::List { of: &SHARE, least: 2, most: 2 }, "decay of the two moments")
            .or("[0.9, 0.999]"),
        Setting::new("eps", Kind::POSITIVE, "added to the root of the second moment")
            .or("1e-8")
            .aliases(&["adam_epsilon", "epsilon"]),
        Setting::new("weight_decay", Kind::NON_NEGATIVE, "pulled towards zero by lr times this, each step")
            .or("0.01")
            .example("weight_decay = 0.01")
            .sweepable(),
        DECAY,
    ]),
    Choice::new("sgd", "gradient descent with momentum").with(&[
        Setting::new("momentum", SHARE, "share of the last update that is kept").or("0.9"),
        Setting::new("weight_decay", Kind::NON_NEGATIVE, "an L2 term in the gradient").or("0.0").sweepable(),
        Setting::new("nesterov", Kind::Bool, "look ahead along the momentum").or("off"),
        DECAY,
    ]),
];

const SCHEDULES: &[Choice] = &[
    Choice::new("constant", "stays at `lr`").with(&[WARMUP.or("0 steps")]),
    Choice::new("linear", "a straight line down").with(&[WARMUP.or("3%"), MIN]),
    Choice::new("cosine", "half a cosine down").with(&[WARMUP.or("3%"), MIN]),
    Choice::new("cosine_restarts", "several half cosines, each from `lr` again")
        .aliases(peers::COSINE_WITH_RESTARTS)
        .with(&[
            WARMUP.or("3%"),
            Setting::new("cycles", Kind::COUNT, "how many").or("2").aliases(&["num_cycles"]),
            MIN,
        ]),
    Choice::new("step", "multiplied by `factor` after each stretch").aliases(&["step_decay"]).with(&[
        WARMUP.or("0 steps"),
        Setting::new("every", STRETCH, "the stretch").or("30%").example("every = 100 steps"),
        Setting::new(
            "factor",
            Kind::Number(Bounds { min: 0.0, max: 1.0, open_min: true, open_max: false }),
            "the factor",
        )
        .or("0.5"),
    ]),
    Choice::new("cyclical", "up and down in triangles between `min` and `lr`").with(&[
        WARMUP.or("0 steps"),
        Setting::new("period", STRETCH, "length of one triangle").or("20%"),
        Setting::new("min", SHARE, "the lower end, as a share of `lr`").or("0.1"),
        Setting::new(
            "decay",
            Kind::Number(Bounds { min: 0.0, max: 1.0, open_min: true, open_max: false }),
            "each triangle is this much as high as the one before",
        )
        .or("1.0"),
    ]),
    Choice::new("wsd", "warmup, stable, then a decay at the end").aliases(peers::WSD).with(&[
        WARMUP.or("3%"),
        Setting::new("decay", STRETCH, "length of the decay").or("20%"),
        Setting::new(
            "shape",
            Kind::Choice(&[
                Choice::new("linear", "a straight line"),
                Choice::new("cosine", "half a cosine"),
                Choice::new("sqrt", "one minus a square root"),
            ]),
            "the curve of the decay",
        )
        .or("linear"),
        MIN,
    ]),
];

const FORM: Form = Form {
    name: "tune",
    summary: "names a fine-tune; the run begins at step 0 and trains when told (`step`, `run`)",
    usage: "tune NAME { … }",
    details: "A step is one optimizer step: `batch = 4 x 4` is four micro-batches of four sequences. The loss of a step \
              is the mean over its supervised tokens. The run keeps the model and data as they are now.",
    example: "tune a { model = base; data = chat; method = lora { rank = 16 }; lr = 2e-4 }",
    settings: SETTINGS,
    ..Form::NOUN
};

/// Everything that a fine-tune may say of itself; `set` and `fork` change most of it.
pub const SETTINGS: &[Setting] = &[
        Setting::new("model", Kind::Name(&[NameKind::Model]), "what is trained").example("model = base"),
        Setting::new("data", Kind::Name(&[NameKind::Data]), "what it is trained on; the part `train` of it")
            .example("data = chat"),
        Setting::new("method", Kind::Choice(METHODS), "which tensors are trained")
            .or("lora")
            .aliases(&["adapter", "finetuning_type"])
            .example("method = lora { rank = 16; alpha = 32 }"),
        Setting::new(
            "freeze",
            Kind::list(&Kind::Text),
            "kept frozen: `layers 0..3`, `embeddings`, `head`, `norms`, `attention`, `mlp`, or tensor names with `*`; \
             `not norms` trains them after all, and what stands later wins",
        )
        .optional()
        .example("freeze = [\"layers 0..3\", \"embeddings\"]"),
        Setting::new("optimizer", Kind::Choice(OPTIMIZERS), "how gradients become changes")
            .or("adamw")
            .aliases(peers::OPTIMIZER)
            .example("optimizer = adamw { weight_decay = 0.01 }"),
        Setting::new("lr", Kind::NON_NEGATIVE, "peak learning rate")
            .computed("2e-4 for lora, 2e-5 otherwise")
            .aliases(peers::LR)
            .example("lr = 2e-4")
            .sweepable(),
        Setting::new("schedule", Kind::Choice(SCHEDULES), "how the learning rate moves")
            .or("cosine { warmup = 3% }")
            .aliases(peers::SCHEDULE)
            .example("schedule = cosine { warmup = 3% }")
            .sweepable(),
        Setting::new("clip", Kind::AnyOf(&[Kind::None, Kind::POSITIVE]), "largest norm of all gradients together")
            .or("1.0")
            .aliases(peers::CLIP)
            .example("clip = 1.0"),
        Setting::new("batch", Kind::Batch, "sequences of a micro-batch x micro-batches of a step")
            .or("4 x 4")
            .misnomers(peers::BATCH_MISNOMERS)
            .example("batch = 4 x 4"),
        Setting::new(
            "epochs",
            Kind::Measure { units: &[Unit::Epochs], bare: Some(Unit::Epochs), bounds: Bounds::POSITIVE },
            "planned passes over the rows",
        )
        .computed("1, unless `steps` is given")
        .aliases(peers::EPOCHS)
        .example("epochs = 3"),
        Setting::new("steps", Kind::STEPS, "planned optimizer steps, instead of `epochs`")
            .optional()
            .aliases(peers::STEPS)
            .example("steps = 500"),
        Setting::new("seed", Kind::SEED, "seed of adapters, order and dropout").or("42").example("seed = 1"),
        Setting::new(
            "checkpointing",
            Kind::AnyOf(&[
                Kind::Bool,
                Kind::Choice(&[Choice::new("auto", "where they do not fit the free memory when the run begins")]),
            ]),
            "whether activations are computed twice instead of kept: the same numbers, less memory, more time",
        )
        .or("auto")
        .aliases(peers::CHECKPOINTING)
        .example("checkpointing = on"),
        Setting::new(
            "cuda_graph",
            Kind::Bool,
            "on a GPU, records a micro-batch once and plays it for each later one of its shape: the same numbers, sooner \
             where kernels are small; not with `dropout`, rows packed from several examples, or `checkpointing`",
        )
        .or("off")
        .aliases(peers::CUDA_GRAPH)
        .example("cuda_graph = on"),
        Setting::new("eval_every", EVERY, "evaluates on the part `validation` this often")
            .or("none")
            .translated(&[Translated { name: "eval_steps", bare: Some(Unit::Steps), values: &[] }])
            .example("eval_every = 50 steps"),
        Setting::new("save_every", EVERY, "writes a checkpoint this often")
            .or("none")
            .translated(&[Translated { name: "save_steps", bare: Some(Unit::Steps), values: &[] }])
            .example("save_every = 50 steps"),
        Setting::new("keep_best", Kind::Bool, "keeps a checkpoint of the best evaluation")
            .or("off")
            .aliases(&["load_best_model_at_end"]),
        Setting::new(
            "early_stopping",
            Kind::AnyOf(&[
                Kind::None,
                Kind::Choice(&[Choice::new("after", "stops when evaluations stop getting better").with(&[
                    Setting::new("patience", Kind::COUNT, "evaluations without progress").or("3"),
                    Setting::new("min_delta", Kind::NON_NEGATIVE, "what counts as progress").or("0.0"),
                ])]),
            ]),
            "whether `run` stops early",
        )
        .or("none")
        .example("early_stopping = after { patience = 3 }"),
        Setting::new(
            "snapshots",
            Kind::AnyOf(&[
                Kind::None,
                Kind::Measure { units: &[Unit::Bytes], bare: None, bounds: Bounds::NON_NEGATIVE },
            ]),
            "host memory for going back at once; older snapshots are thinned out",
        )
        .computed("4GiB, or a quarter of the free memory if that is less")
        .example("snapshots = 2GiB"),
    ];

struct Define(TuneDefinition);

impl Action for Define {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        session.define_run(self.0.clone(), out)
    }
}

fn check(name: &str, settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let definition = define(name, settings, checking)?;
    if let Some(earlier) = checking.outline.run(name)
        && checking.outline.has_started(name)
        && !same(&earlier.settings, &definition.settings)
    {
        checking.report(
            Diagnostic::error(
                codes::RUN_STARTED,
                format!("run `{name}` has taken steps and cannot be described anew"),
            )
            .at(checking.span)
            .note(ways_on(name)),
        );
        return None;
    }
    checking.outline.define_run(definition.clone());
    Some(Box::new(Define(definition)))
}

fn define(name: &str, settings: Settings, checking: &mut Checking) -> Option<TuneDefinition> {
    let model = checking.outline.model(settings.word("model"))?;
    let data = checking.outline.data(settings.word("data"))?;
    if let Some(members) = sweep_members(&settings) {
        // A family is planned, not stepped; its first member shows what a member is like.
        rules(&members[0].1, &recipe(&members[0].1), &model, &data, checking);
        let members = members.into_iter().map(|(text, settings)| Member { text, recipe: recipe(&settings) });
        let family = Family { members: members.collect() };
        let recipe = family.members[0].recipe.clone();
        let family = Some(family);
        let blocks = checking.outline.blocks_of(&recipe, &data);
        return Some(TuneDefinition {
            name: name.to_string(),
            model,
            data,
            recipe,
            settings,
            blocks,
            family,
        });
    }
    let recipe = recipe(&settings);
    let before = checking.diagnostics.len();
    rules(&settings, &recipe, &model, &data, checking);
    if checking.diagnostics[before..].iter().any(Diagnostic::is_error) {
        return None;
    }
    let settings = resolved(settings, &recipe);
    let blocks = checking.outline.blocks_of(&recipe, &data);
    Some(TuneDefinition { name: name.to_string(), model, data, recipe, settings, blocks, family: None })
}
