//! `--json`: one object a line for programs; numbers exact, what is not a number is null.

use crate::events::{Event, Sink, Sources};
use crate::frontends::outlet::Outlet;

/// The sink behind `--json`.
pub struct JsonSink {
    out: Outlet,
}

impl JsonSink {
    pub fn new(out: Outlet) -> JsonSink {
        JsonSink { out }
    }
}

impl Sink for JsonSink {
    fn accept(&mut self, event: &Event, sources: &Sources) {
        if let Some(line) = line(event, sources) {
            self.out.line(&line);
        }
    }
}

/// The event as one line of JSON; `None` for what only people watch.
pub fn line(event: &Event, _sources: &Sources) -> Option<String> {
    serde_json::to_string(event).ok()
}
