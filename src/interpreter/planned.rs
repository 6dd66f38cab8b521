//! `run "p.json"`: before it is checked, what the plan describes is defined, as if its script stood there.

use crate::events::{Diagnostic, Span};
use crate::interpreter::Checker;
use crate::language::codes;
use crate::language::evaluate::evaluate;
use crate::language::parse::parse;
use crate::language::rust_text::functions;
use crate::language::scope::Scope;
use crate::language::tree::{StatementKind, Verb};
use crate::language::value::{Settings, Value};
use crate::session::definitions::TuneDefinition;
use crate::session::outline::Outline;
use crate::session::plan_file::{PlanFile, changed};
use std::path::{Path, PathBuf};

impl Checker<'_> {
    /// Defines what the plan of a `run "p.json"` describes, and makes its run the one last named. False when it
    /// cannot be; what is wrong, is reported. All other verbs pass.
    pub(super) fn planned(&mut self, verb: &Verb) -> bool {
        let Some((path, span)) = self.plan_of(verb) else { return true };
        match self.define_planned(&path) {
            Ok(run) => {
                self.outline.name_run(&run);
                true
            }
            Err(diagnostics) => {
                let placed = |diagnostic: Diagnostic| {
                    if diagnostic.labels.is_empty() { diagnostic.at(span) } else { diagnostic }
                };
                self.diagnostics.extend(diagnostics.into_iter().map(placed));
                false
            }
        }
    }

    /// The file and its place, if the verb is `run` and a text stands directly after it.
    fn plan_of(&self, verb: &Verb) -> Option<(PathBuf, Span)> {
        if verb.word.node != "run" {
            return None;
        }
        let values = verb.phrases.iter().filter(|phrase| phrase.preposition.is_none());
        values.flat_map(|phrase| phrase.groups.iter().flatten()).find_map(|expr| {
            match evaluate(expr, &self.outline) {
                Ok(Value::Text(path)) => Some((PathBuf::from(path), expr.span)),
                _ => None,
            }
        })
    }

    fn define_planned(&mut self, path: &Path) -> Result<String, Vec<Diagnostic>> {
        // An earlier statement writes it: what it will hold is known, whatever the file holds now.
        if let Some(planned) = self.outline.planned(path) {
            let differing = differing(&self.outline, &planned);
            return if differing.is_empty() {
                Ok(planned.name.clone())
            } else {
                Err(vec![changed(path, &planned.name, &differing)])
            };
        }
        let file = PlanFile::read(path).map_err(|diagnostic| vec![diagnostic])?;
        let source = self.out.sources.add(path.display().to_string(), file.script.clone());
        let planned = self.alone(|checker| checker.text(&file.script, source, Path::new("")))?;
        let Some(planned) = planned.run(&file.run) else {
            let message =
                format!("`{}` is not a plan: its script defines no run `{}`", path.display(), file.run);
            return Err(vec![Diagnostic::error(codes::NO_PLAN, message)]);
        };
        let mut differing = differing(&self.outline, &planned);
        if differing.is_empty() {
            for statement in parse(&file.script, source).script.statements {
                let is_missing = match &statement.kind {
                    StatementKind::Definition { name, .. } => self.outline.kind_of(&name.node).is_none(),
                    StatementKind::Rust { text, .. } => {
                        own_names(&text.node).any(|name| self.outline.kind_of(&name).is_none())
                    }
                    _ => false,
                };
                if is_missing {
                    self.statement(&statement, Path::new(""));
                }
            }
            // `--set` may have changed what was just defined, and a later ltune may read it otherwise.
            if let Some(tune) = self.outline.run(&file.run) {
                differing = file.differences(&tune).map_err(|diagnostic| vec![diagnostic])?;
            }
        }
        if differing.is_empty() { Ok(file.run) } else { Err(vec![changed(path, &file.run, &differing)]) }
    }

    /// What a text defines where nothing else is: nothing of it stays.
    fn alone(&mut self, check: impl FnOnce(&mut Self)) -> Result<Outline, Vec<Diagnostic>> {
        let outline = std::mem::take(&mut self.outline);
        let assignments = std::mem::take(&mut self.assignments);
        let (checked, reported) = (self.checked.len(), self.diagnostics.len());
        check(self);
        self.checked.truncate(checked);
        self.assignments = assignments;
        let found = self.diagnostics.split_off(reported);
        let alone = std::mem::replace(&mut self.outline, outline);
        let errors: Vec<Diagnostic> = found.into_iter().filter(Diagnostic::is_error).collect();
        if errors.is_empty() { Ok(alone) } else { Err(errors) }
    }
}

/// What a `rust` block defines.
fn own_names(block: &str) -> impl Iterator<Item = String> {
    functions(block).into_iter().filter(|function| function.kind().is_some()).map(|function| function.name)
}

/// Where names that are defined are not what the plan has under them.
fn differing(outline: &Outline, planned: &TuneDefinition) -> Vec<String> {
    let (model, data) = (&planned.model, &planned.data);
    let things = [
        (&model.name, &model.settings, outline.model(&model.name).map(|found| found.settings.clone())),
        (&data.name, &data.settings, outline.data(&data.name).map(|found| found.settings.clone())),
        (&planned.name, &planned.settings, outline.run(&planned.name).map(|found| found.settings.clone())),
    ];
    let mut differing = vec![];
    for block in &planned.blocks {
        let other = own_names(block)
            .find(|name| outline.kind_of(name).is_some() && outline.block(name) != Some(block));
        differing.extend(other.map(|name| format!("`{name}`: its `rust` block is another one in the plan")));
    }
    for (name, planned, now) in things {
        match (outline.kind_of(name), now) {
            (None, _) => {}
            (Some(_), Some(now)) => compare(name, planned, &now, &mut differing),
            (Some(kind), None) => differing.push(format!("`{name}` is {} here", kind.described())),
        }
    }
    differing
}

fn compare(place: &str, planned: &Settings, now: &Settings, differing: &mut Vec<String>) {
    let added = now.iter().map(|(name, _)| name).filter(|name| planned.get(name).is_none());
    for name in planned.iter().map(|(name, _)| name).chain(added) {
        let place = format!("{place}.{name}");
        match (planned.get(name), now.get(name)) {
            (
                Some(Value::Choice { word, settings: planned }),
                Some(Value::Choice { word: other, settings: now }),
            ) if word == other => compare(&place, planned, now, differing),
            (planned, now) if planned.map(Value::to_ltune) != now.map(Value::to_ltune) => {
                let text = |value: Option<&Value>| value.map_or("nothing".to_string(), Value::to_ltune);
                differing.push(format!("`{place}`: {} in the plan, {} here", text(planned), text(now)));
            }
            _ => {}
        }
    }
}
