//! The sink of scripts: what a person reads in a terminal or a log.

use crate::events::{Event, Figure, Generation, Progress, Sink, Sources, Step};
use crate::frontends::outlet::Outlet;
use crate::frontends::progress::Live;
use crate::frontends::thinning::Thinning;
use crate::frontends::{lines, render, tables};
use crate::plot::terminal::{Screen, terminal};

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume {
    /// `--quiet`: results and diagnostics only.
    Quiet,
    Normal,
}

/// Results go to `out`, diagnostics and the live line to `err`.
pub struct ScriptSink {
    out: Outlet,
    err: Outlet,
    volume: Volume,
    live: Live,
    steps: Thinning,
    runs: Runs,
    /// Has a piece of text been printed whose line is not ended?
    streaming: bool,
}

impl ScriptSink {
    pub fn new(out: Outlet, err: Outlet, volume: Volume) -> ScriptSink {
        let (live, steps, runs) = (Live::default(), Thinning::default(), Runs::None);
        ScriptSink { out, err, volume, live, steps, runs, streaming: false }
    }

    /// Prints what is still held back and takes the live line away; a front end that prompts calls it first.
    pub fn settle(&mut self) {
        self.end_of_piece();
        if let Some(step) = self.steps.take() {
            self.print_step(&step);
        }
        self.live.clear();
    }

    fn print(&mut self, text: &str) {
        let out = &mut self.out;
        self.live.around(|| out.line(text));
    }

    /// What is said on the way, but is no result.
    fn remark(&mut self, text: &str) {
        if self.volume == Volume::Normal {
            self.print(text);
        }
    }

    fn step(&mut self, step: &Step) {
        if self.volume == Volume::Normal && self.steps.shows(step) {
            self.print_step(step);
        }
    }

    fn print_step(&mut self, step: &Step) {
        self.runs.saw(&step.run);
        let line = lines::step(step);
        match self.runs {
            Runs::Several => self.print(&format!("{}  {line}", step.run)),
            _ => self.print(&line),
        }
    }

    fn progress(&mut self, progress: &Progress) {
        if progress.unit == "steps" && progress.done == 0 {
            self.steps.begin(progress.total);
        }
        if self.err.look.live && self.volume == Volume::Normal {
            self.live.show(progress);
        }
    }

    /// On a terminal a text appears as it is made; elsewhere it is printed whole.
    fn piece(&mut self, text: &str) {
        if self.out.look.live {
            let out = &mut self.out;
            self.live.around(|| {
                out.write(text);
                out.flush();
            });
            self.streaming = true;
        }
    }

    fn generation(&mut self, generation: &Generation) {
        if self.streaming {
            self.end_of_piece();
        } else {
            let prompt = lines::prompt(generation, &self.out.look);
            self.print(&self.out.look.faint(&prompt));
            self.print(&generation.text);
        }
        let tail = self.out.look.faint(&lines::tail(generation));
        self.remark(&tail);
    }

    fn figure(&mut self, figure: &Figure) {
        let look = self.out.look;
        let rows = if figure.panels.len() > 1 { 8 } else { 12 };
        let screen = Screen { columns: look.width.min(120), rows, color: look.color, unicode: look.unicode };
        match terminal(figure, &screen) {
            Ok(text) => self.print(&text),
            Err(error) => self.err.line(&error.to_string()),
        }
    }

    fn end_of_piece(&mut self) {
        if std::mem::take(&mut self.streaming) {
            self.out.line("");
        }
    }
}

impl Sink for ScriptSink {
    fn accept(&mut self, event: &Event, sources: &Sources) {
        if !matches!(event, Event::Step(_) | Event::Progress(_) | Event::Piece { .. } | Event::Generation(_))
        {
            self.end_of_piece();
        }
        if !matches!(event, Event::Step(_) | Event::Progress(_)) {
            if let Some(step) = self.steps.take() {
                self.print_step(&step);
            }
        }
        match event {
            Event::Version { .. } => {}
            Event::Diagnostic(found) => {
                let text = render::diagnostic(found, sources, &self.err.look);
                let err = &mut self.err;
                self.live.around(|| err.line(&text));
            }
            Event::Text { text } => self.print(text),
            Event::Piece { text } => self.piece(text),
            Event::Table(table) => self.print(&tables::table(table, &self.out.look)),
            Event::Step(step) => self.step(step),
            Event::Eval(evaluation) => self.print(&lines::evaluation(evaluation)),
            Event::Generation(generation) => self.generation(generation),
            Event::Progress(progress) => self.progress(progress),
            Event::Figure { path: Some(path), .. } => self.remark(&format!("wrote {path}")),
            Event::Figure { path: None, figure } => self.figure(figure),
            Event::Saved { name, path } => self.remark(&format!("saved {name} to {path}")),
            Event::Value { name, text, .. } => self.print(&lines::value(name.as_deref(), text)),
        }
    }
}

impl Drop for ScriptSink {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Which runs have printed steps: with several, each line names its own.
#[derive(Debug, PartialEq, Eq)]
enum Runs {
    None,
    One(String),
    Several,
}

impl Runs {
    fn saw(&mut self, run: &str) {
        match self {
            Runs::None => *self = Runs::One(run.into()),
            Runs::One(first) if first != run => *self = Runs::Several,
            _ => {}
        }
    }
}
