//! Pre-tokenizers by the name that GGUF gives them: how text is cut into words before pieces are merged.

use crate::data::error::DataError;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Expressions applied one after the other; each cuts what the one before left whole.
    pub expressions: &'static [&'static str],
    /// Whether a word that is a piece itself is taken whole, whatever the merges say.
    pub ignore_merges: bool,
    /// Whether a text begins with `bos` when the file does not say.
    pub adds_bos: bool,
}

// The published expressions end with `\s+(?!\S)|\s+`: a run of spaces leaves its last one to the word after it.
// An engine with look-ahead is slow and gives up on very long runs. So each is written here as two without it: the
// first cuts every run before its last space, the second is the rest. A test holds them against the published ones.

const GPT2_CUT: &str = r"\s?\S+";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
/// Where newlines bind spaces before them.
const LINE_CUT: &str = r"(?:[^\S\r\n]?\S|[^\S\r\n]*[\r\n])(?:\S|[^\S\r\n]*[\r\n])*";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+";

const fn plain(expressions: &'static [&'static str]) -> Rule {
    Rule { expressions, ignore_merges: false, adds_bos: false }
}

const PLAIN_GPT2: Rule = plain(&[GPT2_CUT, GPT2]);
const PLAIN_LLAMA3: Rule = plain(&[LINE_CUT, LLAMA3]);
const PLAIN_QWEN2: Rule = plain(&[LINE_CUT, QWEN2]);
const LLAMA_BPE: Rule = Rule { ignore_merges: true, adds_bos: true, ..PLAIN_LLAMA3 };
const SINGLE_DIGITS: Rule = plain(&[r"\p{N}", GPT2_CUT, GPT2]);
const DEFAULT: Rule = plain(&[r"[\p{P}\$\+<=>\^~\|]+", GPT2_CUT, GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"]);

/// Every known name, as llama.cpp uses it for models of the Llama kind.
const RULES: &[(&str, Rule)] = &[
    ("default", DEFAULT),
    ("gpt-2", PLAIN_GPT2),
    ("gpt2", PLAIN_GPT2),
    ("olmo", PLAIN_GPT2),
    ("dbrx", PLAIN_LLAMA3),
    ("smaug-bpe", PLAIN_LLAMA3),
    ("llama-bpe", LLAMA_BPE),
    ("llama3", LLAMA_BPE),
    ("llama-v3", LLAMA_BPE),
    ("falcon3", LLAMA_BPE),
    ("smollm", SINGLE_DIGITS),
    ("starcoder", SINGLE_DIGITS),
    ("refact", SINGLE_DIGITS),
    ("command-r", SINGLE_DIGITS),
    ("codeshell", SINGLE_DIGITS),
    ("qwen2", PLAIN_QWEN2),
    ("deepseek-r1-qwen", PLAIN_QWEN2),
    ("stablelm2", PLAIN_QWEN2),
    ("tekken", Rule { expressions: &[LINE_CUT, TEKKEN], ignore_merges: true, adds_bos: true }),
];

/// The rule of a name.
pub fn rule(name: &str) -> Result<Rule, DataError> {
    match RULES.iter().find(|(known, _)| *known == name) {
        Some((_, rule)) => Ok(*rule),
        None => {
            let known: Vec<String> = RULES.iter().map(|(known, _)| format!("`{known}`")).collect();
            Err(DataError::PreTokenizer { name: name.into(), known: known.join(", ") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;
    use tokenizers::tokenizer::pattern::Pattern;
    use tokenizers::utils::SysRegex;

    fn words(name: &str, text: &str) -> Vec<String> {
        cut(&regexes(rule(name).expect("known").expressions), text)
    }

    fn regexes(expressions: &[&str]) -> Vec<SysRegex> {
        expressions.iter().map(|expression| SysRegex::new(expression).expect("an expression")).collect()
    }

    /// The words that each expression in turn leaves.
    fn cut(regexes: &[SysRegex], text: &str) -> Vec<String> {
        let mut words = vec![text.to_string()];
        for regex in regexes {
            let cut = |word: String| -> Vec<String> {
                let matches = regex.find_matches(&word).expect("matches");
                matches.into_iter().map(|((begin, end), _)| word[begin..end].to_string()).collect()
            };
            words = words.into_iter().flat_map(cut).filter(|word| !word.is_empty()).collect();
        }
        words
    }

    #[test]
    fn digits_are_cut_as_each_family_does() {
        assert_eq!(words("gpt-2", "in 12345"), ["in", " 12345"]);
        assert_eq!(words("smollm", "in 123"), ["in", " ", "1", "2", "3"]);
        assert_eq!(words("llama-bpe", "in 12345"), ["in", " ", "123", "45"]);
        assert_eq!(words("qwen2", "12"), ["1", "2"]);
        assert_eq!(words("default", "a, 12345"), ["a", ",", " ", "123", "45"]);
    }

    #[test]
    fn llama_3_keeps_newlines_with_punctuation_and_ignores_case() {
        assert_eq!(words("llama-bpe", "I'LL go.\n\n  now"), ["I", "'LL", " go", ".\n\n", " ", " now"]);
        assert_eq!(words("gpt-2", "I'll go.\n\n  now"), ["I", "'ll", " go", ".", "\n\n ", " now"]);
    }

    #[test]
    fn words_are_those_of_the_published_expressions() {
        let rules = [
            (PLAIN_GPT2.expressions, GPT2),
            (PLAIN_LLAMA3.expressions, LLAMA3),
            (PLAIN_QWEN2.expressions, QWEN2),
            (&[LINE_CUT, TEKKEN], TEKKEN),
        ];
        let pairs = rules.map(|(expressions, last)| {
            let choices = last.strip_suffix(r"|\s+").expect("the last choice");
            (regexes(expressions), regexes(&[&format!(r"{choices}|\s+(?!\S)|\s+")]))
        });
        let words = "([ \t\n\r]{0,4}(a|Bc|é|你|1|23|4567|'s|'LL|[.,/!]|\u{a0}|\u{301}|😀)){0,12}[ \n]{0,3}";
        let checked = TestRunner::new(ProptestConfig::with_cases(300)).run(&words, |text| {
            for (ours, published) in &pairs {
                prop_assert_eq!(cut(ours, &text), cut(published, &text));
            }
            Ok(())
        });
        checked.expect("the same words");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = rule("nonesuch").expect_err("unknown").to_string();
        assert!(
            error.starts_with("pre-tokenizer `nonesuch` is not known; known are `default`, `gpt-2`"),
            "{error}"
        );
    }
}
