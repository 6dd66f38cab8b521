//! Tables, batches and figures in every form that a notebook may want to show.

use crate::events::{Batch, Figure, Table};
use crate::frontends::color::Look;
use crate::frontends::{batches, html, tables};
use crate::plot::error::PlotError;
use crate::plot::png::png;
use crate::plot::style::Style;
use crate::plot::terminal::{Screen, terminal};
use data_encoding::BASE64;
use jupyter_protocol::{Media, MediaType};

const PLAIN: Look = Look { width: 100, ..Look::PLAIN };

/// The table as text and as HTML.
pub fn table(table: &Table) -> Media {
    Media::new(vec![MediaType::Plain(tables::table(table, &PLAIN)), MediaType::Html(html::table(table))])
}

/// The batch as text, and as HTML where what is learned stands on a green ground.
pub fn batch(batch: &Batch) -> Media {
    Media::new(vec![MediaType::Plain(batches::batch(batch, &PLAIN)), MediaType::Html(html::batch(batch))])
}

/// The figure as SVG, as PNG and as a chart of text.
pub fn figure(figure: &Figure) -> Result<Media, PlotError> {
    let rows = if figure.panels.len() > 1 { 8 } else { 12 };
    let screen = Screen { columns: PLAIN.width, rows, color: false, unicode: true };
    Ok(Media::new(vec![
        MediaType::Plain(terminal(figure, &screen)?),
        MediaType::Svg(html::figure(figure)?),
        MediaType::Png(BASE64.encode(&png(figure, &Style::default())?)),
    ]))
}
