//! `data NAME { … }`: which rows, how they become tokens, and which tokens are trained on.

mod rules;

use crate::data::peek::{Peek, first_columns, peek};
use crate::data::specification::{Format, From, LossOn, OverLength, Specification};
use crate::events::{Diagnostic, Out};
use crate::files::samples;
use crate::language::codes;
use crate::language::peers;
use crate::language::schema::{Choice, Default, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::{Settings, Value};
use crate::session::Session;
use crate::session::definitions::{DataDefinition, DataOrigin};
use crate::statements::data::rules::rules;
use crate::statements::{Action, Check, Checking, Statement};
use crate::units::Unit;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Definition(check) };

const TOKENS: Kind = Kind::Integer { min: 2, max: 1 << 24, unit: Some(Unit::Tokens) };

const FORM: Form = Form {
    name: "data",
    summary: "names a data set: where rows come from and how they become examples",
    usage: "data NAME { … }",
    details: "The format is detected, and the meaning of columns is recognised by their names: `text`; \
              `instruction`/`input`/`output`; `prompt`/`completion`; `messages`; `conversations`; `text`/`label`; \
              `input_ids`/`labels`. `columns` maps others. Empty rows, exact duplicates and invalid UTF-8 are dropped \
              and counted; a row with nothing to train on is an error that names it.",
    example: "data chat { from = \"aclsum\"; max_len = 512 tokens }",
    settings: &[
        Setting::new(
            "from",
            Kind::AnyOf(&[
                Kind::Choice(&[Choice::new("random", "random token ids, for benchmarks")]),
                Kind::Path,
            ]),
            "a file, a folder of files, a known sample (`ltune samples`), or `random`",
        )
        .aliases(&["dataset", "data_files", "path"])
        .example("from = \"chat.jsonl\""),
        Setting::new(
            "format",
            Kind::Choice(&[
                Choice::new("auto", "by the file's name and first bytes"),
                Choice::new("text", "one document a file, cut into blocks of `max_len` tokens"),
                Choice::new("csv", "comma-separated values with a header"),
                Choice::new("tsv", "tab-separated values with a header"),
                Choice::new("json", "one list of objects"),
                Choice::new("jsonl", "one object a line"),
                Choice::new("parquet", "Parquet"),
            ]),
            "how the file holds its rows",
        )
        .or("auto")
        .example("format = text"),
        Setting::new("columns", Kind::Columns, "which column means what")
            .optional()
            .aliases(&["column_mapping"])
            .example("columns = { prompt = \"question\"; completion = \"answer\" }"),
        Setting::new(
            "split",
            Kind::AnyOf(&[Kind::None, Kind::Split]),
            "shares of train, validation and test; `none` leaves everything in train",
        )
        .or("95% / 5%")
        .example("split = 90% / 5% / 5%"),
        Setting::new("shuffle", Kind::Bool, "whether rows are drawn in a new order each epoch").or("on"),
        Setting::new(
            "seed",
            Kind::SEED,
            "seed of the split and of random rows; the order of training has the run's",
        )
        .or("42")
        .aliases(&["data_seed"]),
        Setting::new("max_len", TOKENS, "longest example")
            .or("1024 tokens")
            .aliases(peers::MAX_LEN)
            .example("max_len = 512 tokens"),
        Setting::new(
            "too_long",
            Kind::Choice(&[
                Choice::new("cut", "keep the first `max_len` tokens"),
                Choice::new("drop", "leave the row out"),
                Choice::new("error", "stop and name the row"),
            ]),
            "what happens to a row of more than `max_len` tokens; it is counted either way",
        )
        .or("cut")
        .example("too_long = drop"),
        Setting::new("packing", Kind::Bool, "several examples in one sequence, none of which sees another")
            .or("off")
            .aliases(peers::PACKING)
            .example("packing = on"),
        Setting::new(
            "loss_on",
            Kind::AnyOf(&[
                Kind::Choice(&[
                    Choice::new("completion", "what the model is to write: completions, assistant messages"),
                    Choice::new("all", "every token"),
                ]),
                Kind::list(&Kind::Text),
            ]),
            "which tokens are targets; a list names roles of a chat",
        )
        .or("completion")
        .translated(peers::LOSS_ON)
        .example("loss_on = all"),
        Setting::new("eos", Kind::Bool, "whether an end-of-text token closes each document or completion")
            .or("on"),
        Setting::new(
            "template",
            Kind::AnyOf(&[Kind::None, Kind::Text]),
            "chat template: a .jinja file, Jinja, or `none`",
        )
        .default(Default::Computed("the tokenizer's own"))
        .aliases(&["chat_template"])
        .example("template = \"chat.jinja\""),
        Setting::new(
            "transform",
            Kind::Name(&[NameKind::Transform]),
            "what each row goes through before its columns are understood: a function of a `rust` block",
        )
        .optional()
        .aliases(&["preprocess", "map_fn"])
        .example("transform = clean"),
        Setting::new(
            "limit",
            Kind::Integer { min: 1, max: i64::MAX, unit: Some(Unit::Rows) },
            "reads no more rows than this",
        )
        .optional()
        .aliases(&["max_samples", "max_rows"])
        .example("limit = 1000 rows"),
        Setting::new(
            "rows",
            Kind::Integer { min: 1, max: 1 << 32, unit: Some(Unit::Rows) },
            "rows of `from = random`",
        )
        .optional()
        .example("rows = 1000"),
        Setting::new("length", TOKENS, "tokens a row of `from = random`")
            .optional()
            .example("length = 512 tokens"),
    ],
    ..Form::NOUN
};

