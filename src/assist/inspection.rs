//! What a word means: a statement, a setting, one of its words, a name with all that it stands for.

use crate::assist::known::{Known, Name};
use crate::assist::place::{Place, Wanted, choice, form, place, setting};
use crate::language::blocks::choices_of;
use crate::language::lexer::{TokenKind, tokens};
use crate::language::reference::{form_section, help, help_setting};
use crate::language::schema::{Choice, Form, Setting};
use crate::language::scope::NameKind;
use crate::statements::help::explain;
use crate::units::{Seconds, grouped};
use serde::Serialize;
use std::ops::Range;

/// What is known of the word in `range`, as plain text and as Markdown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    pub range: Range<usize>,
    pub text: String,
    pub markdown: String,
}

/// Looks at the word under the cursor, or right before it.
pub fn inspect(text: &str, cursor: usize, known: &Known) -> Option<Inspection> {
    let tokens = tokens(text);
    let touches = |range: &Range<usize>| range.start <= cursor && cursor <= range.end;
    let token = tokens.iter().find(|token| token.kind == TokenKind::Name && touches(&token.range));
    let Some(token) = token else {
        // A number or a text: the setting that it is given to.
        let (setting, written) = place(text, cursor)?.value?;
        let end = text.floor_char_boundary(cursor);
        return Some(of_setting(setting).at(end - written.len().min(end)..end));
    };
    let word = token.text(text);
    let place = place(text, token.range.end)?;
    meaning(word, &place, known).map(|found| found.at(token.range.clone()))
}

/// What a word means where it stands, or would stand.
pub fn meaning(word: &str, place: &Place, known: &Known) -> Option<Inspection> {
    let found = place.wanted.iter().find_map(|wanted| wanted_word(wanted, word, place, known));
    found.or_else(|| about(word, known))
}

/// What `name?` and `help` tell: names of the session first, then statements, settings and codes.
pub fn about(topic: &str, known: &Known) -> Option<Inspection> {
    let name = topic.split('.').next().unwrap_or(topic);
    if let Some(name) = known.get(topic).or_else(|| known.get(name).filter(|_| form(name).is_none())) {
        return Some(of_name(name));
    }
    if let Some(form) = form(topic) {
        return Some(of_form(form));
    }
    let text = explain(topic)?;
    Some(Inspection { range: 0..0, markdown: fenced("", &text), text })
}

impl Inspection {
    fn at(self, range: Range<usize>) -> Inspection {
        Inspection { range, ..self }
    }
}

fn wanted_word(wanted: &Wanted, word: &str, place: &Place, known: &Known) -> Option<Inspection> {
    match wanted {
        Wanted::Statement => form(word).map(of_form),
        Wanted::Setting(settings, _) => setting(settings, word).map(of_setting),
        Wanted::Value(setting) => {
            let name = word.split('.').next().unwrap_or(word);
            let chosen = choice(choices_of(&setting.kind), word).map(|choice| of_choice(setting, choice));
            chosen.or_else(|| known.get(name).map(of_name))
        }
        Wanted::Clause(clause) if clause.word == word => Some(of_setting(&clause.setting)),
        Wanted::Unit(_) if !place.written.is_empty() => place.value.map(|(setting, _)| of_setting(setting)),
        _ => None,
    }
}

fn of_form(form: &Form) -> Inspection {
    let markdown = form_section(form).trim().to_string();
    Inspection { range: 0..0, text: help(form).trim_end().to_string(), markdown }
}

fn of_setting(setting: &Setting) -> Inspection {
    let text = help_setting(setting).trim_end().to_string();
    let details = text.split_once('\n').map_or("", |(_, details)| details);
    let markdown = format!("**`{}`**: {}\n\n{}", setting.name, setting.summary, fenced("", details));
    Inspection { range: 0..0, text, markdown }
}

fn of_choice(setting: &Setting, choice: &Choice) -> Inspection {
    let mut text = format!("{} = {}: {}", setting.name, choice.word, choice.summary);
    let mut markdown = format!("**`{} = {}`**: {}\n", setting.name, choice.word, choice.summary);
    for inner in choice.settings {
        let takes = crate::assist::hint::takes(inner);
        text.push_str(&format!("\n  {}: {} ({takes})", inner.name, inner.summary));
        markdown.push_str(&format!("\n- `{}`: {} ({takes})", inner.name, inner.summary));
    }
    Inspection { range: 0..0, text, markdown }
}

