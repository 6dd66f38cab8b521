//! Who listens to a session of a Rust program: a terminal, a cell of a notebook or nobody; and what was said, kept as
//! values.

use crate::events::{Cancel, Diagnostic, Event, Sink, Sources, Step};
use crate::frontends::color::ColorChoice;
use crate::frontends::evcxr::{EvcxrSink, is_cell};
use crate::frontends::outlet::Outlet;
use crate::frontends::script::{ScriptSink, Volume};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// Told of each optimizer step; says whether to go on.
pub type Watch = Box<dyn FnMut(&Step) -> ControlFlow<()>>;

/// A handle to the one sink: the interpreter writes through it, the session asks it.
#[derive(Clone)]
pub struct Audience(Rc<RefCell<Listening>>);

struct Listening {
    face: Face,
    cancel: Cancel,
    events: Vec<Event>,
    errors: Vec<Diagnostic>,
    watch: Option<Watch>,
    watched: Watched,
    /// The cell that was listened to last.
    cell: usize,
}

/// Where things are shown.
enum Face {
    Terminal(Box<ScriptSink>),
    Cell(Box<EvcxrSink>),
    Nobody,
}

/// How a watch has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watched {
    #[default]
    Through,
    /// It asked to stop.
    Stopped,
    /// It panicked at this step.
    Panicked(u64),
}

/// What was said since `begin`.
#[derive(Default)]
pub struct Heard {
    pub events: Vec<Event>,
    pub errors: Vec<Diagnostic>,
    pub watched: Watched,
}

impl Audience {
    /// A notebook's cell where there is one, else the terminal.
    pub fn here(cancel: Cancel) -> Audience {
        if is_cell() {
            return Audience::new(Face::Cell(Box::default()), cancel);
        }
        let (out, err) = (Outlet::stdout(ColorChoice::Auto), Outlet::stderr(ColorChoice::Auto));
        Audience::new(Face::Terminal(Box::new(ScriptSink::new(out, err, Volume::Normal))), cancel)
    }

    pub fn nobody(cancel: Cancel) -> Audience {
        Audience::new(Face::Nobody, cancel)
    }

    fn new(face: Face, cancel: Cancel) -> Audience {
        let (events, errors, watch, watched) = (vec![], vec![], None, Watched::Through);
        Audience(Rc::new(RefCell::new(Listening { face, cancel, events, errors, watch, watched, cell: 0 })))
    }

    /// A statement is about to run in this cell.
    pub fn begin(&self, cell: usize, watch: Option<Watch>) {
        let mut listening = self.0.borrow_mut();
        let another = std::mem::replace(&mut listening.cell, cell) != cell;
        if let (Face::Cell(sink), true) = (&mut listening.face, another) {
            sink.begin_cell();
        }
        (listening.watch, listening.watched) = (watch, Watched::Through);
        listening.events.clear();
        listening.errors.clear();
    }

    /// Shows what is held back; what was said.
    pub fn end(&self) -> Heard {
        let mut listening = self.0.borrow_mut();
        match &mut listening.face {
            Face::Terminal(sink) => sink.settle(),
            Face::Cell(sink) => sink.end(),
            Face::Nobody => {}
        }
        listening.watch = None;
        Heard {
            events: std::mem::take(&mut listening.events),
            errors: std::mem::take(&mut listening.errors),
            watched: listening.watched,
        }
    }
}

impl Sink for Audience {
    fn accept(&mut self, event: &Event, sources: &Sources) {
        let mut listening = self.0.borrow_mut();
        // An error is given back as one.
        if let Event::Diagnostic(found) = event
            && found.is_error()
        {
            return listening.errors.push(found.clone());
        }
        match &mut listening.face {
            Face::Terminal(sink) => sink.accept(event, sources),
            Face::Cell(sink) => sink.accept(event, sources),
            Face::Nobody => {}
        }
        if let Event::Step(step) = event {
            listening.show_to_watch(step);
        }
        if !matches!(event, Event::Progress(_) | Event::Piece { .. }) {
            listening.events.push(event.clone());
        }
    }
}

impl Listening {
    /// Shows the watch a step. Its panic is kept from the training it watches, which ends at this whole step.
    fn show_to_watch(&mut self, step: &Step) {
        if self.watched != Watched::Through {
            return;
        }
        let Some(watch) = &mut self.watch else { return };
        self.watched = match catch_unwind(AssertUnwindSafe(|| watch(step))) {
            Ok(ControlFlow::Continue(())) => return,
            Ok(ControlFlow::Break(())) => Watched::Stopped,
            Err(_) => Watched::Panicked(step.step),
        };
        self.cancel.request();
    }
}
