//! A scene drawn by a plotters backend.

use crate::plot::error::PlotError;
use crate::plot::font::FAMILY;
use crate::plot::palette::{Ground, Ink};
use crate::plot::scene::{Anchor, Point, Scene, Shape};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, TextStyle};

/// How a backend draws what plotters' backends do differently.
#[derive(Clone, Copy, Debug)]
pub struct Canvas {
    /// Units of the backend in a pixel of the scene: backends know whole units only.
    pub scale: f64,
    pub ground: Ground,
    /// From the place of a text to its baseline, in sizes of the text.
    pub baseline: f64,
    pub strokes: Strokes,
}

/// Who makes a line thick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strokes {
    /// The backend, which joins the parts of a line well.
    Backend,
    /// Each part becomes a polygon and each joint a disc: plotters' bitmaps tear thick lines at sharp corners.
    Polygons,
}

type Place = (i32, i32);

impl Canvas {
    /// Draws every shape, in order. The font has to be registered.
    pub fn draw<B: DrawingBackend>(&self, scene: &Scene, backend: &mut B) -> Result<(), PlotError> {
        scene.shapes.iter().try_for_each(|shape| self.shape(shape, backend))
    }

    fn shape<B: DrawingBackend>(&self, shape: &Shape, backend: &mut B) -> Result<(), PlotError> {
        match shape {
            Shape::Rectangle { corner, width, height, ink } => {
                let opposite = (corner.0 + width, corner.1 + height);
                backend
                    .draw_rect(self.place(*corner), self.place(opposite), &self.color(*ink).filled(), true)
                    .map_err(told)
            }
            Shape::Disc { center, radius, ink } => self.disc(*center, *radius, *ink, backend),
            Shape::Line { points, width, ink } => match self.strokes {
                Strokes::Backend => {
                    let style = self.color(*ink).stroke_width(self.units(*width));
                    backend.draw_path(points.iter().map(|point| self.place(*point)), &style).map_err(told)
                }
                Strokes::Polygons => self.polygons(points, *width, *ink, backend),
            },
            Shape::Text { at, anchor, size, ink, text } => {
                let place = self.place((at.0, at.1 - self.baseline * size));
                backend.draw_text(text, &self.text_style(*anchor, *size, *ink), place).map_err(told)
            }
        }
    }

    fn disc<B: DrawingBackend>(
        &self,
        center: Point,
        radius: f64,
        ink: Ink,
        backend: &mut B,
    ) -> Result<(), PlotError> {
        let style = self.color(ink).filled();
        backend.draw_circle(self.place(center), self.units(radius), &style, true).map_err(told)
    }

    fn polygons<B: DrawingBackend>(
        &self,
        points: &[Point],
        width: f64,
        ink: Ink,
        backend: &mut B,
    ) -> Result<(), PlotError> {
        let style = self.color(ink).filled();
        for pair in points.windows(2) {
            let corners = bar(pair[0], pair[1], width);
            if let Some(corners) = corners {
                backend.fill_polygon(corners.map(|corner| self.place(corner)), &style).map_err(told)?;
            }
        }
        let joints = points.get(1..points.len().saturating_sub(1)).unwrap_or(&[]);
        joints.iter().try_for_each(|joint| self.disc(*joint, width / 2.0, ink, backend))
    }

    fn place(&self, (x, y): Point) -> Place {
        ((x * self.scale).round() as i32, (y * self.scale).round() as i32)
    }

    fn units(&self, length: f64) -> u32 {
        (length * self.scale).round().max(1.0) as u32
    }

    fn color(&self, ink: Ink) -> RGBColor {
        let (red, green, blue) = ink.rgb(self.ground);
        RGBColor(red, green, blue)
    }

    fn text_style(&self, anchor: Anchor, size: f64, ink: Ink) -> TextStyle<'static> {
        let horizontal = match anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let height = size * self.scale * FONT_HEIGHT;
        let font = FontDesc::new(FontFamily::Name(FAMILY), height, FontStyle::Normal);
        TextStyle { font, color: self.color(ink).to_backend_color(), pos: Pos::new(horizontal, VPos::Top) }
    }
}

/// plotters gives the size of a font as its height, 1.24 times what everyone else calls its size.
const FONT_HEIGHT: f64 = 1.24;

fn told(error: impl std::fmt::Display) -> PlotError {
    PlotError::Drawing { cause: error.to_string() }
}

/// The corners of a straight line as thick as said.
fn bar(from: Point, to: Point, width: f64) -> Option<[Point; 4]> {
    let (across, down) = (to.0 - from.0, to.1 - from.1);
    let length = across.hypot(down);
    if length == 0.0 {
        return None;
    }
    let (x, y) = (-down / length * width / 2.0, across / length * width / 2.0);
    Some([(from.0 + x, from.1 + y), (to.0 + x, to.1 + y), (to.0 - x, to.1 - y), (from.0 - x, from.1 - y)])
}
