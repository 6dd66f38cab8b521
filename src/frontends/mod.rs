//! Front ends: each turns the events of a session into its own form.

pub mod batches;
pub mod color;
pub mod command_line;
pub mod doctor;
pub mod evcxr;
pub mod html;
pub mod json;
#[cfg(feature = "jupyter")]
pub mod jupyter;
pub mod lines;
#[cfg(feature = "lsp")]
pub mod lsp;
pub mod outlet;
pub mod progress;
pub mod render;
#[cfg(feature = "repl")]
pub mod repl;
pub mod samples;
pub mod script;
pub mod tables;
pub mod thinning;
pub mod width;
