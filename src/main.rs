//! Arguments in, exit code out.

use clap::Parser;
use ltune::frontends::command_line::CommandLine;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Of a `rust` block this program is also its own child; then it does not come back from here.
    #[cfg(feature = "rust-cells")]
    ltune::rust::answer_children();
    ltune::files::signals::keep_out();
    // A panic inside a statement becomes a diagnostic; its raw text is for those who ask for it.
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    // Before the first allocation that libtorch makes: the gain is large on the CPU (DESIGN §4).
    ltune::torch::memory::tune_allocator();
    CommandLine::parse().execute()
}
