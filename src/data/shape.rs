//! Shapes: which keys of a row mean what.

use crate::data::error::DataError;
use crate::data::source::Fields;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the rows of a data set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `text`: documents, cut into blocks.
    Text,
    /// `instruction`, `input` and `output`.
    Instruction,
    /// `prompt` and `completion`.
    Completion,
    /// `messages`: a chat of roles and contents.
    Messages,
    /// `conversations`: a chat in ShareGPT's words.
    Conversations,
    /// `chosen` and `rejected`.
    Preference,
    /// `text` and `label`.
    Labelled,
    /// `input_ids` and `labels`.
    Ids,
}

/// Every meaning a column can have, as `columns` names it.
pub const MEANINGS: &[&str] = &[
    "text",
    "label",
    "instruction",
    "input",
    "output",
    "prompt",
    "completion",
    "system",
    "messages",
    "conversations",
    "chosen",
    "rejected",
    "input_ids",
    "labels",
];

/// What each shape needs; the first that is complete is taken.
const NEEDS: &[(Shape, &[&str])] = &[
    (Shape::Ids, &["input_ids"]),
    (Shape::Preference, &["chosen", "rejected"]),
    (Shape::Messages, &["messages"]),
    (Shape::Conversations, &["conversations"]),
    (Shape::Instruction, &["instruction", "output"]),
    (Shape::Completion, &["prompt", "completion"]),
    (Shape::Labelled, &["text", "label"]),
    (Shape::Text, &["text"]),
];

/// Dolly's words for an instruction's parts.
const INSTRUCTION_WORDS: &[(&str, &str)] = &[("input", "context"), ("output", "response")];

const KNOWN: &str = "`text`, `instruction`/`input`/`output`, `prompt`/`completion`, `messages`, \
    `conversations`, `chosen`/`rejected`, `text`/`label`, `input_ids`/`labels`";

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Shape::Text => "`text`",
            Shape::Instruction => "`instruction`/`input`/`output`",
            Shape::Completion => "`prompt`/`completion`",
            Shape::Messages => "`messages`",
            Shape::Conversations => "`conversations`",
            Shape::Preference => "`chosen`/`rejected`",
            Shape::Labelled => "`text`/`label`",
            Shape::Ids => "`input_ids`/`labels`",
        }
    }
}

/// The shape of a file's rows, and the column of each meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    pub shape: Shape,
    names: BTreeMap<&'static str, String>,
}

impl Columns {
    /// Recognises the columns `found` in `file`; `mapping` (meaning to column) goes before names.
    pub fn recognise(
        file: &str,
        found: &[String],
        mapping: &BTreeMap<String, String>,
        wanted: Option<Shape>,
    ) -> Result<Columns, DataError> {
        let mapped = mapped(file, found, mapping)?;
        let mut names = mapped.clone();
        for meaning in MEANINGS {
            if !names.contains_key(meaning) && found.iter().any(|column| column == meaning) {
                names.insert(meaning, (*meaning).to_string());
            }
        }
        if names.contains_key("instruction") {
            for (meaning, word) in INSTRUCTION_WORDS {
                if !names.contains_key(meaning) && found.iter().any(|column| column == word) {
                    names.insert(meaning, (*word).to_string());
                }
            }
        }
        let complete = |names: &BTreeMap<&'static str, String>| {
            let allowed = NEEDS.iter().filter(|(shape, _)| wanted.is_none_or(|wanted| wanted == *shape));
            let mut whole = allowed.filter(|(_, needs)| needs.iter().all(|need| names.contains_key(need)));
            whole.next().map(|(shape, _)| *shape)
        };
        match complete(&mapped).or_else(|| complete(&names)) {
            Some(shape) => Ok(Columns { shape, names }),
            None => Err(DataError::UnknownShape {
                file: file.into(),
                found: listed(found),
                known: KNOWN,
                example: found.first().cloned().unwrap_or_else(|| "question".into()),
            }),
        }
    }

    /// What a row holds for a meaning; null counts as absent.
    pub fn get<'a>(&self, fields: &'a Fields, meaning: &str) -> Option<&'a Value> {
        fields.get(self.names.get(meaning)?).filter(|value| !value.is_null())
    }

    /// The column of a meaning.
    pub fn column(&self, meaning: &str) -> Option<&str> {
        self.names.get(meaning).map(String::as_str)
    }

    /// Meanings that every row must have a column for.
    pub fn needs(&self) -> &'static [&'static str] {
        NEEDS.iter().find(|(shape, _)| *shape == self.shape).map_or(&[], |(_, needs)| needs)
    }
}

