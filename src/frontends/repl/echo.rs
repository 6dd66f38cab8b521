//! While work runs, what is typed ahead is not shown: it would stand in the middle of the lines that the work prints.
//! It is not lost either: the next prompt takes it.

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// The terminal shows no keys as long as this lives.
pub struct NoEcho(Option<Termios>);

impl NoEcho {
    pub fn begin() -> NoEcho {
        let stdin = std::io::stdin();
        let Ok(original) = tcgetattr(&stdin) else { return NoEcho(None) };
        let mut silent = original.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        match tcsetattr(&stdin, SetArg::TCSANOW, &silent) {
            Ok(()) => NoEcho(Some(original)),
            Err(_) => NoEcho(None),
        }
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        if let Some(original) = &self.0 {
            // A terminal that is gone has no keys to show.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, original);
        }
    }
}
