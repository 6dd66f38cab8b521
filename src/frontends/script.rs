//! The sink of scripts: what a person reads in a terminal or a log.

use crate::events::{Event, Sink, Sources};
use crate::frontends::outlet::Outlet;
use crate::frontends::{render, tables};

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume {
    /// `--quiet`: results and diagnostics only.
    Quiet,
    Normal,
}

/// Results go to `out`, diagnostics and progress to `err`.
pub struct ScriptSink {
    out: Outlet,
    err: Outlet,
    volume: Volume,
}

impl ScriptSink {
    pub fn new(out: Outlet, err: Outlet, volume: Volume) -> ScriptSink {
        ScriptSink { out, err, volume }
    }
}

impl Sink for ScriptSink {
    fn accept(&mut self, event: &Event, sources: &Sources) {
        match event {
            Event::Diagnostic(found) => {
                let text = render::diagnostic(found, sources, &self.err.look);
                self.err.line(&text);
            }
            Event::Text { text } => self.out.line(text),
            Event::Table(table) => {
                let text = tables::table(table, &self.out.look);
                self.out.line(&text);
            }
            _ if self.volume == Volume::Quiet => {}
            _ => {}
        }
    }
}
