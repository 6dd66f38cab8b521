//! A tokenizer as the files that stand in a Hugging Face folder.

use crate::data::error::DataError;
use crate::data::tokenizer::{Coder, Tokenizer};
use serde_json::{Map, Value};

impl Tokenizer {
    /// `tokenizer.json`, `tokenizer_config.json` and, where there is one, `chat_template.jinja`, as name and content.
    /// None for `bytes`, which is no Hugging Face tokenizer.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, DataError> {
        let Coder::Pieces(pieces) = &self.coder else { return Ok(vec![]) };
        let json = pieces.to_string(true).map_err(|error| DataError::Encode { what: error.to_string() })?;
        let mut config = Map::new();
        config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        for (name, id) in [("bos_token", self.bos), ("eos_token", self.eos), ("pad_token", self.pad)] {
            if let Some(token) = id.and_then(|id| self.token(id)) {
                config.insert(name.into(), token.into());
            }
        }
        config.insert("add_bos_token".into(), self.adds_bos.into());
        let config =
            serde_json::to_vec_pretty(&Value::Object(config)).expect("a map of texts is always JSON");
        let mut files = vec![
            ("tokenizer.json".to_string(), json.into_bytes()),
            ("tokenizer_config.json".to_string(), config),
        ];
        if let Some(template) = &self.chat_template {
            files.push(("chat_template.jinja".to_string(), template.source().as_bytes().to_vec()));
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokenizer_that_is_written_reads_back_as_the_same() {
        let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
        let tokenizer = Tokenizer::from_folder(&fixture).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in tokenizer.files().unwrap() {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let read = Tokenizer::from_folder(folder.path()).unwrap();
        let text = "Before the <|im_start|>user\nestablishment é";
        assert_eq!(read.encode(text).unwrap(), tokenizer.encode(text).unwrap());
        assert_eq!(
            (read.bos, read.eos, read.pad, read.adds_bos),
            (tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.adds_bos)
        );
        assert_eq!(
            read.chat_template.map(|template| template.source().to_string()),
            tokenizer.chat_template.map(|template| template.source().to_string())
        );
    }
}
