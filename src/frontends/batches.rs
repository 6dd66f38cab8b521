//! A micro-batch as text: what the model learns to write stands in brackets and, where there is colour, in green.

use crate::events::{Batch, BatchRow, BatchToken};
use crate::frontends::color::Look;
use crate::units::counted;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Rows are set in by this much under their heads.
const INDENT: &str = "  ";
/// Positions of padding that are drawn; more are only counted.
const PADDING: usize = 24;
/// Examples of a packed row that are named.
const PLACES: usize = 4;

/// The whole batch with its legend, without the last newline.
pub fn batch(batch: &Batch, look: &Look) -> String {
    let marks = Marks::of(look);
    let mut lines = vec![look.bold(&batch.title)];
    for (index, row) in batch.rows.iter().enumerate() {
        lines.push(look.faint(&head(index, row)));
        let pieces = pieces(row, batch.longest_stretch, &marks);
        lines.extend(wrapped(&pieces, look.width - INDENT.len(), look));
    }
    if batch.left_out > 0 {
        lines.push(look.faint(&format!("and {}", counted(batch.left_out as u64, "more row"))));
    }
    lines.push(look.faint(&legend(batch, &marks)));
    lines.join("\n")
}

/// What stands for what cannot be shown as it is.
struct Marks {
    open: &'static str,
    close: &'static str,
    starts: &'static str,
    newline: &'static str,
    gap: &'static str,
    padding: &'static str,
}

impl Marks {
    fn of(look: &Look) -> Marks {
        match look.unicode {
            true => {
                Marks { open: "⟦", close: "⟧", starts: "▸", newline: "↵", gap: "⋯", padding: "░" }
            }
            false => {
                Marks { open: "[[", close: "]]", starts: "|>", newline: "\\n", gap: "...", padding: "_" }
            }
        }
    }
}

/// Neighbouring tokens are told apart by two shades of each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shade {
    Supervised { odd: bool },
    Given { odd: bool },
    Aside,
}

impl Shade {
    fn code(self) -> &'static str {
        match self {
            Shade::Supervised { odd: false } => "32",
            Shade::Supervised { odd: true } => "92",
            Shade::Given { odd: false } => "",
            Shade::Given { odd: true } | Shade::Aside => "2",
        }
    }
}

/// A piece of a row that is not broken over two lines if it can be helped.
struct Piece {
    text: String,
    shade: Shade,
    /// The text itself goes on in a new line here.
    ends_line: bool,
}

fn head(index: usize, row: &BatchRow) -> String {
    let supervised = row.tokens.iter().filter(|token| token.supervised).count();
    let padding = if row.padding > 0 { format!(", {} padding", row.padding) } else { String::new() };
    let named = row.places.iter().take(PLACES).map(|place| file_name(place)).collect::<Vec<_>>().join(", ");
    let more = row.places.len().saturating_sub(PLACES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let tokens = counted(row.tokens.len() as u64, "token");
    format!("row {index}  {tokens}, {supervised} supervised{padding}  {named}{more}")
}

/// A place without the folders of its file.
fn file_name(place: &str) -> &str {
    place.rsplit('/').next().unwrap_or(place)
}

/// The tokens of a row: each stretch of one sort with its marks, shortened in its middle where it is long.
fn pieces(row: &BatchRow, longest: usize, marks: &Marks) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = vec![];
    let stretches = row.tokens.chunk_by(|left, right| left.supervised == right.supervised && !right.starts);
    for stretch in stretches {
        let supervised = stretch[0].supervised;
        let mut before = if stretch[0].starts { marks.starts.to_string() } else { String::new() };
        before.push_str(if supervised { marks.open } else { "" });
        let (begin, end) = ends(stretch.len(), longest);
        for (index, token) in stretch.iter().enumerate() {
            if index < begin || index >= end {
                let odd = index % 2 == 1;
                let shade = if supervised { Shade::Supervised { odd } } else { Shade::Given { odd } };
                push_token(&mut pieces, token, shade, &mut before, marks);
            } else if index == begin {
                let text =
                    format!(" {} {} {} ", marks.gap, counted((end - begin) as u64, "token"), marks.gap);
                pieces.push(Piece { text, shade: Shade::Aside, ends_line: false });
            }
        }
        let after = before + if supervised { marks.close } else { "" };
        match pieces.last_mut() {
            Some(last) if !last.ends_line => last.text.push_str(&after),
            _ if after.is_empty() => {}
            _ => {
                pieces.push(Piece { text: after, shade: Shade::Supervised { odd: false }, ends_line: false })
            }
        }
    }
    if row.padding > 0 {
        let more = if row.padding > PADDING { marks.gap } else { "" };
        let text = format!("{}{more}", marks.padding.repeat(row.padding.min(PADDING)));
        pieces.push(Piece { text, shade: Shade::Aside, ends_line: false });
    }
    pieces
}

/// Where the part of a stretch that is left out begins and ends; a little too long is shown whole.
fn ends(length: usize, longest: usize) -> (usize, usize) {
    if length <= longest + longest / 4 { (length, length) } else { (longest / 2, length - longest / 2) }
}

/// A token, cut at the newlines in it; what stands before it goes with its first piece.
fn push_token(pieces: &mut Vec<Piece>, token: &BatchToken, shade: Shade, before: &mut String, marks: &Marks) {
    for line in token.text.split_inclusive('\n') {
        let ends_line = line.ends_with('\n');
        let mut text = std::mem::take(before);
        text.push_str(&visible(line.trim_end_matches('\n')));
        text.push_str(if ends_line { marks.newline } else { "" });
        pieces.push(Piece { text, shade, ends_line });
    }
}

