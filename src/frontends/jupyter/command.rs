//! `ltune kernel`: serves one notebook, or installs itself where Jupyter looks.

use crate::events::{Diagnostic, Out};
use crate::frontends::jupyter::install::{Kernel, SOURCES, Target, install};
use crate::frontends::jupyter::serve;
use crate::language::codes;
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct KernelArguments {
    /// Serve the connection that this file describes; Jupyter writes it
    #[arg(long, value_name = "FILE")]
    connection_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<KernelCommand>,
}

#[derive(clap::Subcommand, Debug)]
enum KernelCommand {
    /// Write the kernel's description where Jupyter finds it
    Install {
        /// For you alone (this is what happens without an option)
        #[arg(long, conflicts_with_all = ["sys_prefix", "prefix"])]
        user: bool,
        /// Into the active Python environment
        #[arg(long, conflicts_with = "prefix")]
        sys_prefix: bool,
        /// Into P/share/jupyter
        #[arg(long, value_name = "P")]
        prefix: Option<PathBuf>,
        /// The kernel for Rust cells instead: evcxr's, with all that ltune needs in its environment
        #[arg(long)]
        rust: bool,
    },
}

impl KernelArguments {
    pub fn execute(&self, out: &mut Out) -> Result<(), Diagnostic> {
        match (&self.command, &self.connection_file) {
            (Some(KernelCommand::Install { sys_prefix, prefix, rust, .. }), _) => {
                let target = match prefix {
                    Some(prefix) => Target::Prefix(prefix.clone()),
                    None if *sys_prefix => Target::Environment,
                    None => Target::User,
                };
                let kernel = if *rust { Kernel::Rust } else { Kernel::Ltune };
                let folder = install(kernel, &target)?;
                out.text(format!("installed the kernel in {}", folder.display()));
                out.text(format!(
                    "start it with `jupyter lab`, or `jupyter console --kernel {}`",
                    kernel.name()
                ));
                if kernel == Kernel::Rust {
                    say_how_cells_begin(out);
                }
                Ok(())
            }
            (None, Some(file)) => serve(file),
            (None, None) => {
                Err(Diagnostic::error(codes::USAGE, "`ltune kernel` needs to know what to serve")
                    .note("write `ltune kernel install` once; Jupyter then starts the kernel by itself"))
            }
        }
    }
}

fn say_how_cells_begin(out: &mut Out) {
    out.text("a notebook begins with this cell:");
    out.text(format!("\n  :dep ltune = {{ path = \"{SOURCES}\", default-features = false }}\n"));
    out.note(
        "the first time it builds ltune and what it stands on, which takes five to ten minutes on two cores and says \
         nothing meanwhile; what is built is kept, and the next session is there in seconds",
    );
    out.note("one Rust notebook at a time: all build in the same folder");
}
