//! What stands beside the end of a line: the name of its series and its last value.

use crate::events::{Mark, Panel, Series};
use crate::plot::ticks::measured;

/// Longer names are cut.
pub const LONGEST_NAME: usize = 24;

/// The series that carry a name: not the faint values behind a line of the same name.
pub fn named(panel: &Panel) -> Vec<&Series> {
    let covered = |faint: &Series| {
        let twin = |other: &Series| other.mark != Mark::Faint && other.name == faint.name;
        faint.mark == Mark::Faint && panel.series.iter().any(twin)
    };
    panel.series.iter().filter(|series| !covered(series) && !series.name.is_empty()).collect()
}

/// The last number of a series, as it stands beside its name.
pub fn last_value(series: &Series) -> Option<String> {
    let (_, value) = series.points.iter().rfind(|(x, y)| x.is_finite() && y.is_finite())?;
    (series.mark != Mark::Bars).then(|| measured(*value, 4))
}

/// A name that leaves room for the picture.
pub fn short(name: &str, longest: usize) -> String {
    if name.chars().count() <= longest {
        return name.into();
    }
    let kept: String = name.chars().take(longest - 1).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(mark: Mark, points: &[(f64, f64)]) -> Series {
        Series { name: "a".into(), points: points.to_vec(), mark, color: 0 }
    }

    #[test]
    fn the_values_behind_a_line_share_its_name() {
        let both = vec![series(Mark::Faint, &[]), series(Mark::Line, &[])];
        let panel = Panel { y_label: String::new(), log_y: false, series: both };
        assert_eq!(named(&panel), [&panel.series[1]]);
        let alone = Panel { series: vec![series(Mark::Faint, &[])], ..panel };
        assert_eq!(named(&alone).len(), 1);
    }

    #[test]
    fn the_last_value_is_the_last_that_is_a_number() {
        assert_eq!(last_value(&series(Mark::Line, &[(1.0, 2.0), (2.0, f64::NAN)])).as_deref(), Some("2"));
        assert_eq!(last_value(&series(Mark::Bars, &[(1.0, 2.0)])), None);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(short("a-name-that-is-too-long", 12), "a-name-that…");
    }
}
