//! Figures: plain numbers in, a picture out, as SVG, PNG or terminal text.
//!
//! A figure becomes a `Scene` (shapes with places and sizes, pure arithmetic in `layout`), and the scene is
//! drawn by one of the plotters backends. The text is set in one embedded font, so no system font is needed.

pub mod axis;
pub mod bars;
pub mod braille;
pub mod dashes;
pub mod draw;
pub mod error;
pub mod font;
pub mod indexed;
pub mod labels;
pub mod layout;
pub mod names;
pub mod palette;
pub mod png;
pub mod range;
pub mod scene;
pub mod style;
pub mod svg;
pub mod terminal;
pub mod thin;
pub mod ticks;
pub mod write;
