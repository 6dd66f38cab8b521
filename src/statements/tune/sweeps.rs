//! Settings that hold several values: the members of a family.

use crate::language::value::{Settings, Value};

/// The members of a family, if any setting holds a sweep: every combination, in order.
pub fn sweep_members(settings: &Settings) -> Option<Vec<String>> {
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

pub fn first_member(settings: &Settings) -> Settings {
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
