//! Settings that hold several values: the members of a family.

use crate::language::value::{Settings, Value};

/// The members of a family, if any setting holds a sweep: every combination, in order, each with what is its own as a
/// text and its settings.
pub fn sweep_members(settings: &Settings) -> Option<Vec<(String, Settings)>> {
    let sweeps = sweeps(settings, &[]);
    if sweeps.is_empty() {
        return None;
    }
    let mut members = vec![(String::new(), settings.clone())];
    for (path, values) in &sweeps {
        let name = path.last().expect("a path ends with the setting");
        members = members
            .iter()
            .flat_map(|(text, settings)| {
                values.iter().map(move |value| {
                    let separator = if text.is_empty() { "" } else { ", " };
                    let text = format!("{text}{separator}{name} = {}", value.to_ltune());
                    (text, with(settings, path, value))
                })
            })
            .collect();
    }
    Some(members)
}

/// The way to each sweep, through the choices it stands in, and its values.
fn sweeps(settings: &Settings, outer: &[String]) -> Vec<(Vec<String>, Vec<Value>)> {
    let mut found = vec![];
    for (name, resolved) in settings.iter() {
        let path = [outer, &[name.to_string()]].concat();
        match &resolved.value {
            Value::Sweep(values) => found.push((path, values.clone())),
            Value::Choice { settings, .. } => found.extend(sweeps(settings, &path)),
            _ => {}
        }
    }
    found
}

/// The settings with one value in the place of a sweep.
fn with(settings: &Settings, path: &[String], value: &Value) -> Settings {
    let mut settings = settings.clone();
    let Some(resolved) = settings.resolved(&path[0]).cloned() else { return settings };
    let value = match resolved.value {
        Value::Choice { word, settings } if path.len() > 1 => {
            Value::Choice { word, settings: with(&settings, &path[1..], value) }
        }
        _ => value.clone(),
    };
    settings.insert(path[0].clone(), value, resolved.origin);
    settings
}
