//! `help [word]`: what there is, a statement, a setting, or a code.

use crate::events::{Diagnostic, Out};
use crate::language::blocks::choices_of;
use crate::language::codes;
use crate::language::reference;
use crate::language::schema::{Form, Kind, Role, Setting};
use crate::language::suggest::nearest;
use crate::language::value::Settings;
use crate::session::Session;
use crate::statements::{Action, Check, Checking, Statement, forms};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "help",
    summary: "explains a statement, a setting or a diagnostic code",
    usage: "help [word]",
    details: "`help` lists the statements; `help tune` one of them; `help tune.lr` or `help lr` a setting; \
              `help L0102` a code.",
    example: "help tune.lr",
    positional: &[Setting::new("word", Kind::AnyOf(&[Kind::Topic, Kind::Text]), "what to explain")
        .optional()
        .example("help tune")],
    role: Role::Talks,
    ..Form::VERB
};

struct Help(String);

impl Action for Help {
    fn run(&self, _session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        out.text(self.0.clone());
        Ok(())
    }
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let topic = match settings.maybe("word") {
        None => return Some(Box::new(Help(overview()))),
        Some(_) => settings.text("word").to_string(),
    };
    if let Some(text) = explain(&topic) {
        return Some(Box::new(Help(text)));
    }
    let place = checking.place(&settings, "word");
    let names: Vec<&str> = forms().iter().map(|form| form.name).collect();
    let unknown = Diagnostic::error(codes::NO_HELP, format!("there is no help on `{topic}`")).at(place);
    checking.report(match nearest(&topic, names.iter().copied()) {
        Some(near) => unknown.fix(place, near, format!("write `{near}`")),
        None => unknown.note(format!("statements: {}", names.join(", "))),
    });
    None
}

/// Every statement in one line.
fn overview() -> String {
    let lines: Vec<String> =
        forms().iter().map(|form| format!("  {:9} {}", form.name, form.summary)).collect();
    format!(
        "statements\n{}\n\n`help step` explains one, `help tune.lr` a setting, `help L0102` a code",
        lines.join("\n")
    )
}

/// The help on each setting of this name in a form, those inside of choices included.
fn described(form: &Form, name: &str) -> Vec<String> {
    let mut settings: Vec<&Setting> = form.all_settings().collect();
    let mut found = vec![];
    let mut index = 0;
    while index < settings.len() {
        let setting = settings[index];
        if setting.name == name || setting.aliases.contains(&name) {
            let text = reference::help_setting(setting);
            if !found.contains(&text) {
                found.push(text);
            }
        }
        settings.extend(choices_of(&setting.kind).iter().flat_map(|choice| choice.settings));
        index += 1;
    }
    found
}

/// The help on a statement, a setting (`tune.lr`, `lr`) or a code.
pub fn explain(topic: &str) -> Option<String> {
    let forms = forms();
    if let Some(form) = forms.iter().find(|form| form.name == topic) {
        return Some(reference::help(form));
    }
    if let Some(code) = codes::find(topic) {
        return Some(code.page());
    }
    let (owner, setting) =
        topic.split_once('.').map_or((None, topic), |(owner, setting)| (Some(owner), setting));
    let wanted: Vec<String> = forms
        .iter()
        .filter(|form| owner.is_none_or(|owner| form.name == owner))
        .flat_map(|form| described(form, setting))
        .collect();
    (!wanted.is_empty()).then(|| wanted.join("\n\n"))
}
