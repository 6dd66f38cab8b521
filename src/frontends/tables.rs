//! A table as text with rules, within the width of the terminal: the widest column gives way first.

use crate::events::{Align, Table};
use crate::frontends::color::Look;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
const GAP: usize = 2;
/// No column is made narrower than this by the fitting.
const NARROWEST: usize = 6;

/// The whole table, without the last newline.
pub fn table(table: &Table, look: &Look) -> String {
    let count = table.rows.iter().map(Vec::len).chain([table.columns.len()]).max().unwrap_or(0);
    let widths = fitted(natural(table, count), look.width);
    let total = widths.iter().sum::<usize>() + GAP * count.saturating_sub(1);
    let rule = if look.unicode { "─" } else { "-" };
    let mut lines = vec![];
    if !table.title.is_empty() {
        lines.push(look.bold(&table.title));
    }
    let names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
    if names.iter().any(|name| !name.is_empty()) {
        lines.extend(row(table, &names, &widths).iter().map(|line| look.faint(line)));
        lines.push(look.faint(&rule.repeat(total)));
    }
    for cells in &table.rows {
        lines.extend(row(table, cells, &widths));
    }
    lines.join("\n")
}

/// The width each column asks for.
fn natural(table: &Table, count: usize) -> Vec<usize> {
    let cell = |cells: &[String], index: usize| {
        let lines = cells.get(index).map_or("", String::as_str).lines();
        lines.map(|line| shown(line).width()).max().unwrap_or(0)
    };
    let names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
    (0..count)
        .map(|index| {
            let rows = table.rows.iter().map(|cells| cell(cells, index));
            rows.chain([cell(&names, index)]).max().unwrap_or(0)
        })
        .collect()
}

/// Takes from the widest column, one by one, until the row fits or nothing more can be taken.
fn fitted(mut widths: Vec<usize>, room: usize) -> Vec<usize> {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        let widest = (0..widths.len()).max_by_key(|index| (widths[*index], *index));
        match widest {
            Some(index) if widths[index] > NARROWEST => widths[index] -= 1,
            _ => break,
        }
    }
    widths
}

/// One row as one or more lines: what does not fit in its column goes on below.
fn row(table: &Table, cells: &[String], widths: &[usize]) -> Vec<String> {
    let wrapped: Vec<Vec<String>> = widths
        .iter()
        .enumerate()
        .map(|(index, width)| wrap(cells.get(index).map_or("", String::as_str), *width))
        .collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(1);
    (0..height)
        .map(|line| {
            let parts = wrapped.iter().enumerate().map(|(index, lines)| {
                let text = lines.get(line).map_or("", String::as_str);
                let align = table.columns.get(index).map_or(Align::Left, |column| column.align);
                padded(text, widths[index], align)
            });
            parts.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_string()
        })
        .collect()
}

fn padded(text: &str, width: usize, align: Align) -> String {
    let space = " ".repeat(width.saturating_sub(text.width()));
    match align {
        Align::Left => format!("{text}{space}"),
        Align::Right => format!("{space}{text}"),
    }
}

/// Characters that would move the cursor are shown as they would be written in a string.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            control if control.is_control() => shown.extend(control.escape_default()),
            character => shown.push(character),
        }
    }
    shown
}

/// The text in lines of at most so many columns, broken at spaces where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![];
    for line in text.lines() {
        let mut current = String::new();
        for word in shown(line).split_inclusive(' ') {
            if !current.is_empty() && current.width() + word.trim_end().width() > width {
                lines.push(std::mem::take(&mut current).trim_end().to_string());
            }
            current.push_str(word);
            while current.trim_end().width() > width {
                let (head, tail) = cut(&current, width);
                lines.push(head);
                current = tail;
            }
        }
        lines.push(current.trim_end().to_string());
    }
    if lines.is_empty() { vec![String::new()] } else { lines }
}

/// As many characters as fit, at least one, and the rest.
fn cut(text: &str, width: usize) -> (String, String) {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        used += character.width().unwrap_or(0);
        if used > width && at > 0 {
            return (text[..at].to_string(), text[at..].to_string());
        }
    }
    (text.to_string(), String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new("settings of `a`", &["setting", ">value", "from"]);
        table.row(["lr".into(), "2e-4".into(), "line 12".into()]);
        table.row(["epochs".into(), "1".into(), "default".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let expected = "settings of `a`\n\
                        setting  value  from\n\
                        ───────────────────────\n\
                        lr        2e-4  line 12\n\
                        epochs       1  default";
        assert_eq!(table(&sample(), &Look::PLAIN), expected);
    }

    #[test]
    fn a_dumb_terminal_gets_rules_of_ascii() {
        let text = table(&sample(), &Look { unicode: false, ..Look::PLAIN });
        assert!(text.is_ascii(), "{text}");
    }

    #[test]
    fn the_widest_column_gives_way() {
        let mut wide = Table::new("", &["name", "what it does"]);
        wide.row(["warmup".into(), "steps over which the learning rate rises to its full height".into()]);
        let expected = "name    what it does\n\
                        ────────────────────────────────────────\n\
                        warmup  steps over which the learning\n        \
                                rate rises to its full height";
        assert_eq!(table(&wide, &Look { width: 40, ..Look::PLAIN }), expected);
    }

    #[test]
    fn wide_characters_count_twice_and_control_characters_are_shown() {
        let mut odd = Table::new("", &["text", ">n"]);
        odd.row(["日本".into(), "1".into()]);
        odd.row(["a\tb".into(), "2".into()]);
        assert_eq!(table(&odd, &Look::PLAIN), "text  n\n───────\n日本  1\na\\tb  2");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut long = Table::new("", &["a", "b", "c"]);
        long.row(["x".repeat(100), "y ".repeat(90), "日".repeat(70)]);
        for width in [40, 57, 80] {
            let text = table(&long, &Look { width, ..Look::PLAIN });
            assert!(text.lines().all(|line| line.width() <= width), "{width}\n{text}");
        }
    }

    #[test]
    fn an_empty_table_is_its_title() {
        assert_eq!(table(&Table::new("nothing", &[]), &Look::PLAIN), "nothing");
    }
}
