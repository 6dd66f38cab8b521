//! What every face asks while a person writes: completion, inspection, hints, colours, mending. A prompt, a notebook
//! and an editor ask the same functions: text, cursor (in bytes) and what is known of the session in, plain data out.
//!
//! Nothing here runs, loads or waits. `known` is a picture of the session that can be sent to another thread, so that
//! the answers come while a run trains. Whether a cell is finished is `language::complete`, its layout
//! `language::format`.

pub mod completion;
mod cost;
pub mod highlight;
pub mod hint;
pub mod inspection;
pub mod known;
pub mod layout;
pub mod mend;
pub mod names;
pub mod paths;
pub mod place;
#[cfg(test)]
mod samples;
