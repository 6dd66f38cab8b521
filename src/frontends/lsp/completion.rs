//! Candidates with what they mean, from `assist`.

use crate::assist::completion::{Candidate, CandidateKind, complete};
use crate::assist::inspection::meaning;
use crate::assist::known::Known;
use crate::assist::place::{Place, Wanted, place};
use crate::frontends::lsp::positions::Text;
use crate::frontends::lsp::workspace::{Document, Workspace};
use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionList, CompletionParams, CompletionTextEdit, Documentation,
    MarkupContent, MarkupKind,
};

pub fn completion(
    workspace: &Workspace,
    document: &Document,
    params: CompletionParams,
) -> Result<CompletionList, String> {
    let text = &document.text;
    let cursor = text.offset(params.text_document_position.position);
    let Some(place) = place(&text.text, cursor).filter(|place| is_welcome(&params, place)) else {
        return Ok(CompletionList::default());
    };
    let known = workspace.known(document, cursor);
    let found = complete(&text.text, cursor, &known);
    let asked = Asked { text, cursor, place: &place, known: &known };
    let items =
        found.candidates.iter().enumerate().map(|(index, candidate)| asked.item(index, candidate)).collect();
    // Peers' names lead to ours: only here is it known what fits, so each key is asked again.
    Ok(CompletionList { is_incomplete: true, items })
}

/// A blank asks for what must follow it, not for all that may begin there.
fn is_welcome(params: &CompletionParams, place: &Place) -> bool {
    let trigger = params.context.as_ref().and_then(|context| context.trigger_character.as_deref());
    let follows =
        |wanted: &Wanted| !matches!(wanted, Wanted::Statement | Wanted::Setting(..) | Wanted::Expression);
    match trigger {
        Some(" ") => place.wanted.iter().any(follows),
        Some("=" | "/") => place.quoted || place.value.is_some(),
        _ => true,
    }
}

struct Asked<'a> {
    text: &'a Text,
    cursor: usize,
    place: &'a Place<'a>,
    known: &'a Known,
}

impl Asked<'_> {
    fn item(&self, index: usize, candidate: &Candidate) -> CompletionItem {
        let written = self.place.written;
        let begins = candidate.text.starts_with(written);
        let edit = self.text.edit(self.place.range.clone(), candidate.text.clone() + self.tail(candidate));
        CompletionItem {
            label: candidate.text.clone(),
            kind: Some(kind(candidate.kind)),
            detail: (!candidate.summary.is_empty()).then(|| candidate.summary.clone()),
            documentation: self.documentation(candidate),
            // An editor drops what does not begin with what is written: this was chosen nevertheless.
            filter_text: (!begins).then(|| written.to_string()),
            sort_text: Some(format!("{index:04}")),
            text_edit: Some(CompletionTextEdit::Edit(edit)),
            ..CompletionItem::default()
        }
    }

    /// A setting is followed by its `=`, unless it has one already.
    fn tail(&self, candidate: &Candidate) -> &'static str {
        let is_setting = candidate.kind == CandidateKind::Setting;
        let is_topic = candidate.text.contains('.');
        let rest = &self.text.text[self.cursor..];
        let rest = rest.trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_');
        let is_given = rest.trim_start_matches([' ', '\t']).starts_with('=');
        if is_setting && !is_topic && !is_given { " = " } else { "" }
    }

    fn documentation(&self, candidate: &Candidate) -> Option<Documentation> {
        use CandidateKind::{Clause, Data, Model, Run, Setting, Statement, Value, Word};
        let has_meaning =
            matches!(candidate.kind, Clause | Data | Model | Run | Setting | Statement | Value | Word);
        if !has_meaning || self.place.quoted {
            return None;
        }
        let value = meaning(&candidate.text, self.place, self.known)?.markdown;
        Some(Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value }))
    }
}

fn kind(kind: CandidateKind) -> CompletionItemKind {
    match kind {
        CandidateKind::Statement => CompletionItemKind::KEYWORD,
        CandidateKind::Setting => CompletionItemKind::PROPERTY,
        CandidateKind::Word => CompletionItemKind::ENUM_MEMBER,
        CandidateKind::Model => CompletionItemKind::CLASS,
        CandidateKind::Data => CompletionItemKind::STRUCT,
        CandidateKind::Run => CompletionItemKind::VARIABLE,
        CandidateKind::Value => CompletionItemKind::CONSTANT,
        CandidateKind::Unit => CompletionItemKind::UNIT,
        CandidateKind::Function => CompletionItemKind::FUNCTION,
        CandidateKind::Clause => CompletionItemKind::KEYWORD,
        CandidateKind::Column => CompletionItemKind::FIELD,
        CandidateKind::File => CompletionItemKind::FILE,
        CandidateKind::Folder => CompletionItemKind::FOLDER,
        CandidateKind::Sample => CompletionItemKind::MODULE,
        CandidateKind::Step => CompletionItemKind::VALUE,
    }
}
