//! `--json`: one object a line for programs; numbers exact, what is not a number is null.

use crate::events::{Diagnostic, Event, Figure, Fix, Label, Severity, Sink, Sources, Span};
use crate::frontends::outlet::Outlet;
use serde_json::{Value, json};

/// The sink behind `--json`.
pub struct JsonSink {
    out: Outlet,
}

impl JsonSink {
    pub fn new(out: Outlet) -> JsonSink {
        JsonSink { out }
    }
}

impl Sink for JsonSink {
    fn accept(&mut self, event: &Event, sources: &Sources) {
        if let Some(line) = line(event, sources) {
            self.out.line(&line);
        }
    }
}

/// The event as one line of JSON; `None` for a piece of text, whose whole follows.
pub fn line(event: &Event, sources: &Sources) -> Option<String> {
    match event {
        Event::Piece { .. } => None,
        Event::Diagnostic(found) => Some(diagnostic(found, sources).to_string()),
        Event::Figure { path, figure } => Some(shown(path.as_deref(), figure).to_string()),
        Event::Value { name, text, value } => {
            Some(json!({"type": "value", "name": name, "value": value, "text": text}).to_string())
        }
        // Every event is made of texts and numbers, which JSON can say: this never fails.
        _ => serde_json::to_string(event).ok(),
    }
}

/// The main place first, flat; all places and edits behind it.
pub fn diagnostic(found: &Diagnostic, sources: &Sources) -> Value {
    let severity = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let mut object = json!({
        "type": "diagnostic",
        "severity": severity,
        "code": found.code,
        "message": found.message,
        "file": null,
        "line": null,
        "column": null,
        "end_line": null,
        "end_column": null,
    });
    if let Some(span) = found.span() {
        extend(&mut object, place(span, sources));
    }
    extend(
        &mut object,
        json!({
            "fix": found.fixes.first().map(|fix| fix.title.as_str()),
            "notes": found.notes,
            "labels": found.labels.iter().map(|each| label(each, sources)).collect::<Vec<_>>(),
            "fixes": found.fixes.iter().map(|each| fix(each, sources)).collect::<Vec<_>>(),
        }),
    );
    object
}

fn label(label: &Label, sources: &Sources) -> Value {
    let mut object = place(label.span, sources);
    extend(&mut object, json!({"text": label.text}));
    object
}

fn fix(fix: &Fix, sources: &Sources) -> Value {
    let mut object = json!({"title": fix.title, "replacement": fix.replacement});
    extend(&mut object, place(fix.span, sources));
    object
}

/// Lines and columns count from one; the end is the place behind the last character.
fn place(span: Span, sources: &Sources) -> Value {
    let start = sources.position(span);
    let end = sources.position(Span { start: span.end.max(span.start), ..span });
    json!({
        "file": sources.get(span.source).name,
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
    })
}

fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// A written figure is its path; one to be looked at is its numbers.
fn shown(path: Option<&str>, figure: &Figure) -> Value {
    match path {
        Some(path) => json!({"type": "figure", "path": path, "title": figure.title}),
        None => json!({"type": "figure", "path": null, "title": figure.title, "figure": figure}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Evaluation, Generation, Mark, Panel, Series, Step};

    fn text(event: Event) -> String {
        line(&event, &Sources::default()).unwrap()
    }

    fn step(loss: f64) -> Event {
        let run = "a".into();
        Event::Step(Step {
            run,
            step: 1,
            loss,
            lr: 1e-3,
            grad_norm: 0.1 + 0.2,
            tokens: 1020,
            seconds: 0.5,
            epoch: 0.25,
            planned: 4,
        })
    }

    #[test]
    fn a_step_is_exact_and_in_the_order_of_the_contract() {
        let expected = r#"{"type":"step","run":"a","step":1,"loss":2.4311904907226562,"lr":0.001,"grad_norm":0.30000000000000004,"tokens":1020,"seconds":0.5,"epoch":0.25,"planned":4}"#;
        assert_eq!(text(step(2.4311904907226562)), expected);
    }

    #[test]
    fn every_number_comes_back_bit_for_bit() {
        for bits in
            [0x3ff0_0000_0000_0001_u64, 0x0000_0000_0000_0001, 0x7fef_ffff_ffff_ffff, 0x3fd5_5555_5555_5555]
        {
            let loss = f64::from_bits(bits);
            let back: Value = serde_json::from_str(&text(step(loss))).unwrap();
            assert_eq!(back["loss"].as_f64().unwrap().to_bits(), bits);
        }
    }

    #[test]
    fn what_is_not_a_number_is_null() {
        assert!(text(step(f64::NAN)).contains(r#""loss":null"#));
        assert!(text(step(f64::INFINITY)).contains(r#""loss":null"#));
    }

    #[test]
    fn a_diagnostic_has_its_place_and_its_fix() {
        let mut sources = Sources::default();
        let id = sources.add("first.ltune", "ltune 1\nstep é 5\n");
        let span = Span::new(id, 13, 15);
        let found = Diagnostic::error("L0101", "no run `é`").label(span, "not known").note("runs: `a`").fix(
            span,
            "a",
            "did you mean `a`?",
        );
        let expected = concat!(
            r#"{"type":"diagnostic","severity":"error","code":"L0101","message":"no run `é`","#,
            r#""file":"first.ltune","line":2,"column":6,"end_line":2,"end_column":7,"#,
            r#""fix":"did you mean `a`?","notes":["runs: `a`"],"#,
            r#""labels":[{"file":"first.ltune","line":2,"column":6,"end_line":2,"end_column":7,"text":"not known"}],"#,
            r#""fixes":[{"title":"did you mean `a`?","replacement":"a","#,
            r#""file":"first.ltune","line":2,"column":6,"end_line":2,"end_column":7}]}"#,
        );
        assert_eq!(line(&Event::Diagnostic(found), &sources).as_deref(), Some(expected));
    }

    #[test]
    fn a_diagnostic_without_a_place_says_null() {
        let text = text(Event::Diagnostic(Diagnostic::error("L0501", "no space")));
        assert!(text.contains(r#""file":null,"line":null,"column":null"#), "{text}");
        assert!(text.contains(r#""fix":null"#), "{text}");
    }

    #[test]
    fn the_other_events_keep_the_words_of_the_contract() {
        let version = Event::Version { schema: "1.0", ltune: "0.1.0", libtorch: "2.11.0".into() };
        assert_eq!(text(version), r#"{"type":"version","schema":"1.0","ltune":"0.1.0","libtorch":"2.11.0"}"#);
        let evaluation = Evaluation {
            model: "base".into(),
            data: "wiki".into(),
            loss: 3.0,
            perplexity: 20.5,
            token_accuracy: 0.5,
            tokens: 7,
            seconds: 0.25,
            step: None,
            metrics: Default::default(),
        };
        assert_eq!(
            text(Event::Eval(evaluation)),
            r#"{"type":"eval","model":"base","data":"wiki","loss":3.0,"perplexity":20.5,"token_accuracy":0.5,"tokens":7,"seconds":0.25}"#
        );
        let generation = Generation {
            model: "base".into(),
            prompt: "The".into(),
            text: " end\n".into(),
            tokens: vec![3, 1],
            seconds: 0.5,
            seed: None,
        };
        assert_eq!(
            text(Event::Generation(generation)),
            r#"{"type":"generation","model":"base","prompt":"The","text":" end\n","tokens":[3,1],"seconds":0.5}"#
        );
        let value = Event::Value { name: Some("lr".into()), text: "2e-4".into(), value: json!(2e-4) };
        assert_eq!(text(value), r#"{"type":"value","name":"lr","value":0.0002,"text":"2e-4"}"#);
        assert!(line(&Event::Piece { text: "x".into() }, &Sources::default()).is_none());
    }

    #[test]
    fn a_written_figure_is_its_path_and_another_its_numbers() {
        let series =
            vec![Series { name: "a".into(), points: vec![(1.0, f64::NAN)], mark: Mark::Line, color: 0 }];
        let panels = vec![Panel { y_label: "loss".into(), log_y: false, series }];
        let figure = Figure { title: "Loss".into(), x_label: "step".into(), log_x: false, panels };
        let written = Event::Figure { path: Some("loss.svg".into()), figure: figure.clone() };
        assert_eq!(text(written), r#"{"type":"figure","path":"loss.svg","title":"Loss"}"#);
        let shown = text(Event::Figure { path: None, figure });
        assert!(shown.contains(r#""points":[[1.0,null]]"#), "{shown}");
    }
}
