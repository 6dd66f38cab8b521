//! Records: rows in ltune's own terms, whatever their columns were called.

use crate::data::error::{DataError, Place};
use crate::data::jsonl::kind;
use crate::data::shape::{Columns, Shape, listed};
use crate::data::source::Fields;
use crate::data::template::Message;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// One row, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Text(String),
    /// A chat; the messages before `answers_from` are given and never targets.
    Chat {
        messages: Vec<Message>,
        answers_from: usize,
    },
    Pair {
        prompt: String,
        completion: String,
    },
    Labelled {
        text: String,
        label: String,
    },
    Preference {
        prompt: Vec<Message>,
        chosen: String,
        rejected: String,
    },
    Ids {
        ids: Vec<i64>,
        supervised: Vec<bool>,
    },
}

impl Record {
    /// Whether there is nothing to learn from it.
    pub fn is_empty(&self) -> bool {
        let blank = |text: &str| text.trim().is_empty();
        match self {
            Record::Text(text) => blank(text),
            Record::Chat { messages, .. } => messages.iter().all(|message| blank(&message.content)),
            Record::Pair { completion, .. } => blank(completion),
            Record::Labelled { text, label } => blank(text) || blank(label),
            Record::Preference { chosen, rejected, .. } => blank(chosen) || blank(rejected),
            Record::Ids { ids, .. } => ids.len() < 2,
        }
    }

    /// Equal for equal records: what tells an exact duplicate.
    pub fn fingerprint(&self) -> [u8; 16] {
        let mut hasher = Sha256::new();
        let mut feed = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        match self {
            Record::Text(text) => feed(text),
            Record::Pair { prompt, completion } => {
                [prompt, completion].into_iter().for_each(|text| feed(text))
            }
            Record::Labelled { text, label } => [text, label].into_iter().for_each(|text| feed(text)),
            Record::Chat { messages, answers_from } => {
                feed(&answers_from.to_string());
                messages
                    .iter()
                    .flat_map(|message| [&message.role, &message.content])
                    .for_each(|text| feed(text));
            }
            Record::Preference { prompt, chosen, rejected } => {
                prompt
                    .iter()
                    .flat_map(|message| [&message.role, &message.content])
                    .for_each(|text| feed(text));
                [chosen, rejected].into_iter().for_each(|text| feed(text));
            }
            Record::Ids { ids, supervised } => {
                ids.iter().for_each(|id| hasher.update(id.to_le_bytes()));
                supervised.iter().for_each(|supervised| hasher.update([u8::from(*supervised)]));
            }
        }
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hasher.finalize()[..16]);
        fingerprint
    }

    /// Understands a row.
    pub fn new(columns: &Columns, fields: &Fields, place: &Place) -> Result<Record, DataError> {
        let row = Row { columns, fields, place };
        for need in columns.needs() {
            // A null is an empty value; a key that is not there is a row of another kind.
            let column = columns.column(need).unwrap_or(need);
            if !fields.contains_key(column) {
                let found: Vec<String> = fields.keys().cloned().collect();
                return Err(DataError::MissingField {
                    place: place.clone(),
                    field: column.into(),
                    shape: columns.shape.name(),
                    found: listed(&found),
                });
            }
        }
        match columns.shape {
            Shape::Text => Ok(Record::Text(row.text("text")?)),
            Shape::Labelled => Ok(Record::Labelled { text: row.text("text")?, label: row.text("label")? }),
            Shape::Instruction => row.instruction(),
            Shape::Completion => row.completion(),
            Shape::Messages => Ok(chat(row.system(row.messages("messages")?)?)),
            Shape::Conversations => Ok(chat(row.system(row.messages("conversations")?)?)),
            Shape::Preference => row.preference(),
            Shape::Ids => row.ids(),
        }
    }
}

fn chat(messages: Vec<Message>) -> Record {
    Record::Chat { messages, answers_from: 0 }
}

