//! Expressions become values: arithmetic with units, texts, lists, ranges and the few functions there are.

use crate::events::{Diagnostic, Span};
use crate::language::codes;
use crate::language::scope::{NameKind, Scope};
use crate::language::suggest::{alternatives, nearest};
use crate::language::tree::{Expr, ExprKind, Operator, Piece};
use crate::language::value::Value;
use crate::units::{SPELLINGS, Unit};

/// A sweep tries at most this many values.
pub const LARGEST_SWEEP: usize = 10_000;

/// The functions of the language, with how they are called.
pub const FUNCTIONS: &[(&str, &str)] = &[
    ("one_of", "one_of(1e-4, 5e-5)"),
    ("log", "log(1e-6 .. 1e-3, 7)"),
    ("user", "user(\"…\")"),
    ("assistant", "assistant(\"…\")"),
    ("system", "system(\"…\")"),
];

/// The roles that messages of a chat can have.
pub const ROLES: &[&str] = &["system", "user", "assistant"];

/// The value of an expression where any value is welcome: in `let`, in `print`, between the braces of `f"…"`.
pub fn evaluate(expr: &Expr, scope: &dyn Scope) -> Result<Value, Diagnostic> {
    match &expr.kind {
        ExprKind::Number { value, whole } => Ok(number(*value, *whole)),
        ExprKind::Quantity { value, unit, .. } => {
            let (unit, factor) = find_unit(&unit.node, unit.span)?;
            Ok(Value::Measure { number: value * factor, unit })
        }
        ExprKind::Text(text) => Ok(Value::Text(text.clone())),
        ExprKind::Interpolated(pieces) => interpolated(pieces, scope),
        ExprKind::Path(names) => path(names, expr.span, scope),
        ExprKind::Choice { word, .. } => Err(Diagnostic::error(
            codes::WRONG_VALUE,
            format!("`{} {{ … }}` has a meaning only as the value of a setting", word.node),
        )
        .at(expr.span)),
        ExprKind::Block(_) => {
            Err(Diagnostic::error(codes::WRONG_VALUE, "a block is not a value here").at(expr.span))
        }
        ExprKind::Call { name, arguments } => call(&name.node, name.span, arguments, expr.span, scope),
        ExprKind::List(items) => list(items, scope),
        ExprKind::Range { start, end, step } => range(start, end, step.as_deref(), scope),
        ExprKind::Binary { .. } => binary(expr, scope),
        ExprKind::Compare { comparison, left, right } => {
            let (a, b) = (evaluate(left, scope)?, evaluate(right, scope)?);
            match (plain(&a), plain(&b)) {
                (Some(a), Some(b)) => Ok(Value::Bool(comparison.holds(a, b))),
                _ => {
                    let message = format!("{} and {} cannot be compared", a.described(), b.described());
                    Err(Diagnostic::error(codes::BAD_ARITHMETIC, message).at(expr.span))
                }
            }
        }
        ExprKind::Negate(inner) => negated(evaluate(inner, scope)?, expr.span),
        ExprKind::Paren(inner) => evaluate(inner, scope),
        ExprKind::Cross(micro, accumulate) => batch(micro, accumulate, scope),
        ExprKind::Ratio(shares) => ratio(shares, scope),
    }
}

/// The whole number an expression stands for, as counts are.
pub fn whole_number(expr: &Expr, scope: &dyn Scope) -> Result<i64, Diagnostic> {
    let value = evaluate(expr, scope)?;
    match value {
        Value::Integer(number) => Ok(number),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => Ok(number as i64),
        other => {
            let message = format!("a whole number is wanted here, not {}", other.described());
            Err(Diagnostic::error(codes::NOT_WHOLE, message).at(expr.span))
        }
    }
}

