//! A session for the tests of this room.

use crate::assist::known::{Known, Name, Progress};
use crate::language::scope::NameKind;
use crate::language::value::{Origin, Settings, Value};

/// A model `base`, data `chat` of 300 sequences, a run `a` at step 12, a value `peak`, and `_3` of a cell.
pub fn known() -> Known {
    let chat = Name {
        parts: vec!["train".into(), "validation".into()],
        rows: Some(300),
        ..name("chat", NameKind::Data, "chat.jsonl")
    };
    let mut settings = Settings::new();
    settings.insert("model", Value::Name("base".into()), Origin::Default);
    settings.insert("data", Value::Name("chat".into()), Origin::Default);
    settings.insert("batch", Value::Batch { micro: 4, accumulate: 2 }, Origin::Default);
    let progress = Progress {
        step: 12,
        planned: 38,
        steps_per_epoch: 38,
        batch: 8,
        loss: Some(2.5),
        pace: Some(0.4),
        saved: vec![10],
    };
    let run = Name { settings, progress: Some(progress), ..name("a", NameKind::Run, "lora r 16 on chat") };
    let names = vec![
        name("base", NameKind::Model, "smollm2"),
        chat,
        run,
        Name { value: Some(Value::Number(3e-4)), ..name("peak", NameKind::Variable, "3e-4") },
        Name { value: Some(Value::Integer(7)), ..name("_3", NameKind::Variable, "7") },
    ];
    Known { names, last_run: Some("a".into()) }
}

fn name(name: &str, kind: NameKind, summary: &str) -> Name {
    Name::new(name, kind, summary)
}
