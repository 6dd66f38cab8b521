//! Shapes: which keys of a row mean what.

use serde::{Deserialize, Serialize};

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
