//! `undo [run] [n steps]` and `redo [run]`: taking back, and taking the taking back back.

use crate::events::{Diagnostic, Out};
use crate::language::schema::{Form, Kind, Role, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::session::Session;
use crate::statements::run::one_run;
use crate::statements::{Action, Check, Checking, Statement};

pub const UNDO: Statement = Statement { form: &UNDO_FORM, check: Check::Verb(undo) };
pub const REDO: Statement = Statement { form: &REDO_FORM, check: Check::Verb(redo) };

const RUN: Setting =
    Setting::new("run", Kind::Name(&[NameKind::Run]), "the run").computed("the run last named");

const UNDO_FORM: Form = Form {
    name: "undo",
    summary: "takes back the last statement on a run, or so many steps",
    usage: "undo [run] [n steps]",
    details: "`undo a` takes back what the last statement did to `a`: its steps, a `set`, a `freeze`, a `goto`. `undo a 5 \
              steps` takes back five optimizer steps, and the settings that were changed after the first of them. Weights, \
              moments, data order and dropout are then bit for bit what they were; stepping again gives the same losses. \
              Where a snapshot is held this is instant; elsewhere the steps to be taken again are said first.",
    example: "step a 10\nundo a 5 steps",
    positional: &[RUN, Setting::new("steps", Kind::STEPS, "how many").optional().example("undo a 5 steps")],
    role: Role::Moves,
    ..Form::VERB
};

const REDO_FORM: Form = Form {
    name: "redo",
    summary: "takes back the last `undo`",
    usage: "redo [run]",
    details: "Possible as long as nothing else was done to the run in between; looking at it does not count.",
    example: "redo a",
    positional: &[RUN],
    role: Role::Moves,
    ..Form::VERB
};

struct Undo {
    run: String,
    steps: Option<u64>,
}

impl Action for Undo {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let run = session.run(&self.run, out)?;
        let result = match self.steps {
            Some(steps) => run.undo_steps(steps, out),
            None => run.undo(out),
        };
        session.publish(&self.run);
        result
    }
}

struct Redo(String);

impl Action for Redo {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let result = session.run(&self.0, out)?.redo(out);
        session.publish(&self.0);
        result
    }
}

fn undo(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let run = movable(&settings, checking)?;
    Some(Box::new(Undo { run, steps: settings.maybe_integer("steps").map(|steps| steps as u64) }))
}

fn redo(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    Some(Box::new(Redo(movable(&settings, checking)?)))
}

/// The run of a verb that goes through time: what its settings are after it, only running can tell.
pub fn movable(settings: &Settings, checking: &mut Checking) -> Option<String> {
    let run = settings.word("run").to_string();
    one_run(&run, checking.place(settings, "run"), checking)?;
    checking.outline.name_run(&run);
    checking.outline.change_run(&run, None);
    Some(run)
}
