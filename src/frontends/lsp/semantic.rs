//! Colours: what the prompt colours, and names by what they stand for.

use crate::assist::highlight::{Role, highlight};
use crate::assist::names::Names;
use crate::frontends::lsp::positions::{Encoding, Text};
use crate::frontends::lsp::workspace::{Document, Workspace};
use crate::language::scope::NameKind;
use lsp_types::{
    SemanticToken, SemanticTokenModifier, SemanticTokenType, SemanticTokens, SemanticTokensLegend,
    SemanticTokensParams,
};
use std::ops::Range;

/// The types in the order of their numbers.
const TYPES: &[SemanticTokenType] = &[
    SemanticTokenType::KEYWORD,
    SemanticTokenType::PROPERTY,
    SemanticTokenType::NUMBER,
    SemanticTokenType::OPERATOR,
    SemanticTokenType::STRING,
    SemanticTokenType::COMMENT,
    SemanticTokenType::CLASS,
    SemanticTokenType::STRUCT,
    SemanticTokenType::VARIABLE,
    SemanticTokenType::PARAMETER,
    SemanticTokenType::FUNCTION,
];

const DEFINITION: u32 = 1;

pub fn legend() -> SemanticTokensLegend {
    SemanticTokensLegend {
        token_types: TYPES.to_vec(),
        token_modifiers: vec![SemanticTokenModifier::DEFINITION],
    }
}

/// A piece of text, its type and its modifiers.
type Piece = (Range<usize>, SemanticTokenType, u32);

pub fn tokens(
    workspace: &Workspace,
    document: &Document,
    _: SemanticTokensParams,
) -> Result<SemanticTokens, String> {
    let text = &document.text.text;
    let names = Names::of([&document.parsed().script]);
    let named = names.all().iter().map(|mention| {
        let modifier = if mention.defines.is_some() { DEFINITION } else { 0 };
        (mention.span.range(), of_name(mention.kind), modifier)
    });
    let coloured = highlight(text).into_iter().filter_map(|(range, role)| Some((range, of_role(role)?, 0)));
    let mut pieces: Vec<Piece> = coloured.chain(named).collect();
    pieces.sort_by_key(|(range, ..)| range.start);
    Ok(SemanticTokens { result_id: None, data: encoded(&document.text, &pieces, workspace.encoding) })
}

fn of_role(role: Role) -> Option<SemanticTokenType> {
    Some(match role {
        Role::Statement => SemanticTokenType::KEYWORD,
        Role::Setting => SemanticTokenType::PROPERTY,
        Role::Number => SemanticTokenType::NUMBER,
        Role::Unit => SemanticTokenType::OPERATOR,
        Role::Text => SemanticTokenType::STRING,
        Role::Comment => SemanticTokenType::COMMENT,
        Role::Broken | Role::Plain => return None,
    })
}

fn of_name(kind: NameKind) -> SemanticTokenType {
    match kind {
        NameKind::Model => SemanticTokenType::CLASS,
        NameKind::Data => SemanticTokenType::STRUCT,
        NameKind::Run => SemanticTokenType::VARIABLE,
        NameKind::Variable => SemanticTokenType::PARAMETER,
        NameKind::Schedule | NameKind::Metric | NameKind::Transform => SemanticTokenType::FUNCTION,
    }
}

/// Each token from the one before it; a text over lines is a token a line, and what lies in another token is left out.
fn encoded(text: &Text, pieces: &[Piece], encoding: Encoding) -> Vec<SemanticToken> {
    let mut data = vec![];
    let (mut line, mut column, mut end) = (0, 0, 0);
    for (range, kind, modifiers) in pieces {
        if range.start < end {
            continue;
        }
        end = range.end;
        let mut start = range.start;
        for written in text.text[range.clone()].split('\n') {
            let place = text.position(start);
            let length = encoding.length(written.trim_end_matches('\r'));
            start += written.len() + 1;
            if length == 0 {
                continue;
            }
            let delta_start = if place.line == line { place.character - column } else { place.character };
            data.push(SemanticToken {
                delta_line: place.line - line,
                delta_start,
                length,
                token_type: TYPES.iter().position(|known| known == kind).unwrap_or(0) as u32,
                token_modifiers_bitset: *modifiers,
            });
            (line, column) = (place.line, place.character);
        }
    }
    data
}
