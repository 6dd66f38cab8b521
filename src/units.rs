//! Quantities with units: what a number in a script measures, and how it reads when it is shown.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a number counts or measures. `None` is a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Steps,
    Epochs,
    Percent,
    Tokens,
    Rows,
    Layers,
    Bytes,
    Seconds,
}

/// One spelling of a unit and the factor that brings it to the unit's own measure.
pub struct Spelling {
    pub text: &'static str,
    pub unit: Unit,
    pub factor: f64,
}

const fn spelling(text: &'static str, unit: Unit, factor: f64) -> Spelling {
    Spelling { text, unit, factor }
}

/// Every spelling of every unit. `%` is kept as a number of hundredths: `10%` is 10 `Percent`.
pub const SPELLINGS: &[Spelling] = &[
    spelling("steps", Unit::Steps, 1.0),
    spelling("step", Unit::Steps, 1.0),
    spelling("epochs", Unit::Epochs, 1.0),
    spelling("epoch", Unit::Epochs, 1.0),
    spelling("%", Unit::Percent, 1.0),
    spelling("tokens", Unit::Tokens, 1.0),
    spelling("token", Unit::Tokens, 1.0),
    spelling("rows", Unit::Rows, 1.0),
    spelling("row", Unit::Rows, 1.0),
    spelling("layers", Unit::Layers, 1.0),
    spelling("layer", Unit::Layers, 1.0),
    spelling("B", Unit::Bytes, 1.0),
    spelling("kB", Unit::Bytes, 1e3),
    spelling("MB", Unit::Bytes, 1e6),
    spelling("GB", Unit::Bytes, 1e9),
    spelling("KiB", Unit::Bytes, 1024.0),
    spelling("MiB", Unit::Bytes, 1048576.0),
    spelling("GiB", Unit::Bytes, 1073741824.0),
    spelling("ms", Unit::Seconds, 1e-3),
    spelling("s", Unit::Seconds, 1.0),
    spelling("seconds", Unit::Seconds, 1.0),
    spelling("min", Unit::Seconds, 60.0),
    spelling("minutes", Unit::Seconds, 60.0),
    spelling("h", Unit::Seconds, 3600.0),
    spelling("hours", Unit::Seconds, 3600.0),
];

impl Unit {
    /// The unit as it is written after a number.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Steps => "steps",
            Unit::Epochs => "epochs",
            Unit::Percent => "%",
            Unit::Tokens => "tokens",
            Unit::Rows => "rows",
            Unit::Layers => "layers",
            Unit::Bytes => "B",
            Unit::Seconds => "s",
        }
    }

    /// The unit and factor of a spelling, if it is one.
    pub fn parse(text: &str) -> Option<(Unit, f64)> {
        SPELLINGS
            .iter()
            .find(|spelling| spelling.text == text)
            .map(|spelling| (spelling.unit, spelling.factor))
    }
}

/// A whole number with thin groups of three: `1 875`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun, in the singular for one: `1 row`, `1 875 rows`.
pub fn counted(number: u64, singular: &str) -> String {
    if number == 1 { format!("1 {singular}") } else { format!("{} {singular}s", grouped(number)) }
}

/// A size in bytes, readable at a glance: `98.1 MB`, `512 B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// `8GiB`, `500 MB`, `1024`: a number with a unit of size, or of bytes.
    pub fn parse(text: &str) -> Option<Bytes> {
        let text = text.trim();
        let end = text.find(|character: char| character.is_alphabetic()).unwrap_or(text.len());
        let number: f64 = text[..end].trim().parse().ok()?;
        let factor = match &text[end..] {
            "" => 1.0,
            unit => Unit::parse(unit).filter(|(unit, _)| *unit == Unit::Bytes)?.1,
        };
        (number >= 0.0).then_some(Bytes((number * factor) as u64))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1_000 => write!(f, "{} B", self.0),
            1_000..1_000_000 => write!(f, "{:.1} kB", bytes / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.1} MB", bytes / 1e6),
            _ => write!(f, "{:.2} GB", bytes / 1e9),
        }
    }
}

/// A span of time in seconds, readable at a glance: `0.84 s`, `2 min 05 s`, `1 h 12 min`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Seconds(pub f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0;
        if !seconds.is_finite() {
            return write!(f, "unknown time");
        }
        if seconds < 1e-3 {
            return write!(f, "{:.0} µs", seconds * 1e6);
        }
        if seconds < 0.1 {
            return write!(f, "{:.1} ms", seconds * 1e3);
        }
        if seconds < 10.0 {
            return write!(f, "{seconds:.2} s");
        }
        if seconds < 60.0 {
            return write!(f, "{seconds:.1} s");
        }
        let whole = seconds.round() as u64;
        if whole < 3600 {
            return write!(f, "{} min {:02} s", whole / 60, whole % 60);
        }
        write!(f, "{} h {:02} min", whole / 3600, whole % 3600 / 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_in_threes() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1875), "1 875");
        assert_eq!(grouped(134_515_008), "134 515 008");
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(2000, "row"), "2 000 rows");
    }

    #[test]
    fn sizes_and_times_read_at_a_glance() {
        assert_eq!(Bytes(98_100_000).to_string(), "98.1 MB");
        assert_eq!(Seconds(125.0).to_string(), "2 min 05 s");
        assert_eq!(Seconds(0.0421).to_string(), "42.1 ms");
        assert_eq!(Seconds(4320.0).to_string(), "1 h 12 min");
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        let read = ["8GiB", "500 MB", "1024", "1.5kB", "3 s", "x", "-1B"].map(Bytes::parse);
        let wanted = [Some(8 << 30), Some(500_000_000), Some(1024), Some(1500), None, None, None];
        assert_eq!(read, wanted.map(|bytes| bytes.map(Bytes)));
    }

    #[test]
    fn every_unit_parses_its_own_name() {
        for spelling in SPELLINGS {
            assert_eq!(Unit::parse(spelling.text), Some((spelling.unit, spelling.factor)));
            assert!(Unit::parse(spelling.unit.name()).is_some());
        }
    }
}
