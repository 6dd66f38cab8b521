//! `fork run as name [at step] [{ … }]`: a second run that goes on from a place of the first.

use crate::events::{Diagnostic, Out};
use crate::language::check::unusable_name;
use crate::language::codes;
use crate::language::schema::{Clause, Fill, Form, Kind, Role, Setting};
use crate::language::scope::{NameKind, Scope};
use crate::language::tree::Spanned;
use crate::language::value::Settings;
use crate::session::Session;
use crate::session::definitions::TuneDefinition;
use crate::session::fork::taken;
use crate::session::lineage::Change;
use crate::statements::goto::PLACE;
use crate::statements::run::one_run;
use crate::statements::set::{change, changes, tail};
use crate::statements::tune;
use crate::statements::tune::recipe::merged;
use crate::statements::{Action, Check, Checking, Statement};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "fork",
    summary: "makes a second run that goes on from a place of the first",
    usage: "fork [run] as NAME [at STEP] [{ … }]",
    details: "Both share the base in memory and the snapshots of the common past; only what is trained is copied. Without \
              changes the fork equals its parent bit for bit. The block takes the settings of `tune`; at step 0 everything \
              can change but model and data. The parent stays as it is.",
    example: "fork a as c { schedule = constant }",
    positional: &[
        Setting::new("run", Kind::Name(&[NameKind::Run]), "the parent").computed("the run last named")
    ],
    clauses: &[
        Clause::required("as", Setting::new("as", Kind::Word, "the name of the fork").example("as c")),
        Clause::new(
            "at",
            Setting::new("at", PLACE, "the step to go on from")
                .computed("where the parent is")
                .example("at 40"),
        ),
    ],
    settings: tune::SETTINGS,
    fill: Fill::GivenOnly,
    role: Role::Forks,
    ..Form::VERB
};

struct Fork {
    parent: String,
    child: String,
    at: Option<u64>,
    given: Settings,
}

impl Action for Fork {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        if session.runs.contains_key(&self.child) {
            return Err(taken(&self.child));
        }
        let run = session.run(&self.parent, out)?;
        let step = self.at.unwrap_or(run.lineage.step());
        let at = run.known(step).ok_or_else(|| {
            Diagnostic::error(
                codes::NO_SUCH_STEP,
                format!(
                    "run `{}` is at step {} and was never at step {step}",
                    self.parent,
                    run.lineage.step()
                ),
            )
            .note(format!("`fork {} as {}` goes on from where it is", self.parent, self.child))
        })?;
        let change = (!self.given.is_empty()).then(|| {
            let (settings, recipe) = merged(at.settings(), &self.given, Some(step));
            Change { at: step, recipe, settings, verb: "set".into(), tail: tail(&self.given) }
        });
        session.fork(&self.parent, &self.child, &at, change, out)?;
        session.publish(&self.child);
        Ok(())
    }
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let parent = settings.word("run").to_string();
    one_run(&parent, checking.place(&settings, "run"), checking)?;
    let child = settings.word("as").to_string();
    let place = checking.place(&settings, "as");
    let unusable = unusable_name(&Spanned::new(child.clone(), place));
    let known = checking.outline.kind_of(&child);
    if let Some(diagnostic) = unusable.or_else(|| known.map(|kind| name_taken(&child, kind).at(place))) {
        checking.report(diagnostic);
        return None;
    }
    let at = settings.maybe_integer("at").map(|step| step as u64);
    let given = changes(&settings);
    let tune = checking.outline.run(&parent)?;
    let now = checking.outline.settings_of(&parent);
    let (current, recipe) = now.clone().unwrap_or((tune.settings.clone(), tune.recipe.clone()));
    checking.outline.define_run(TuneDefinition {
        name: child.clone(),
        settings: current,
        recipe,
        ..TuneDefinition::clone(&tune)
    });
    if at != Some(0) && checking.outline.has_started(&parent) {
        checking.outline.start(&child);
    }
    if at.is_some_and(|at| at > 0) || now.is_none() {
        checking.outline.change_run(&child, None); // the settings of that step, which only running can tell
    }
    if !given.is_empty() {
        change(&child, &given, checking)?;
    }
    Some(Box::new(Fork { parent, child, at, given }))
}

fn name_taken(name: &str, kind: NameKind) -> Diagnostic {
    match kind {
        NameKind::Run => taken(name),
        _ => Diagnostic::error(codes::NAME_TAKEN, format!("`{name}` is {} already", kind.described()))
            .note("models, data, runs and `let` names share one namespace: choose another name"),
    }
}