/// The unit of a spelling and its factor; an error that knows the nearest one when there is none.
pub fn find_unit(written: &str, span: Span) -> Result<(Unit, f64), Diagnostic> {
    if let Some(found) = Unit::parse(written) {
        return Ok(found);
    }
    let diagnostic = Diagnostic::error(codes::UNKNOWN_UNIT, format!("`{written}` is not a unit")).at(span);
    match nearest(written, SPELLINGS.iter().map(|spelling| spelling.text)) {
        Some(near) => Err(diagnostic.fix(span, near, format!("write `{near}`"))),
        None => Err(diagnostic.note(
            "units are `steps`, `epochs`, `tokens`, `rows`, `layers`, `%`, `kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`, `s`, `min` and `h`",
        )),
    }
}

fn number(value: f64, whole: Option<i64>) -> Value {
    whole.map_or(Value::Number(value), Value::Integer)
}

fn plain(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

fn interpolated(pieces: &[Piece], scope: &dyn Scope) -> Result<Value, Diagnostic> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Value(expr) => match evaluate(expr, scope)? {
                Value::Text(part) => text.push_str(&part),
                Value::Number(number) => text.push_str(&crate::language::value::plain_number(number)),
                other => text.push_str(&other.to_ltune()),
            },
        }
    }
    Ok(Value::Text(text))
}

fn path(names: &[String], span: Span, scope: &dyn Scope) -> Result<Value, Diagnostic> {
    if let [word] = names {
        if let Some(value) = scope.variable(word) {
            return Ok(value);
        }
        if let Some(value) = constant(word) {
            return Ok(value);
        }
    }
    match (scope.kind_of(&names[0]), names) {
        (Some(NameKind::Data), [data, part]) => {
            Ok(Value::Part { data: data.clone(), part: Some(part.clone()) })
        }
        (Some(_), [name]) => Ok(Value::Name(name.clone())),
        _ => Err(unknown_name(&names.join("."), span, scope, &[])),
    }
}

/// `on`, `off` and `none` in their spellings.
pub fn constant(word: &str) -> Option<Value> {
    match word {
        "on" | "true" | "True" | "yes" => Some(Value::Bool(true)),
        "off" | "false" | "False" | "no" => Some(Value::Bool(false)),
        "none" | "None" | "null" => Some(Value::None),
        _ => None,
    }
}

/// The message for a name that is not defined; `kinds` says what it should have been, empty for anything.
pub fn unknown_name(written: &str, span: Span, scope: &dyn Scope, kinds: &[NameKind]) -> Diagnostic {
    let names: Vec<String> = scope
        .names()
        .into_iter()
        .filter(|(_, kind)| kinds.is_empty() || kinds.contains(kind))
        .map(|(name, _)| name)
        .collect();
    let what = match kinds {
        [] => "is not defined".to_string(),
        kinds => {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.described()).collect();
            format!("is not the name of {}", kinds.join(" or "))
        }
    };
    let diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, format!("`{written}` {what}")).at(span);
    if let Some(near) = nearest(written, names.iter().map(String::as_str)) {
        return diagnostic.fix(span, near, format!("write `{near}`"));
    }
    match (names.len(), kinds) {
        (0, [kind, ..]) => {
            diagnostic.note(format!("none is defined yet: write `{}` before it", kind.definition()))
        }
        (0, []) => diagnostic.note("a text stands in quotes"),
        (1..=8, _) => diagnostic.note(format!("defined are {}", crate::language::suggest::all_of(&names))),
        _ => diagnostic,
    }
}

fn list(items: &[Expr], scope: &dyn Scope) -> Result<Value, Diagnostic> {
    let values: Vec<Value> = items.iter().map(|item| evaluate(item, scope)).collect::<Result<_, _>>()?;
    let is_chat = !values.is_empty() && values.iter().all(|value| matches!(value, Value::Chat(_)));
    if !is_chat {
        return Ok(Value::List(values));
    }
    let messages = values.into_iter().flat_map(|value| match value {
        Value::Chat(messages) => messages,
        _ => vec![],
    });
    Ok(Value::Chat(messages.collect()))
}

