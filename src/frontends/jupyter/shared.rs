//! What the thread of the interpreter and that of the sockets tell each other.

use crate::assist::known::Known;
use crate::events::{Cancel, Step};
use crate::frontends::jupyter::history::History;
use crate::language::scope::NameKind;
use jupyter_protocol::JupyterMessage;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub struct Shared {
    pub cancel: Cancel,
    known: Mutex<Known>,
    history: Mutex<History>,
    /// The request whose cell runs, or ran last.
    parent: Mutex<Parent>,
}

#[derive(Default)]
pub struct Parent {
    pub message: Option<JupyterMessage>,
    pub is_running: bool,
}

impl Shared {
    pub fn known(&self) -> MutexGuard<'_, Known> {
        locked(&self.known)
    }

    /// How many runs the session has.
    pub fn runs(&self) -> usize {
        self.known().names.iter().filter(|name| name.kind == NameKind::Run).count()
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        locked(&self.history)
    }

    pub fn parent(&self) -> MutexGuard<'_, Parent> {
        locked(&self.parent)
    }

    /// Asks the cell that runs to stop; between cells there is nothing to stop.
    pub fn interrupt(&self) {
        if self.parent().is_running {
            self.cancel.request();
        }
    }

    /// A run took a step: whoever looks at it while it trains sees where it is.
    pub fn saw(&self, step: &Step) {
        let mut known = self.known();
        let name = known.names.iter_mut().find(|name| name.name == step.run);
        if let Some(progress) = name.and_then(|name| name.progress.as_mut()) {
            progress.step = step.step;
            progress.loss = Some(step.loss);
        }
    }
}

/// A lock that a panicking thread left is as good as any: each holds plain data.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
