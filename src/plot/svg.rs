//! A figure as SVG.

use crate::events::Figure;
use crate::plot::error::PlotError;
use crate::plot::style::Style;

/// The figure as a whole SVG document.
pub fn svg(figure: &Figure, _style: &Style) -> Result<String, PlotError> {
    Err(PlotError::Empty { title: figure.title.clone() })
}
