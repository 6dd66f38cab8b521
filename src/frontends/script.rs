//! The sink of scripts: what a person reads in a terminal or a log.

use crate::events::{Evaluation, Event, Figure, Generation, Progress, Sink, Sources, Step};
use crate::frontends::outlet::Outlet;
use crate::frontends::progress::Live;
use crate::frontends::thinning::Thinning;
use crate::frontends::{batches, lines, render, tables};
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
    last: Last,
    /// Has a piece of text been printed whose line is not ended?
    streaming: bool,
}

impl ScriptSink {
    pub fn new(out: Outlet, err: Outlet, volume: Volume) -> ScriptSink {
        let (live, steps, runs) = (Live::default(), Thinning::default(), Runs::None);
        ScriptSink { out, err, volume, live, steps, runs, last: Last::Nothing, streaming: false }
    }

    /// Prints what is still held back and takes the live line away; a front end that prompts calls it first.
    pub fn settle(&mut self) {
        self.end_of_piece();
        if let Some(step) = self.steps.take() {
            self.print_step(&step);
        }
        self.live.clear();
    }

    /// A new cell begins: nothing stands above it, and the terminal may have another size.
    pub fn begin(&mut self, size: Option<(usize, usize)>) {
        self.settle();
        self.last = Last::Nothing;
        self.runs = Runs::None;
        if let Some((width, height)) = size {
            for look in [&mut self.out.look, &mut self.err.look] {
                (look.width, look.height) = (width.clamp(40, 200), height);
            }
        }
    }

    /// Whether something was printed since the cell began.
    pub fn has_printed(&self) -> bool {
        self.last != Last::Nothing
    }

    fn print(&mut self, text: &str) {
        let gap = if self.last == Last::Block { "\n" } else { "" };
        self.last = Last::Line;
        let out = &mut self.out;
        self.live.around(|| out.line(&format!("{gap}{text}")));
    }

    /// Prints several lines that belong together, with an empty line before and behind.
    fn print_block(&mut self, text: &str) {
        if self.last == Last::Line {
            self.last = Last::Block;
        }
        self.print(text);
        self.last = Last::Block;
    }

    /// A sentence of ours; where a person watches it is broken between words.
    fn say(&mut self, text: &str) {
        match self.out.look.live {
            true => self.print(&lines::wrapped(text, self.out.look.width)),
            false => self.print(text),
        }
    }

    /// What is said on the way, but is no result.
    fn remark(&mut self, text: &str) {
        if self.volume == Volume::Normal {
            self.say(text);
        }
    }