/// Characters that would move the cursor, as they are written in a text.
fn visible(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            control if control.is_control() => control.escape_default().to_string(),
            character => character.to_string(),
        })
        .collect()
}

/// The pieces in lines of at most so many columns.
fn wrapped(pieces: &[Piece], room: usize, look: &Look) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    let (mut line, mut used) = (String::new(), 0);
    for piece in pieces {
        let mut rest = piece.text.as_str();
        while !rest.is_empty() {
            if used > 0 && used + rest.width() > room {
                lines.push(format!("{INDENT}{}", std::mem::take(&mut line)));
                used = 0;
            }
            let (head, tail) = rest.split_at(fitting(rest, room));
            line.push_str(&look.painted(head, piece.shade.code()));
            used += head.width();
            rest = tail;
        }
        if piece.ends_line {
            lines.push(format!("{INDENT}{}", std::mem::take(&mut line)));
            used = 0;
        }
    }
    if used > 0 {
        lines.push(format!("{INDENT}{line}"));
    }
    lines
}

/// The bytes of the characters that fit, at least one.
fn fitting(text: &str, room: usize) -> usize {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        used += character.width().unwrap_or(0);
        if used > room && at > 0 {
            return at;
        }
    }
    text.len()
}

/// The marks that occur, and what they mean.
fn legend(batch: &Batch, marks: &Marks) -> String {
    let tokens = || batch.rows.iter().flat_map(|row| &row.tokens);
    let supervised = if tokens().any(|token| token.supervised) {
        format!("{} {} supervised", marks.open, marks.close)
    } else {
        "nothing is supervised".to_string()
    };
    let mut parts = vec![supervised, format!("{} an example begins", marks.starts)];
    if tokens().any(|token| token.text.contains('\n')) {
        parts.push(format!("{} end of a line", marks.newline));
    }
    if batch.rows.iter().any(|row| row.padding > 0) {
        parts.push(format!("{} padding", marks.padding));
    }
    parts.join("   ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, supervised: bool, starts: bool) -> BatchToken {
        BatchToken { id: 0, text: text.into(), supervised, starts }
    }

    fn sample() -> Batch {
        let packed = vec![
            token("ask", false, true),
            token("\n", false, false),
            token("yes", true, false),
            token("!", true, false),
            token("why", false, true),
            token("so\t", true, false),
        ];
        let short = vec![token("a", false, true), token("b", true, false)];
        let row = |places: &[&str], tokens, padding| BatchRow {
            places: places.iter().map(|place| place.to_string()).collect(),
            tokens,
            padding,
        };
        let rows = vec![row(&["c.jsonl:1", "c.jsonl:7"], packed, 0), row(&["in/c.jsonl:2"], short, 4)];
        Batch { title: "chat.train, micro-batch 0".into(), rows, left_out: 1, longest_stretch: 48 }
    }

    #[test]
    fn what_is_supervised_stands_in_brackets_and_examples_have_their_beginnings() {
        let expected = "chat.train, micro-batch 0\n\
                        row 0  6 tokens, 3 supervised  c.jsonl:1, c.jsonl:7\n\
                        \u{20} ▸ask↵\n  ⟦yes!⟧▸why⟦so\\t⟧\n\
                        row 1  2 tokens, 1 supervised, 4 padding  c.jsonl:2\n\
                        \u{20} ▸a⟦b⟧░░░░\n\
                        and 1 more row\n\
                        ⟦ ⟧ supervised   ▸ an example begins   ↵ end of a line   ░ padding";
        assert_eq!(batch(&sample(), &Look::PLAIN), expected);
        assert!(batch(&sample(), &Look { unicode: false, ..Look::PLAIN }).is_ascii());
    }

    #[test]
    fn colour_adds_only_escapes() {
        let colored = batch(&sample(), &Look { color: true, ..Look::PLAIN });
        assert!(colored.contains("\x1b[32m⟦yes\x1b[0m\x1b[92m!⟧\x1b[0m"), "{colored}");
        let parts = colored.split('\x1b').enumerate();
        let plain: String = parts
            .map(|(index, part)| if index == 0 { part } else { part.split_once('m').expect("an escape").1 })
            .collect();
        assert_eq!(plain, batch(&sample(), &Look::PLAIN));
    }

    #[test]
    fn a_long_stretch_shows_its_ends_and_no_line_is_too_wide() {
        let mut long = sample();
        long.rows[0].tokens = (0..200).map(|place| token(" wörd", place >= 100, place == 0)).collect();
        long.longest_stretch = 8;
        let text = batch(&long, &Look { width: 40, ..Look::PLAIN });
        assert_eq!(text.matches(" ⋯ 92 tokens ⋯ ").count(), 2, "{text}");
        assert_eq!(text.matches("wörd").count(), 16);
        long.longest_stretch = usize::MAX / 2;
        long.rows[0].tokens.push(token(&"日本".repeat(60), true, false));
        let whole = batch(&long, &Look { width: 40, ..Look::PLAIN });
        assert_eq!(whole.matches("wörd").count(), 200);
        let body = whole.lines().filter(|line| line.starts_with(INDENT));
        assert!(body.clone().all(|line| line.width() <= 40), "{whole}");
    }
}
