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
use tokenizers::processors::template::TemplateProcessing;
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
        if adds_bos {
            begin_with_bos(&mut pieces, vocabulary)?;
        }
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

/// Other programs that read this tokenizer from an exported folder learn from it that texts begin with `bos`.
fn begin_with_bos(pieces: &mut tokenizers::Tokenizer, vocabulary: &Vocabulary) -> Result<(), DataError> {
    let Some(id) = vocabulary.bos else { return Ok(()) };
    let Some(bos) = vocabulary.tokens.get(id as usize) else { return Ok(()) };
    let template = TemplateProcessing::builder()
        .try_single(format!("{bos} $A"))
        .map_err(failed)?
        .special_tokens(vec![(bos.clone(), id)])
        .build();
    pieces.with_post_processor(Some(template.map_err(failed)?));
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::stream::StreamDecoder;
    use crate::data::template::{Ending, Message};
    use crate::data::tokenizer::SpecialTokens;
    use serde_json::Value;
    use std::collections::BTreeMap;
    use std::path::Path;

    struct Case {
        text: String,
        ids: Vec<u32>,
    }

    /// A vocabulary of which only the tokens that its cases can touch are kept, each with its own id.
    fn fixture(name: &str) -> (Vocabulary, Value) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data").join(name);
        let mut fixture: Value = serde_json::from_slice(&std::fs::read(path).expect("read")).expect("JSON");
        let size = fixture["vocabulary_size"].as_u64().expect("a size") as usize;
        let kept: BTreeMap<usize, String> = serde_json::from_value(fixture["tokens"].take()).expect("tokens");
        let tokens: Vec<String> = (0..size)
            .map(|id| kept.get(&id).cloned().unwrap_or_else(|| format!("<left out {id}>")))
            .collect();
        let numbers = |value: &Value, otherwise: f64| -> Vec<f64> {
            let known: BTreeMap<usize, f64> = serde_json::from_value(value.clone()).unwrap_or_default();
            (0..size).map(|id| known.get(&id).copied().unwrap_or(otherwise)).collect()
        };
        let mut kinds: Vec<i64> =
            numbers(&fixture["kinds"], 1.0).into_iter().map(|kind| kind as i64).collect();
        for control in fixture["controls"].as_array().into_iter().flatten() {
            kinds[control.as_u64().expect("an id") as usize] = CONTROL;
        }
        let scores = numbers(&fixture["scores"], -1e9);
        fixture["tokens"] = Value::Array(vec![]);
        fixture["kinds"] = Value::Array(vec![]);
        fixture["scores"] = Value::Array(vec![]);
        let vocabulary = serde_json::from_value(fixture.clone()).expect("a vocabulary");
        (Vocabulary { tokens, kinds, scores, ..vocabulary }, fixture)
    }

    fn cases(fixture: &Value) -> Vec<Case> {
        let cases = fixture["cases"].as_array().expect("cases");
        let case = |case: &Value| Case {
            text: case["text"].as_str().expect("a text").into(),
            ids: serde_json::from_value(case["ids"].clone()).expect("ids"),
        };
        cases.iter().map(case).collect()
    }

    fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
        let mut decoder = StreamDecoder::new(tokenizer, &[]).expect("decodes");
        let pieces: String = ids.iter().map(|id| decoder.push(*id).expect("decodes")).collect();
        pieces + &decoder.finish().expect("decodes")
    }

    #[test]
    fn smollm2_reaches_every_reference_case() {
        let (vocabulary, fixture) = fixture("smollm2.json");
        let tokenizer = Tokenizer::from_vocabulary(&vocabulary).expect("a tokenizer");
        for case in cases(&fixture) {
            assert_eq!(tokenizer.encode(&case.text).expect("encodes"), case.ids, "{}", case.text);
            assert_eq!(tokenizer.decode(&case.ids, SpecialTokens::Keep).expect("decodes"), case.text);
            let quiet = tokenizer.decode(&case.ids, SpecialTokens::Skip).expect("decodes");
            assert_eq!(streamed(&tokenizer, &case.ids), quiet);
            let marked = tokenizer.encode_with_ranges(&case.text).expect("encodes");
            assert_eq!(marked.ids, case.ids);
            assert!(marked.ranges.windows(2).all(|pair| pair[0].1 <= pair[1].1), "ranges go forward");
        }
        let wiki = fixture["wiki"]["text"].as_str().expect("a text");
        let expected: Vec<u32> = serde_json::from_value(fixture["wiki"]["ids"].clone()).expect("ids");
        let ids = tokenizer.encode(wiki).expect("encodes");
        // The text is cut in the middle of a word, so its last tokens differ.
        assert_eq!(ids[..ids.len() - 3], expected[..ids.len() - 3]);
        assert_eq!((tokenizer.vocabulary_size(), tokenizer.bos, tokenizer.eos), (49152, Some(1), Some(2)));
        assert_eq!((tokenizer.stops.as_slice(), tokenizer.adds_bos), ([0, 2].as_slice(), false));
    }

    #[test]
    fn smollm2_renders_its_own_template() {
        let (vocabulary, fixture) = fixture("smollm2.json");
        let tokenizer = Tokenizer::from_vocabulary(&vocabulary).expect("a tokenizer");
        let template = tokenizer.chat_template.clone().expect("a template");
        let messages = [Message::new("user", "Write a short poem about the sea.")];
        let text = template.render(&messages, Ending::AwaitsAnswer).expect("renders");
        let case = cases(&fixture).into_iter().find(|case| case.text == text).expect("a case");
        assert_eq!(tokenizer.chat(&template, &messages).expect("encodes"), case.ids);
    }

    #[test]
    fn sentencepiece_reaches_its_own_ids() {
        let (vocabulary, fixture) = fixture("sentencepiece.json");
        let tokenizer = Tokenizer::from_vocabulary(&vocabulary).expect("a tokenizer");
        for case in cases(&fixture) {
            assert_eq!(tokenizer.encode(&case.text).expect("encodes"), case.ids, "{}", case.text);
            assert_eq!(tokenizer.decode(&case.ids, SpecialTokens::Skip).expect("decodes"), case.text);
            assert_eq!(streamed(&tokenizer, &case.ids), case.text);
        }
        assert_eq!(tokenizer.prompt("x").expect("encodes")[0], tokenizer.bos.expect("a bos"));
    }

    #[test]
    fn a_vocabulary_that_cannot_be_used_says_why() {
        let message = |vocabulary: Vocabulary| {
            Tokenizer::from_vocabulary(&vocabulary).expect_err("refused").to_string()
        };
        let gpt2 = Vocabulary {
            model: "gpt2".into(),
            tokens: vec!["a".into(), "b".into()],
            ..Vocabulary::default()
        };
        let unknown = Vocabulary { pre: Some("nonesuch".into()), ..gpt2.clone() };
        assert!(message(unknown).starts_with("pre-tokenizer `nonesuch` is not known"));
        assert!(
            message(Vocabulary { merges: vec!["a".into()], ..gpt2.clone() })
                .contains("merge `a` is not two pieces")
        );
        assert!(message(Vocabulary { merges: vec!["a c".into()], ..gpt2.clone() }).contains("c"));
        let bert = Vocabulary { model: "bert".into(), ..gpt2 };
        assert!(message(bert).contains("its kind is `bert`; known are `gpt2` and `llama`"));
    }
}
