//! One test binary: what ltune shows, what it computes, and how its rooms lie.

mod bad_input;
mod command_line;
mod contract;
mod exactness;
mod golden;
mod peers;
mod plan;
mod program;
mod readme;
mod reference;
mod rooms;
mod schema;
