//! The schema as text for people: `grammar/REFERENCE.md`, and what `help` and Jupyter's inspect show.

use crate::language::blocks::choices_of;
use crate::language::codes::TABLE;
use crate::language::describe::notation;
use crate::language::evaluate::FUNCTIONS;
use crate::language::schema::{Choice, Default, Form, FormKind, Setting};
use crate::units::SPELLINGS;
use std::fmt::Write;

/// The whole reference as Markdown. A test compares it with the file, so it is always true.
pub fn reference(forms: &[&Form]) -> String {
    let mut page = String::from(HEAD);
    for (title, kind) in
        [("Nouns", FormKind::Noun), ("Verbs", FormKind::Verb), ("The language itself", FormKind::Language)]
    {
        let _ = writeln!(page, "\n## {title}");
        for form in forms.iter().filter(|form| form.kind == kind) {
            page.push_str(&form_section(form));
        }
    }
    page.push_str(&values_section());
    page.push_str(&codes_section());
    page
}

const HEAD: &str = "<!-- Generated from the schema; `BLESS=1 scripts/test` writes it anew. -->\n\
    # The ltune language\n\
    \n\
    A script declares nouns and commands verbs. A statement ends at a newline or `;`, except inside of `(` and `[`;\n\
    a comma at the end of a line continues a list. `#` begins a comment. No word is reserved: what a word is depends\n\
    on where it stands. Everything is checked before anything runs.\n";

/// A statement as Markdown: its usage, its details and its settings.
pub fn form_section(form: &Form) -> String {
    let mut section =
        format!("\n### `{}`\n\n{}.\n\n    {}\n", form.name, capitalized(form.summary), form.usage);
    if !form.details.is_empty() {
        let _ = write!(section, "\n{}\n", form.details.trim());
    }
    if !form.example.is_empty() {
        let _ = write!(section, "\n```ltune\n{}\n```\n", form.example.trim());
    }
    let clauses = form.clauses.iter().map(|clause| &clause.setting);
    let arguments: Vec<&Setting> = form.positional.iter().chain(clauses).collect();
    section.push_str(&settings_table("argument", &arguments));
    section.push_str(&settings_table("setting", &form.settings.iter().collect::<Vec<_>>()));
    for setting in form.all_settings() {
        for choice in choices_of(&setting.kind) {
            section.push_str(&choice_section(setting, choice));
        }
    }
    section
}

fn choice_section(setting: &Setting, choice: &Choice) -> String {
    if choice.settings.is_empty() {
        return String::new();
    }
    let table = settings_table("setting", &choice.settings.iter().collect::<Vec<_>>());
    let inner: String = choice
        .settings
        .iter()
        .flat_map(|inner| choices_of(&inner.kind).iter().map(move |choice| choice_section(inner, choice)))
        .collect();
    format!("\n`{} = {} {{ … }}`: {}\n{table}{inner}", setting.name, choice.word, choice.summary)
}

fn settings_table(title: &str, settings: &[&Setting]) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let mut table = format!("\n| {title} | takes | default | what it is |\n|---|---|---|---|\n");
    for setting in settings {
        let kind = notation(&setting.kind).replace('|', "\\|");
        let names = also_known(setting);
        let summary = setting.summary.replace('|', "\\|");
        let _ = writeln!(table, "| `{}` | {kind} | {} | {summary}{names} |", setting.name, default(setting));
    }
    table
}

fn also_known(setting: &Setting) -> String {
    let translated = setting.translated.iter().map(|translated| translated.name);
    let names: Vec<String> =
        setting.aliases.iter().copied().chain(translated).map(|name| format!("`{name}`")).collect();
    if names.is_empty() { String::new() } else { format!(" (also {})", names.join(", ")) }
}

fn default(setting: &Setting) -> String {
    match setting.default {
        Default::Required => "required".into(),
        Default::Fixed(literal) => format!("`{literal}`"),
        Default::Computed(from) => from.into(),
        Default::Absent => "none".into(),
    }
}

