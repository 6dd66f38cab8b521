//! `ltune` at a terminal: a prompt that runs cells in one session. The interpreter runs on this thread, and so does the
//! line editor while nothing runs; signals come through a thread of their own.

mod assistant;
mod commands;
mod echo;
mod editor;
mod keys;
mod paste;
mod printer;
mod sessions;
mod watch;

use crate::assist::inspection::about;
use crate::assist::known::Known;
use crate::events::{Diagnostic, Event, Out};
use crate::frontends::color::Look;
use crate::frontends::repl::editor::{Line, LineEditor};
use crate::frontends::repl::paste::without_prompts;
use crate::frontends::repl::printer::Printer;
use crate::frontends::repl::watch::Watch;
use crate::frontends::script::ScriptSink;
use crate::interpreter::{Assignment, Interpreter, Outcome, Unit};
use crate::language::codes;
use crate::language::parse::parse;
use crate::language::tree::StatementKind;
use crate::units::Seconds;
use std::time::{Duration, Instant};

/// Nobody presses Enter so soon after a prompt: such an empty line was typed ahead or pasted.
const TOO_SOON: Duration = Duration::from_millis(40);

/// What the prompt begins with.
pub struct Start {
    pub sink: ScriptSink,
    pub look: Look,
    /// Scripts to run before the first prompt.
    pub units: Vec<Unit>,
    pub assignments: Vec<Assignment>,
}

/// A session at a terminal.
pub struct Repl {
    interpreter: Interpreter,
    printer: Printer,
    editor: LineEditor,
    watch: Watch,
    look: Look,
    cells: Vec<Cell>,
    /// Of the last cell.
    number: u64,
    /// The `step` that Enter on an empty line takes again.
    repeat: Option<String>,
    /// Whether the time of each cell is told.
    timing: bool,
    /// What the next prompt holds already.
    initial: String,
}

/// A cell that was run.
struct Cell {
    number: u64,
    text: String,
    outcome: Outcome,
}

/// Whether to ask for another cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Stay,
    Leave,
}

impl Cell {
    /// As it stands in a script; a cell that was refused is left out.
    fn script(&self) -> Option<String> {
        let comment = |why: &str| {
            let text = self.text.trim_end().replace('\n', "\n# ");
            format!("# In [{}] {why}:\n# {text}", self.number)
        };
        match self.outcome {
            Outcome::Done => Some(self.text.trim_end().to_string()),
            Outcome::Failed => Some(comment("failed")),
            Outcome::Interrupted => Some(comment("was interrupted")),
            Outcome::Rejected => None,
        }
    }
}

/// Runs the scripts, then cell after cell until the person leaves; the exit code.
pub fn prompt(start: Start) -> u8 {
    let look = start.look;
    let printer = Printer::new(start.sink, look);
    let mut out = Out::new(Box::new(printer.clone()));
    let (editor, problem) = match LineEditor::open(look) {
        Ok(opened) => opened,
        Err(error) => {
            out.diagnostic(Diagnostic::error(codes::USAGE, format!("this terminal cannot be used: {error}")));
            return 2;
        }
    };
    let watch = Watch::begin(out.cancel.clone());
    let mut repl = Repl {
        interpreter: Interpreter::new(out),
        printer,
        editor,
        watch,
        look,
        cells: vec![],
        number: 0,
        repeat: None,
        timing: false,
        initial: String::new(),
    };
    repl.greet(problem);
    repl.begin(start.units, start.assignments);
    repl.converse();
    repl.leave()
}

impl Repl {
    fn greet(&mut self, problem: Option<String>) {
        let torch = crate::torch::processor::torch_version();
        let (name, version) = ("ltune", env!("CARGO_PKG_VERSION"));
        let more = self.look.faint("`help` lists statements, `:help` commands and keys; Ctrl-D leaves");
        self.interpreter.out.note(format!("{name} {version}, libtorch {torch}\n{more}"));
        problem.into_iter().for_each(|problem| self.interpreter.out.note(problem));
        self.printer.end();
    }

    /// Runs the scripts of the command line. What `--set` changes stands in them.
    fn begin(&mut self, units: Vec<Unit>, assignments: Vec<Assignment>) {
        if units.is_empty() {
            return;
        }
        self.interpreter.assignments = assignments;
        for unit in &units {
            self.cells.push(Cell { number: 0, text: unit.text.clone(), outcome: Outcome::Rejected });
        }
        self.printer.begin("");
        let interpreter = &mut self.interpreter;
        let outcome = self.watch.during(|| interpreter.run(units));
        self.cells.iter_mut().for_each(|cell| cell.outcome = outcome);
        self.interpreter.assignments.clear();
        self.settle();
    }

    fn converse(&mut self) {
        while self.watch.leaving().is_none() {
            let prompt = format!("In [{}]: ", self.number + 1);
            self.watch.show_again((!self.look.live).then(|| prompt.clone()));
            let initial = std::mem::take(&mut self.initial);
            match self.editor.read(&prompt, &initial) {
                Line::End => break,
                Line::Cleared => {}
                Line::Entered(text, after) => {
                    if self.answer(&text, after) == Flow::Leave {
                        break;
                    }
                }
            }
        }
    }

