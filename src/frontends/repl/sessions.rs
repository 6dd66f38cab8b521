//! What the commands of the prompt do to the session: save it, load into it, leave it.

use crate::events::{Diagnostic, Event};
use crate::files::{atomic, plain, signals};
use crate::frontends::repl::{Cell, Flow, Repl, commands};
use crate::interpreter::{Outcome, Unit};
use crate::language::codes;
use crate::language::format::format;
use crate::session::Session;
use crate::units::{counted, grouped};
use rustyline::EditMode;
use std::path::Path;

impl Repl {
    pub(super) fn help(&mut self) -> Result<Flow, Diagnostic> {
        commands::overview().into_iter().for_each(|event| self.interpreter.out.emit(event));
        Ok(Flow::Stay)
    }

    pub(super) fn variables(&mut self) -> Result<Flow, Diagnostic> {
        if self.interpreter.session.outline.things().is_empty() {
            self.interpreter.out.text("nothing is defined yet: `model`, `data`, `tune` and `let` define");
            return Ok(Flow::Stay);
        }
        self.perform("show");
        Ok(Flow::Stay)
    }

    /// Runs text that is no cell of its own.
    fn perform(&mut self, text: &str) -> Outcome {
        let unit = Unit { name: "prompt".into(), text: text.into(), folder: Default::default() };
        self.interpreter.cell = None;
        self.interpreter.run(vec![unit])
    }

    pub(super) fn time(&mut self, statement: &str) -> Result<Flow, Diagnostic> {
        if statement.is_empty() {
            self.timing = !self.timing;
            let now = if self.timing { "on" } else { "off" };
            self.interpreter.out.text(format!("timing is {now}"));
            return Ok(Flow::Stay);
        }
        let before = std::mem::replace(&mut self.timing, true);
        self.run_cell(statement);
        self.timing = before;
        Ok(Flow::Stay)
    }

    pub(super) fn mode(&mut self, mode: &str) -> Result<Flow, Diagnostic> {
        let chosen = match mode {
            "emacs" => EditMode::Emacs,
            "vi" | "vim" => EditMode::Vi,
            _ => {
                return Err(usage(
                    format!("`{mode}` is not a mode of the line editor"),
                    ":mode emacs` or `:mode vi",
                ));
            }
        };
        self.editor.set_mode(chosen);
        self.interpreter.out.text(format!("the keys are now those of {mode}"));
        Ok(Flow::Stay)
    }

    /// The cells that ran, laid out; what failed or was interrupted stands there as a comment.
    pub(super) fn save(&mut self, file: &str) -> Result<Flow, Diagnostic> {
        let file = file.trim_matches('"');
        if file.is_empty() {
            return Err(usage("`:save` needs a file".into(), ":save session.ltune"));
        }
        let cells: Vec<String> = self.cells.iter().filter_map(Cell::script).collect();
        let script = format!("ltune 1\n\n{}\n", cells.join("\n"));
        let script = format(&script).unwrap_or(script);
        atomic::write(Path::new(file), script.as_bytes())
            .map_err(|error| Diagnostic::error(codes::FILE, crate::session::sentence(&error)))?;
        let ran = self.cells.iter().filter(|cell| cell.outcome == Outcome::Done).count();
        self.interpreter.out.text(format!("wrote {file}: {}", counted(ran as u64, "cell")));
        Ok(Flow::Stay)
    }

    pub(super) fn load(&mut self, file: &str) -> Result<Flow, Diagnostic> {
        let file = Path::new(file.trim_matches('"'));
        let text = std::fs::read_to_string(file).map_err(|error| {
            Diagnostic::error(codes::FILE, format!("cannot read `{}`: {}", file.display(), plain(&error)))
                .note("write `:load FILE.ltune`")
        })?;
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        self.run_unit(Unit { name: file.display().to_string(), text, folder }, None);
        Ok(Flow::Stay)
    }

    pub(super) fn edit(&mut self, cell: &str) -> Result<Flow, Diagnostic> {
        let text = match cell.trim_start_matches("In").trim_matches(['[', ']', ' ']) {
            "" => self.cells.last().map_or("", |cell| cell.text.as_str()),
            number => {
                let found = self.cells.iter().find(|cell| cell.number.to_string() == number);
                &found
                    .ok_or_else(|| usage(format!("there is no cell {number}"), ":edit 3` for `In [3]"))?
                    .text
            }
        };
        let edited = edited(text)?;
        self.initial = edited.trim_end().to_string();
        Ok(Flow::Stay)
    }

    pub(super) fn reset(&mut self) -> Result<Flow, Diagnostic> {
        self.keep_runs();
        self.interpreter.session = Session::default();
        self.cells.clear();
        self.number = 0;
        self.repeat = None;
        self.interpreter.out.text("a fresh session");
        Ok(Flow::Stay)
    }

    /// Writes a checkpoint of each run that has gone on since its last one, and says where the runs are.
    pub(super) fn keep_runs(&mut self) {
        let out = &mut self.interpreter.out;
        out.cancel.clear();
        for (name, run) in &mut self.interpreter.session.runs {
            let step = run.trainer.step_count();
            if run.folder.is_none() || step == 0 {
                continue;
            }
            if let Err(diagnostic) = run.save_checkpoint() {
                out.emit(Event::Diagnostic(diagnostic));
            }
            let Some(folder) = &run.folder else { continue };
            let planned = grouped(run.trainer.planned_steps());
            out.text(format!(
                "run {name} is at step {} of {planned}, kept in {}",
                grouped(step),
                folder.path.display()
            ));
        }
    }
}

fn usage(message: String, write: &str) -> Diagnostic {
    Diagnostic::error(codes::USAGE, message).note(format!("write `{write}`"))
}

/// The text after a person has edited it.
fn edited(text: &str) -> Result<String, Diagnostic> {
    let failed = |why: String| {
        Diagnostic::error(codes::EDITOR, format!("the editor gave nothing back: {why}"))
            .note("`$VISUAL` or `$EDITOR` says which editor is opened; without them it is `vi`")
    };
    let file = tempfile::Builder::new()
        .prefix("cell-")
        .suffix(".ltune")
        .tempfile()
        .and_then(|file| std::fs::write(file.path(), text).map(|()| file))
        .map_err(|error| failed(plain(&error)))?;
    let variable = |name: &str| std::env::var(name).ok().filter(|editor| !editor.is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| "vi".into());
    // The variable may hold arguments: the shell takes them apart.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("{editor} \"$0\"")]).arg(file.path());
    let status = signals::for_child(|| command.status()).map_err(|error| failed(plain(&error)))?;
    if !status.success() {
        return Err(failed(format!("`{editor}` ended with {status}")));
    }
    std::fs::read_to_string(file.path()).map_err(|error| failed(plain(&error)))
}
