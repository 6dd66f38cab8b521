//! Settings as they were written: the place of each, and what to write there instead.

use crate::events::{Diagnostic, Span};
use crate::language::value::{Origin, Resolved, Settings, Value};

/// The settings of a block; `method.rank` is the `rank` of the word that `method` is.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    pub settings: &'a Settings,
    /// The place for what stands nowhere: that of the statement, where there is one.
    pub span: Option<Span>,
}

impl<'a> Written<'a> {
    pub fn resolved(&self, path: &str) -> Option<&'a Resolved> {
        let Some((outer, inner)) = path.split_once('.') else { return self.settings.resolved(path) };
        self.settings.maybe_choice(outer)?.1.resolved(inner)
    }

    /// Whether a person chose the value, in whatever way.
    pub fn is_given(&self, path: &str) -> bool {
        self.resolved(path).is_some_and(|resolved| resolved.origin.is_chosen())
    }

    /// The value as text: `100 steps`.
    pub fn text(&self, path: &str) -> String {
        self.resolved(path).map_or(String::new(), |resolved| resolved.value.to_ltune())
    }

    /// The setting as it stands in a script: `warmup = 100 steps`.
    pub fn entry(&self, path: &str) -> String {
        format!("{} = {}", last(path), self.text(path))
    }

    /// Where the setting was written, else what it stands in, else the statement.
    pub fn place(&self, path: &str) -> Option<Span> {
        let outer = || self.own_place(path.split_once('.')?.0);
        self.own_place(path).or_else(outer).or(self.span)
    }

    pub fn at(&self, path: &str, diagnostic: Diagnostic) -> Diagnostic {
        match self.place(path) {
            Some(span) => diagnostic.at(span),
            None => diagnostic,
        }
    }

    /// Whether the setting stands in a script, where an edit could mend it.
    pub fn stands(&self, path: &str) -> bool {
        self.own_place(path).is_some()
    }

    /// Adds the edit that puts this value in the place of the setting, if it stands in a script.
    pub fn mend(&self, path: &str, value: &Value, diagnostic: Diagnostic) -> Diagnostic {
        let entry = format!("{} = {}", last(path), value.to_ltune());
        match self.own_place(path) {
            Some(span) => diagnostic.fix(span, entry.clone(), format!("write `{entry}`")),
            None => diagnostic.note(format!("write `{entry}`")),
        }
    }

    fn own_place(&self, path: &str) -> Option<Span> {
        match self.resolved(path)?.origin {
            Origin::Script(span) => Some(span),
            _ => None,
        }
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