    /// Does what was entered.
    fn answer(&mut self, entered: &str, after: Duration) -> Flow {
        let text = without_prompts(entered).into_owned();
        let line = text.trim();
        if line.is_empty() {
            if after > TOO_SOON
                && let Some(step) = self.repeat.clone()
            {
                self.interpreter.out.note(self.look.faint(step.trim()));
                self.run_cell(&step);
            }
            return Flow::Stay;
        }
        self.editor.remember(&text);
        if line.starts_with(':') {
            return self.command(line);
        }
        match question(line) {
            Some(topic) => self.inspect(topic),
            None => self.run_cell(&text),
        }
        Flow::Stay
    }

    fn command(&mut self, line: &str) -> Flow {
        self.repeat = None;
        self.printer.begin("");
        let flow = commands::run(self, line).unwrap_or_else(|diagnostic| {
            self.interpreter.out.diagnostic(diagnostic);
            Flow::Stay
        });
        self.settle();
        flow
    }

    fn inspect(&mut self, topic: &str) {
        self.repeat = None;
        self.printer.begin("");
        match about(topic, &Known::of(&self.interpreter.session)) {
            Some(found) => self.interpreter.out.text(found.text),
            None => self.interpreter.out.diagnostic(
                Diagnostic::error(codes::NO_HELP, format!("nothing is known of `{topic}`"))
                    .note("`:vars` lists the names of this session, `help` the statements"),
            ),
        }
        self.settle();
    }

    /// Runs the next cell.
    fn run_cell(&mut self, text: &str) {
        self.number += 1;
        let unit = Unit {
            name: format!("In [{}]", self.number),
            text: text.to_string(),
            folder: Default::default(),
        };
        self.run_unit(unit, Some(self.number));
    }

    fn run_unit(&mut self, unit: Unit, number: Option<u64>) {
        let text = unit.text.clone();
        self.printer.begin(&unit.name);
        self.interpreter.cell = number;
        let interpreter = &mut self.interpreter;
        let began = Instant::now();
        let outcome = self.watch.during(|| interpreter.run(vec![unit]));
        if self.timing {
            let time = Seconds(began.elapsed().as_secs_f64());
            self.interpreter.out.emit(Event::Text { text: format!("took {time}") });
        }
        let ran = matches!(outcome, Outcome::Done | Outcome::Interrupted);
        self.repeat = (ran && is_one_step(&text)).then(|| text.clone());
        let mended = self.printer.mended(&text);
        self.cells.push(Cell { number: number.unwrap_or(0), text, outcome });
        self.settle();
        self.editor.assistant(|assistant| assistant.mended = mended);
    }

    /// The picture of the session that completion and hints read is taken anew.
    fn settle(&mut self) {
        self.printer.end();
        let known = Known::of(&self.interpreter.session);
        self.editor.assistant(|assistant| {
            assistant.known = known;
            assistant.mended = None;
        });
    }

    fn leave(mut self) -> u8 {
        self.printer.begin("");
        self.watch.show_again(None);
        self.keep_runs();
        self.watch.leaving().map_or(0, |signal| 128 + signal as u8)
    }
}

/// `name?` and `?name` ask what a name stands for.
fn question(line: &str) -> Option<&str> {
    let topic = line.strip_suffix('?').or_else(|| line.strip_prefix('?'))?.trim_matches('?').trim();
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
    (!topic.is_empty() && topic.chars().all(is_word)).then_some(topic)
}

/// Whether the text is one `step` and nothing else.
fn is_one_step(text: &str) -> bool {
    let parsed = parse(text, crate::events::SourceId(0));
    match parsed.script.statements.as_slice() {
        [only] => matches!(&only.kind, StatementKind::Verb(verb) if verb.word.node == "step"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_mark_asks_for_what_is_known() {
        assert_eq!(question("a?"), Some("a"));
        assert_eq!(question("?tune.lr"), Some("tune.lr"));
        assert_eq!(question("a??"), Some("a"));
        assert_eq!(question("generate a \"what?"), None);
        assert_eq!(question("?"), None);
    }

    #[test]
    fn only_a_lone_step_is_repeated() {
        assert!(is_one_step("step a 5 # more"));
        assert!(is_one_step("step"));
        assert!(!is_one_step("step a; step b"));
        assert!(!is_one_step("eval a"));
    }

    #[test]
    fn a_saved_session_holds_what_ran_and_remarks_on_the_rest() {
        let cell = |outcome| Cell { number: 2, text: "step a 5\neval a\n".into(), outcome };
        assert_eq!(cell(Outcome::Done).script().as_deref(), Some("step a 5\neval a"));
        assert_eq!(cell(Outcome::Rejected).script(), None);
        let interrupted = cell(Outcome::Interrupted).script();
        assert_eq!(interrupted.as_deref(), Some("# In [2] was interrupted:\n# step a 5\n# eval a"));
    }
}
