//! The tokenizer of a Hugging Face folder: `tokenizer.json` and the files beside it that say how it is used.

use crate::data::error::DataError;
use crate::data::tokenizer::{Tokenizer, Traits};
use serde_json::Value;
use std::path::Path;

impl Tokenizer {
    /// From a folder with `tokenizer.json`; special tokens, templates and stops from the files beside it.
    pub fn from_folder(folder: &Path) -> Result<Tokenizer, DataError> {
        let json = folder.join("tokenizer.json");
        if !json.is_file() {
            let what = if !folder.is_dir() {
                "it is no folder"
            } else if folder.join("tokenizer.model").is_file() {
                "it has `tokenizer.model` only; save it with transformers (`AutoTokenizer`) to get `tokenizer.json`"
            } else {
                "`tokenizer.json` is missing"
            };
            return Err(DataError::NoTokenizer { path: folder.into(), what: what.into() });
        }
        load(&json, Described::beside(folder)?)
    }

    /// From a `tokenizer.json`, with a `tokenizer_config.json` if there is one.
    pub fn from_file(json: &Path, config: Option<&Path>) -> Result<Tokenizer, DataError> {
        let mut traits = Described::default();
        if let Some(config) = config {
            traits.read_config(&optional_json(config)?);
        }
        load(json, traits)
    }
}

/// Whether a folder brings a chat template, told without loading its tokenizer.
pub fn has_chat_template(folder: &Path) -> Result<bool, DataError> {
    Ok(Described::beside(folder)?.template.is_some())
}

/// What the files beside `tokenizer.json` say, in their own words.
#[derive(Default)]
struct Described {
    bos: Option<String>,
    eos: Option<String>,
    pad: Option<String>,
    unknown: Option<String>,
    adds_bos: Option<bool>,
    template: Option<String>,
    bos_id: Option<u32>,
    stops: Vec<u32>,
}

impl Described {
    fn beside(folder: &Path) -> Result<Described, DataError> {
        let mut described = Described::default();
        for name in ["special_tokens_map.json", "tokenizer_config.json"] {
            described.read_config(&optional_json(&folder.join(name))?);
        }
        for name in ["config.json", "generation_config.json"] {
            described.read_ids(&optional_json(&folder.join(name))?);
        }
        for name in ["chat_template.json", "chat_template.jinja"] {
            described.read_template(&folder.join(name))?;
        }
        Ok(described)
    }

    fn read_config(&mut self, config: &Value) {
        let read = |place: &mut Option<String>, key: &str| {
            // A token is a string, or an object that says more about it.
            let token = config.get(key).map(|token| token.get("content").unwrap_or(token));
            if let Some(token) = token.and_then(Value::as_str) {
                *place = Some(token.to_string());
            }
        };
        read(&mut self.bos, "bos_token");
        read(&mut self.eos, "eos_token");
        read(&mut self.pad, "pad_token");
        read(&mut self.unknown, "unk_token");
        self.adds_bos = config.get("add_bos_token").and_then(Value::as_bool).or(self.adds_bos);
        match config.get("chat_template") {
            Some(Value::String(template)) => self.template = Some(template.clone()),
            // Several templates by name: tools, retrieval; the one for chats is `default`.
            Some(Value::Array(named)) => {
                let default = named.iter().find(|template| template["name"] == "default").or(named.first());
                self.template =
                    default.and_then(|template| template["template"].as_str()).map(str::to_string);
            }
            _ => {}
        }
    }

    fn read_ids(&mut self, config: &Value) {
        let ids = |value: &Value| -> Vec<u32> {
            let many = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            many.iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect()
        };
        self.bos_id = self.bos_id.or(config.get("bos_token_id").and_then(|id| ids(id).first().copied()));
        self.stops.extend(config.get("eos_token_id").map(ids).unwrap_or_default());
    }

    fn read_template(&mut self, path: &Path) -> Result<(), DataError> {
        if !path.is_file() {
            return Ok(());
        }
        if path.extension().is_some_and(|extension| extension == "json") {
            let template = optional_json(path)?;
            self.template = template["chat_template"].as_str().map(str::to_string).or(self.template.take());
            return Ok(());
        }
        let read = std::fs::read_to_string(path);
        self.template = Some(read.map_err(|source| DataError::Unreadable { path: path.into(), source })?);
        Ok(())
    }
}

fn load(json: &Path, described: Described) -> Result<Tokenizer, DataError> {
    let bytes = std::fs::read(json).map_err(|source| DataError::Unreadable { path: json.into(), source })?;
    let broken = |what: String| DataError::Tokenizer { path: json.into(), what };
    let pieces = tokenizers::Tokenizer::from_bytes(&bytes).map_err(|error| broken(error.to_string()))?;
    let id = |token: &Option<String>| token.as_ref().and_then(|token| pieces.token_to_id(token));
    let traits = Traits {
        bos: id(&described.bos).or(described.bos_id.filter(|_| described.bos.is_none())),
        eos: id(&described.eos).or(described.stops.first().copied()),
        pad: id(&described.pad),
        unknown: id(&described.unknown),
        stops: described.stops.into_iter().collect(),
        adds_bos: described.adds_bos,
        chat_template: described.template,
    };
    Tokenizer::from_pieces(pieces, traits, &bytes)
}

