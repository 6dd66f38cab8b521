//! `set run { … }`: settings that hold from the next step on.

use crate::events::{Diagnostic, Out, SourceId};
use crate::language::check::check_verb;
use crate::language::codes;
use crate::language::parse::parse;
use crate::language::schema::{Fill, Form, Kind, Role, Setting};
use crate::language::scope::{NameKind, Scope};
use crate::language::tree::StatementKind;
use crate::language::value::{Settings, Value};
use crate::session::Session;
use crate::session::timeline::ways_out;
use crate::statements::run::one_run;
use crate::statements::tune;
use crate::statements::tune::recipe::{merged, recipe as recipe_of};
use crate::statements::tune::rules::found;
use crate::statements::{Action, Check, Checking, Statement};
use crate::train::recipe::Recipe;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "set",
    summary: "changes settings of a run from the next step on",
    usage: "set [run] { … }",
    details: "Takes the settings of `tune`. A changed `lr` rescales the whole schedule, changed `epochs` plan it anew. What \
              a live run keeps (model, data, seed, rows a step, the optimizer, rank and targets) is refused with the way \
              out. `undo` takes the change back, `show` says at which step it was made.",
    example: "set a { lr = 1e-4; schedule = constant }",
    positional: &[Setting::new("run", Kind::Name(&[NameKind::Run]), "the run").computed("the run last named")],
    settings: tune::SETTINGS,
    fill: Fill::GivenOnly,
    role: Role::Trains,
    ..Form::VERB
};

struct Set {
    run: String,
    given: Settings,
}

impl Action for Set {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let run = session.run(&self.run, out)?;
        let (settings, recipe) = merged(run.settings(), &self.given, Some(run.lineage.step()));
        let result = run.amend(settings, recipe, "set", &tail(&self.given), out);
        session.publish(&self.run);
        result
    }
}

/// `{ lr = 1e-4; schedule = constant }`
pub fn tail(given: &Settings) -> String {
    format!("{{ {} }}", given.given().to_ltune("; "))
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let run = settings.word("run").to_string();
    one_run(&run, checking.place(&settings, "run"), checking)?;
    checking.outline.name_run(&run);
    let given = changes(&settings);
    if given.is_empty() {
        checking.report(
            Diagnostic::error(codes::MISSING_SETTING, format!("`set {run}` says nothing to change"))
                .at(checking.span)
                .note(format!("write, for example, `set {run} {{ lr = 1e-4 }}`")),
        );
        return None;
    }
    change(&run, &given, checking)?;
    Some(Box::new(Set { run, given }))
}

/// The settings of the block alone.
pub fn changes(settings: &Settings) -> Settings {
    let mut changes = Settings::new();
    for setting in tune::SETTINGS {
        if let Some(resolved) = settings.resolved(setting.name) {
            changes.place(setting.name.to_string(), resolved.clone());
        }
    }
    changes
}

/// Checks a change against the settings that are in force by then, as far as that can be told, and puts it into force.
pub fn change(run: &str, given: &Settings, checking: &mut Checking) -> Option<()> {
    let tune = checking.outline.run(run)?;
    if let Some(fixed) = ["model", "data"].into_iter().find(|name| given.is_given(name)) {
        let place = checking.place(given, fixed);
        return refuse(run, fixed, place, checking);
    }
    // After an undo only running can tell the settings; what a run keeps is known all the same.
    let known = checking.outline.settings_of(run);
    let current = known.as_ref().map_or(&tune.settings, |(settings, _)| settings);
    let (settings, recipe) = merged(current, given, None);
    let kept = checking.outline.started_with(run).and_then(|started| recipe.unchangeable(started));
    if let Some(setting) = kept.filter(|setting| given.is_given(setting)) {
        let place = checking.place(given, setting);
        return refuse(run, setting, place, checking);
    }
    if known.is_some() {
        // What holds of the settings before the change too has been said.
        let earlier = recipe_of(current);
        let said = found(current, &earlier, &tune.model, &tune.data, checking);
        let said: Vec<String> = said.into_iter().map(|diagnostic| diagnostic.message).collect();
        let found = found(&settings, &recipe, &tune.model, &tune.data, checking);
        let new: Vec<Diagnostic> = found.into_iter().filter(|found| !said.contains(&found.message)).collect();
        let failed = new.iter().any(Diagnostic::is_error);
        new.into_iter().for_each(|diagnostic| checking.report(diagnostic));
        if failed {
            return None;
        }
        checking.outline.change_run(run, Some((settings, recipe)));
    }
    Some(())
}

fn refuse(run: &str, setting: &str, place: crate::events::Span, checking: &mut Checking) -> Option<()> {
    let diagnostic =
        Diagnostic::error(codes::KEPT, format!("`{setting}` cannot change on run `{run}`, which has begun"))
            .at(place);
    checking.report(ways_out(run).into_iter().fold(diagnostic, Diagnostic::note));
    None
}

/// Reads a change again that a checkpoint remembers: the settings before it, its verb, and what followed the run.
pub fn settle(current: &Settings, verb: &str, tail: &str) -> Option<(Settings, Recipe)> {
    let found = crate::statements::find(verb)?;
    let parsed = parse(&format!("{verb} run {tail}"), SourceId(u32::MAX));
    let statement = parsed.script.statements.first().filter(|_| parsed.diagnostics.is_empty())?;
    let StatementKind::Verb(tree) = &statement.kind else { return None };
    let settings = check_verb(found.form, tree, &AnyRun, &mut vec![])?;
    match verb {
        "set" => Some(merged(current, &changes(&settings), None)),
        "freeze" | "unfreeze" => {
            Some(super::freeze::frozen(current, &super::freeze::rule(verb, &settings), None))
        }
        _ => None,
    }
}

/// A scope in which every name is a run.
struct AnyRun;

impl Scope for AnyRun {
    fn kind_of(&self, _name: &str) -> Option<NameKind> {
        Some(NameKind::Run)
    }

    fn names(&self) -> Vec<(String, NameKind)> {
        vec![]
    }

    fn variable(&self, _name: &str) -> Option<Value> {
        None
    }

    fn last_run(&self) -> Option<String> {
        None
    }

    fn parts(&self, _data: &str) -> Option<Vec<String>> {
        None
    }
}
