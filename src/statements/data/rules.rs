//! What the settings of a `data` mean together: settings that its rows do not heed, roles and templates that are none.

use crate::data::shape::Shape;
use crate::data::specification::{From, LossOn, OverLength, Specification};
use crate::data::template::ChatTemplate;
use crate::events::Diagnostic;
use crate::language::codes;
use crate::language::suggest::{all_of, alternatives, nearest};
use crate::language::value::{Settings, Value};
use crate::session::written::Written;
use crate::statements::Checking;
use std::path::Path;

/// The roles of the usual chats.
const ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];

/// Reports everything that is told by the settings and the shape of the first rows.
pub fn rules(
    settings: &Settings,
    specification: &Specification,
    shape: Option<Shape>,
    checking: &mut Checking,
) {
    let written = Written { settings, span: Some(checking.span) };
    let mut found = vec![];
    match (&specification.from, shape) {
        (From::Random { length, .. }, _) => found.extend(random(&written, specification, *length)),
        (From::Path(_), Some(shape)) => found.extend(idle(&written, specification, shape)),
        _ => {}
    }
    found.extend(seed(&written, specification));
    found.extend(roles(&written, specification, shape));
    found.extend(template(&written, specification, shape, checking));
    found.into_iter().for_each(|diagnostic| checking.report(diagnostic));
}

/// Rows that are made are not read.
fn random(written: &Written, specification: &Specification, length: usize) -> Vec<Diagnostic> {
    let unheeded = ["columns", "format", "limit", "too_long", "loss_on", "eos", "template", "transform"];
    let mut found = no_effects(&unheeded, "random rows", written, specification);
    let max_len = written.settings.maybe_integer("max_len").unwrap_or(i64::MAX);
    if max_len < length as i64 && max_len != Specification::new(From::Path("".into())).max_len as i64 {
        let message = format!("`max_len` of {max_len} tokens does not cut random rows of {length}");
        let diagnostic = written.at("max_len", Diagnostic::error(codes::NO_EFFECT, message));
        found.push(diagnostic.note("`length` says how long they are"));
    }
    found
}

/// Settings that rows of this shape do not heed.
fn idle(written: &Written, specification: &Specification, shape: Shape) -> Vec<Diagnostic> {
    let (rows, unheeded) = match shape {
        Shape::Text => {
            ("texts: they are cut into blocks and learned whole", ["loss_on", "template", "too_long"])
        }
        Shape::Ids => ("rows of token ids: they are as their `labels` say", ["loss_on", "template", "eos"]),
        _ => return vec![],
    };
    no_effects(&unheeded, rows, written, specification)
}

/// Of these settings, those that are not as by default: what says the default over again does no harm.
fn no_effects(
    names: &[&str],
    rows: &str,
    written: &Written,
    specification: &Specification,
) -> Vec<Diagnostic> {
    let changed = |name: &str| match name {
        "columns" => !specification.columns.is_empty(),
        "format" => specification.format.is_some(),
        "limit" => specification.rows_limit.is_some(),
        "too_long" => specification.over_length != OverLength::Cut,
        "loss_on" => matches!(specification.loss_on, LossOn::Roles(_)),
        "eos" => !specification.eos,
        "transform" => written.settings.maybe_word("transform").is_some(),
        _ => specification.template.as_ref().is_some_and(|template| template != "none"),
    };
    let given = names.iter().filter(|name| written.is_given(name) && changed(name));
    given.map(|name| no_effect(written, name, rows)).collect()
}

fn no_effect(written: &Written, name: &str, rows: &str) -> Diagnostic {
    let message = format!("`{name}` has no effect on {rows}");
    written.at(name, Diagnostic::error(codes::NO_EFFECT, message)).note("leave it out")
}

/// The seed of the data draws its split and its random rows; the order of training is the run's.
fn seed(written: &Written, specification: &Specification) -> Option<Diagnostic> {
    let draws = matches!(specification.from, From::Random { .. })
        || (specification.shuffle && specification.split.len() > 1);
    let default = Specification::new(From::Path("".into())).seed;
    if draws || !written.is_given("seed") || specification.seed == default {
        return None;
    }
    let why = if specification.shuffle {
        "there is no split to draw"
    } else {
        "the split is in the order of the rows"
    };
    let message = format!("`seed` of the data has no effect: {why}");
    let diagnostic = written.at("seed", Diagnostic::warning(codes::NO_EFFECT, message));
    Some(diagnostic.note("the order of training is drawn with the `seed` of the run"))
}

fn roles(written: &Written, specification: &Specification, shape: Option<Shape>) -> Option<Diagnostic> {
    let LossOn::Roles(roles) = &specification.loss_on else { return None };
    let misspelt = |role: &&String| !ROLES.contains(&role.as_str()) && nearest(role, ROLES).is_some();
    if let Some(role) = roles.iter().find(misspelt) {
        let near = nearest(role, ROLES).unwrap_or("assistant");
        let message = format!("`loss_on` names the role `{role}`, which looks like `{near}`");
        let mended = |known: &String| Value::Text(if known == role { near.into() } else { known.clone() });
        let list = Value::List(roles.iter().map(mended).collect());
        let diagnostic = written.at("loss_on", Diagnostic::warning(codes::UNKNOWN_ROLE, message));
        return Some(written.mend("loss_on", &list, diagnostic));
    }
    let has: &[&str] = match shape? {
        Shape::Completion | Shape::Labelled => &["user", "assistant"],
        Shape::Instruction => &["system", "user", "assistant"],
        _ => return None,
    };
    if roles.iter().any(|role| has.contains(&role.as_str())) {
        return None;
    }
    let message = format!("no token would be supervised: `loss_on` names {}", all_of(roles));
    let note = format!("rows of shape {} have the roles {}", shape?.name(), all_of(has));
    Some(written.at("loss_on", Diagnostic::error(codes::NOTHING_SUPERVISED, message)).note(note))
}

fn template(
    written: &Written,
    specification: &Specification,
    shape: Option<Shape>,
    checking: &Checking,
) -> Option<Diagnostic> {
    let name = specification.template.as_deref()?;
    let at = |message: String| written.at("template", Diagnostic::error(codes::NO_TEMPLATE, message));
    if name == "none" {
        let is_chat = matches!(shape, Some(Shape::Messages | Shape::Conversations));
        let message =
            "`template = none` cannot be: these rows are chats, which become tokens through a template";
        return is_chat
            .then(|| at(message.to_string()).note("leave it out for the tokenizer's own, or name one"));
    }
    let is_jinja = name.contains("{%") || name.contains("{{");
    let is_file = name.ends_with(".jinja") || checking.outline.exists(Path::new(name));
    if is_jinja || is_file || ChatTemplate::built_in(name).is_some() {
        return None;
    }
    let known: Vec<&str> = crate::data::template::BUILT_IN.iter().map(|(name, _)| *name).collect();
    let diagnostic = at(format!("`{name}` is no chat template: no known one, no file and no Jinja"));
    Some(match nearest(name, known.iter().copied()) {
        Some(near) => written.mend("template", &Value::Text(near.into()), diagnostic),
        None => diagnostic.note(format!("write {}, or the path of a .jinja file", alternatives(&known))),
    })
}
