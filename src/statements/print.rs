//! `print value, …`: shows values.

use crate::events::{Diagnostic, Event, Out};
use crate::language::schema::{Form, Kind, Setting};
use crate::language::value::{Settings, Value};
use crate::session::Session;
use crate::statements::{Action, Check, Checking, Statement};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "print",
    summary: "shows values",
    usage: "print value, …",
    details: "Texts are shown as they are, other values as they are written in ltune.",
    example: "print f\"width {4 * 64}\"",
    positional: &[Setting::new("values", Kind::list(&Kind::Any), "what to show").example("print 2 * 8")],
    ..Form::VERB
};

struct Print(Vec<Value>);

impl Action for Print {
    fn run(&self, _session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let texts: Vec<String> = self.0.iter().map(shown).collect();
        let value = match self.0.as_slice() {
            [value] => serde_json::to_value(value),
            values => serde_json::to_value(values),
        };
        out.emit(Event::Value {
            name: None,
            text: texts.join(" "),
            value: value.unwrap_or(serde_json::Value::Null),
        });
        Ok(())
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_ltune(),
    }
}

fn check(settings: Settings, _checking: &mut Checking) -> Option<Box<dyn Action>> {
    Some(Box::new(Print(settings.list("values").to_vec())))
}
