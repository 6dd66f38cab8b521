//! Text to tree, with every mistake at once: a script is cut into statements and, where one cannot be read, into the
//! lines of its block, so that one mistake never hides another.

use crate::events::{Diagnostic, SourceId, Span};
use crate::language::brackets::{Brackets, End, match_brackets};
use crate::language::builder::Builder;
use crate::language::codes;
use crate::language::grammar::{Grammar, Rule};
use crate::language::lexer::{Token, TokenKind, tokens};
use crate::language::mistakes::{Failure, Place, Shape, explain};
use crate::language::texts;
use crate::language::tree::{
    Block, Comment, Entry, Expr, ExprKind, Script, Spanned, Statement, StatementKind, Verb,
};
use pest::Parser;
use pest::iterators::Pair;
use std::num::NonZeroUsize;
use std::ops::Range;

/// The tree of all that could be read, and what could not.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    pub script: Script,
    /// In the order of the text. When there is an error, nothing of the script is to run.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads a script or a cell.
pub fn parse(text: &str, source: SourceId) -> Parsed {
    limit_work();
    let mut diagnostics = vec![];
    let mut tokens = tokens(text);
    texts::mistakes(text, &mut tokens, source, &mut diagnostics);
    let brackets = match match_brackets(text, &tokens, source, &mut diagnostics) {
        Ok(brackets) => brackets,
        Err(too_deep) => return Parsed { script: Script::default(), diagnostics: vec![too_deep] },
    };
    let mut reader = Reader { text, source, tokens: &tokens, brackets: &brackets, diagnostics };
    let (statements, dangling) = reader.statements(0..tokens.len());
    reader.check_version(&statements);
    let mut diagnostics = reader.diagnostics;
    diagnostics.sort_by_key(|diagnostic| diagnostic.span().map(|span| (span.start, span.end)));
    Parsed { script: Script { statements, dangling }, diagnostics }
}

/// Reads one value, as in `--set a.lr=1e-4`.
pub fn parse_expression(text: &str, source: SourceId) -> Result<Expr, Diagnostic> {
    limit_work();
    let mut diagnostics = vec![];
    let mut tokens = tokens(text);
    texts::mistakes(text, &mut tokens, source, &mut diagnostics);
    let brackets = match_brackets(text, &tokens, source, &mut diagnostics)?;
    let mut reader = Reader { text, source, tokens: &tokens, brackets: &brackets, diagnostics };
    let read =
        reader.read(Rule::whole_expression, &(0..tokens.len()), |builder, pair| builder.expression(pair));
    match (reader.diagnostics.into_iter().next(), read) {
        (Some(diagnostic), _) => Err(diagnostic),
        (None, Ok(expr)) => Ok(expr),
        (None, Err(failure)) => {
            let place = Place { text, source, tokens: &tokens, range: 0..tokens.len(), shape: Shape::Value };
            Err(explain(&place, &failure))
        }
    }
}

/// pest gives up after so many calls in one statement; a long but honest statement needs far fewer.
fn limit_work() {
    pest::set_call_limit(NonZeroUsize::new(20_000_000));
}

struct Reader<'a> {
    text: &'a str,
    source: SourceId,
    tokens: &'a [Token],
    brackets: &'a Brackets,
    diagnostics: Vec<Diagnostic>,
}

/// What a comma at the end of a line means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Commas {
    /// The list goes on in the next line (verbs).
    Join,
    /// It is a mistake (blocks).
    Stray,
}

impl<'a> Reader<'a> {
    // ---- statements ---------------------------------------------------------------------------------------------

    fn statements(&mut self, range: Range<usize>) -> (Vec<Statement>, Vec<Comment>) {
        let end = self.tokens.get(range.end).map_or(self.text.len(), |token| token.range.start);
        let mut previous = self.tokens.get(range.start).map_or(end, |token| token.range.start);
        let mut statements: Vec<Statement> = vec![];
        for piece in self.pieces(range, Commas::Join) {
            let Some(statement) = self.statement(&piece, previous) else { continue };
            previous =
                statement.trailing.as_ref().map_or(statement.span.end, |comment| comment.span.end) as usize;
            statements.push(statement);
        }
        let dangling = self.builder(0).comments(previous..end);
        (statements, dangling)
    }

