//! A diagnostic as terminal text, drawn under the source it speaks of.

use crate::events::{Diagnostic, Sources};
use crate::frontends::color::Look;

/// The whole diagnostic, without the last newline.
pub fn diagnostic(diagnostic: &Diagnostic, _sources: &Sources, _look: &Look) -> String {
    diagnostic.message.clone()
}
