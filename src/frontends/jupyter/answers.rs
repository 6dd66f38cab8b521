//! What is answered at once, also while a cell trains: completion, inspection, whether a cell is whole, who we are.

use crate::assist::completion::{CandidateKind, complete};
use crate::assist::inspection::{Inspection, inspect};
use crate::assist::known::Known;
use crate::frontends::jupyter::shared::Shared;
use crate::language::complete::{Completeness, complete as completeness};
use jupyter_protocol::{
    CodeMirrorMode, CommInfoReply, CompleteReply, CompleteRequest, HelpLink, InspectReply, InspectRequest,
    IsCompleteReply, JupyterMessageContent, KernelInfoReply, LanguageInfo, Media, MediaType, ReplyStatus,
};
use serde_json::json;

/// The reply to a request that runs nothing; none for what asks for no reply.
pub fn answer(request: &JupyterMessageContent, shared: &Shared) -> Option<JupyterMessageContent> {
    Some(match request {
        JupyterMessageContent::KernelInfoRequest(_) => kernel_info().into(),
        JupyterMessageContent::CompleteRequest(request) => completion(request, &shared.known()).into(),
        JupyterMessageContent::InspectRequest(request) => inspection(request, &shared.known()).into(),
        JupyterMessageContent::IsCompleteRequest(request) => is_complete(&request.code).into(),
        JupyterMessageContent::HistoryRequest(request) => shared.history().answer(request).into(),
        JupyterMessageContent::CommInfoRequest(_) => CommInfoReply::default().into(),
        _ => return None,
    })
}

fn kernel_info() -> KernelInfoReply {
    let version = env!("CARGO_PKG_VERSION");
    KernelInfoReply {
        status: ReplyStatus::Ok,
        protocol_version: "5.3".into(),
        implementation: "ltune".into(),
        implementation_version: version.into(),
        language_info: LanguageInfo {
            name: "ltune".into(),
            version: version.into(),
            mimetype: Some("text/x-ltune".into()),
            file_extension: Some(".ltune".into()),
            // No one else's highlighting knows our words. This one reads comments, strings and numbers as we do, tells
            // the name of a setting from its value, takes nothing for a mistake, and indents after a brace; only three
            // shares, `80% / 10% / 10%`, it colours as a pattern.
            pygments_lexer: Some("coffeescript".into()),
            codemirror_mode: Some(CodeMirrorMode::Simple("coffeescript".into())),
            nbconvert_exporter: None,
        },
        banner: format!(
            "ltune {version}, libtorch {}\n`help` lists the statements, `step?` explains one",
            crate::torch::processor::torch_version()
        ),
        help_links: vec![HelpLink {
            text: "Low-rank adaptation (LoRA)".into(),
            url: "https://arxiv.org/abs/2106.09685".into(),
        }],
        debugger: false,
        error: None,
    }
}

fn completion(request: &CompleteRequest, known: &Known) -> CompleteReply {
    let (text, cursor) = (request.code.as_str(), byte_at(&request.code, request.cursor_pos));
    let found = complete(text, cursor, known);
    let (start, end) = (characters(text, found.range.start), characters(text, found.range.end));
    let kinds = found.candidates.iter().map(|candidate| {
        json!({ "start": start, "end": end, "text": candidate.text, "type": kind(candidate.kind),
                "signature": candidate.summary })
    });
    let mut metadata = serde_json::Map::new();
    metadata.insert("_jupyter_types_experimental".into(), kinds.collect::<Vec<_>>().into());
    CompleteReply {
        matches: found.candidates.iter().map(|candidate| candidate.text.clone()).collect(),
        cursor_start: start,
        cursor_end: end,
        metadata,
        status: ReplyStatus::Ok,
        error: None,
    }
}

/// The words that front ends have pictures for.
fn kind(kind: CandidateKind) -> &'static str {
    match kind {
        CandidateKind::Statement | CandidateKind::Clause => "keyword",
        CandidateKind::Setting | CandidateKind::Column => "property",
        CandidateKind::Function => "function",
        CandidateKind::File | CandidateKind::Folder | CandidateKind::Sample => "path",
        CandidateKind::Model | CandidateKind::Data | CandidateKind::Run | CandidateKind::Value => "instance",
        CandidateKind::Word | CandidateKind::Unit | CandidateKind::Step => "constant",
    }
}

fn inspection(request: &InspectRequest, known: &Known) -> InspectReply {
    match inspect(&request.code, byte_at(&request.code, request.cursor_pos), known) {
        Some(found) => InspectReply { found: true, data: pages(&found), ..InspectReply::default() },
        None => InspectReply::default(),
    }
}

/// What is known of a word, for those who show Markdown and those who do not.
pub fn pages(found: &Inspection) -> Media {
    Media::new(vec![MediaType::Plain(found.text.clone()), MediaType::Markdown(found.markdown.clone())])
}

fn is_complete(code: &str) -> IsCompleteReply {
    match completeness(code) {
        Completeness::Complete => IsCompleteReply::complete(),
        Completeness::Incomplete { indent } => IsCompleteReply::incomplete(" ".repeat(indent)),
        Completeness::Invalid => IsCompleteReply::invalid(),
    }
}

/// Cursors count characters.
fn byte_at(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}

fn characters(text: &str, byte: usize) -> usize {
    text[..text.floor_char_boundary(byte)].chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_count_characters() {
        let text = "print \"日本\"; ste";
        let request = CompleteRequest { code: text.into(), cursor_pos: text.chars().count() };
        let reply = completion(&request, &Known::default());
        assert_eq!((reply.matches, reply.cursor_start, reply.cursor_end), (vec!["step".into()], 12, 15));
    }

    #[test]
    fn an_open_bracket_asks_for_more() {
        assert_eq!(is_complete("tune a {").indent, "  ");
    }
}
