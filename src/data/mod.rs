//! Data: from files to batches.
//!
//! ```text
//! source ──rows──▶ shape ──records──▶ encode ──examples──▶ dataset ──▶ batch
//!  text csv json    which keys mean    template, tokenizer,   flat vectors,   steps as a pure
//!  parquet          what               label mask             three parts     function of (seed, step)
//! ```
//!
//! `prepare` walks the whole way and keeps the result in the cache; `peek` looks at the first rows only.

pub mod batch;
pub mod dataset;
pub mod error;
pub mod order;
pub mod packing;
pub mod progress;
pub mod shape;
pub mod specification;
pub mod stream;
pub mod template;
pub mod template_functions;
pub mod tokenizer;
