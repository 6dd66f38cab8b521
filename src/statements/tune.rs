//! `tune NAME { … }`: a fine-tune as resolved values; the run begins at step 0 and takes steps when told.

use crate::events::{Diagnostic, Out, Span};
use crate::language::codes;
use crate::language::peers;
use crate::language::schema::{Bounds, Choice, Form, Kind, Setting, Translated};
use crate::language::scope::NameKind;
use crate::language::value::{Origin, Resolved, Settings, Value, plain_number};
use crate::model::config::LINEAR_MODULES;
use crate::model::lora::LoraSettings;
use crate::model::peft;
use crate::session::Session;
use crate::session::definitions::{DataDefinition, Family, ModelDefinition, TuneDefinition, same};
use crate::statements::{Action, Check, Checking, Statement};
use crate::train::recipe::{
    Batch, Decay, DecayShape, EarlyStopping, Every, Length, Method, Optimizer, Recipe, Schedule, Selection,
};
use crate::units::Unit;
use std::path::{Path, PathBuf};

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
    settings: &[
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
            "kept frozen: `layers 0..3`, `embeddings`, `head`, `norms`, `attention`, `mlp`, or tensor names with `*`",
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
    ],
    ..Form::NOUN
};

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
            .note(format!("give the new fine-tune another name, such as `tune {name}2 {{ … }}`")),
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
        let recipe = recipe(&first_member(&settings));
        let family = Some(Family { members });
        return Some(TuneDefinition { name: name.to_string(), model, data, recipe, settings, family });
    }
    let recipe = recipe(&settings);
    let before = checking.diagnostics.len();
    rules(&settings, &recipe, &model, &data, checking);
    if checking.diagnostics[before..].iter().any(Diagnostic::is_error) {
        return None;
    }
    let settings = resolved(settings, &recipe);
    Some(TuneDefinition { name: name.to_string(), model, data, recipe, settings, family: None })
}

/// The settings with what is computed from others filled in, so that `show` and the run's folder say every value.
fn resolved(mut settings: Settings, recipe: &Recipe) -> Settings {
    fn fill(settings: &mut Settings, name: &str, value: Value) {
        if settings.get(name).is_none() {
            settings.insert(name, value, Origin::Default);
        }
    }
    fill(&mut settings, "lr", Value::Number(recipe.lr));
    if let Length::Epochs(epochs) = recipe.length {
        fill(&mut settings, "epochs", Value::Measure { number: epochs, unit: Unit::Epochs });
    }
    if let Method::Lora { settings: lora, from } = &recipe.method
        && let Some(Resolved { value: Value::Choice { word, settings: inner }, origin, .. }) =
            settings.resolved("method")
    {
        let (word, mut inner, origin) = (word.clone(), inner.clone(), *origin);
        if from.is_some() {
            inner.remove("rank");
            inner.remove("rank_stabilized");
        } else {
            fill(&mut inner, "alpha", Value::Number(lora.alpha));
            let targets = lora.targets.iter().map(|target| Value::Text(target.clone())).collect();
            fill(&mut inner, "targets", Value::List(targets));
        }
        settings.insert("method", Value::Choice { word, settings: inner }, origin);
    }
    settings
}

/// The recipe that checked settings describe.
pub fn recipe(settings: &Settings) -> Recipe {
    let method = method(settings);
    let mut recipe = Recipe::new(method);
    if let Some(lr) = settings.maybe_number("lr") {
        recipe.lr = lr;
    }
    recipe.freeze = settings.words("freeze").into_iter().map(Selection::freeze).collect();
    recipe.optimizer = optimizer(settings);
    let (schedule, warmup) = schedule(settings);
    recipe.schedule = schedule;
    recipe.warmup = warmup;
    recipe.clip = settings.maybe_number("clip");
    let (micro, accumulate) = settings.batch("batch");
    recipe.batch = Batch { micro: micro as usize, accumulate: accumulate as usize };
    recipe.length = match (settings.maybe_integer("steps"), settings.maybe_number("epochs")) {
        (Some(steps), _) => Length::Steps(steps as u64),
        (None, epochs) => Length::Epochs(epochs.unwrap_or(1.0)),
    };
    recipe.seed = settings.integer("seed") as u64;
    recipe.eval_every = every(settings, "eval_every");
    recipe.save_every = every(settings, "save_every");
    recipe.keep_best = settings.flag("keep_best");
    recipe.early_stopping = settings.maybe_choice("early_stopping").map(|(_, stopping)| EarlyStopping {
        patience: stopping.integer("patience") as u64,
        min_delta: stopping.number("min_delta"),
    });
    recipe
}