fn range(start: &Expr, end: &Expr, step: Option<&Expr>, scope: &dyn Scope) -> Result<Value, Diagnostic> {
    let (first, last) = (evaluate(start, scope)?, evaluate(end, scope)?);
    let by = step.map(|step| evaluate(step, scope)).transpose()?;
    let span = start.span.to(step.unwrap_or(end).span);
    if let (Value::Integer(start), Value::Integer(end)) = (&first, &last) {
        return match by {
            None => Ok(Value::Range { start: *start, end: *end, step: 1 }),
            Some(Value::Integer(step)) if step > 0 => Ok(Value::Range { start: *start, end: *end, step }),
            Some(other) if plain(&other).is_some_and(|step| step > 0.0) => {
                numbers_between(*start as f64, *end as f64, plain(&other).unwrap_or(1.0), span)
            }
            Some(_) => Err(bad_step(span)),
        };
    }
    match (plain(&first), plain(&last), by.as_ref().map(plain)) {
        (Some(start), Some(end), Some(Some(step))) if step > 0.0 => numbers_between(start, end, step, span),
        (Some(_), Some(_), Some(_)) => Err(bad_step(span)),
        (Some(_), Some(_), None) => {
            Err(Diagnostic::error(codes::BAD_SWEEP, "a range of fractions needs its step")
                .at(span)
                .note("write `0.1..0.5 step 0.1`, or `log(1e-6 .. 1e-3, 7)` for even steps in the exponent"))
        }
        _ => {
            let message = format!(
                "a range goes from a number to a number, not from {} to {}",
                first.described(),
                last.described()
            );
            Err(Diagnostic::error(codes::BAD_SWEEP, message).at(span))
        }
    }
}

fn bad_step(span: Span) -> Diagnostic {
    Diagnostic::error(codes::BAD_SWEEP, "the step of a range is a number above 0").at(span)
}

/// `0.1..0.5 step 0.1` as the values it tries; each is computed from the start, so that errors do not add up.
fn numbers_between(start: f64, end: f64, step: f64, span: Span) -> Result<Value, Diagnostic> {
    let count = ((end - start) / step + 1e-9).floor() + 1.0;
    let count = checked_count(count, span)?;
    Ok(Value::Sweep((0..count).map(|index| Value::Number(tidy(start + index as f64 * step))).collect()))
}

/// The values of a whole range as a sweep.
pub fn range_values(start: i64, end: i64, step: i64, span: Span) -> Result<Vec<Value>, Diagnostic> {
    let count = (end as f64 - start as f64) / step as f64 + 1.0;
    let count = checked_count(count.floor(), span)?;
    let value = |index: usize| (i128::from(start) + index as i128 * i128::from(step)) as i64;
    Ok((0..count).map(|index| Value::Integer(value(index))).collect())
}

fn checked_count(count: f64, span: Span) -> Result<usize, Diagnostic> {
    if count < 1.0 {
        return Err(Diagnostic::error(
            codes::BAD_SWEEP,
            "this range is empty: its end lies before its start",
        )
        .at(span));
    }
    if count > LARGEST_SWEEP as f64 {
        let message = format!("this range has {count} values; {LARGEST_SWEEP} are the most");
        return Err(Diagnostic::error(codes::BAD_SWEEP, message).at(span).note("take a larger step"));
    }
    Ok(count as usize)
}

/// Rounds away the last bits, so that `0.1 + 2 * 0.1` is `0.3`.
fn tidy(number: f64) -> f64 {
    format!("{number:.14e}").parse().unwrap_or(number)
}

fn call(
    name: &str,
    name_span: Span,
    arguments: &[Expr],
    span: Span,
    scope: &dyn Scope,
) -> Result<Value, Diagnostic> {
    match name {
        "one_of" => one_of(arguments, span, scope),
        "log" => logarithmic(arguments, span, scope),
        role if ROLES.contains(&role) => message(role, arguments, span, scope),
        _ => {
            let diagnostic =
                Diagnostic::error(codes::UNKNOWN_FUNCTION, format!("`{name}` is not a function"))
                    .at(name_span);
            let names = FUNCTIONS.iter().map(|(name, _)| *name);
            Err(match nearest(name, names.clone()) {
                Some(near) => diagnostic.fix(name_span, near, format!("write `{near}`")),
                None => {
                    diagnostic.note(format!("functions are {}", alternatives(&names.collect::<Vec<_>>())))
                }
            })
        }
    }
}

