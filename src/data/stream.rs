//! Decoding token by token, so that text can be shown as it is made.

use crate::data::error::DataError;
use crate::data::tokenizer::{SpecialTokens, Tokenizer};

/// Tokens of context: how a token reads may depend on the one before it.
const CONTEXT: usize = 4;
/// No character has more bytes than this; what is not whole by then never will be.
const LONGEST_CHARACTER: usize = 4;

/// Yields whole characters only: a token that ends inside one is held back.
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// How many of `ids` have been shown, and their text.
    shown: usize,
    shown_text: String,
}

impl<'a> StreamDecoder<'a> {
    /// A decoder for what follows `prompt`.
    pub fn new(tokenizer: &'a Tokenizer, prompt: &[u32]) -> Result<StreamDecoder<'a>, DataError> {
        let ids = prompt[prompt.len().saturating_sub(CONTEXT)..].to_vec();
        let shown_text = tokenizer.decode(&ids, SpecialTokens::Skip)?;
        Ok(StreamDecoder { tokenizer, shown: ids.len(), ids, shown_text })
    }

    /// Adds a token; the text that is now whole, often empty.
    pub fn push(&mut self, id: u32) -> Result<String, DataError> {
        self.ids.push(id);
        let text = self.tokenizer.decode(&self.ids, SpecialTokens::Skip)?;
        let held = self.ids.len() - self.shown;
        if text.ends_with(char::REPLACEMENT_CHARACTER) && held < LONGEST_CHARACTER {
            return Ok(String::new());
        }
        self.show(text)
    }

    /// What is still held back, with a replacement for bytes that form no character.
    pub fn finish(&mut self) -> Result<String, DataError> {
        let text = self.tokenizer.decode(&self.ids, SpecialTokens::Skip)?;
        self.show(text)
    }

    fn show(&mut self, text: String) -> Result<String, DataError> {
        let begin = common_prefix(&self.shown_text, &text);
        let new = text[begin..].to_string();
        let keep = self.ids.len().saturating_sub(CONTEXT);
        self.ids.drain(..keep);
        self.shown = self.ids.len();
        self.shown_text = self.tokenizer.decode(&self.ids, SpecialTokens::Skip)?;
        Ok(new)
    }
}

/// Bytes that both texts begin with, ending between characters.
fn common_prefix(left: &str, right: &str) -> usize {
    let same = left.chars().zip(right.chars()).take_while(|(left, right)| left == right);
    same.map(|(letter, _)| letter.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_shown_when_it_is_whole() {
        let tokenizer = Tokenizer::bytes();
        let mut decoder = StreamDecoder::new(&tokenizer, &[65]).expect("decodes");
        let mut pieces = vec![];
        for id in "a你é\u{1F600}".bytes() {
            pieces.push(decoder.push(u32::from(id)).expect("decodes"));
        }
        assert_eq!(pieces, ["a", "", "", "你", "", "é", "", "", "", "\u{1F600}"]);
        assert_eq!(decoder.finish().expect("decodes"), "");
    }

    #[test]
    fn bytes_that_form_no_character_are_not_held_for_ever() {
        let tokenizer = Tokenizer::bytes();
        let mut decoder = StreamDecoder::new(&tokenizer, &[]).expect("decodes");
        let text: String = (0..6).map(|_| decoder.push(0xff).expect("decodes")).collect();
        assert_eq!(text.chars().count(), 4);
        let rest = decoder.finish().expect("decodes");
        assert_eq!(rest.chars().count(), 2);
    }
}
