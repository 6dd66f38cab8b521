//! From the tree to checked settings: what every statement asks before it runs. No file is opened here.

use crate::events::{Diagnostic, SourceId, Span};
use crate::language::blocks::{Found, Owner, check_block, find_setting, fixed, fixed_value, given_twice};
use crate::language::codes;
use crate::language::fit::{Fit, has_form};
use crate::language::lexer::is_name;
use crate::language::parse::parse_expression;
use crate::language::schema::{Default, Form, Kind, Setting};
use crate::language::scope::{NameKind, Scope};
use crate::language::suggest::nearest;
use crate::language::tree::{Block, Expr, ExprKind, PREPOSITIONS, Phrase, Spanned, Verb};
use crate::language::value::{Origin, Resolved, Settings, Value};
use crate::units::Unit;

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
    let mut check =
        VerbCheck { form, verb, scope, owner: owner(form), settings: Settings::new(), diagnostics: vec![] };
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

/// `until epoch 1` reads as `until 1 epoch`.
fn unit_before_number(unit: &[Expr], number: &[Expr]) -> Option<Expr> {
    let ([unit], [number]) = (unit, number) else { return None };
    let word = unit.as_word().filter(|word| Unit::parse(word).is_some())?;
    let ExprKind::Number { value, whole } = number.kind else { return None };
    let unit = Spanned::new(word.to_string(), unit.span);
    let span = unit.span.to(number.span);
    Some(Expr::new(ExprKind::Quantity { value, whole, unit }, span))
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
    Some(
        Diagnostic::error(codes::UNUSABLE_NAME, reason)
            .at(name.span)
            .note("choose another name, such as `a`"),
    )
}

