//! All rows of a source as records: cleaned, counted, each with its place.

use crate::data::dataset::Counts;
use crate::data::error::DataError;
use crate::data::order::{Purpose, below, generator};
use crate::data::progress::{Observe, report};
use crate::data::record::Record;
use crate::data::shape::{Columns, Shape};
use crate::data::source::{Fields, Found, SourceFile};
use crate::data::specification::{Format, Specification};
use crate::data::transform::{BATCH, Transform};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Rows read between two reports of progress.
const CHUNK: u64 = 1000;

/// What a source holds.
#[derive(Clone, Debug)]
pub struct Rows {
    pub shape: Shape,
    pub records: Vec<Record>,
    /// For each record its file and its line, row or document there.
    pub places: Vec<(u32, u64)>,
    pub counts: Counts,
}

/// The shape that a `format` asks for.
pub fn wanted(specification: &Specification) -> Option<Shape> {
    (specification.format == Some(Format::Text)).then_some(Shape::Text)
}

/// Reads every row, through a transform if there is one; empty rows, exact duplicates and rows that are not UTF-8 are
/// dropped and counted.
pub fn read(
    specification: &Specification,
    files: &[SourceFile],
    transform: Option<&Transform>,
    observe: Observe,
) -> Result<Rows, DataError> {
    let rows = Rows { shape: Shape::Text, records: vec![], places: vec![], counts: Counts::default() };
    let mut reading = Reading { specification, transform, rows, seen: HashSet::new(), shape: None };
    let limit = specification.rows_limit.map_or(u64::MAX, |limit| limit as u64);
    for (index, file) in files.iter().enumerate() {
        // The first row tells what the columns are; every file is asked anew, and must say the same.
        let mut one = OneFile { index: index as u32, file, columns: None, waiting: vec![] };
        file.read(&mut |number, found| {
            let counts = &mut reading.rows.counts;
            if counts.read == limit {
                return Ok(ControlFlow::Break(()));
            }
            counts.read += 1;
            if counts.read.is_multiple_of(CHUNK) {
                report(observe, counts.read, 0, "reading")?;
            }
            match found {
                Found::Row(fields) => reading.row(&mut one, number, fields)?,
                Found::InvalidUtf8 => counts.invalid_utf8 += 1,
            }
            Ok(ControlFlow::Continue(()))
        })?;
        reading.transform_waiting(&mut one)?;
    }
    let Reading { mut rows, shape, .. } = reading;
    report(observe, rows.counts.read, rows.counts.read, "reading")?;
    rows.shape = shape.unwrap_or(Shape::Text);
    if rows.records.is_empty() {
        return Err(no_rows(&rows.counts));
    }
    Ok(rows)
}

/// What has been read.
struct Reading<'a> {
    specification: &'a Specification,
    transform: Option<&'a Transform>,
    rows: Rows,
    seen: HashSet<[u8; 16]>,
    shape: Option<Shape>,
}

/// The file that is being read, and rows of it that wait for the transform, with their numbers.
struct OneFile<'a> {
    index: u32,
    file: &'a SourceFile,
    columns: Option<Columns>,
    waiting: Vec<(u64, Fields)>,
}

impl Reading<'_> {
    fn row(&mut self, one: &mut OneFile, number: u64, fields: Fields) -> Result<(), DataError> {
        if self.transform.is_none() {
            return self.understand(one, number, &fields);
        }
        one.waiting.push((number, fields));
        if one.waiting.len() < BATCH { Ok(()) } else { self.transform_waiting(one) }
    }

    fn transform_waiting(&mut self, one: &mut OneFile) -> Result<(), DataError> {
        let Some(transform) = self.transform.filter(|_| !one.waiting.is_empty()) else { return Ok(()) };
        let (numbers, rows): (Vec<u64>, Vec<Fields>) = std::mem::take(&mut one.waiting).into_iter().unzip();
        let given = transform.apply(rows, |index| one.file.place(numbers[index]))?;
        for (number, fields) in numbers.into_iter().zip(given) {
            match fields {
                Some(fields) => self.understand(one, number, &fields)?,
                None => self.rows.counts.left_out += 1,
            }
        }
        Ok(())
    }

    fn understand(&mut self, one: &mut OneFile, number: u64, fields: &Fields) -> Result<(), DataError> {
        if one.columns.is_none() {
            let names: Vec<String> = fields.keys().cloned().collect();
            let wanted = self.shape.or(wanted(self.specification));
            let recognised =
                Columns::recognise(&one.file.name(), &names, &self.specification.columns, wanted)?;
            self.shape = Some(recognised.shape);
            one.columns = Some(recognised);
        }
        let Some(columns) = &one.columns else { return Ok(()) };
        let record = Record::new(columns, fields, &one.file.place(number))?;
        if record.is_empty() {
            self.rows.counts.empty += 1;
        } else if !self.seen.insert(record.fingerprint()) {
            self.rows.counts.duplicates += 1;
        } else {
            self.rows.records.push(record);
            self.rows.places.push((one.index, number));
        }
        Ok(())
    }
}