struct Define(DataDefinition);

impl Action for Define {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        session.define_data(self.0.clone(), out);
        Ok(())
    }
}

fn check(name: &str, settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let definition = define(name, settings, checking)?;
    checking.outline.define_data(definition.clone());
    Some(Box::new(Define(definition)))
}

fn define(name: &str, settings: Settings, checking: &mut Checking) -> Option<DataDefinition> {
    if let Some(Value::Choice { .. }) = settings.get("from") {
        return random(name, settings, checking);
    }
    if let Some(stray) = ["rows", "length"].into_iter().find(|stray| settings.is_given(stray)) {
        let place = checking.place(&settings, stray);
        checking.report(
            Diagnostic::error(
                codes::NO_EFFECT,
                format!("`{stray}` has no effect on rows that are read from a file"),
            )
            .at(place)
            .note("`limit` reads fewer rows, `max_len` cuts them; `from = random` makes rows"),
        );
        return None;
    }
    let from = settings.text("from").to_string();
    let place = checking.place(&settings, "from");
    let mut specification = specification(&settings, From::Path(PathBuf::from(&from)));
    let transform = settings.maybe_word("transform");
    let origin = match origin(&from, &specification, transform, checking) {
        Ok(origin) => origin,
        Err(diagnostic) => {
            checking.report(diagnostic.at(place));
            return None;
        }
    };
    if let Some(template) = settings.maybe_text("template")
        && template.ends_with(".jinja")
        && !checking.outline.exists(Path::new(template))
    {
        let place = checking.place(&settings, "template");
        checking.report(
            Diagnostic::error(codes::MISSING_FILE, format!("there is no chat template `{template}`"))
                .at(place),
        );
        return None;
    }
    let shape = match origin {
        DataOrigin::Path { shape } => shape,
        _ => None,
    };
    rules(&settings, &specification, shape, checking);
    if let DataOrigin::Sample { .. } = origin {
        specification.format = Some(Format::Jsonl); // samples are converted to it when they are fetched
    }
    let block = settings.maybe_word("transform").and_then(|name| checking.outline.block(name)).cloned();
    Some(DataDefinition { name: name.to_string(), origin, specification, settings, block })
}

