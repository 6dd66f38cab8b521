//! The settings in which runs differ, side by side.

use crate::language::value::{measure_text, plain_number};
use crate::session::run::Run;
use crate::units::Unit;
use serde_json::{Map, Value, json};

/// A setting and its value in each of the runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// `method.rank`
    pub setting: String,
    pub values: Vec<String>,
}

/// Everything that the runs do not share, in the order of the recipe.
pub fn of_runs(runs: &[&Run]) -> Vec<Difference> {
    let all: Vec<Value> = runs.iter().map(|run| resolved(run)).collect();
    let mut found = vec![];
    differing("", &all.iter().collect::<Vec<_>>(), &mut found);
    found
}

/// All that a run is made from.
fn resolved(run: &Run) -> Value {
    let mut all = Map::from_iter([
        ("model".to_string(), json!(run.definition.model.describe())),
        ("data".to_string(), json!(run.definition.data.specification)),
    ]);
    if let Value::Object(recipe) = json!(run.trainer.recipe()) {
        all.extend(recipe);
    }
    Value::Object(all)
}

/// Goes down as long as all values have the same keys.
fn differing(path: &str, values: &[&Value], found: &mut Vec<Difference>) {
    if values.windows(2).all(|pair| pair[0] == pair[1]) {
        return;
    }
    let Some(keys) = shared_keys(values) else {
        let values = values.iter().map(|value| in_words(value)).collect();
        found.push(Difference { setting: path.to_string(), values });
        return;
    };
    for key in &keys {
        let inner: Vec<&Value> = values.iter().map(|value| &value[key.as_str()]).collect();
        // The word that was chosen (`lora`, `cosine`) is the same in all: the path is plainer without it.
        let is_word = keys.len() == 1 && inner.iter().all(|value| value.is_object());
        let path = match path {
            _ if is_word || key == "settings" => path.to_string(),
            "" | "length" => key.clone(), // the planned length is `epochs` or `steps` in a script
            path => format!("{path}.{key}"),
        };
        differing(&path, &inner, found);
    }
}

fn shared_keys(values: &[&Value]) -> Option<Vec<String>> {
    let keys = |value: &Value| Some(value.as_object()?.keys().cloned().collect::<Vec<_>>());
    let first = keys(values.first()?)?;
    values.iter().all(|value| keys(value).as_ref() == Some(&first)).then_some(first)
}

/// A value much as it would stand in a script: `cosine { min = 0 }`, `2 epochs`.
fn in_words(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Bool(true) => "on".into(),
        Value::Bool(false) => "off".into(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), plain_number),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(in_words).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => match fields.iter().next() {
            Some((key, inner)) if fields.len() == 1 => one_field(key, inner),
            _ => fields_in_words(fields),
        },
    }
}

/// `40 steps`, `3%`, `cosine { min = 0 }`
fn one_field(key: &str, value: &Value) -> String {
    let unit = match key {
        "steps" => Some(Unit::Steps),
        "epochs" => Some(Unit::Epochs),
        "seconds" => Some(Unit::Seconds),
        "percent" => Some(Unit::Percent),
        _ => None,
    };
    match (unit, value.as_f64()) {
        (Some(unit), Some(number)) => measure_text(number, unit),
        _ if value.is_object() => format!("{key} {}", in_words(value)),
        _ => format!("{{ {key} = {} }}", in_words(value)),
    }
}

/// What a person would write: `rank` rather than `settings.rank`, and nothing where there is nothing.
fn fields_in_words(fields: &Map<String, Value>) -> String {
    let mut written = vec![];
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::Object(inner) if name == "settings" => {
                written.extend(inner.iter().map(|(name, value)| format!("{name} = {}", in_words(value))));
            }
            value => written.push(format!("{name} = {}", in_words(value))),
        }
    }
    format!("{{ {} }}", written.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lora::LoraSettings;
    use crate::train::recipe::{Length, Method, Recipe, Schedule};

    fn differences(left: &Recipe, right: &Recipe) -> Vec<(String, Vec<String>)> {
        let (left, right) = (json!(left), json!(right));
        let mut found = vec![];
        differing("", &[&left, &right], &mut found);
        found.into_iter().map(|difference| (difference.setting, difference.values)).collect()
    }

    fn pair(setting: &str, left: &str, right: &str) -> (String, Vec<String>) {
        (setting.into(), vec![left.into(), right.into()])
    }

    #[test]
    fn only_what_differs_is_listed_by_its_path() {
        let lora = |rank| Method::lora(LoraSettings { rank, ..LoraSettings::default() });
        let left = Recipe::new(lora(8));
        let right = Recipe {
            lr: 1e-4,
            clip: None,
            schedule: Schedule::Constant,
            length: Length::Steps(40),
            ..Recipe::new(lora(16))
        };
        assert_eq!(
            differences(&left, &right),
            [
                pair("method.rank", "8", "16"),
                pair("lr", "2e-4", "1e-4"),
                pair("schedule", "cosine { min = 0 }", "constant"),
                pair("clip", "1", "none"),
                pair("length", "1 epoch", "40 steps"),
            ]
        );
        assert!(differences(&left, &left).is_empty());
    }

    #[test]
    fn another_method_is_one_difference() {
        let found = differences(&Recipe::new(Method::LastLayers { count: 2 }), &Recipe::new(Method::Full));
        assert_eq!(found[0], pair("method", "last_layers { count = 2 }", "full"));
        let settings = LoraSettings { targets: vec!["q_proj".into()], ..LoraSettings::default() };
        let lora = Recipe::new(Method::lora(settings));
        let found = differences(&lora, &Recipe::new(Method::Full));
        let written =
            "lora { rank = 16; alpha = 32; dropout = 0; targets = [q_proj]; rank_stabilized = off }";
        assert_eq!(found[0], pair("method", written, "full"));
    }

    #[test]
    fn the_planned_length_has_the_name_it_has_in_a_script() {
        let epochs = |epochs| Recipe { length: Length::Epochs(epochs), ..Recipe::new(Method::Full) };
        assert_eq!(differences(&epochs(4.0), &epochs(3.0)), [pair("epochs", "4", "3")]);
    }
}
