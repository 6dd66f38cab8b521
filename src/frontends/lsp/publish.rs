//! Which diagnostics belong to which file, and what of them is news to the editor.

use crate::events::{Diagnostic, Label, SourceId, Span};
use crate::frontends::lsp::convert::{self, text_of};
use crate::frontends::lsp::paths::uri_of;
use crate::frontends::lsp::positions::{Encoding, Text};
use crate::frontends::lsp::workspace::{Document, Workspace};
use crate::interpreter::study::Included;
use crate::language::codes;
use crate::units::counted;
use lsp_types::{Location, PublishDiagnosticsParams, Uri};
use std::collections::BTreeMap;

/// What an editor was told last of each file.
#[derive(Default)]
pub struct Published {
    told: BTreeMap<String, PublishDiagnosticsParams>,
}

impl Published {
    /// What has changed since. A script that is included by an open one is judged where it is included.
    pub fn news(&mut self, workspace: &Workspace) -> Vec<PublishDiagnosticsParams> {
        let mut now: BTreeMap<String, PublishDiagnosticsParams> = BTreeMap::new();
        for document in workspace.documents() {
            let empty = PublishDiagnosticsParams::new(document.uri.clone(), vec![], Some(document.version));
            now.entry(document.uri.as_str().into()).or_insert(empty);
        }
        for document in workspace.documents().filter(|document| workspace.including(document).is_empty()) {
            let judged = Judged { workspace, document };
            judged.add_to(&mut now);
        }
        for (uri, told) in &self.told {
            now.entry(uri.clone())
                .or_insert_with(|| PublishDiagnosticsParams::new(told.uri.clone(), vec![], None));
        }
        let is_news =
            |(uri, found): &(&String, &PublishDiagnosticsParams)| self.told.get(*uri) != Some(found);
        let news: Vec<PublishDiagnosticsParams> =
            now.iter().filter(is_news).map(|(_, found)| found.clone()).collect();
        // What is neither open nor wrong is forgotten.
        now.retain(|_, found| found.version.is_some() || !found.diagnostics.is_empty());
        self.told = now;
        news
    }
}

/// A script with what was found in it and in the files it includes.
struct Judged<'a> {
    workspace: &'a Workspace,
    document: &'a Document,
}

impl Judged<'_> {
    fn add_to(&self, files: &mut BTreeMap<String, PublishDiagnosticsParams>) {
        let study = &self.document.study;
        let mut texts: BTreeMap<SourceId, Text> = BTreeMap::new();
        for found in study.diagnostics.iter().cloned().chain(self.of_includes()) {
            let top = Span::new(SourceId(0), 0, 0);
            let mut found = found;
            // What stands in no file of the script (in a plan that it runs) is told at its top.
            if found.span().is_none_or(|span| self.uri(span.source).is_none()) {
                found.labels.insert(0, Label { span: top, text: String::new() });
            }
            let span = found.span().unwrap_or(top);
            let Some(uri) = self.uri(span.source) else { continue };
            let encoding = self.workspace.encoding;
            let text = texts.entry(span.source).or_insert_with(|| text_of(&study.sources, span, encoding));
            let diagnostic = convert::diagnostic(&found, text, &|span| self.location(span, encoding));
            let file = files
                .entry(uri.as_str().into())
                .or_insert_with(|| PublishDiagnosticsParams::new(uri, vec![], None));
            if !file.diagnostics.contains(&diagnostic) {
                file.diagnostics.push(diagnostic);
            }
        }
    }

    /// A mistake in an included file shows where it is included, too.
    fn of_includes(&self) -> Vec<Diagnostic> {
        let study = &self.document.study;
        let summary = |included: &Included| {
            let inside = |found: &&Diagnostic| {
                found.is_error() && found.span().map(|span| span.source) == included.source
            };
            let mistakes: Vec<&Diagnostic> = study.diagnostics.iter().filter(inside).collect();
            let first = mistakes.first()?;
            let name = study.sources.text(included.at).trim_matches('"');
            let message =
                format!("`{name}` has {}: {}", counted(mistakes.len() as u64, "mistake"), first.message);
            Some(
                Diagnostic::error(codes::INCLUDE, message)
                    .at(included.at)
                    .label(first.span()?, "the first one"),
            )
        };
        study.included.iter().filter_map(summary).collect()
    }

    /// The file of a source; a text that is no file of the script has none.
    fn uri(&self, source: SourceId) -> Option<Uri> {
        if source == SourceId(0) {
            return Some(self.document.uri.clone());
        }
        let of_source = |included: &&Included| included.source == Some(source);
        let included = self.document.study.included.iter().find(of_source)?;
        let open = self.workspace.at_path(&included.file).map(|open| open.uri.clone());
        open.or_else(|| uri_of(&included.file))
    }

    fn location(&self, span: Span, encoding: Encoding) -> Option<Location> {
        let uri = self.uri(span.source)?;
        Some(Location { uri, range: text_of(&self.document.study.sources, span, encoding).range_of(span) })
    }
}
