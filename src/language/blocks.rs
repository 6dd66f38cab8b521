//! The settings of a block: names found under their own and under peers' names, values fitted, defaults filled in.

use crate::events::{Diagnostic, SourceId, Span};
use crate::language::codes;
use crate::language::fit::{Fit, Fitted, find_choice};
use crate::language::parse::parse_expression;
use crate::language::peers::{ACCUMULATION, MICRO_BATCH};
use crate::language::schema::{Choice, Default, Fill, Kind, Setting, Translated};
use crate::language::scope::{EmptyScope, Scope};
use crate::language::suggest::{all_of, nearest};
use crate::language::tree::{Block, Entry, Expr, ExprKind};
use crate::language::value::{Origin, Resolved, Settings, Value};
use crate::units::Unit;

/// What a block belongs to: a noun, a verb or a choice inside of one.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    /// `tune`, `lora`
    pub word: &'a str,
    pub settings: &'static [Setting],
    /// The block around it.
    pub outer: Option<&'a Owner<'a>>,
    /// The other choices of the same setting.
    pub siblings: &'static [Choice],
    /// The setting whose choice this is: `method`.
    pub setting: &'a str,
}

/// Checks a block, or the absence of one; `place` is what to point at when something is missing.
pub fn check_block(
    owner: &Owner,
    block: Option<&Block>,
    place: Span,
    fill: Fill,
    scope: &dyn Scope,
) -> (Settings, Vec<Diagnostic>) {
    let mut check = BlockCheck { owner, scope, given: vec![], halves: [None, None], diagnostics: vec![] };
    for entry in block.iter().flat_map(|block| &block.entries) {
        check.entry(entry);
    }
    check.join_halves();
    let is_damaged = block.is_some_and(|block| block.damaged);
    let mut settings = Settings::new();
    for setting in owner.settings {
        if let Some(given) = check.given.iter_mut().find(|given| given.setting.name == setting.name) {
            if let Some(resolved) = given.resolved.take() {
                settings.place(setting.name.into(), resolved);
            }
            continue;
        }
        match setting.default {
            _ if fill == Fill::GivenOnly => {}
            Default::Fixed(literal) => {
                settings.insert(setting.name, fixed(setting, literal), Origin::Default)
            }
            Default::Required if !is_damaged => check.diagnostics.push(missing(owner.word, setting, place)),
            Default::Required | Default::Computed(_) | Default::Absent => {}
        }
    }
    (settings, check.diagnostics)
}

/// The value of a default literal. Panics when the schema is wrong; `schema_mistakes` finds that in a test.
pub fn fixed(setting: &Setting, literal: &str) -> Value {
    match fixed_value(setting, literal) {
        Ok(value) => value,
        Err(diagnostics) => {
            panic!("the default `{literal}` of `{}`: {}", setting.name, diagnostics[0].message)
        }
    }
}

/// The value of a default literal, or what is wrong with it.
pub fn fixed_value(setting: &Setting, literal: &str) -> Fitted {
    let expr = parse_expression(literal, NOWHERE).map_err(|diagnostic| vec![diagnostic])?;
    let owner = Owner { word: "", settings: &[], outer: None, siblings: &[], setting: "" };
    let value = Fit { name: setting.name, scope: &EmptyScope, owner: &owner }.setting(setting, &expr)?;
    Ok(by_default(value))
}

/// Literals of the schema are in no source.
const NOWHERE: SourceId = SourceId(u32::MAX);

/// All settings inside of a default are defaults too.
fn by_default(value: Value) -> Value {
    match value {
        Value::Choice { word, settings } => {
            let mut defaults = Settings::new();
            for (name, resolved) in settings.iter() {
                defaults.insert(name, by_default(resolved.value.clone()), Origin::Default);
            }
            Value::Choice { word, settings: defaults }
        }
        other => other,
    }
}

fn missing(owner: &str, setting: &Setting, place: Span) -> Diagnostic {
    let message = format!("`{owner}` needs `{}`", setting.name);
    let diagnostic = Diagnostic::error(codes::MISSING_SETTING, message).at(place);
    let example =
        if setting.example.is_empty() { String::new() } else { format!("; write `{}`", setting.example) };
    diagnostic.note(format!("it is {}{example}", setting.summary))
}

pub fn given_twice(name: &str, first: Span, second: Span) -> Diagnostic {
    Diagnostic::error(codes::GIVEN_TWICE, format!("`{name}` is given twice"))
        .label(second, "the second time")
        .label(first, "the first time")
}

/// A setting that stands in the block, right or wrong.
struct Given {
    setting: &'static Setting,
    span: Span,
    resolved: Option<Resolved>,
}

/// One half of a batch, given under a peer's name.
struct Half {
    number: i64,
    name: String,
    span: Span,
}

struct BlockCheck<'a> {
    owner: &'a Owner<'a>,
    scope: &'a dyn Scope,
    given: Vec<Given>,
    /// Micro-batch and accumulation.
    halves: [Option<Half>; 2],
    diagnostics: Vec<Diagnostic>,
}

