//! Figures: plain numbers in, a picture out, as SVG, PNG or terminal text.

pub mod error;
pub mod style;
pub mod svg;
pub mod png;
pub mod terminal;
pub mod write;
