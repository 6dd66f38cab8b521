//! A stream to write to and how it looks. A reader that has gone away ends the writing quietly.

use crate::events::Cancel;
use crate::frontends::color::{ColorChoice, Look};
use std::io::Write;

/// Standard output or error, a file or a buffer, with its look.
pub struct Outlet {
    pub look: Look,
    writer: Box<dyn Write + Send>,
    closed: bool,
    cancel: Cancel,
}

impl Outlet {
    pub fn new(writer: Box<dyn Write + Send>, look: Look) -> Outlet {
        Outlet { look, writer, closed: false, cancel: Cancel::default() }
    }

    pub fn stdout(choice: ColorChoice) -> Outlet {
        let stream = std::io::stdout();
        let look = Look::detect(&stream, choice);
        Outlet::new(Box::new(stream), look)
    }

    pub fn stderr(choice: ColorChoice) -> Outlet {
        let stream = std::io::stderr();
        let look = Look::detect(&stream, choice);
        Outlet::new(Box::new(stream), look)
    }

    /// Asks the work to stop once nobody reads any more.
    pub fn cancelling(mut self, cancel: Cancel) -> Outlet {
        self.cancel = cancel;
        self
    }

    /// The text and a newline, at once.
    pub fn line(&mut self, text: &str) {
        self.write(text);
        self.write("\n");
        self.flush();
    }

    pub fn write(&mut self, text: &str) {
        if self.closed {
            return;
        }
        if self.writer.write_all(text.as_bytes()).is_err() {
            self.close();
        }
    }

    pub fn flush(&mut self) {
        if !self.closed && self.writer.flush().is_err() {
            self.close();
        }
    }

    /// Nobody reads any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn close(&mut self) {
        self.closed = true;
        self.cancel.request();
    }
}
