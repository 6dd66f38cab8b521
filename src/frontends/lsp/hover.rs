//! What the word under the pointer means.

use crate::assist::inspection::inspect;
use crate::frontends::lsp::workspace::{Document, Workspace};
use lsp_types::{Hover, HoverContents, HoverParams, MarkupContent, MarkupKind};

pub fn hover(
    workspace: &Workspace,
    document: &Document,
    params: HoverParams,
) -> Result<Option<Hover>, String> {
    let text = &document.text;
    let cursor = text.offset(params.text_document_position_params.position);
    let known = workspace.known(document, cursor);
    Ok(inspect(&text.text, cursor, &known).map(|found| Hover {
        contents: HoverContents::Markup(MarkupContent { kind: MarkupKind::Markdown, value: found.markdown }),
        range: Some(text.range(found.range)),
    }))
}
