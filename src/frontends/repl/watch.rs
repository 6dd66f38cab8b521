//! Signals at the prompt. While work runs, Ctrl-C asks it to stop at a whole step, and a second one soon after aborts the
//! step; at the prompt it clears the line. A polite `kill` or a closed terminal leaves, with everything kept.

use crate::events::Cancel;
use crate::files::signals;
use crate::frontends::repl::echo::NoEcho;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the signals and the prompt tell each other.
#[derive(Clone)]
pub struct Watch {
    cancel: Cancel,
    working: Arc<AtomicBool>,
    /// The signal that asked to leave; 0 for none.
    leaving: Arc<AtomicI32>,
    /// What to show again after Ctrl-C on a terminal that cannot edit lines.
    plain_prompt: Arc<Mutex<Option<String>>>,
}

impl Watch {
    /// Listens from now on.
    pub fn begin(cancel: Cancel) -> Watch {
        let watch =
            Watch { cancel, working: Arc::default(), leaving: Arc::default(), plain_prompt: Arc::default() };
        let listener = watch.clone();
        signals::listen(&[SIGINT, SIGTERM, SIGHUP], move |signal| listener.heard(signal));
        watch
    }

    /// Does work that signals may interrupt.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.cancel.clear();
        self.working.store(true, Ordering::SeqCst);
        let echo = NoEcho::begin();
        let done = work();
        drop(echo);
        self.working.store(false, Ordering::SeqCst);
        done
    }

    /// The prompt of a terminal that cannot edit lines is shown again after Ctrl-C.
    pub fn show_again(&self, prompt: Option<String>) {
        *self.plain_prompt.lock().unwrap_or_else(PoisonError::into_inner) = prompt;
    }

    /// The signal that asked to leave.
    pub fn leaving(&self) -> Option<i32> {
        Some(self.leaving.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    fn heard(&self, signal: i32) {
        let working = self.working.load(Ordering::SeqCst);
        if signal != SIGINT {
            self.leaving.store(signal, Ordering::SeqCst);
        }
        match signal {
            _ if working => self.cancel.request(),
            SIGINT => self.prompt_again(),
            // The line editor takes SIGINT for Ctrl-C and gives the line back; then the prompt sees that it is to leave.
            _ if self.is_plain() => drop(low_level::emulate_default_handler(signal)),
            _ => drop(low_level::raise(SIGINT)),
        }
    }

    fn is_plain(&self) -> bool {
        self.plain_prompt.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn prompt_again(&self) {
        if let Some(prompt) = &*self.plain_prompt.lock().unwrap_or_else(PoisonError::into_inner) {
            let mut stdout = std::io::stdout();
            let _ = write!(stdout, "\n{prompt}").and_then(|()| stdout.flush());
        }
    }
}