fn wrong_arguments(message: String, usage: &str, span: Span) -> Diagnostic {
    Diagnostic::error(codes::WRONG_ARGUMENTS, message).at(span).note(format!("write `{usage}`"))
}

fn one_of(arguments: &[Expr], span: Span, scope: &dyn Scope) -> Result<Value, Diagnostic> {
    if arguments.is_empty() {
        return Err(wrong_arguments("`one_of` needs the values to choose from".into(), FUNCTIONS[0].1, span));
    }
    let values: Result<Vec<Value>, Diagnostic> =
        arguments.iter().map(|argument| evaluate(argument, scope)).collect();
    Ok(Value::Sweep(values?))
}

/// Values that are evenly spaced in their logarithm, from the first to the last end of a range.
fn logarithmic(arguments: &[Expr], span: Span, scope: &dyn Scope) -> Result<Value, Diagnostic> {
    let usage = FUNCTIONS[1].1;
    let [range, count] = arguments else {
        let message = format!("`log` takes a range and a count, found {} values", arguments.len());
        return Err(wrong_arguments(message, usage, span));
    };
    let ExprKind::Range { start, end, step: None } = &range.kind else {
        return Err(wrong_arguments(
            "the first argument of `log` is a range without a step".into(),
            usage,
            range.span,
        ));
    };
    let (first, last) = (evaluate(start, scope)?, evaluate(end, scope)?);
    let (Some(first), Some(last)) = (plain(&first), plain(&last)) else {
        return Err(wrong_arguments(
            "the range of `log` goes from a number to a number".into(),
            usage,
            range.span,
        ));
    };
    if first <= 0.0 || last <= first {
        let message = format!(
            "`log` needs a range from above 0 to something larger, found `{}` to `{}`",
            crate::language::value::plain_number(first),
            crate::language::value::plain_number(last)
        );
        return Err(Diagnostic::error(codes::BAD_SWEEP, message).at(range.span));
    }
    let points = whole_number(count, scope)?;
    if !(2..=LARGEST_SWEEP as i64).contains(&points) {
        let message = format!("`log` makes 2 to {LARGEST_SWEEP} values, not {points}");
        return Err(Diagnostic::error(codes::BAD_SWEEP, message).at(count.span));
    }
    let ratio = (last / first).ln();
    let value = |index: i64| match index {
        0 => first,
        index if index == points - 1 => last,
        index => tidy(first * (ratio * index as f64 / (points - 1) as f64).exp()),
    };
    Ok(Value::Sweep((0..points).map(|index| Value::Number(value(index))).collect()))
}

fn message(role: &str, arguments: &[Expr], span: Span, scope: &dyn Scope) -> Result<Value, Diagnostic> {
    let usage = format!("{role}(\"…\")");
    let [argument] = arguments else {
        let message = format!("`{role}` takes one text, found {} values", arguments.len());
        return Err(wrong_arguments(message, &usage, span));
    };
    match evaluate(argument, scope)? {
        Value::Text(text) => Ok(Value::Chat(vec![(role.to_string(), text)])),
        other => Err(wrong_arguments(
            format!("`{role}` takes a text, not {}", other.described()),
            &usage,
            argument.span,
        )),
    }
}

/// `4 x 2` as a batch.
pub fn batch(micro: &Expr, accumulate: &Expr, scope: &dyn Scope) -> Result<Value, Diagnostic> {
    let part = |expr: &Expr| match whole_number(expr, scope)? {
        number @ 1.. => Ok(number),
        number => Err(Diagnostic::error(
            codes::OUT_OF_RANGE,
            format!("each part of a batch is at least 1, found {number}"),
        )
        .at(expr.span)),
    };
    Ok(Value::Batch { micro: part(micro)?, accumulate: part(accumulate)? })
}

