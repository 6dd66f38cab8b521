//! What expressions come to, behind them in grey: `rank = width / 4` is `= 16`.

use crate::assist::known::Known;
use crate::assist::names::Names;
use crate::frontends::lsp::workspace::{Document, Workspace};
use crate::language::evaluate::evaluate;
use crate::language::scope::{NameKind, Scope};
use crate::language::tree::{Block, Expr, ExprKind, Script, Statement, StatementKind};
use lsp_types::{InlayHint, InlayHintLabel, InlayHintParams};
use std::collections::BTreeMap;
use std::ops::Range;

/// Longer ones would hide the script.
const LONGEST: usize = 40;

pub fn hints(
    workspace: &Workspace,
    document: &Document,
    params: InlayHintParams,
) -> Result<Vec<InlayHint>, String> {
    let text = &document.text;
    let script = &document.parsed().script;
    let known = single(workspace.known(document, text.text.len()), script);
    let shown = text.span(params.range);
    let hint = |expr: &Expr| {
        let value = evaluate(expr, &known).ok()?.to_ltune();
        let is_news = value != text.text[expr.span.range()] && value.chars().count() <= LONGEST;
        is_news.then(|| InlayHint {
            position: text.position(expr.span.end as usize),
            label: InlayHintLabel::String(format!("= {value}")),
            kind: None,
            text_edits: None,
            tooltip: None,
            padding_left: Some(true),
            padding_right: None,
            data: None,
        })
    };
    let values = values(script, &shown);
    Ok(values.into_iter().filter(|expr| is_computed(expr, &known)).filter_map(hint).collect())
}

/// Without names that are defined more than once: their value depends on the place.
fn single(mut known: Known, script: &Script) -> Known {
    let names = Names::of([script]);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    names.definitions().for_each(|mention| *counts.entry(&mention.name).or_default() += 1);
    known.names.retain(|name| counts.get(name.name.as_str()).is_none_or(|count| *count == 1));
    known
}

/// Every value of a `let` or a setting in a range of the text.
fn values<'a>(script: &'a Script, shown: &Range<usize>) -> Vec<&'a Expr> {
    let mut values = vec![];
    of_statements(&script.statements, &mut values);
    values.retain(|expr| (expr.span.start as usize) < shown.end && (expr.span.end as usize) > shown.start);
    values
}

fn of_statements<'a>(statements: &'a [Statement], values: &mut Vec<&'a Expr>) {
    for statement in statements {
        match &statement.kind {
            StatementKind::Let { value, .. } => values.push(value),
            StatementKind::Definition { block, .. } => of_block(block, values),
            StatementKind::Repeat { body, .. } => of_statements(body, values),
            StatementKind::Verb(verb) => {
                values.extend(verb.phrases.iter().flat_map(|phrase| &phrase.groups).flatten());
                verb.block.iter().for_each(|block| of_block(block, values));
            }
            StatementKind::Version(_) | StatementKind::Include { .. } | StatementKind::Rust { .. } => {}
        }
    }
}

fn of_block<'a>(block: &'a Block, values: &mut Vec<&'a Expr>) {
    for entry in &block.entries {
        match &entry.value.kind {
            ExprKind::Choice { block, .. } | ExprKind::Block(block) => of_block(block, values),
            _ => values.push(&entry.value),
        }
    }
}

/// Whether its value cannot be read off it.
fn is_computed(expr: &Expr, known: &Known) -> bool {
    match &expr.kind {
        ExprKind::Binary { .. } => true,
        ExprKind::Paren(inner) | ExprKind::Negate(inner) => is_computed(inner, known),
        ExprKind::Path(words) => words.len() == 1 && known.kind_of(&words[0]) == Some(NameKind::Variable),
        ExprKind::Cross(left, right) => is_computed(left, known) || is_computed(right, known),
        _ => false,
    }
}
