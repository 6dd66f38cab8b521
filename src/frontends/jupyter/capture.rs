//! Takes what libtorch and others write to standard output and error, below Rust: a notebook has no terminal to see it on.

use std::fs::File;
use std::io::{PipeReader, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// Which stream something was written to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Output,
    Error,
}

/// What is done with a captured text.
type Take = Box<dyn Fn(Stream, String) + Send>;

/// Both streams, from the moment they are captured on.
#[derive(Clone)]
pub struct Capture(Arc<Mutex<Captured>>);

struct Captured {
    output: File,
    error: File,
    take: Take,
}

impl Capture {
    /// Puts pipes in place of the streams; `None` when the system has none to give.
    pub fn begin(take: Take) -> Option<Capture> {
        let (output, error) = (replaced(1)?, replaced(2)?);
        let (for_output, for_error) = (output.try_clone().ok()?, error.try_clone().ok()?);
        let capture = Capture(Arc::new(Mutex::new(Captured { output, error, take })));
        for file in [for_output, for_error] {
            let capture = capture.clone();
            std::thread::spawn(move || {
                while wait(&file) {
                    capture.drain();
                }
            });
        }
        Some(capture)
    }

    /// Passes on all that has been written so far.
    pub fn drain(&self) {
        let mut captured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Captured { output, error, take } = &mut *captured;
        for (file, stream) in [(output, Stream::Output), (error, Stream::Error)] {
            let mut bytes = vec![];
            // The pipes do not block: an error says that there is no more.
            let _ = file.read_to_end(&mut bytes);
            if !bytes.is_empty() {
                take(stream, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
}

/// A pipe in place of the stream of that number; what is written to it can be read without waiting.
fn replaced(number: i32) -> Option<File> {
    let (reader, writer): (PipeReader, _) = std::io::pipe().ok()?;
    let reader = File::from(OwnedFd::from(reader));
    // SAFETY: both descriptors are open; the stream's own number then stands for the pipe.
    let done = unsafe {
        libc::dup2(writer.as_raw_fd(), number) >= 0
            && libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) >= 0
    };
    done.then_some(reader)
}

/// Waits until something can be read; `false` when nothing ever will be.
fn wait(file: &File) -> bool {
    let mut asked = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid entry, open for as long as the call lasts.
    let count = unsafe { libc::poll(&mut asked, 1, -1) };
    count >= 0 && asked.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) == 0
}