fn method(settings: &Settings) -> Method {
    match settings.choice("method") {
        ("full", _) => Method::Full,
        ("last_layers", inner) => Method::LastLayers { count: inner.integer("count") as usize },
        (_, inner) => {
            let rank = inner.integer("rank");
            let mut targets = inner.words("targets");
            if targets.is_empty() {
                targets = LINEAR_MODULES.map(String::from).to_vec();
            }
            let settings = LoraSettings {
                rank,
                alpha: inner.maybe_number("alpha").unwrap_or(2.0 * rank as f64),
                dropout: inner.number("dropout"),
                targets,
                rank_stabilized: inner.flag("rank_stabilized"),
            };
            Method::Lora { settings, from: inner.maybe_text("from").map(PathBuf::from) }
        }
    }
}

fn optimizer(settings: &Settings) -> Optimizer {
    let (word, inner) = settings.choice("optimizer");
    let decay = if inner.word("decay") == "all" { Decay::All } else { Decay::Matrices };
    let weight_decay = inner.number("weight_decay");
    if word == "sgd" {
        let (momentum, nesterov) = (inner.number("momentum"), inner.flag("nesterov"));
        return Optimizer::Sgd { momentum, weight_decay, nesterov, decay };
    }
    let beta = |index: usize| match &inner.list("betas")[index] {
        Value::Number(beta) => *beta,
        Value::Integer(beta) => *beta as f64,
        other => unreachable!("the schema promises numbers for `betas`, found {other:?}"),
    };
    Optimizer::AdamW { betas: (beta(0), beta(1)), eps: inner.number("eps"), weight_decay, decay }
}

fn schedule(settings: &Settings) -> (Schedule, Length) {
    let (word, inner) = settings.choice("schedule");
    let stretch = |name: &str| length(inner.measure(name));
    let min = || inner.number("min");
    let schedule = match word {
        "constant" => Schedule::Constant,
        "linear" => Schedule::Linear { min: min() },
        "cosine_restarts" => Schedule::CosineRestarts { cycles: inner.integer("cycles") as u64, min: min() },
        "step" => Schedule::StepDecay { every: stretch("every"), factor: inner.number("factor") },
        "cyclical" => {
            Schedule::Cyclical { period: stretch("period"), min: min(), decay: inner.number("decay") }
        }
        "wsd" => {
            let shape = match inner.word("shape") {
                "cosine" => DecayShape::Cosine,
                "sqrt" => DecayShape::Sqrt,
                _ => DecayShape::Linear,
            };
            Schedule::Wsd { decay: stretch("decay"), shape, min: min() }
        }
        _ => Schedule::Cosine { min: min() },
    };
    (schedule, stretch("warmup"))
}

fn length((number, unit): (f64, Unit)) -> Length {
    match unit {
        Unit::Epochs => Length::Epochs(number),
        Unit::Percent => Length::Percent(number),
        _ => Length::Steps(number as u64),
    }
}

fn every(settings: &Settings, name: &str) -> Option<Every> {
    let (number, unit) = settings.maybe_measure(name)?;
    Some(match unit {
        Unit::Epochs => Every::Epochs(number),
        Unit::Seconds => Every::Seconds(number),
        _ => Every::Steps((number as u64).max(1)),
    })
}

