//! Checks a whole script or cell, then runs it, statement by statement; everything it says is an event.

mod planned;

use crate::events::{Diagnostic, Out, SourceId, Span};
use crate::language::blocks::{choices_of, find_setting};
use crate::language::check::{check_definition, check_verb, parse_setting, unknown_statement, unusable_name};
use crate::language::codes;
use crate::language::evaluate::evaluate;
use crate::language::parse::parse;
use crate::language::schema::{Form, FormKind};
use crate::language::scope::{NameKind, Scope};
use crate::language::tree::{self, StatementKind};
use crate::language::value::{Origin, Resolved, Settings, Value};
use crate::session::Session;
use crate::session::outline::Outline;
use crate::statements::{self, Action, Check, Checking};
use crate::torch::{gradient, message};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// A text to check and run: a script, a `-c`, a cell.
pub struct Unit {
    /// As the user knows it: a path, `-c 1`, `In [3]`.
    pub name: String,
    pub text: String,
    /// Where `include` looks.
    pub folder: PathBuf,
}

/// How a run of units ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// A statement failed while running.
    Failed,
    /// Something did not parse or check; nothing ran.
    Rejected,
    Interrupted,
}

/// `--set a.lr=1e-4`
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    name: String,
    setting: String,
    value: String,
}

impl Assignment {
    pub fn parse(text: &str) -> Result<Assignment, Diagnostic> {
        let parts = text.split_once('=').and_then(|(target, value)| Some((target.split_once('.')?, value)));
        let Some(((name, setting), value)) = parts else {
            return Err(Diagnostic::error(
                codes::USAGE,
                format!("`--set {text}` does not say what to change"),
            )
            .note("write `--set NAME.SETTING=VALUE`, for example `--set a.lr=1e-4`"));
        };
        let trimmed = |text: &str| text.trim().to_string();
        Ok(Assignment { name: trimmed(name), setting: trimmed(setting), value: trimmed(value) })
    }
}

/// A session with what it takes to run text in it.
pub struct Interpreter {
    pub session: Session,
    pub out: Out,
    /// Go on with the next statement when one fails.
    pub keep_going: bool,
    /// What the command line changes in definitions.
    pub assignments: Vec<Assignment>,
}

/// A statement that has passed its check.
struct Checked {
    action: Box<dyn Action>,
    span: Span,
}

impl Interpreter {
    pub fn new(out: Out) -> Interpreter {
        Interpreter { session: Session::default(), out, keep_going: false, assignments: vec![] }
    }

    pub fn into_out(self) -> Out {
        self.out
    }

    /// Checks the units as one script and reports everything found; how many statements there are, if all is well.
    pub fn check(&mut self, units: Vec<Unit>) -> Option<usize> {
        self.checked(units).map(|checked| checked.len())
    }

    /// Checks all units, then runs them in order.
    pub fn run(&mut self, units: Vec<Unit>) -> Outcome {
        let Some(checked) = self.checked(units) else { return Outcome::Rejected };
        let mut outcome = Outcome::Done;
        for statement in checked {
            let result = self.run_one(&statement);
            if self.out.cancel.stop() {
                if let Err(diagnostic) = result {
                    self.out.diagnostic(placed(diagnostic, statement.span));
                }
                return Outcome::Interrupted;
            }
            if let Err(diagnostic) = result {
                self.out.diagnostic(placed(diagnostic, statement.span));
                outcome = Outcome::Failed;
                if !self.keep_going {
                    break;
                }
            }
        }
        outcome
    }

    fn run_one(&mut self, statement: &Checked) -> Result<(), Diagnostic> {
        let (session, out) = (&mut self.session, &mut self.out);
        let result = catch_unwind(AssertUnwindSafe(|| statement.action.run(session, out)));
        result.unwrap_or_else(|panic| {
            gradient::enable();
            Err(match message::of_panic(&*panic) {
                Some(error) => Diagnostic::error(codes::TORCH, error.to_string())
                    .note("the session is as it was before this statement"),
                None => Diagnostic::error(codes::INTERNAL, "ltune itself failed")
                    .note("the session is as it was before this statement")
                    .note("please report this, with what `RUST_BACKTRACE=1` shows"),
            })
        })
    }

