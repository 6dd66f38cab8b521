//! What the grammar matched becomes the syntax tree, with spans in the whole text and the comments that belong to it.

use crate::events::{Diagnostic, SourceId, Span};
use crate::language::codes;
use crate::language::grammar::{Grammar, Rule};
use crate::language::lexer::{Token, TokenKind};
use crate::language::texts::{unescaped, unquoted};
use crate::language::tree::{
    Block, Comment, Comparison, Entry, Expr, ExprKind, Operator, Phrase, Piece, Spanned, Statement,
    StatementKind, Verb,
};
use pest::Parser;
use pest::iterators::Pair;
use std::ops::Range;

/// More operators in one sum than this are refused, so that no tree is too deep to walk.
const LONGEST_SUM: usize = 100;

/// Builds trees from the pairs of a slice that begins at `offset`.
pub struct Builder<'a> {
    pub text: &'a str,
    pub tokens: &'a [Token],
    pub source: SourceId,
    pub offset: usize,
    pub diagnostics: &'a mut Vec<Diagnostic>,
}

impl Builder<'_> {
    fn span(&self, pair: &Pair<Rule>) -> Span {
        let span = pair.as_span();
        Span::new(self.source, self.offset + span.start(), self.offset + span.end())
    }

    fn spanned(&self, pair: &Pair<Rule>) -> Spanned<String> {
        Spanned::new(pair.as_str().to_string(), self.span(pair))
    }

    /// From the first to the last token of a pair, without the blanks and comments that pest takes with it.
    fn tight(&self, pair: &Pair<Rule>) -> Span {
        let span = self.span(pair);
        let end = self.tokens.partition_point(|token| token.range.start < span.end as usize);
        let is_content = |token: &&Token| !matches!(token.kind, TokenKind::Newline | TokenKind::Comment);
        match self.tokens[..end].iter().rev().find(is_content) {
            Some(last) if last.range.start >= span.start as usize => {
                Span { end: last.range.end as u32, ..span }
            }
            _ => Span { end: span.start + pair.as_str().trim_end().len() as u32, ..span },
        }
    }

    /// The comments between two places.
    pub fn comments(&self, range: Range<usize>) -> Vec<Comment> {
        let first = self.tokens.partition_point(|token| token.range.start < range.start);
        let inside = self.tokens[first..].iter().take_while(|token| token.range.start < range.end);
        inside.filter(|token| token.kind == TokenKind::Comment).map(|token| self.comment(token)).collect()
    }

    /// The comment after a place on the same line, with nothing but `;` before it.
    pub fn trailing(&self, end: usize) -> Option<Comment> {
        let first = self.tokens.partition_point(|token| token.range.start < end);
        let token = self.tokens[first..].iter().find(|token| token.kind != TokenKind::Semicolon)?;
        (token.kind == TokenKind::Comment).then(|| self.comment(token))
    }

    fn comment(&self, token: &Token) -> Comment {
        let text = token.text(self.text).trim_end().to_string();
        Spanned::new(text, Span::new(self.source, token.range.start, token.range.end))
    }

    /// A statement; its leading comments are those after `previous`, the end of the statement before it.
    pub fn statement(&mut self, pair: Pair<Rule>, previous: usize) -> Statement {
        let span = self.tight(&pair);
        let leading = self.comments(previous..span.start as usize);
        let trailing = self.trailing(span.end as usize);
        let inner = only_child(pair);
        let kind = match inner.as_rule() {
            Rule::version => self.version(inner),
            Rule::naming => self.naming(inner),
            Rule::include => self.include(inner),
            Rule::repeat => self.repeat(inner),
            Rule::rust => self.rust(inner),
            Rule::definition => self.definition(inner),
            Rule::verb => StatementKind::Verb(self.verb(inner)),
            other => unreachable!("`statement` has no alternative {other:?}"),
        };
        Statement { span, kind, leading, trailing }
    }

    fn version(&mut self, pair: Pair<Rule>) -> StatementKind {
        let number = child(pair, Rule::number);
        let span = self.span(&number);
        match number.as_str().parse() {
            Ok(version) => StatementKind::Version(Spanned::new(version, span)),
            Err(_) => {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::MISPLACED_VERSION,
                        "the version of the language is a whole number",
                    )
                    .at(span)
                    .fix(span, "1", "write `ltune 1`"),
                );
                StatementKind::Version(Spanned::new(1, span))
            }
        }
    }

    fn naming(&mut self, pair: Pair<Rule>) -> StatementKind {
        let mut name = None;
        let mut value = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.spanned(&part)),
                Rule::expression => value = Some(self.expression(part)),
                _ => {}
            }
        }
        let (Some(name), Some(value)) = (name, value) else {
            unreachable!("`naming` has a name and a value")
        };
        StatementKind::Let { name, value }
    }

    fn include(&mut self, pair: Pair<Rule>) -> StatementKind {
        let text = child(pair, Rule::text);
        let span = self.span(&text);
        StatementKind::Include { path: Spanned::new(unquoted(text.as_str()), span) }
    }

    fn repeat(&mut self, pair: Pair<Rule>) -> StatementKind {
        let span = self.tight(&pair);
        let mut parts = pair.into_inner().filter(|part| part.as_rule() != Rule::repeat_word);
        let (Some(count), Some(body)) = (parts.next(), parts.next()) else {
            unreachable!("`repeat` has a count and a body")
        };
        let count = self.expression(count);
        let (body, dangling) = self.body(body);
        StatementKind::Repeat { count, body, dangling, span }
    }

    fn rust(&mut self, pair: Pair<Rule>) -> StatementKind {
        let mut parts = pair.into_inner();
        let (Some(word), Some(text)) = (parts.next(), parts.next()) else {
            unreachable!("`rust` has a word and a text")
        };
        StatementKind::Rust { word: self.spanned(&word), text: self.spanned(&text) }
    }

    fn body(&mut self, pair: Pair<Rule>) -> (Vec<Statement>, Vec<Comment>) {
        let span = self.tight(&pair);
        let mut previous = span.start as usize + 1;
        let mut statements = vec![];
        for part in pair.into_inner() {
            let statement = self.statement(part, previous);
            previous = end_with_comment(statement.span, &statement.trailing);
            statements.push(statement);
        }
        (statements, self.comments(previous..span.end as usize))
    }

    fn definition(&mut self, pair: Pair<Rule>) -> StatementKind {
        let mut parts = pair.into_inner();
        let (Some(noun), Some(name), Some(block)) = (parts.next(), parts.next(), parts.next()) else {
            unreachable!("`definition` has a noun, a name and a block")
        };
        let (noun, name) = (self.spanned(&noun), self.spanned(&name));
        StatementKind::Definition { noun, name, block: self.block(block) }
    }

    pub fn verb(&mut self, pair: Pair<Rule>) -> Verb {
        let mut parts = pair.into_inner();
        let word = parts.next().map(|word| self.spanned(&word)).expect("`verb` begins with a name");
        let mut phrases = vec![];
        let mut block = None;
        for part in parts {
            match part.as_rule() {
                Rule::phrase | Rule::clause => phrases.push(self.phrase(part)),
                Rule::block => block = Some(self.block(part)),
                other => unreachable!("`verb` has no part {other:?}"),
            }
        }
        phrases.retain(|phrase| phrase.preposition.is_some() || !phrase.groups.is_empty());
        Verb { word, phrases, block }
    }

    fn phrase(&mut self, pair: Pair<Rule>) -> Phrase {
        let mut phrase = Phrase { preposition: None, groups: vec![] };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::preposition => phrase.preposition = Some(self.spanned(&part)),
                _ => phrase.groups.push(part.into_inner().map(|value| self.expression(value)).collect()),
            }
        }
        phrase
    }

    pub fn block(&mut self, pair: Pair<Rule>) -> Block {
        let span = self.tight(&pair);
        let mut previous = span.start as usize + 1;
        let mut entries = vec![];
        for part in pair.into_inner() {
            let entry = self.entry(part, previous);
            previous = end_with_comment(entry.span(), &entry.trailing);
            entries.push(entry);
        }
        Block { span, entries, dangling: self.comments(previous..span.end as usize), damaged: false }
    }

    pub fn entry(&mut self, pair: Pair<Rule>, previous: usize) -> Entry {
        let mut parts = pair.into_inner();
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            unreachable!("`entry` has a name and a value")
        };
        let name = self.spanned(&name);
        let value = self.expression(value);
        let leading = self.comments(previous..name.span.start as usize);
        let trailing = self.trailing(value.span.end as usize);
        Entry { name, value, leading, trailing }
    }

    /// An `expression`, a `nested` or an `argument`.
    pub fn expression(&mut self, pair: Pair<Rule>) -> Expr {
        let mut parts = pair.into_inner();
        let first = parts.next().expect("a value begins with a sum");
        let mut value = self.sum(first);
        for part in parts {
            value = match part.as_rule() {
                Rule::range_end | Rule::nested_range_end | Rule::argument_range_end => {
                    let end = self.sum(only_child(part));
                    let span = value.span.to(end.span);
                    Expr::new(
                        ExprKind::Range { start: Box::new(value), end: Box::new(end), step: None },
                        span,
                    )
                }
                Rule::range_step | Rule::nested_range_step | Rule::argument_range_step => {
                    let by = part.into_inner().next_back().expect("a step has a sum");
                    let by = self.sum(by);
                    let span = value.span.to(by.span);
                    match value.kind {
                        ExprKind::Range { start, end, .. } => {
                            Expr::new(ExprKind::Range { start, end, step: Some(Box::new(by)) }, span)
                        }
                        _ => unreachable!("a step follows a range"),
                    }
                }
                Rule::comparison_end | Rule::nested_comparison_end | Rule::argument_comparison_end => {
                    let mut sides = part.into_inner();
                    let (Some(sign), Some(right)) = (sides.next(), sides.next()) else {
                        unreachable!("a comparison has a sign and a sum")
                    };
                    let right = self.sum(right);
                    let span = value.span.to(right.span);
                    let comparison = comparison(sign.as_str());
                    let (left, right) = (Box::new(value), Box::new(right));
                    Expr::new(ExprKind::Compare { comparison, left, right }, span)
                }
                other => unreachable!("a value has no part {other:?}"),
            };
        }
        value
    }

    /// Operands and operators in a row become a tree by the strength of the operators.
    fn sum(&mut self, pair: Pair<Rule>) -> Expr {
        let mut operands = vec![];
        let mut operators = vec![];
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::operand | Rule::argument_operand => operands.push(self.operand(part)),
                _ => operators.push(part.as_str().trim().to_string()),
            }
        }
        if operators.len() > LONGEST_SUM {
            let span = operands[0].span.to(operands[operands.len() - 1].span);
            let message = format!(
                "{} operators in one value are more than the {LONGEST_SUM} that are read",
                operators.len()
            );
            let note = "give a part of it a name with `let`";
            self.diagnostics.push(Diagnostic::error(codes::TOO_LONG, message).at(span).note(note));
            operators.clear();
            operands.truncate(1);
        }
        if !operators.is_empty() && operators.iter().all(|sign| sign == "/") && operands.iter().all(is_share)
        {
            let span = operands[0].span.to(operands[operands.len() - 1].span);
            return Expr::new(ExprKind::Ratio(operands), span);
        }
        let mut operands = operands.into_iter();
        let first = operands.next().expect("a sum has an operand");
        climb(first, &mut operators.iter().map(String::as_str).zip(operands).peekable(), 0)
    }

    fn operand(&mut self, pair: Pair<Rule>) -> Expr {
        let mut sign = None;
        for part in pair.into_inner() {
            if part.as_rule() == Rule::sign {
                sign = Some(self.spanned(&part));
                continue;
            }
            let value = self.value(part);
            return match sign {
                Some(sign) if sign.node == "-" => {
                    let span = sign.span.to(value.span);
                    Expr::new(ExprKind::Negate(Box::new(value)), span)
                }
                _ => value,
            };
        }
        unreachable!("an operand has a value")
    }

    fn value(&mut self, pair: Pair<Rule>) -> Expr {
        let span = self.tight(&pair);
        match pair.as_rule() {
            Rule::quantity => self.quantity(pair),
            Rule::text => self.text(pair),
            Rule::list => {
                let values = pair.into_inner().map(|value| self.expression(value)).collect();
                Expr::new(ExprKind::List(values), span)
            }
            Rule::paren => {
                let inner = self.expression(only_child(pair));
                Expr::new(ExprKind::Paren(Box::new(inner)), span)
            }
            Rule::block => Expr::new(ExprKind::Block(self.block(pair)), span),
            Rule::named | Rule::call => self.named(pair),
            other => unreachable!("a value is never {other:?}"),
        }
    }

    fn quantity(&mut self, pair: Pair<Rule>) -> Expr {
        let mut parts = pair.into_inner();
        let number = parts.next().expect("a quantity begins with a number");
        let number_span = self.span(&number);
        let (value, whole) = self.number(number.as_str(), number_span);
        match parts.next() {
            Some(unit) => {
                let unit = self.spanned(&unit);
                let span = number_span.to(unit.span);
                Expr::new(ExprKind::Quantity { value, whole, unit }, span)
            }
            None => Expr::new(ExprKind::Number { value, whole }, number_span),
        }
    }

    fn number(&mut self, written: &str, span: Span) -> (f64, Option<i64>) {
        let digits = written.replace('_', "");
        let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
        let value: f64 = digits.parse().unwrap_or(f64::INFINITY);
        let whole = if is_whole { digits.parse().ok() } else { None };
        if !value.is_finite() || (is_whole && whole.is_none()) {
            let largest = if is_whole { i64::MAX.to_string() } else { "1.8e308".into() };
            let message = format!("`{written}` is too large; the largest number is {largest}");
            self.diagnostics.push(Diagnostic::error(codes::UNREADABLE_NUMBER, message).at(span));
            return (f64::MAX, None);
        }
        (value, whole)
    }

    fn text(&mut self, pair: Pair<Rule>) -> Expr {
        let span = self.span(&pair);
        let literal = only_child(pair);
        if literal.as_rule() != Rule::formatted {
            return Expr::new(ExprKind::Text(unquoted(literal.as_str())), span);
        }
        let mut pieces = vec![];
        for part in literal.into_inner() {
            match part.as_rule() {
                Rule::formatted_text => {
                    let text = part.as_str().replace("{{", "{").replace("}}", "}");
                    pieces.push(Piece::Text(unescaped(&text)));
                }
                _ => {
                    let part = only_child(part);
                    let span = self.span(&part);
                    pieces.extend(self.interpolated(part.as_str(), span).map(Piece::Value));
                }
            }
        }
        Expr::new(ExprKind::Interpolated(pieces), span)
    }

    /// The value between the braces of an `f"…"`.
    fn interpolated(&mut self, written: &str, span: Span) -> Option<Expr> {
        let pairs = Grammar::parse(Rule::whole_expression, written);
        let Some(pair) = pairs.ok().and_then(|mut pairs| pairs.next()) else {
            let message = if written.trim().is_empty() {
                "no value stands between these braces".to_string()
            } else {
                format!("`{}` is not a value", written.trim())
            };
            self.diagnostics.push(
                Diagnostic::error(codes::INTERPOLATION, message)
                    .at(Span { start: span.start - 1, end: span.end + 1, ..span })
                    .note("a brace itself is written `{{` or `}}`"),
            );
            return None;
        };
        let offset = std::mem::replace(&mut self.offset, span.start as usize);
        let value = self.expression(pair);
        self.offset = offset;
        Some(value)
    }

    fn named(&mut self, pair: Pair<Rule>) -> Expr {
        let whole = self.tight(&pair);
        let mut parts = pair.into_inner();
        let path = parts.next().expect("a name comes first");
        let name = self.spanned(&path);
        match parts.next() {
            Some(block) if block.as_rule() == Rule::block => {
                let block = self.block(block);
                Expr::new(ExprKind::Choice { word: name, block }, whole)
            }
            Some(arguments) => {
                let arguments = arguments.into_inner().map(|value| self.expression(value)).collect();
                Expr::new(ExprKind::Call { name, arguments }, whole)
            }
            None => Expr::new(ExprKind::Path(name.node.split('.').map(str::to_string).collect()), name.span),
        }
    }
}