/// What settings that are each legal mean together. More rules come with the model and data in hand, in `plan`.
fn rules(
    settings: &Settings,
    recipe: &Recipe,
    model: &ModelDefinition,
    data: &DataDefinition,
    checking: &mut Checking,
) {
    let place = |name: &str| settings.span(name).unwrap_or(checking.span);
    let mut found = vec![];
    if let Err(error) = recipe.check() {
        found.push(Diagnostic::error(codes::RECIPE, error.to_string()).at(checking.span));
    }
    if settings.is_given("steps") && settings.is_given("epochs") {
        found.push(
            Diagnostic::error(codes::CONTRADICTION, "both `steps` and `epochs` are given")
                .label(place("steps"), "planned steps")
                .label(place("epochs"), "planned epochs")
                .note("keep one of them: a run has one planned end"),
        );
    }
    if let Method::Lora { settings: lora, from } = &recipe.method {
        lora_rules(settings, lora, from.as_deref(), model, &place, checking, &mut found);
    }
    if let (Method::LastLayers { count }, Some(config)) = (&recipe.method, &model.config)
        && *count as i64 > config.num_hidden_layers
    {
        found.push(
            Diagnostic::error(
                codes::TOO_MANY_LAYERS,
                format!(
                    "`last_layers` asks for {count} layers and the model has {}",
                    config.num_hidden_layers
                ),
            )
            .at(place("method")),
        );
    }
    if let Some(config) = &model.config
        && data.settings.is_given("max_len")
        && data.specification.max_len as i64 > config.max_position_embeddings
    {
        found.push(
            Diagnostic::warning(
                codes::BEYOND_CONTEXT,
                format!(
                    "`max_len` of `{}` is {} tokens and model `{}` is made for {}",
                    data.name, data.specification.max_len, model.name, config.max_position_embeddings
                ),
            )
            .at(place("data"))
            .note(format!("write `max_len = {} tokens` or less", config.max_position_embeddings)),
        );
    }
    let validation = data.specification.split.len() > 1;
    let wants_validation = [
        (recipe.eval_every.is_some(), "eval_every"),
        (recipe.keep_best, "keep_best"),
        (recipe.early_stopping.is_some(), "early_stopping"),
    ];
    for (wanted, name) in wants_validation {
        if wanted && !validation {
            found.push(
                Diagnostic::error(
                    codes::NO_VALIDATION,
                    format!("`{name}` needs a part `validation`, and data `{}` has none", data.name),
                )
                .at(place(name))
                .note(format!("write `split = 95% / 5%` in `data {}`", data.name)),
            );
        } else if wanted && name != "eval_every" && recipe.eval_every.is_none() {
            found.push(
                Diagnostic::error(codes::NO_EFFECT, format!("`{name}` has no effect without `eval_every`"))
                    .at(place(name))
                    .note("write, for example, `eval_every = 50 steps`"),
            );
        }
    }
    let usual = if matches!(recipe.method, Method::Lora { .. }) { (1e-5, 3e-3) } else { (1e-7, 3e-4) };
    if settings.is_given("lr") && recipe.lr > 0.0 && (recipe.lr < usual.0 || recipe.lr > usual.1) {
        let method = settings.word("method");
        found.push(
            Diagnostic::warning(
                codes::ODD_LR,
                format!(
                    "`lr = {}` is far from what `{method}` usually takes ({:e} to {:e})",
                    plain_number(recipe.lr),
                    usual.0,
                    usual.1
                ),
            )
            .at(place("lr")),
        );
    }
    found.into_iter().for_each(|diagnostic| checking.report(diagnostic));
}

