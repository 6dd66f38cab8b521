//! From a record to tokens with their label mask.

use crate::data::dataset::Counts;
use crate::data::error::{DataError, Place};
use crate::data::long::encode_long;
use crate::data::mask::{is_target, mask};
use crate::data::record::Record;
use crate::data::specification::{LossOn, OverLength};
use crate::data::template::{ChatTemplate, Message};
use crate::data::tokenizer::Tokenizer;

/// How records become examples.
pub struct Encoder<'a> {
    pub tokenizer: &'a Tokenizer,
    /// None: prompts and completions stand as they are.
    pub template: Option<&'a ChatTemplate>,
    pub loss_on: &'a LossOn,
    pub over_length: OverLength,
    pub max_len: usize,
    pub eos: bool,
}

/// Tokens and label mask, and the words they came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    pub ids: Vec<u32>,
    pub supervised: Vec<bool>,
    pub prompt: String,
    pub completion: String,
    pub label: String,
    pub rejected: String,
}

impl Encoder<'_> {
    /// The examples of a record: blocks of a text, else one or (too long, or empty) none.
    pub fn encode(&self, record: Record, place: &Place) -> Result<(Vec<Encoded>, Counts), DataError> {
        let mut counts = Counts::default();
        let example = match record {
            Record::Text(text) => return Ok((self.blocks(&text, &mut counts)?, counts)),
            Record::Ids { ids, supervised } => self.ids(ids, supervised, place)?,
            Record::Chat { messages, answers_from } => self.chat(messages, answers_from, place)?,
            Record::Pair { prompt, completion } => self.pair(prompt, completion, place)?,
            Record::Labelled { text, label } => {
                // Without a template the label stands on its own line.
                let prompt = if self.template.is_some() { text } else { format!("{text}\n") };
                let example = self.pair(prompt, label, place)?;
                Encoded { label: example.completion.clone(), ..example }
            }
            Record::Preference { prompt, chosen, rejected } => {
                let answers_from = prompt.len();
                let example = if self.template.is_some() {
                    let answer = Message::new("assistant", chosen);
                    self.chat(prompt.into_iter().chain([answer]).collect(), answers_from, place)?
                } else {
                    let prompt =
                        prompt.into_iter().map(|message| message.content).collect::<Vec<_>>().concat();
                    self.pair(prompt, chosen, place)?
                };
                Encoded { rejected, ..example }
            }
        };
        let example = self.fit(example, place, &mut counts)?;
        Ok((example.into_iter().collect(), counts))
    }

    /// A text's tokens in consecutive blocks; all but the first token of each are targets.
    fn blocks(&self, text: &str, counts: &mut Counts) -> Result<Vec<Encoded>, DataError> {
        let bos = self.tokenizer.bos.filter(|_| self.eos && self.tokenizer.adds_bos);
        let mut ids: Vec<u32> = bos.into_iter().collect();
        ids.extend(encode_long(self.tokenizer, text)?);
        ids.extend(self.tokenizer.eos.filter(|_| self.eos));
        let mut blocks = vec![];
        for block in ids.chunks(self.max_len) {
            if block.len() < 2 {
                // One token alone predicts nothing.
                counts.cut_tokens += 1;
                continue;
            }
            let supervised = (0..block.len()).map(|index| index > 0).collect();
            blocks.push(Encoded { ids: block.to_vec(), supervised, ..Encoded::default() });
        }
        Ok(blocks)
    }

    fn ids(&self, ids: Vec<i64>, supervised: Vec<bool>, place: &Place) -> Result<Encoded, DataError> {
        let vocabulary = self.tokenizer.vocabulary_size();
        let inside = |id: i64| u32::try_from(id).ok().filter(|id| (*id as usize) < vocabulary);
        let checked: Result<Vec<u32>, i64> = ids.into_iter().map(|id| inside(id).ok_or(id)).collect();
        let ids =
            checked.map_err(|id| DataError::BeyondVocabulary { place: place.clone(), id, vocabulary })?;
        Ok(Encoded { ids, supervised, ..Encoded::default() })
    }

    fn pair(&self, prompt: String, completion: String, place: &Place) -> Result<Encoded, DataError> {
        if self.template.is_some() {
            return self.chat(
                vec![Message::new("user", prompt), Message::new("assistant", completion)],
                0,
                place,
            );
        }
        let bos = self.tokenizer.bos.filter(|_| self.tokenizer.adds_bos);
        let before = self.tokenizer.encode(&prompt)?;
        let after = self.continuation(&before, &prompt, &completion)?;
        let mut ids: Vec<u32> = bos.into_iter().chain(before).collect();
        let prompt_tokens = ids.len();
        ids.extend(after);
        ids.extend(self.tokenizer.eos.filter(|_| self.eos));
        let (on_prompt, on_completion) =
            (is_target(self.loss_on, "user"), is_target(self.loss_on, "assistant"));
        let supervised = (0..ids.len())
            .map(|index| index > 0 && if index < prompt_tokens { on_prompt } else { on_completion })
            .collect();
        Ok(Encoded { ids, supervised, prompt, completion, ..Encoded::default() })
    }

    /// The completion's tokens as they follow the prompt's: the two together where the prompt's tokens stay the
    /// same, else apart, so that training always sees the prompt as generation will.
    fn continuation(&self, before: &[u32], prompt: &str, completion: &str) -> Result<Vec<u32>, DataError> {
        let together = self.tokenizer.encode(&[prompt, completion].concat())?;
        match together.strip_prefix(before) {
            Some(continuation) => Ok(continuation.to_vec()),
            None => self.tokenizer.encode(completion),
        }
    }

    fn chat(&self, messages: Vec<Message>, answers_from: usize, place: &Place) -> Result<Encoded, DataError> {
        let template = self.template.ok_or(DataError::NoTemplate { shape: "`messages`" })?;
        let masked = mask(template, &messages, answers_from, self.loss_on, place)?;
        let encoding = self.tokenizer.encode_with_ranges(&masked.text)?;
        let (mut ids, ranges) = (encoding.ids, encoding.ranges);
        let mut supervised = vec![false; ids.len()];
        let mut targets = masked.targets.iter().peekable();
        let mut before = 0;
        for (index, (begin, end)) in ranges.iter().enumerate() {
            while targets.next_if(|target| target.end <= (*begin).min(before)).is_some() {}
            let inside =
                targets.peek().is_some_and(|target| *end > target.start && (*begin).min(before) < target.end);
            supervised[index] = index > 0 && inside;
            before = (*end).max(before);
        }
        self.forget_space_after_turns(&ids, &mut supervised)?;
        let closes = supervised.iter().rposition(|supervised| *supervised).map(|last| ids[last]);
        let answered = masked.targets.last().is_some_and(|target| target.end == masked.text.len());
        // A template of plain words ends no turn; the model must still learn to stop.
        if let (Some(last), Some(eos), true) = (closes, self.tokenizer.eos, self.eos && answered)
            && !self.tokenizer.is_special(last)
        {
            ids.push(eos);
            supervised.push(true);
        }
        if !supervised.contains(&true) {
            return Err(self.no_target(&messages, answers_from, place));
        }
        let last = messages.iter().rposition(|message| message.role == "assistant").unwrap_or(messages.len());
        let mut words = messages.into_iter().map(|message| message.content);
        let prompt = last.checked_sub(1).and_then(|before| words.nth(before)).unwrap_or_default();
        let completion = words.next().unwrap_or_default();
        Ok(Encoded { ids, supervised, prompt, completion, ..Encoded::default() })
    }

    /// White space between the end-of-turn token and the next header is the template's, not an answer's.
    fn forget_space_after_turns(&self, ids: &[u32], supervised: &mut [bool]) -> Result<(), DataError> {
        let mut space_after_turn = false;
        for index in 0..ids.len() {
            if self.tokenizer.is_special(ids[index]) {
                space_after_turn = supervised[index];
                continue;
            }
            if !space_after_turn || !supervised[index] {
                space_after_turn = false;
                continue;
            }
            let text =
                self.tokenizer.decode(&ids[index..=index], crate::data::tokenizer::SpecialTokens::Keep)?;
            space_after_turn = text.trim().is_empty();
            supervised[index] = !space_after_turn;
        }
        Ok(())
    }

    fn no_target(&self, messages: &[Message], answers_from: usize, place: &Place) -> DataError {
        let mut roles: Vec<&str> = messages[answers_from.min(messages.len())..]
            .iter()
            .map(|message| message.role.as_str())
            .collect();
        roles.sort_unstable();
        roles.dedup();
        let wanted = match self.loss_on {
            LossOn::Roles(roles) => roles.join("`, `"),
            _ => "assistant".into(),
        };
        let why = format!(
            "none of its messages is of role `{wanted}`, it has `{}`; remove the row, or change `loss_on`",
            roles.join("`, `")
        );
        DataError::NothingSupervised { place: place.clone(), why }
    }

    /// Applies `max_len`.
    fn fit(
        &self,
        mut example: Encoded,
        place: &Place,
        counts: &mut Counts,
    ) -> Result<Option<Encoded>, DataError> {
        let (tokens, max_len) = (example.ids.len(), self.max_len);
        let first_target = example.supervised.iter().position(|supervised| *supervised);
        if tokens > max_len {
            counts.longest = tokens as u64;
            match self.over_length {
                OverLength::Error => {
                    return Err(DataError::TooLong { place: place.clone(), tokens, max_len });
                }
                OverLength::Drop => {
                    counts.dropped_long += 1;
                    return Ok(None);
                }
                OverLength::Cut => {
                    counts.cut += 1;
                    counts.cut_tokens += (tokens - max_len) as u64;
                    example.ids.truncate(max_len);
                    example.supervised.truncate(max_len);
                }
            }
        }
        if example.supervised.contains(&true) {
            return Ok(Some(example));
        }
        let why = match first_target {
            Some(first) => format!(
                "its prompt alone has {first} tokens, and `max_len` is {max_len}; \
                 raise `max_len`, or write `too_long = drop`"
            ),
            None => match self.loss_on {
                LossOn::Roles(roles) if !example.completion.is_empty() => format!(
                    "`loss_on` names `{}`, and its prompt is of role `user`, its completion of role `assistant`; \
                     change `loss_on`",
                    roles.join("`, `")
                ),
                _ => "all its labels are -100; remove the row".into(),
            },
        };
        Err(DataError::NothingSupervised { place: place.clone(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokenizer::SpecialTokens;
    use std::path::Path;

    fn tiny() -> Tokenizer {
        Tokenizer::from_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny"))
            .expect("a tokenizer")
    }

    fn place() -> Place {
        Place { file: "a.jsonl".into(), noun: "line", number: 4 }
    }

    fn encoder(tokenizer: &Tokenizer) -> Encoder<'_> {
        let (over_length, max_len) = (OverLength::Cut, 64);
        Encoder { tokenizer, template: None, loss_on: &LossOn::Completion, over_length, max_len, eos: true }
    }

    /// The text of the targets.
    fn targets(tokenizer: &Tokenizer, example: &Encoded) -> String {
        let targets = example.ids.iter().zip(&example.supervised).filter(|(_, supervised)| **supervised);
        let ids: Vec<u32> = targets.map(|(id, _)| *id).collect();
        tokenizer.decode(&ids, SpecialTokens::Keep).expect("decodes")
    }

    fn only(result: Result<(Vec<Encoded>, Counts), DataError>) -> Encoded {
        let (mut examples, _) = result.expect("encodes");
        assert_eq!(examples.len(), 1);
        examples.remove(0)
    }

    #[test]
    fn a_completion_and_its_end_are_the_targets() {
        let tokenizer = tiny();
        let pair = Record::Pair { prompt: "The capital is".into(), completion: " Paris, of course".into() };
        let example = only(encoder(&tokenizer).encode(pair.clone(), &place()));
        assert_eq!(targets(&tokenizer, &example), " Paris, of course<|im_end|>");
        let open = Encoder { eos: false, loss_on: &LossOn::All, ..encoder(&tokenizer) };
        let example = only(open.encode(pair, &place()));
        assert_eq!(example.supervised.iter().filter(|supervised| !**supervised).count(), 1);
    }

    #[test]
    fn with_a_template_answers_end_with_their_end_of_turn_token() {
        let tokenizer = tiny();
        let template = tokenizer.chat_template.clone().expect("a template");
        let encoder = Encoder { template: Some(&template), ..encoder(&tokenizer) };
        let messages = [("user", "hi"), ("assistant", "hello"), ("user", "bye"), ("assistant", "so long")];
        let messages = messages.iter().map(|(role, content)| Message::new(*role, *content)).collect();
        let example = only(encoder.encode(Record::Chat { messages, answers_from: 0 }, &place()));
        assert_eq!(targets(&tokenizer, &example), "hello<|im_end|>so long<|im_end|>");
        assert_eq!((example.prompt.as_str(), example.completion.as_str()), ("bye", "so long"));
        let pair = Record::Pair { prompt: "hi".into(), completion: "hello".into() };
        let example = only(encoder.encode(pair, &place()));
        let text = tokenizer.decode(&example.ids, SpecialTokens::Keep).expect("decodes");
        assert_eq!(text, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhello<|im_end|>\n");
    }

    #[test]
    fn a_template_of_plain_words_gets_an_end_token() {
        let tokenizer = Tokenizer::bytes();
        let source = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
        let template = ChatTemplate::new(source, &tokenizer.token_texts()).expect("parses");
        let encoder = Encoder { template: Some(&template), ..encoder(&tokenizer) };
        let example =
            only(encoder.encode(Record::Pair { prompt: "a".into(), completion: "é".into() }, &place()));
        assert_eq!(targets(&tokenizer, &example), "é\n<|eos|>");
    }

    #[test]
    fn a_text_is_cut_into_blocks() {
        let tokenizer = Tokenizer::bytes();
        let encoder = Encoder { max_len: 4, eos: false, ..encoder(&tokenizer) };
        let (blocks, counts) = encoder.encode(Record::Text("abcdefghi".into()), &place()).expect("encodes");
        let ids: Vec<_> = blocks.iter().map(|block| block.ids.clone()).collect();
        assert_eq!(ids, [b"abcd".map(u32::from).to_vec(), b"efgh".map(u32::from).to_vec()]);
        assert_eq!(blocks[0].supervised, [false, true, true, true]);
        assert_eq!(counts.cut_tokens, 1, "a block of one token would predict nothing");
    }

    #[test]
    fn what_is_too_long_is_cut_dropped_or_refused() {
        let tokenizer = Tokenizer::bytes();
        let pair = |prompt: &str| Record::Pair { prompt: prompt.into(), completion: "bcdef".into() };
        let cut = Encoder { max_len: 4, ..encoder(&tokenizer) };
        let (examples, counts) = cut.encode(pair("a"), &place()).expect("encodes");
        assert_eq!((examples[0].ids.len(), counts.cut, counts.cut_tokens), (4, 1, 3));
        let drop = Encoder { over_length: OverLength::Drop, ..cut };
        let (examples, counts) = drop.encode(pair("a"), &place()).expect("encodes");
        assert_eq!((examples.len(), counts.dropped_long), (0, 1));
        let refuse = Encoder { over_length: OverLength::Error, ..drop };
        let error = refuse.encode(pair("a"), &place()).expect_err("refused").to_string();
        assert!(
            error.starts_with("`a.jsonl` line 4 has 7 tokens, and `max_len` is 4; raise `max_len`"),
            "{error}"
        );
    }

    #[test]
    fn a_row_without_targets_says_why() {
        let tokenizer = tiny();
        let template = tokenizer.chat_template.clone().expect("a template");
        let short = Encoder { max_len: 3, ..encoder(&tokenizer) };
        let pair = Record::Pair { prompt: "a b c d e".into(), completion: "f".into() };
        let error = short.encode(pair, &place()).expect_err("no target").to_string();
        assert!(error.starts_with("`a.jsonl` line 4 has no supervised token: its prompt alone has 5 tokens, and `max_len` is 3; raise"), "{error}");
        let chat = Record::Chat { messages: vec![Message::new("user", "hi")], answers_from: 0 };
        let encoder = Encoder { template: Some(&template), ..encoder(&tokenizer) };
        assert_eq!(
            encoder.encode(chat, &place()).expect_err("no target").to_string(),
            "`a.jsonl` line 4 has no supervised token: none of its messages is of role `assistant`, it has `user`; \
             remove the row, or change `loss_on`"
        );
    }

    #[test]
    fn ids_must_lie_in_the_vocabulary() {
        let tokenizer = Tokenizer::bytes();
        let record = Record::Ids { ids: vec![1, 999], supervised: vec![false, true] };
        let error = encoder(&tokenizer).encode(record, &place()).expect_err("beyond").to_string();
        assert_eq!(
            error,
            "`a.jsonl` line 4: token 999 is beyond the tokenizer's vocabulary of 259; these ids were made with another tokenizer"
        );
    }
}
