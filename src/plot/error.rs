//! What can go wrong when a figure is drawn.

use crate::events::Figure;
use crate::files::FilesError;
use std::path::PathBuf;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum PlotError {
    #[error("there is nothing to plot yet: {what} has no points; take a step first (`step` or `run`)")]
    Empty { what: String },
    #[error(
        "`{}` ends in neither `.svg` nor `.png`; end the name in the kind you want: `{}`",
        path.display(),
        path.with_extension("svg").display()
    )]
    UnknownKind { path: PathBuf },
    #[error(transparent)]
    Write(#[from] FilesError),
    #[error("the figure could not be drawn: {cause}")]
    Drawing { cause: String },
}

impl PlotError {
    /// No panel of the figure has a point; says which quantities were asked for.
    pub fn empty(figure: &Figure) -> PlotError {
        let quantity = |label: &str| format!("`{}`", label.split(" (").next().unwrap_or(label));
        let quantities: Vec<String> = figure.panels.iter().map(|panel| quantity(&panel.y_label)).collect();
        let what = match quantities.as_slice() {
            [] => "the figure".to_string(),
            [one] => one.clone(),
            [most @ .., last] => format!("neither {} nor {last}", most.join(", ")),
        };
        PlotError::Empty { what }
    }
}
