//! The tokenizer that a GGUF file carries in its metadata.

use crate::data::error::DataError;
use crate::data::pre_tokenizer::rule;
use crate::data::tokenizer::{Tokenizer, Traits};
use crate::files::gguf::Gguf;
use serde::{Deserialize, Serialize};
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, PreTokenizerWrapper};

/// Kinds of tokens, as the file numbers them.
const NORMAL: i64 = 1;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// SentencePiece's sign for a space.
const SPACE: &str = "\u{2581}";

/// Control tokens that end a turn or a text in one family or another.
const STOPS: [&str; 7] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "<end_of_turn>",
];

/// The part of a GGUF file's metadata that speaks of its tokenizer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vocabulary {
    /// `gpt2` for byte-level BPE, `llama` for SentencePiece.
    pub model: String,
    pub pre: Option<String>,
    pub tokens: Vec<String>,
    pub kinds: Vec<i64>,
    pub scores: Vec<f64>,
    pub merges: Vec<String>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub pad: Option<u32>,
    pub unknown: Option<u32>,
    pub end_of_turn: Option<u32>,
    pub adds_bos: Option<bool>,
    pub adds_space_prefix: Option<bool>,
    pub chat_template: Option<String>,
}

impl Vocabulary {
    pub fn from_gguf(gguf: &Gguf) -> Result<Vocabulary, DataError> {
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let id = |name: &str| gguf.integer(&key(name)).ok().and_then(|id| u32::try_from(id).ok());
        let text = |key: &str| gguf.text(key).ok().map(str::to_string);
        let texts = |name: &str| gguf.texts(&key(name)).map(<[String]>::to_vec);
        Ok(Vocabulary {
            model: gguf.text(&key("model"))?.to_string(),
            pre: text(&key("pre")),
            tokens: texts("tokens")?,
            kinds: gguf.integers(&key("token_type")).map(<[i64]>::to_vec).unwrap_or_default(),
            scores: gguf.numbers(&key("scores")).map(<[f64]>::to_vec).unwrap_or_default(),
            merges: texts("merges").unwrap_or_default(),
            bos: id("bos_token_id"),
            eos: id("eos_token_id"),
            pad: id("padding_token_id"),
            unknown: id("unknown_token_id"),
            end_of_turn: id("eot_token_id"),
            adds_bos: gguf.flag(&key("add_bos_token")).ok(),
            adds_space_prefix: gguf.flag(&key("add_space_prefix")).ok(),
            chat_template: text("tokenizer.chat_template"),
        })
    }

    fn kind(&self, id: usize) -> i64 {
        self.kinds.get(id).copied().unwrap_or(NORMAL)
    }

    fn identity(&self) -> Vec<u8> {
        let kinds: Vec<String> = self.kinds.iter().map(i64::to_string).collect();
        let scores: Vec<String> = self.scores.iter().map(f64::to_string).collect();
        let lists = [&self.tokens, &self.merges, &kinds, &scores].map(|list| list.join("\n"));
        format!("{} {:?} {:?}\n{}", self.model, self.pre, self.adds_space_prefix, lists.join("\0"))
            .into_bytes()
    }
}

impl Tokenizer {
    /// From a GGUF file's metadata.
    pub fn from_gguf(gguf: &Gguf) -> Result<Tokenizer, DataError> {
        Tokenizer::from_vocabulary(&Vocabulary::from_gguf(gguf)?).map_err(|error| match error {
            DataError::Encode { what } => DataError::Tokenizer { path: gguf.path().into(), what },
            other => other,
        })
    }

    pub fn from_vocabulary(vocabulary: &Vocabulary) -> Result<Tokenizer, DataError> {
        let adds_bos;
        let mut pieces = match vocabulary.model.as_str() {
            "gpt2" => {
                let rule = rule(vocabulary.pre.as_deref().unwrap_or("default"))?;
                adds_bos = vocabulary.adds_bos.unwrap_or(rule.adds_bos);
                byte_level(vocabulary, rule.expressions, rule.ignore_merges)?
            }
            "llama" => {
                adds_bos = vocabulary.adds_bos.unwrap_or(true);
                sentence_piece(vocabulary)?
            }
            other => {
                return Err(DataError::Encode {
                    what: format!("its kind is `{other}`; known are `gpt2` and `llama`"),
                });
            }
        };
        add_special_tokens(&mut pieces, vocabulary);
        let named = STOPS.iter().filter_map(|token| {
            let id = vocabulary.tokens.iter().position(|known| known == token)?;
            (vocabulary.kind(id) == CONTROL).then_some(id as u32)
        });
        let traits = Traits {
            bos: vocabulary.bos,
            eos: vocabulary.eos,
            pad: vocabulary.pad,
            unknown: vocabulary.unknown,
            stops: named.chain(vocabulary.end_of_turn).collect(),
            adds_bos: Some(adds_bos),
            chat_template: vocabulary.chat_template.clone(),
        };
        Tokenizer::from_pieces(pieces, traits, &vocabulary.identity())
    }
}