    /// Cuts tokens at newlines and `;` outside of brackets; a piece has no comments at its ends.
    fn pieces(&self, range: Range<usize>, commas: Commas) -> Vec<Range<usize>> {
        let mut pieces = vec![];
        let mut piece: Option<Range<usize>> = None;
        let mut index = range.start;
        while index < range.end {
            let next = self.brackets.after(index).min(range.end);
            match self.tokens[index].kind {
                TokenKind::Comment => {}
                TokenKind::Newline if commas == Commas::Join && self.goes_on(&piece, index, range.end) => {}
                TokenKind::Newline | TokenKind::Semicolon => pieces.extend(piece.take()),
                _ => piece = Some(piece.map_or(index, |piece| piece.start)..next),
            }
            index = next;
        }
        pieces.extend(piece);
        pieces
    }

    /// Whether a statement continues after this newline: after a comma, or with a misplaced `{` that belongs to it.
    fn goes_on(&self, piece: &Option<Range<usize>>, newline: usize, end: usize) -> bool {
        let Some(piece) = piece else { return false };
        if self.tokens[piece.end - 1].kind == TokenKind::Comma {
            return true;
        }
        let skipped = |token: &&Token| matches!(token.kind, TokenKind::Newline | TokenKind::Comment);
        let next = newline + self.tokens[newline..end].iter().take_while(skipped).count();
        let has_block = self.block_start(piece).is_some();
        next < end && self.is_text(next, "{") && !has_block
    }

    fn statement(&mut self, piece: &Range<usize>, previous: usize) -> Option<Statement> {
        self.report_misplaced_brace(piece);
        if self.is_sound(piece) && !self.has_misplaced_brace(piece) {
            match self.read(Rule::whole_statement, piece, |builder, pair| builder.statement(pair, previous)) {
                Ok(statement) => return Some(statement),
                Err(failure) => return self.recover(piece, previous, &failure),
            }
        }
        self.recover(piece, previous, &Failure::Reported)
    }

    /// Reads what can be read of a statement with a mistake in it, and reports the rest.
    fn recover(&mut self, piece: &Range<usize>, previous: usize, failure: &Failure) -> Option<Statement> {
        let Some(open) = self.block_start(piece) else {
            self.report(piece, failure, Shape::Statement);
            return None;
        };
        let (content, after) = self.inside(open, piece.end);
        if after < piece.end && self.is_sound(piece) {
            let place = self.span(after..piece.end);
            self.diagnostics.push(
                Diagnostic::error(codes::UNEXPECTED, "a statement ends with its block")
                    .label(place, "this stands after it")
                    .fix(Span { end: place.start, ..place }, "; ", "begin a new statement with `;`"),
            );
        }
        let head = piece.start..open;
        let is_content =
            |index: &usize| !matches!(self.tokens[*index].kind, TokenKind::Newline | TokenKind::Comment);
        let words: Vec<&str> =
            head.clone().filter(is_content).map(|index| self.tokens[index].text(self.text)).collect();
        let kind = match words.as_slice() {
            ["model" | "data" | "tune", name] if self.is_simple_name(head.start + 1, name) => {
                let block = self.block(open, &content);
                let (noun, name) = (self.word(head.start), self.word(head.start + 1));
                Some(StatementKind::Definition { noun, name, block })
            }
            ["repeat", ..] => self.recover_repeat(&head, &content),
            ["rust"] => {
                if self.is_sound(piece) && after == piece.end {
                    self.report(piece, failure, Shape::Statement);
                }
                None
            }
            ["rust", ..] => {
                self.report(&(piece.start..open + 1), &Failure::Unknown, Shape::Statement);
                None
            }
            ["model" | "data" | "tune" | "let" | "include" | "ltune", ..] | [] => {
                self.block(open, &content);
                self.report(&(piece.start..open + 1), &Failure::Unknown, Shape::Statement);
                None
            }
            _ => {
                let block = self.block(open, &content);
                self.recover_verb(&head).map(|verb| StatementKind::Verb(Verb { block: Some(block), ..verb }))
            }
        };
        let span = self.span(piece.clone());
        let builder = self.builder(0);
        let leading = builder.comments(previous..span.start as usize);
        let trailing = builder.trailing(span.end as usize);
        kind.map(|kind| Statement { span, kind, leading, trailing })
    }

