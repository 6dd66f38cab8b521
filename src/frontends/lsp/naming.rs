//! Names: where they are defined and used, and another one in their place.

use crate::assist::known::Known;
use crate::assist::names::{Mention, Names};
use crate::events::{SourceId, Span};
use crate::frontends::lsp::convert::{location, symbol_kind, workspace_edit};
use crate::frontends::lsp::paths::{identity, path_of, uri_of};
use crate::frontends::lsp::workspace::{Document, Member, Workspace};
use crate::interpreter::study::read_script;
use crate::language::check::unusable_word;
use crate::language::tree::{Statement, StatementKind};
use lsp_types::{
    DocumentHighlight, DocumentHighlightKind, DocumentHighlightParams, DocumentSymbol, DocumentSymbolParams,
    GotoDefinitionParams, Location, Position, PrepareRenameResponse, Range, ReferenceParams, RenameParams,
    TextDocumentPositionParams, WorkspaceEdit,
};
use std::collections::BTreeMap;

/// The texts that are read together, and the names in them.
struct Read {
    family: Vec<Member>,
    names: Names,
}

impl Read {
    fn of(workspace: &Workspace, document: &Document) -> Read {
        let family = workspace.family(document);
        let names = Names::of(family.iter().map(|member| &member.parsed.script));
        Read { family, names }
    }

    fn at(&self, document: &Document, position: Position) -> Option<&Mention> {
        self.names.at(SourceId(0), document.text.offset(position))
    }

    fn location(&self, mention: &Mention) -> Location {
        location(&self.family[mention.span.source.0 as usize], mention.span)
    }
}

pub fn prepare_rename(
    workspace: &Workspace,
    document: &Document,
    params: TextDocumentPositionParams,
) -> Result<Option<PrepareRenameResponse>, String> {
    let read = Read::of(workspace, document);
    Ok(read.at(document, params.position).map(|mention| PrepareRenameResponse::RangeWithPlaceholder {
        range: document.text.range_of(mention.span),
        placeholder: mention.name.clone(),
    }))
}

pub fn rename(
    workspace: &Workspace,
    document: &Document,
    params: RenameParams,
) -> Result<WorkspaceEdit, String> {
    let read = Read::of(workspace, document);
    let position = params.text_document_position.position;
    let mention = read
        .at(document, position)
        .ok_or("only the name of a model, of data, of a run or of a `let` can be renamed")?;
    let new = params.new_name.trim();
    if let Some(unusable) = unusable_word(new) {
        return Err(unusable.message);
    }
    if new == mention.name {
        return Ok(workspace_edit(vec![]));
    }
    if let Some(other) = read.names.definitions().find(|other| other.name == new) {
        return Err(format!("`{new}` is {} already; choose another name", other.kind.described()));
    }
    let mut changes = vec![];
    for (index, member) in read.family.iter().enumerate() {
        let here = |mention: &&Mention| mention.span.source == SourceId(index as u32);
        let spans: Vec<Span> =
            read.names.named(&mention.name).filter(here).map(|mention| mention.span).collect();
        changes.push((member, spans));
    }
    means_the_same(&changes, &mention.name, new)?;
    let edits = changes.into_iter().filter(|(_, spans)| !spans.is_empty()).map(|(member, spans)| {
        let edits = spans.into_iter().map(|span| member.text.edit(span.range(), new)).collect();
        (member.uri.clone(), member.version, edits)
    });
    Ok(workspace_edit(edits.collect()))
}

/// The renamed texts are read again: the new name must stand where the old one stood, and nowhere else.
fn means_the_same(changes: &[(&Member, Vec<Span>)], old: &str, new: &str) -> Result<(), String> {
    let mut scripts = vec![];
    let mut wanted = vec![];
    for (index, (member, spans)) in changes.iter().enumerate() {
        let mut text = member.text.text.to_string();
        let source = SourceId(index as u32);
        for (before, span) in spans.iter().enumerate().rev() {
            text.replace_range(span.range(), new);
            let start = span.start as usize + before * new.len() - before * old.len();
            wanted.push(Span::new(source, start, start + new.len()));
        }
        scripts.push(read_script(&text).script);
    }
    wanted.sort();
    let names = Names::of(&scripts);
    let mut found: Vec<Span> = names.named(new).map(|mention| mention.span).collect();
    found.sort();
    let is_left = names.named(old).next().is_some();
    if found == wanted && !is_left {
        return Ok(());
    }
    Err(format!("`{new}` would mean something else in one of the places of `{old}`; choose another name"))
}

