//! A figure as PNG.

use crate::events::Figure;
use crate::plot::draw::{Canvas, Strokes};
use crate::plot::error::PlotError;
use crate::plot::font::register;
use crate::plot::indexed::{Indexed, indexed};
use crate::plot::layout::layout;
use crate::plot::palette::Ground;
use crate::plot::style::{Style, Theme};
use plotters::prelude::BitMapBackend;

/// Pixels of the picture for one of the style: sharp on today's screens.
const DENSITY: usize = 2;
/// Each pixel is the mean of so many times as many: smooth edges, which plotters' polygons lack.
const FINER: usize = 3;

/// The figure as the bytes of a PNG file, two pixels for each of the style's.
pub fn png(figure: &Figure, style: &Style) -> Result<Vec<u8>, PlotError> {
    register()?;
    let scene = layout(figure, style)?;
    let ground = match style.theme {
        Theme::Light | Theme::Auto => Ground::Light,
        Theme::Dark => Ground::Dark,
    };
    let (width, height) = (scene.width.ceil() as usize * DENSITY, scene.height.ceil() as usize * DENSITY);
    let (wide, high) = (width * FINER, height * FINER);
    // plotters begins a text half its height, 0.62 em, above its baseline.
    let canvas =
        Canvas { scale: (DENSITY * FINER) as f64, ground, baseline: 0.62, strokes: Strokes::Polygons };
    let mut fine = vec![0; wide * high * 3];
    let mut backend = BitMapBackend::with_buffer(&mut fine, (wide as u32, high as u32));
    canvas.draw(&scene, &mut backend)?;
    drop(backend);
    encoded(&averaged(&fine, width, height), width, height)
}

/// The mean of each square of fine pixels.
fn averaged(fine: &[u8], width: usize, height: usize) -> Vec<u8> {
    let row = width * FINER * 3;
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let at = |dx: usize, dy: usize| fine[(y * FINER + dy) * row + (x * FINER + dx) * 3 + channel];
                let places = (0..FINER).flat_map(|dy| (0..FINER).map(move |dx| (dx, dy)));
                let sum: u32 = places.map(|(dx, dy)| u32::from(at(dx, dy))).sum();
                pixels.push(((sum + 4) / (FINER * FINER) as u32) as u8);
            }
        }
    }
    pixels
}

/// PNG bytes of the pixels.
fn encoded(pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>, PlotError> {
    let Indexed { palette, pixels } = indexed(pixels);
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(palette);
    encoder.set_filter(png::FilterType::NoFilter);
    encoder.set_compression(png::Compression::Best);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.map_err(|error| PlotError::Drawing { cause: error.to_string() })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Mark, Panel, Series};

    #[test]
    fn a_png_has_two_pixels_for_each_of_the_style() {
        let series = vec![Series { name: "a".into(), points: vec![(1.0, 3.0)], mark: Mark::Line, color: 0 }];
        let panels = vec![Panel { y_label: "loss".into(), log_y: false, series }];
        let figure = Figure { title: "Loss".into(), x_label: "step".into(), log_x: false, panels };
        let style = Style { width: 200, height: Some(150), theme: Theme::Dark };
        let bytes = png(&figure, &style).unwrap();
        assert_eq!(bytes[..8], *b"\x89PNG\r\n\x1a\n");
        assert_eq!(bytes[16..24], [0, 0, 1, 144, 0, 0, 1, 44]);
    }
}
