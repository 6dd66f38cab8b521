//! `journal [all] [to "session.ltune"]`: the session as a script that does it again.

use crate::events::{Diagnostic, Event, Out};
use crate::files::atomic;
use crate::language::codes;
use crate::language::schema::{Choice, Clause, Form, Kind, Role, Setting};
use crate::language::value::Settings;
use crate::session::{Session, sentence};
use crate::statements::{Action, Check, Checking, Statement};
use crate::torch::processor;
use std::path::PathBuf;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "journal",
    summary: "writes the session as a script that gives the same numbers",
    usage: "journal [all] [to \"session.ltune\"]",
    details: "What happened, in order: a stretch that was interrupted is as long as it became, drawn seeds are written out, \
              `repeat` is unrolled. What was taken back is left out, with what only looked at it; `journal all` keeps \
              everything, with each `undo`, `redo` and `goto`. `ltune session.ltune` then gives the same losses, bit for \
              bit on the CPU under the conditions that its head names.",
    example: "journal to \"session.ltune\"",
    positional: &[Setting::new(
        "what",
        Kind::Choice(&[
            Choice::new("living", "what led to where the runs are"),
            Choice::new("all", "everything, undone work included"),
        ]),
        "how much",
    )
    .or("living")],
    clauses: &[Clause::new(
        "to",
        Setting::new("to", Kind::Path, "the script to write").optional().example("to \"session.ltune\""),
    )],
    role: Role::Talks,
    ..Form::VERB
};

struct Journal {
    all: bool,
    to: Option<PathBuf>,
}

impl Action for Journal {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let statements = if self.all { session.journal.all() } else { session.journal.living() };
        let processor = session.processor()?;
        let text = format!(
            "ltune 1\n# recorded with ltune {}, libtorch {}, {} threads, {}, {} products\n\n{}\n",
            env!("CARGO_PKG_VERSION"),
            processor::torch_version(),
            processor.threads,
            processor.capability,
            format!("{:?}", processor.math).to_lowercase(),
            statements.join("\n")
        );
        let Some(to) = &self.to else {
            out.text(text.trim_end());
            return Ok(());
        };
        atomic::write(to, text.as_bytes())
            .map_err(|error| Diagnostic::error(codes::FILE, sentence(&error)))?;
        let note = format!("`ltune {}` does it again", to.display());
        out.emit(Event::Saved { name: "the journal".into(), path: to.display().to_string(), note });
        Ok(())
    }
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let to = settings.maybe_text("to").map(PathBuf::from);
    if let Some(to) = &to {
        checking.outline.write(to.clone());
    }
    Some(Box::new(Journal { all: settings.word("what") == "all", to }))
}