/// The definition that holds where the name stands: the last one above it, else the first.
pub fn definition(
    workspace: &Workspace,
    document: &Document,
    params: GotoDefinitionParams,
) -> Result<Option<Location>, String> {
    let position = params.text_document_position_params.position;
    let read = Read::of(workspace, document);
    let Some(mention) = read.at(document, position) else {
        return Ok(included(document, &read, document.text.offset(position)));
    };
    let definitions: Vec<&Mention> =
        read.names.named(&mention.name).filter(|mention| mention.defines.is_some()).collect();
    let is_above = |other: &&&Mention| {
        other.span.source == mention.span.source && other.span.start <= mention.span.start
    };
    let above = definitions.iter().rev().find(is_above);
    Ok(above.or(definitions.first()).map(|mention| read.location(mention)))
}

/// The file whose path in an `include` the cursor touches.
fn included(document: &Document, read: &Read, cursor: usize) -> Option<Location> {
    let script = &read.family.first()?.parsed.script;
    let path = script.statements.iter().find_map(|statement| match &statement.kind {
        StatementKind::Include { path } if path.span.touches(cursor) => Some(&path.node),
        _ => None,
    })?;
    let file = identity(&path_of(&document.uri)?.parent()?.join(path));
    file.is_file().then_some(())?;
    Some(Location { uri: uri_of(&file)?, range: Range::default() })
}

pub fn references(
    workspace: &Workspace,
    document: &Document,
    params: ReferenceParams,
) -> Result<Vec<Location>, String> {
    let read = Read::of(workspace, document);
    let Some(mention) = read.at(document, params.text_document_position.position) else { return Ok(vec![]) };
    let is_wanted = |other: &&Mention| params.context.include_declaration || other.defines.is_none();
    let wanted = read.names.named(&mention.name).filter(is_wanted);
    Ok(wanted.map(|mention| read.location(mention)).collect())
}

pub fn highlights(
    workspace: &Workspace,
    document: &Document,
    params: DocumentHighlightParams,
) -> Result<Vec<DocumentHighlight>, String> {
    let read = Read::of(workspace, document);
    let position = params.text_document_position_params.position;
    let Some(mention) = read.at(document, position) else { return Ok(vec![]) };
    let here = read.names.named(&mention.name).filter(|other| other.span.source == SourceId(0));
    let highlight = |mention: &Mention| DocumentHighlight {
        range: document.text.range_of(mention.span),
        kind: Some(match mention.defines {
            Some(_) => DocumentHighlightKind::WRITE,
            None => DocumentHighlightKind::READ,
        }),
    };
    Ok(here.map(highlight).collect())
}

/// Everything that the script defines.
pub fn symbols(
    _: &Workspace,
    document: &Document,
    _: DocumentSymbolParams,
) -> Result<Vec<DocumentSymbol>, String> {
    let script = &document.parsed().script;
    let names = Names::of([script]);
    let known = Known::from_outline(&document.study.outline).names;
    let summaries: BTreeMap<&str, &str> =
        known.iter().map(|name| (name.name.as_str(), name.summary.as_str())).collect();
    #[allow(deprecated)] // the field has to be named
    let symbol = |mention: &Mention| {
        Some(DocumentSymbol {
            name: mention.name.clone(),
            detail: summaries.get(mention.name.as_str()).map(|summary| summary.to_string()),
            kind: symbol_kind(mention.kind),
            tags: None,
            deprecated: None,
            range: document.text.range_of(whole(mention.defines?, &script.statements)),
            selection_range: document.text.range_of(mention.span),
            children: None,
        })
    };
    Ok(names.definitions().filter_map(symbol).collect())
}

/// A definition with the comments above it.
fn whole(span: Span, statements: &[Statement]) -> Span {
    let found = statements.binary_search_by_key(&span.start, |statement| statement.span.start).ok();
    let first = found.and_then(|index| statements[index].leading.first());
    first.map_or(span, |comment| comment.span.to(span))
}
