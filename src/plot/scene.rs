//! A picture as shapes with places and sizes in pixels, before any backend draws it.

use crate::plot::palette::Ink;

pub type Point = (f64, f64);

/// Where a text stands with respect to its point, which lies on its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Rectangle { corner: Point, width: f64, height: f64, ink: Ink },
    Line { points: Vec<Point>, width: f64, ink: Ink },
    Disc { center: Point, radius: f64, ink: Ink },
    Text { at: Point, anchor: Anchor, size: f64, ink: Ink, text: String },
}

/// Shapes in the order they are painted. `y` grows downwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    pub title: String,
    pub width: f64,
    pub height: f64,
    pub shapes: Vec<Shape>,
}

impl Scene {
    pub fn line(&mut self, points: Vec<Point>, width: f64, ink: Ink) {
        self.shapes.push(Shape::Line { points, width, ink });
    }

    pub fn text(&mut self, at: Point, anchor: Anchor, size: f64, ink: Ink, text: impl Into<String>) {
        self.shapes.push(Shape::Text { at, anchor, size, ink, text: text.into() });
    }
}
