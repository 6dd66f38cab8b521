//! How long work reports itself, and is asked to stop.

use crate::data::error::DataError;

/// How far a piece of work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    /// Zero when it is not known.
    pub total: u64,
    /// What is done: `reading`, `tokenizing`.
    pub what: &'static str,
}

/// Hears of progress; `false` asks the work to stop.
pub type Observe<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// Tells the observer, and turns its wish to stop into an error.
pub fn report(observe: Observe, done: u64, total: u64, what: &'static str) -> Result<(), DataError> {
    if observe(Progress { done, total, what }) { Ok(()) } else { Err(DataError::Stopped) }
}
