//! The sink of the prompt: what scripts print, values as `Out[3]: …`; and the fixes that the cell's mistakes offer.

use crate::assist::mend::mended;
use crate::events::{Event, Fix, Sink, Sources};
use crate::frontends::color::Look;
use crate::frontends::script::ScriptSink;
use crate::frontends::width::terminal_size;
use std::cell::RefCell;
use std::rc::Rc;

/// A handle to the one sink: the interpreter writes through it, the prompt asks it.
#[derive(Clone)]
pub struct Printer(Rc<RefCell<CellSink>>);

struct CellSink {
    script: ScriptSink,
    look: Look,
    /// The name of the cell under way.
    cell: String,
    fixes: Vec<Fix>,
}

impl Printer {
    pub fn new(script: ScriptSink, look: Look) -> Printer {
        Printer(Rc::new(RefCell::new(CellSink { script, look, cell: String::new(), fixes: vec![] })))
    }

    /// A cell of this name begins.
    pub fn begin(&self, cell: &str) {
        let mut sink = self.0.borrow_mut();
        sink.script.begin(terminal_size(std::io::stdout()));
        sink.cell = cell.to_string();
        sink.fixes.clear();
    }

    /// The cell has ended: nothing is held back, and an empty line sets the next prompt off.
    pub fn end(&self) {
        let mut sink = self.0.borrow_mut();
        sink.script.settle();
        if sink.script.has_printed() {
            sink.script.begin(None);
            let empty = Event::Text { text: String::new() };
            sink.script.accept(&empty, &Sources::default());
            sink.script.begin(None);
        }
    }

    /// The cell with the fixes of its mistakes made, if there are any.
    pub fn mended(&self, text: &str) -> Option<String> {
        mended(text, &self.0.borrow().fixes)
    }
}

impl Sink for Printer {
    fn accept(&mut self, event: &Event, sources: &Sources) {
        self.0.borrow_mut().accept(event, sources);
    }
}

impl CellSink {
    fn accept(&mut self, event: &Event, sources: &Sources) {
        match event {
            Event::Value { name: Some(name), text, .. } if name.starts_with('_') => {
                let label = painted(&self.look, &format!("Out[{}]:", &name[1..]));
                self.script.accept(&Event::Text { text: format!("{label} {text}") }, sources);
            }
            Event::Text { text } => {
                let text = text.trim_end_matches('\n').to_string();
                self.script.accept(&Event::Text { text }, sources);
            }
            Event::Diagnostic(diagnostic) => {
                let in_cell = |fix: &&Fix| sources.get(fix.span.source).name == self.cell;
                let first = diagnostic.fixes.first().filter(in_cell);
                self.fixes.extend(first.filter(|_| diagnostic.is_error()).cloned());
                self.script.accept(event, sources);
            }
            event => self.script.accept(event, sources),
        }
    }
}

fn painted(look: &Look, label: &str) -> String {
    if look.color { format!("\x1b[31m{label}\x1b[0m") } else { label.to_string() }
}
