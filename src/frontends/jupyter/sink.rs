//! The sink of a notebook: each event becomes the message that shows it best.

use crate::events::{Diagnostic, Event, Figure, Generation, Progress, Sink, Sources, Step};
use crate::frontends::color::Look;
use crate::frontends::jupyter::live::Live;
use crate::frontends::jupyter::outbox::Outbox;
use crate::frontends::jupyter::rich;
use crate::frontends::jupyter::shared::Shared;
use crate::frontends::thinning::Thinning;
use crate::frontends::{lines, render};
use jupyter_protocol::{
    DisplayData, ErrorOutput, ExecuteResult, ExecutionCount, JupyterMessage, JupyterMessageContent, Media,
    StreamContent, Transient,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pieces of a text that is being written go out this often.
const BETWEEN_PIECES: Duration = Duration::from_millis(50);

/// A notebook is wider than a terminal.
const LOOK: Look = Look { width: 100, height: 24, color: true, unicode: true, live: false };

/// A handle to the one sink: the interpreter writes through it, the kernel asks it.
#[derive(Clone)]
pub struct Output(Rc<RefCell<CellSink>>);

struct CellSink {
    outbox: Outbox,
    shared: Arc<Shared>,
    /// The request whose cell runs; none for a silent one.
    parent: Option<JupyterMessage>,
    count: u64,
    errors: Vec<(Diagnostic, String)>,
    steps: Thinning,
    live: Live,
    pieces: String,
    sent: Instant,
    /// Whether a text is under way whose line is not ended.
    is_streaming: bool,
    result: String,
}

impl Output {
    pub fn new(outbox: Outbox, shared: Arc<Shared>) -> Output {
        Output(Rc::new(RefCell::new(CellSink {
            outbox,
            shared,
            parent: None,
            count: 0,
            errors: vec![],
            steps: Thinning::default(),
            live: Live::default(),
            pieces: String::new(),
            sent: Instant::now(),
            is_streaming: false,
            result: String::new(),
        })))
    }

    /// A cell begins; without a request to answer, it is silent.
    pub fn begin(&self, parent: Option<JupyterMessage>, count: u64) {
        let mut sink = self.0.borrow_mut();
        (sink.parent, sink.count) = (parent, count);
        sink.errors.clear();
        sink.steps = Thinning::default();
        sink.live = Live::default();
        sink.result.clear();
    }

    /// Sends what is held back; the result that the cell had.
    pub fn end(&self) -> String {
        let mut sink = self.0.borrow_mut();
        sink.settle();
        sink.result.clone()
    }

    /// All errors of the cell as one.
    pub fn error(&self) -> Option<ErrorOutput> {
        let sink = self.0.borrow();
        let (first, _) = sink.errors.first()?;
        let more = sink.errors.len() - 1;
        let and_more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        Some(ErrorOutput {
            ename: first.code.to_string(),
            evalue: format!("{}{and_more}", first.message),
            traceback: sink.errors.iter().map(|(_, text)| text.clone()).collect(),
        })
    }
}

impl Sink for Output {
    fn accept(&mut self, event: &Event, sources: &Sources) {
        self.0.borrow_mut().accept(event, sources);
    }
}

impl CellSink {
    fn accept(&mut self, event: &Event, sources: &Sources) {
        if !matches!(event, Event::Step(_) | Event::Progress(_) | Event::Piece { .. } | Event::Generation(_))
        {
            self.settle();
        }
        match event {
            Event::Version { .. } => {}
            Event::Diagnostic(found) if found.is_error() => {
                let text = rich::readable(&render::diagnostic(found, sources, &LOOK));
                self.errors.push((found.clone(), text));
            }
            Event::Diagnostic(found) => {
                let text = rich::readable(&render::diagnostic(found, sources, &LOOK));
                self.publish(StreamContent::stderr(&format!("{text}\n")));
            }
            Event::Text { text } | Event::Note { text } => self.line(text),
            Event::Piece { text } => self.piece(text),
            Event::Table(table) => self.display(rich::table(table)),
            Event::Batch(batch) => self.display(rich::batch(batch)),
            Event::Step(step) => self.step(step),
            Event::Move(moved) => self.line(&lines::moved(moved, &LOOK)),
            Event::Eval(evaluation) => self.line(&lines::evaluation(evaluation)),
            Event::Generation(generation) => self.generation(generation),
            Event::Progress(progress) => self.progress(progress),
            Event::Figure { path, figure } => self.figure(path.as_deref(), figure),
            Event::Saved { name, path, note } => {
                let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
                self.line(&format!("saved {name} to {path}{note}"));
            }
            Event::Value { name: Some(name), text, value } if name.starts_with('_') => {
                self.result(text, value)
            }
            Event::Value { name, text, .. } => self.line(&lines::value(name.as_deref(), text)),
        }
    }

    fn publish(&self, content: impl Into<JupyterMessageContent>) {
        if let Some(parent) = &self.parent {
            self.outbox.publish(parent, content);
        }
    }

    fn line(&self, text: &str) {
        self.publish(StreamContent::stdout(&format!("{text}\n")));
    }

    fn display(&self, media: Media) {
        self.publish(DisplayData {
            data: media,
            metadata: Default::default(),
            transient: Some(Transient::default()),
        });
    }

    fn result(&mut self, text: &str, value: &serde_json::Value) {
        self.result = text.to_string();
        let count = ExecutionCount::new(self.count as usize);
        let mut result = ExecuteResult::new(count, rich::value(text, value));
        // Clients want the empty one rather than none.
        result.transient = Some(Transient::default());
        self.publish(result);
    }

    fn step(&mut self, step: &Step) {
        self.shared.saw(step);
        self.live.saw(step);
        if self.steps.shows(step) {
            self.print_step(step);
        }
    }

    fn print_step(&self, step: &Step) {
        let name = if self.shared.runs() > 1 { format!("{}  ", step.run) } else { String::new() };
        self.line(&format!("{name}{}", lines::step(step)));
    }

    fn progress(&mut self, progress: &Progress) {
        if progress.unit == "steps" && progress.done == 0 && progress.total > 0 {
            self.steps.begin(progress.total);
        }
        if let Some(content) = self.live.progress(progress) {
            self.publish(content);
        }
    }

    fn piece(&mut self, text: &str) {
        self.is_streaming |= !text.is_empty();
        self.pieces.push_str(text);
        if self.sent.elapsed() > BETWEEN_PIECES {
            self.send_pieces();
        }
    }

    fn send_pieces(&mut self) {
        let text = std::mem::take(&mut self.pieces);
        if !text.is_empty() {
            self.publish(StreamContent::stdout(&text));
        }
        self.sent = Instant::now();
    }

    fn generation(&mut self, generation: &Generation) {
        if !self.is_streaming {
            self.line(&generation.text);
        }
        self.settle();
        self.line(&LOOK.faint(&lines::tail(generation)));
    }

    fn figure(&mut self, path: Option<&str>, figure: &Figure) {
        if let Some(path) = path {
            self.line(&format!("wrote {path}"));
        }
        match rich::figure(figure) {
            Ok(media) => self.display(media),
            Err(error) => self.publish(StreamContent::stderr(&format!("{error}\n"))),
        }
    }

    /// Sends what is held back, so that what follows stands behind it.
    fn settle(&mut self) {
        self.send_pieces();
        if std::mem::take(&mut self.is_streaming) {
            self.publish(StreamContent::stdout("\n"));
        }
        if let Some(step) = self.steps.take() {
            self.print_step(&step);
        }
    }
}