fn child<'i>(pair: Pair<'i, Rule>, rule: Rule) -> Pair<'i, Rule> {
    pair.into_inner().find(|part| part.as_rule() == rule).expect("the grammar promises this part")
}

fn only_child(pair: Pair<Rule>) -> Pair<Rule> {
    pair.into_inner().next().expect("the grammar promises one part")
}

fn end_with_comment(span: Span, trailing: &Option<Comment>) -> usize {
    trailing.as_ref().map_or(span.end, |comment| comment.span.end) as usize
}

fn is_share(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Quantity { unit, .. } if unit.node == "%")
}

fn comparison(sign: &str) -> Comparison {
    match sign {
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        "==" => Comparison::Equal,
        _ => Comparison::Different,
    }
}

fn strength(sign: &str) -> u8 {
    match sign {
        "x" => 1,
        "+" | "-" => 2,
        _ => 3,
    }
}

/// Precedence climbing; operators of one strength bind from the left.
fn climb<'s>(
    mut left: Expr,
    rest: &mut std::iter::Peekable<impl Iterator<Item = (&'s str, Expr)>>,
    weakest: u8,
) -> Expr {
    while let Some((sign, right)) = rest.next_if(|(sign, _)| strength(sign) > weakest) {
        let right = climb(right, rest, strength(sign));
        left = joined(left, sign, right);
    }
    left
}

fn joined(left: Expr, sign: &str, right: Expr) -> Expr {
    let span = left.span.to(right.span);
    let (left, right) = (Box::new(left), Box::new(right));
    let operator = match sign {
        "x" => return Expr::new(ExprKind::Cross(left, right), span),
        "+" => Operator::Add,
        "-" => Operator::Subtract,
        "*" => Operator::Multiply,
        _ => Operator::Divide,
    };
    Expr::new(ExprKind::Binary { operator, left, right }, span)
}
