//! Text to token ids and back.

use crate::data::error::DataError;
use crate::data::progress::{Observe, report};
use crate::data::template::{ChatTemplate, Ending, Message, TokenTexts};
use crate::files::hash::sha256;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Texts encoded between two reports of progress.
const CHUNK: usize = 512;

/// Whether special tokens appear in decoded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialTokens {
    Keep,
    Skip,
}

#[derive(Clone, Debug)]
pub(super) enum Coder {
    Pieces(Box<tokenizers::Tokenizer>),
    /// A token for each byte, then bos, eos and pad.
    Bytes,
}

const BYTE_NAMES: [&str; 3] = ["<|bos|>", "<|eos|>", "<|pad|>"];

/// Tokens of a text, each with the end of the bytes it covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    pub ids: Vec<u32>,
    /// For each token the bytes of the text that it stands for.
    pub ranges: Vec<(usize, usize)>,
}

/// A vocabulary with its rules, and what the model's folder says about it.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pub(super) coder: Coder,
    vocabulary_size: usize,
    hash: String,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub pad: Option<u32>,
    /// Every token that ends a generation; `eos` is one of them.
    pub stops: Vec<u32>,
    /// Whether a text begins with `bos`.
    pub adds_bos: bool,
    pub chat_template: Option<ChatTemplate>,
}

/// What is known of a tokenizer beyond its pieces; ids that lie outside the vocabulary are left out.
#[derive(Clone, Debug, Default)]
pub struct Traits {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub pad: Option<u32>,
    pub unknown: Option<u32>,
    pub stops: BTreeSet<u32>,
    pub adds_bos: Option<bool>,
    pub chat_template: Option<String>,
}

impl Tokenizer {
    /// One token a byte: 256 of them, then bos, eos and pad.
    pub fn bytes() -> Tokenizer {
        Tokenizer {
            coder: Coder::Bytes,
            vocabulary_size: 259,
            hash: sha256("bytes"),
            bos: Some(256),
            eos: Some(257),
            pad: Some(258),
            stops: vec![257],
            adds_bos: false,
            chat_template: None,
        }
    }

    /// Joins pieces and traits; `identity` is what the hash is made of.
    pub fn from_pieces(
        mut pieces: tokenizers::Tokenizer,
        traits: Traits,
        identity: &[u8],
    ) -> Result<Tokenizer, DataError> {
        // A `tokenizer.json` may ask for cutting and padding, which would happen silently here.
        let encode = |error: tokenizers::Error| DataError::Encode { what: error.to_string() };
        pieces.with_truncation(None).map_err(encode)?.with_padding(None);
        let added = pieces.get_added_tokens_decoder().keys().max().map_or(0, |id| *id as usize + 1);
        let vocabulary_size = pieces.get_vocab_size(true).max(added);
        let known = |id: &u32| pieces.id_to_token(*id).is_some();
        let (bos, eos, pad) = (traits.bos.filter(known), traits.eos.filter(known), traits.pad.filter(known));
        let names =
            [("bos_token", bos), ("eos_token", eos), ("pad_token", pad), ("unk_token", traits.unknown)];
        let tokens: TokenTexts = names
            .into_iter()
            .filter_map(|(name, id)| Some((name.to_string(), pieces.id_to_token(id?)?)))
            .collect();
        let chat_template =
            traits.chat_template.as_deref().map(|source| ChatTemplate::new(source, &tokens)).transpose()?;
        let stops: BTreeSet<u32> = traits.stops.into_iter().filter(known).chain(eos).collect();
        let adds_bos = match traits.adds_bos {
            Some(adds) => adds && bos.is_some(),
            None => {
                bos.is_some()
                    && pieces.encode_fast("a", true).map_err(encode)?.get_ids().first() == bos.as_ref()
            }
        };
        let facts = format!("{bos:?} {eos:?} {pad:?} {stops:?} {adds_bos} {:?}", traits.chat_template);
        Ok(Tokenizer {
            hash: sha256([sha256(identity), facts].join("\n")),
            coder: Coder::Pieces(Box::new(pieces)),
            vocabulary_size,
            bos,
            eos,
            pad,
            stops: stops.into_iter().collect(),
            adds_bos,
            chat_template,
        })
    }

