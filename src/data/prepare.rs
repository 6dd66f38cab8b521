//! The whole way from a specification to a data set, through the cache.

use crate::data::dataset::{Counts, Dataset, Example, Part, PartName, RowText};
use crate::data::encode::{Encoded, Encoder};
use crate::data::error::{DataError, Place};
use crate::data::progress::{Observe, report};
use crate::data::record::Record;
use crate::data::rows::{Rows, no_rows, random, read};
use crate::data::shape::Shape;
use crate::data::source::{SourceFile, files};
use crate::data::specification::{From, Specification};
use crate::data::split::{assign, sizes};
use crate::data::store::{self, Header, VERSION};
use crate::data::template::{BUILT_IN, ChatTemplate};
use crate::data::tokenizer::Tokenizer;
use crate::data::transform::Transform;
use crate::files::hash::{file_sha256, sha256};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

/// Records encoded between two reports of progress.
const CHUNK: usize = 256;

/// Reads, transforms, cleans, splits and tokenizes; `observe` hears of progress and may stop it.
pub fn prepare(
    specification: &Specification,
    tokenizer: &Tokenizer,
    transform: Option<&Transform>,
    cache: Option<&Path>,
    observe: Observe,
) -> Result<Dataset, DataError> {
    let files = match &specification.from {
        From::Path(path) => files(path, specification.format)?,
        From::Random { .. } => vec![],
    };
    let asked = asked_template(specification)?;
    let mut hash = identity(specification, tokenizer, &files, &asked)?;
    // What a closure does is known by its rows alone.
    let by_rows = transform.is_some_and(|transform| transform.fingerprint.is_none());
    if let Some(transform) = transform {
        hash = sha256(format!("{hash} {:?}", transform.fingerprint));
    }
    let cached = cache.filter(|_| !by_rows).map(|cache| store::path(cache, &hash));
    if let Some((header, parts)) = cached.as_deref().and_then(|path| store::read(path, &hash)) {
        return dataset(header, parts, tokenizer);
    }
    let rows = match specification.from {
        From::Path(_) => read(specification, &files, transform, observe)?,
        From::Random { rows, length, seed } => random(rows, length, seed, tokenizer.vocabulary_size()),
    };
    if by_rows {
        let fingerprints: Vec<u8> = rows.records.iter().flat_map(Record::fingerprint).collect();
        hash = sha256([hash.as_bytes(), &fingerprints].concat());
    }
    let (shape, labels) = (rows.shape, labels(&rows.records));
    let template = template(shape, &asked, tokenizer)?;
    let (parts, counts) = encode(specification, tokenizer, template.as_ref(), rows, &files, observe)?;
    let source = template.map(|template| template.source().to_string());
    let header = Header::new(hash, shape, counts, labels, source);
    let kept = cached.map(|path| store::write(&path, header.clone(), &parts));
    let dataset = dataset(header, parts, tokenizer)?;
    let uncached = kept.and_then(Result::err).map(|error| error.to_string());
    Ok(Dataset { uncached, ..dataset })
}

fn dataset(header: Header, parts: Vec<Part>, tokenizer: &Tokenizer) -> Result<Dataset, DataError> {
    let Header { hash, shape, counts, labels, template, .. } = header;
    let template = template.map(|source| ChatTemplate::new(&source, &tokenizer.token_texts())).transpose()?;
    Ok(Dataset::new(parts, counts, hash, shape, labels, template))
}

/// What decides every token: equal identities give equal data sets.
fn identity(
    specification: &Specification,
    tokenizer: &Tokenizer,
    files: &[SourceFile],
    asked: &Asked,
) -> Result<String, DataError> {
    // How rows are batched changes no token; what a path holds is hashed below.
    let mut same = Specification { packing: false, ..specification.clone() };
    if matches!(same.from, From::Path(_)) {
        same.from = From::Path("".into());
    }
    let mut text = format!("{VERSION} {same:?} {asked:?} {}", tokenizer.hash());
    for file in files {
        text.push_str(&format!("\n{} {:?} {}", file.name(), file.format, file_sha256(&file.path)?));
    }
    Ok(sha256(text))
}

