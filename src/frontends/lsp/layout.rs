//! The script as `ltune fmt` writes it, line by line.

use crate::assist::layout::{Edit, edits};
use crate::frontends::lsp::workspace::{Document, Workspace};
use lsp_types::{DocumentFormattingParams, DocumentRangeFormattingParams, TextEdit};

pub fn formatting(
    _: &Workspace,
    document: &Document,
    _: DocumentFormattingParams,
) -> Result<Vec<TextEdit>, String> {
    let edits = line_edits(document)?;
    Ok(edits.into_iter().map(|edit| document.text.edit(edit.range, edit.text)).collect())
}

/// The lines that the range touches.
pub fn range_formatting(
    _: &Workspace,
    document: &Document,
    params: DocumentRangeFormattingParams,
) -> Result<Vec<TextEdit>, String> {
    let (first, last) = (params.range.start.line, params.range.end.line);
    // A range that ends before the first letter of a line does not touch it.
    let last = if params.range.end.character == 0 && last > first { last - 1 } else { last };
    let edits = line_edits(document)?.into_iter().map(|edit| document.text.edit(edit.range, edit.text));
    Ok(edits.filter(|edit| (first..=last).contains(&edit.range.start.line)).collect())
}

fn line_edits(document: &Document) -> Result<Vec<Edit>, String> {
    edits(&document.text.text).map_err(|diagnostics| {
        let found = diagnostics.iter().find(|found| found.is_error()).or(diagnostics.first());
        let start = found.and_then(|found| found.span()).map_or(0, |span| span.start as usize);
        let line = document.text.position(start).line + 1;
        let message = found.map_or("it cannot be read", |found| found.message.as_str());
        format!("nothing was formatted: line {line} has a syntax error: {message}")
    })
}
