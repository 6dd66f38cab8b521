//! Each token's own part of the text, so that a batch can be read token by token.

use crate::data::error::DataError;
use crate::data::stream::StreamDecoder;
use crate::data::tokenizer::Tokenizer;

impl Tokenizer {
    /// The text of each token; joined they are the text of all. A character that several tokens form is the last one's;
    /// special tokens are their names.
    pub fn pieces(&self, ids: &[u32]) -> Result<Vec<String>, DataError> {
        let mut pieces: Vec<String> = Vec::with_capacity(ids.len());
        let mut decoder = StreamDecoder::new(self, &[])?;
        for id in ids {
            if self.is_special(*id) {
                end(&mut pieces, &mut decoder)?;
                pieces.push(self.token(*id).unwrap_or_default());
                decoder = StreamDecoder::new(self, &[])?;
            } else {
                pieces.push(decoder.push(*id)?);
            }
        }
        end(&mut pieces, &mut decoder)?;
        Ok(pieces)
    }
}

/// What the decoder still holds back belongs to the last token.
fn end(pieces: &mut [String], decoder: &mut StreamDecoder) -> Result<(), DataError> {
    let rest = decoder.finish()?;
    if let Some(last) = pieces.last_mut() {
        last.push_str(&rest);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokenizer::SpecialTokens;
    use std::path::Path;

    #[test]
    fn pieces_joined_are_the_text() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
        let tiny = Tokenizer::from_folder(&folder).expect("a tokenizer");
        let text = "<|im_start|>user\nBefore the establishment é 你\u{1F600}!<|im_end|>\n";
        for tokenizer in [tiny, Tokenizer::bytes()] {
            let ids = tokenizer.encode(text).expect("encodes");
            let pieces = tokenizer.pieces(&ids).expect("decodes");
            assert_eq!(pieces.len(), ids.len());
            assert_eq!(pieces.concat(), tokenizer.decode(&ids, SpecialTokens::Keep).expect("decodes"));
        }
    }

    #[test]
    fn special_tokens_are_their_names_and_broken_characters_are_replaced() {
        let pieces = Tokenizer::bytes().pieces(&[256, 104, 195, 257]).expect("decodes");
        assert_eq!(pieces, ["<|bos|>", "h", "\u{FFFD}", "<|eos|>"]);
        assert!(Tokenizer::bytes().pieces(&[]).expect("decodes").is_empty());
    }
}
