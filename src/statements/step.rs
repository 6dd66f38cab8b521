//! `step [run] [count]`: takes optimizer steps.

use crate::events::{Diagnostic, Out};
use crate::language::schema::{Form, Kind, Role, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::session::Session;
use crate::session::training::Goal;
use crate::statements::{Action, Check, Checking, Statement, run};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "step",
    summary: "takes optimizer steps",
    usage: "step [run] [count]",
    details: "`step a 20` takes twenty more steps from where `a` is; `step` takes one on the run last named. Beyond the \
              planned end it goes on into the next epoch at the final learning rate, and says so. Ctrl-C stops after \
              the step under way and keeps everything.",
    example: "step a 20",
    positional: &[
        Setting::new("run", Kind::Name(&[NameKind::Run]), "the run").computed("the run last named"),
        Setting::new("count", Kind::STEPS, "how many steps").or("1").example("step a 20"),
    ],
    role: Role::Trains,
    ..Form::VERB
};

struct Step {
    run: String,
    count: u64,
}

impl Action for Step {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        session.train(&self.run, &Goal::Steps(self.count), out).map(|_| ())
    }
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let run = run::trainable(&settings, checking)?;
    Some(Box::new(Step { run, count: settings.integer("count") as u64 }))
}