    fn checked(&mut self, units: Vec<Unit>) -> Option<Vec<Checked>> {
        let mut checker = Checker {
            outline: self.session.outline.clone(),
            out: &mut self.out,
            assignments: &self.assignments,
            used: vec![false; self.assignments.len()],
            checked: vec![],
            diagnostics: vec![],
            including: vec![],
        };
        for unit in units {
            checker.unit(unit);
        }
        checker.unused_assignments();
        let Checker { checked, diagnostics, .. } = checker;
        let failed = diagnostics.iter().any(Diagnostic::is_error);
        diagnostics.into_iter().for_each(|diagnostic| self.out.diagnostic(diagnostic));
        (!failed).then_some(checked)
    }
}

/// One pass over units: the outline grows with each statement.
struct Checker<'a> {
    outline: Outline,
    out: &'a mut Out,
    assignments: &'a [Assignment],
    used: Vec<bool>,
    checked: Vec<Checked>,
    diagnostics: Vec<Diagnostic>,
    /// Files that are being read, to find circles.
    including: Vec<PathBuf>,
}

impl Checker<'_> {
    fn unit(&mut self, unit: Unit) {
        let source = self.out.sources.add(unit.name, unit.text.clone());
        self.text(&unit.text, source, &unit.folder);
    }

    fn text(&mut self, text: &str, source: SourceId, folder: &Path) {
        let parsed = parse(text, source);
        self.diagnostics.extend(parsed.diagnostics);
        for statement in parsed.script.statements {
            self.statement(&statement, folder);
        }
    }

    fn statement(&mut self, statement: &tree::Statement, folder: &Path) {
        let span = statement.span;
        match &statement.kind {
            StatementKind::Version(_) => {} // the parser knows the versions
            StatementKind::Let { name, value } => self.bind(name, value, span),
            StatementKind::Include { path } => self.include(path, folder),
            StatementKind::Definition { noun, name, block } => {
                let Some(found) = self.find(noun, FormKind::Noun) else { return };
                let Check::Definition(check) = found.check else { return };
                let settings =
                    check_definition(found.form, name, block, &self.outline, &mut self.diagnostics);
                let kind = kind_of(found.form.name);
                let fine = self.free(name, kind);
                if let Some(mut settings) = settings
                    && self.assign(found.form, &name.node, &mut settings)
                    && fine
                {
                    self.act(span, |checking| check(&name.node, settings, checking));
                }
                self.outline.define_broken(&name.node, kind);
            }
            StatementKind::Repeat { count, .. } => {
                self.diagnostics.push(
                    Diagnostic::error(codes::NOT_YET, "`repeat` does not run yet")
                        .at(count.span)
                        .note("write the statements one after the other"),
                );
            }
            StatementKind::Verb(verb) => {
                let Some(found) = self.find(&verb.word, FormKind::Verb) else { return };
                let Check::Verb(check) = found.check else { return };
                if !self.planned(verb) {
                    return;
                }
                let settings = check_verb(found.form, verb, &self.outline, &mut self.diagnostics);
                let Some(settings) = settings else { return };
                self.act(span, |checking| check(settings, checking));
            }
        }
    }

    fn act(&mut self, span: Span, check: impl FnOnce(&mut Checking) -> Option<Box<dyn Action>>) {
        let before = self.diagnostics.len();
        let mut checking = Checking { outline: &mut self.outline, span, diagnostics: &mut self.diagnostics };
        let action = check(&mut checking);
        // An error that named no place belongs to the statement.
        for diagnostic in &mut self.diagnostics[before..] {
            if diagnostic.labels.is_empty() {
                *diagnostic = placed(diagnostic.clone(), span);
            }
        }
        self.checked.extend(action.map(|action| Checked { action, span }));
    }

    fn find(
        &mut self,
        word: &tree::Spanned<String>,
        kind: FormKind,
    ) -> Option<&'static statements::Statement> {
        let found = statements::find(&word.node).filter(|found| found.form.kind == kind);
        if found.is_none() {
            let known: Vec<&str> = statements::forms().iter().map(|form| form.name).collect();
            self.diagnostics.push(unknown_statement(word, &known));
        }
        found
    }

    fn bind(&mut self, name: &tree::Spanned<String>, value: &tree::Expr, span: Span) {
        match evaluate(value, &self.outline) {
            Err(diagnostic) => {
                self.diagnostics.push(diagnostic);
                self.outline.define_broken(&name.node, NameKind::Variable);
            }
            Ok(value) => {
                self.diagnostics.extend(unusable_name(name));
                if !self.free(name, NameKind::Variable) {
                    return;
                }
                self.outline.define_variable(&name.node, value.clone());
                let action = Bind { name: name.node.clone(), value };
                self.checked.push(Checked { action: Box::new(action), span });
            }
        }
    }

    /// One namespace: a name does not change what it stands for.
    fn free(&mut self, name: &tree::Spanned<String>, wanted: NameKind) -> bool {
        let Some(kind) = self.outline.kind_of(&name.node) else { return true };
        let same = kind == wanted;
        if !same {
            self.diagnostics.push(
                Diagnostic::error(
                    codes::NAME_TAKEN,
                    format!("`{}` is {} already", name.node, kind.described()),
                )
                .at(name.span)
                .note("models, data, runs and `let` names share one namespace: choose another name"),
            );
        }
        same
    }

    fn assign(&mut self, form: &'static Form, name: &str, settings: &mut Settings) -> bool {
        let mut fine = true;
        for (index, assignment) in self.assignments.iter().enumerate() {
            if assignment.name != name {
                continue;
            }
            self.used[index] = true;
            let Assignment { name, setting, value } = assignment;
            let source = self.out.sources.add(format!("--set {name}.{setting}"), value.clone());
            if let Err(diagnostics) = assign(form, settings, setting, value, source, &self.outline) {
                self.diagnostics.extend(diagnostics);
                fine = false;
            }
        }
        fine
    }

    fn unused_assignments(&mut self) {
        for (assignment, used) in self.assignments.iter().zip(&self.used) {
            if !used {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::USAGE,
                        format!("`--set {}.{}` changes nothing", assignment.name, assignment.setting),
                    )
                    .note(format!(
                        "no `model`, `data` or `tune` in the script is called `{}`",
                        assignment.name
                    )),
                );
            }
        }
    }

    fn include(&mut self, path: &tree::Spanned<String>, folder: &Path) {
        let file = folder.join(&path.node);
        let identity = file.canonicalize().unwrap_or_else(|_| file.clone());
        if self.including.contains(&identity) {
            self.diagnostics.push(
                Diagnostic::error(codes::INCLUDE, format!("`{}` includes itself", path.node)).at(path.span),
            );
            return;
        }
        match std::fs::read_to_string(&file) {
            Err(error) => self.diagnostics.push(
                Diagnostic::error(
                    codes::INCLUDE,
                    format!("cannot read `{}`: {}", file.display(), crate::files::plain(&error)),
                )
                .at(path.span)
                .note("the path is relative to the script that includes it"),
            ),
            Ok(text) => {
                let source = self.out.sources.add(file.display().to_string(), text.clone());
                self.including.push(identity);
                self.text(&text, source, file.parent().unwrap_or(Path::new("")));
                self.including.pop();
            }
        }
    }
}

