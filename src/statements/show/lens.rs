//! What rows are seen with: data has no tokenizer and no batches of its own, so a run or a model lends them.

use crate::data::dataset::{Dataset, Part, PartName};
use crate::data::tokenizer::Tokenizer;
use crate::events::{Diagnostic, Out};
use crate::language::codes;
use crate::language::scope::Scope;
use crate::language::value::{Settings, Value};
use crate::session::Session;
use crate::session::definitions::{DataDefinition, ModelDefinition, TuneDefinition};
use crate::session::outline::{Outline, Thing};
use crate::statements::Checking;
use crate::statements::run::one_run;
use crate::train::recipe::{Method, Recipe};
use std::rc::Rc;
use std::sync::Arc;

/// Data, and who looks at it.
pub struct Lens {
    pub subject: Subject,
    pub data: Rc<DataDefinition>,
    pub part: PartName,
    pub model: Rc<ModelDefinition>,
    /// The run whose batches they are; without one they are laid out as a `tune` does by default.
    pub run: Option<Rc<TuneDefinition>>,
}

/// What the statement names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Run,
    Data,
}

/// Everything loaded that looking takes; no weights.
pub struct Opened {
    pub dataset: Arc<Dataset>,
    pub tokenizer: Arc<Tokenizer>,
    pub part: Arc<Part>,
    pub recipe: Recipe,
    /// Steps that the run has taken.
    pub taken: u64,
}

impl Lens {
    pub fn check(view: &str, settings: &Settings, checking: &mut Checking) -> Option<Lens> {
        let named = settings.maybe_part("name").map(|(name, part)| (name.to_string(), part));
        let (name, part) = match named {
            Some((name, part)) => (name, part.and_then(PartName::parse)),
            None => match latest(checking.outline) {
                Some(name) => (name, None),
                None => {
                    checking.report(
                        Diagnostic::error(
                            codes::MISSING_SETTING,
                            format!("`show {view}` does not say of what"),
                        )
                        .at(checking.span)
                        .note(format!("write `show {view} NAME` with the name of data or of a run")),
                    );
                    return None;
                }
            },
        };
        if let Some(data) = checking.outline.data(&name) {
            let (model, run) = lent(&data.name, settings, checking)?;
            let part = part.unwrap_or(PartName::Train);
            return Some(Lens { subject: Subject::Data, data, part, model, run });
        }
        one_run(&name, checking.place(settings, "name"), checking)?;
        let run = checking.outline.run(&name)?;
        if settings.is_given("for") {
            let place = checking.place(settings, "for");
            checking.report(
                Diagnostic::error(codes::NO_EFFECT, format!("run `{name}` has its own model and batches"))
                    .at(place)
                    .note(format!(
                        "leave `for` out, or name the data: `show {view} {} for …`",
                        run.data.name
                    )),
            );
            return None;
        }
        checking.outline.name_run(&name);
        let (data, model) = (run.data.clone(), run.model.clone());
        Some(Lens { subject: Subject::Run, data, part: PartName::Train, model, run: Some(run) })
    }

    pub fn open(&self, session: &mut Session, out: &mut Out) -> Result<Opened, Diagnostic> {
        if let Some(run) = self.run.as_ref().and_then(|run| session.runs.get(&run.name))
            && self.subject == Subject::Run
        {
            return Ok(Opened {
                dataset: run.dataset.clone(),
                tokenizer: run.tokenizer.clone(),
                part: run.dataset.part(self.part).clone(),
                recipe: run.trainer.recipe().clone(),
                taken: run.trainer.step_count(),
            });
        }
        let tokenizer = session.tokenizer(&self.model, out)?;
        let dataset = session.dataset(&self.data, &self.model, out)?;
        let part = dataset.part(self.part).clone();
        if part.is_empty() {
            let message = format!("`{}` has no rows", self.part_name());
            return Err(Diagnostic::error(codes::EMPTY_PART, message)
                .note("its rows were dropped: look at `max_len`, or give `split` a larger share for it"));
        }
        let recipe = match &self.run {
            None => Recipe::new(Method::Full),
            Some(run) => match session.runs.get(&run.name) {
                Some(live) => live.trainer.recipe().clone(),
                None => run.recipe.clone(),
            },
        };
        Ok(Opened { dataset, tokenizer, part, recipe, taken: 0 })
    }

