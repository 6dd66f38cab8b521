//! Turns what the packages carry into rows of JSONL, once and always to the same bytes.

use crate::files::samples::{Conversion, Sample};
use crate::files::{FilesError, read};
use serde::Deserialize;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// The rows of a data sample as JSONL, out of its packed files in the order of the table.
pub fn rows(sample: &Sample, packed: &[PathBuf]) -> Result<Vec<u8>, FilesError> {
    let mut jsonl = Vec::new();
    for path in packed {
        let bytes = read(path)?;
        let unsound = |reason| FilesError::Unsound { path: path.clone(), format: sample.name, reason };
        match sample.conversion {
            Conversion::AsItIs => jsonl.extend(&bytes),
            Conversion::Grimm => grimm(&bytes, &mut jsonl).map_err(unsound)?,
            Conversion::Aclsum => aclsum(&bytes, &mut jsonl).map_err(unsound)?,
            Conversion::Reuters => reuters(&bytes, &mut jsonl).map_err(unsound)?,
            Conversion::Headlines => headlines(&bytes, &mut jsonl).map_err(unsound)?,
            Conversion::Verses => verses(&bytes, &mut jsonl).map_err(unsound)?,
        }
    }
    Ok(jsonl)
}

/// For the SQLite file of `verses`: a Python program that writes one JSON list a verse, `[English, Spanish]`.
/// Only these two texts ('4', World English, and 'v', Reina-Valera) are free.
pub const VERSES: &str = "\
import json, sqlite3, sys
query = '''select a.vText, b.vText from bible a join bible b using (bNumber, cNumber, vNumber)
  where a.bbName = '4' and b.bbName = 'v' order by bNumber, cNumber, vNumber'''
with open(sys.argv[2], 'w', encoding='utf-8') as out:
    for row in sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True).execute(query):
        print(json.dumps(row), file=out)
";

fn row(jsonl: &mut Vec<u8>, row: &serde_json::Value) {
    writeln!(jsonl, "{row}").expect("writing to memory cannot fail");
}

/// The rows of Orange's format: names, then two lines about them, then the rows; tabs, quotes doubled.
fn tab(bytes: &[u8]) -> Result<Vec<csv::StringRecord>, String> {
    let mut reader = csv::ReaderBuilder::new().delimiter(b'\t').flexible(true).from_reader(bytes);
    reader.records().skip(2).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn cell(record: &csv::StringRecord, column: usize) -> Result<&str, String> {
    record.get(column).map(str::trim).ok_or_else(|| format!("a row has no column {}", column + 1))
}

fn grimm(bytes: &[u8], jsonl: &mut Vec<u8>) -> Result<(), String> {
    for record in tab(bytes)? {
        let (title, tale) = (cell(&record, 1)?, cell(&record, 3)?);
        row(jsonl, &json!({ "text": format!("{title}\n\n{tale}") }));
    }
    Ok(())
}

fn reuters(bytes: &[u8], jsonl: &mut Vec<u8>) -> Result<(), String> {
    for record in tab(bytes)? {
        row(jsonl, &json!({ "text": cell(&record, 1)?, "label": cell(&record, 0)? }));
    }
    Ok(())
}

fn lines<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> impl Iterator<Item = Result<T, String>> {
    let filled = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    filled.map(|(index, line)| {
        serde_json::from_slice(line).map_err(|error| format!("line {}: {error}", index + 1))
    })
}

fn aclsum(bytes: &[u8], jsonl: &mut Vec<u8>) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Paper {
        title: String,
        summary: Summary,
        sentences: Sentences,
    }
    #[derive(Deserialize)]
    struct Summary {
        challenge: String,
        approach: String,
        outcome: String,
    }
    #[derive(Deserialize)]
    struct Sentences {
        r#abstract: Vec<String>,
    }
    for paper in lines::<Paper>(bytes) {
        let Paper { title, summary, sentences } = paper?;
        let text = sentences.r#abstract.join(" ");
        let aspects =
            [("challenge", summary.challenge), ("approach", summary.approach), ("outcome", summary.outcome)];
        for (aspect, sentence) in aspects {
            let prompt =
                format!("Summarize the {aspect} of this paper in one sentence.\n\n{title}\n\n{text}");
            row(jsonl, &json!({ "prompt": prompt, "completion": sentence }));
        }
    }
    Ok(())
}

fn headlines(bytes: &[u8], jsonl: &mut Vec<u8>) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Judged {
        input: Vec<Message>,
        ideal: String,
    }
    #[derive(Deserialize)]
    struct Message {
        content: String,
    }
    for judged in lines::<Judged>(bytes) {
        let judged = judged?;
        let headline = judged.input.last().ok_or("a row has no headline")?;
        let label = if judged.ideal == "1" { "sarcastic" } else { "serious" };
        row(jsonl, &json!({ "text": headline.content, "label": label }));
    }
    Ok(())
}

fn verses(bytes: &[u8], jsonl: &mut Vec<u8>) -> Result<(), String> {
    for pair in lines::<(String, String)>(bytes) {
        let (english, spanish) = pair?;
        row(jsonl, &json!({ "prompt": format!("Translate into Spanish: {english}"), "completion": spanish }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(convert: impl Fn(&[u8], &mut Vec<u8>) -> Result<(), String>, text: &str) -> String {
        let mut jsonl = Vec::new();
        convert(text.as_bytes(), &mut jsonl).unwrap();
        String::from_utf8(jsonl).unwrap()
    }

    #[test]
    fn orange_tables_become_texts_and_labels() {
        let tales = "Topic\tTitle\tAbstract\tContent\r\nd\ts\ts\ts\r\nclass\t\t\tinclude=True\r\n\r\nx\tA\tb\t\"say \"\"hi\"\"\"\r\n";
        assert_eq!(converted(grimm, tales), "{\"text\":\"A\\n\\nsay \\\"hi\\\"\"}\n");
        let news = "Category\tText\nd\tstring\nclass\t\n\nearn\tup two \n";
        assert_eq!(converted(reuters, news), "{\"text\":\"up two\",\"label\":\"earn\"}\n");
        assert!(grimm(b"a\n1\n2\nonly\n", &mut vec![]).unwrap_err().contains("column 2"));
    }

    #[test]
    fn json_rows_become_prompts_and_labels() {
        let paper = r#"{"id":"1","title":"T","summary":{"challenge":"c","approach":"a","outcome":"o"},"sentences":{"abstract":["x .","y ."]}}"#;
        let rows = converted(aclsum, paper);
        assert_eq!(rows.lines().count(), 3);
        let first = r#"{"prompt":"Summarize the challenge of this paper in one sentence.\n\nT\n\nx . y .","completion":"c"}"#;
        assert_eq!(rows.lines().next().unwrap(), first);
        let judged =
            r#"{"input":[{"role":"system","content":"s"},{"role":"user","content":"h"}],"ideal":"1"}"#;
        assert_eq!(converted(headlines, judged), "{\"text\":\"h\",\"label\":\"sarcastic\"}\n");
        let verse = "{\"prompt\":\"Translate into Spanish: a\",\"completion\":\"b\"}\n";
        assert_eq!(converted(verses, "[\"a\",\"b\"]\n"), verse);
        assert!(aclsum(b"{}\n{", &mut vec![]).unwrap_err().starts_with("line 1: "));
    }
}