    /// One more than the highest id.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// Equal hashes encode equally.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The tokens of a text. None is added; special tokens written in the text are recognised.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match &self.coder {
            Coder::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Coder::Pieces(pieces) => {
                let encoding = pieces.encode_fast(text, false);
                Ok(encoding
                    .map_err(|error| DataError::Encode { what: error.to_string() })?
                    .get_ids()
                    .to_vec())
            }
        }
    }

    /// The tokens of a text and the bytes that each stands for.
    pub fn encode_with_ranges(&self, text: &str) -> Result<Encoding, DataError> {
        match &self.coder {
            Coder::Bytes => Ok(Encoding {
                ids: text.bytes().map(u32::from).collect(),
                ranges: (0..text.len()).map(|byte| (byte, byte + 1)).collect(),
            }),
            Coder::Pieces(pieces) => {
                let encoding = pieces.encode(text, false);
                let encoding = encoding.map_err(|error| DataError::Encode { what: error.to_string() })?;
                Ok(Encoding { ids: encoding.get_ids().to_vec(), ranges: encoding.get_offsets().to_vec() })
            }
        }
    }

    /// The tokens of many texts, on all cores.
    pub fn encode_all<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        observe: Observe,
    ) -> Result<Vec<Vec<u32>>, DataError> {
        let mut encoded = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(CHUNK) {
            let ids: Result<Vec<_>, _> = chunk.par_iter().map(|text| self.encode(text.as_ref())).collect();
            encoded.extend(ids?);
            report(observe, encoded.len() as u64, texts.len() as u64, "tokenizing")?;
        }
        Ok(encoded)
    }

    /// What a model continues: the text's tokens, after `bos` where this tokenizer begins with it.
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let bos = self.bos.filter(|_| self.adds_bos);
        Ok(bos.into_iter().chain(self.encode(text)?).collect())
    }

    /// What a model answers: a chat in the template's words, up to the header of the answer.
    pub fn chat(&self, template: &ChatTemplate, messages: &[Message]) -> Result<Vec<u32>, DataError> {
        self.encode(&template.render(messages, Ending::AwaitsAnswer)?)
    }

    pub fn decode(&self, ids: &[u32], special: SpecialTokens) -> Result<String, DataError> {
        match &self.coder {
            Coder::Bytes => Ok(decode_bytes(ids, special)),
            Coder::Pieces(pieces) => pieces
                .decode(ids, special == SpecialTokens::Skip)
                .map_err(|error| DataError::Decode { what: error.to_string() }),
        }
    }

    /// The text of one token as the vocabulary spells it: `Ġthe`.
    pub fn token(&self, id: u32) -> Option<String> {
        match &self.coder {
            Coder::Bytes => match id {
                0..256 => Some(String::from_utf8_lossy(&[id as u8]).into_owned()),
                _ => BYTE_NAMES.get(id as usize - 256).map(|name| (*name).to_string()),
            },
            Coder::Pieces(pieces) => pieces.id_to_token(id),
        }
    }

    pub fn id(&self, token: &str) -> Option<u32> {
        match &self.coder {
            Coder::Bytes => BYTE_NAMES.iter().position(|name| *name == token).map(|index| index as u32 + 256),
            Coder::Pieces(pieces) => pieces.token_to_id(token),
        }
    }

    /// Whether a token is a sign rather than text: `<|im_end|>`.
    pub fn is_special(&self, id: u32) -> bool {
        match &self.coder {
            Coder::Bytes => id >= 256,
            Coder::Pieces(pieces) => {
                let added = pieces.get_added_vocabulary();
                added.simple_id_to_token(id).is_some_and(|token| added.is_special_token(&token))
            }
        }
    }

    /// The special tokens that templates name.
    pub fn token_texts(&self) -> TokenTexts {
        let named = [("bos_token", self.bos), ("eos_token", self.eos), ("pad_token", self.pad)];
        let texts = named.into_iter().filter_map(|(name, id)| Some((name.to_string(), self.token(id?)?)));
        texts.collect::<BTreeMap<_, _>>()
    }
}

fn decode_bytes(ids: &[u32], special: SpecialTokens) -> String {
    let mut bytes = vec![];
    for id in ids {
        match (*id, special) {
            (0..256, _) => bytes.push(*id as u8),
            (_, SpecialTokens::Keep) => {
                let name = BYTE_NAMES.get(*id as usize - 256).unwrap_or(&"");
                bytes.extend_from_slice(name.as_bytes());
            }
            (_, SpecialTokens::Skip) => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_there_and_back() {
        let tokenizer = Tokenizer::bytes();
        let ids = tokenizer.encode("hé").expect("encodes");
        assert_eq!(ids, [104, 195, 169]);
        assert_eq!(tokenizer.decode(&ids, SpecialTokens::Skip).expect("decodes"), "hé");
        assert_eq!(
            tokenizer.decode(&[256, 104, 257], SpecialTokens::Keep).expect("decodes"),
            "<|bos|>h<|eos|>"
        );
        assert_eq!(tokenizer.vocabulary_size(), 259);
        assert!(tokenizer.is_special(257) && !tokenizer.is_special(65));
    }

    #[test]
    fn encoding_many_reports_and_can_be_stopped() {
        let texts = vec!["ab"; 1000];
        let mut seen = vec![];
        let all = Tokenizer::bytes().encode_all(&texts, &mut |progress| {
            seen.push(progress.done);
            true
        });
        assert_eq!(all.expect("encodes"), vec![vec![97, 98]; 1000]);
        assert_eq!(seen, [512, 1000]);
        let stopped = Tokenizer::bytes().encode_all(&texts, &mut |_| false);
        assert!(matches!(stopped, Err(DataError::Stopped)));
    }
}
