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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Mark, Panel, Series};
    use proptest::prelude::{ProptestConfig, any, prop, proptest};

    fn figure(title: &str) -> Figure {
        let points = vec![(1.0, 3.0), (2.0, 2.5), (3.0, 2.25)];
        let series = vec![Series { name: "a".into(), points, mark: Mark::Line, color: 0 }];
        let panels = vec![Panel { y_label: "loss (nats a token)".into(), log_y: false, series }];
        Figure { title: title.into(), x_label: "step".into(), log_x: false, panels }
    }

    #[test]
    fn the_text_is_text_and_the_line_a_line() {
        let text = svg(&figure("Loss of a"), &Style::default()).unwrap();
        assert!(text.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"840\""), "{text}");
        assert!(text.trim_end().ends_with("</svg>"));
        assert!(text.contains(">\nLoss of a\n</text>") && text.contains(">\nstep\n</text>"), "{text}");
        assert_eq!(
            text.matches("<polyline").count(),
            text.matches("/>\n").count() - text.matches("<rect").count()
        );
    }

    #[test]
    fn one_picture_serves_light_and_dark_readers() {
        let both = svg(&figure("Loss"), &Style::default()).unwrap();
        assert!(both.contains("prefers-color-scheme: dark"));
        let dark = svg(&figure("Loss"), &Style { theme: Theme::Dark, ..Style::default() }).unwrap();
        assert!(!dark.contains("prefers-color-scheme") && dark.contains("#15181E"));
    }

    #[test]
    fn a_title_cannot_break_the_document() {
        let text = svg(&figure("a <b> & \"c\""), &Style::default()).unwrap();
        assert!(text.contains("<title>a &lt;b&gt; &amp; \"c\"</title>"), "{text}");
        assert!(!text.contains("<b>"));
    }

    #[test]
    fn the_same_figure_is_the_same_document() {
        assert_eq!(
            svg(&figure("x"), &Style::default()).unwrap(),
            svg(&figure("x"), &Style::default()).unwrap()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn any_numbers_make_a_sound_picture(
            points in prop::collection::vec((any::<f64>(), any::<f64>()), 1..30),
            width in 1u32..2000,
            kind in 0usize..4,
            log in any::<bool>(),
        ) {
            let mut figure = figure("any");
            (figure.log_x, figure.panels[0].log_y) = (log, log);
            figure.panels[0].series[0].points = points;
            figure.panels[0].series[0].mark = [Mark::Line, Mark::Dots, Mark::Bars, Mark::Faint][kind];
            if let Ok(text) = svg(&figure, &Style { width, ..Style::default() }) {
                assert!(!text.contains("NaN") && !text.contains("\"inf") && text.len() < 100_000);
            }
        }
    }
}
