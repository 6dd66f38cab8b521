//! ltune's diagnostics, edits and kinds in the words of the protocol.

use crate::events::{Diagnostic, Fix, Severity, Sources, Span};
use crate::frontends::lsp::positions::{Encoding, Text};
use crate::frontends::lsp::workspace::Member;
use crate::language::scope::NameKind;
use lsp_types::{
    DiagnosticRelatedInformation, DiagnosticSeverity, DocumentChanges, Location, NumberOrString, OneOf,
    OptionalVersionedTextDocumentIdentifier, SymbolKind, TextDocumentEdit, TextEdit, Uri, WorkspaceEdit,
};

/// A source of a study as a text with places.
pub fn text_of(sources: &Sources, span: Span, encoding: Encoding) -> Text {
    Text::new(sources.get(span.source).text.clone(), encoding)
}

/// The main place is the range; further places are related information where their file is known.
pub fn diagnostic(
    found: &Diagnostic,
    text: &Text,
    related: &dyn Fn(Span) -> Option<Location>,
) -> lsp_types::Diagnostic {
    let others = found.labels.iter().skip(1);
    let information = |label: &crate::events::Label| {
        let message = if label.text.is_empty() { "here".into() } else { label.text.clone() };
        Some(DiagnosticRelatedInformation { location: related(label.span)?, message })
    };
    let related: Vec<_> = others.filter_map(information).collect();
    lsp_types::Diagnostic {
        range: found.span().map_or_else(Default::default, |span| text.range_of(span)),
        severity: Some(severity(found.severity)),
        code: Some(NumberOrString::String(found.code.into())),
        source: Some("ltune".into()),
        message: message(found),
        related_information: (!related.is_empty()).then_some(related),
        ..Default::default()
    }
}

fn severity(severity: Severity) -> DiagnosticSeverity {
    match severity {
        Severity::Error => DiagnosticSeverity::ERROR,
        Severity::Warning => DiagnosticSeverity::WARNING,
        Severity::Note => DiagnosticSeverity::INFORMATION,
    }
}

/// The message with what stands at its place, its notes and what would mend it.
fn message(found: &Diagnostic) -> String {
    let mut lines = vec![found.message.clone()];
    lines.extend(found.labels.first().map(|label| label.text.clone()).filter(|text| !text.is_empty()));
    lines.extend(found.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(found.fixes.iter().map(|fix| format!("help: {}", fix.title)));
    lines.join("\n")
}

pub fn fix_edit(fix: &Fix, text: &Text) -> TextEdit {
    text.edit(fix.span.range(), fix.replacement.clone())
}

/// Edits of one or several texts. A version refuses them when the text has changed meanwhile.
pub fn workspace_edit(edits: Vec<(Uri, Option<i32>, Vec<TextEdit>)>) -> WorkspaceEdit {
    let of_text = |(uri, version, edits): (Uri, Option<i32>, Vec<TextEdit>)| TextDocumentEdit {
        text_document: OptionalVersionedTextDocumentIdentifier { uri, version },
        edits: edits.into_iter().map(OneOf::Left).collect(),
    };
    let changes = DocumentChanges::Edits(edits.into_iter().map(of_text).collect());
    WorkspaceEdit { document_changes: Some(changes), ..Default::default() }
}

pub fn location(member: &Member, span: Span) -> Location {
    Location { uri: member.uri.clone(), range: member.text.range_of(span) }
}

pub fn symbol_kind(kind: NameKind) -> SymbolKind {
    match kind {
        NameKind::Model => SymbolKind::CLASS,
        NameKind::Data => SymbolKind::STRUCT,
        NameKind::Run => SymbolKind::OBJECT,
        NameKind::Variable => SymbolKind::CONSTANT,
        NameKind::Schedule | NameKind::Metric | NameKind::Transform => SymbolKind::FUNCTION,
    }
}