/// Why a word that does not stand in a script, but was given by a program, cannot be a name; `None` when it can.
pub fn unusable_word(word: &str) -> Option<Diagnostic> {
    if !is_name(word) {
        let form = "a name has letters, digits and `_`, and begins with no digit";
        return Some(Diagnostic::error(codes::UNUSABLE_NAME, format!("`{word}` cannot be a name: {form}")));
    }
    let nowhere = Span::new(SourceId(0), 0, 0);
    let unusable = unusable_name(&Spanned::new(word.to_string(), nowhere))?;
    Some(Diagnostic { labels: vec![], ..unusable })
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
                let is_double =
                    list[..index].iter().any(|other| other.name == *name || other.aliases.contains(name));
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
        let groups = self.groups();
        let mut next = 0;
        let mut passed_over = None;
        for setting in self.form.positional {
            let fits = groups.get(next).is_some_and(|group| group_fits(&setting.kind, group, self.scope));
            let is_required = setting.default == Default::Required;
            if fits || (is_required && next < groups.len()) {
                self.give(setting, &groups[next]);
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

    /// The groups directly after the verb. `why a step 31` reads as `why a 31 steps` where such a value is wanted.
    fn groups(&self) -> Vec<Vec<Expr>> {
        let mut groups: Vec<Vec<Expr>> = vec![];
        let phrases = self.verb.phrases.iter().filter(|phrase| phrase.preposition.is_none());
        for group in phrases.flat_map(|phrase| &phrase.groups) {
            let quantity = groups.last().and_then(|unit| unit_before_number(unit, group));
            match quantity.filter(|quantity| self.takes(quantity)) {
                Some(quantity) => *groups.last_mut().expect("its unit is there") = vec![quantity],
                None => groups.push(group.clone()),
            }
        }
        groups
    }

    /// Whether a positional setting takes the quantity, and its unit is not the name of something.
    fn takes(&self, quantity: &Expr) -> bool {
        let ExprKind::Quantity { unit, .. } = &quantity.kind else { return false };
        let wanted = |setting: &Setting| has_form(&setting.kind, quantity, self.scope);
        self.scope.kind_of(&unit.node).is_none() && self.form.positional.iter().any(wanted)
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
            Default::Fixed(literal) => {
                self.settings.insert(setting.name, fixed(setting, literal), Origin::Default)
            }
            Default::Computed(_) if names_run(&setting.kind) => self.last_run(setting),
            _ => {}
        }
    }

    fn last_run(&mut self, setting: &Setting) {
        let Some(run) = self.scope.last_run() else {
            let message = format!("`{}` needs a run, and there is none yet", self.form.name);
            let diagnostic = Diagnostic::error(codes::NO_RUN, message).at(self.verb.word.span);
            self.diagnostics
                .push(diagnostic.note(format!("write `{}` before it", NameKind::Run.definition())));
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
                let message =
                    format!("`{}` needs `{} …`: {}", self.form.name, clause.word, clause.setting.summary);
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
            let diagnostic =
                Diagnostic::error(codes::UNKNOWN_CLAUSE, message).at(phrase.span().unwrap_or(word.span));
            self.diagnostics.push(diagnostic.note(format!("write `{}`", self.form.usage)));
            return;
        };
        match phrase.groups.as_slice() {
            [] => {
                let message = format!("nothing follows `{}`: {}", word.node, clause.setting.summary);
                self.diagnostics.push(Diagnostic::error(codes::MISSING_VALUE, message).at(word.span));
            }
            [group] => self.give(&clause.setting, group),
            [unit, number] if let Some(quantity) = unit_before_number(unit, number) => {
                self.give(&clause.setting, &[quantity]);
            }
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
        let (settings, diagnostics) =
            check_block(&self.owner, self.verb.block.as_ref(), place, self.form.fill, self.scope);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::parse::parse;
    use crate::language::sample::{FORMS, SampleScope};
    use crate::language::scope::EmptyScope;
    use crate::language::tree::StatementKind;
    use crate::units::Unit;

    fn checked(text: &str, scope: &dyn Scope) -> (Option<Settings>, Vec<Diagnostic>) {
        let parsed = parse(text, SourceId(0));
        assert_eq!(parsed.diagnostics, [], "{text}");
        let mut diagnostics = vec![];
        let form = |name: &str| *FORMS.iter().find(|form| form.name == name).expect("a form of the sample");
        let settings = match &parsed.script.statements[0].kind {
            StatementKind::Definition { noun, name, block } => {
                check_definition(form(&noun.node), name, block, scope, &mut diagnostics)
            }
            StatementKind::Verb(verb) => check_verb(form(&verb.word.node), verb, scope, &mut diagnostics),
            other => panic!("not checked here: {other:?}"),
        };
        (settings, diagnostics)
    }

    fn settings(text: &str) -> Settings {
        let (settings, diagnostics) = checked(text, &SampleScope);
        settings.unwrap_or_else(|| panic!("{text}: {diagnostics:?}"))
    }

    /// Each message with its notes and fixes, as one line.
    fn complaints(text: &str) -> Vec<String> {
        checked(text, &SampleScope).1.iter().map(said).collect()
    }

    fn said(diagnostic: &Diagnostic) -> String {
        let notes = diagnostic.notes.iter().map(|note| format!("; {note}"));
        let fixes = diagnostic.fixes.iter().map(|fix| format!(" -> {}", fix.replacement));
        format!("{} {}{}", diagnostic.code, diagnostic.message, notes.chain(fixes).collect::<String>())
    }

    /// The complaints about one line in an otherwise good `tune`.
    fn about(line: &str) -> Vec<String> {
        complaints(&format!("tune c {{ model = base; data = chat; {line} }}"))
    }

    fn tune(line: &str) -> Settings {
        settings(&format!("tune c {{ model = base; data = chat; {line} }}"))
    }

    #[test]
    fn defaults_are_filled_in_and_marked_so() {
        let settings = tune("lr = 1e-4");
        assert_eq!(settings.number("lr"), 1e-4);
        assert!(settings.is_given("lr") && !settings.is_given("seed"));
        assert_eq!(settings.integer("seed"), 42);
        assert_eq!(settings.batch("batch"), (4, 4));
        let (method, inner) = settings.choice("method");
        assert_eq!((method, inner.integer("rank")), ("lora", 16));
        assert!(inner.iter().all(|(_, resolved)| resolved.origin == Origin::Default));
        assert_eq!(settings.span("lr").map(|span| span.start), Some(36));
    }

    #[test]
    fn values_come_in_all_their_forms() {
        assert_eq!(tune("lr = peak * 2").number("lr"), 6e-4);
        assert_eq!(tune("schedule = shape").word("schedule"), "cosine");
        assert_eq!(tune("clip = none").maybe_number("clip"), None);
        assert_eq!(tune("batch = 8").batch("batch"), (8, 1));
        assert_eq!(tune("epochs = 0.5 epochs").measure("epochs"), (0.5, Unit::Epochs));
        assert_eq!(tune("memory = 2GiB").number("memory"), 2147483648.0);
        assert!(tune("packing = True").flag("packing"));
        let settings = settings("tune c { model = base; data = chat.validation }");
        assert_eq!(settings.maybe_part("data"), Some(("chat", Some("validation"))));
        assert_eq!(tune("split = 90% / 10%").get("split"), Some(&Value::Split(vec![0.9, 0.1])));
        assert_eq!(tune("method = lora { dropout = 5% }").choice("method").1.number("dropout"), 0.05);
        assert_eq!(
            tune("method = lora { targets = \"q_proj\" }").choice("method").1.words("targets"),
            ["q_proj"]
        );
        let columns = Value::Columns(vec![("prompt".into(), "question".into())]);
        assert_eq!(tune("columns = { prompt = question }").get("columns"), Some(&columns));
    }

    #[test]
    fn sweeps_are_kept_as_values_where_they_may_stand() {
        let numbers = |list: &[f64]| Value::Sweep(list.iter().map(|number| Value::Number(*number)).collect());
        assert_eq!(tune("lr = one_of(1e-4, 5e-5)").get("lr"), Some(&numbers(&[1e-4, 5e-5])));
        assert_eq!(tune("lr = rates").get("lr"), Some(&numbers(&[1e-4, 2e-4])));
        assert_eq!(tune("lr = log(1e-6 .. 1e-4, 3)").get("lr"), Some(&numbers(&[1e-6, 1e-5, 1e-4])));
        let settings = tune("method = lora { rank = 8..24 step 8 }");
        let ranks = [8, 16, 24].map(Value::Integer).to_vec();
        assert_eq!(settings.choice("method").1.get("rank"), Some(&Value::Sweep(ranks)));
        assert_eq!(about("seed = one_of(1, 2)"), ["L0116 `seed` takes one value, not a sweep of several"]);
        assert_eq!(about("lr = one_of(1e-4, -1)"), ["L0110 `lr` is above 0, found -1"]);
    }

    #[test]
    fn peers_names_are_understood_and_remembered() {
        let settings = tune("learning_rate = 1e-4; num_epochs = 3; train_on_inputs = true");
        assert_eq!(settings.number("lr"), 1e-4);
        assert_eq!(settings.word("loss_on"), "all");
        let aliases: Vec<(&str, &str)> = settings.aliases().collect();
        assert_eq!(
            aliases,
            [("learning_rate", "lr"), ("num_epochs", "epochs"), ("train_on_inputs", "loss_on")]
        );
        let settings = tune("per_device_train_batch_size = 2; gradient_accumulation_steps = 8");
        assert_eq!(settings.batch("batch"), (2, 8));
        assert_eq!(tune("micro_batch_size = 2").batch("batch"), (2, 1));
        let settings = tune("schedule = cosine_annealing { warmup_steps = 100 }");
        assert_eq!(settings.choice("schedule").1.measure("warmup"), (100.0, Unit::Steps));
    }

    #[test]
    fn names_that_tools_disagree_on_say_what_to_write() {
        assert_eq!(
            about("batch_size = 16"),
            [
                "L0114 `batch_size` is not a setting of `tune`; it is the whole batch in some tools and the micro-batch in \
              others: write `batch = 4 x 4`, the micro-batch times the accumulation"
            ]
        );
        assert_eq!(
            about("schedule = cosine { warmup_steps = 0.1 }"),
            [
                "L0114 `warmup_steps` below 1 is a share in some tools and nothing in others; write `warmup = 10%`"
            ]
        );
    }

    #[test]
    fn units_are_checked() {
        assert_eq!(
            about("epochs = 10%"),
            [
                "L0107 `epochs` takes a number of epochs, not a share; for a part of an epoch write `0.1 epochs`"
            ]
        );
        assert_eq!(
            about("schedule = cosine { warmup = 100 }"),
            ["L0108 `warmup` needs a unit: steps, epochs or % -> 100 steps -> 100 epochs -> 100%"]
        );
        assert_eq!(about("epochs = 3 epohcs"), ["L0109 `epohcs` is not a unit -> epochs"]);
        assert_eq!(
            about("schedule = cosine { warmup = 5 tokens }"),
            [
                "L0107 `warmup` takes a number of steps or epochs, or a share such as `10%`, not a number of tokens"
            ]
        );
        assert_eq!(
            about("schedule = cosine { warmup = 2.5 steps }"),
            ["L0111 `warmup` takes whole steps, not `2.5 steps`"]
        );
        assert_eq!(about("lr = 3 epochs"), ["L0107 `lr` takes a number, not a number of epochs -> 3"]);
    }

    #[test]
    fn values_of_the_wrong_sort_are_refused() {
        assert_eq!(about("lr = \"1e-4\""), ["L0106 `lr` takes a number, not a text -> 1e-4"]);
        assert_eq!(about("lr = paek"), ["L0103 `lr` takes a number, not the word `paek` -> peak"]);
        assert_eq!(about("lr = base"), ["L0103 `lr` takes a number, not `base`, which is a model"]);
        assert_eq!(about("lr = 0"), ["L0110 `lr` is above 0, found 0"]);
        assert_eq!(about("method = lora { dropout = 1.5 }"), ["L0110 `dropout` is from 0 to 1, found 1.5"]);
        assert_eq!(about("seed = 1.5"), ["L0111 `seed` takes a whole number, not 1.5"]);
        assert_eq!(about("seed = -1"), ["L0110 `seed` is at least 0, found -1"]);
        assert_eq!(about("packing = 1"), ["L0106 `packing` takes `on` or `off`, not a number -> on"]);
        assert_eq!(about("clip = \"x\""), ["L0106 `clip` takes `none` or a number, not a text"]);
        assert_eq!(about("clip = nnoe"), ["L0104 `clip` takes `none` or a number, not `nnoe` -> none"]);
        assert_eq!(about("clip = -1"), ["L0110 `clip` is above 0, found -1"]);
        assert_eq!(about("betas = [0.9]"), ["L0128 `betas` takes 2 values, found 1"]);
        assert_eq!(about("batch = 0 x 4"), ["L0110 each part of a batch is at least 1, found 0"]);
        assert_eq!(about("lr = { a = 1 }"), ["L0106 `lr` takes a number, not a block"]);
    }

    #[test]
    fn splits_sum_to_a_whole() {
        assert_eq!(about("split = 90% / 20%"), ["L0118 the shares of `split` sum to 110%, not to 100%"]);
        assert_eq!(
            about("split = 90 / 10"),
            ["L0118 `split` takes shares such as `90% / 5% / 5%` -> 90% / 10%"]
        );
        assert_eq!(
            about("split = 0.9 / 0.05 / 0.05"),
            ["L0118 `split` takes shares such as `90% / 5% / 5%` -> 90% / 5% / 5%"]
        );
    }

    #[test]
    fn words_are_choices_first_and_near_ones_are_offered() {
        assert_eq!(
            about("schedule = cosin"),
            ["L0104 `schedule` takes `constant`, `cosine` or `step`, not `cosin` -> cosine"]
        );
        assert_eq!(about("method = full { rank = 3 }"), ["L0127 `full` has no settings -> full"]);
        assert_eq!(
            about("schedule = peak"),
            ["L0106 `schedule` takes `constant`, `cosine` or `step`, not a number"]
        );
    }

    #[test]
    fn settings_in_the_wrong_place_hint_at_the_right_one() {
        assert_eq!(about("epoch = 3"), ["L0102 `epoch` is not a setting of `tune` -> epochs"]);
        assert_eq!(
            about("rank = 16"),
            ["L0115 `rank` is a setting of `lora`; write `method = lora { rank = … }`"]
        );
        assert_eq!(
            about("lora_r = 16"),
            ["L0115 `lora_r` is a setting of `lora`; write `method = lora { lora_r = … }`"]
        );
        assert_eq!(
            about("method = lora { lr = 1 }"),
            ["L0115 `lr` is a setting of `tune`, not of `lora`; write it outside of `lora { … }`"]
        );
        assert_eq!(
            about("schedule = cosine { factor = 0.1 }"),
            [
                "L0115 `factor` is a setting of `step`, not of `cosine`; write `schedule = step { factor = … }`"
            ]
        );
        assert_eq!(
            about("method = lora { banana = 1 }"),
            [
                "L0102 `banana` is not a setting of `lora`; its settings are `rank`, `alpha`, `dropout` and `targets`"
            ]
        );
        assert_eq!(
            about("lora = 3"),
            ["L0114 `lora` is not a setting of `tune`; write `method = lora { rank = 16 }`"]
        );
    }

    #[test]
    fn everything_wrong_in_a_block_is_said_at_once() {
        assert_eq!(
            complaints(
                "tune c { lr = 1; learning_rate = 2; epoch = 1; method = lora { rank = 0; alpha = no } }"
            ),
            [
                "L0113 `lr` is given twice",
                "L0102 `epoch` is not a setting of `tune` -> epochs",
                "L0110 `rank` is at least 1, found 0",
                "L0106 `alpha` takes a number, not `off`",
                "L0112 `tune` needs `model`; it is the model to train; write `model = base`",
                "L0112 `tune` needs `data`; it is the data to train on; write `data = chat`",
            ]
        );
    }

    #[test]
    fn names_must_be_defined_and_of_the_right_kind() {
        assert_eq!(
            complaints("tune c { model = bsae; data = chat }"),
            ["L0103 `bsae` is not the name of a model -> base"]
        );
        assert_eq!(
            complaints("tune c { model = chat; data = chat }"),
            ["L0105 `model` takes the name of a model, and `chat` is a data set; defined are `base`"]
        );
        assert_eq!(
            complaints("tune c { model = base; data = chat.test }"),
            ["L0126 `chat` has no part `test`; it has `train` and `validation`"]
        );
        assert_eq!(
            complaints("tune on { model = base; data = chat }"),
            ["L0129 `on` joins the parts of a verb and cannot be a name; choose another name, such as `a`"]
        );
    }

    #[test]
    fn paths_and_texts_are_quoted() {
        let takes = "L0119 `from` takes a path or a known name in quotes";
        assert_eq!(about("from = smollm2"), [format!("{takes} -> \"smollm2\"")]);
        assert_eq!(about("from = llama-3.2-1b"), [format!("{takes} -> \"llama-3.2-1b\"")]);
        assert_eq!(about("from = data.jsonl"), [format!("{takes} -> \"data.jsonl\"")]);
        assert_eq!(about("from = \"\""), ["L0106 `from` is an empty text"]);
    }

    #[test]
    fn a_verb_takes_its_values_in_order_and_the_last_run_when_none_is_named() {
        let step = settings("step a 20");
        assert_eq!((step.word("run"), step.integer("count")), ("a", 20));
        let step = settings("step 20 steps");
        assert_eq!((step.word("run"), step.integer("count")), ("b", 20));
        assert!(!step.is_given("run"));
        let step = settings("step");
        assert_eq!((step.word("run"), step.integer("count")), ("b", 1));
        let step = settings("step a (2 * 10)");
        assert_eq!(step.integer("count"), 20);
        let step = settings("step a step 20");
        assert_eq!((step.word("run"), step.integer("count")), ("a", 20));
        assert_eq!(
            (settings("step step 20").word("run"), settings("step step 20").integer("count")),
            ("b", 20)
        );
        let run = settings("run a until eval.loss < 1.8");
        assert_eq!(run.get("until").map(Value::to_ltune), Some("eval.loss < 1.8".into()));
        let plot = settings("plot loss, lr of a, b to \"x.svg\" { smooth = 0.9 }");
        assert_eq!(
            (plot.words("metrics"), plot.words("runs")),
            (vec!["loss".into(), "lr".into()], vec!["a".into(), "b".into()])
        );
        assert_eq!((plot.text("to"), plot.number("smooth")), ("x.svg", 0.9));
        assert_eq!(settings("plot loss").words("runs"), ["b"]);
        let generate = settings("generate base \"The\" { max = 40 tokens }");
        assert_eq!(
            (generate.word("model"), generate.text("prompt"), generate.integer("max")),
            ("base", "The", 40)
        );
        assert_eq!(settings("generate [user(\"hi\")]").word("model"), "b");
    }

    #[test]
    fn verbs_say_what_they_take() {
        assert_eq!(complaints("step c 20"), ["L0103 `c` is not the name of a run; defined are `a` and `b`"]);
        assert_eq!(
            complaints("step base"),
            ["L0105 `run` takes the name of a run, and `base` is a model; defined are `a` and `b`"]
        );
        assert_eq!(complaints("step a 0"), ["L0110 `count` is at least 1, found 0"]);
        assert_eq!(
            complaints("step a 20 30"),
            ["L0124 `step` has no place for this; write `step [run] [count]`"]
        );
        assert_eq!(complaints("step a \"x\""), ["L0106 `count` takes a number of steps, not a text"]);
        assert_eq!(
            complaints("step a 5 epochs"),
            ["L0107 `count` takes a number of steps, not a number of epochs"]
        );
        assert_eq!(complaints("step a of b"), ["L0123 `step` has no `of`; write `step [run] [count]`"]);
        assert_eq!(complaints("step a { x = 1 }"), ["L0127 `step` has no settings"]);
        assert_eq!(
            complaints("save a"),
            ["L0112 `save` needs `to …`: the folder to write; write `save [run] to \"FOLDER\"`"]
        );
        assert_eq!(complaints("save a to"), ["L0011 nothing follows `to`: the folder to write"]);
        assert_eq!(
            complaints("generate a"),
            [
                "L0112 `generate` needs `prompt`: how it begins; write `generate [run or model] PROMPT [{ … }]`"
            ]
        );
        assert_eq!(
            complaints("run a until eval.los < 1"),
            ["L0104 `eval.los` is not a metric; there are `loss` and `eval.loss` -> eval.loss"]
        );
        assert_eq!(complaints("plot los of a"), ["L0104 `metrics` takes `loss` or `lr`, not `los` -> loss"]);
    }

    #[test]
    fn a_verb_without_any_run_says_so() {
        let (_, diagnostics) = checked("step 5", &EmptyScope);
        let messages: Vec<String> = diagnostics.iter().map(said).collect();
        assert_eq!(
            messages,
            ["L0125 `step` needs a run, and there is none yet; write `tune NAME { … }` before it"]
        );
    }

    #[test]
    fn settings_of_the_command_line_need_no_quotes() {
        let set = |name: &str, text: &str| {
            parse_setting(FORMS[0], name, text, SourceId(0), &SampleScope)
                .map(|(name, value)| format!("{name} = {}", value.to_ltune()))
                .unwrap_or_else(|diagnostics| said(&diagnostics[0]))
        };
        assert_eq!(set("lr", "1e-4"), "lr = 1e-4");
        assert_eq!(set("learning_rate", "1e-4"), "lr = 1e-4");
        assert_eq!(set("from", "out/llama-3.2"), "from = \"out/llama-3.2\"");
        assert_eq!(set("lr", "fast"), "L0103 `lr` takes a number, not the word `fast`");
        assert_eq!(set("lrr", "1"), "L0102 `lrr` is not a setting of `tune`; did you mean `lr`?");
    }

    #[test]
    fn the_sample_schema_has_no_mistakes() {
        for form in FORMS {
            assert_eq!(schema_mistakes(form), Vec::<String>::new());
        }
    }

    #[test]
    fn an_unknown_statement_names_the_nearest() {
        let word = Spanned::new("stpe".to_string(), Span::new(SourceId(0), 0, 4));
        assert_eq!(
            said(&unknown_statement(&word, &["step", "eval"])),
            "L0101 `stpe` is not a statement -> step"
        );
    }
}
