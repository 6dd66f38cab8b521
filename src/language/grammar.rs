//! The parser that pest derives from `grammar/ltune.pest`. The derive makes its types public, so this room is private.

/// Reads text by the rules of the grammar.
#[derive(pest_derive::Parser)]
#[grammar = "grammar/ltune.pest"]
pub struct Grammar;
