//! A figure into a file whose name says the kind.

use crate::events::Figure;
use crate::files::atomic;
use crate::plot::error::PlotError;
use crate::plot::png::png;
use crate::plot::style::Style;
use crate::plot::svg::svg;
use std::path::Path;

/// Writes `.svg` or `.png`, whole or not at all.
pub fn write(figure: &Figure, path: &Path, style: &Style) -> Result<(), PlotError> {
    let bytes = match kind(path)? {
        Kind::Svg => svg(figure, style)?.into_bytes(),
        Kind::Png => png(figure, style)?,
    };
    Ok(atomic::write(path, &bytes)?)
}

/// What a file's name says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Svg,
    Png,
}

/// The kind of picture a path asks for; checked before anything runs.
pub fn kind(path: &Path) -> Result<Kind, PlotError> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("").to_ascii_lowercase();
    match ending.as_str() {
        "svg" => Ok(Kind::Svg),
        "png" => Ok(Kind::Png),
        _ => Err(PlotError::UnknownKind { path: path.into() }),
    }
}