/// A row while it is read: errors name it.
struct Row<'a> {
    columns: &'a Columns,
    fields: &'a Fields,
    place: &'a Place,
}

impl Row<'_> {
    fn broken(&self, what: String) -> DataError {
        DataError::Broken { place: self.place.clone(), what }
    }

    fn get(&self, meaning: &str) -> Option<&Value> {
        self.columns.get(self.fields, meaning)
    }

    fn text(&self, meaning: &str) -> Result<String, DataError> {
        match self.get(meaning) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
            Some(other) => {
                Err(self.broken(format!("`{meaning}` is {}, and a string is needed", kind(other))))
            }
        }
    }

    /// A system message from its own column, before the others.
    fn system(&self, mut messages: Vec<Message>) -> Result<Vec<Message>, DataError> {
        let system = self.text("system")?;
        if !system.is_empty() && messages.first().is_none_or(|first| first.role != "system") {
            messages.insert(0, Message::new("system", system));
        }
        Ok(messages)
    }

    fn instruction(&self) -> Result<Record, DataError> {
        let (instruction, input, output) =
            (self.text("instruction")?, self.text("input")?, self.text("output")?);
        if output.trim().is_empty() {
            return Ok(Record::Pair { prompt: instruction, completion: output });
        }
        let question = if input.is_empty() { instruction } else { format!("{instruction}\n{input}") };
        let messages = vec![Message::new("user", question), Message::new("assistant", output)];
        Ok(chat(self.system(messages)?))
    }

    fn completion(&self) -> Result<Record, DataError> {
        if !self.get("prompt").is_some_and(Value::is_array) {
            return Ok(Record::Pair { prompt: self.text("prompt")?, completion: self.text("completion")? });
        }
        let mut messages = self.system(self.messages("prompt")?)?;
        let answers_from = messages.len();
        match self.get("completion") {
            Some(Value::Array(_)) => messages.extend(self.messages("completion")?),
            _ => messages.push(Message::new("assistant", self.text("completion")?)),
        }
        Ok(Record::Chat { messages, answers_from })
    }

    fn preference(&self) -> Result<Record, DataError> {
        let prompt =
            match ["prompt", "conversations", "messages"].into_iter().find(|name| self.get(name).is_some()) {
                Some(name) if self.get(name).is_some_and(Value::is_array) => self.messages(name)?,
                Some(name) => vec![Message::new("user", self.text(name)?)],
                None if self.get("instruction").is_some() => {
                    let (instruction, input) = (self.text("instruction")?, self.text("input")?);
                    let question =
                        if input.is_empty() { instruction } else { format!("{instruction}\n{input}") };
                    vec![Message::new("user", question)]
                }
                None => vec![],
            };
        let (mut chosen, mut rejected) = (self.answer("chosen")?, self.answer("rejected")?);
        let mut prompt = self.system(prompt)?;
        if prompt.is_empty() {
            // Whole chats in both columns: what they share is the prompt.
            let same =
                chosen.iter().zip(&rejected).take_while(|(chosen, rejected)| chosen == rejected).count();
            let same = same.min(chosen.len().saturating_sub(1)).min(rejected.len().saturating_sub(1));
            prompt = chosen.drain(..same).collect();
            rejected.drain(..same);
        }
        let last =
            |answer: Vec<Message>| answer.into_iter().next_back().map_or(String::new(), |last| last.content);
        Ok(Record::Preference { prompt, chosen: last(chosen), rejected: last(rejected) })
    }

    /// An answer as a string, as one message, or as a chat that ends with it.
    fn answer(&self, meaning: &str) -> Result<Vec<Message>, DataError> {
        match self.get(meaning) {
            Some(Value::Array(_)) => self.messages(meaning),
            Some(value @ Value::Object(_)) => Ok(vec![self.message(meaning, value)?]),
            _ => Ok(vec![Message::new("assistant", self.text(meaning)?)]),
        }
    }

    fn messages(&self, meaning: &str) -> Result<Vec<Message>, DataError> {
        match self.get(meaning) {
            None => Ok(vec![]),
            Some(Value::Array(items)) => items.iter().map(|item| self.message(meaning, item)).collect(),
            // CSV holds a chat as JSON text.
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(Value::Array(items)) => items.iter().map(|item| self.message(meaning, item)).collect(),
                _ => Err(self.broken(format!("`{meaning}` is a string, and a list of messages is needed"))),
            },
            Some(other) => {
                Err(self.broken(format!("`{meaning}` is {}, and a list of messages is needed", kind(other))))
            }
        }
    }

    fn message(&self, meaning: &str, item: &Value) -> Result<Message, DataError> {
        let either = |names: [&str; 2]| names.into_iter().find_map(|name| item.get(name));
        let Some(role) = either(["role", "from"]).and_then(Value::as_str) else {
            return Err(self.broken(format!("a message of `{meaning}` has no `role` (or `from`)")));
        };
        let content = match either(["content", "value"]) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => {
                parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().concat()
            }
            None | Some(Value::Null) => String::new(),
            Some(other) => {
                let what = format!(
                    "the content of a message of `{meaning}` is {}, and a string is needed",
                    kind(other)
                );
                return Err(self.broken(what));
            }
        };
        Ok(Message::new(canonical_role(role), content))
    }

    fn ids(&self) -> Result<Record, DataError> {
        let ids = self.integers("input_ids")?;
        if self.get("labels").is_none() {
            let supervised = (0..ids.len()).map(|index| index > 0).collect();
            return Ok(Record::Ids { ids, supervised });
        }
        let labels = self.integers("labels")?;
        if labels.len() != ids.len() {
            let what =
                format!("{} `input_ids` and {} `labels`; they must be as many", ids.len(), labels.len());
            return Err(self.broken(what));
        }
        if let Some(index) = (0..ids.len()).find(|index| labels[*index] >= 0 && labels[*index] != ids[*index])
        {
            return Err(self.broken(format!(
                "label {index} is {}, and token {index} is {}; labels repeat the tokens, with -100 where there is no target",
                labels[index], ids[index]
            )));
        }
        // The first token is never predicted.
        let supervised = labels.iter().enumerate().map(|(index, label)| index > 0 && *label >= 0).collect();
        Ok(Record::Ids { ids, supervised })
    }

    fn integers(&self, meaning: &str) -> Result<Vec<i64>, DataError> {
        let parsed;
        let items = match self.get(meaning) {
            None => return Ok(vec![]),
            Some(Value::Array(items)) => items,
            Some(Value::String(text)) => {
                parsed = serde_json::from_str::<Vec<Value>>(text).unwrap_or_default();
                &parsed
            }
            Some(other) => {
                return Err(self.broken(format!(
                    "`{meaning}` is {}, and a list of whole numbers is needed",
                    kind(other)
                )));
            }
        };
        let integers: Option<Vec<i64>> = items.iter().map(Value::as_i64).collect();
        integers.ok_or_else(|| self.broken(format!("`{meaning}` holds something that is no whole number")))
    }
}

