//! The Jupyter kernel: cells of a notebook run in one session. The interpreter runs on this thread; sockets, which also
//! answer completion and inspection while a cell trains, have another.

mod answers;
mod capture;
mod cells;
pub mod command;
mod history;
mod install;
mod live;
mod outbox;
mod rich;
mod shared;
mod sink;
mod sockets;
mod watch;
mod wire;

use crate::events::{Diagnostic, Out};
use crate::files::plain;
use crate::frontends::jupyter::cells::Kernel;
use crate::frontends::jupyter::shared::Shared;
use crate::frontends::jupyter::sink::Output;
use crate::language::codes;
use jupyter_protocol::ConnectionInfo;
use std::path::Path;
use std::sync::Arc;

/// Serves the connection until a client asks to leave or the process that started it is gone.
pub fn serve(connection_file: &Path) -> Result<(), Diagnostic> {
    let connection = read_connection(connection_file)?;
    let shared = Arc::new(Shared::default());
    let (outbox, jobs) = sockets::begin(connection, shared.clone())
        .map_err(|why| Diagnostic::error(codes::KERNEL, format!("the kernel cannot listen: {why}")))?;
    watch::begin(shared.clone());
    let output = Output::new(outbox.clone(), shared.clone());
    let mut out = Out::new(Box::new(output.clone()));
    out.cancel = shared.cancel.clone();
    Kernel::new(out, output, outbox, shared).work(&jobs);
    Ok(())
}

fn read_connection(file: &Path) -> Result<ConnectionInfo, Diagnostic> {
    let told = |why: String| {
        Diagnostic::error(codes::KERNEL, format!("the connection file `{}` {why}", file.display())).note(
            "Jupyter writes it: start the kernel with `jupyter console --kernel ltune`, or from a notebook",
        )
    };
    let text =
        std::fs::read_to_string(file).map_err(|error| told(format!("cannot be read: {}", plain(&error))))?;
    let connection: ConnectionInfo =
        serde_json::from_str(&text).map_err(|error| told(format!("is no connection: {error}")))?;
    match connection.signature_scheme.as_str() {
        "hmac-sha256" | "" => Ok(connection),
        other => Err(told(format!("asks for signatures by `{other}`; only `hmac-sha256` is known"))),
    }
}
