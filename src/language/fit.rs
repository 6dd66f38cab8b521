//! Whether what was written fits a setting: what each `Kind` accepts, and how it says no.

use crate::events::{Diagnostic, Severity, Span};
use crate::language::blocks::{Owner, check_block};
use crate::language::codes;
use crate::language::describe::{names_noun, wanted};
use crate::language::evaluate::{batch, constant, evaluate, range_values, unknown_name};
use crate::language::fit_value::FitValue;
use crate::language::schema::{Choice, Fill, Kind, Setting};
use crate::language::scope::{NameKind, Scope};
use crate::language::suggest::{all_of, alternatives, nearest};
use crate::language::tree::{Block, Comparison, Expr, ExprKind, Operator};
use crate::language::value::{Settings, Value, plain_number, quoted};
use crate::units::Unit;

/// A fitting value, or everything that is wrong with it.
pub type Fitted = Result<Value, Vec<Diagnostic>>;

/// Fits expressions to the setting of this name.
#[derive(Clone, Copy)]
pub struct Fit<'a> {
    pub name: &'a str,
    pub scope: &'a dyn Scope,
    /// The block that the setting stands in.
    pub owner: &'a Owner<'a>,
}

impl Fit<'_> {
    /// The value of a setting, or a sweep of values where the setting may have one.
    pub fn setting(&self, setting: &Setting, expr: &Expr) -> Fitted {
        let Some(values) = self.sweep(&setting.kind, expr)? else { return self.expr(&setting.kind, expr) };
        if !setting.sweepable {
            let message = format!("`{}` takes one value, not a sweep of several", self.name);
            return Err(vec![Diagnostic::error(codes::NOT_SWEEPABLE, message).at(expr.span)]);
        }
        Ok(Value::Sweep(values))
    }

    /// The values of a sweep, if the expression is one.
    fn sweep(&self, kind: &Kind, expr: &Expr) -> Result<Option<Vec<Value>>, Vec<Diagnostic>> {
        match &expr.kind {
            ExprKind::Paren(inner) => self.sweep(kind, inner),
            ExprKind::Call { name, arguments } if name.node == "one_of" && !arguments.is_empty() => {
                gathered(arguments.iter().map(|argument| self.expr(kind, argument))).map(Some)
            }
            ExprKind::Call { name, .. } if name.node == "log" => self.swept(kind, expr),
            ExprKind::Range { .. } if !takes_range(kind) => self.swept(kind, expr),
            ExprKind::Path(_) => match self.variable(expr) {
                Some(Value::Sweep(_)) => self.swept(kind, expr),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    fn swept(&self, kind: &Kind, expr: &Expr) -> Result<Option<Vec<Value>>, Vec<Diagnostic>> {
        let values = match evaluate(expr, self.scope).map_err(one)? {
            Value::Sweep(values) => values,
            Value::Range { start, end, step } => range_values(start, end, step, expr.span).map_err(one)?,
            _ => return Ok(None),
        };
        gathered(values.into_iter().map(|value| self.value(kind, value, expr.span))).map(Some)
    }

    /// An expression against a kind: first what only its form can tell, then its value.
    pub fn expr(&self, kind: &Kind, expr: &Expr) -> Fitted {
        match (kind, &expr.kind) {
            (Kind::AnyOf(kinds), _) => self.any_of(kinds, expr),
            (Kind::Any, _) => evaluate(expr, self.scope).map_err(one),
            (_, ExprKind::Paren(inner)) => self.expr(kind, inner),
            (Kind::Choice(choices), ExprKind::Path(names)) if names.len() == 1 => {
                self.word(choices, &names[0], expr)
            }
            (Kind::Choice(choices), ExprKind::Choice { word, block }) => {
                self.choice(choices, &word.node, word.span, Some(block))
            }
            (_, ExprKind::Choice { word, .. }) => Err(vec![self.without_block(kind, &word.node, expr.span)]),
            (Kind::Word, ExprKind::Path(names)) if names.len() == 1 => Ok(Value::Word(names[0].clone())),
            (Kind::Topic, ExprKind::Path(names)) => Ok(Value::Word(names.join("."))),
            (Kind::Name(kinds), ExprKind::Path(names)) => self.defined(kinds, names, expr.span).map_err(one),
            (Kind::Part, ExprKind::Path(names)) => self.part(names, expr.span).map_err(one),
            (Kind::List { of, .. }, ExprKind::List(items)) => {
                let values = gathered(items.iter().map(|item| self.expr(of, item)))?;
                self.value(kind, Value::List(values), expr.span)
            }
            (Kind::List { of, .. }, ExprKind::Path(_)) if self.variable(expr).is_none() => {
                let value = self.expr(of, expr)?;
                self.value(kind, Value::List(vec![value]), expr.span)
            }
            (Kind::Batch, ExprKind::Cross(micro, accumulate)) => {
                batch(micro, accumulate, self.scope).map_err(one)
            }
            (Kind::Split, ExprKind::Ratio(shares)) => self.split(shares, expr.span).map_err(one),
            (Kind::Split, ExprKind::Binary { .. }) => Err(vec![self.shares_without_percent(expr)]),
            (Kind::Columns, ExprKind::Block(block)) => self.columns(block),
            (Kind::Condition(metrics), ExprKind::Compare { comparison, left, right }) => {
                self.condition(metrics, *comparison, left, right).map_err(one)
            }
            (Kind::Text | Kind::Path, ExprKind::Path(_) | ExprKind::Binary { .. }) if self.is_bare(expr) => {
                Err(vec![self.unquoted(kind, expr)])
            }
            (_, ExprKind::Path(names)) if self.is_bare(expr) => {
                Err(vec![self.misplaced_word(kind, names, expr.span)])
            }
            (_, ExprKind::Block(_)) => Err(vec![
                self.refused(format!("`{}` takes {}, not a block", self.name, wanted(kind)), expr.span),
            ]),
            _ => {
                let value = evaluate(expr, self.scope).map_err(one)?;
                self.value(kind, value, expr.span)
            }
        }
    }

    /// A value that stands for itself (a `let`, an item of a sweep) against a kind.
    pub fn value(&self, kind: &Kind, value: Value, span: Span) -> Fitted {
        match (kind, value) {
            (Kind::AnyOf(kinds), value) => {
                let fitted = kinds.iter().find_map(|kind| self.value(kind, value.clone(), span).ok());
                fitted.ok_or_else(|| {
                    let message = format!("`{}` takes {}, not {}", self.name, wanted(kind), value.sort());
                    vec![self.refused(message, span)]
                })
            }
            (Kind::Choice(choices), Value::Text(word)) => self.choice(choices, &word, span, None),
            (Kind::Choice(choices), Value::Bool(flag)) => {
                self.choice(choices, if flag { "on" } else { "off" }, span, None)
            }
            (Kind::Choice(_), choice @ Value::Choice { .. }) => Ok(choice),
            (Kind::Choice(_), Value::Name(name)) if self.is_added(&name) => Ok(Value::Name(name)),
            (Kind::Name(kinds), Value::Name(name)) => self.defined(kinds, &[name], span).map_err(one),
            (Kind::Part, Value::Name(name)) => self.part(&[name], span).map_err(one),
            (Kind::Part, Value::Part { data, part }) => {
                let names: Vec<String> = std::iter::once(data).chain(part).collect();
                self.part(&names, span).map_err(one)
            }
            (Kind::List { of, least, most }, Value::List(items)) => {
                let values = gathered(items.into_iter().map(|item| self.value(of, item, span)))?;
                self.length(values, *least, *most, span).map_err(one)
            }
            (Kind::List { of, least, most }, value) => {
                let value = self.value(of, value, span)?;
                self.length(vec![value], *least, *most, span).map_err(one)
            }
            (_, value) => FitValue { name: self.name, kind, span }.fit(value).map_err(one),
        }
    }

    // ---- one of several kinds -----------------------------------------------------------------------------------

    /// The first kind that fits; if none does, the complaint of the first whose form was right.
    fn any_of(&self, kinds: &'static [Kind], expr: &Expr) -> Fitted {
        let mut complaint = None;
        for kind in kinds {
            match self.expr(kind, expr) {
                Ok(value) => return Ok(value),
                Err(diagnostics) if complaint.is_none() && has_form(kind, expr, self.scope) => {
                    complaint = Some(diagnostics);
                }
                Err(_) => {}
            }
        }
        if let Some(diagnostics) = complaint {
            return Err(self.or_a_word(diagnostics, kinds, expr));
        }
        let wanted = wanted(&Kind::AnyOf(kinds));
        if let ExprKind::Path(names) = &expr.kind
            && self.is_bare(expr)
        {
            let word = names.join(".");
            let message = format!("`{}` takes {wanted}, not `{word}`", self.name);
            let diagnostic = Diagnostic::error(codes::UNKNOWN_WORD, message).at(expr.span);
            return Err(vec![nearest_word(diagnostic, &word, &words_of(kinds), expr.span)]);
        }
        let found = match &expr.kind {
            ExprKind::Choice { word, .. } => format!("`{} {{ … }}`", word.node),
            ExprKind::Block(_) => "a block".into(),
            _ => evaluate(expr, self.scope).map_err(one)?.sort(),
        };
        Err(vec![self.refused(format!("`{}` takes {wanted}, not {found}", self.name), expr.span)])
    }

    /// A name that is none may be meant as one of the words that could stand there too.
    fn or_a_word(&self, mut diagnostics: Vec<Diagnostic>, kinds: &[Kind], expr: &Expr) -> Vec<Diagnostic> {
        if let (Some(word), [only]) = (expr.as_word(), diagnostics.as_mut_slice())
            && only.code == codes::UNKNOWN_NAME
            && only.fixes.is_empty()
        {
            *only = nearest_word(only.clone(), word, &words_of(kinds), expr.span);
        }
        diagnostics
    }

    // ---- words and names ----------------------------------------------------------------------------------------

    fn variable(&self, expr: &Expr) -> Option<Value> {
        self.scope.variable(expr.as_word()?)
    }

    /// Whether this is a word (or words joined by signs, as in `llama-3.2-1b`) that is no `let` name and no constant.
    fn is_bare(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Path(names) if names.len() == 1 => {
                self.scope.variable(&names[0]).is_none() && constant(&names[0]).is_none()
            }
            ExprKind::Path(_) => true,
            ExprKind::Binary { left, .. } => self.is_bare(left) && run_together(expr).is_some(),
            _ => false,
        }
    }

    /// A word is first one of the choices, then a `let` name, then what a program has added for this setting.
    fn word(&self, choices: &'static [Choice], word: &str, expr: &Expr) -> Fitted {
        if find_choice(choices, word).is_none() && self.is_added(word) {
            return Ok(Value::Name(word.to_string()));
        }
        if find_choice(choices, word).is_none()
            && let Some(value) = self.variable(expr).or_else(|| constant(word))
        {
            return match value {
                Value::Text(_) | Value::Bool(_) | Value::Choice { .. } => {
                    self.value(&Kind::Choice(choices), value, expr.span)
                }
                other => Err(vec![self.refused(
                    format!("`{}` takes {}, not {}", self.name, wanted(&Kind::Choice(choices)), other.sort()),
                    expr.span,
                )]),
            };
        }
        self.choice(choices, word, expr.span, None)
    }

    /// Whether a program has added what may stand here by this name.
    fn is_added(&self, name: &str) -> bool {
        self.scope.kind_of(name).and_then(NameKind::stands_in) == Some(self.name)
    }

    fn choice(&self, choices: &'static [Choice], word: &str, span: Span, block: Option<&Block>) -> Fitted {
        let Some(choice) = find_choice(choices, word) else {
            let words: Vec<&str> = choices.iter().map(|choice| choice.word).collect();
            let message = format!("`{}` takes {}, not `{word}`", self.name, alternatives(&words));
            let diagnostic = Diagnostic::error(codes::UNKNOWN_WORD, message).at(span);
            let known: Vec<&str> = choices
                .iter()
                .flat_map(|choice| std::iter::once(&choice.word).chain(choice.aliases))
                .copied()
                .collect();
            return Err(vec![nearest_word(diagnostic, word, &known, span)]);
        };
        if let Some(block) = block.filter(|block| choice.settings.is_empty() && !block.entries.is_empty()) {
            let message = format!("`{}` has no settings", choice.word);
            let diagnostic = Diagnostic::error(codes::NO_SETTINGS, message).at(block.span);
            return Err(vec![diagnostic.fix(
                span.to(block.span),
                choice.word,
                format!("write `{}`", choice.word),
            )]);
        }
        let owner = Owner {
            word: choice.word,
            settings: choice.settings,
            outer: Some(self.owner),
            siblings: choices,
            setting: self.name,
        };
        let place = block.map_or(span, |block| span.to(block.span));
        let (settings, diagnostics) = match choice.settings.is_empty() {
            true => (Settings::new(), vec![]),
            false => check_block(&owner, block, place, Fill::Defaults, self.scope),
        };
        if diagnostics.is_empty() {
            Ok(Value::Choice { word: choice.word.into(), settings })
        } else {
            Err(diagnostics)
        }
    }

    fn without_block(&self, kind: &Kind, word: &str, span: Span) -> Diagnostic {
        self.refused(format!("`{}` takes {}, not `{word} {{ … }}`", self.name, wanted(kind)), span)
    }

    fn defined(&self, kinds: &[NameKind], names: &[String], span: Span) -> Result<Value, Diagnostic> {
        if let [name] = names
            && let Some(Value::Name(name)) = self.scope.variable(name)
        {
            return self.defined(kinds, &[name], span);
        }
        let written = names.join(".");
        match (self.scope.kind_of(&names[0]), names) {
            (Some(kind), [name]) if kinds.contains(&kind) => Ok(Value::Name(name.clone())),
            (Some(NameKind::Data), [data, _]) if kinds.contains(&NameKind::Data) => {
                let message = format!("`{}` takes a whole data set, not a part of one", self.name);
                Err(Diagnostic::error(codes::WRONG_NAME_KIND, message).at(span).fix(
                    span,
                    data.clone(),
                    format!("write `{data}`"),
                ))
            }
            (Some(kind), [name]) => {
                let message = format!(
                    "`{}` takes the name of {}, and `{name}` is {}",
                    self.name,
                    names_noun(kinds),
                    kind.described()
                );
                let diagnostic = Diagnostic::error(codes::WRONG_NAME_KIND, message).at(span);
                Err(self.with_names(diagnostic, kinds))
            }
            _ => Err(unknown_name(&written, span, self.scope, kinds)),
        }
    }

    fn with_names(&self, diagnostic: Diagnostic, kinds: &[NameKind]) -> Diagnostic {
        let of_kind = |(name, kind): (String, NameKind)| kinds.contains(&kind).then_some(name);
        let names: Vec<String> = self.scope.names().into_iter().filter_map(of_kind).collect();
        match names.len() {
            1..=8 => diagnostic.note(format!("defined are {}", all_of(&names))),
            _ => diagnostic,
        }
    }

    fn part(&self, names: &[String], span: Span) -> Result<Value, Diagnostic> {
        let (data, part) = match names {
            [data] => (data, None),
            [data, part] => (data, Some(part)),
            _ => return Err(unknown_name(&names.join("."), span, self.scope, &[NameKind::Data])),
        };
        self.defined(&[NameKind::Data], std::slice::from_ref(data), span)?;
        let known =
            self.scope.parts(data).unwrap_or_else(|| PARTS.iter().map(|part| part.to_string()).collect());
        match part {
            Some(part) if !known.contains(part) => {
                let message = format!("`{data}` has no part `{part}`; it has {}", all_of(&known));
                let diagnostic = Diagnostic::error(codes::UNKNOWN_PART, message).at(span);
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                Err(match nearest(part, known) {
                    Some(near) => {
                        diagnostic.fix(span, format!("{data}.{near}"), format!("write `{data}.{near}`"))
                    }
                    None => diagnostic,
                })
            }
            part => Ok(Value::Part { data: data.clone(), part: part.cloned() }),
        }
    }

    /// A bare word where a number, a list or the like is wanted.
    fn misplaced_word(&self, kind: &Kind, names: &[String], span: Span) -> Diagnostic {
        let word = names.join(".");
        if self.scope.kind_of(&names[0]) == Some(NameKind::Variable) {
            return self.unknown_value(&word, span);
        }
        let found = match self.scope.kind_of(&names[0]) {
            Some(kind) => format!("`{word}`, which is {}", kind.described()),
            None => format!("the word `{word}`"),
        };
        let message = format!("`{}` takes {}, not {found}", self.name, wanted(kind));
        let diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, message).at(span);
        let variables = self.scope.names().into_iter().filter(|(_, kind)| *kind == NameKind::Variable);
        let mut words: Vec<String> = variables.map(|(name, _)| name).collect();
        words.extend(words_of(&[*kind]).into_iter().map(str::to_string));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        nearest_word(diagnostic, &word, &words, span)
    }

    /// A `let` name whose own mistake is reported where it is defined: here nothing is wrong.
    fn unknown_value(&self, word: &str, span: Span) -> Diagnostic {
        let message = format!("`{}` is not checked: the definition of `{word}` has a mistake", self.name);
        Diagnostic { severity: Severity::Note, ..Diagnostic::error(codes::UNKNOWN_NAME, message).at(span) }
    }

    /// A path or a text without its quotes.
    fn unquoted(&self, kind: &Kind, expr: &Expr) -> Diagnostic {
        let message = format!("`{}` takes {}", self.name, wanted(kind));
        let diagnostic = Diagnostic::error(codes::UNQUOTED, message).at(expr.span);
        let text = run_together(expr).filter(|text| text.len() == (expr.span.end - expr.span.start) as usize);
        match text {
            Some(text) => diagnostic.fix(expr.span, quoted(&text), format!("write `{}`", quoted(&text))),
            None => diagnostic,
        }
    }

    // ---- values with a form of their own ------------------------------------------------------------------------

    fn length(&self, values: Vec<Value>, least: usize, most: usize, span: Span) -> Result<Value, Diagnostic> {
        if (least..=most).contains(&values.len()) {
            return Ok(Value::List(values));
        }
        let wanted = match (least, most) {
            (least, most) if least == most => format!("{least} values"),
            (least, usize::MAX) => format!("at least {least}"),
            (least, most) => format!("{least} to {most} values"),
        };
        let message = format!("`{}` takes {wanted}, found {}", self.name, values.len());
        Err(Diagnostic::error(codes::WRONG_LENGTH, message).at(span))
    }

    fn split(&self, shares: &[Expr], span: Span) -> Result<Value, Diagnostic> {
        let mut percents = vec![];
        for share in shares {
            match evaluate(share, self.scope)? {
                Value::Measure { number, unit: Unit::Percent } if number > 0.0 => percents.push(number),
                other => {
                    let message =
                        format!("each share of `{}` is above 0%, found {}", self.name, other.described());
                    return Err(Diagnostic::error(codes::BAD_SPLIT, message).at(share.span));
                }
            }
        }
        if percents.len() > 3 {
            let message = format!(
                "`{}` has {} shares; the parts are train, validation and test",
                self.name,
                percents.len()
            );
            return Err(Diagnostic::error(codes::BAD_SPLIT, message).at(span));
        }
        let sum: f64 = percents.iter().sum();
        if (sum - 100.0).abs() > 1e-9 {
            let sum = plain_number((sum * 1e6).round() / 1e6);
            let message = format!("the shares of `{}` sum to {sum}%, not to 100%", self.name);
            return Err(Diagnostic::error(codes::BAD_SPLIT, message).at(span));
        }
        Ok(Value::Split(percents.into_iter().map(|percent| percent / 100.0).collect()))
    }

    fn shares_without_percent(&self, expr: &Expr) -> Diagnostic {
        let message = format!("`{}` takes {}", self.name, wanted(&Kind::Split));
        let diagnostic = Diagnostic::error(codes::BAD_SPLIT, message).at(expr.span);
        let mut parts = vec![];
        let mut left = expr;
        while let ExprKind::Binary { left: inner, right, .. } = &left.kind {
            parts.push(right.as_ref());
            left = inner;
        }
        parts.push(left);
        let numbers: Vec<f64> = parts
            .iter()
            .rev()
            .filter_map(|part| match part.kind {
                ExprKind::Number { value, .. } => Some(value),
                _ => None,
            })
            .collect();
        let scale = match numbers.iter().sum::<f64>() {
            sum if (sum - 100.0).abs() < 1e-9 => 1.0,
            sum if (sum - 1.0).abs() < 1e-9 => 100.0,
            _ => return diagnostic,
        };
        if numbers.len() != parts.len() {
            return diagnostic;
        }
        let percent = |number: &f64| format!("{}%", plain_number((number * scale * 1e6).round() / 1e6));
        let text = numbers.iter().map(percent).collect::<Vec<_>>().join(" / ");
        diagnostic.fix(expr.span, text.clone(), format!("write `{text}`"))
    }

    fn columns(&self, block: &Block) -> Fitted {
        let column = |entry: &crate::language::tree::Entry| {
            let name = entry.name.node.clone();
            let column = match &entry.value.kind {
                ExprKind::Path(names) if self.variable(&entry.value).is_none() => names.join("."),
                _ => match evaluate(&entry.value, self.scope)? {
                    Value::Text(column) => column,
                    other => {
                        let message =
                            format!("the column for `{name}` is a name in quotes, not {}", other.sort());
                        return Err(self.refused(message, entry.value.span));
                    }
                },
            };
            Ok((name, column))
        };
        let columns: Vec<Result<(String, String), Diagnostic>> = block.entries.iter().map(column).collect();
        let (good, bad): (Vec<_>, Vec<_>) = columns.into_iter().partition(Result::is_ok);
        if bad.is_empty() {
            return Ok(Value::Columns(good.into_iter().flatten().collect()));
        }
        Err(bad.into_iter().filter_map(Result::err).collect())
    }

    fn condition(
        &self,
        metrics: &[&str],
        comparison: Comparison,
        left: &Expr,
        right: &Expr,
    ) -> Result<Value, Diagnostic> {
        let metric = match &left.kind {
            ExprKind::Path(names) => names.join("."),
            _ => {
                let message = format!("a condition begins with a metric: {}", alternatives(metrics));
                return Err(self.refused(message, left.span));
            }
        };
        if !metrics.contains(&metric.as_str()) {
            let message = format!("`{metric}` is not a metric; there are {}", all_of(metrics));
            let diagnostic = Diagnostic::error(codes::UNKNOWN_WORD, message).at(left.span);
            return Err(nearest_word(diagnostic, &metric, metrics, left.span));
        }
        let number = match evaluate(right, self.scope)? {
            Value::Integer(number) => number as f64,
            Value::Number(number) => number,
            Value::Measure { number, unit: Unit::Percent } => number / 100.0,
            other => {
                return Err(self.refused(
                    format!("`{metric}` is compared with a number, not with {}", other.sort()),
                    right.span,
                ));
            }
        };
        Ok(Value::Condition { metric, comparison, number })
    }

    fn refused(&self, message: String, span: Span) -> Diagnostic {
        Diagnostic::error(codes::WRONG_VALUE, message).at(span)
    }
}