/// ShareGPT's words for roles.
fn canonical_role(role: &str) -> &str {
    match role {
        "human" => "user",
        "gpt" | "chatgpt" | "bing" | "bard" | "model" | "function_call" => "assistant",
        "observation" => "tool",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn record(row: Value) -> Result<Record, String> {
        let Value::Object(fields) = row else { panic!("an object") };
        let found: Vec<String> = fields.keys().cloned().collect();
        let place = Place { file: "a.jsonl".into(), noun: "line", number: 3 };
        let columns = Columns::recognise("a.jsonl", &found, &BTreeMap::new(), None);
        columns.and_then(|columns| Record::new(&columns, &fields, &place)).map_err(|error| error.to_string())
    }

    fn messages(pairs: &[(&str, &str)]) -> Vec<Message> {
        pairs.iter().map(|(role, content)| Message::new(*role, *content)).collect()
    }

    #[test]
    fn instructions_become_chats() {
        let row = json!({"instruction": "add", "input": "1 2", "output": "3", "system": "be brief"});
        let expected = messages(&[("system", "be brief"), ("user", "add\n1 2"), ("assistant", "3")]);
        assert_eq!(record(row), Ok(chat(expected)));
    }

    #[test]
    fn sharegpt_speaks_of_humans() {
        let row =
            json!({"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]});
        assert_eq!(record(row), Ok(chat(messages(&[("user", "hi"), ("assistant", "hello")]))));
    }

    #[test]
    fn contents_in_parts_are_joined() {
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        let row = json!({"messages": [{"role": "user", "content": parts}]});
        assert_eq!(record(row), Ok(chat(messages(&[("user", "ab")]))));
    }

    #[test]
    fn preferences_come_as_strings_messages_or_whole_chats() {
        let expected = Record::Preference {
            prompt: messages(&[("user", "q")]),
            chosen: "good".into(),
            rejected: "bad".into(),
        };
        let turn = |content: &str| json!({"from": "gpt", "value": content});
        let whole = |content: &str| json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": content}]);
        assert_eq!(
            record(json!({"prompt": "q", "chosen": "good", "rejected": "bad"})).as_ref(),
            Ok(&expected)
        );
        let row = json!({"conversations": [{"from": "human", "value": "q"}], "chosen": turn("good"), "rejected": turn("bad")});
        assert_eq!(record(row).as_ref(), Ok(&expected));
        assert_eq!(
            record(json!({"chosen": whole("good"), "rejected": whole("bad")})).as_ref(),
            Ok(&expected)
        );
    }

    #[test]
    fn a_conversational_prompt_is_never_a_target() {
        let row = json!({"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]});
        let messages = messages(&[("user", "q"), ("assistant", "a")]);
        assert_eq!(record(row), Ok(Record::Chat { messages, answers_from: 1 }));
    }

    #[test]
    fn ids_come_with_or_without_labels() {
        let ids = vec![5, 6, 7];
        let expected =
            |supervised: [bool; 3]| Ok(Record::Ids { ids: ids.clone(), supervised: supervised.into() });
        assert_eq!(record(json!({"input_ids": ids})), expected([false, true, true]));
        assert_eq!(
            record(json!({"input_ids": ids, "labels": [-100, -100, 7]})),
            expected([false, false, true])
        );
        let error = record(json!({"input_ids": ids, "labels": [6, 7, -100]})).expect_err("shifted");
        assert!(
            error.starts_with("`a.jsonl` line 3: label 0 is 6, and token 0 is 5; labels repeat the tokens")
        );
    }

    #[test]
    fn what_a_row_lacks_is_named() {
        let found = ["prompt".to_string(), "completion".to_string()];
        let columns = Columns::recognise("a.jsonl", &found, &BTreeMap::new(), None).expect("known");
        let place = Place { file: "a.jsonl".into(), noun: "line", number: 7 };
        let fields = Fields::from_iter([("prompt".to_string(), json!("x"))]);
        let error = Record::new(&columns, &fields, &place).expect_err("lacks");
        assert_eq!(
            error.to_string(),
            "`a.jsonl` line 7 has no `completion`, which rows of shape `prompt`/`completion` need; it has `prompt`"
        );
        let error = record(json!({"messages": "hi"})).expect_err("a string");
        assert_eq!(error, "`a.jsonl` line 3: `messages` is a string, and a list of messages is needed");
    }

    #[test]
    fn labels_may_be_numbers_and_nulls_are_empty() {
        let labelled = Record::Labelled { text: "x".into(), label: "1".into() };
        assert_eq!(record(json!({"text": "x", "label": 1})), Ok(labelled));
        assert!(record(json!({"text": null, "label": 1})).expect("read").is_empty());
    }
}
