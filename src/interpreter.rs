//! Checks a whole script or cell, then runs it, statement by statement; everything it says is an event.

mod cell;
mod planned;
pub mod study;

use crate::events::{Diagnostic, Event, Out, SourceId, Span};
use crate::language::blocks::{choices_of, find_setting};
use crate::language::check::{check_definition, check_verb, parse_setting, unknown_statement, unusable_name};
use crate::language::codes;
use crate::language::evaluate::evaluate;
use crate::language::parse::{Parsed, parse};
use crate::language::schema::{Form, FormKind, Role, Setting};
use crate::language::scope::{NameKind, Scope};
use crate::language::tree::{self, StatementKind};
use crate::language::value::{Origin, Resolved, Settings, Value};
use crate::session::Session;
use crate::session::journal::Ending;
use crate::session::outline::Outline;
use crate::session::own::Printed;
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
    /// The number of the cell that is run next; then a value at its end is shown. None for scripts.
    pub cell: Option<u64>,
    /// Told of the session after each statement: a front end that answers while a cell runs keeps its picture of it.
    pub after: Option<After>,
    /// How the files of `include` are read.
    pub read: ReadText,
}

/// Reads a file as text; an editor gives what it holds and has not written yet.
pub type ReadText = Box<dyn Fn(&Path) -> std::io::Result<String>>;

/// What is done with the session once a statement has run.
pub type After = Box<dyn FnMut(&Session)>;

/// A statement that has passed its check.
struct Checked {
    action: Box<dyn Action>,
    span: Span,
    /// As it is written in a journal, with every name it stands for.
    text: String,
    role: Role,
    /// The models, data and runs that it names.
    names: Vec<String>,
}

