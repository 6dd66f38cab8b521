//! Text from a model: sampling, decoding with a cache, stopping.

pub mod decode;
pub mod sampling;

use crate::data::error::DataError;

/// What can go wrong while text is made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(
        "the prompt is empty and the tokenizer has no beginning-of-text token; write at least one character"
    )]
    EmptyPrompt,
    #[error(
        "token {id} of the prompt is outside the model's vocabulary of {vocabulary}; the tokenizer does not fit the model"
    )]
    TokenOutside { id: u32, vocabulary: i64 },
    #[error("the prompt has {tokens} tokens, and the model has {positions} positions; shorten it")]
    PromptTooLong { tokens: usize, positions: i64 },
    #[error(
        "the model's logits are not finite after {tokens} tokens; its weights are damaged or training diverged"
    )]
    NotFinite { tokens: usize },
}