/// What a name stands for.
pub enum Found {
    Setting(&'static Setting),
    Translated(&'static Setting, &'static Translated),
    /// 0 for the micro-batch, 1 for the accumulation.
    HalfOfBatch(usize),
}

/// The setting under its own name or a peer's.
pub fn find_setting(settings: &'static [Setting], name: &str) -> Option<Found> {
    if let Some(setting) =
        settings.iter().find(|setting| setting.name == name || setting.aliases.contains(&name))
    {
        return Some(Found::Setting(setting));
    }
    settings.iter().find_map(|setting| {
        if let Some(translated) = setting.translated.iter().find(|translated| translated.name == name) {
            return Some(Found::Translated(setting, translated));
        }
        let half = [MICRO_BATCH, ACCUMULATION].iter().position(|names| names.contains(&name))?;
        matches!(setting.kind, Kind::Batch).then_some(Found::HalfOfBatch(half))
    })
}

impl BlockCheck<'_> {
    fn entry(&mut self, entry: &Entry) {
        let name = &entry.name.node;
        match find_setting(self.owner.settings, name) {
            Some(Found::Setting(setting)) => {
                let fitted = self.fit(setting.name).setting(setting, &entry.value);
                self.give(setting, entry, fitted);
            }
            Some(Found::Translated(setting, translated)) => {
                let fitted = self.translated(setting, translated, &entry.value);
                self.give(setting, entry, fitted);
            }
            Some(Found::HalfOfBatch(half)) => self.half(half, entry),
            None => {
                let diagnostic = unknown_setting(self.owner, entry);
                self.diagnostics.push(diagnostic);
            }
        }
    }

    fn fit<'b>(&'b self, name: &'b str) -> Fit<'b> {
        Fit { name, scope: self.scope, owner: self.owner }
    }

    fn give(&mut self, setting: &'static Setting, entry: &Entry, fitted: Fitted) {
        let span = entry.span();
        if let Some(first) = self.given.iter().find(|given| given.setting.name == setting.name) {
            self.diagnostics.push(given_twice(setting.name, first.span, span));
            return;
        }
        let alias = (entry.name.node != setting.name).then(|| entry.name.node.clone());
        let resolved = match fitted {
            Ok(value) => Some(Resolved { value, origin: Origin::Script(span), alias }),
            Err(diagnostics) => {
                self.diagnostics.extend(diagnostics);
                None
            }
        };
        self.given.push(Given { setting, span, resolved });
    }

    /// `train_on_inputs = true` becomes `loss_on = all`, `warmup_steps = 100` becomes `warmup = 100 steps`.
    fn translated(&self, setting: &Setting, translated: &Translated, expr: &Expr) -> Fitted {
        let fit = self.fit(translated.name);
        if let Some(unit) = translated.bare {
            let ExprKind::Number { value, whole } = &expr.kind else { return fit.setting(setting, expr) };
            if *value > 0.0 && *value < 1.0 && unit == Unit::Steps {
                return Err(vec![share_or_steps(setting, translated.name, *value, expr.span)]);
            }
            let number = whole.map_or(*value, |whole| whole as f64);
            return fit.value(&setting.kind, Value::Measure { number, unit }, expr.span);
        }
        let value = fit.expr(&Kind::Bool, expr)?;
        let word = value.to_ltune();
        let meant =
            translated.values.iter().find(|(from, _)| *from == word).map_or(word.as_str(), |(_, to)| to);
        fixed_value(setting, meant)
    }

    fn half(&mut self, half: usize, entry: &Entry) {
        let span = entry.span();
        if let Some(first) = &self.halves[half] {
            self.diagnostics.push(given_twice(&entry.name.node, first.span, span));
            return;
        }
        match self.fit(&entry.name.node).expr(&Kind::COUNT, &entry.value) {
            Ok(Value::Integer(number)) => {
                self.halves[half] = Some(Half { number, name: entry.name.node.clone(), span })
            }
            Ok(_) => unreachable!("a count is a whole number"),
            Err(diagnostics) => self.diagnostics.extend(diagnostics),
        }
    }

    /// Two halves under peers' names make one batch. Without an accumulation it is 1, as in all tools that have the
    /// name; without a micro-batch it is the default's.
    fn join_halves(&mut self) {
        let [micro, accumulate] = std::mem::take(&mut self.halves);
        let Some(either) = micro.as_ref().or(accumulate.as_ref()) else { return };
        let Some(setting) = self.owner.settings.iter().find(|setting| matches!(setting.kind, Kind::Batch))
        else {
            return;
        };
        if let Some(first) = self.given.iter().find(|given| given.setting.name == setting.name) {
            self.diagnostics.push(given_twice(setting.name, first.span, either.span));
            return;
        }
        let names: Vec<&str> =
            [&micro, &accumulate].into_iter().flatten().map(|half| half.name.as_str()).collect();
        let alias = Some(names.join(", "));
        let default = match setting.default {
            Default::Fixed(literal) => match fixed(setting, literal) {
                Value::Batch { micro, .. } => micro,
                _ => 1,
            },
            _ => 1,
        };
        let value = Value::Batch {
            micro: micro.as_ref().map_or(default, |half| half.number),
            accumulate: accumulate.as_ref().map_or(1, |half| half.number),
        };
        let span = either.span;
        let resolved = Some(Resolved { value, origin: Origin::Script(span), alias });
        self.given.push(Given { setting, span, resolved });
    }
}

