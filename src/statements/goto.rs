//! `goto [run] step`: the run as it was after a step.

use crate::events::{Diagnostic, Out};
use crate::language::schema::{Form, Kind, Role, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::session::Session;
use crate::statements::undo::movable;
use crate::statements::{Action, Check, Checking, Statement};
use crate::units::Unit;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

/// A step of a run; 0 is its beginning.
pub const PLACE: Kind = Kind::Integer { min: 0, max: i64::MAX, unit: Some(Unit::Steps) };

const FORM: Form = Form {
    name: "goto",
    summary: "goes to any step that a run was at",
    usage: "goto [run] STEP",
    details: "The run is then bit for bit as if it had stopped there, with the settings that were in force when it went on; \
              `goto a 0` is its beginning. After an `undo` or a `goto` it can also go forward again to steps it had taken. \
              `undo` takes a `goto` back.",
    example: "goto a 0",
    positional: &[
        Setting::new("run", Kind::Name(&[NameKind::Run]), "the run").computed("the run last named"),
        Setting::new("step", PLACE, "after which step").example("goto a 40"),
    ],
    role: Role::Moves,
    ..Form::VERB
};

struct Goto {
    run: String,
    step: u64,
}

impl Action for Goto {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let result = session.run(&self.run, out)?.goto(self.step, out);
        session.publish(&self.run);
        result
    }
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let run = movable(&settings, checking)?;
    Some(Box::new(Goto { run, step: settings.integer("step") as u64 }))
}
