//! Signals are handled by one thread alone. oneDNN's fp32 products move the stack pointer into the heap while they run; a
//! handler that began there would write its frame over what lies below (Ctrl-C ended one session in twenty so, on a busy
//! processor where libtorch multiplies by oneDNN).

use nix::sys::signal::{SigSet, Signal};
use signal_hook::iterator::Signals;
use std::thread;

/// Those that ltune or its line editor handles. All others keep their default, which needs no stack.
const HANDLED: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGWINCH];

/// Keeps them from this thread and from every one that it starts: for `main`, before there is another.
pub fn keep_out() {
    let _ = handled().thread_block(); // fails for what is no signal only
}

/// Calls back for each of these signals, on a thread of its own that hears them.
pub fn listen(signals: &[i32], heard: impl FnMut(i32) + Send + 'static) {
    let Ok(mut signals) = Signals::new(signals) else { return };
    thread::spawn(move || {
        let _ = handled().thread_unblock();
        signals.forever().for_each(heard);
    });
}

/// Starts another program, which inherits what this thread hears: all, as if nothing had been kept out.
pub fn for_child<T>(start: impl FnOnce() -> T) -> T {
    let before = SigSet::thread_get_mask();
    let _ = handled().thread_unblock();
    let started = start();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    started
}

fn handled() -> SigSet {
    HANDLED.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked() -> bool {
        SigSet::thread_get_mask().unwrap().contains(Signal::SIGWINCH)
    }

    #[test]
    fn a_child_hears_what_its_starter_does_not() {
        let seen = thread::spawn(|| {
            keep_out();
            let inherited = thread::spawn(blocked).join().unwrap();
            (inherited, for_child(blocked), blocked())
        });
        assert_eq!(seen.join().unwrap(), (true, false, true));
        assert!(!for_child(blocked) && !blocked(), "where nothing was kept out nothing is afterwards");
    }
}