/// Puts a value in the place of a setting, or of one inside of the word that was chosen: `rank` and `method.rank` both
/// reach into `method = lora { … }`.
fn assign(
    form: &Form,
    settings: &mut Settings,
    name: &str,
    text: &str,
    source: SourceId,
    scope: &dyn Scope,
) -> Result<(), Vec<Diagnostic>> {
    for setting in form.settings.iter().filter(|_| find_setting(form.settings, name).is_none()) {
        let Some(Resolved { value: Value::Choice { word, settings: inner }, origin, .. }) =
            settings.resolved(setting.name)
        else {
            continue;
        };
        let inside = name.strip_prefix(setting.name).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
        let chosen = choices_of(&setting.kind).iter().find(|choice| choice.word == word);
        let schema = chosen.map_or(&[][..], |choice| choice.settings);
        if find_setting(schema, inside).is_some() {
            let (word, mut inner, origin) = (word.clone(), inner.clone(), *origin);
            let (name, value) =
                parse_setting(&Form { settings: schema, ..*form }, inside, text, source, scope)?;
            inner.insert(name, value, Origin::CommandLine);
            settings.insert(setting.name, Value::Choice { word, settings: inner }, origin);
            return Ok(());
        }
    }
    let (name, value) = parse_setting(form, name, text, source, scope)?;
    settings.insert(name, value, Origin::CommandLine);
    Ok(())
}

/// What a noun defines.
fn kind_of(noun: &str) -> NameKind {
    match noun {
        "model" => NameKind::Model,
        "data" => NameKind::Data,
        _ => NameKind::Run,
    }
}

/// `let`
struct Bind {
    name: String,
    value: Value,
}

impl Action for Bind {
    fn run(&self, session: &mut Session, _out: &mut Out) -> Result<(), Diagnostic> {
        session.outline.define_variable(&self.name, self.value.clone());
        Ok(())
    }
}

fn placed(diagnostic: Diagnostic, span: Span) -> Diagnostic {
    if diagnostic.labels.is_empty() { diagnostic.at(span) } else { diagnostic }
}
