//! `load NAME from "runs/NAME"`: a run as its last checkpoint left it.

use crate::events::{Diagnostic, Out};
use crate::language::codes;
use crate::language::schema::{Clause, Form, Kind, Role, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::session::Session;
use crate::session::folder::RunFolder;
use crate::statements::{Action, Check, Checking, Statement};
use std::path::PathBuf;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "load",
    summary: "takes a run up where a checkpoint left it",
    usage: "load [run] [from \"runs/a\"]",
    details: "The run must be defined as it was: weights, tokenizer and data are compared by hash. `from` is a run's \
              folder (then its last checkpoint) or one checkpoint. Training then goes on as if it had never stopped.",
    example: "load a from \"runs/a\"",
    positional: &[Setting::new("run", Kind::Name(&[NameKind::Run]), "the run").computed("the run last named")],
    clauses: &[Clause::new(
        "from",
        Setting::new("from", Kind::Path, "a run's folder, or a checkpoint in it")
            .computed("the run's own folder")
            .example("from \"runs/a\""),
    )],
    role: Role::Binds,
    ..Form::VERB
};

struct Load {
    run: String,
    from: PathBuf,
}

impl Action for Load {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        session.resume(&self.run, &self.from, out)
    }
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let run = crate::statements::run::trainable(&settings, checking)?;
    let from = settings.maybe_text("from").map_or_else(|| RunFolder::path_of(&run), PathBuf::from);
    if !checking.outline.exists(&from) {
        let place = checking.place(&settings, "from");
        checking.report(
            Diagnostic::error(codes::MISSING_FILE, format!("there is no folder `{}` to load from", from.display()))
                .at(place)
                .note("a run's folder appears with its first step; checkpoints are written by `run`, or by `save_every`"),
        );
        return None;
    }
    Some(Box::new(Load { run, from }))
}
