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

const PLAIN: Look = Look { width: 100, ..Look::PLAIN };

/// The table as text and as HTML.
pub fn table(table: &Table) -> Media {
    let mut html = String::from("<table>");
    if !table.title.is_empty() {
        html.push_str(&format!(
            "<caption style=\"text-align:left\"><b>{}</b></caption>",
            escaped(&table.title)
        ));
    }
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
    Media::new(vec![MediaType::Plain(tables::table(table, &PLAIN)), MediaType::Html(html)])
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
        html.push_str(&format!("<pre style=\"white-space:pre-wrap\">{tokens}</pre>"));
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
}
