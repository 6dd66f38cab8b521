//! Golden sections: a script and the exact text it gives. `BLESS=1` writes the sections anew.
//!
//! A file of `tests/golden/` holds sections: `=== a sentence`, the script, `--- exit N`, what standard output and
//! standard error showed. Files that the script reads stand before it as `+++ name` followed by their text.
//! Times, which differ between runs, are shown as `<time>`, free memory as `<size>`. A number may be off by a few in its last
//! digit: processors sum in other orders.

use crate::program::{Folder, Ran};
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[test]
fn every_golden_section_shows_exactly_what_it_did() {
    let mut wrong = vec![];
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("golden files can be read");
        let mut shown = String::new();
        for section in sections(&text) {
            let actual = section.run();
            let _ = writeln!(shown, "{}{actual}", section.head);
        }
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &shown).expect("golden files can be written");
        } else if !is_same(&text, &shown) {
            wrong.push(difference(&path, &text, &shown));
        }
    }
    assert!(wrong.is_empty(), "{}\nBLESS=1 writes the sections anew", wrong.join("\n"));
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = std::fs::read_dir(folder).expect("tests/golden is there");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("its entries can be read").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "golden"));
    files.sort();
    assert!(!files.is_empty());
    files
}

struct Section<'a> {
    /// Everything up to the outcome, as it stands in the file.
    head: &'a str,
    files: Vec<(&'a str, String)>,
    script: String,
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let starts: Vec<usize> = text
        .match_indices("=== ")
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n')
        .collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| section(&text[*start..end])).collect()
}

fn section(text: &str) -> Section<'_> {
    let head = text.find("\n--- exit").map_or(text, |at| &text[..at + 1]);
    let mut files: Vec<(&str, String)> = vec![];
    let mut script = String::new();
    let mut in_file = false;
    for line in head.lines().skip(1) {
        match line.strip_prefix("+++ ") {
            Some("script") => in_file = false,
            Some(name) => {
                files.push((name, String::new()));
                in_file = true;
            }
            None if in_file => {
                let (_, text) = files.last_mut().expect("a file has been begun");
                text.push_str(line);
                text.push('\n');
            }
            None => {
                script.push_str(line);
                script.push('\n');
            }
        }
    }
    Section { head, files, script }
}

impl Section<'_> {
    fn run(&self) -> String {
        let folder = Folder::new();
        for (name, text) in &self.files {
            folder.write(name, text);
        }
        folder.fixture("tiny");
        folder.write("script.ltune", &self.script);
        let Ran { code, stdout, stderr } = folder.ltune(&["script.ltune"]);
        let mut shown = format!("--- exit {code}\n");
        for text in [stdout, stderr] {
            for line in text.lines() {
                let _ = writeln!(shown, "{}", steady(line).trim_end());
            }
        }
        shown
    }
}

/// The line without what differs between two runs or two machines: times, rates, free memory, the processor.
fn steady(line: &str) -> String {
    if line.starts_with("# recorded with") {
        return "# recorded with <machine>".to_string();
    }
    let words: Vec<&str> = line.split(' ').collect();
    let mut out = vec![];
    let mut index = 0;
    while index < words.len() {
        let number = words[index].trim_start_matches('(');
        let of_memory =
            words.get(index + 2..index + 4).is_some_and(|words| words.join(" ").starts_with("of memory"));
        if number.parse::<f64>().is_ok() && of_memory {
            out.push("<size>".to_string());
            index += 2;
            continue;
        }
        let unit = words.get(index + 1).map_or("", |unit| unit.trim_end_matches([',', ';', ')', '.']));
        if number.parse::<f64>().is_ok() && ["s", "ms", "µs", "min"].contains(&unit) {
            out.push("<time>".to_string());
            let tail = &words[index + 1][unit.len()..];
            if !tail.is_empty() {
                *out.last_mut().expect("one was pushed") += tail;
            }
            index += 2;
        } else {
            out.push(words[index].to_string());
            index += 1;
        }
    }
    let line = out.join(" ");
    match (line.find('('), line.find(" a second)")) {
        (Some(start), Some(end)) if start < end => format!("{}(<rate>{}", &line[..start], &line[end..]),
        _ => line,
    }
}

fn is_same(wanted: &str, shown: &str) -> bool {
    wanted.lines().count() == shown.lines().count()
        && wanted.lines().zip(shown.lines()).all(|(then, now)| is_same_line(then, now))
}

fn is_same_line(then: &str, now: &str) -> bool {
    let (then_words, now_words) = (then.split(' '), now.split(' '));
    then == now
        || then_words.clone().count() == now_words.clone().count()
            && then_words.zip(now_words).all(|(then, now)| then == now || is_near(then, now))
}

/// Two numbers with as many digits, and a point among them, that differ by at most three in the last one.
fn is_near(then: &str, now: &str) -> bool {
    const OFF: i64 = 3;
    let digits = |word: &str| -> Option<(i64, usize)> {
        let word = word.trim_matches(['(', ')', ',', ';', ':', '+', '%']);
        let (whole, fraction) = word.split_once('.')?;
        let number = format!("{}{fraction}", whole.replace('−', "-")).parse().ok()?;
        Some((number, fraction.len()))
    };
    match (digits(then), digits(now)) {
        (Some((then, decimals)), Some((now, as_many))) => decimals == as_many && (then - now).abs() <= OFF,
        _ => false,
    }
}

fn difference(path: &Path, wanted: &str, shown: &str) -> String {
    let mut text = format!("{}:\n", path.display());
    let (wanted, shown): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), shown.lines().collect());
    let mut told = 0;
    for index in 0..wanted.len().max(shown.len()) {
        let (then, now) = (wanted.get(index), shown.get(index));
        if !then.zip(now).is_some_and(|(then, now)| is_same_line(then, now)) && told < 12 {
            let _ = writeln!(
                text,
                "  line {}\n    - {}\n    + {}",
                index + 1,
                then.unwrap_or(&""),
                now.unwrap_or(&"")
            );
            told += 1;
        }
    }
    text
}