fn random(name: &str, settings: Settings, checking: &mut Checking) -> Option<DataDefinition> {
    let (Some(rows), Some(length)) = (settings.maybe_integer("rows"), settings.maybe_integer("length"))
    else {
        let place = checking.place(&settings, "from");
        checking.report(
            Diagnostic::error(codes::MISSING_SETTING, "`from = random` needs `rows` and `length`")
                .at(place)
                .note("for example `rows = 1000; length = 512 tokens`"),
        );
        return None;
    };
    let seed = settings.integer("seed") as u64;
    let from = From::Random { rows: rows as usize, length: length as usize, seed };
    let mut specification = specification(&settings, from);
    specification.max_len = specification.max_len.max(length as usize);
    rules(&settings, &specification, None, checking);
    let (name, origin) = (name.to_string(), DataOrigin::Random);
    Some(DataDefinition { name, origin, specification, settings, block: None })
}

fn specification(settings: &Settings, from: From) -> Specification {
    let columns: BTreeMap<String, String> = match settings.maybe("columns") {
        Some(Value::Columns(columns)) => columns.iter().cloned().collect(),
        _ => BTreeMap::new(),
    };
    let split = match settings.maybe("split") {
        Some(Value::Split(shares)) => shares.clone(),
        _ => vec![1.0],
    };
    let loss_on = match settings.maybe("loss_on") {
        Some(Value::Choice { word, .. }) if word == "all" => LossOn::All,
        Some(Value::List(_)) => LossOn::Roles(settings.words("loss_on")),
        _ => LossOn::Completion,
    };
    let template = match settings.get("template") {
        Some(Value::None) => Some("none".to_string()),
        _ => settings.maybe_text("template").map(String::from),
    };
    Specification {
        from,
        format: Format::parse(settings.word("format")),
        columns,
        split,
        shuffle: settings.flag("shuffle"),
        max_len: settings.integer("max_len") as usize,
        over_length: match settings.word("too_long") {
            "drop" => OverLength::Drop,
            "error" => OverLength::Error,
            _ => OverLength::Cut,
        },
        packing: settings.flag("packing"),
        loss_on,
        eos: settings.flag("eos"),
        seed: settings.integer("seed") as u64,
        template,
        rows_limit: settings.maybe_integer("limit").map(|limit| limit as usize),
    }
}

/// A file is looked into (header and first rows); a sample is known by its name.
fn origin(
    from: &str,
    specification: &Specification,
    transform: Option<&str>,
    checking: &Checking,
) -> Result<DataOrigin, Diagnostic> {
    let path = Path::new(from);
    if path.exists() && transform.is_some() {
        // What the columns will be, is known when the transform runs.
        first_columns(path)
            .map_err(|error| Diagnostic::error(codes::DATA_FILE, crate::session::sentence(&error)))?;
        return Ok(DataOrigin::Path { shape: None });
    }
    if path.exists() {
        let Peek { shape, .. } = peek(specification)
            .map_err(|error| Diagnostic::error(codes::DATA_FILE, crate::session::sentence(&error)))?;
        return Ok(DataOrigin::Path { shape: Some(shape) });
    }
    if checking.outline.exists(path) {
        return Ok(DataOrigin::Path { shape: None });
    }
    let Some(sample) = samples::find(from) else {
        let known: Vec<&str> = samples::SAMPLES
            .iter()
            .filter(|sample| sample.kind == samples::SampleKind::Data)
            .map(|sample| sample.name)
            .collect();
        return Err(Diagnostic::error(codes::MISSING_FILE, format!("there is no file or folder `{from}`"))
            .note(format!(
                "paths are relative to the working directory; known samples: {}",
                known.join(", ")
            )));
    };
    if sample.kind != samples::SampleKind::Data {
        return Err(Diagnostic::error(codes::MISSING_FILE, format!("`{from}` is a model sample, not data"))
            .note("use it in `model NAME { from = … }`"));
    }
    let outline = samples::outline(sample);
    if let Some((meaning, column)) =
        specification.columns.iter().find(|(_, column)| !outline.columns.contains(&column.as_str()))
        && transform.is_none()
    {
        return Err(Diagnostic::error(
            codes::DATA_FILE,
            format!(
                "sample `{from}` has no column `{column}` (for `{meaning}`); it has {}",
                outline.columns.join(", ")
            ),
        ));
    }
    Ok(DataOrigin::Sample { name: from.to_string() })
}