/// Outside of a split, `/` between shares divides.
fn ratio(shares: &[Expr], scope: &dyn Scope) -> Result<Value, Diagnostic> {
    let mut quotient: Option<Value> = None;
    for share in shares {
        let value = evaluate(share, scope)?;
        quotient = Some(match quotient {
            None => value,
            Some(left) => operate(Operator::Divide, left, value, share.span)?,
        });
    }
    quotient.ok_or_else(|| unreachable!("a ratio has shares"))
}

fn negated(value: Value, span: Span) -> Result<Value, Diagnostic> {
    match value {
        Value::Integer(number) => number.checked_neg().map(Value::Integer).ok_or_else(|| too_large(span)),
        Value::Number(number) => Ok(Value::Number(-number)),
        Value::Measure { number, unit } => Ok(Value::Measure { number: -number, unit }),
        other => {
            let message = format!("`-` needs a number, not {}", other.described());
            Err(Diagnostic::error(codes::BAD_ARITHMETIC, message).at(span))
        }
    }
}

/// Walks the left side of a long sum without recursion.
fn binary(expr: &Expr, scope: &dyn Scope) -> Result<Value, Diagnostic> {
    let mut spine = vec![];
    let mut leftmost = expr;
    while let ExprKind::Binary { operator, left, right } = &leftmost.kind {
        spine.push((*operator, right, leftmost.span));
        leftmost = left;
    }
    let mut value = evaluate(leftmost, scope)?;
    for (operator, right, span) in spine.into_iter().rev() {
        value = operate(operator, value, evaluate(right, scope)?, span)?;
    }
    Ok(value)
}

fn operate(operator: Operator, left: Value, right: Value, span: Span) -> Result<Value, Diagnostic> {
    use Operator::{Add, Divide, Multiply, Subtract};
    match (operator, &left, &right) {
        (_, Value::Integer(a), Value::Integer(b)) => integers(operator, *a, *b, span),
        (Add, Value::Text(a), Value::Text(b)) => Ok(Value::Text(format!("{a}{b}"))),
        (Add, Value::List(a), Value::List(b)) => Ok(Value::List([a.as_slice(), b].concat())),
        (Add, Value::Chat(a), Value::Chat(b)) => Ok(Value::Chat([a.as_slice(), b].concat())),
        (Add | Subtract, Value::Measure { number: a, unit }, Value::Measure { number: b, unit: other })
            if unit == other =>
        {
            Ok(Value::Measure { number: finite(numbers(operator, *a, *b), span)?, unit: *unit })
        }
        (Divide, Value::Measure { number: a, unit }, Value::Measure { number: b, unit: other })
            if unit == other =>
        {
            Ok(Value::Number(finite(numbers(operator, *a, nonzero(*b, span)?), span)?))
        }
        (Multiply | Divide, Value::Measure { number: a, unit }, _) if plain(&right).is_some() => {
            let b = plain(&right).unwrap_or(1.0);
            let b = if operator == Divide { nonzero(b, span)? } else { b };
            Ok(Value::Measure { number: finite(numbers(operator, *a, b), span)?, unit: *unit })
        }
        (Multiply, _, Value::Measure { number: b, unit }) if plain(&left).is_some() => {
            let a = plain(&left).unwrap_or(1.0);
            Ok(Value::Measure { number: finite(a * b, span)?, unit: *unit })
        }
        _ => match (plain(&left), plain(&right)) {
            (Some(a), Some(b)) => {
                let b = if operator == Divide { nonzero(b, span)? } else { b };
                Ok(Value::Number(finite(numbers(operator, a, b), span)?))
            }
            _ => {
                let sign = operator.symbol();
                let message = format!("`{sign}` cannot join {} and {}", left.described(), right.described());
                Err(Diagnostic::error(codes::BAD_ARITHMETIC, message).at(span))
            }
        },
    }
}

fn integers(operator: Operator, a: i64, b: i64, span: Span) -> Result<Value, Diagnostic> {
    let result = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => {
            nonzero(b as f64, span)?;
            match a.checked_rem(b) {
                Some(0) => a.checked_div(b),
                Some(_) => return Ok(Value::Number(a as f64 / b as f64)),
                None => None,
            }
        }
    };
    result.map(Value::Integer).ok_or_else(|| too_large(span))
}

