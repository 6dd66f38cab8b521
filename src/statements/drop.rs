//! `drop run` and `rename run as name`: a run goes, or gets another name.

use crate::events::{Diagnostic, Out};
use crate::language::check::unusable_name;
use crate::language::codes;
use crate::language::schema::{Clause, Form, Kind, Role, Setting};
use crate::language::scope::{NameKind, Scope};
use crate::language::tree::Spanned;
use crate::language::value::Settings;
use crate::session::Session;
use crate::session::definitions::TuneDefinition;
use crate::statements::{Action, Check, Checking, Statement};

pub const DROP: Statement = Statement { form: &DROP_FORM, check: Check::Verb(drop) };
pub const RENAME: Statement = Statement { form: &RENAME_FORM, check: Check::Verb(rename) };

const DROP_FORM: Form = Form {
    name: "drop",
    summary: "forgets a run and gives its memory back",
    usage: "drop RUN",
    details: "Its folder with metrics and checkpoints stays, and `load` takes it up again. What other runs share with it \
              stays too.",
    example: "drop b",
    positional: &[Setting::new("run", Kind::Name(&[NameKind::Run]), "the run")],
    role: Role::Binds,
    ..Form::VERB
};

const RENAME_FORM: Form = Form {
    name: "rename",
    summary: "gives a run another name; its folder follows",
    usage: "rename RUN as NAME",
    details: "An older folder of the new name is moved aside, as always, and this is said.",
    example: "rename b as second",
    positional: &[Setting::new("run", Kind::Name(&[NameKind::Run]), "the run")],
    clauses: &[Clause::required("as", Setting::new("as", Kind::Word, "its new name").example("as second"))],
    role: Role::Binds,
    ..Form::VERB
};

struct Drop(String);

impl Action for Drop {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        session.drop_run(&self.0, out);
        Ok(())
    }
}

struct Rename {
    run: String,
    new: String,
}

impl Action for Rename {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        session.rename_run(&self.run, &self.new, out)?;
        session.publish(&self.new);
        Ok(())
    }
}

fn drop(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let run = settings.word("run").to_string();
    checking.outline.remove(&run);
    Some(Box::new(Drop(run)))
}

fn rename(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let (run, new) = (settings.word("run").to_string(), settings.word("as").to_string());
    let place = checking.place(&settings, "as");
    let taken = checking.outline.kind_of(&new).map(|kind| {
        Diagnostic::error(codes::NAME_TAKEN, format!("`{new}` is {} already", kind.described()))
            .at(place)
            .note("models, data, runs and `let` names share one namespace: choose another name")
    });
    if let Some(diagnostic) = unusable_name(&Spanned::new(new.clone(), place)).or(taken) {
        checking.report(diagnostic);
        return None;
    }
    let tune = checking.outline.run(&run)?;
    let renamed = TuneDefinition { name: new.clone(), ..TuneDefinition::clone(&tune) };
    checking.outline.rename_run(&run, renamed);
    Some(Box::new(Rename { run, new }))
}
