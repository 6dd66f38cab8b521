//! What can go wrong when a figure is drawn.

use std::path::PathBuf;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum PlotError {
    #[error("there is nothing to plot yet: `{title}` has no points; take some steps first, then plot")]
    Empty { title: String },
    #[error("`{}` ends in neither `.svg` nor `.png`; name the file so that its kind is clear", path.display())]
    UnknownKind { path: PathBuf },
    #[error("cannot write `{}`: {cause}", path.display())]
    Write { path: PathBuf, cause: std::io::Error },
    #[error("the figure could not be drawn: {cause}")]
    Drawing { cause: String },
}
