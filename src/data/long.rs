//! Long texts, tokenized in pieces on all cores, with the tokens of the whole.

use crate::data::error::DataError;
use crate::data::tokenizer::Tokenizer;
use rayon::prelude::*;

/// Bytes a piece; shorter texts stay whole.
const PIECE: usize = 1 << 16;

/// Texts that tell whether a break between a letter and a newline changes any token.
const PROBES: [(&str, &str); 4] =
    [("word", "\nnext"), ("word", "\n\n  next"), ("word", "\n "), ("word", "\n,")];

/// The tokens of a text of any length.
pub fn encode_long(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, DataError> {
    if text.len() < 2 * PIECE || !breaks_between_words(tokenizer)? {
        return tokenizer.encode(text);
    }
    let pieces: Result<Vec<_>, _> =
        pieces(text).into_par_iter().map(|piece| tokenizer.encode(piece)).collect();
    Ok(pieces?.concat())
}

fn breaks_between_words(tokenizer: &Tokenizer) -> Result<bool, DataError> {
    for (left, right) in PROBES {
        let apart = [tokenizer.encode(left)?, tokenizer.encode(right)?].concat();
        if tokenizer.encode(&[left, right].concat())? != apart {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Pieces that begin with the space between two words.
fn pieces(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut pieces = vec![];
    let mut begin = 0;
    while bytes.len() - begin > PIECE {
        let is_break = |place: &usize| {
            let [before, space, after] = [bytes[*place - 1], bytes[*place], bytes[*place + 1]];
            matches!(space, b' ' | b'\n') && before.is_ascii_lowercase() && after.is_ascii_lowercase()
        };
        let Some(end) = (begin + PIECE..bytes.len() - 1).find(is_break) else { break };
        pieces.push(&text[begin..end]);
        begin = end;
    }
    pieces.push(&text[begin..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn pieces_give_the_tokens_of_the_whole() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
        let tokenizer = Tokenizer::from_folder(&folder).expect("a tokenizer");
        let text: String =
            (0..9000).map(|line| format!("Line {line}, and more of it\n\n  some\nmore.\nAnd")).collect();
        assert!(pieces(&text).len() > 3);
        assert_eq!(
            encode_long(&tokenizer, &text).expect("encodes"),
            tokenizer.encode(&text).expect("encodes")
        );
    }
}
