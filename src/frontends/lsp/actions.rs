//! The fixes of diagnostics: one by one, and all at once.

use crate::assist::mend::side_by_side;
use crate::events::{Diagnostic, Fix, SourceId};
use crate::frontends::lsp::convert::{self, fix_edit, workspace_edit};
use crate::frontends::lsp::positions::Text;
use crate::frontends::lsp::workspace::{Document, Workspace};
use lsp_types::{CodeAction, CodeActionKind, CodeActionParams, TextEdit};
use std::ops::RangeInclusive;

/// All fixes of a script, for those who ask for them on saving.
pub const FIX_ALL: &str = "source.fixAll.ltune";

pub fn actions(
    _: &Workspace,
    document: &Document,
    params: CodeActionParams,
) -> Result<Vec<CodeAction>, String> {
    let lines = params.range.start.line..=params.range.end.line;
    let only = params.context.only;
    let is_asked = |kind: &CodeActionKind| {
        let within = |asked: &CodeActionKind| {
            kind == asked || kind.as_str().starts_with(&format!("{}.", asked.as_str()))
        };
        only.as_ref().is_none_or(|only| only.iter().any(within))
    };
    let mut actions = vec![];
    if is_asked(&CodeActionKind::QUICKFIX) {
        actions.extend(
            here(document)
                .filter(|found| is_on(found, &document.text, lines.clone()))
                .flat_map(|found| quick(document, found)),
        );
        // Where one mistake is mended, all can be.
        actions.extend(
            all(document, CodeActionKind::QUICKFIX)
                .filter(|(count, _)| *count > 1 && !actions.is_empty())
                .map(|(_, all)| all),
        );
    }
    let fix_all = CodeActionKind::from(FIX_ALL);
    if only.is_some() && is_asked(&fix_all) {
        actions.extend(all(document, fix_all).map(|(_, all)| all));
    }
    Ok(actions)
}

/// What is wrong in the script itself, not in what it includes.
fn here(document: &Document) -> impl Iterator<Item = &Diagnostic> {
    let is_here = |found: &&Diagnostic| found.span().is_some_and(|span| span.source == SourceId(0));
    document.study.diagnostics.iter().filter(is_here)
}

/// Whether a mistake or its mending stands on one of the lines: a cursor is rarely right at the place.
fn is_on(found: &Diagnostic, text: &Text, lines: RangeInclusive<u32>) -> bool {
    let label = found.labels.iter().take(1).map(|label| label.span);
    let places = label.chain(found.fixes.iter().map(|fix| fix.span)).map(|span| text.range_of(span));
    places.into_iter().any(|place| place.start.line <= *lines.end() && *lines.start() <= place.end.line)
}

fn quick(document: &Document, found: &Diagnostic) -> Vec<CodeAction> {
    let action = |fix: &Fix| CodeAction {
        title: fix.title.clone(),
        kind: Some(CodeActionKind::QUICKFIX),
        diagnostics: Some(vec![convert::diagnostic(found, &document.text, &|_| None)]),
        edit: Some(workspace_edit(vec![edits(document, vec![fix_edit(fix, &document.text)])])),
        is_preferred: (found.fixes.len() == 1).then_some(true),
        ..CodeAction::default()
    };
    found.fixes.iter().filter(|fix| fix.span.source == SourceId(0)).map(action).collect()
}

/// Every first fix that can be made beside the others, with how many there are.
fn all(document: &Document, kind: CodeActionKind) -> Option<(usize, CodeAction)> {
    let text = &document.text;
    let fixes = here(document).filter_map(|found| found.fixes.first());
    let fixes = side_by_side(&text.text, fixes.filter(|fix| fix.span.source == SourceId(0)));
    let made: Vec<TextEdit> = fixes.iter().map(|fix| fix_edit(fix, text)).collect();
    let count = made.len();
    let action = CodeAction {
        title: if count == 1 { "make the fix".into() } else { format!("make all {count} fixes") },
        kind: Some(kind),
        edit: Some(workspace_edit(vec![edits(document, made)])),
        ..CodeAction::default()
    };
    (count > 0).then_some((count, action))
}

fn edits(document: &Document, edits: Vec<TextEdit>) -> (lsp_types::Uri, Option<i32>, Vec<TextEdit>) {
    (document.uri.clone(), Some(document.version), edits)
}
