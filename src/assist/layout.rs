//! What the formatter changes, as edits of single lines: an editor that makes them keeps its cursor and its marks.

use crate::events::Diagnostic;
use crate::language::format::format;
use std::ops::Range;

/// A text to put in the place of a range of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub range: Range<usize>,
    pub text: String,
}

/// The edits that make a script as `format` writes it, in the order of the text; or its syntax errors.
pub fn edits(text: &str) -> Result<Vec<Edit>, Vec<Diagnostic>> {
    let formatted = format(text)?;
    let of_lines = line_edits(text, &formatted)
        .filter(|edits| edits.is_sorted_by(|left, right| left.range.end <= right.range.start))
        .filter(|edits| applied(text, edits) == formatted);
    // Wherever lines do not correspond, the whole text is replaced.
    Ok(of_lines.unwrap_or_else(|| vec![Edit { range: 0..text.len(), text: formatted }]))
}

/// The text with the edits made; they are in the order of the text and do not overlap.
pub fn applied(text: &str, edits: &[Edit]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        result.push_str(&text[at..edit.range.start]);
        result.push_str(&edit.text);
        at = edit.range.end;
    }
    result + &text[at..]
}

/// The formatter keeps the content of lines and sets or drops empty ones, so lines are matched by their content.
fn line_edits(text: &str, formatted: &str) -> Option<Vec<Edit>> {
    let (old, new) = (lines(text), lines(formatted));
    let (mut at, mut wanted) = (0, 0);
    let mut edits = vec![];
    while at < old.len() || wanted < new.len() {
        let before = old.get(at).map(|range| &text[range.clone()]);
        let after = new.get(wanted).map(|range| &formatted[range.clone()]);
        match (before, after) {
            (Some(before), Some(after)) if content(before).eq(content(after)) => {
                if before != after {
                    edits.push(Edit { range: old[at].clone(), text: after.to_string() });
                }
                (at, wanted) = (at + 1, wanted + 1);
            }
            (Some(before), _) if content(before).next().is_none() => {
                edits.push(Edit { range: whole_line(&old, at), text: String::new() });
                at += 1;
            }
            (_, Some("")) => {
                let place = old.get(at).map_or(text.len(), |range| range.start);
                edits.push(Edit { range: place..place, text: "\n".into() });
                wanted += 1;
            }
            _ => return None,
        }
    }
    Some(edits)
}

/// The lines without their newlines; a text that ends with a newline has an empty last line.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    text.split('\n')
        .map(|line| {
            let range = start..start + line.len();
            start = range.end + 1;
            range
        })
        .collect()
}

/// A line with a newline that belongs to it: the one behind it, for the last line the one before.
fn whole_line(lines: &[Range<usize>], index: usize) -> Range<usize> {
    let range = &lines[index];
    match lines.get(index + 1) {
        Some(next) => range.start..next.start,
        None => range.start.saturating_sub(1)..range.end,
    }
}

fn content(line: &str) -> impl Iterator<Item = char> + '_ {
    let separates = |letter: char| letter == ';' || letter.is_whitespace() || letter == '\u{FEFF}';
    line.trim_matches(separates).chars().filter(|letter| !letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop, proptest};

    fn ranges(text: &str) -> Vec<(&str, String)> {
        let edits = edits(text).expect("no syntax error");
        assert_eq!(applied(text, &edits), format(text).expect("no syntax error"));
        edits.into_iter().map(|edit| (&text[edit.range], edit.text)).collect()
    }

    #[test]
    fn only_lines_that_change_are_edited() {
        let text = "let n = 3\nlet   m=4\nprint n\n";
        assert_eq!(ranges(text), [("let   m=4", "let m = 4".to_string())]);
        assert_eq!(ranges("let n = 3\n"), []);
    }

    #[test]
    fn empty_lines_come_and_go_on_their_own() {
        let text = "\n\nlet n = 3\n\n\n\nprint n";
        assert_eq!(ranges(text).len(), 5, "{:?}", ranges(text));
        assert_eq!(ranges("let n = 3\n\n;\nprint n\n").len(), 1);
    }

    #[test]
    fn windows_lines_become_plain_ones_line_by_line() {
        assert_eq!(ranges("let n = 3\r\nprint n\r\n").len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn edits_make_what_the_formatter_writes(pieces in prop::collection::vec(prop::sample::select(vec![
            "\n", "\n\n", "  ", ";", "let n=3", "print  n", "# c", "#c", "tune a {", "lr=1", "}", "\r\n", "\"\"\"\n\n x\"\"\"",
            "print \"\"\"a\n\n\n  b\"\"\"", "step a 5", "plot loss,", "lr of a",
        ]), 0..25)) {
            let text = pieces.concat();
            if let (Ok(edits), Ok(formatted)) = (edits(&text), format(&text)) {
                assert_eq!(applied(&text, &edits), formatted);
            }
        }
    }
}