impl Interpreter {
    pub fn new(out: Out) -> Interpreter {
        let mut session = Session::default();
        session.settle = Some(statements::set::settle);
        let read = Box::new(|path: &Path| std::fs::read_to_string(path));
        Interpreter { session, out, keep_going: false, assignments: vec![], cell: None, after: None, read }
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
        self.session.rounds.clear();
        for statement in checked {
            let result = self.run_logged(&statement);
            if let Some(after) = &mut self.after {
                after(&self.session);
            }
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

    /// Runs a statement and writes into the journal what it did.
    fn run_logged(&mut self, statement: &Checked) -> Result<(), Diagnostic> {
        let before = self.session.places();
        let result = self.run_one(statement);
        let ending = match &result {
            Err(_) => Ending::Failed,
            Ok(()) if self.out.cancel.stop() => Ending::Interrupted,
            Ok(()) => Ending::Done,
        };
        self.session.log(&statement.text, statement.role, ending, &statement.names, &before);
        result
    }

    fn run_one(&mut self, statement: &Checked) -> Result<(), Diagnostic> {
        let (session, out) = (&mut self.session, &mut self.out);
        let result = catch_unwind(AssertUnwindSafe(|| statement.action.run(session, out)));
        say_printed(&session.own.printed, out);
        result.unwrap_or_else(|panic| {
            gradient::enable();
            Err(match message::of_panic(&*panic) {
                Some(error) => Diagnostic::error(codes::TORCH, error.to_string())
                    .note("the session is as it was before this statement"),
                None => internal(),
            })
        })
    }

    fn checked(&mut self, units: Vec<Unit>) -> Option<Vec<Checked>> {
        let mut checker = self.checker();
        for unit in units {
            checker.unit(unit);
        }
        checker.unused_assignments();
        let Checker { checked, diagnostics, .. } = checker;
        let failed = diagnostics.iter().any(Diagnostic::is_error);
        diagnostics.into_iter().for_each(|diagnostic| self.out.diagnostic(diagnostic));
        (!failed).then_some(checked)
    }

    fn checker(&mut self) -> Checker<'_> {
        Checker {
            outline: self.session.outline.clone(),
            out: &mut self.out,
            assignments: &self.assignments,
            used: vec![false; self.assignments.len()],
            checked: vec![],
            diagnostics: vec![],
            including: vec![],
            included: vec![],
            read: &self.read,
            cell: self.cell,
        }
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
    /// Every file that was read, or was to be.
    included: Vec<study::Included>,
    read: &'a ReadText,
    cell: Option<u64>,
}

impl Checker<'_> {
    fn unit(&mut self, unit: Unit) {
        let source = self.out.sources.add(unit.name, unit.text.clone());
        match self.cell {
            Some(number) => self.cell(&unit.text, source, &unit.folder, number),
            None => self.text(&unit.text, source, &unit.folder),
        }
    }

    fn text(&mut self, text: &str, source: SourceId, folder: &Path) {
        self.parsed(&parse(text, source), folder);
    }

    fn parsed(&mut self, parsed: &Parsed, folder: &Path) {
        self.diagnostics.extend(parsed.diagnostics.iter().cloned());
        parsed.script.statements.iter().for_each(|statement| self.statement(statement, folder));
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
                    && let Some(assigned) = self.assign(found.form, &name.node, &mut settings)
                    && fine
                {
                    let text = match assigned {
                        Assigned::Nothing => self.out.sources.text(span).to_string(),
                        // What the command line changed is nowhere in the text.
                        Assigned::Something => {
                            format!(
                                "{} {} {{\n  {}\n}}",
                                noun.node,
                                name.node,
                                settings.given().to_ltune("\n  ")
                            )
                        }
                    };
                    self.act(span, text, found.form.role, vec![], |checking| {
                        check(&name.node, settings, checking)
                    });
                }
                self.outline.define_broken(&name.node, kind);
            }
            StatementKind::Repeat { count, body, .. } => self.repeat(count, body, folder),
            StatementKind::Rust { word, text } => {
                let Some(found) = self.find(word, FormKind::Language) else { return };
                let Check::Rust(check) = found.check else { return };
                let written = self.out.sources.text(span).to_string();
                self.act(span, written, found.form.role, vec![], |checking| check(text, checking));
            }
            StatementKind::Verb(verb) => {
                let Some(found) = self.find(&verb.word, FormKind::Verb) else { return };
                let Check::Verb(check) = found.check else { return };
                if !self.planned(verb) {
                    return;
                }
                let settings = check_verb(found.form, verb, &self.outline, &mut self.diagnostics);
                let Some(settings) = settings else { return };
                let text = self.spelled_out(found.form, verb, &settings, span);
                let names = settings.names().into_iter().map(|(name, _)| name.to_string()).collect();
                self.act(span, text, found.form.role, names, |checking| check(settings, checking));
            }
        }
    }

    /// The text of a verb with the names that it leaves to the context, which may be another one on replay.
    fn spelled_out(&self, form: &Form, verb: &tree::Verb, settings: &Settings, span: Span) -> String {
        let text = self.out.sources.text(span);
        let implied = |setting: &Setting| -> Option<String> {
            let resolved = settings.resolved(setting.name).filter(|found| found.origin == Origin::Default)?;
            let names: Vec<&str> = match &resolved.value {
                Value::Name(name) => vec![name],
                Value::List(values) => values.iter().filter_map(Value::as_name).collect(),
                _ => vec![],
            };
            (!names.is_empty()).then(|| names.join(", "))
        };
        let at_word =
            form.positional.iter().find_map(implied).map_or(String::new(), |name| format!(" {name}"));
        let clauses = form.clauses.iter().filter_map(|clause| Some((clause.word, implied(&clause.setting)?)));
        let at_end: String = clauses.map(|(word, name)| format!(" {word} {name}")).collect();
        let word_end = (verb.word.span.end - span.start) as usize;
        let block = verb.block.as_ref().map_or(text.len(), |block| (block.span.start - span.start) as usize);
        let (head, rest) = text.split_at(word_end);
        let (middle, block) = rest.split_at(block - word_end);
        let block = if block.is_empty() { String::new() } else { format!(" {block}") };
        format!("{head}{at_word}{}{at_end}{block}", middle.trim_end())
    }

    /// Checks the rounds as if they were written out, and says the same thing once.
    fn repeat(&mut self, count: &tree::Expr, body: &[tree::Statement], folder: &Path) {
        const MOST: i64 = 10_000;
        let rounds = match evaluate(count, &self.outline) {
            Ok(Value::Integer(rounds)) if (1..=MOST).contains(&rounds) => rounds as u64,
            Ok(other) => {
                let found = other.described();
                let message = format!("`repeat` takes a whole number from 1 to {MOST}, not {found}");
                return self.diagnostics.push(Diagnostic::error(codes::OUT_OF_RANGE, message).at(count.span));
            }
            Err(diagnostic) => return self.diagnostics.push(diagnostic),
        };
        for round in 1..=rounds {
            self.talk(Box::new(Round { round, rounds }), count.span);
            let before = self.diagnostics.len();
            body.iter().for_each(|statement| self.statement(statement, folder));
            let found = self.diagnostics.split_off(before);
            let failed = found.iter().any(Diagnostic::is_error);
            let new = found.into_iter().filter(|found| !self.diagnostics.contains(found)).collect::<Vec<_>>();
            self.diagnostics.extend(new);
            if failed {
                return;
            }
        }
        self.talk(Box::new(Rounds { rounds }), count.span);
    }

    fn talk(&mut self, action: Box<dyn Action>, span: Span) {
        self.checked.push(Checked { action, span, text: String::new(), role: Role::Talks, names: vec![] });
    }

    fn act(
        &mut self,
        span: Span,
        text: String,
        role: Role,
        names: Vec<String>,
        check: impl FnOnce(&mut Checking) -> Option<Box<dyn Action>>,
    ) {
        if self.is_unsound(span) {
            return;
        }
        let before = self.diagnostics.len();
        let mut checking = Checking { outline: &mut self.outline, span, diagnostics: &mut self.diagnostics };
        let action = catch_unwind(AssertUnwindSafe(|| check(&mut checking))).unwrap_or_else(|_| {
            self.diagnostics.push(internal());
            None
        });
        // An error that named no place belongs to the statement.
        for diagnostic in &mut self.diagnostics[before..] {
            if diagnostic.labels.is_empty() {
                *diagnostic = placed(diagnostic.clone(), span);
            }
        }
        self.checked.extend(action.map(|action| Checked { action, span, text, role, names }));
    }

    /// Whether something was wrong inside of a statement already: what it lacks may have stood there.
    fn is_unsound(&self, statement: Span) -> bool {
        let inside = |span: Span| {
            span.source == statement.source && span.start >= statement.start && span.end <= statement.end
        };
        let errors = self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
        errors.flat_map(|diagnostic| &diagnostic.labels).any(|label| inside(label.span))
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
                let action = Box::new(Bind { name: name.node.clone(), value });
                let text = self.out.sources.text(span).to_string();
                self.checked.push(Checked { action, span, text, role: Role::Binds, names: vec![] });
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

    /// Puts in what the command line says of this name; `None` when something of it is wrong.
    fn assign(&mut self, form: &'static Form, name: &str, settings: &mut Settings) -> Option<Assigned> {
        let mut assigned = Some(Assigned::Nothing);
        for (index, assignment) in self.assignments.iter().enumerate() {
            if assignment.name != name {
                continue;
            }
            self.used[index] = true;
            let Assignment { name, setting, value } = assignment;
            let source = self.out.sources.add(format!("--set {name}.{setting}"), value.clone());
            match assign(form, settings, setting, value, source, &self.outline) {
                Ok(()) => assigned = assigned.map(|_| Assigned::Something),
                Err(diagnostics) => {
                    self.diagnostics.extend(diagnostics);
                    assigned = None;
                }
            }
        }
        assigned
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
        let text = (self.read)(&file)
            .map(|text| (self.out.sources.add(file.display().to_string(), text.clone()), text));
        let source = text.as_ref().ok().map(|(source, _)| *source);
        self.included.push(study::Included { file: identity.clone(), at: path.span, source });
        match text {
            Err(error) => self.diagnostics.push(
                Diagnostic::error(
                    codes::INCLUDE,
                    format!("cannot read `{}`: {}", file.display(), crate::files::plain(&error)),
                )
                .at(path.span)
                .note("the path is relative to the script that includes it"),
            ),
            Ok((source, text)) => {
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

/// Whether the command line changed something in a definition.
enum Assigned {
    Nothing,
    Something,
}

/// The beginning of a round of `repeat`.
struct Round {
    round: u64,
    rounds: u64,
}

impl Action for Round {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        session.begin_round();
        out.note(format!("round {} of {}", self.round, self.rounds));
        Ok(())
    }
}

/// The end of a `repeat`.
struct Rounds {
    rounds: u64,
}

impl Action for Rounds {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        if let Some(table) = session.rounds_table(self.rounds as usize) {
            out.emit(Event::Table(table));
        }
        Ok(())
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

/// Shows what functions of `rust` blocks have printed.
fn say_printed(printed: &Printed, out: &mut Out) {
    let lines = std::mem::take(&mut *printed.borrow_mut());
    if !lines.is_empty() {
        out.text(lines.join("\n"));
    }
}

fn internal() -> Diagnostic {
    Diagnostic::error(codes::INTERNAL, "ltune itself failed")
        .note("the session is as it was before this statement")
        .note("please report this, with what `RUST_BACKTRACE=1` shows")
}

fn placed(diagnostic: Diagnostic, span: Span) -> Diagnostic {
    if diagnostic.labels.is_empty() { diagnostic.at(span) } else { diagnostic }
}