fn mapped(
    file: &str,
    found: &[String],
    mapping: &BTreeMap<String, String>,
) -> Result<BTreeMap<&'static str, String>, DataError> {
    let mut names = BTreeMap::new();
    for (meaning, column) in mapping {
        let Some(known) = MEANINGS.iter().find(|known| *known == meaning) else {
            return Err(DataError::UnknownMeaning { meaning: meaning.clone(), known: MEANINGS_LISTED });
        };
        if !found.contains(column) {
            return Err(DataError::MissingColumn {
                file: file.into(),
                meaning: meaning.clone(),
                column: column.clone(),
                found: listed(found),
            });
        }
        names.insert(*known, column.clone());
    }
    Ok(names)
}

const MEANINGS_LISTED: &str = "`text`, `label`, `instruction`, `input`, `output`, `prompt`, `completion`, \
    `system`, `messages`, `conversations`, `chosen`, `rejected`, `input_ids`, `labels`";

/// Names in backticks; none, and too many, are said.
pub fn listed(names: &[String]) -> String {
    let mut text: Vec<String> = names.iter().take(12).map(|name| format!("`{name}`")).collect();
    if names.len() > 12 {
        text.push(format!("and {} more", names.len() - 12));
    }
    if text.is_empty() { "nothing".into() } else { text.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(found: &[&str], mapping: &[(&str, &str)]) -> Result<Columns, String> {
        let found: Vec<String> = found.iter().map(|name| (*name).to_string()).collect();
        let mapping = mapping.iter().map(|(meaning, column)| ((*meaning).into(), (*column).into())).collect();
        Columns::recognise("a.jsonl", &found, &mapping, None).map_err(|error| error.to_string())
    }

    #[test]
    fn shapes_are_recognised_by_their_keys() {
        let cases: &[(&[&str], Shape)] = &[
            (&["text", "id"], Shape::Text),
            (&["text", "label"], Shape::Labelled),
            (&["instruction", "input", "output"], Shape::Instruction),
            (&["instruction", "context", "response", "category"], Shape::Instruction),
            (&["prompt", "completion"], Shape::Completion),
            (&["messages"], Shape::Messages),
            (&["conversations", "tools"], Shape::Conversations),
            (&["conversations", "chosen", "rejected"], Shape::Preference),
            (&["input_ids", "attention_mask", "labels"], Shape::Ids),
        ];
        for (keys, expected) in cases {
            assert_eq!(shape(keys, &[]).map(|columns| columns.shape), Ok(*expected), "{keys:?}");
        }
    }

    #[test]
    fn a_mapping_goes_before_names() {
        let columns =
            shape(&["text", "question", "answer"], &[("prompt", "question"), ("completion", "answer")]);
        let columns = columns.expect("known");
        assert_eq!((columns.shape, columns.column("prompt")), (Shape::Completion, Some("question")));
    }

    #[test]
    fn columns_that_form_no_shape_are_listed() {
        assert_eq!(
            shape(&["question", "answer"], &[]).expect_err("unknown"),
            "the columns of `a.jsonl` (`question`, `answer`) form no known shape; known are `text`, \
             `instruction`/`input`/`output`, `prompt`/`completion`, `messages`, `conversations`, `chosen`/`rejected`, \
             `text`/`label`, `input_ids`/`labels`; or say which is which, for example \
             `columns = { prompt = \"question\"; completion = \"…\" }`"
        );
        assert_eq!(
            shape(&["a"], &[("prompt", "q")]).expect_err("missing"),
            "`columns` names `q` for `prompt`, and `a.jsonl` has no such column; it has `a`"
        );
        assert!(
            shape(&["a"], &[("promt", "a")])
                .is_err_and(|message| message.starts_with("`columns` knows no `promt`; known are `text`"))
        );
    }
}
