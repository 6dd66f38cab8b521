//! Settings as a table: each with its value and where it came from. `show` and `plan` print it.

use crate::events::{Sources, Table};
use crate::language::schema::{Default, Form, Kind, Setting};
use crate::language::value::{Origin, Resolved, Settings, Value};

/// One row a setting; those of a choice stand under it.
pub fn settings_table(title: &str, form: &Form, settings: &Settings, sources: &Sources) -> Table {
    let mut table = Table::new(title, &["setting", "value", "from"]);
    rows(form.settings, settings, "", sources, &mut table);
    table
}

fn rows(schema: &'static [Setting], settings: &Settings, indent: &str, sources: &Sources, table: &mut Table) {
    for setting in schema {
        match settings.resolved(setting.name) {
            Some(Resolved { value: Value::Choice { word, settings: inner }, origin, .. }) => {
                table.row([format!("{indent}{}", setting.name), word.clone(), origin_text(*origin, sources)]);
                rows(inner_schema(setting.kind, word), inner, &format!("{indent}  "), sources, table);
            }
            Some(Resolved { value, origin, .. }) => {
                table.row([
                    format!("{indent}{}", setting.name),
                    value.to_ltune(),
                    origin_text(*origin, sources),
                ]);
            }
            None => {
                if let Default::Computed(from) = setting.default {
                    table.row([
                        format!("{indent}{}", setting.name),
                        from.to_string(),
                        "computed".to_string(),
                    ]);
                }
            }
        }
    }
}

fn inner_schema(kind: Kind, word: &str) -> &'static [Setting] {
    match kind {
        Kind::Choice(choices) => {
            choices.iter().find(|choice| choice.word == word).map_or(&[], |choice| choice.settings)
        }
        Kind::AnyOf(kinds) => {
            kinds.iter().map(|kind| inner_schema(*kind, word)).find(|found| !found.is_empty()).unwrap_or(&[])
        }
        _ => &[],
    }
}

fn origin_text(origin: Origin, sources: &Sources) -> String {
    match origin {
        Origin::Default => "default".to_string(),
        Origin::CommandLine => "--set".to_string(),
        Origin::Set { step } => format!("set at step {step}"),
        Origin::Memory => "by free memory".to_string(),
        Origin::Script(span) => {
            format!("{}:{}", sources.get(span.source).name, sources.position(span).line)
        }
    }
}