/// A JSON file, or null where there is none.
fn optional_json(path: &Path) -> Result<Value, DataError> {
    if !path.is_file() {
        return Ok(Value::Null);
    }
    let bytes = std::fs::read(path).map_err(|source| DataError::Unreadable { path: path.into(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| DataError::Tokenizer { path: path.into(), what: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::template::Ending;
    use crate::data::template::Message;
    use std::fs;
    use std::path::PathBuf;

    fn tiny() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny")
    }

    /// A copy of the tiny tokenizer with other files beside it.
    fn with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::copy(tiny().join("tokenizer.json"), folder.path().join("tokenizer.json")).expect("copied");
        for (name, content) in files {
            fs::write(folder.path().join(name), content).expect("written");
        }
        folder
    }

    #[test]
    fn the_tiny_models_reach_their_reference_ids() {
        let reference = fs::read(tiny().parent().expect("fixtures").join("tiny.json")).expect("read");
        let reference: Value = serde_json::from_slice(&reference).expect("JSON");
        for name in ["tiny", "tiny-llama3"] {
            let tokenizer = Tokenizer::from_folder(&tiny().with_file_name(name)).expect("a tokenizer");
            let text = reference[name]["text"].as_str().expect("a text");
            let ids: Vec<u32> = serde_json::from_value(reference[name]["token_ids"].clone()).expect("ids");
            assert_eq!(tokenizer.encode(text).expect("encodes")[..ids.len()], ids, "{name}");
        }
    }

    #[test]
    fn special_tokens_and_template_come_from_the_configuration() {
        let tokenizer = Tokenizer::from_folder(&tiny()).expect("a tokenizer");
        assert_eq!((tokenizer.bos, tokenizer.eos, tokenizer.pad), (Some(1), Some(2), Some(2)));
        assert_eq!((tokenizer.stops.as_slice(), tokenizer.adds_bos), ([2].as_slice(), false));
        let template = tokenizer.chat_template.clone().expect("a template");
        let text = template.render(&[Message::new("user", "hi")], Ending::AwaitsAnswer).expect("renders");
        assert_eq!(text, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
        let ids = tokenizer.encode(&text).expect("encodes");
        assert_eq!((ids[0], tokenizer.is_special(ids[0])), (1, true));
    }

    #[test]
    fn a_template_file_goes_before_the_configuration() {
        let config = r#"{"bos_token": {"content": "<|im_start|>"}, "eos_token": "<|im_end|>", "add_bos_token": true,
            "chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "old"}]}"#;
        let folder = with(&[("tokenizer_config.json", config)]);
        let tokenizer = Tokenizer::from_folder(folder.path()).expect("a tokenizer");
        assert_eq!(
            tokenizer.chat_template.as_ref().map(|template| template.source().to_string()),
            Some("old".into())
        );
        assert_eq!(tokenizer.prompt("a").expect("encodes")[0], 1);
        fs::write(folder.path().join("chat_template.jinja"), "{{ bos_token }}new").expect("written");
        let newer = Tokenizer::from_folder(folder.path()).expect("a tokenizer");
        let template = newer.chat_template.clone().expect("a template");
        assert_eq!(template.render(&[], Ending::Closed).expect("renders"), "<|im_start|>new");
        assert_ne!(tokenizer.hash(), newer.hash());
    }

    #[test]
    fn several_tokens_may_end_a_generation() {
        let folder =
            with(&[("generation_config.json", r#"{"eos_token_id": [2, 0, 99999], "bos_token_id": 1}"#)]);
        let tokenizer = Tokenizer::from_folder(folder.path()).expect("a tokenizer");
        assert_eq!((tokenizer.eos, tokenizer.stops), (Some(2), vec![0, 2]));
    }

    #[test]
    fn cutting_and_padding_in_the_file_are_switched_off() {
        let mut json: Value =
            serde_json::from_slice(&fs::read(tiny().join("tokenizer.json")).expect("read")).expect("JSON");
        json["truncation"] = serde_json::json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
        let folder = with(&[("tokenizer.json", &json.to_string())]);
        let tokenizer = Tokenizer::from_folder(folder.path()).expect("a tokenizer");
        assert!(tokenizer.encode("one two three four").expect("encodes").len() > 2);
    }

    #[test]
    fn what_is_missing_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = Tokenizer::from_folder(folder.path()).expect_err("none").to_string();
        assert!(error.ends_with("holds no tokenizer: `tokenizer.json` is missing"), "{error}");
        fs::write(folder.path().join("tokenizer.json"), "{").expect("written");
        let error = Tokenizer::from_folder(folder.path()).expect_err("broken").to_string();
        assert!(error.contains("cannot be read: EOF"), "{error}");
    }
}
