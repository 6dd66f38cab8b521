//! Tables, batches and figures in every form that a notebook may want to show.

use crate::events::{Align, Batch, BatchToken, Figure, Table};
use crate::frontends::color::Look;
use crate::frontends::{batches, tables};
use crate::plot::error::PlotError;
use crate::plot::png::png;
use crate::plot::style::Style;
use crate::plot::svg::svg;
use crate::plot::terminal::{Screen, terminal};
use data_encoding::BASE64;
use jupyter_protocol::{Media, MediaType};
use serde_json::{Value, json};

const PLAIN: Look = Look { width: 100, ..Look::PLAIN };

/// The table as text and as HTML.
pub fn table(table: &Table) -> Media {
    let mut html = String::new();
    if !table.title.is_empty() {
        // Not a caption: that would be broken to the width of a narrow table.
        html.push_str(&format!("<div><b>{}</b></div>", escaped(&table.title)));
    }
    html.push_str("<table>");
    if table.columns.iter().any(|column| !column.name.is_empty()) {
        let names = table.columns.iter().enumerate();
        let names: String = names.map(|(index, column)| cell(table, index, "th", &column.name)).collect();
        html.push_str(&format!("<thead><tr>{names}</tr></thead>"));
    }
    html.push_str("<tbody>");
    for row in &table.rows {
        let cells: String =
            row.iter().enumerate().map(|(index, text)| cell(table, index, "td", text)).collect();
        html.push_str(&format!("<tr>{cells}</tr>"));
    }
    html.push_str("</tbody></table>");
    let plain = MediaType::Plain(tables::table(table, &PLAIN));
    Media::new(vec![plain, MediaType::Html(html), json(json!(table))])
}

/// A value as text and as JSON.
pub fn value(text: &str, value: &Value) -> Media {
    Media::new(vec![MediaType::Plain(text.to_string()), json(value.clone())])
}

/// For programs that read a notebook; under a name of our own, since front ends show plain JSON rather than text.
fn json(value: Value) -> MediaType {
    MediaType::Other(("application/vnd.ltune+json".into(), value))
}

fn cell(table: &Table, index: usize, tag: &str, text: &str) -> String {
    let align = match table.columns.get(index).map(|column| column.align) {
        Some(Align::Right) => "right",
        _ => "left",
    };
    let text = escaped(text).replace('\n', "<br>");
    format!("<{tag} style=\"text-align:{align};white-space:pre-wrap\">{text}</{tag}>")
}

/// The batch as text, and as HTML where what is learned stands on a green ground.
pub fn batch(batch: &Batch) -> Media {
    let mut html = format!("<div><b>{}</b></div>", escaped(&batch.title));
    for (index, row) in batch.rows.iter().enumerate() {
        let places = escaped(&row.places.join(", "));
        let count = row.tokens.len();
        html.push_str(&format!("<div style=\"opacity:.7\">row {index}, {count} tokens: {places}</div>"));
        let tokens: String = row.tokens.iter().map(token).collect();
        html.push_str(&format!("<pre style=\"white-space:pre-wrap;font-family:monospace\">{tokens}</pre>"));
    }
    html.push_str("<div style=\"opacity:.7\">on green: what the model learns to write</div>");
    Media::new(vec![MediaType::Plain(batches::batch(batch, &PLAIN)), MediaType::Html(html)])
}

fn token(token: &BatchToken) -> String {
    let ground = if token.supervised { "background:rgba(60,170,90,.25);" } else { "" };
    let starts = if token.starts { "▸" } else { "" };
    let text = escaped(&token.text).replace('\n', "↵\n");
    format!(
        "{starts}<span style=\"{ground}border-right:1px solid rgba(128,128,128,.3)\" title=\"{}\">{text}</span>",
        token.id
    )
}

/// The figure as SVG, as PNG and as a chart of text.
pub fn figure(figure: &Figure) -> Result<Media, PlotError> {
    let rows = if figure.panels.len() > 1 { 8 } else { 12 };
    let screen = Screen { columns: PLAIN.width, rows, color: false, unicode: true };
    let style = Style::default();
    Ok(Media::new(vec![
        MediaType::Plain(terminal(figure, &screen)?),
        MediaType::Svg(svg(figure, &style)?),
        MediaType::Png(BASE64.encode(&png(figure, &style)?)),
    ]))
}

/// A drawn diagnostic in colours that can be read on the red ground of an error, light or dark: what notebooks make of
/// bright and bold ones cannot. The title is bold and has none.
pub fn readable(drawn: &str) -> String {
    let title = drawn.strip_prefix("\x1b[1m\x1b[9").and_then(|rest| rest.split_once('m'));
    let drawn = title.map_or(drawn.to_string(), |(_, rest)| format!("\x1b[1m{rest}"));
    drawn
        .replace("\x1b[1m\x1b[9", "\x1b[9")
        .replace("\x1b[91m", "\x1b[31m")
        .replace("\x1b[92m", "\x1b[32m")
        .replace("\x1b[94m", "\x1b[34m")
}

/// Text that can stand in HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_break_the_page() {
        let mut odd = Table::new("<i>", &["name", ">n"]);
        odd.row(["<script>".into(), "1 & 2".into()]);
        let media = table(&odd);
        let MediaType::Html(html) = &media.content[1] else { panic!("HTML comes second") };
        assert!(html.contains("&lt;script&gt;") && html.contains("1 &amp; 2") && !html.contains("<script>"));
        assert!(html.contains("text-align:right"));
    }

    #[test]
    fn an_error_keeps_to_colours_that_can_be_read() {
        let drawn = "\x1b[1m\x1b[91merror[L0101]\x1b[0m\x1b[1m: no\x1b[0m\n\x1b[1m\x1b[94m1 │\x1b[0m \x1b[1m\x1b[91m━\x1b[0m";
        let expected = "\x1b[1merror[L0101]\x1b[0m\x1b[1m: no\x1b[0m\n\x1b[34m1 │\x1b[0m \x1b[31m━\x1b[0m";
        assert_eq!(readable(drawn), expected);
    }
}
