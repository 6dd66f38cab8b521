//! The language: text becomes a tree with spans, the tree becomes checked values, and text again.
//!
//! Pure: no file is opened and no tensor is touched here. The way of a script:
//! `lexer` (tokens, never fails) → `parse` (tree and every syntax error at once) → `check` (settings with their
//! origins, against a `schema` and a `scope`). `format` and `complete` ask the same lexer and parser.

pub mod blocks;
mod brackets;
mod builder;
pub mod cell;
pub mod check;
pub mod codes;
pub mod complete;
pub mod describe;
pub mod evaluate;
mod fit;
mod fit_value;
pub mod format;
mod grammar;
pub mod lexer;
mod mistakes;
pub mod parse;
pub mod peers;
#[cfg(test)]
mod properties;
pub mod reference;
pub mod rust_text;
#[cfg(test)]
mod sample;
pub mod schema;
pub mod scope;
pub mod suggest;
pub mod textmate;
mod texts;
pub mod tree;
pub mod value;
