//! Which part of a text is what, for those who colour it: by the lexer, so that half a statement has colours too.

use crate::assist::place::form;
use crate::language::lexer::{Token, TokenKind, tokens};
use crate::language::rust_text::{Colour, colours};
use crate::language::tree::PREPOSITIONS;
use crate::units::Unit;
use serde::Serialize;
use std::ops::Range;

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The word that begins a statement, or a preposition in it.
    Statement,
    /// The name of a setting.
    Setting,
    Number,
    Unit,
    Text,
    Comment,
    /// What is no part of the language.
    Broken,
    Plain,
}

/// The pieces of the text that have a role; what lies between has none.
pub fn highlight(text: &str) -> Vec<(Range<usize>, Role)> {
    let tokens = tokens(text);
    let mut pieces = vec![];
    let mut walk = Walk::default();
    for (index, token) in tokens.iter().enumerate() {
        let role = walk.role(text, &tokens, index);
        walk.pass(text, token);
        if token.kind == TokenKind::Rust {
            pieces.extend(rust(token.text(text), token.range.start));
        }
        if role != Role::Plain {
            pieces.push((token.range.clone(), role));
        }
    }
    pieces
}

/// The pieces of the Rust that begins at this place.
fn rust(text: &str, start: usize) -> impl Iterator<Item = (Range<usize>, Role)> {
    colours(text).into_iter().map(move |(range, colour)| {
        let role = match colour {
            Colour::Comment => Role::Comment,
            Colour::Text => Role::Text,
            Colour::Number => Role::Number,
            Colour::Keyword => Role::Statement,
        };
        (start + range.start..start + range.end, role)
    })
}

/// Where in the statements a token stands.
#[derive(Default)]
struct Walk<'a> {
    open: Vec<&'a str>,
    /// The first word of the statement has passed.
    begun: bool,
    /// Depth of the block whose lines are statements again: that of `repeat`.
    repeats: Vec<usize>,
    is_repeat: bool,
}

impl<'a> Walk<'a> {
    fn in_statements(&self) -> bool {
        self.open.is_empty() || self.repeats.last() == Some(&self.open.len())
    }

    fn role(&self, text: &str, tokens: &[Token], index: usize) -> Role {
        let token = &tokens[index];
        match token.kind {
            TokenKind::Number => Role::Number,
            TokenKind::Text | TokenKind::UnclosedText => Role::Text,
            TokenKind::Comment => Role::Comment,
            TokenKind::Name => self.name(text, tokens, index),
            TokenKind::Operator if token.text(text) == "%" => Role::Unit,
            kind if kind.is_broken() => Role::Broken,
            _ => Role::Plain,
        }
    }

    fn name(&self, text: &str, tokens: &[Token], index: usize) -> Role {
        let word = tokens[index].text(text);
        let next = tokens.get(index + 1).map(|next| next.kind);
        let is_first = self.in_statements() && !self.begun;
        if is_first && (form(word).is_some() || word == "repeat") {
            return Role::Statement;
        }
        if !self.in_statements() && next == Some(TokenKind::Equals) {
            return Role::Setting;
        }
        if index > 0 && tokens[index - 1].kind == TokenKind::Number && Unit::parse(word).is_some() {
            return Role::Unit;
        }
        if self.in_statements()
            && self.begun
            && PREPOSITIONS.contains(&word)
            && next != Some(TokenKind::Equals)
        {
            return Role::Statement;
        }
        Role::Plain
    }

    fn pass(&mut self, text: &'a str, token: &Token) {
        let word = token.text(text);
        match token.kind {
            TokenKind::Open => {
                self.open.push(word);
                if self.is_repeat && word == "{" {
                    self.repeats.push(self.open.len());
                    (self.is_repeat, self.begun) = (false, false);
                }
            }
            TokenKind::Close => {
                if self.repeats.last() == Some(&self.open.len()) {
                    self.repeats.pop();
                }
                self.open.pop();
            }
            TokenKind::Newline | TokenKind::Semicolon if self.in_statements() => self.begun = false,
            TokenKind::Comment | TokenKind::Newline | TokenKind::Semicolon => {}
            _ if self.in_statements() && !self.begun => {
                self.begun = true;
                self.is_repeat = word == "repeat";
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(text: &str) -> Vec<(&str, Role)> {
        highlight(text).into_iter().map(|(range, role)| (&text[range], role)).collect()
    }

    #[test]
    fn statements_settings_numbers_units_and_texts_are_told_apart() {
        use Role::{Comment, Number, Setting, Statement, Text, Unit};
        assert_eq!(
            roles("tune a { max = 512 tokens; from = \"x\" } # end\nplot loss of a to \"l.svg\""),
            [
                ("tune", Statement),
                ("max", Setting),
                ("512", Number),
                ("tokens", Unit),
                ("from", Setting),
                ("\"x\"", Text),
                ("# end", Comment),
                ("plot", Statement),
                ("of", Statement),
                ("to", Statement),
                ("\"l.svg\"", Text),
            ]
        );
    }

    #[test]
    fn words_that_begin_no_statement_stay_plain() {
        assert_eq!(roles("stepp a"), []);
        assert_eq!(roles("show step"), [("show", Role::Statement)]);
        assert_eq!(
            roles("repeat 2 { step a }\nstep"),
            [
                ("repeat", Role::Statement),
                ("2", Role::Number),
                ("step", Role::Statement),
                ("step", Role::Statement),
            ]
        );
    }

    #[test]
    fn rust_in_a_block_has_its_own_colours() {
        use Role::{Comment, Number, Statement, Text};
        assert_eq!(
            roles("rust { // x\nfn a() { \"}\"; 1.5 } }\nstep a"),
            [
                ("rust", Statement),
                ("// x", Comment),
                ("fn", Statement),
                ("\"}\"", Text),
                ("1", Number),
                ("5", Number),
                ("step", Statement),
            ]
        );
    }

    #[test]
    fn what_is_broken_is_marked() {
        assert_eq!(roles("print 'a'"), [("print", Role::Statement), ("'a'", Role::Broken)]);
        assert_eq!(roles("print \"a"), [("print", Role::Statement), ("\"a", Role::Text)]);
    }
}
