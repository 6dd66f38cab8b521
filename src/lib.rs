//! ltune: step, inspect, change, fork and exactly undo a local Llama fine-tune.
//!
//! The way of one statement:
//!
//! ```text
//!  text ── language ──► tree ── statements ──► action ── session ──► events ── frontends
//!          (grammar,            (schema,                 (runs,                (terminal,
//!           spans)               check)                   folders)              JSON)
//!                                                            │
//!          units · events · files  (leaves)                  ▼
//!                                          train ─ evaluate ─ generate
//!                                             │        │         │
//!                                             └──── model ─ data ┘
//!                                                     │
//!                                                   torch
//! ```
//!
//! A room knows only those below it; `tests/rooms.rs` enforces that.

pub mod api;
pub mod assist;
pub mod data;
pub mod evaluate;
pub mod events;
pub mod files;
pub mod frontends;
pub mod generate;
pub mod interpreter;
pub mod language;
pub mod model;
pub mod plot;
pub mod rust;
pub mod session;
pub mod statements;
pub mod torch;
pub mod train;
pub mod units;

/// Tensors as cells of a notebook see them, without a dependency of their own.
pub use tch;

pub use api::{Data, Definition, Error, Metrics, Model, Session, Shown, Tune, choice, measure, word};
pub use data::row::Row;
pub use evaluate::answer::Answer;
pub use train::schedule::Moment;
