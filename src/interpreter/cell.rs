//! A cell of a prompt or a notebook: a script whose last line may be a value. It is shown, and kept as `_` and, in
//! cell 3, as `_3`.

use super::{Checked, Checker};
use crate::events::{Diagnostic, Event, Out, SourceId, Span};
use crate::language::cell::value_at_end;
use crate::language::evaluate::evaluate;
use crate::language::parse::parse_expression;
use crate::language::schema::Role;
use crate::language::tree::{Expr, Phrase, Spanned, Statement, StatementKind, Verb};
use crate::language::value::Value;
use crate::session::Session;
use crate::session::outline::Outline;
use crate::statements::{self, Action};
use std::path::Path;

impl Checker<'_> {
    /// Checks the cell of this number.
    pub(super) fn cell(&mut self, text: &str, source: SourceId, folder: &Path, number: u64) {
        let is_statement = |word: &str| statements::find(word).is_some() || word == "repeat";
        let Some(range) = value_at_end(text, is_statement) else {
            return self.text(text, source, folder);
        };
        self.text(&text[..range.start], source, folder);
        // Blanks before the value keep its place true.
        let padded = " ".repeat(range.start) + &text[range.clone()];
        let span = Span::new(source, range.start, range.end);
        match parse_expression(&padded, source) {
            // A lone word that is no name is a mistyped statement.
            Ok(value) if value.as_word().is_some() && evaluate(&value, &self.outline).is_err() => {
                self.text(&padded, source, folder);
            }
            Ok(value) => self.value(value, span, number, folder),
            Err(diagnostic) => self.diagnostics.push(diagnostic),
        }
    }

    fn value(&mut self, expr: Expr, span: Span, number: u64, folder: &Path) {
        match evaluate(&expr, &self.outline) {
            // The name of a model, a data set or a run stands for what `show` shows of it.
            Ok(Value::Name(_)) => self.statement(&show(expr, span), folder),
            Ok(value) => {
                bind(&mut self.outline, number, &value);
                let written = value.to_ltune();
                self.checked.push(Checked {
                    action: Box::new(ShowValue { value, number }),
                    span,
                    text: format!("let _{number} = {written}; let _ = {written}"),
                    role: Role::Binds,
                    names: vec![],
                });
            }
            Err(diagnostic) => self.diagnostics.push(diagnostic),
        }
    }
}

/// A value that a cell ends with.
struct ShowValue {
    value: Value,
    number: u64,
}

impl Action for ShowValue {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        bind(&mut session.outline, self.number, &self.value);
        out.emit(Event::Value {
            name: Some(format!("_{}", self.number)),
            text: self.value.to_ltune(),
            value: serde_json::to_value(&self.value).unwrap_or(serde_json::Value::Null),
        });
        Ok(())
    }
}

/// `_` is the value shown last, `_3` that of cell 3.
fn bind(outline: &mut Outline, number: u64, value: &Value) {
    outline.define_variable("_", value.clone());
    outline.define_variable(&format!("_{number}"), value.clone());
}

/// `show NAME`, as if it had been written.
fn show(name: Expr, span: Span) -> Statement {
    let phrase = Phrase { preposition: None, groups: vec![vec![name]] };
    let verb = Verb { word: Spanned::new("show".to_string(), span), phrases: vec![phrase], block: None };
    Statement { span, kind: StatementKind::Verb(verb), leading: vec![], trailing: None }
}
