//! `generate [name] PROMPT { … }`: what a model or a run writes.

use crate::data::template::Message;
use crate::events::{Diagnostic, Event, Generation, Out};
use crate::generate::decode::generate;
use crate::generate::sampling::Sampling;
use crate::language::codes;
use crate::language::schema::{Bounds, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::{Settings, Value};
use crate::session::{Session, Subject, sentence};
use crate::statements::{Action, Check, Checking, Statement};
use crate::units::Unit;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const SHARE: Kind = Kind::Number(Bounds { min: 0.0, max: 1.0, open_min: true, open_max: false });

const FORM: Form = Form {
    name: "generate",
    summary: "lets a model or a run write",
    usage: "generate [name] PROMPT [{ max = 40 tokens; temperature = 0 }]",
    details: "A chat model gets a text prompt in its chat template; `raw = on` gives it as it is. A chat is \
              `[user(\"…\"), assistant(\"…\"), user(\"…\")]`. Without `seed` one is drawn and shown, so that it can be \
              given again. Generating changes nothing about a run.",
    example: "generate a \"The future of AI is\" { max = 40 tokens }",
    positional: &[
        Setting::new("name", Kind::Name(&[NameKind::Run, NameKind::Model]), "a run or a model")
            .computed("the run last named"),
        Setting::new("prompt", Kind::Prompt, "a text, or a chat").example("generate a \"Once upon a time\""),
    ],
    settings: &[
        Setting::new(
            "max",
            Kind::Integer { min: 1, max: 1 << 20, unit: Some(Unit::Tokens) },
            "how many tokens at most",
        )
        .or("128 tokens")
        .aliases(&["max_new_tokens", "max_tokens"])
        .example("max = 40 tokens"),
        Setting::new(
            "temperature",
            Kind::NON_NEGATIVE,
            "how far it strays from the likeliest token; 0 is greedy",
        )
        .or("0.8")
        .example("temperature = 0"),
        Setting::new(
            "top_k",
            Kind::Integer { min: 0, max: 1 << 20, unit: None },
            "only the k likeliest tokens; 0 is all",
        )
        .or("0"),
        Setting::new("top_p", SHARE, "only the likeliest tokens that together reach this probability")
            .or("1.0"),
        Setting::new(
            "min_p",
            Kind::Number(Bounds::between(0.0, 1.0)),
            "only tokens at least this share as likely as the likeliest",
        )
        .or("0.0"),
        Setting::new("repetition_penalty", Kind::POSITIVE, "above 1: less of what was written already")
            .or("1.0"),
        Setting::new("seed", Kind::SEED, "seed of the draw").computed("a drawn one, shown"),
        Setting::new("stop", Kind::list(&Kind::Text), "texts that end it")
            .optional()
            .example("stop = \"\\n\\n\""),
        Setting::new("raw", Kind::Bool, "gives a text prompt without the chat template").or("off"),
    ],
    ..Form::VERB
};

struct Generate {
    name: String,
    prompt: Prompt,
    sampling: Sampling,
    seed: Option<u64>,
    raw: bool,
}

enum Prompt {
    Text(String),
    Chat(Vec<Message>),
}

impl Action for Generate {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let subject = session.subject(&self.name, out)?;
        let ids = self.prompt_ids(&subject)?;
        let greedy = self.sampling.temperature == 0.0;
        let drawn = self.seed.is_none() && !greedy;
        let seed = self.seed.unwrap_or_else(drawn_seed);
        let sampling = Sampling { seed, ..self.sampling.clone() };
        let started = Instant::now();
        let cancel = out.cancel.clone();
        out.emit(Event::Piece { text: String::new() });
        let made = generate(&subject.policy(), &subject.tokenizer, &ids, &sampling, &mut |piece| {
            out.emit(Event::Piece { text: piece.to_string() });
            !cancel.stop()
        })
        .map_err(|error| Diagnostic::error(codes::GENERATION, sentence(&error)))?;
        if drawn {
            session.journal.say_with(&format!("seed = {seed}"));
        }
        out.emit(Event::Generation(Generation {
            model: self.name.clone(),
            prompt: self.prompt.shown(),
            text: made.text,
            tokens: made.ids.iter().map(|id| i64::from(*id)).collect(),
            seconds: started.elapsed().as_secs_f64(),
            seed: (!greedy).then_some(seed),
        }));
        Ok(())
    }
}

impl Generate {
    fn prompt_ids(&self, subject: &Subject) -> Result<Vec<u32>, Diagnostic> {
        let failed = |error: &dyn std::error::Error| Diagnostic::error(codes::GENERATION, sentence(error));
        let tokenizer = &subject.tokenizer;
        let template = match subject.run {
            Some(run) => run.dataset.chat_template.as_ref(),
            None => tokenizer.chat_template.as_ref(),
        };
        let chat = match (&self.prompt, template) {
            (Prompt::Text(text), None) => return tokenizer.prompt(text).map_err(|error| failed(&error)),
            (Prompt::Text(text), Some(_)) if self.raw => {
                return tokenizer.prompt(text).map_err(|error| failed(&error));
            }
            (Prompt::Text(text), Some(_)) => vec![Message::new("user", text)],
            (Prompt::Chat(messages), _) => messages.clone(),
        };
        let Some(template) = template.or(tokenizer.chat_template.as_ref()) else {
            return Err(Diagnostic::error(
                codes::NO_TEMPLATE,
                format!("`{}` has no chat template, so a chat cannot be put to it", self.name),
            )
            .note("give a text prompt, or a `template` in the run's data"));
        };
        tokenizer.chat(template, &chat).map_err(|error| failed(&error))
    }
}

impl Prompt {
    fn shown(&self) -> String {
        match self {
            Prompt::Text(text) => text.clone(),
            Prompt::Chat(messages) => {
                let lines: Vec<String> =
                    messages.iter().map(|message| format!("{}: {}", message.role, message.content)).collect();
                lines.join("\n")
            }
        }
    }
}

/// A seed that fits a script: it is echoed, so that the same text can be had again.
fn drawn_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ (now.as_secs() & 0xffff)
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let name = settings.word("name").to_string();
    if checking.outline.run(&name).is_some() {
        checking.outline.name_run(&name);
    }
    let prompt = match settings.get("prompt") {
        Some(Value::Chat(messages)) => Prompt::Chat(
            messages
                .iter()
                .map(|(role, text)| Message { role: role.clone(), content: text.clone() })
                .collect(),
        ),
        _ => Prompt::Text(settings.text("prompt").to_string()),
    };
    if matches!(prompt, Prompt::Chat(_)) && settings.flag("raw") {
        let place = checking.place(&settings, "raw");
        checking.report(
            Diagnostic::error(codes::NO_EFFECT, "`raw` has no effect on a chat, which needs its template")
                .at(place),
        );
        return None;
    }
    let sampling = Sampling {
        max: settings.integer("max") as usize,
        temperature: settings.number("temperature"),
        top_k: settings.integer("top_k") as usize,
        top_p: settings.number("top_p"),
        min_p: settings.number("min_p"),
        repetition_penalty: settings.number("repetition_penalty"),
        seed: 0,
        stop: settings.words("stop"),
    };
    let seed = settings.maybe_integer("seed").map(|seed| seed as u64);
    Some(Box::new(Generate { name, prompt, sampling, seed, raw: settings.flag("raw") }))
}