/// The parts that a data set can have.
pub const PARTS: &[&str] = &["train", "validation", "test"];

/// The choice with this word or this peer's word for it.
pub fn find_choice(choices: &'static [Choice], word: &str) -> Option<&'static Choice> {
    let exact = choices.iter().find(|choice| choice.word == word);
    exact.or_else(|| choices.iter().find(|choice| choice.aliases.contains(&word)))
}

/// Whether an expression has the form of a kind, right or wrong in its value: `step a 20` tells run and count by this.
pub fn has_form(kind: &Kind, expr: &Expr, scope: &dyn Scope) -> bool {
    if let Kind::AnyOf(kinds) = kind {
        return kinds.iter().any(|kind| has_form(kind, expr, scope));
    }
    let variable = expr.as_word().and_then(|word| scope.variable(word));
    if let Some(value) = variable {
        let is_named = matches!(kind, Kind::Name(kinds) if kinds.contains(&NameKind::Variable));
        return is_named || has_value_form(kind, &value);
    }
    match (&expr.kind, kind) {
        (_, Kind::Any) => true,
        (ExprKind::Paren(inner), _) => has_form(kind, inner, scope),
        (ExprKind::List(_), Kind::List { .. } | Kind::Prompt) => true,
        (_, Kind::List { of, .. }) => has_form(of, expr, scope),
        (ExprKind::Path(names), Kind::Choice(choices)) => {
            let added = || scope.kind_of(&names[0]).is_some_and(|kind| kind.stands_in().is_some());
            names.len() == 1 && (find_choice(choices, &names[0]).is_some() || added())
        }
        (ExprKind::Choice { .. }, Kind::Choice(_)) => true,
        (ExprKind::Path(names), Kind::Bool | Kind::None) => {
            let value = constant(&names[0]);
            names.len() == 1
                && value.is_some_and(|value| matches!(value, Value::Bool(_)) == matches!(kind, Kind::Bool))
        }
        (ExprKind::Path(names), Kind::Name(_)) => names.len() == 1,
        (ExprKind::Path(_), Kind::Part | Kind::Word | Kind::Topic) => true,
        (ExprKind::Quantity { unit, .. }, Kind::Integer { unit: own, .. }) => {
            Unit::parse(&unit.node).is_none_or(|(unit, _)| Some(unit) == *own)
        }
        (ExprKind::Quantity { unit, .. }, Kind::Measure { units, .. }) => {
            Unit::parse(&unit.node).is_none_or(|(unit, _)| units.contains(&unit))
        }
        (ExprKind::Quantity { .. }, Kind::Fraction) => true,
        (
            ExprKind::Number { .. } | ExprKind::Binary { .. } | ExprKind::Negate(_),
            Kind::Integer { .. } | Kind::Number(_) | Kind::Fraction | Kind::Measure { .. },
        ) => true,
        (ExprKind::Number { .. }, Kind::Batch | Kind::Range) => true,
        (ExprKind::Text(_) | ExprKind::Interpolated(_), Kind::Text | Kind::Path | Kind::Prompt) => true,
        (ExprKind::Range { .. }, Kind::Range) => true,
        (ExprKind::Cross(..), Kind::Batch) => true,
        (ExprKind::Ratio(_) | ExprKind::Binary { operator: Operator::Divide, .. }, Kind::Split) => true,
        (ExprKind::Compare { .. }, Kind::Condition(_)) => true,
        (ExprKind::Block(_), Kind::Columns) => true,
        _ => false,
    }
}

fn has_value_form(kind: &Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Any, _) => true,
        (Kind::AnyOf(kinds), _) => kinds.iter().any(|kind| has_value_form(kind, value)),
        (Kind::List { .. }, Value::List(_)) => true,
        (Kind::List { of, .. }, _) => has_value_form(of, value),
        (Kind::Text | Kind::Path | Kind::Choice(_), Value::Text(_)) => true,
        (Kind::Prompt, Value::Text(_) | Value::Chat(_)) => true,
        (
            Kind::Integer { .. } | Kind::Number(_) | Kind::Fraction | Kind::Measure { .. },
            Value::Integer(_) | Value::Number(_) | Value::Measure { .. },
        ) => true,
        (Kind::Batch, Value::Batch { .. } | Value::Integer(_)) => true,
        (Kind::Range, Value::Range { .. } | Value::Integer(_)) => true,
        (Kind::Bool, Value::Bool(_)) | (Kind::None, Value::None) => true,
        (Kind::Name(_) | Kind::Part, Value::Name(_)) | (Kind::Part, Value::Part { .. }) => true,
        _ => false,
    }
}

