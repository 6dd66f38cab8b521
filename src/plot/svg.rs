//! A figure as SVG that reads on light and on dark.

use crate::events::Figure;
use crate::plot::draw::{Canvas, Strokes};
use crate::plot::error::PlotError;
use crate::plot::font::register;
use crate::plot::layout::layout;
use crate::plot::palette::{Ground, hex, inks};
use crate::plot::scene::Scene;
use crate::plot::style::{Style, Theme};
use plotters::prelude::{DrawingBackend, SVGBackend};

/// plotters places in whole units; ten of them make a pixel, so that curves stay smooth.
const UNITS: f64 = 10.0;

/// The figure as a whole SVG document.
pub fn svg(figure: &Figure, style: &Style) -> Result<String, PlotError> {
    register()?;
    let scene = layout(figure, style)?;
    let ground = match style.theme {
        Theme::Light | Theme::Auto => Ground::Light,
        Theme::Dark => Ground::Dark,
    };
    // plotters begins a text 0.76 em above its baseline.
    let canvas = Canvas { scale: UNITS, ground, baseline: 0.76, strokes: Strokes::Backend };
    let mut drawn = String::new();
    let size = ((scene.width * UNITS) as u32, (scene.height * UNITS) as u32);
    let mut backend = SVGBackend::with_string(&mut drawn, size);
    canvas.draw(&scene, &mut backend)?;
    backend.present().map_err(|error| PlotError::Drawing { cause: error.to_string() })?;
    drop(backend);
    let body = drawn.split_once('\n').map_or("", |(_, body)| body);
    Ok(format!("{}{}{}", head(&scene), styles(style.theme), body.replace(" opacity=\"1\"", "")))
}

/// The opening tag in the size it is to be seen, with a title for those who hear it.
fn head(scene: &Scene) -> String {
    let (width, height) = (scene.width, scene.height);
    let (wide, high) = (width * UNITS, height * UNITS);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {wide} {high}\" role=\"img\">\n<title>{}</title>\n",
        escaped(&scene.title)
    )
}

/// Round joints, and the other colours where the reader prefers dark.
fn styles(theme: Theme) -> String {
    let mut text = String::from("<style>\npolyline{stroke-linejoin:round;stroke-linecap:round}\n");
    if theme == Theme::Auto {
        text.push_str("@media (prefers-color-scheme: dark){\n");
        for ink in inks() {
            let (light, dark) = (hex(ink.rgb(Ground::Light)), hex(ink.rgb(Ground::Dark)));
            text.push_str(&format!(
                "[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}\n"
            ));
        }
        text.push_str("}\n");
    }
    text.push_str("</style>\n");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
