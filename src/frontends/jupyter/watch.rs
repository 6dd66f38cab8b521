//! What asks the kernel to stop from outside of the protocol: signals, and the death of whoever started it.

use crate::files::signals;
use crate::frontends::jupyter::shared::Shared;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level;
use std::os::unix::process::parent_id;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// SIGINT stops the cell as an interrupt from a notebook does; SIGTERM and an orphan's fate end the process.
pub fn begin(shared: Arc<Shared>) {
    let listener = shared.clone();
    signals::listen(&[SIGINT, SIGTERM], move |signal| match signal {
        SIGINT => listener.interrupt(),
        _ => leave(&listener),
    });
    // Jupyter says who started the kernel. An orphan would hold the memory of a GPU for ever.
    if let Some(parent) = std::env::var("JPY_PARENT_PID").ok().filter(|parent| parent != "1") {
        std::thread::spawn(move || watch_parent(&parent, &shared));
    }
}

fn watch_parent(parent: &str, shared: &Shared) {
    let place = format!("/proc/{parent}");
    let (first, is_seen) = (parent_id(), Path::new(&place).exists());
    while parent_id() == first && (!is_seen || Path::new(&place).exists()) {
        std::thread::sleep(Duration::from_millis(500));
    }
    leave(shared);
}

/// Ends the process: the step under way is dropped, and the steps before it are written down, if that takes no longer
/// than Jupyter waits.
pub fn leave(shared: &Shared) -> ! {
    shared.cancel.request();
    shared.cancel.request();
    let tries = std::iter::repeat_n(Duration::from_millis(20), 200);
    tries.take_while(|_| shared.parent().is_running).for_each(std::thread::sleep);
    // Not the orderly way out: libtorch may still be at work on the main thread.
    low_level::exit(0)
}