    fn recover_verb(&mut self, head: &Range<usize>) -> Option<Verb> {
        if !self.is_sound(head) {
            return None;
        }
        match self.read(Rule::whole_statement, head, |builder, pair| builder.statement(pair, 0)) {
            Ok(Statement { kind: StatementKind::Verb(verb), .. }) => Some(verb),
            Ok(_) => None,
            Err(failure) => {
                self.report(head, &failure, Shape::Statement);
                None
            }
        }
    }

    fn recover_repeat(&mut self, head: &Range<usize>, content: &Range<usize>) -> Option<StatementKind> {
        let (body, dangling) = self.statements(content.clone());
        let count = head.start + 1..head.end;
        if !self.is_sound(&count) {
            return None;
        }
        match self.read(Rule::whole_expression, &count, |builder, pair| builder.expression(pair)) {
            Ok(count) => {
                let span = self.span(head.start..content.end.max(head.end));
                Some(StatementKind::Repeat { count, body, dangling, span })
            }
            Err(failure) => {
                self.report(&(head.start..head.end + 1), &failure, Shape::Statement);
                None
            }
        }
    }

    // ---- blocks -------------------------------------------------------------------------------------------------

    /// A block read line by line.
    fn block(&mut self, open: usize, content: &Range<usize>) -> Block {
        let end = self.tokens.get(content.end).map_or(self.text.len(), |token| token.range.start);
        let mut previous = self.tokens[open].range.end;
        let mut block = Block {
            span: Span::new(self.source, self.tokens[open].range.start, end),
            entries: vec![],
            dangling: vec![],
            damaged: !matches!(self.brackets.end(open), Some(End::Closed(_))),
        };
        for piece in self.pieces(content.clone(), Commas::Stray) {
            for piece in self.without_commas(piece) {
                let Some(entry) = self.entry(&piece, previous) else {
                    block.damaged = true;
                    continue;
                };
                let end = entry.trailing.as_ref().map_or(entry.span().end, |comment| comment.span.end);
                previous = end as usize;
                block.entries.push(entry);
            }
        }
        block.dangling = self.builder(0).comments(previous..end);
        block
    }

    fn entry(&mut self, piece: &Range<usize>, previous: usize) -> Option<Entry> {
        if self.is_sound(piece) {
            match self.read(Rule::whole_entry, piece, |builder, pair| builder.entry(pair, previous)) {
                Ok(entry) => return Some(entry),
                Err(failure) => return self.recover_entry(piece, previous, &failure),
            }
        }
        self.recover_entry(piece, previous, &Failure::Reported)
    }

    /// `method = lora { … }` with a mistake inside of its braces is read line by line too.
    fn recover_entry(&mut self, piece: &Range<usize>, previous: usize, failure: &Failure) -> Option<Entry> {
        let is = |offset: usize, kind: TokenKind| {
            piece.start + offset < piece.end && self.tokens[piece.start + offset].kind == kind
        };
        let is_choice = is(0, TokenKind::Name)
            && is(1, TokenKind::Equals)
            && is(2, TokenKind::Name)
            && piece.start + 3 < piece.end
            && self.is_text(piece.start + 3, "{");
        let open = piece.start + 3;
        if !is_choice || self.inside(open, piece.end).1 < piece.end {
            self.report(piece, failure, Shape::Setting);
            return None;
        }
        let (content, _) = self.inside(open, piece.end);
        let (name, word) = (self.word(piece.start), self.word(piece.start + 2));
        let block = self.block(open, &content);
        let span = word.span.to(block.span);
        let value = Expr::new(ExprKind::Choice { word, block }, span);
        let builder = self.builder(0);
        let leading = builder.comments(previous..name.span.start as usize);
        let trailing = builder.trailing(span.end as usize);
        Some(Entry { name, value, leading, trailing })
    }