/// Which template a specification asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// The tokenizer's own, where the rows are for a chat model.
    Auto,
    None,
    Source(String),
}

fn asked_template(specification: &Specification) -> Result<Asked, DataError> {
    let Some(name) = specification.template.as_deref() else { return Ok(Asked::Auto) };
    if name == "none" {
        return Ok(Asked::None);
    }
    if let Some(source) = ChatTemplate::built_in(name) {
        return Ok(Asked::Source(source.into()));
    }
    if Path::new(name).is_file() {
        let read = std::fs::read_to_string(name);
        return read.map(Asked::Source).map_err(|source| DataError::Unreadable { path: name.into(), source });
    }
    if name.contains("{%") || name.contains("{{") {
        return Ok(Asked::Source(name.into()));
    }
    let known: Vec<String> = BUILT_IN.iter().map(|(name, _)| format!("`{name}`")).collect();
    Err(DataError::UnknownTemplate { name: name.into(), known: format!("`none`, {}", known.join(", ")) })
}

/// The template that rows of a shape are written with: none for texts and ids; the tokenizer's for all others,
/// when it has one; chats cannot do without.
fn template(shape: Shape, asked: &Asked, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>, DataError> {
    let is_chat = matches!(shape, Shape::Messages | Shape::Conversations);
    match (shape, asked) {
        (Shape::Text | Shape::Ids, _) => Ok(None),
        (_, Asked::Source(source)) => ChatTemplate::new(source, &tokenizer.token_texts()).map(Some),
        (_, Asked::Auto) if tokenizer.chat_template.is_some() => Ok(tokenizer.chat_template.clone()),
        (Shape::Instruction, _) => {
            let alpaca = ChatTemplate::built_in("alpaca").unwrap_or_default();
            ChatTemplate::new(alpaca, &tokenizer.token_texts()).map(Some)
        }
        _ if is_chat => Err(DataError::NoTemplate { shape: shape.name() }),
        _ => Ok(None),
    }
}

fn labels(records: &[Record]) -> Vec<String> {
    let labels: BTreeSet<&String> = records
        .iter()
        .filter_map(|record| match record {
            Record::Labelled { label, .. } => Some(label),
            _ => None,
        })
        .collect();
    labels.into_iter().cloned().collect()
}

fn encode(
    specification: &Specification,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    rows: Rows,
    files: &[SourceFile],
    observe: Observe,
) -> Result<(Vec<Part>, Counts), DataError> {
    let encoder = Encoder {
        tokenizer,
        template,
        loss_on: &specification.loss_on,
        over_length: specification.over_length,
        max_len: specification.max_len.max(2),
        eos: specification.eos,
    };
    let Rows { shape, records, places, mut counts } = rows;
    let shares = &specification.split;
    let seed = specification.shuffle.then_some(specification.seed);
    // Documents are split whole, unless there are too few of them: then their blocks are, in the order of the text.
    let by_blocks = shape == Shape::Text && too_few_documents(shares, records.len());
    let assigned = match by_blocks {
        true => vec![PartName::Train; records.len()],
        false => assign(shares, records.len(), seed)?,
    };
    let names: Vec<String> = files.iter().map(SourceFile::name).collect();
    let mut parts: Vec<Part> = PartName::ALL.iter().map(|_| Part::new(names.clone())).collect();
    let total = records.len();
    let mut records = records.into_iter().zip(places).zip(assigned);
    let mut done = 0;
    while done < total {
        let chunk: Vec<_> = records.by_ref().take(CHUNK).collect();
        done += chunk.len();
        let place = |(file, number): (u32, u64)| match files.get(file as usize) {
            Some(file) => file.place(number),
            None => Place { file: "random".into(), noun: "row", number },
        };
        let encoded: Result<Vec<_>, DataError> = chunk
            .into_par_iter()
            .map(|((record, at), part)| Ok((encoder.encode(record, &place(at))?, at, part)))
            .collect();
        for ((examples, counted), at, part) in encoded? {
            counts.add(&counted);
            if counted.cut + counted.dropped_long > 0 {
                parts[part as usize].too_long.push(counted.longest as u32);
            }
            examples.iter().for_each(|example| push(&mut parts[part as usize], example, at));
        }
        report(observe, done as u64, total as u64, "tokenizing")?;
    }
    if by_blocks {
        parts = split_blocks(shares, &parts[0], names)?;
    }
    counts.examples = parts.iter().map(|part| part.len() as u64).sum();
    counts.tokens = parts.iter().map(|part| part.tokens() as u64).sum();
    counts.supervised = parts.iter().map(|part| part.supervised_tokens() as u64).sum();
    let longest = parts.iter().map(|part| part.longest() as u64).max().unwrap_or(0);
    counts.longest = counts.longest.max(longest);
    if parts[0].is_empty() {
        return Err(no_rows(&counts));
    }
    Ok((parts, counts))
}

/// Whether the smallest share of the documents would round to none.
fn too_few_documents(shares: &[f64], documents: usize) -> bool {
    let whole: f64 = shares.iter().sum();
    let smallest = shares.iter().copied().fold(f64::INFINITY, f64::min);
    shares.len() > 1 && smallest / whole * (documents as f64) < 0.5
}

fn split_blocks(shares: &[f64], all: &Part, names: Vec<String>) -> Result<Vec<Part>, DataError> {
    let mut parts: Vec<Part> = PartName::ALL.iter().map(|_| Part::new(names.clone())).collect();
    let mut block = 0;
    for (part, size) in parts.iter_mut().zip(sizes(shares, all.len())?) {
        for index in block..block + size {
            part.push(all.example(index), RowText::default(), all.origin(index));
        }
        block += size;
    }
    Ok(parts)
}

fn push(part: &mut Part, example: &Encoded, at: (u32, u64)) {
    let present = |text: &'_ str| !text.is_empty();
    let row = RowText {
        prompt: &example.prompt,
        completion: &example.completion,
        label: Some(example.label.as_str()).filter(|text| present(text)),
        rejected: Some(example.rejected.as_str()).filter(|text| present(text)),
    };
    part.push(Example { ids: &example.ids, supervised: &example.supervised }, row, at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::specification::{LossOn, OverLength};
    use std::path::PathBuf;

    /// A folder for the data, one for the cache.
    struct Place {
        folder: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Place {
            Place { folder: tempfile::tempdir().expect("a folder") }
        }

        fn write(&self, name: &str, content: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            path
        }

        fn cache(&self) -> PathBuf {
            self.folder.path().join("cache")
        }

        fn specification(&self, name: &str, content: &str) -> Specification {
            Specification::new(From::Path(self.write(name, content)))
        }
    }

    fn tiny() -> Tokenizer {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
        Tokenizer::from_folder(&folder).expect("a tokenizer")
    }

    fn prepared(specification: &Specification, tokenizer: &Tokenizer) -> Dataset {
        prepare(specification, tokenizer, None, None, &mut |_| true).expect("prepared")
    }

    fn pairs(count: usize) -> String {
        (0..count)
            .map(|row| format!("{{\"prompt\": \"question {row}\", \"completion\": \"answer {row}\"}}\n"))
            .collect()
    }

    #[test]
    fn rows_are_split_by_seed_and_no_row_is_in_two_parts() {
        let place = Place::new();
        let specification =
            Specification { split: vec![0.8, 0.1, 0.1], ..place.specification("a.jsonl", &pairs(50)) };
        let dataset = prepared(&specification, &tiny());
        assert_eq!(PartName::ALL.map(|name| dataset.part(name).len()), [40, 5, 5]);
        let mut prompts: Vec<String> = vec![];
        for part in &dataset.parts {
            prompts.extend((0..part.len()).map(|row| part.row(row).prompt.to_string()));
        }
        prompts.sort();
        prompts.dedup();
        assert_eq!(prompts.len(), 50);
        assert_eq!(dataset.parts, prepared(&specification, &tiny()).parts);
        let other = prepared(&Specification { seed: 7, ..specification }, &tiny());
        assert_ne!(dataset.parts, other.parts);
        assert!(dataset.chat_template.is_some(), "a chat model's own template");
    }

    #[test]
    fn a_text_is_cut_and_its_blocks_split_in_order() {
        let place = Place::new();
        let text = place.specification("a.txt", &"abcdefgh".repeat(10));
        let specification = Specification { max_len: 8, eos: false, ..text };
        let dataset = prepared(&specification, &Tokenizer::bytes());
        assert_eq!(PartName::ALL.map(|name| dataset.part(name).len()), [9, 1, 0]);
        assert_eq!((dataset.counts.tokens, dataset.counts.supervised), (80, 70));
        let whole = prepared(&Specification { split: vec![1.0], ..specification }, &Tokenizer::bytes());
        assert_eq!((whole.part(PartName::Train).len(), whole.part_names()), (10, vec![PartName::Train]));
        assert_eq!((whole.shape, whole.highest_id), (Shape::Text, u32::from(b'h')));
    }

    #[test]
    fn the_cache_gives_the_same_and_a_damaged_one_is_rebuilt() {
        let place = Place::new();
        let specification = place.specification("a.jsonl", &pairs(20));
        let tokenizer = tiny();
        let run = |specification: &Specification| {
            let mut worked = false;
            let dataset = prepare(specification, &tokenizer, None, Some(&place.cache()), &mut |_| {
                worked = true;
                true
            });
            (dataset.expect("prepared"), worked)
        };
        let (first, worked) = run(&specification);
        assert!(worked);
        let (again, worked) = run(&specification);
        assert!(!worked, "taken from the cache");
        assert_eq!((&first.parts, &first.counts, &first.hash), (&again.parts, &again.counts, &again.hash));
        assert_eq!(
            again.chat_template.map(|template| template.source().to_string()),
            first.chat_template.map(|template| template.source().to_string())
        );
        let (_, worked) = run(&Specification { packing: true, ..specification.clone() });
        assert!(!worked, "packing changes no token");
        std::fs::write(store::path(&place.cache(), &first.hash), b"ltune data\nnonsense").expect("written");
        let (rebuilt, worked) = run(&specification);
        assert!(worked && rebuilt.parts == first.parts);
        place.write("a.jsonl", &pairs(21));
        let (changed, worked) = run(&specification);
        assert!(worked && changed.hash != first.hash);
    }

    #[test]
    fn a_cache_that_cannot_be_written_stops_nothing() {
        let place = Place::new();
        let specification = place.specification("a.jsonl", &pairs(20));
        let file = place.write("file", "where the cache should be");
        let dataset = prepare(&specification, &tiny(), None, Some(&file), &mut |_| true).expect("prepared");
        assert!(dataset.uncached.is_some_and(|why| why.contains("data")));
    }

    #[test]
    fn labelled_rows_keep_their_labels() {
        let place = Place::new();
        let specification =
            place.specification("a.csv", "text,label\ngood day,nice\nbad day,sad\nfine,nice\n");
        let dataset = prepared(&Specification { split: vec![1.0], ..specification }, &Tokenizer::bytes());
        assert_eq!(
            (dataset.shape, dataset.labels.clone()),
            (Shape::Labelled, vec!["nice".to_string(), "sad".into()])
        );
        let part = dataset.part(PartName::Train);
        assert_eq!(part.row(1).label, Some("sad"));
        assert_eq!(part.completion_ids(1), [115, 97, 100, 257]);
        assert_eq!(dataset.label_ids[1], [115, 97, 100, 257]);
    }

    #[test]
    fn preferences_are_read_and_keep_both_answers() {
        let place = Place::new();
        let row = "{\"prompt\": \"q\", \"chosen\": \"good\", \"rejected\": \"bad\"}\n";
        let specification = Specification { split: vec![1.0], ..place.specification("a.jsonl", row) };
        let dataset = prepared(&specification, &tiny());
        let row = dataset.part(PartName::Train).row(0);
        assert_eq!((row.prompt, row.completion, row.rejected), ("q", "good", Some("bad")));
    }

    #[test]
    fn chats_need_a_template_and_instructions_bring_one() {
        let place = Place::new();
        let chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}\n";
        let specification = Specification { split: vec![1.0], ..place.specification("a.jsonl", chat) };
        let error = prepare(&specification, &Tokenizer::bytes(), None, None, &mut |_| true)
            .expect_err("none")
            .to_string();
        assert!(
            error.starts_with("rows of shape `messages` need a chat template, and this tokenizer has none"),
            "{error}"
        );
        let chatml = Specification { template: Some("chatml".into()), ..specification.clone() };
        assert_eq!(prepared(&chatml, &Tokenizer::bytes()).counts.examples, 1);
        let unknown = Specification { template: Some("nonesuch".into()), ..specification };
        let error = prepare(&unknown, &Tokenizer::bytes(), None, None, &mut |_| true)
            .expect_err("unknown")
            .to_string();
        assert_eq!(
            error,
            "template `nonesuch` is neither a known one (`none`, `chatml`, `llama3`, `alpaca`), nor a file, nor Jinja source"
        );
        let row = "{\"instruction\": \"add\", \"input\": \"1 2\", \"output\": \"3\"}\n";
        let specification = Specification { split: vec![1.0], ..place.specification("b.jsonl", row) };
        let dataset = prepared(&specification, &Tokenizer::bytes());
        let text: Vec<u8> = dataset.part(PartName::Train).prompt_ids(0).iter().map(|id| *id as u8).collect();
        assert_eq!(String::from_utf8_lossy(&text), "### Instruction:\nadd\n1 2\n\n### Response:\n");
    }

    #[test]
    fn random_rows_feed_benchmarks() {
        let from = From::Random { rows: 10, length: 16, seed: 1 };
        let specification = Specification { split: vec![1.0], ..Specification::new(from) };
        let dataset = prepared(&specification, &Tokenizer::bytes());
        assert_eq!((dataset.counts.tokens, dataset.counts.supervised), (160, 150));
        assert_eq!(dataset.part(PartName::Train).place(3), "random:4");
    }

    #[test]
    fn a_bad_row_is_named_and_an_observer_stops_the_work() {
        let place = Place::new();
        let content =
            format!("{}{{\"prompt\": \"{}\", \"completion\": \"x\"}}\n", pairs(3), "long ".repeat(60));
        let specification = Specification { max_len: 40, ..place.specification("a.jsonl", &content) };
        let none = Specification { template: Some("none".into()), ..specification };
        let error = prepare(&none, &Tokenizer::bytes(), None, None, &mut |_| true)
            .expect_err("no target")
            .to_string();
        assert!(error.contains("a.jsonl` line 4 has no supervised token: its prompt alone has 300 tokens, and `max_len` is 40"), "{error}");
        let dropped =
            prepared(&Specification { over_length: OverLength::Drop, ..none.clone() }, &Tokenizer::bytes());
        assert_eq!((dropped.counts.dropped_long, dropped.counts.examples), (1, 3));
        let all = prepared(&Specification { loss_on: LossOn::All, ..none.clone() }, &Tokenizer::bytes());
        assert_eq!((all.counts.cut, all.counts.longest), (1, 302));
        assert_eq!(all.parts.iter().flat_map(|part| part.too_long.clone()).collect::<Vec<_>>(), [302]);
        assert!(matches!(
            prepare(&none, &Tokenizer::bytes(), None, None, &mut |_| false),
            Err(DataError::Stopped)
        ));
    }
}
