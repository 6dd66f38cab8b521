//! A figure into a file whose name says the kind.

use crate::events::Figure;
use crate::files::atomic;
use crate::plot::error::PlotError;
use crate::plot::png::png;
use crate::plot::style::Style;
use crate::plot::svg::svg;
use std::path::Path;

/// Writes `.svg` or `.png`, whole or not at all.
pub fn write(figure: &Figure, path: &Path, style: &Style) -> Result<(), PlotError> {
    let bytes = match kind(path)? {
        Kind::Svg => svg(figure, style)?.into_bytes(),
        Kind::Png => png(figure, style)?,
    };
    Ok(atomic::write(path, &bytes)?)
}

/// What a file's name says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Svg,
    Png,
}

/// The kind of picture a path asks for; checked before anything runs.
pub fn kind(path: &Path) -> Result<Kind, PlotError> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("").to_ascii_lowercase();
    match ending.as_str() {
        "svg" => Ok(Kind::Svg),
        "png" => Ok(Kind::Png),
        _ => Err(PlotError::UnknownKind { path: path.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Mark, Panel, Series};

    fn figure(points: &[(f64, f64)]) -> Figure {
        let series = vec![Series { name: "a".into(), points: points.to_vec(), mark: Mark::Line, color: 0 }];
        let panels = vec![Panel { y_label: "loss".into(), log_y: false, series }];
        Figure { title: "Loss".into(), x_label: "step".into(), log_x: false, panels }
    }

    #[test]
    fn the_name_says_the_kind() {
        assert_eq!(kind(Path::new("runs/a/loss.SVG")).unwrap(), Kind::Svg);
        assert_eq!(kind(Path::new("loss.png")).unwrap(), Kind::Png);
        assert_eq!(
            kind(Path::new("loss.pdf")).unwrap_err().to_string(),
            "`loss.pdf` ends in neither `.svg` nor `.png`; end the name in the kind you want: `loss.svg`"
        );
    }

    #[test]
    fn an_empty_figure_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss.svg");
        write(&figure(&[(1.0, 2.0)]), &path, &Style::default()).unwrap();
        let before = std::fs::read(&path).unwrap();
        write(&figure(&[]), &path, &Style::default()).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