    fn step(&mut self, step: &Step) {
        self.live.saw(step.loss);
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

    /// One line; only where a person watches is it broken to fit.
    fn evaluation(&mut self, evaluation: &Evaluation) {
        let line = lines::evaluation(evaluation);
        match self.out.look.live {
            true => self.print(&lines::folded(&line, self.out.look.width)),
            false => self.print(&line),
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
            if !self.streaming && self.last != Last::Nothing {
                self.out.line("");
            }
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
            let tail = self.out.look.faint(&lines::tail(generation));
            self.remark(&tail);
            self.last = Last::Block;
        } else {
            let prompt = lines::prompt(generation, &self.out.look);
            let mut parts = vec![self.out.look.faint(&prompt), generation.text.clone()];
            if self.volume == Volume::Normal {
                parts.push(self.out.look.faint(&lines::tail(generation)));
            }
            self.print_block(&parts.join("\n"));
        }
    }

    fn figure(&mut self, figure: &Figure) {
        let look = self.out.look;
        let rows = if figure.panels.len() > 1 { 8 } else { 12 };
        let screen = Screen { columns: look.width.min(120), rows, color: look.color, unicode: look.unicode };
        match terminal(figure, &screen) {
            Ok(text) => self.print_block(&text),
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
        let held =
            if matches!(event, Event::Step(_) | Event::Progress(_)) { None } else { self.steps.take() };
        if let Some(step) = held {
            self.print_step(&step);
        }
        match event {
            Event::Version { .. } => {}
            Event::Diagnostic(found) => {
                let text = render::diagnostic(found, sources, &self.err.look);
                let err = &mut self.err;
                self.live.around(|| err.line(&format!("{text}\n")));
            }
            Event::Text { text } => self.say(text),
            Event::Note { text } => self.remark(text),
            Event::Piece { text } => self.piece(text),
            Event::Table(table) => self.print_block(&tables::table(table, &self.out.look)),
            Event::Batch(batch) => self.print_block(&batches::batch(batch, &self.out.look)),
            Event::Step(step) => self.step(step),
            Event::Move(moved) => self.remark(&lines::moved(moved, &self.out.look)),
            Event::Eval(evaluation) => self.evaluation(evaluation),
            Event::Generation(generation) => self.generation(generation),
            Event::Progress(progress) => self.progress(progress),
            Event::Figure { path: Some(path), .. } => self.remark(&format!("wrote {path}")),
            Event::Figure { path: None, figure } => self.figure(figure),
            Event::Saved { name, path, note } if note.is_empty() => {
                self.remark(&format!("saved {name} to {path}"))
            }
            Event::Saved { name, path, note } => self.remark(&format!("saved {name} to {path} ({note})")),
            Event::Value { name, text, .. } => self.print(&lines::value(name.as_deref(), text)),
        }
    }
}

impl Drop for ScriptSink {
    fn drop(&mut self) {
        self.settle();
    }
}

/// What was printed last: an empty line sets blocks off from what stands around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Nothing,
    Line,
    Block,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Cancel, Diagnostic, Mark, Panel, Series, Table};
    use crate::frontends::color::Look;
    use std::io::{Error, ErrorKind, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn outlet(&self) -> Outlet {
            Outlet::new(Box::new(self.clone()), Look::PLAIN)
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What standard output and standard error hold after these events.
    fn printed(volume: Volume, events: &[Event]) -> (String, String) {
        let (out, err) = (Paper::default(), Paper::default());
        let mut sink = ScriptSink::new(out.outlet(), err.outlet(), volume);
        events.iter().for_each(|event| sink.accept(event, &Sources::default()));
        drop(sink);
        (out.text(), err.text())
    }

    fn step(run: &str, step: u64) -> Event {
        let run = run.into();
        let (loss, lr, grad_norm, seconds, epoch) = (2.0, 1e-4, 0.5, 0.84, 0.1);
        Event::Step(Step { run, step, loss, lr, grad_norm, tokens: 1024, seconds, epoch, planned: 312 })
    }

    fn evaluation() -> Event {
        Event::Eval(Evaluation {
            model: "a".into(),
            data: "chat".into(),
            loss: 2.0,
            perplexity: 7.389,
            token_accuracy: 0.5,
            tokens: 100,
            seconds: 1.0,
            step: None,
            metrics: Default::default(),
        })
    }

    fn begins(total: u64) -> Event {
        let (task, unit, note) = ("a".into(), "steps".into(), String::new());
        Event::Progress(Progress { task, done: 0, total, unit, note })
    }

    #[test]
    fn steps_of_several_runs_carry_their_names() {
        let (out, _) = printed(Volume::Normal, &[step("a", 1), step("b", 1), step("a", 2)]);
        let expected = "step   1/312  loss 2.0000  lr 1e-4     norm 0.50  1 024 tok  0.84 s\n\
                        b  step   1/312  loss 2.0000  lr 1e-4     norm 0.50  1 024 tok  0.84 s\n\
                        a  step   2/312  loss 2.0000  lr 1e-4     norm 0.50  1 024 tok  0.84 s\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn the_last_step_of_many_is_printed_before_what_follows_and_at_the_end() {
        let mut events = vec![begins(1000)];
        events.extend((1..=63).map(|number| step("a", number)));
        events.push(evaluation());
        events.push(step("a", 64));
        let (out, _) = printed(Volume::Normal, &events);
        let numbers: Vec<&str> = out
            .lines()
            .map(|line| line.split('/').next().unwrap_or(line).trim_start_matches("step"))
            .collect();
        assert_eq!(
            numbers,
            [
                "   1",
                "  50",
                "  63",
                "eval a on chat  loss 2.0000  perplexity 7.389  token accuracy 50.0 %  100 tok  1.00 s",
                "  64"
            ]
        );
    }

    #[test]
    fn quiet_prints_results_and_diagnostics_only() {
        let events = [
            step("a", 1),
            evaluation(),
            Event::Saved { name: "a".into(), path: "out/a".into(), note: String::new() },
            Event::Text { text: "hello".into() },
            Event::Diagnostic(Diagnostic::warning("L0501", "nearly full")),
        ];
        let (out, err) = printed(Volume::Quiet, &events);
        assert_eq!(
            out,
            "eval a on chat  loss 2.0000  perplexity 7.389  token accuracy 50.0 %  100 tok  1.00 s\nhello\n"
        );
        assert_eq!(err, "warning[L0501]: nearly full\n\n");
    }

    #[test]
    fn blocks_stand_apart_and_lines_together() {
        let mut table = Table::new("plan", &["part"]);
        table.row(["lora".into()]);
        let line = |text: &str| Event::Text { text: text.into() };
        let events =
            [line("one"), line("two"), Event::Table(table.clone()), Event::Table(table), line("three")];
        let (out, _) = printed(Volume::Normal, &events);
        let block = "plan\npart\n────\nlora\n";
        assert_eq!(out, format!("one\ntwo\n\n{block}\n{block}\nthree\n"));
    }

    #[test]
    fn a_generation_in_a_pipe_is_printed_whole_and_once() {
        let generation = Generation {
            model: "base".into(),
            prompt: "The capital of France is".into(),
            text: " Paris.".into(),
            tokens: vec![1, 2],
            seconds: 0.5,
            seed: None,
        };
        let events = [Event::Piece { text: " Paris.".into() }, Event::Generation(generation)];
        let (out, _) = printed(Volume::Normal, &events);
        assert_eq!(out, "base ▸ The capital of France is\n Paris.\n2 tokens in 0.50 s (4 a second)\n");
        let (out, _) = printed(Volume::Quiet, &events);
        assert_eq!(out, "base ▸ The capital of France is\n Paris.\n");
    }

    #[test]
    fn an_empty_figure_is_said_and_not_drawn() {
        let series = vec![Series { name: "a".into(), points: vec![], mark: Mark::Line, color: 0 }];
        let panels = vec![Panel { y_label: "loss (nats a token)".into(), log_y: false, series }];
        let figure = Figure { title: "Loss".into(), x_label: "step".into(), log_x: false, panels };
        let (out, err) = printed(Volume::Normal, &[Event::Figure { path: None, figure }]);
        assert_eq!(out, "");
        assert_eq!(
            err,
            "there is nothing to plot yet: `loss` has no points; take a step first (`step` or `run`)\n"
        );
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(Error::from(ErrorKind::BrokenPipe))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_stops_the_work_quietly() {
        let cancel = Cancel::default();
        let out = Outlet::new(Box::new(Closed), Look::PLAIN).cancelling(cancel.clone());
        let mut sink = ScriptSink::new(out, Paper::default().outlet(), Volume::Normal);
        for number in 1..5 {
            sink.accept(&step("a", number), &Sources::default());
        }
        assert!(cancel.stop() && !cancel.abort());
    }
}
