//! Arguments in, exit code out.

use clap::Parser;
use ltune::frontends::command_line::CommandLine;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before the first allocation that libtorch makes: the gain is large on the CPU (DESIGN §4).
    ltune::torch::memory::tune_allocator();
    CommandLine::parse().execute()
}
