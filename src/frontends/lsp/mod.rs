//! The language server: an editor's face of the language. It checks and answers, and never runs, loads or writes anything.
//!
//! Messages come in on a thread of their own; this thread answers them in order and, whenever none waits, checks what
//! was written since. So an answer never waits for a check that a further key will make void.

mod actions;
mod completion;
mod convert;
mod folding;
mod hints;
mod hover;
mod layout;
mod naming;
mod paths;
mod positions;
mod publish;
mod semantic;
mod server;
mod wire;
mod workspace;

use crate::frontends::lsp::server::{Server, State};
use crate::frontends::lsp::wire::Incoming;
use std::io::{BufReader, stdin, stdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Serves an editor over standard input and output; the exit code is 0 when it took its leave as the protocol wants.
pub fn serve() -> u8 {
    let (sender, queue) = channel();
    std::thread::spawn(move || {
        let mut input = BufReader::new(stdin());
        while let Ok(Some(incoming)) = wire::read(&mut input) {
            if sender.send(incoming).is_err() {
                return;
            }
        }
    });
    let mut server = Server::default();
    while let Some(incoming) = next(&queue, &mut server) {
        server.accept(incoming);
        if !flush(&mut server) {
            break;
        }
        if let State::Gone { after_shutdown } = server.state {
            return u8::from(!after_shutdown);
        }
    }
    1 // the editor is gone without a word
}

/// A key is often followed by a question about it: it is answered before the text is checked.
const PAUSE: Duration = Duration::from_millis(15);

/// The next message; after a pause in which none comes, checks are made.
fn next(queue: &Receiver<Incoming>, server: &mut Server) -> Option<Incoming> {
    let mut pause = PAUSE;
    while server.has_work() {
        match queue.recv_timeout(pause) {
            Ok(incoming) => return Some(incoming),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => server.work(),
        }
        if !flush(server) {
            return None;
        }
        pause = Duration::ZERO;
    }
    queue.recv().ok()
}

/// Sends what the server has to say; false when nobody listens any more.
fn flush(server: &mut Server) -> bool {
    let mut output = stdout().lock();
    server.outbox.drain(..).all(|message| wire::write(&mut output, &message).is_ok())
}