fn of_name(name: &Name) -> Inspection {
    let kind = name.kind.described();
    let mut lines = vec![format!("{} is {kind}: {}", name.name, name.summary)];
    lines.extend(progress(name));
    let definition = definition(name);
    let text = if definition.is_empty() {
        lines.join("\n")
    } else {
        format!("{}\n\n{definition}", lines.join("\n"))
    };
    lines[0] = format!("**`{}`** is {kind}: {}", name.name, name.summary);
    let mut markdown = lines.join("\n\n");
    if !definition.is_empty() {
        markdown.push_str(&format!("\n\n{}", fenced("ltune", &definition)));
    }
    Inspection { range: 0..0, text, markdown }
}

fn progress(name: &Name) -> Option<String> {
    let progress = name.progress.as_ref()?;
    let mut parts = vec![format!("step {} of {}", grouped(progress.step), grouped(progress.planned))];
    parts.extend(progress.loss.map(|loss| format!("loss {loss:.4}")));
    parts.extend(progress.pace.map(|pace| format!("{} a step", Seconds(pace))));
    Some(parts.join(", "))
}

/// The statement that defines the name.
fn definition(name: &Name) -> String {
    let noun = match name.kind {
        NameKind::Model => "model",
        NameKind::Data => "data",
        NameKind::Run => "tune",
        NameKind::Variable | NameKind::Schedule | NameKind::Metric | NameKind::Transform => {
            return String::new();
        }
    };
    if name.settings.is_empty() {
        return String::new();
    }
    format!("{noun} {} {{\n  {}\n}}", name.name, name.settings.to_ltune("\n  "))
}

fn fenced(language: &str, text: &str) -> String {
    format!("```{language}\n{}\n```", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assist::samples::known;

    fn first_line(text: &str, word: &str) -> String {
        let at = text.find(word).expect("the word is there") + 1;
        let found = inspect(text, at, &known());
        found.map_or(String::new(), |found| found.text.lines().next().unwrap_or("").to_string())
    }

    const TUNE: &str = "tune b { model = base; data = chat; method = lora { rank = 8 }; learning_rate = 1e-4; \
                        schedule = constant }\nstep b 5\neval a on chat.train";

    #[test]
    fn each_word_means_what_its_place_makes_it() {
        assert!(first_line(TUNE, "tune").starts_with("tune: names a fine-tune"));
        assert!(first_line(TUNE, "method").starts_with("method: which tensors"));
        assert!(first_line(TUNE, "lora").starts_with("method = lora: low-rank adapters"));
        assert!(first_line(TUNE, "rank").starts_with("rank: width of the adapters"));
        assert!(first_line(TUNE, "learning_rate").starts_with("lr: peak learning rate"));
        assert!(first_line(TUNE, "step b").starts_with("step: takes optimizer steps"));
        assert_eq!(first_line(TUNE, "base"), "base is a model: smollm2");
        assert_eq!(first_line(TUNE, "chat.train"), "chat is a data set: chat.jsonl");
        assert!(first_line(TUNE, "on chat").starts_with("on: "), "{}", first_line(TUNE, "on chat"));
        assert!(first_line(TUNE, "e-4").starts_with("lr: "), "{}", first_line(TUNE, "e-4"));
    }

    #[test]
    fn names_are_told_with_their_settings_and_where_they_are() {
        let found = about("a", &known()).expect("it is known");
        assert!(found.text.contains("step 12 of 38, loss 2.5000, 0.40 s a step"), "{}", found.text);
        assert!(found.text.contains("tune a {\n  model = base\n"), "{}", found.text);
        assert!(found.markdown.contains("```ltune\ntune a {"), "{}", found.markdown);
        assert_eq!(
            about("peak", &known()).map(|found| found.text).as_deref(),
            Some("peak is a `let` name: 3e-4")
        );
    }

    #[test]
    fn topics_of_help_are_known_and_nonsense_is_not() {
        for topic in ["step", "tune.lr", "rank", "L0102"] {
            assert!(about(topic, &known()).is_some(), "{topic}");
        }
        assert_eq!(about("nonsense", &known()), None);
        assert_eq!(inspect("", 0, &known()), None);
    }
}