    /// Cuts `a = 1, b = 2,` at its commas and reports each.
    fn without_commas(&mut self, piece: Range<usize>) -> Vec<Range<usize>> {
        let mut commas = vec![];
        let mut index = piece.start;
        while index < piece.end {
            if self.tokens[index].kind == TokenKind::Comma {
                commas.push(index);
            }
            index = self.brackets.after(index);
        }
        let begins_entry = |index: usize| {
            index + 1 < piece.end
                && self.tokens[index].kind == TokenKind::Name
                && self.tokens[index + 1].kind == TokenKind::Equals
        };
        if commas.iter().any(|comma| comma + 1 < piece.end && !begins_entry(comma + 1)) {
            return vec![piece];
        }
        let mut cut = vec![];
        let mut start = piece.start;
        for comma in commas {
            let is_last = comma + 1 == piece.end;
            let (replacement, title) = if is_last { ("", "remove the comma") } else { (";", "write `;`") };
            self.diagnostics.push(
                Diagnostic::error(
                    codes::STRAY_COMMA,
                    "settings are separated by newlines or `;`, not by commas",
                )
                .at(self.span(comma..comma + 1))
                .fix(self.span(comma..comma + 1), replacement, title),
            );
            cut.push(start..comma);
            start = comma + 1;
        }
        cut.push(start..piece.end);
        cut.retain(|piece| !piece.is_empty());
        cut
    }

    // ---- braces on the wrong line -------------------------------------------------------------------------------

    fn has_misplaced_brace(&self, piece: &Range<usize>) -> bool {
        self.block_start(piece).is_some_and(|open| {
            open > piece.start
                && self.tokens[piece.start..open].iter().any(|token| token.kind == TokenKind::Newline)
                && self.owner_end(piece, open) < open - 1
        })
    }

    /// The last token before a `{` that is neither a newline nor a comment.
    fn owner_end(&self, piece: &Range<usize>, open: usize) -> usize {
        let is_content =
            |index: &usize| !matches!(self.tokens[*index].kind, TokenKind::Newline | TokenKind::Comment);
        (piece.start..open).rev().find(is_content).unwrap_or(piece.start)
    }

    fn report_misplaced_brace(&mut self, piece: &Range<usize>) {
        if !self.has_misplaced_brace(piece) {
            return;
        }
        let Some(open) = self.block_start(piece) else { return };
        let owner = self.owner_end(piece, open);
        let between = self.tokens[owner].range.end..self.tokens[open].range.start;
        let gap = Span::new(self.source, between.start, between.end);
        let diagnostic =
            Diagnostic::error(codes::MISPLACED_BRACE, "the `{` of a block stands on the line of its owner")
                .at(self.span(open..open + 1));
        let is_blank = self.text[between].trim().is_empty();
        let diagnostic = if is_blank {
            diagnostic.fix(gap, " ", "write `{` at the end of the line before")
        } else {
            diagnostic
        };
        self.diagnostics.push(diagnostic);
    }

    // ---- small questions ----------------------------------------------------------------------------------------

    /// The `{` outside of other brackets that begins the block of a statement.
    fn block_start(&self, piece: &Range<usize>) -> Option<usize> {
        let mut index = piece.start;
        while index < piece.end {
            let is_value = index > piece.start && self.tokens[index - 1].kind == TokenKind::Equals;
            if self.is_text(index, "{") {
                return (!is_value).then_some(index);
            }
            index = self.brackets.after(index);
        }
        None
    }

    /// The tokens inside of a bracket, and the first token after it.
    fn inside(&self, open: usize, limit: usize) -> (Range<usize>, usize) {
        match self.brackets.end(open) {
            Some(End::Closed(close)) => (open + 1..close, close + 1),
            Some(End::Missing(end)) => (open + 1..end.max(open + 1), end.max(open + 1)),
            None => (open + 1..limit, limit),
        }
    }