fn numbers(operator: Operator, a: f64, b: f64) -> f64 {
    match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
    }
}

fn finite(number: f64, span: Span) -> Result<f64, Diagnostic> {
    if number.is_finite() { Ok(number) } else { Err(too_large(span)) }
}

fn too_large(span: Span) -> Diagnostic {
    Diagnostic::error(codes::BAD_ARITHMETIC, "the result is too large for a number").at(span)
}

fn nonzero(number: f64, span: Span) -> Result<f64, Diagnostic> {
    if number == 0.0 {
        return Err(Diagnostic::error(codes::BAD_ARITHMETIC, "division by zero").at(span));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::SourceId;
    use crate::language::parse::parse_expression;
    use crate::language::scope::EmptyScope;

    fn value(text: &str) -> Result<Value, String> {
        let expr = parse_expression(text, SourceId(0)).expect(text);
        evaluate(&expr, &EmptyScope).map_err(|diagnostic| diagnostic.message)
    }

    fn written(text: &str) -> String {
        value(text).map_or_else(|message| message, |value| value.to_ltune())
    }

    #[test]
    fn arithmetic_binds_as_in_school_and_keeps_whole_numbers() {
        assert_eq!(written("1 + 2 * 3"), "7");
        assert_eq!(written("(1 + 2) * 3 - -1"), "10");
        assert_eq!(written("7 / 2"), "3.5");
        assert_eq!(written("8 / 2"), "4");
        assert_eq!(written("2 * 512 tokens"), "1024 tokens");
        assert_eq!(written("1GiB / 2"), "512MiB");
        assert_eq!(written("10 steps / 5 steps"), "2.0");
        assert_eq!(written("90% / 5%"), "18.0");
        assert_eq!(written("\"a\" + \"b\""), "\"ab\"");
        assert_eq!(written("[1] + [2, 3]"), "[1, 2, 3]");
        assert_eq!(written("f\"{1 + 1} {{x}} {\t3 steps}\""), "\"2 {x} 3 steps\"");
    }

    #[test]
    fn arithmetic_that_has_no_result_says_so() {
        assert_eq!(written("1 / 0"), "division by zero");
        assert_eq!(written("9223372036854775807 + 1"), "the result is too large for a number");
        assert_eq!(written("1e308 * 10"), "the result is too large for a number");
        assert_eq!(written("1 + 2 steps"), "`+` cannot join the number `1` and a number of steps, `2 steps`");
        assert_eq!(written("-\"a\""), "`-` needs a number, not a text");
    }

    #[test]
    fn sweeps_are_values() {
        assert_eq!(written("one_of(1e-4, 5e-5)"), "one_of(1e-4, 5e-5)");
        assert_eq!(written("log(1e-6 .. 1e-3, 4)"), "one_of(1e-6, 1e-5, 1e-4, 1e-3)");
        assert_eq!(written("0.1..0.5 step 0.1"), "one_of(0.1, 0.2, 0.3, 0.4, 0.5)");
        assert_eq!(written("8..64 step 8"), "8..64 step 8");
        assert_eq!(
            written("log(0 .. 1, 3)"),
            "`log` needs a range from above 0 to something larger, found `0` to `1`"
        );
        assert_eq!(written("log(1 .. 2)"), "`log` takes a range and a count, found 1 values");
        assert_eq!(written("0.1..0.5"), "a range of fractions needs its step");
        assert_eq!(written("one_off(1)"), "`one_off` is not a function");
    }

    #[test]
    fn chats_are_lists_of_messages() {
        assert_eq!(written("[user(\"hi\"), assistant(\"yes\")]"), "[user(\"hi\"), assistant(\"yes\")]");
        assert_eq!(written("user(3)"), "`user` takes a text, not the number `3`");
    }

    #[test]
    fn unknown_units_and_names_are_named() {
        assert_eq!(written("512 tokns"), "`tokns` is not a unit");
        assert_eq!(written("banana"), "`banana` is not defined");
    }
}
