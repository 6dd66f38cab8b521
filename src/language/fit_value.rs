//! Numbers, measures, texts and the like against a kind: the part of fitting that needs no names.

use crate::events::{Diagnostic, Span};
use crate::language::codes;
use crate::language::describe::{limits, wanted};
use crate::language::schema::{Bounds, Kind};
use crate::language::value::{Value, measure_text, plain_number};
use crate::units::Unit;

/// A kind, the name of the setting that has it, and the place of the value.
pub struct FitValue<'a> {
    pub name: &'a str,
    pub kind: &'a Kind,
    pub span: Span,
}

impl FitValue<'_> {
    pub fn fit(&self, value: Value) -> Result<Value, Diagnostic> {
        match (self.kind, value) {
            (Kind::Any, value) => Ok(value),
            (Kind::Integer { min, max, unit }, value) => self.integer(value, *min, *max, *unit),
            (Kind::Number(bounds), Value::Integer(number)) => {
                self.bounded(number as f64, bounds).map(Value::Number)
            }
            (Kind::Number(bounds), Value::Number(number)) => self.bounded(number, bounds).map(Value::Number),
            (Kind::Fraction, value) => self.fraction(value),
            (Kind::Measure { units, bare, bounds }, value) => self.measure(value, units, *bare, bounds),
            (Kind::Path, Value::Text(text)) if text.is_empty() => {
                Err(Diagnostic::error(codes::WRONG_VALUE, format!("`{}` is an empty text", self.name))
                    .at(self.span))
            }
            (Kind::Text | Kind::Path | Kind::Prompt, value @ Value::Text(_)) => Ok(value),
            (Kind::Prompt, value @ Value::Chat(_)) => Ok(value),
            (Kind::Bool, value @ Value::Bool(_)) => Ok(value),
            (Kind::None, Value::None) => Ok(Value::None),
            (Kind::Word | Kind::Topic, value @ Value::Word(_)) => Ok(value),
            (Kind::Batch, value @ Value::Batch { .. }) => Ok(value),
            (Kind::Batch, Value::Integer(micro @ 1..)) => Ok(Value::Batch { micro, accumulate: 1 }),
            (Kind::Split, value @ Value::Split(_)) => Ok(value),
            (Kind::Range, Value::Integer(number)) => Ok(Value::Range { start: number, end: number, step: 1 }),
            (Kind::Range, Value::Range { start, end, .. }) if start > end => {
                let message = format!("the range of `{}` is empty: {end} lies before {start}", self.name);
                Err(Diagnostic::error(codes::OUT_OF_RANGE, message).at(self.span))
            }
            (Kind::Range, value @ Value::Range { .. }) => Ok(value),
            (_, value) => Err(self.wrong(&value)),
        }
    }

    fn integer(&self, value: Value, min: i64, max: i64, unit: Option<Unit>) -> Result<Value, Diagnostic> {
        let number = match value {
            Value::Integer(number) => number,
            Value::Number(number) => self.whole(number)?,
            Value::Measure { number, unit: found } if Some(found) == unit => self.whole(number)?,
            value @ Value::Measure { .. } => return Err(self.wrong_unit(&value)),
            value => return Err(self.wrong(&value)),
        };
        if (min..=max).contains(&number) {
            return Ok(Value::Integer(number));
        }
        let range = match (min, max) {
            (min, i64::MAX) => format!("at least {min}"),
            (i64::MIN, max) => format!("at most {max}"),
            (min, max) => format!("from {min} to {max}"),
        };
        Err(self.out_of_range(&range, &number.to_string()))
    }

    fn whole(&self, number: f64) -> Result<i64, Diagnostic> {
        if number.fract() == 0.0 && number.abs() < 9e15 {
            return Ok(number as i64);
        }
        let message = format!("`{}` takes a whole number, not {}", self.name, plain_number(number));
        Err(Diagnostic::error(codes::NOT_WHOLE, message).at(self.span))
    }

    fn bounded(&self, number: f64, bounds: &Bounds) -> Result<f64, Diagnostic> {
        if bounds.contains(number) {
            return Ok(number);
        }
        Err(self.out_of_range(limits(bounds).trim_start(), &plain_number(number)))
    }

    fn out_of_range(&self, range: &str, found: &str) -> Diagnostic {
        Diagnostic::error(codes::OUT_OF_RANGE, format!("`{}` is {range}, found {found}", self.name))
            .at(self.span)
    }

    fn fraction(&self, value: Value) -> Result<Value, Diagnostic> {
        let number = match value {
            Value::Integer(number) => number as f64,
            Value::Number(number) => number,
            Value::Measure { number, unit: Unit::Percent } => number / 100.0,
            value @ Value::Measure { .. } => return Err(self.wrong_unit(&value)),
            value => return Err(self.wrong(&value)),
        };
        self.bounded(number, &Bounds::between(0.0, 1.0)).map(Value::Number)
    }

    fn measure(
        &self,
        value: Value,
        units: &[Unit],
        bare: Option<Unit>,
        bounds: &Bounds,
    ) -> Result<Value, Diagnostic> {
        let bare = bare.or(if units.len() == 1 { Some(units[0]) } else { None });
        let (number, unit) = match (&value, bare) {
            (Value::Measure { number, unit }, _) if units.contains(unit) => (*number, *unit),
            (Value::Measure { .. }, _) => return Err(self.wrong_unit(&value)),
            (Value::Integer(number), Some(unit)) => (*number as f64, unit),
            (Value::Number(number), Some(unit)) => (*number, unit),
            (Value::Integer(number), None) => return Err(self.missing_unit(*number as f64, units)),
            (Value::Number(number), None) => return Err(self.missing_unit(*number, units)),
            _ => return Err(self.wrong(&value)),
        };
        if !bounds.contains(number) {
            let found = measure_text(number, unit);
            return Err(self.out_of_range(limits(bounds).trim_start(), &format!("`{found}`")));
        }
        if matches!(unit, Unit::Percent) && number > 100.0 {
            return Err(self.out_of_range("at most 100%", &format!("`{}`", measure_text(number, unit))));
        }
        let is_countable =
            matches!(unit, Unit::Steps | Unit::Tokens | Unit::Rows | Unit::Layers | Unit::Bytes);
        if is_countable && number.fract() != 0.0 {
            let message =
                format!("`{}` takes whole {}, not `{}`", self.name, noun(unit), measure_text(number, unit));
            return Err(Diagnostic::error(codes::NOT_WHOLE, message).at(self.span));
        }
        Ok(Value::Measure { number, unit })
    }

    fn missing_unit(&self, number: f64, units: &[Unit]) -> Diagnostic {
        let written: Vec<String> = units.iter().map(|unit| measure_text(number, *unit)).collect();
        let names: Vec<&str> = units.iter().map(|unit| unit.name()).collect();
        let names = match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.join(""),
        };
        let message = format!("`{}` needs a unit: {names}", self.name);
        let diagnostic = Diagnostic::error(codes::MISSING_UNIT, message).at(self.span);
        written.into_iter().fold(diagnostic, |diagnostic, text| {
            diagnostic.fix(self.span, text.clone(), format!("write `{text}`"))
        })
    }

    fn wrong_unit(&self, value: &Value) -> Diagnostic {
        let message = format!("`{}` takes {}, not {}", self.name, wanted(self.kind), value.sort());
        let diagnostic = Diagnostic::error(codes::WRONG_UNIT, message).at(self.span);
        let takes = |wanted: Unit| match self.kind {
            Kind::Measure { units, .. } => units.contains(&wanted),
            _ => false,
        };
        match value {
            Value::Measure { number, unit: Unit::Percent } if takes(Unit::Epochs) => {
                let part = measure_text(tidy(number / 100.0), Unit::Epochs);
                diagnostic.note(format!("for a part of an epoch write `{part}`"))
            }
            Value::Measure { number, unit }
                if matches!(self.kind, Kind::Integer { unit: None, .. } | Kind::Number(_)) =>
            {
                let bare = plain_number(*number);
                match unit {
                    Unit::Percent => diagnostic,
                    _ => diagnostic.fix(self.span, bare.clone(), format!("write `{bare}`")),
                }
            }
            _ => diagnostic,
        }
    }

    fn wrong(&self, value: &Value) -> Diagnostic {
        if matches!(value, Value::Measure { .. }) {
            return self.wrong_unit(value);
        }
        let message = format!("`{}` takes {}, not {}", self.name, wanted(self.kind), value.sort());
        let diagnostic = Diagnostic::error(codes::WRONG_VALUE, message).at(self.span);
        match (self.kind, value) {
            (
                Kind::Integer { .. } | Kind::Number(_) | Kind::Fraction | Kind::Measure { .. },
                Value::Text(text),
            ) if text.trim().parse::<f64>().is_ok() => {
                diagnostic.fix(self.span, text.trim(), "remove the quotes")
            }
            (Kind::Bool, Value::Integer(number @ 0..=1)) => {
                let word = if *number == 1 { "on" } else { "off" };
                diagnostic.fix(self.span, word, format!("write `{word}`"))
            }
            (Kind::Text | Kind::Path, Value::Integer(_) | Value::Number(_)) => {
                let text = format!("\"{}\"", value.to_ltune());
                diagnostic.fix(self.span, text.clone(), format!("write `{text}`"))
            }
            _ => diagnostic,
        }
    }
}

fn noun(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "bytes",
        unit => unit.name(),
    }
}

fn tidy(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}
