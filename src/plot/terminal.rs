//! A figure as terminal text: braille dots, or ASCII where the terminal knows no more.

use crate::events::Figure;
use crate::plot::error::PlotError;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    pub columns: usize,
    /// Rows of each panel.
    pub rows: usize,
    pub color: bool,
    pub unicode: bool,
}

/// The figure as lines of text, without the last newline.
pub fn terminal(figure: &Figure, _screen: &Screen) -> Result<String, PlotError> {
    Err(PlotError::empty(figure))
}
