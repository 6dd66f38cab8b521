//! ltune: step, inspect, change, fork and exactly undo a local Llama fine-tune.
pub mod events;
pub mod units;
