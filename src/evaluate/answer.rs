//! What a model wrote for a row, as a metric of one's own sees it. It stands on nothing but the standard library: what compiles `rust { … }` blocks
//! gives this very text to them.

/// What the model wrote for one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The example's number in its part.
    pub example: usize,
    pub wanted: String,
    pub written: String,
}

impl Answer {
    /// White space at either end does not count.
    pub fn is_right(&self) -> bool {
        self.wanted.trim() == self.written.trim()
    }
}