fn lora_rules(
    settings: &Settings,
    lora: &LoraSettings,
    from: Option<&Path>,
    model: &ModelDefinition,
    place: &dyn Fn(&str) -> Span,
    checking: &Checking,
    found: &mut Vec<Diagnostic>,
) {
    let (_, inner) = settings.choice("method");
    let inner_place = |name: &str| inner.span(name).unwrap_or(place("method"));
    if let Some(from) = from {
        if !checking.outline.exists(from) {
            found.push(
                Diagnostic::error(
                    codes::MISSING_FILE,
                    format!("there is no PEFT folder `{}`", from.display()),
                )
                .at(inner_place("from"))
                .note("give the folder that holds adapter_config.json"),
            );
        } else if from.exists()
            && let Err(error) = peft::read_config(from)
        {
            found.push(
                Diagnostic::error(codes::MODEL_FILE, crate::session::sentence(&error))
                    .at(inner_place("from")),
            );
        }
        for name in ["rank", "alpha", "targets"] {
            if inner.is_given(name) {
                found.push(
                    Diagnostic::error(codes::NO_EFFECT, format!("`{name}` has no effect with `from`"))
                        .at(inner_place(name))
                        .note("rank, alpha and targets are those of the adapter that is continued"),
                );
            }
        }
        return;
    }
    for target in &lora.targets {
        if !LINEAR_MODULES.contains(&target.as_str()) && target != "lm_head" && target != "embed_tokens" {
            let nearest = LINEAR_MODULES.iter().max_by(|left, right| {
                strsim::jaro_winkler(left, target).total_cmp(&strsim::jaro_winkler(right, target))
            });
            let nearest = nearest.copied().unwrap_or(LINEAR_MODULES[0]);
            found.push(
                Diagnostic::error(
                    codes::NO_SUCH_TARGET,
                    format!("target `{target}` matches no linear of a Llama"),
                )
                .at(inner_place("targets"))
                .note(format!("did you mean `{nearest}`? There are {}", LINEAR_MODULES.join(", "))),
            );
        }
    }
    let Some(config) = &model.config else { return };
    if config.tie_word_embeddings
        && let Some(tied) =
            lora.targets.iter().find(|target| matches!(target.as_str(), "lm_head" | "embed_tokens"))
    {
        found.push(
            Diagnostic::error(
                codes::TIED_TARGET,
                format!(
                    "target `{tied}` is tied: the embedding and the head of model `{}` are one tensor",
                    model.name
                ),
            )
            .at(inner_place("targets"))
            .note("an adapter on one of them could not be merged; leave it out"),
        );
    }
    let narrowest =
        config.hidden_size.min(config.intermediate_size).min(config.num_key_value_heads * config.head_dim);
    if lora.rank > narrowest {
        found.push(
            Diagnostic::error(
                codes::RANK_TOO_LARGE,
                format!("`rank` is {} and the narrowest target matrix is {narrowest} wide", lora.rank),
            )
            .at(inner_place("rank"))
            .note(format!("write `rank = {narrowest}` or less; 8 to 64 are usual")),
        );
    }
}

/// The members of a family, if any setting holds a sweep: every combination, in order.
fn sweep_members(settings: &Settings) -> Option<Vec<String>> {
    let mut members = vec![String::new()];
    for (name, values) in &sweeps(settings) {
        members = members
            .iter()
            .flat_map(|member| {
                values.iter().map(move |value| {
                    let separator = if member.is_empty() { "" } else { ", " };
                    format!("{member}{separator}{name} = {}", value.to_ltune())
                })
            })
            .collect();
    }
    (members != [""]).then_some(members)
}

fn sweeps(settings: &Settings) -> Vec<(String, Vec<Value>)> {
    let mut found = vec![];
    for (name, resolved) in settings.iter() {
        match &resolved.value {
            Value::Sweep(values) => found.push((name.to_string(), values.clone())),
            Value::Choice { settings, .. } => found.extend(sweeps(settings)),
            _ => {}
        }
    }
    found
}

fn first_member(settings: &Settings) -> Settings {
    let mut member = Settings::new();
    for (name, resolved) in settings.iter() {
        let value = match &resolved.value {
            Value::Sweep(values) => values.first().cloned().unwrap_or(Value::None),
            Value::Choice { word, settings } => {
                Value::Choice { word: word.clone(), settings: first_member(settings) }
            }
            other => other.clone(),
        };
        member.insert(name, value, resolved.origin);
    }
    member
}
