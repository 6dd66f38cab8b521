//! The functions and filters that chat templates expect of transformers.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

/// `raise_exception`, `strftime_now` and `tojson`, as transformers defines them.
pub fn add_functions(environment: &mut Environment<'static>) {
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| fixed_date(&format));
    environment.add_filter("tojson", |value: Value, options: Kwargs| -> Result<String, Error> {
        let indent: Option<usize> = options.get("indent")?;
        // transformers ignores the others that Python's json.dumps knows, too.
        let _: (Option<bool>, Option<bool>) = (options.get("ensure_ascii")?, options.get("sort_keys")?);
        options.assert_all_used()?;
        let mut text = String::new();
        write_json(&value, indent, 0, &mut text)?;
        Ok(text)
    });
}

/// The day that Llama 3's own template falls back to. The real day would make a session that is
/// replayed tomorrow give other numbers.
fn fixed_date(format: &str) -> String {
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        text.push_str(match letters.next() {
            Some('Y') => "2024",
            Some('y') => "24",
            Some('m') => "07",
            Some('B') => "July",
            Some('b' | 'h') => "Jul",
            Some('d') => "26",
            Some('A') => "Friday",
            Some('a') => "Fri",
            Some('j') => "208",
            Some('H' | 'M' | 'S') => "00",
            Some('I') => "12",
            Some('p') => "AM",
            Some('F') => "2024-07-26",
            Some('T') => "00:00:00",
            Some('%') => "%",
            Some('-') => match letters.next() {
                Some('d') => "26",
                Some('m') => "7",
                _ => "",
            },
            _ => "",
        });
    }
    text
}

/// JSON as Python's `json.dumps(ensure_ascii=False)` spaces it.
fn write_json(value: &Value, indent: Option<usize>, depth: usize, text: &mut String) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Map => {
            let item = |key: Value| Ok((Some(key.clone()), value.get_item(&key)?));
            let items: Result<Vec<_>, Error> = value.try_iter()?.map(item).collect();
            return write_items(items?, ['{', '}'], indent, depth, text);
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| (None, item)).collect();
            return write_items(items, ['[', ']'], indent, depth, text);
        }
        ValueKind::Undefined | ValueKind::None => text.push_str("null"),
        ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => text.push_str(&value.to_string()),
        _ => write_string(&value.to_string(), text),
    }
    Ok(())
}

/// A list, or a map whose items have keys.
fn write_items(
    items: Vec<(Option<Value>, Value)>,
    [open, close]: [char; 2],
    indent: Option<usize>,
    depth: usize,
    text: &mut String,
) -> Result<(), Error> {
    let line = |text: &mut String, depth: usize| {
        if let Some(indent) = indent {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    let empty = items.is_empty();
    text.push(open);
    for (index, (key, item)) in items.into_iter().enumerate() {
        if index > 0 {
            text.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(text, depth + 1);
        if let Some(key) = key {
            write_string(&key.to_string(), text);
            text.push_str(": ");
        }
        write_json(&item, indent, depth + 1, text)?;
    }
    if !empty {
        line(text, depth);
    }
    text.push(close);
    Ok(())
}

fn write_string(string: &str, text: &mut String) {
    text.push_str(&serde_json::Value::from(string).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> String {
        let mut environment = Environment::new();
        add_functions(&mut environment);
        environment.render_str(source, Value::from(())).expect("renders")
    }

    #[test]
    fn json_is_spaced_as_python_does() {
        assert_eq!(
            render("{{ {'a': [1, 2.5, 'é\"', none, true], 'b': {}} | tojson }}"),
            r#"{"a": [1, 2.5, "é\"", null, true], "b": {}}"#
        );
        assert_eq!(render("{{ {'a': [1]} | tojson(indent=2) }}"), "{\n  \"a\": [\n    1\n  ]\n}");
    }

    #[test]
    fn the_date_is_the_same_on_every_day() {
        assert_eq!(render("{{ strftime_now('%d %b %Y, %A 100%%') }}"), "26 Jul 2024, Friday 100%");
    }
}
