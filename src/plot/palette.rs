//! The colours of a figure: calm, told apart by colour-blind readers, with enough contrast to be read as text.

/// A colour as red, green and blue.
pub type Rgb = (u8, u8, u8);

/// What a shape is drawn with; its colour depends on the theme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ink {
    Paper,
    Grid,
    Axis,
    /// Axis numbers and labels.
    Muted,
    /// Titles.
    Strong,
    /// A series, by its number.
    Series(usize),
    /// The values behind a smoothed series.
    Faint(usize),
}

/// A background to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    Light,
    Dark,
}

/// Colours of series, on light and on dark: blue, vermilion, green, purple, ochre, cyan, rose, slate.
const SERIES: [(Rgb, Rgb); 8] = [
    ((0x1d, 0x6f, 0xb8), (0x6a, 0xb4, 0xf5)),
    ((0xc4, 0x4e, 0x09), (0xf5, 0x96, 0x5a)),
    ((0x0a, 0x7d, 0x60), (0x4c, 0xc9, 0xa6)),
    ((0x9a, 0x3a, 0x94), (0xde, 0x8f, 0xdb)),
    ((0x8a, 0x6a, 0x00), (0xe3, 0xc0, 0x51)),
    ((0x00, 0x7c, 0x9c), (0x5f, 0xd3, 0xec)),
    ((0xb3, 0x2d, 0x52), (0xff, 0x8f, 0xa8)),
    ((0x4a, 0x56, 0x6b), (0xb4, 0xc0, 0xd0)),
];

/// How many series have a colour of their own; further ones begin again.
pub const COLORS: usize = SERIES.len();

impl Ink {
    pub fn rgb(self, ground: Ground) -> Rgb {
        let (light, dark) = match self {
            Ink::Paper => ((0xff, 0xff, 0xff), (0x15, 0x18, 0x1e)),
            Ink::Grid => ((0xe9, 0xec, 0xf0), (0x2a, 0x2f, 0x38)),
            Ink::Axis => ((0xb6, 0xbd, 0xc7), (0x55, 0x5d, 0x6b)),
            Ink::Muted => ((0x5f, 0x68, 0x75), (0x9d, 0xa7, 0xb5)),
            Ink::Strong => ((0x1b, 0x22, 0x2c), (0xee, 0xf1, 0xf5)),
            Ink::Series(number) => SERIES[number % COLORS],
            Ink::Faint(number) => {
                let (light, dark) = SERIES[number % COLORS];
                (mix(light, Ink::Paper.rgb(Ground::Light)), mix(dark, Ink::Paper.rgb(Ground::Dark)))
            }
        };
        match ground {
            Ground::Light => light,
            Ground::Dark => dark,
        }
    }
}

/// Mostly paper: three tenths of the colour.
fn mix(color: Rgb, paper: Rgb) -> Rgb {
    let part = |color: u8, paper: u8| (0.3 * f64::from(color) + 0.7 * f64::from(paper)).round() as u8;
    (part(color.0, paper.0), part(color.1, paper.1), part(color.2, paper.2))
}

/// `#1d6fb8`
pub fn hex((red, green, blue): Rgb) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// Every ink that a figure may use, each once.
pub fn inks() -> Vec<Ink> {
    let plain = [Ink::Paper, Ink::Grid, Ink::Axis, Ink::Muted, Ink::Strong];
    let series = (0..COLORS).flat_map(|number| [Ink::Series(number), Ink::Faint(number)]);
    plain.into_iter().chain(series).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance((red, green, blue): Rgb) -> f64 {
        let linear = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
    }

    #[test]
    fn every_text_colour_has_the_contrast_that_text_needs() {
        for ground in [Ground::Light, Ground::Dark] {
            let paper = luminance(Ink::Paper.rgb(ground));
            let texts = (0..COLORS).map(Ink::Series).chain([Ink::Muted, Ink::Strong]);
            for ink in texts {
                let text = luminance(ink.rgb(ground));
                let contrast = (paper.max(text) + 0.05) / (paper.min(text) + 0.05);
                assert!(contrast >= 4.5, "{ink:?} on {ground:?}: {contrast:.2}");
            }
        }
    }

    #[test]
    fn no_two_inks_share_a_light_colour() {
        let mut colors: Vec<Rgb> = inks().into_iter().map(|ink| ink.rgb(Ground::Light)).collect();
        colors.sort_unstable();
        colors.dedup();
        assert_eq!(colors.len(), inks().len());
    }
}
