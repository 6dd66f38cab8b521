//! The one embedded font: Inter, under the SIL Open Font License (`inter.LICENSE.txt` beside this file).

use crate::plot::error::PlotError;
use plotters::style::{FontDesc, FontFamily, FontStyle, register_font};

/// The family as it is registered with plotters and written into SVG: where Inter is not installed, a reader's
/// own sans-serif takes its place.
pub const FAMILY: &str = "Inter, system-ui, sans-serif";

const INTER: &[u8] = include_bytes!("inter.otf");

/// Makes the font known to plotters. Called before each drawing: it is cheap, and there is no moment before.
pub fn register() -> Result<(), PlotError> {
    register_font(FAMILY, FontStyle::Normal, INTER)
        .map_err(|_| PlotError::Drawing { cause: "the embedded font is not readable".into() })
}

/// The width of a text at a size, in the same measure as the size. The font has to be registered.
pub fn text_width(text: &str, size: f64) -> f64 {
    const MEASURED_AT: f64 = 1000.0;
    // The ab_glyph size of a font is its height from descender to ascender, which is 1.21 em in Inter.
    const EM: f64 = 1.21;
    FontDesc::new(FontFamily::Name(FAMILY), MEASURED_AT, FontStyle::Normal)
        .layout_box(text)
        .map_or(0.6 * text.chars().count() as f64, |(_, (width, _))| f64::from(width) * EM / MEASURED_AT)
        * size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_is_there_and_measures_text() {
        register().unwrap();
        let width = text_width("loss", 10.0);
        assert!((15.0..25.0).contains(&width), "{width}");
        assert!(text_width("iiii", 10.0) < text_width("WWWW", 10.0));
    }
}
