//! `save NAME to "folder"`: a PEFT adapter or a whole model, verified by reading it back.

use crate::events::{Diagnostic, Event, Out};
use crate::language::codes;
use crate::language::schema::{Choice, Clause, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::model::base::Quantization;
use crate::model::{export, peft};
use crate::session::{Session, sentence};
use crate::statements::{Action, Check, Checking, Statement};
use crate::train::recipe::Method;
use std::path::PathBuf;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "save",
    summary: "writes a run's adapter, or a whole model",
    usage: "save [name] to \"folder\" [{ as = adapter | merged }]",
    details: "`adapter` is a PEFT folder, `merged` a Hugging Face folder with what was trained merged in. Either is read \
              back and its logits compared before it is called saved; a folder that was there is replaced whole.",
    example: "save a to \"out/a\"",
    positional: &[Setting::new("name", Kind::Name(&[NameKind::Run, NameKind::Model]), "a run or a model")
        .computed("the run last named")],
    clauses: &[Clause::required("to", Setting::new("to", Kind::Path, "the folder").example("to \"out/a\""))],
    settings: &[Setting::new(
        "as",
        Kind::Choice(&[
            Choice::new("adapter", "a PEFT folder: adapter_config.json, adapter_model.safetensors"),
            Choice::new("merged", "a Hugging Face folder: config.json, model.safetensors, the tokenizer"),
        ]),
        "what is written",
    )
    .computed("adapter for lora, merged otherwise")
    .example("as = merged")],
    ..Form::VERB
};

struct Save {
    name: String,
    to: PathBuf,
    adapter: bool,
}

impl Action for Save {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let subject = session.subject(&self.name, out)?;
        let failed = |error: &dyn std::error::Error| {
            Diagnostic::error(codes::SAVE, format!("cannot save `{}`: {}", self.name, sentence(error)))
        };
        let policy = subject.policy();
        let verified = match policy.trainables {
            Some(trainables) if self.adapter => {
                peft::write_folder(&self.to, &subject.base, trainables, &subject.definition.base_name())
                    .and_then(|()| peft::verify(&self.to, &subject.base, trainables))
                    .map_err(|error| failed(&error))?;
                "read back: every number is the same".to_string()
            }
            _ => {
                let files = subject.tokenizer.files().map_err(|error| failed(&error))?;
                let difference = export::write_folder(&policy, &self.to, &files)
                    .and_then(|()| export::verify(&policy, &self.to))
                    .map_err(|error| failed(&error))?;
                let whole = match subject.base.quantization {
                    Quantization::Off => "",
                    Quantization::Nf4 => "the weights of 4 bits became floats, as they computed; ",
                };
                format!("{whole}read back: its logits differ by {difference:.1e} of their spread")
            }
        };
        out.emit(Event::Saved {
            name: self.name.clone(),
            path: self.to.display().to_string(),
            note: verified,
        });
        Ok(())
    }
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let name = settings.word("name").to_string();
    let run = checking.outline.run(&name);
    if run.is_some() {
        checking.outline.name_run(&name);
    }
    let lora = run.as_ref().is_some_and(|run| matches!(run.recipe.method, Method::Lora { .. }));
    let adapter = match settings.maybe_word("as") {
        Some(word) => word == "adapter",
        None => lora,
    };
    if adapter && !lora {
        let place = checking.place(&settings, "as");
        checking.report(
            Diagnostic::error(codes::NO_ADAPTER, format!("`{name}` has no adapter to save"))
                .at(place)
                .note("only a run with `method = lora` has one; write `as = merged`"),
        );
        return None;
    }
    let to = PathBuf::from(settings.text("to"));
    if to.is_file() {
        let place = checking.place(&settings, "to");
        checking.report(
            Diagnostic::error(codes::FILE, format!("`{}` is a file, not a folder", to.display())).at(place),
        );
        return None;
    }
    checking.outline.write(to.clone());
    Some(Box::new(Save { name, to, adapter }))
}