fn takes_range(kind: &Kind) -> bool {
    match kind {
        Kind::Range | Kind::Any => true,
        Kind::AnyOf(kinds) => kinds.iter().any(takes_range),
        Kind::List { of, .. } => takes_range(of),
        _ => false,
    }
}

/// The words that could stand for a value of these kinds.
fn words_of(kinds: &[Kind]) -> Vec<&'static str> {
    kinds
        .iter()
        .flat_map(|kind| match kind {
            Kind::Choice(choices) => choices.iter().map(|choice| choice.word).collect(),
            Kind::Bool => vec!["on", "off"],
            Kind::None => vec!["none"],
            Kind::AnyOf(kinds) => words_of(kinds),
            _ => vec![],
        })
        .collect()
}

fn nearest_word(diagnostic: Diagnostic, written: &str, words: &[&str], span: Span) -> Diagnostic {
    match nearest(written, words.iter().copied()) {
        Some(near) => diagnostic.fix(span, near, format!("write `{near}`")),
        None => diagnostic,
    }
}

/// `llama-3.2-1b` as it was meant: words and numbers joined by signs without blanks.
fn run_together(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Path(names) => Some(names.join(".")),
        ExprKind::Number { value, whole } => {
            Some(whole.map_or_else(|| format!("{value}"), |whole| whole.to_string()))
        }
        ExprKind::Quantity { value, whole, unit } => {
            let number = whole.map_or_else(|| format!("{value}"), |whole| whole.to_string());
            Some(format!("{number}{}", unit.node))
        }
        ExprKind::Binary { operator, left, right } => {
            Some(format!("{}{}{}", run_together(left)?, operator.symbol(), run_together(right)?))
        }
        _ => None,
    }
}

/// All values, or all that is wrong.
fn gathered(fitted: impl Iterator<Item = Fitted>) -> Result<Vec<Value>, Vec<Diagnostic>> {
    let (mut values, mut diagnostics) = (vec![], vec![]);
    for result in fitted {
        match result {
            Ok(value) => values.push(value),
            Err(more) => diagnostics.extend(more),
        }
    }
    if diagnostics.is_empty() { Ok(values) } else { Err(diagnostics) }
}

fn one(diagnostic: Diagnostic) -> Vec<Diagnostic> {
    vec![diagnostic]
}