fn add_special_tokens(pieces: &mut tokenizers::Tokenizer, vocabulary: &Vocabulary) {
    let of_kind = |kind: i64| {
        let tokens = vocabulary.tokens.iter().enumerate();
        tokens.filter(move |(id, _)| vocabulary.kind(*id) == kind).map(|(_, token)| token.clone())
    };
    let special: Vec<_> =
        of_kind(CONTROL).map(|token| AddedToken::from(token, true).normalized(false)).collect();
    let defined: Vec<_> =
        of_kind(USER_DEFINED).map(|token| AddedToken::from(token, false).normalized(false)).collect();
    pieces.add_special_tokens(&special);
    pieces.add_tokens(&defined);
}

fn failed(error: impl ToString) -> DataError {
    DataError::Encode { what: error.to_string() }
}

/// Byte-level BPE, as GPT-2 and Llama 3 have it.
fn byte_level(
    vocabulary: &Vocabulary,
    expressions: &[&str],
    ignore_merges: bool,
) -> Result<tokenizers::Tokenizer, DataError> {
    let mut merges: Merges = Vec::with_capacity(vocabulary.merges.len());
    for merge in &vocabulary.merges {
        let (left, right) =
            merge.split_once(' ').ok_or_else(|| failed(format!("merge `{merge}` is not two pieces")))?;
        merges.push((left.into(), right.into()));
    }
    let model = BPE::builder().vocab_and_merges(numbered(vocabulary), merges).ignore_merges(ignore_merges);
    let mut pieces = tokenizers::Tokenizer::new(model.build().map_err(failed)?);
    let mut steps: Vec<PreTokenizerWrapper> = vec![];
    for expression in expressions {
        let pattern = SplitPattern::Regex((*expression).to_string());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed)?;
        steps.push(split.into());
    }
    steps.push(ByteLevel::new(false, true, false).into());
    pieces.with_pre_tokenizer(Some(PreTokenizers::new(steps)));
    pieces.with_decoder(Some(ByteLevel::new(false, true, false)));
    Ok(pieces)
}

/// SentencePiece's BPE, as Llama 2 has it: spaces are `▁`, unknown characters fall back to bytes.
fn sentence_piece(vocabulary: &Vocabulary) -> Result<tokenizers::Tokenizer, DataError> {
    let unknown = vocabulary.unknown.and_then(|id| vocabulary.tokens.get(id as usize));
    let mut model = BPE::builder()
        .vocab_and_merges(numbered(vocabulary), merges_by_score(vocabulary))
        .fuse_unk(true)
        .byte_fallback(true);
    if let Some(unknown) = unknown {
        model = model.unk_token(unknown.clone());
    }
    let mut pieces = tokenizers::Tokenizer::new(model.build().map_err(failed)?);
    let spaces = Replace::new(" ", SPACE).map_err(failed)?;
    let prefix = vocabulary.adds_space_prefix.unwrap_or(true);
    let prepend = prefix.then(|| Prepend::new(SPACE.into()).into());
    pieces.with_normalizer(Some(Normalizers::new(prepend.into_iter().chain([spaces.into()]).collect())));
    let back = Replace::new(SPACE, " ").map_err(failed)?;
    let strip = prefix.then(|| Strip::new(' ', 1, 0).into());
    let steps = [back.into(), ByteFallback::new().into(), Fuse::new().into()];
    pieces.with_decoder(Some(Decoders::new(steps.into_iter().chain(strip).collect())));
    Ok(pieces)
}

fn numbered(vocabulary: &Vocabulary) -> Vocab {
    vocabulary.tokens.iter().enumerate().map(|(id, token)| (token.clone(), id as u32)).collect()
}

/// SentencePiece joins the pair whose whole has the best score; as ranked merges that is every way to
/// split a piece into two pieces, best whole first.
fn merges_by_score(vocabulary: &Vocabulary) -> Merges {
    let known = numbered(vocabulary);
    let mut ranked: Vec<(f64, usize, usize, &str, &str)> = vec![];
    for (id, token) in vocabulary.tokens.iter().enumerate().filter(|(id, _)| vocabulary.kind(*id) == NORMAL) {
        let score = vocabulary.scores.get(id).copied().unwrap_or(-(id as f64));
        let mut splits: Vec<(u32, u32, &str, &str)> = token
            .char_indices()
            .skip(1)
            .filter_map(|(place, _)| {
                let (left, right) = token.split_at(place);
                Some((*known.get(left)?, *known.get(right)?, left, right))
            })
            .collect();
        splits.sort_unstable_by_key(|(left, right, ..)| (*left, *right));
        ranked.extend(
            splits
                .into_iter()
                .map(|(_, _, left, right)| (score, left.chars().count(), right.chars().count(), left, right)),
        );
    }
    // Stable: splits that are equal so far keep the order of their ids.
    ranked.sort_by(|left, right| right.0.total_cmp(&left.0).then((right.1, right.2).cmp(&(left.1, left.2))));
    ranked.into_iter().map(|(_, _, _, left, right)| (left.to_string(), right.to_string())).collect()
}
