//! Tables, batches and figures as HTML, for every front end that shows pages.

use crate::events::{Align, Batch, BatchToken, Figure, Table};
use crate::frontends::color::Look;
use crate::plot::error::PlotError;
use crate::plot::style::Style;
use crate::plot::svg::svg;
use crate::plot::terminal::{Screen, terminal};

/// The look of the text that stands beside the HTML; a notebook is wider than a terminal.
pub const BESIDE: Look = Look { width: 100, ..Look::PLAIN };

/// The table with its title above it.
pub fn table(table: &Table) -> String {
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
    html
}

fn cell(table: &Table, index: usize, tag: &str, text: &str) -> String {
    let align = match table.columns.get(index).map(|column| column.align) {
        Some(Align::Right) => "right",
        _ => "left",
    };
    let text = escaped(text).replace('\n', "<br>");
    format!("<{tag} style=\"text-align:{align};white-space:pre-wrap\">{text}</{tag}>")
}

/// The batch; what is learned stands on a green ground.
pub fn batch(batch: &Batch) -> String {
    let mut html = format!("<div><b>{}</b></div>", escaped(&batch.title));
    for (index, row) in batch.rows.iter().enumerate() {
        let places = escaped(&row.places.join(", "));
        let count = row.tokens.len();
        html.push_str(&format!("<div style=\"opacity:.7\">row {index}, {count} tokens: {places}</div>"));
        let tokens: String = row.tokens.iter().map(token).collect();
        html.push_str(&format!("<pre style=\"white-space:pre-wrap;font-family:monospace\">{tokens}</pre>"));
    }
    html.push_str("<div style=\"opacity:.7\">on green: what the model learns to write</div>");
    html
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

/// The figure as a chart of text.
pub fn chart(figure: &Figure) -> Result<String, PlotError> {
    let rows = if figure.panels.len() > 1 { 8 } else { 12 };
    terminal(figure, &Screen { columns: BESIDE.width, rows, color: false, unicode: true })
}

/// The figure as SVG, which a page may hold as it is.
pub fn figure(figure: &Figure) -> Result<String, PlotError> {
    svg(figure, &Style::default())
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
        let html = table(&odd);
        assert!(html.contains("&lt;script&gt;") && html.contains("1 &amp; 2") && !html.contains("<script>"));
        assert!(html.contains("text-align:right"));
    }
}
