//! The statements: one file each, holding its schema, its check, its run and its tests.
//!
//! A new statement is a file here, a line in `STATEMENTS`, and a golden section in `tests/golden/`; a test names
//! whatever was forgotten. A check is a pure function from what was written and the outline of the session so far to
//! an `Action`; it touches no tensor. The action runs later, when everything has been checked.

pub mod compare;
pub mod data;
pub mod drop;
pub mod eval;
pub mod find;
pub mod fork;
pub mod freeze;
pub mod generate;
pub mod goto;
pub mod help;
pub mod history;
pub mod journal;
pub mod language;
pub mod load;
pub mod model;
pub mod plan;
pub mod plot;
pub mod print;
pub mod run;
pub mod rust;
pub mod save;
pub mod set;
pub mod settings;
pub mod show;
pub mod step;
pub mod tune;
pub mod undo;
pub mod why;

use crate::events::{Diagnostic, Out, Span};
use crate::language::schema::Form;
use crate::language::tree::Spanned;
use crate::language::value::Settings;
use crate::session::Session;
use crate::session::outline::Outline;

/// What a checked statement does. It computes first and binds last: after an error the session is as it was.
pub trait Action {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic>;
}

/// A statement: its schema and the check that turns checked settings into an action.
pub struct Statement {
    pub form: &'static Form,
    pub check: Check,
}

/// What a check makes of a statement; none when something is wrong, which it has reported then.
pub type Checked = Option<Box<dyn Action>>;

pub enum Check {
    /// `model NAME { … }`
    Definition(fn(&str, Settings, &mut Checking) -> Checked),
    /// `step a 20`
    Verb(fn(Settings, &mut Checking) -> Checked),
    /// `rust { … }`
    Rust(fn(&Spanned<String>, &mut Checking) -> Checked),
    /// What the interpreter itself understands: `let`, `include`, `repeat`, `ltune`.
    Language,
}

/// What a check sees and reports to.
pub struct Checking<'a> {
    pub outline: &'a mut Outline,
    /// The place of the whole statement.
    pub span: Span,
    pub diagnostics: &'a mut Vec<Diagnostic>,
}

impl Checking<'_> {
    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The place of a setting where it was written, else of the statement.
    pub fn place(&self, settings: &Settings, name: &str) -> Span {
        settings.span(name).unwrap_or(self.span)
    }
}

/// Every statement, in the order in which help lists them.
pub const STATEMENTS: &[Statement] = &[
    model::STATEMENT,
    data::STATEMENT,
    tune::STATEMENT,
    plan::STATEMENT,
    step::STATEMENT,
    run::STATEMENT,
    undo::UNDO,
    undo::REDO,
    goto::STATEMENT,
    set::STATEMENT,
    freeze::FREEZE,
    freeze::UNFREEZE,
    fork::STATEMENT,
    drop::DROP,
    drop::RENAME,
    history::STATEMENT,
    eval::STATEMENT,
    compare::STATEMENT,
    find::STATEMENT,
    why::STATEMENT,
    generate::STATEMENT,
    plot::STATEMENT,
    show::STATEMENT,
    print::STATEMENT,
    save::STATEMENT,
    load::STATEMENT,
    journal::STATEMENT,
    help::STATEMENT,
    rust::STATEMENT,
    language::LET,
    language::INCLUDE,
    language::REPEAT,
    language::VERSION,
];

/// The statement of this name.
pub fn find(name: &str) -> Option<&'static Statement> {
    STATEMENTS.iter().find(|statement| statement.form.name == name)
}

/// The schema of every statement.
pub fn forms() -> Vec<&'static Form> {
    STATEMENTS.iter().map(|statement| statement.form).collect()
}
