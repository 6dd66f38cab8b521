//! How many columns and rows the terminal has.

use std::os::fd::AsFd;
use terminal_size::terminal_size_of;

/// Columns and rows of the terminal behind a stream; `None` when it is a file or a pipe.
pub fn terminal_size(stream: impl AsFd) -> Option<(usize, usize)> {
    let (columns, rows) = terminal_size_of(stream)?;
    (columns.0 > 0).then_some((columns.0.into(), rows.0.into()))
}
