//! One test binary: what ltune shows, what it computes, and how its rooms lie.

mod api;
mod bad_input;
mod command_line;
mod contract;
mod editors;
#[cfg(feature = "jupyter")]
mod evcxr;
mod exactness;
mod forks;
mod golden;
#[cfg(feature = "jupyter")]
mod kernel;
mod look;
mod looking;
#[cfg(feature = "lsp")]
mod lsp;
mod memory;
mod peers;
mod plan;
mod program;
mod readme;
mod reference;
#[cfg(feature = "repl")]
mod repl;
mod resume;
mod rooms;
mod rust_blocks;
mod schema;
#[cfg(feature = "repl")]
mod terminal;
mod timeline;