/// Rows of random tokens below `vocabulary`.
pub fn random(rows: usize, length: usize, seed: u64, vocabulary: usize) -> Rows {
    let records: Vec<Record> = (0..rows as u64)
        .map(|row| {
            let mut generator = generator(Purpose::Tokens, seed, row);
            let ids = (0..length).map(|_| below(&mut generator, vocabulary as u64) as i64).collect();
            Record::Ids { ids, supervised: (0..length).map(|index| index > 0).collect() }
        })
        .collect();
    let places = (1..=rows as u64).map(|row| (0, row)).collect();
    let counts = Counts { read: rows as u64, ..Counts::default() };
    Rows { shape: Shape::Ids, records, places, counts }
}

/// The error of nothing left, with what became of the rows.
pub fn no_rows(counts: &Counts) -> DataError {
    let mut why = vec![];
    for (count, what) in [
        (counts.empty, "empty"),
        (counts.duplicates, "duplicates"),
        (counts.invalid_utf8, "not UTF-8"),
        (counts.left_out, "left out by the transform"),
        (counts.dropped_long, "longer than `max_len`"),
    ] {
        if count > 0 {
            why.push(format!("{count} {what}"));
        }
    }
    let why = if why.is_empty() { "there are none".into() } else { why.join(", ") };
    DataError::NoRows { read: counts.read, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::source::files;
    use crate::data::specification::From;

    fn rows_of(name: &str, content: &[u8], change: impl Fn(&mut Specification)) -> Result<Rows, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        let mut specification = Specification::new(From::Path(path.clone()));
        change(&mut specification);
        let shown = path.display().to_string();
        files(&path, specification.format)
            .and_then(|files| read(&specification, &files, None, &mut |_| true))
            .map_err(|error| error.to_string().replace(&shown, name))
    }

    #[test]
    fn what_is_dropped_is_counted() {
        let content = b"{\"text\": \"a\"}\n{\"text\": \" \"}\n{\"text\": \"a\"}\n{\"text\": \"\xFF\"}\n{\"text\": \"b\"}\n";
        let rows = rows_of("a.jsonl", content, |_| ()).expect("read");
        let expected = Counts { read: 5, empty: 1, duplicates: 1, invalid_utf8: 1, ..Counts::default() };
        assert_eq!(rows.counts, expected);
        assert_eq!(rows.places, [(0, 1), (0, 5)]);
        let limited = rows_of("a.jsonl", content, |specification| specification.rows_limit = Some(2));
        assert_eq!(limited.expect("read").records.len(), 1);
    }

    #[test]
    fn nothing_left_says_why() {
        assert_eq!(
            rows_of("a.jsonl", b"{\"text\": \"\"}\n{\"text\": null}\n", |_| ()).expect_err("nothing"),
            "no row is left of the 2 read (2 empty); look at the file, or at `columns`"
        );
        assert_eq!(
            rows_of("a.csv", b"text,label\n", |_| ()).expect_err("nothing"),
            "no row is left of the 0 read (there are none); look at the file, or at `columns`"
        );
    }

    #[test]
    fn format_text_takes_the_text_column_of_a_table() {
        let text = |specification: &mut Specification| specification.format = Some(Format::Text);
        let rows = rows_of("a.csv", b"text,label\nonce,1\n", text).expect("read");
        assert_eq!((rows.shape, &rows.records[0]), (Shape::Text, &Record::Text("once".into())));
    }

    #[test]
    fn random_rows_depend_on_their_seed_alone() {
        assert_eq!(random(3, 5, 7, 100).records, random(3, 5, 7, 100).records);
        assert_ne!(random(3, 5, 7, 100).records, random(3, 5, 8, 100).records);
        let all = random(50, 20, 1, 10).records;
        let inside = |record: &Record| matches!(record, Record::Ids { ids, .. } if ids.iter().all(|id| (0..10).contains(id)));
        assert!(all.iter().all(inside));
    }
}
