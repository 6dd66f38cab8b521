//! Tables, batches and figures in every form that a notebook may want to show.

use crate::events::{Batch, Figure, Table};
use crate::frontends::{batches, html, tables};
use crate::plot::error::PlotError;
use crate::plot::png::png;
use crate::plot::style::Style;
use data_encoding::BASE64;
use jupyter_protocol::{Media, MediaType};
use serde_json::{Value, json};

/// The table as text, as HTML and as JSON.
pub fn table(table: &Table) -> Media {
    let plain = MediaType::Plain(tables::table(table, &html::BESIDE));
    Media::new(vec![plain, MediaType::Html(html::table(table)), json(json!(table))])
}

/// A value as text and as JSON.
pub fn value(text: &str, value: &Value) -> Media {
    Media::new(vec![MediaType::Plain(text.to_string()), json(value.clone())])
}

/// For programs that read a notebook; under a name of our own, since front ends show plain JSON rather than text.
fn json(value: Value) -> MediaType {
    MediaType::Other(("application/vnd.ltune+json".into(), value))
}

/// The batch as text, and as HTML where what is learned stands on a green ground.
pub fn batch(batch: &Batch) -> Media {
    Media::new(vec![
        MediaType::Plain(batches::batch(batch, &html::BESIDE)),
        MediaType::Html(html::batch(batch)),
    ])
}

/// The figure as SVG, as PNG and as a chart of text.
pub fn figure(figure: &Figure) -> Result<Media, PlotError> {
    Ok(Media::new(vec![
        MediaType::Plain(html::chart(figure)?),
        MediaType::Svg(html::figure(figure)?),
        MediaType::Png(BASE64.encode(&png(figure, &Style::default())?)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_to_colours_that_can_be_read() {
        let drawn = "\x1b[1m\x1b[91merror[L0101]\x1b[0m\x1b[1m: no\x1b[0m\n\x1b[1m\x1b[94m1 │\x1b[0m \x1b[1m\x1b[91m━\x1b[0m";
        let expected = "\x1b[1merror[L0101]\x1b[0m\x1b[1m: no\x1b[0m\n\x1b[34m1 │\x1b[0m \x1b[31m━\x1b[0m";
        assert_eq!(readable(drawn), expected);
    }
}
