//! From the tree to checked settings: what every statement asks before it runs. No file is opened here.

use crate::events::{Diagnostic, SourceId, Span};
use crate::language::blocks::{Found, Owner, check_block, find_setting, fixed, fixed_value, given_twice};
use crate::language::codes;
use crate::language::fit::{Fit, has_form};
use crate::language::parse::parse_expression;
use crate::language::schema::{Default, Form, Kind, Setting};
use crate::language::scope::{NameKind, Scope};
use crate::language::suggest::nearest;
use crate::language::tree::{Block, Expr, ExprKind, PREPOSITIONS, Phrase, Spanned, Verb};
use crate::language::value::{Origin, Resolved, Settings, Value};

/// Checks `noun name { … }`. `None` when something is wrong; what, is added to the diagnostics.
pub fn check_definition(
    form: &Form,
    name: &Spanned<String>,
    block: &Block,
    scope: &dyn Scope,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Settings> {
    let before = diagnostics.len();
    diagnostics.extend(unusable_name(name));
    let (settings, more) = check_block(&owner(form), Some(block), name.span, form.fill, scope);
    diagnostics.extend(more);
    (diagnostics.len() == before).then_some(settings)
}

/// Checks a verb: positional values, clauses and the settings of its block all come out by their names. A run that may
/// be left out becomes the run last named.
pub fn check_verb(
    form: &Form,
    verb: &Verb,
    scope: &dyn Scope,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Settings> {
    let mut check = VerbCheck { form, verb, scope, owner: owner(form), settings: Settings::new(), diagnostics: vec![] };
    check.positional();
    check.clauses();
    check.block();
    let VerbCheck { settings, diagnostics: found, .. } = check;
    let is_good = found.is_empty();
    diagnostics.extend(found);
    is_good.then_some(settings)
}

/// Checks one setting from the command line: `parse_setting(TUNE, "lr", "1e-4", …)`. A text or a path may stand without
/// quotes, since the shell has taken them. Gives the setting's own name.
pub fn parse_setting(
    form: &Form,
    name: &str,
    text: &str,
    source: SourceId,
    scope: &dyn Scope,
) -> Result<(&'static str, Value), Vec<Diagnostic>> {
    let settings = form.settings;
    let Some(Found::Setting(setting)) = find_setting(settings, name) else {
        let message = format!("`{name}` is not a setting of `{}`", form.name);
        let diagnostic = Diagnostic::error(codes::UNKNOWN_SETTING, message);
        return Err(vec![match nearest(name, settings.iter().map(|setting| setting.name)) {
            Some(near) => diagnostic.note(format!("did you mean `{near}`?")),
            None => diagnostic.note(format!("`help {}` lists its settings", form.name)),
        }]);
    };
    let owner = owner(form);
    let fit = Fit { name: setting.name, scope, owner: &owner };
    let fitted = match parse_expression(text, source) {
        Ok(expr) => fit.setting(setting, &expr),
        Err(diagnostic) => Err(vec![diagnostic]),
    };
    let bare = || fit.value(&setting.kind, Value::Text(text.to_string()), Span::new(source, 0, text.len()));
    match fitted {
        Err(diagnostics) if text.contains('"') => Err(diagnostics),
        Err(diagnostics) => bare().map_err(|_| diagnostics),
        Ok(value) => Ok(value),
    }
    .map(|value| (setting.name, value))
}

/// The message for a statement that no form describes.
pub fn unknown_statement(word: &Spanned<String>, known: &[&str]) -> Diagnostic {
    let message = format!("`{}` is not a statement", word.node);
    let diagnostic = Diagnostic::error(codes::UNKNOWN_STATEMENT, message).at(word.span);
    match nearest(&word.node, known.iter().copied()) {
        Some(near) => diagnostic.fix(word.span, near, format!("write `{near}`")),
        None => diagnostic.note("`help` lists the statements"),
    }
}

/// Why a word cannot be the name of a thing: it could not be told from the words around it.
pub fn unusable_name(name: &Spanned<String>) -> Option<Diagnostic> {
    let word = name.node.as_str();
    let reason = if PREPOSITIONS.contains(&word) {
        format!("`{word}` joins the parts of a verb and cannot be a name")
    } else if crate::language::evaluate::constant(word).is_some() {
        format!("`{word}` is a value and cannot be a name")
    } else {
        return None;
    };
    Some(Diagnostic::error(codes::UNUSABLE_NAME, reason).at(name.span).note("choose another name, such as `a`"))
}

/// Everything wrong in a schema itself: defaults that do not fit, names given twice. For a test over all forms.
pub fn schema_mistakes(form: &Form) -> Vec<String> {
    let mut mistakes = vec![];
    let mut settings: Vec<&Setting> = form.all_settings().collect();
    let mut index = 0;
    while index < settings.len() {
        let setting = settings[index];
        for choice in crate::language::blocks::choices_of(&setting.kind) {
            settings.extend(choice.settings);
        }
        if let Default::Fixed(literal) = setting.default
            && let Err(diagnostics) = fixed_value(setting, literal)
        {
            let message = &diagnostics[0].message;
            mistakes.push(format!("{}: the default `{literal}` of `{}`: {message}", form.name, setting.name));
        }
        if setting.summary.is_empty() {
            mistakes.push(format!("{}: `{}` has no summary", form.name, setting.name));
        }
        index += 1;
    }
    for list in [form.settings, form.positional] {
        for (index, setting) in list.iter().enumerate() {
            let names = std::iter::once(&setting.name).chain(setting.aliases);
            for name in names {
                let is_double = list[..index].iter().any(|other| other.name == *name || other.aliases.contains(name));
                if is_double {
                    mistakes.push(format!("{}: the name `{name}` is given twice", form.name));
                }
            }
        }
    }
    mistakes
}

fn owner(form: &Form) -> Owner<'static> {
    Owner { word: form.name, settings: form.settings, outer: None, siblings: &[], setting: "" }
}

struct VerbCheck<'a> {
    form: &'a Form,
    verb: &'a Verb,
    scope: &'a dyn Scope,
    owner: Owner<'static>,
    settings: Settings,
    diagnostics: Vec<Diagnostic>,
}