    /// `chat.train`
    pub fn part_name(&self) -> String {
        format!("{}.{}", self.data.name, self.part.name())
    }

    /// `tokens of base`
    pub fn tokens_of(&self) -> String {
        format!("tokens of {}", self.model.name)
    }

    /// `batches of run a`
    pub fn batches_of(&self, recipe: &Recipe) -> String {
        match &self.run {
            Some(run) => format!("batches of run {}", run.name),
            None => format!("batches of {} as by default", recipe.batch.micro),
        }
    }
}

/// The run last named, else the data last defined.
fn latest(outline: &Outline) -> Option<String> {
    let sound = |name: &String| outline.run(name).is_some();
    let data = || {
        let mut things = outline.things().iter().rev();
        things.find(|(_, thing)| matches!(thing, Thing::Data(_))).map(|(name, _)| name.clone())
    };
    outline.last_run().filter(sound).or_else(data)
}

type Lent = (Rc<ModelDefinition>, Option<Rc<TuneDefinition>>);

/// Who lends data a tokenizer: whom `for` names, else the last run that uses it, else the model last defined.
fn lent(data: &str, settings: &Settings, checking: &mut Checking) -> Option<Lent> {
    if let Some(name) = settings.maybe_word("for").map(String::from) {
        if let Some(model) = checking.outline.model(&name) {
            return Some((model, None));
        }
        one_run(&name, checking.place(settings, "for"), checking)?;
        let run = checking.outline.run(&name)?;
        return Some((run.model.clone(), Some(run)));
    }
    let outline = &*checking.outline;
    let uses = |run: &Rc<TuneDefinition>| run.data.name == data && run.family.is_none();
    let runs = || {
        outline.things().iter().rev().filter_map(|(_, thing)| match thing {
            Thing::Run(run) => Some(run.clone()),
            _ => None,
        })
    };
    let last = outline.last_run().and_then(|name| outline.run(&name));
    if let Some(run) = last.filter(uses).or_else(|| runs().find(uses)) {
        return Some((run.model.clone(), Some(run)));
    }
    let mut models = outline.things().iter().rev().filter_map(|(_, thing)| match thing {
        Thing::Model(model) => Some(model.clone()),
        _ => None,
    });
    if let Some(model) = models.next() {
        return Some((model, None));
    }
    if outline.things().iter().any(|(_, thing)| matches!(thing, Thing::Broken(_))) {
        return None; // its mistake is told where it stands
    }
    checking.report(
        Diagnostic::error(codes::NO_TOKENIZER, format!("there is no model whose tokens `{data}` could be shown in"))
            .at(checking.span)
            .note("data has no tokenizer of its own: define a model before, such as `model base { from = \"smollm2-135m\" }`"),
    );
    None
}

/// What `which` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which(Vec<(i64, i64, i64)>);

impl Which {
    /// Refuses a range that begins below what is counted from.
    pub fn check(what: &str, least: i64, settings: &Settings, checking: &mut Checking) -> Option<Which> {
        let ranges =
            settings.maybe_list("which").unwrap_or_default().iter().filter_map(|value| match value {
                Value::Range { start, end, step } => Some((*start, *end, *step)),
                _ => None,
            });
        let which = Which(ranges.collect());
        let lowest = which.0.iter().map(|(start, ..)| *start).min().unwrap_or(least);
        if lowest >= least {
            return Some(which);
        }
        let place = checking.place(settings, "which");
        let message = format!("{what} are counted from {least}, found {lowest}");
        checking.report(Diagnostic::error(codes::OUT_OF_RANGE, message).at(place));
        None
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every number up to `last`, in the order they were written.
    pub fn up_to(&self, last: u64) -> impl Iterator<Item = u64> + '_ {
        let last = i64::try_from(last).unwrap_or(i64::MAX);
        self.0.iter().flat_map(move |(start, end, step)| {
            let numbers = *start..=(*end).min(last);
            numbers.step_by((*step).max(1) as usize).map(|number| number as u64)
        })
    }

    /// As it was written: `0..4, 9`.
    pub fn written(&self) -> String {
        let written = |(start, end, step): &(i64, i64, i64)| {
            let (start, end, step) = (*start, *end, *step);
            if start == end { start.to_string() } else { Value::Range { start, end, step }.to_ltune() }
        };
        self.0.iter().map(written).collect::<Vec<_>>().join(", ")
    }
}
