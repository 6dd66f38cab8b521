//! Text token by token, shown as it is made, until an end is reached.

use crate::data::stream::StreamDecoder;
use crate::data::tokenizer::Tokenizer;
use crate::generate::GenerateError;
use crate::generate::sampling::{Sampler, Sampling};
use crate::model::cache::KvCache;
use crate::model::llama::Policy;
use tch::Tensor;

/// What was made: the tokens without the one that ended them, and their text.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    pub ids: Vec<u32>,
    pub text: String,
    pub ended: Ended,
}

/// Why no more was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model's end-of-text token.
    EndToken,
    /// One of `stop`.
    StopText,
    /// `max` tokens, or the model's last position.
    Length,
    /// The observer said stop.
    Asked,
}

/// Continues `prompt`. `on_piece` is called after each token with the text that became whole, often empty; when it
/// says false, what was made so far is the answer. A text of `stop` is never shown.
pub fn generate(
    policy: &Policy,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    sampling: &Sampling,
    on_piece: &mut dyn FnMut(&str) -> bool,
) -> Result<Generated, GenerateError> {
    let prompt = match (prompt, tokenizer.bos) {
        ([], Some(bos)) => vec![bos],
        ([], None) => return Err(GenerateError::EmptyPrompt),
        (prompt, _) => prompt.to_vec(),
    };
    let ends = ends(policy, tokenizer);
    let mut text = Held::new(&sampling.stop);
    let mut decoder = StreamDecoder::new(tokenizer, &prompt)?;
    let mut asked = false;
    let mut failed = None;
    let (ids, mut ended) = continue_ids(policy, &prompt, sampling, &ends, &mut |id| {
        let piece = match decoder.push(id) {
            Ok(piece) => piece,
            Err(error) => {
                failed = Some(error);
                return false;
            }
        };
        let shown = text.push(&piece);
        asked = !on_piece(shown);
        !asked && !text.stopped
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if !text.stopped && !asked {
        let rest = decoder.finish()?;
        let shown = text.finish(&rest);
        on_piece(shown);
    }
    if text.stopped {
        ended = Ended::StopText;
    }
    Ok(Generated { ids, text: text.whole, ended })
}

/// The tokens alone: continues `prompt` until one of `ends`, the limit, or until `on_token` says false.
pub fn continue_ids(
    policy: &Policy,
    prompt: &[u32],
    sampling: &Sampling,
    ends: &[u32],
    on_token: &mut dyn FnMut(u32) -> bool,
) -> Result<(Vec<u32>, Ended), GenerateError> {
    let (vocabulary, positions) = (policy.base.config.vocab_size, policy.base.config.max_position_embeddings);
    if let Some(&id) = prompt.iter().find(|id| i64::from(**id) >= vocabulary) {
        return Err(GenerateError::TokenOutside { id, vocabulary });
    }
    if prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    if prompt.len() as i64 > positions {
        return Err(GenerateError::PromptTooLong { tokens: prompt.len(), positions });
    }
    let room = (positions as usize - prompt.len()).min(sampling.max);
    let mut history = prompt.to_vec();
    let mut sampler = Sampler::new(sampling);
    let mut cache = KvCache::new();
    let mut new = prompt.len();
    while history.len() - prompt.len() < room {
        let ids: Vec<i64> = history[history.len() - new..].iter().map(|id| i64::from(*id)).collect();
        let input_ids = Tensor::from_slice(&ids).unsqueeze(0).to_device(policy.base.device);
        let mut logits = logits_of(&policy.decode(&input_ids, &mut cache));
        let made = history.len() - prompt.len();
        let next = sampler.next(&mut logits, &history).ok_or(GenerateError::NotFinite { tokens: made })?;
        if ends.contains(&next) {
            return Ok((history.split_off(prompt.len()), Ended::EndToken));
        }
        history.push(next);
        new = 1;
        if !on_token(next) {
            return Ok((history.split_off(prompt.len()), Ended::Asked));
        }
    }
    Ok((history.split_off(prompt.len()), Ended::Length))
}

/// The tokens that end a text, by the tokenizer or by the model's configuration.
fn ends(policy: &Policy, tokenizer: &Tokenizer) -> Vec<u32> {
    let configured = policy.base.config.eos_token_id.iter().filter_map(|id| u32::try_from(*id).ok());
    tokenizer.stops.iter().copied().chain(configured).collect()
}

fn logits_of(logits_bv: &Tensor) -> Vec<f32> {
    let logits_v = logits_bv.view(-1).to_device(tch::Device::Cpu).contiguous();
    let mut logits = vec![0f32; logits_v.numel()];
    let count = logits.len();
    logits_v.copy_data(&mut logits, count);
    logits
}

/// The text so far; what may be the beginning of a stop text is not shown yet.
struct Held<'a> {
    stops: &'a [String],
    whole: String,
    shown: usize,
    stopped: bool,
}

impl<'a> Held<'a> {
    fn new(stops: &'a [String]) -> Held<'a> {
        Held { stops, whole: String::new(), shown: 0, stopped: false }
    }

    /// Adds a piece; what may now be shown.
    fn push(&mut self, piece: &str) -> &str {
        self.whole.push_str(piece);
        let found = self
            .stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| self.whole.find(stop.as_str()));
        if let Some(end) = found.min() {
            self.whole.truncate(end);
            self.stopped = true;
            return self.show_up_to(end);
        }
        let held = self.stops.iter().map(|stop| overlap(&self.whole, stop)).max().unwrap_or(0);
        self.show_up_to(self.whole.len() - held)
    }

    /// Adds the last piece and shows all that is left.
    fn finish(&mut self, piece: &str) -> &str {
        let begin = self.shown;
        self.push(piece);
        self.shown = self.whole.len();
        &self.whole[begin.min(self.whole.len())..]
    }

    fn show_up_to(&mut self, end: usize) -> &str {
        let begin = self.shown.min(end);
        self.shown = self.shown.max(end);
        &self.whole[begin..end]
    }
}

/// Bytes at the end of `text` that begin `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let beginnings = stop.char_indices().map(|(index, _)| index).filter(|index| *index > 0);
    beginnings.filter(|length| text.ends_with(&stop[..*length])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::base::Base;
    use crate::model::config::Config;
    use crate::model::fixtures;
    use crate::model::preset::preset;
    use tch::{Device, Kind};

    fn bytes_model() -> Base {
        let config = Config { vocab_size: 259, ..preset("tiny").unwrap() };
        Base::random(config, 7, Kind::Float, Device::Cpu).unwrap()
    }

    #[test]
    fn greedy_tokens_of_both_reference_models_are_reached() {
        for name in fixtures::NAMES {
            let (base, numbers) = (fixtures::load(name), fixtures::numbers(name));
            let ids: Vec<u32> =
                fixtures::integers(&numbers["token_ids"]).iter().map(|id| *id as u32).collect();
            let sampling = Sampling { max: 16, ..Sampling::default() };
            let policy = fixtures::policy(&base);
            let (made, ended) = continue_ids(&policy, &ids[..12], &sampling, &[], &mut |_| true).unwrap();
            let made: Vec<i64> = made.into_iter().map(i64::from).collect();
            assert_eq!((made, ended), (fixtures::integers(&numbers["greedy_after_12"]), Ended::Length));
        }
    }

    #[test]
    fn pieces_are_the_text_and_an_observer_may_stop() {
        let (base, tokenizer) = (bytes_model(), Tokenizer::bytes());
        let sampling = Sampling { max: 20, temperature: 1.0, seed: 5, ..Sampling::default() };
        let policy = fixtures::policy(&base);
        let mut pieces = String::new();
        let made = generate(&policy, &tokenizer, &[65], &sampling, &mut |piece| {
            pieces.push_str(piece);
            true
        });
        let made = made.unwrap();
        assert_eq!(made.text, pieces);
        let again = generate(&policy, &tokenizer, &[65], &sampling, &mut |_| true).unwrap();
        assert_eq!(made, again);
        let stopped = generate(&policy, &tokenizer, &[65], &sampling, &mut |_| false).unwrap();
        assert_eq!((stopped.ids.len(), stopped.ended), (1, Ended::Asked));
        assert_eq!(stopped.ids[0], made.ids[0]);
    }

    #[test]
    fn an_end_token_ends_and_is_not_part_of_the_answer() {
        let base = bytes_model();
        let policy = fixtures::policy(&base);
        let sampling = Sampling { max: 8, ..Sampling::default() };
        let (made, _) = continue_ids(&policy, &[65, 66], &sampling, &[], &mut |_| true).unwrap();
        let first = made.iter().position(|id| *id == made[3]).unwrap();
        let (cut, ended) = continue_ids(&policy, &[65, 66], &sampling, &[made[3]], &mut |_| true).unwrap();
        assert_eq!((cut.as_slice(), ended), (&made[..first], Ended::EndToken));
    }

    #[test]
    fn a_stop_text_is_never_shown_even_in_pieces() {
        let stops = vec!["<end>".to_string(), "\n\n".to_string()];
        let mut held = Held::new(&stops);
        assert_eq!(held.push("a<e"), "a");
        assert_eq!(held.push("x"), "<ex");
        assert_eq!(held.push("b<end"), "b");
        assert_eq!(held.push(">c"), "");
        assert!(held.stopped && held.whole == "a<exb");
        let mut held = Held::new(&stops);
        assert_eq!(held.push("a\n"), "a");
        assert_eq!(held.finish("b"), "\nb");
    }

    #[test]
    fn a_prompt_that_cannot_be_says_why() {
        let (base, tokenizer) = (bytes_model(), Tokenizer::bytes());
        let policy = fixtures::policy(&base);
        let error = |prompt: &[u32]| {
            let made = continue_ids(&policy, prompt, &Sampling::default(), &[], &mut |_| true);
            made.unwrap_err().to_string()
        };
        assert!(error(&[]).starts_with("the prompt is empty"));
        assert!(
            error(&[300]).starts_with("token 300 of the prompt is outside the model's vocabulary of 259")
        );
        assert!(
            error(&vec![1; 2049]).starts_with("the prompt has 2049 tokens, and the model has 2048 positions")
        );
        let sampling = Sampling { max: 1, ..Sampling::default() };
        assert_eq!(generate(&policy, &tokenizer, &[], &sampling, &mut |_| true).unwrap().ids.len(), 1);
    }
}