fn share_or_steps(setting: &Setting, name: &str, number: f64, span: Span) -> Diagnostic {
    let percent = crate::language::value::measure_text((number * 1e11).round() / 1e9, Unit::Percent);
    let message = format!("`{name}` below 1 is a share in some tools and nothing in others");
    Diagnostic::error(codes::AMBIGUOUS_NAME, message)
        .at(span)
        .note(format!("write `{} = {percent}`", setting.name))
}

/// The message for a name that no setting of the block has.
fn unknown_setting(owner: &Owner, entry: &Entry) -> Diagnostic {
    let name = entry.name.node.as_str();
    let span = entry.name.span;
    let says = |code, message: String| Diagnostic::error(code, message).at(span);
    let misnomer =
        owner.settings.iter().flat_map(|setting| setting.misnomers).find(|(misnomer, _)| *misnomer == name);
    if let Some((_, instead)) = misnomer {
        return says(codes::AMBIGUOUS_NAME, format!("`{name}` is not a setting of `{}`", owner.word))
            .note(*instead);
    }
    if let Some((setting, choice)) = inner_setting(owner.settings, name) {
        let message = format!("`{name}` is a setting of `{}`", choice.word);
        return says(codes::SETTING_OF_ANOTHER, message)
            .note(format!("write `{} = {} {{ {name} = … }}`", setting.name, choice.word));
    }
    if let Some(choice) = owner.siblings.iter().find(|choice| find_setting(choice.settings, name).is_some()) {
        let message = format!("`{name}` is a setting of `{}`, not of `{}`", choice.word, owner.word);
        return says(codes::SETTING_OF_ANOTHER, message)
            .note(format!("write `{} = {} {{ {name} = … }}`", owner.setting, choice.word));
    }
    let mut outer = owner.outer;
    while let Some(around) = outer {
        if find_setting(around.settings, name).is_some() {
            let message = format!("`{name}` is a setting of `{}`, not of `{}`", around.word, owner.word);
            return says(codes::SETTING_OF_ANOTHER, message)
                .note(format!("write it outside of `{} {{ … }}`", owner.word));
        }
        outer = around.outer;
    }
    let diagnostic = says(codes::UNKNOWN_SETTING, format!("`{name}` is not a setting of `{}`", owner.word));
    if let Some(near) = near_setting(owner.settings, name) {
        return diagnostic.fix(span, near, format!("write `{near}`"));
    }
    let names: Vec<&str> = owner.settings.iter().map(|setting| setting.name).collect();
    match names.len() {
        0 => diagnostic.note(format!("`{}` has no settings", owner.word)),
        1..=16 => diagnostic.note(format!("its settings are {}", all_of(&names))),
        _ => diagnostic.note(format!("`help {}` lists its settings", owner.word)),
    }
}

/// A setting inside of a choice of this block; the default choice comes first.
fn inner_setting(settings: &'static [Setting], name: &str) -> Option<(&'static Setting, &'static Choice)> {
    settings.iter().find_map(|setting| {
        let choices = choices_of(&setting.kind);
        let default = match setting.default {
            Default::Fixed(literal) => literal.split([' ', '{']).next().unwrap_or(""),
            _ => "",
        };
        let has = |choice: &&'static Choice| find_setting(choice.settings, name).is_some();
        let by_default = find_choice(choices, default).filter(has);
        by_default.or_else(|| choices.iter().find(has)).map(|choice| (setting, choice))
    })
}

/// The choices of a kind, also where they are one of several kinds.
pub fn choices_of(kind: &Kind) -> &'static [Choice] {
    match kind {
        Kind::Choice(choices) => choices,
        Kind::AnyOf(kinds) => kinds.iter().map(choices_of).find(|choices| !choices.is_empty()).unwrap_or(&[]),
        _ => &[],
    }
}

/// The nearest setting, also when it is a peer's name that is near.
fn near_setting(settings: &'static [Setting], written: &str) -> Option<&'static str> {
    let own = nearest(written, settings.iter().map(|setting| setting.name));
    own.or_else(|| {
        let aliases = settings.iter().flat_map(|setting| setting.aliases).copied();
        let alias = nearest(written, aliases)?;
        settings.iter().find(|setting| setting.aliases.contains(&alias)).map(|setting| setting.name)
    })
}