fn values_section() -> String {
    let mut section = String::from(
        "\n## Values\n\n\
         | written | is |\n|---|---|\n\
         | `16`, `1_000`, `2e-4` | a number |\n\
         | `512 tokens`, `2GiB`, `10%`, `5 min` | a number with its unit |\n\
         | `on`, `off` (`true`, `false`) | yes and no |\n\
         | `none` | nothing |\n\
         | `\"…\"` | a text; `\\n`, `\\t`, `\\\"`, `\\\\` and `\\u{e9}` are escapes |\n\
         | `f\"…{x}…\"` | a text with values in it |\n\
         | `\"\"\"…\"\"\"` | a text over several lines |\n\
         | `r\"…\"` | a text without escapes |\n\
         | `[a, b]` | a list |\n\
         | `0..12`, `8..64 step 8` | a range with both ends |\n\
         | `4 x 4` | a batch: micro-batch times accumulation |\n\
         | `90% / 5% / 5%` | a split |\n\
         | `eval.loss < 1.8` | a condition |\n\n",
    );
    section.push_str("Functions:");
    for (_, usage) in FUNCTIONS {
        let _ = write!(section, " `{usage}`");
    }
    section.push_str("\n\nUnits:");
    for spelling in SPELLINGS {
        let _ = write!(section, " `{}`", spelling.text);
    }
    section.push('\n');
    section
}

fn codes_section() -> String {
    let mut section =
        String::from("\n## Codes of messages\n\n`ltune explain L0102` says more.\n\n| code | |\n|---|---|\n");
    for code in TABLE {
        let _ = writeln!(section, "| `{}` | {} |", code.code, code.title);
    }
    section
}

/// What `help step` prints.
pub fn help(form: &Form) -> String {
    let mut text = format!("{}: {}\n\n  {}\n", form.name, form.summary, form.usage);
    if !form.details.is_empty() {
        let _ = write!(text, "\n{}\n", form.details.trim());
    }
    let clauses = form.clauses.iter().map(|clause| &clause.setting);
    let arguments: Vec<&Setting> = form.positional.iter().chain(clauses).collect();
    text.push_str(&help_list(&arguments));
    text.push_str(&help_list(&form.settings.iter().collect::<Vec<_>>()));
    if !form.example.is_empty() {
        let example = form.example.trim().replace('\n', "\n  ");
        let _ = write!(text, "\nexample\n  {example}\n");
    }
    text
}

fn help_list(settings: &[&Setting]) -> String {
    let width = settings.iter().map(|setting| setting.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (index, setting) in settings.iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        let default = match setting.default {
            Default::Required => "required".into(),
            Default::Fixed(literal) => format!("default {literal}"),
            Default::Computed(from) => format!("default: {from}"),
            Default::Absent => "optional".into(),
        };
        let _ = writeln!(text, "{gap}  {:width$}  {} ({default})", setting.name, setting.summary);
    }
    text
}

/// What `help tune.lr`, hover and inspection show.
pub fn help_setting(setting: &Setting) -> String {
    let mut text = format!("{}: {}\n  takes    {}\n", setting.name, setting.summary, notation(&setting.kind));
    let _ = writeln!(text, "  default  {}", default(setting).replace('`', ""));
    let others = also_known(setting).replace('`', "");
    if !others.is_empty() {
        let _ = writeln!(text, "  also     {}", others.trim_start_matches(" (also ").trim_end_matches(')'));
    }
    if setting.sweepable {
        let _ = writeln!(text, "  sweeps   one_of(…), log(… .. …, n), a range");
    }
    if !setting.example.is_empty() {
        let _ = writeln!(text, "  example  {}", setting.example);
    }
    for choice in choices_of(&setting.kind) {
        let _ = writeln!(text, "\n  {}: {}", choice.word, choice.summary);
        for inner in choice.settings {
            let _ = writeln!(
                text,
                "    {}: {} (default {})",
                inner.name,
                inner.summary,
                default(inner).replace('`', "")
            );
        }
    }
    text
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