    /// Nothing in these tokens has been reported yet, so the parser may see them.
    fn is_sound(&self, piece: &Range<usize>) -> bool {
        self.tokens[piece.clone()].iter().all(|token| !token.kind.is_broken())
            && self.brackets.are_closed(self.tokens, piece.clone())
    }

    fn is_text(&self, index: usize, text: &str) -> bool {
        self.tokens[index].text(self.text) == text
    }

    fn is_simple_name(&self, index: usize, name: &str) -> bool {
        self.tokens[index].kind == TokenKind::Name && !name.contains('.')
    }

    fn word(&self, index: usize) -> Spanned<String> {
        Spanned::new(self.tokens[index].text(self.text).to_string(), self.span(index..index + 1))
    }

    /// From the first to the last of these tokens.
    fn span(&self, piece: Range<usize>) -> Span {
        let last = piece.end.min(self.tokens.len()).max(piece.start + 1) - 1;
        Span::new(self.source, self.tokens[piece.start].range.start, self.tokens[last].range.end)
    }

    // ---- the way to pest and back -------------------------------------------------------------------------------

    fn builder(&mut self, offset: usize) -> Builder<'_> {
        Builder {
            text: self.text,
            tokens: self.tokens,
            source: self.source,
            offset,
            diagnostics: &mut self.diagnostics,
        }
    }

    fn read<T>(
        &mut self,
        rule: Rule,
        piece: &Range<usize>,
        build: impl FnOnce(&mut Builder<'_>, Pair<'a, Rule>) -> T,
    ) -> Result<T, Failure> {
        let Some(last) = piece.end.checked_sub(1).filter(|last| *last >= piece.start) else {
            return Err(Failure::Unknown);
        };
        let range = self.tokens[piece.start].range.start..self.tokens[last].range.end;
        let offset = range.start;
        match Grammar::parse(rule, &self.text[range]) {
            Ok(mut pairs) => {
                let pair = pairs.next().expect("a whole rule has a pair");
                Ok(build(&mut self.builder(offset), pair))
            }
            Err(error) => Err(Failure::of(&error, offset)),
        }
    }

    fn report(&mut self, piece: &Range<usize>, failure: &Failure, shape: Shape) {
        if matches!(failure, Failure::Reported) {
            return;
        }
        let place =
            Place { text: self.text, source: self.source, tokens: self.tokens, range: piece.clone(), shape };
        self.diagnostics.push(explain(&place, failure));
    }

    /// `ltune 1` comes first and names a version that exists.
    fn check_version(&mut self, statements: &[Statement]) {
        for (index, statement) in statements.iter().enumerate() {
            let StatementKind::Version(version) = &statement.kind else { continue };
            if version.node != 1 {
                let message = format!(
                    "version {} of the language does not exist here; this is version 1",
                    version.node
                );
                let diagnostic = Diagnostic::error(codes::MISPLACED_VERSION, message).at(version.span);
                self.diagnostics.push(diagnostic.fix(version.span, "1", "write `ltune 1`"));
            } else if index > 0 {
                let message = "`ltune 1` stands on the first line";
                self.diagnostics
                    .push(Diagnostic::error(codes::MISPLACED_VERSION, message).at(statement.span));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// Each message with its code and the text it points at.
    fn complaints(text: &str) -> Vec<String> {
        let complaint = |diagnostic: &Diagnostic| {
            let place = diagnostic.span().and_then(|span| text.get(span.range())).unwrap_or("");
            format!("{} [{place}] {}", diagnostic.code, diagnostic.message)
        };
        parse(text, SourceId(0)).diagnostics.iter().map(complaint).collect()
    }

    fn statements(text: &str) -> Vec<Statement> {
        let parsed = parse(text, SourceId(0));
        assert_eq!(parsed.diagnostics, [], "{text}");
        parsed.script.statements
    }

    fn value(text: &str) -> ExprKind {
        parse_expression(text, SourceId(0)).expect(text).kind
    }

    #[test]
    fn a_verb_has_phrases_of_groups() {
        let statements = statements("plot loss, lr of a, b to \"x.svg\" { smooth = 0.9 }");
        let StatementKind::Verb(verb) = &statements[0].kind else { panic!("a verb") };
        let shape: Vec<(Option<&str>, Vec<usize>)> = verb
            .phrases
            .iter()
            .map(|phrase| {
                let word = phrase.preposition.as_ref().map(|word| word.node.as_str());
                (word, phrase.groups.iter().map(Vec::len).collect())
            })
            .collect();
        assert_eq!(shape, [(None, vec![2]), (Some("of"), vec![2]), (Some("to"), vec![1])]);
        assert_eq!(verb.block.as_ref().map(|block| block.entries.len()), Some(1));
    }

    #[test]
    fn words_are_not_reserved_and_keep_their_beginnings() {
        assert_eq!(statements("letter a\nmodels\ntuned x 3\nsteps\nonly to \"x\"").len(), 5);
        assert_eq!(statements("tune step { model = model; let = 3; to = x }\nstep step 3").len(), 2);
    }

    #[test]
    fn the_step_of_a_range_and_the_unit_step_are_told_apart() {
        assert!(matches!(value("8..64 step 8"), ExprKind::Range { step: Some(_), .. }));
        assert!(matches!(value("1 step"), ExprKind::Quantity { .. }));
        let statements = statements("undo a 1 step\nfork a at 1 step as b");
        assert_eq!(statements.len(), 2);
    }

    #[test]
    fn products_bind_before_sums_and_a_batch_last() {
        let ExprKind::Cross(micro, _) = value("2 + 2 x 4") else { panic!("a batch") };
        assert!(matches!(micro.kind, ExprKind::Binary { .. }));
        assert!(matches!(value("4x4"), ExprKind::Cross(..)));
        assert!(matches!(value("90% / 10%"), ExprKind::Ratio(_)));
        assert!(matches!(value("90 / 10"), ExprKind::Binary { .. }));
    }

    #[test]
    fn comments_belong_to_what_they_stand_at() {
        let text = "# one\nstep a 1 # two\n\n# three\ntune a { # four\n  # five\n  lr = 1 # six\n  # seven\n}\n# eight\n";
        let parsed = parse(text, SourceId(0));
        let texts =
            |comments: &[Comment]| comments.iter().map(|comment| comment.node.clone()).collect::<Vec<_>>();
        let [step, tune] = parsed.script.statements.as_slice() else { panic!("two statements") };
        assert_eq!(texts(&step.leading), ["# one"]);
        assert_eq!(step.trailing.as_ref().map(|comment| comment.node.as_str()), Some("# two"));
        assert_eq!(texts(&tune.leading), ["# three"]);
        let StatementKind::Definition { block, .. } = &tune.kind else { panic!("a definition") };
        assert_eq!(texts(&block.entries[0].leading), ["# four", "# five"]);
        assert_eq!(block.entries[0].trailing.as_ref().map(|comment| comment.node.as_str()), Some("# six"));
        assert_eq!(texts(&block.dangling), ["# seven"]);
        assert_eq!(texts(&parsed.script.dangling), ["# eight"]);
    }

    #[test]
    fn spans_point_into_the_whole_text() {
        let text = "step a 5\nlet x = f\"{ y + 1 }\"  # c\nplot loss ,\n  lr\n";
        let statements = statements(text);
        let written: Vec<&str> = statements.iter().map(|statement| &text[statement.span.range()]).collect();
        assert_eq!(written, ["step a 5", "let x = f\"{ y + 1 }\"", "plot loss ,\n  lr"]);
        let StatementKind::Let { value, .. } = &statements[1].kind else { panic!("a let") };
        let ExprKind::Interpolated(pieces) = &value.kind else { panic!("an interpolation") };
        let crate::language::tree::Piece::Value(expr) = &pieces[0] else { panic!("a value") };
        assert_eq!(&text[expr.span.range()], "y + 1");
    }

    #[test]
    fn every_mistake_in_a_block_is_reported_and_the_rest_is_read() {
        let text = "tune a {\n  lr 1e-4\n  epochs: 3\n  seed =\n  method = lora { rank 16; alpha = 32 }\n  clip = 1.0\n}\nstep a 5\n";
        assert_eq!(
            complaints(text),
            [
                "L0012 [lr 1e-4] `=` is missing after `lr`",
                "L0012 [:] a setting is written `name = value`, without `:`",
                "L0011 [seed =] `seed =` has no value",
                "L0012 [rank 16] `=` is missing after `rank`",
            ]
        );
        let statements = parse(text, SourceId(0)).script.statements;
        let StatementKind::Definition { block, .. } = &statements[0].kind else { panic!("a definition") };
        let names: Vec<&str> = block.entries.iter().map(|entry| entry.name.node.as_str()).collect();
        assert_eq!(names, ["method", "clip"]);
        assert!(block.damaged);
        assert_eq!(statements.len(), 2);
    }

    #[test]
    fn mistakes_in_blocks_are_named() {
        let about = |line: &str| complaints(&format!("tune a {{\n{line}\n}}"));
        assert_eq!(
            about("a = 1, b = 2"),
            ["L0013 [,] settings are separated by newlines or `;`, not by commas"]
        );
        assert_eq!(about("a = q, v"), ["L0013 [,] a list of values stands in brackets"]);
        assert_eq!(about("a = 1 b = 2"), ["L0010 [b] two settings on one line are separated by `;`"]);
        assert_eq!(about("a = 1 +"), ["L0011 [+] a value is missing after `+`"]);
        assert_eq!(about("a = (1 + )"), ["L0011 [+ )] a value is missing between `+` and `)`"]);
        assert_eq!(about("a == 3"), ["L0012 [==] `==` compares; a setting is given with one `=`"]);
        assert_eq!(
            about("\"a\" = 3"),
            ["L0015 [\"a\"] a setting begins with its name, not with the text `\"a\"`"]
        );
        assert_eq!(about("a = 3 4"), ["L0010 [4] the number `4` cannot follow `3`"]);
        assert_eq!(
            about("lora { rank = 3 }"),
            ["L0012 [lora] `lora { … }` is a value without the name of its setting"]
        );
    }

    #[test]
    fn mistakes_in_statements_are_named() {
        assert_eq!(complaints("tune"), ["L0015 [tune] `tune` needs a name and a block"]);
        assert_eq!(complaints("tune { lr = 1 }"), ["L0015 [tune] `tune` needs a name before its block"]);
        assert_eq!(complaints("tune \"a\" { }"), ["L0015 [\"a\"] a name is a bare word, without quotes"]);
        assert_eq!(complaints("tune a"), ["L0019 [tune a] `tune a` needs its settings"]);
        assert_eq!(complaints("tune a = { }"), ["L0019 [=] the block of `tune a` follows without `=`"]);
        assert_eq!(
            complaints("model llama-3 { }"),
            ["L0015 [llama-3] `llama-3` cannot be a name: a name has letters, digits and `_`, but no `-`"]
        );
        assert_eq!(
            complaints("tune a\n{ lr = 1 }"),
            ["L0014 [{] the `{` of a block stands on the line of its owner"]
        );
        assert_eq!(complaints("let x"), ["L0011 [let x] `let x` has no value"]);
        assert_eq!(complaints("let x 3"), ["L0012 [3] `=` is missing after `let x`"]);
        assert_eq!(complaints("x = 3"), ["L0010 [x =] `x = …` stands outside of a block"]);
        assert_eq!(
            complaints("step a lr = 3"),
            ["L0010 [=] the settings of `step` stand in a block at its end"]
        );
        assert_eq!(
            complaints("include a.ltune"),
            ["L0011 [a.ltune] `include` needs the path of a script, in quotes"]
        );
        assert_eq!(
            complaints("ltune 2"),
            ["L0016 [2] version 2 of the language does not exist here; this is version 1"]
        );
        assert_eq!(complaints("step a\nltune 1"), ["L0016 [ltune 1] `ltune 1` stands on the first line"]);
        assert_eq!(complaints("repeat { step }"), ["L0011 [repeat] `repeat` needs a count"]);
        assert_eq!(complaints("step a { } b"), ["L0010 [b] a statement ends with its block"]);
        assert_eq!(
            complaints("3 + 4"),
            ["L0010 [3] a statement begins with a word such as `tune` or `step`, not with the number `3`"]
        );
        assert_eq!(complaints("let x = f\"{1 +}\""), ["L0018 [{1 +}] `1 +` is not a value"]);
        assert_eq!(
            complaints("let x = 99999999999999999999"),
            [
                "L0004 [99999999999999999999] `99999999999999999999` is too large; the largest number is 9223372036854775807"
            ]
        );
    }

    #[test]
    fn rust_is_taken_as_it_is_and_ends_at_its_own_brace() {
        let rust = "\n  /// A } in a comment.\n  fn a<'a>(x: &'a str) -> char { match x { \"}\" => '}', _ => '\\'' } }\n  const R: &str = r#\"}\"#; // }\n";
        let script = format!(
            "let n = 1\nrust {{{rust}}} # end\nrepeat 2 {{ rust {{ fn b() {{}} }}; step a }}\nstep a 5"
        );
        let statements = statements(&script);
        assert_eq!(statements.len(), 4);
        let StatementKind::Rust { text, .. } = &statements[1].kind else { panic!("a block") };
        assert_eq!((text.node.as_str(), &script[text.span.range()]), (rust, rust));
        assert_eq!(statements[1].trailing.as_ref().map(|comment| comment.node.as_str()), Some("# end"));
        assert_eq!(&script[statements[1].span.range()], format!("rust {{{rust}}}"));
        let StatementKind::Repeat { body, .. } = &statements[2].kind else { panic!("a repeat") };
        assert_eq!(body.len(), 2);
    }

    #[test]
    fn mistakes_around_rust_are_named() {
        assert_eq!(complaints("rust {\n  fn a() {\nstep a 5"), ["L0005 [{] `{` is never closed"]);
        assert_eq!(complaints("rust { fn a() { \" }"), ["L0005 [{] `{` is never closed"]);
        assert_eq!(
            complaints("rust\n{ fn a() {} }"),
            ["L0014 [{] the `{` of a block stands on the line of its owner"]
        );
        for text in ["rust", "rust a", "rust warm { fn a() {} }"] {
            assert!(
                complaints(text)[0].contains("`rust` is followed by Rust in braces"),
                "{:?}",
                complaints(text)
            );
        }
        assert_eq!(complaints("rust { } b"), ["L0010 [b] a statement ends with its block"]);
        assert!(complaints(&format!("rust {{ {}", "{".repeat(400)))[0].starts_with("L0007"));
    }

    #[test]
    fn mistakes_inside_of_a_repeat_do_not_hide_each_other() {
        assert_eq!(
            complaints("repeat 3 {\n  step a )\n  let\n  step a 5\n}"),
            ["L0006 [)] `)` closes nothing", "L0015 [let] `let` needs a name and a value"]
        );
    }

    #[test]
    fn four_hundred_unclosed_brackets_are_refused_at_once() {
        for piece in [
            "(",
            "[",
            "{",
            "x = (",
            "let x = (",
            "print 1 x (",
            "tune a { b = c {",
            "a([",
            "f(1, [",
            "rust {",
        ] {
            for text in [piece.repeat(400), piece.repeat(39), format!("print {}", piece.repeat(39))] {
                let start = Instant::now();
                assert!(parse(&text, SourceId(0)).has_errors(), "{piece}");
                let taken = start.elapsed();
                assert!(taken < Duration::from_millis(50), "{piece}: {taken:?}");
            }
        }
    }

    #[test]
    fn brackets_that_close_around_a_mistake_are_read_as_fast() {
        for (open, close) in
            [("(", ")"), ("[", "]"), ("a(", ")"), ("1 x (", ")"), ("a x (", ")"), ("a { b = ", "}")]
        {
            let text = format!("tune t {{ x = {}1 2{} }}", open.repeat(38), close.repeat(38));
            let start = Instant::now();
            assert!(parse(&text, SourceId(0)).has_errors(), "{open}");
            let taken = start.elapsed();
            assert!(taken < Duration::from_millis(50), "{open}: {taken:?}");
        }
    }
}