impl VerbCheck<'_> {
    /// Gives the groups after the verb to the positional settings in order. One that may be left out is passed over when
    /// the group has not its form: `step 20` has no run.
    fn positional(&mut self) {
        let groups: Vec<&Vec<Expr>> = self.verb.phrases.iter().filter(|phrase| phrase.preposition.is_none()).flat_map(|phrase| &phrase.groups).collect();
        let mut next = 0;
        let mut passed_over = None;
        for setting in self.form.positional {
            let fits = groups.get(next).is_some_and(|group| group_fits(&setting.kind, group, self.scope));
            let is_required = setting.default == Default::Required;
            if fits || (is_required && next < groups.len()) {
                self.give(setting, groups[next]);
                next += 1;
            } else {
                passed_over = passed_over.or((next < groups.len()).then_some(setting));
                self.left_out(setting, is_required);
            }
        }
        let Some(extra) = groups.get(next) else { return };
        match passed_over {
            Some(setting) if groups.len() - next == 1 => self.complain(setting, extra),
            _ => self.too_many(extra),
        }
    }

    fn fit<'b>(&'b self, name: &'b str) -> Fit<'b> {
        Fit { name, scope: self.scope, owner: &self.owner }
    }

    fn give(&mut self, setting: &'static Setting, group: &[Expr]) {
        let span = group_span(group);
        let fitted = match (&setting.kind, group) {
            (_, [expr]) => self.fit(setting.name).setting(setting, expr),
            (Kind::List { .. }, many) => {
                let list = Expr::new(ExprKind::List(many.to_vec()), span);
                self.fit(setting.name).setting(setting, &list)
            }
            (_, many) => {
                let message = format!("`{}` takes one value, found {}", setting.name, many.len());
                Err(vec![Diagnostic::error(codes::TOO_MANY_VALUES, message).at(span)])
            }
        };
        match fitted {
            Ok(value) => self.settings.insert(setting.name, value, Origin::Script(span)),
            Err(diagnostics) => self.diagnostics.extend(diagnostics),
        }
    }

    /// The value that did not fit a setting that was passed over: the complaint of fitting says more than "too many".
    fn complain(&mut self, setting: &'static Setting, group: &[Expr]) {
        let before = self.diagnostics.len();
        self.give(setting, group);
        if self.diagnostics.len() == before {
            self.too_many(group);
        }
    }

    fn too_many(&mut self, group: &[Expr]) {
        let message = format!("`{}` has no place for this", self.form.name);
        let diagnostic = Diagnostic::error(codes::TOO_MANY_VALUES, message).at(group_span(group));
        self.diagnostics.push(diagnostic.note(format!("write `{}`", self.form.usage)));
    }

    fn left_out(&mut self, setting: &'static Setting, is_required: bool) {
        if is_required {
            let message = format!("`{}` needs {}", self.form.name, described(setting));
            let diagnostic = Diagnostic::error(codes::MISSING_SETTING, message).at(self.verb.word.span);
            self.diagnostics.push(diagnostic.note(format!("write `{}`", self.form.usage)));
            return;
        }
        match setting.default {
            Default::Fixed(literal) => self.settings.insert(setting.name, fixed(setting, literal), Origin::Default),
            Default::Computed(_) if names_run(&setting.kind) => self.last_run(setting),
            _ => {}
        }
    }

    fn last_run(&mut self, setting: &Setting) {
        let Some(run) = self.scope.last_run() else {
            let message = format!("`{}` needs a run, and there is none yet", self.form.name);
            let diagnostic = Diagnostic::error(codes::NO_RUN, message).at(self.verb.word.span);
            self.diagnostics.push(diagnostic.note(format!("write `{}` before it", NameKind::Run.definition())));
            return;
        };
        let value = match setting.kind {
            Kind::List { .. } => Value::List(vec![Value::Name(run)]),
            _ => Value::Name(run),
        };
        self.settings.insert(setting.name, value, Origin::Default);
    }

    fn clauses(&mut self) {
        let mut seen: Vec<(&str, Span)> = vec![];
        for phrase in &self.verb.phrases {
            let Some(word) = &phrase.preposition else { continue };
            if let Some((_, first)) = seen.iter().find(|(seen, _)| *seen == word.node) {
                self.diagnostics.push(given_twice(&word.node, *first, word.span));
                continue;
            }
            seen.push((&word.node, word.span));
            self.clause(word, phrase);
        }
        for clause in self.form.clauses {
            if seen.iter().any(|(word, _)| *word == clause.word) {
                continue;
            }
            if clause.required {
                let message = format!("`{}` needs `{} …`: {}", self.form.name, clause.word, clause.setting.summary);
                let diagnostic = Diagnostic::error(codes::MISSING_SETTING, message).at(self.verb.word.span);
                self.diagnostics.push(diagnostic.note(format!("write `{}`", self.form.usage)));
            } else {
                self.left_out(&clause.setting, false);
            }
        }
    }

    fn clause(&mut self, word: &Spanned<String>, phrase: &Phrase) {
        let Some(clause) = self.form.clauses.iter().find(|clause| clause.word == word.node) else {
            let message = format!("`{}` has no `{}`", self.form.name, word.node);
            let diagnostic = Diagnostic::error(codes::UNKNOWN_CLAUSE, message).at(phrase.span().unwrap_or(word.span));
            self.diagnostics.push(diagnostic.note(format!("write `{}`", self.form.usage)));
            return;
        };
        match phrase.groups.as_slice() {
            [] => {
                let message = format!("nothing follows `{}`: {}", word.node, clause.setting.summary);
                self.diagnostics.push(Diagnostic::error(codes::MISSING_VALUE, message).at(word.span));
            }
            [group] => self.give(&clause.setting, group),
            [group, more, ..] => {
                self.give(&clause.setting, group);
                self.too_many(more);
            }
        }
    }

    fn block(&mut self) {
        let place = self.verb.word.span;
        if let Some(block) = self.verb.block.as_ref().filter(|_| self.form.settings.is_empty()) {
            let message = format!("`{}` has no settings", self.form.name);
            self.diagnostics.push(Diagnostic::error(codes::NO_SETTINGS, message).at(block.span));
            return;
        }
        let (settings, diagnostics) = check_block(&self.owner, self.verb.block.as_ref(), place, self.form.fill, self.scope);
        for (name, resolved) in settings.iter() {
            self.settings.place(name.to_string(), Resolved::clone(resolved));
        }
        self.diagnostics.extend(diagnostics);
    }
}

fn described(setting: &Setting) -> String {
    match setting.kind {
        Kind::Name(kinds) => format!("the name of {}", crate::language::describe::names_noun(kinds)),
        _ => format!("`{}`: {}", setting.name, setting.summary),
    }
}

fn names_run(kind: &Kind) -> bool {
    match kind {
        Kind::Name(kinds) => kinds.contains(&NameKind::Run),
        Kind::List { of, .. } => names_run(of),
        Kind::AnyOf(kinds) => kinds.iter().any(names_run),
        _ => false,
    }
}

fn group_fits(kind: &Kind, group: &[Expr], scope: &dyn Scope) -> bool {
    match (kind, group) {
        (_, [expr]) => has_form(kind, expr, scope),
        (Kind::List { of, .. }, many) => many.iter().any(|expr| has_form(of, expr, scope)),
        _ => group.iter().any(|expr| has_form(kind, expr, scope)),
    }
}

fn group_span(group: &[Expr]) -> Span {
    group.iter().map(|expr| expr.span).reduce(Span::to).expect("a group has a value")
}
