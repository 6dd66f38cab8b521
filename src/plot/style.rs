//! How a figure looks: its size and its theme.

/// The size in pixels of one picture and its theme.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    pub width: u32,
    /// `None`: as high as its panels need.
    pub height: Option<u32>,
    pub theme: Theme,
}

/// Which background a figure is read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
    /// SVG: as the reader's system prefers. PNG: light.
    Auto,
}

impl Default for Style {
    fn default() -> Style {
        Style { width: 840, height: None, theme: Theme::Auto }
    }
}
