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
pub mod csv;
pub mod dataset;
pub mod encode;
pub mod encoding;
pub mod error;
pub mod export;
pub mod folder;
pub mod gguf_tokenizer;
pub mod json;
pub mod jsonl;
pub mod long;
pub mod mask;
pub mod order;
pub mod packing;
pub mod parquet;
pub mod peek;
pub mod pieces;
pub mod pre_tokenizer;
pub mod prepare;
pub mod progress;
pub mod record;
pub mod row;
pub mod rows;
pub mod shape;
pub mod shared;
pub mod source;
pub mod specification;
pub mod split;
pub mod store;
pub mod stream;
pub mod template;
pub mod template_functions;
pub mod text;
pub mod tokenizer;
pub mod transform;
