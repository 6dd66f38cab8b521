//! The public [`Session`]: the interpreter for Rust programs and for the Rust cells of a notebook.
//!
//! ```
//! use ltune::{Data, Model, Moment, Session, Tune, choice, word};
//! use std::ops::ControlFlow;
//!
//! # fn main() -> Result<(), ltune::Error> {
//! # let folder = tempfile::tempdir().expect("a folder can be made");
//! # std::env::set_current_dir(&folder).expect("it can be entered");
//! // In the language; what it says is shown where it runs: in a terminal, or under the cell of a notebook.
//! let mut s = Session::new()?;
//! s.run(r#"
//!     model base { init = random { preset = tiny } }
//!     data rows { from = random; rows = 40; length = 16 tokens; split = 80% / 20% }
//!     tune a { model = base; data = rows; batch = 4 x 1; method = lora { rank = 4 } }
//!     step a 2
//! "#)?;
//! let losses: Vec<f64> = s.metrics("a")?.loss;
//! assert_eq!(losses.len(), 2);
//!
//! // The same without a string: Rust values, checked by the same schema. A schedule of one's own is a closure.
//! s.own_schedule("halving", Box::new(|at: Moment| 0.5f64.powi(at.step as i32 - 1)))?;
//! let base = Model::named("small").with("init", choice("random").with("preset", word("tiny")));
//! let rows = Data::named("few").with("from", word("random")).with("rows", 8).with("length", 16);
//! let tune = Tune::named("b")
//!     .with("model", &base)
//!     .with("data", &rows)
//!     .with("method", word("full"))
//!     .with("batch", (2, 1))
//!     .with("lr", 1e-2)
//!     .with("schedule", word("halving"))
//!     .with("steps", 20);
//! for definition in [&base, &rows, &tune] {
//!     s.define(definition)?;
//! }
//!
//! // Steps with a callback that may say stop.
//! let enough = |step: &ltune::events::Step| match step.step {
//!     3.. => ControlFlow::Break(()),
//!     _ => ControlFlow::Continue(()),
//! };
//! let steps = s.step("b", 20, enough)?;
//! assert_eq!(steps.iter().map(|step| step.lr).collect::<Vec<_>>(), [1e-2, 5e-3, 2.5e-3]);
//!
//! // Weights, mistakes, figures.
//! let q_proj = "model.layers.0.self_attn.q_proj.weight";
//! assert_eq!(s.weight("a", q_proj)?.size(), [64, 64]);
//! let mistake = s.run("step c 20").unwrap_err();
//! assert_eq!(mistake.code(), "L0103");
//! s.plot("loss of a, b")?;
//! # std::env::set_current_dir("/").expect("it can be left");
//! # Ok(())
//! # }
//! ```
//!
//! In a notebook: `:dep ltune = { path = "…", default-features = false }`, then `let mut s = ltune::Session::new()?;`,
//! and each cell goes on with `s`. A cell that fails leaves it whole. An interrupt of evcxr's kernel ends the process of
//! the cells, and with it every variable: `save_every` in `tune` and `load a from "runs/a"` go on from there.

mod audience;
mod definition;
mod error;
mod metrics;

pub use crate::api::audience::Watch;
pub use crate::api::definition::{Choice, Data, Definition, Model, Tune, choice, measure, word};
pub use crate::api::error::Error;
pub use crate::api::metrics::Metrics;

use crate::api::audience::{Audience, Heard, Watched};
use crate::data::row::Row;
use crate::evaluate::answer::Answer;
use crate::events::{Cancel, Diagnostic, Evaluation, Event, Figure, Generation, Out, Step, Table};
use crate::interpreter::{Interpreter, Outcome, Unit};
use crate::language::codes;
use crate::language::scope::{NameKind, Scope};
use crate::language::suggest::{all_of, nearest};
use crate::model::export::merged_weight;
use crate::session::own::{OwnFunction, guarded};
use crate::session::{Subject, sentence};
use crate::torch::heap::Heap;
use crate::torch::memory::tune_allocator;
use crate::train::schedule::Moment;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use tch::Tensor;

/// Models, data and runs with the language to work on them, as one value. It has no statics and lends nothing out, so
/// that it can be kept from cell to cell. It belongs to the thread that made it.
pub struct Session {
    interpreter: Interpreter,
    audience: Audience,
    /// Texts run so far.
    texts: u64,
}

/// What a text has shown, as values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// Everything but progress, in order.
    pub events: Vec<Event>,
}

impl Session {
    /// A session that shows what it says: in a terminal as a script does, under a cell as a kernel does. The first one of
    /// a process sets libtorch's allocator up, which is why it is best made before the first tensor.
    pub fn new() -> Result<Session, Error> {
        Ok(Session::before(Audience::here))
    }

    /// A session that shows nothing; what it says is in what its functions give back.
    pub fn silent() -> Result<Session, Error> {
        Ok(Session::before(Audience::nobody))
    }

    fn before(audience: fn(Cancel) -> Audience) -> Session {
        if Heap::installed().is_none() {
            tune_allocator();
        }
        let cancel = Cancel::default();
        let audience = audience(cancel.clone());
        let mut out = Out::new(Box::new(audience.clone()));
        out.cancel = cancel;
        Session { interpreter: Interpreter::new(out), audience, texts: 0 }
    }

    /// Checks a text of the language as a whole, then runs it and shows what it says. Nothing runs if anything in it is
    /// wrong. A value on the last line is shown too.
    pub fn run(&mut self, text: &str) -> Result<Shown, Error> {
        self.texts += 1;
        self.interpreter.cell = Some(self.texts);
        self.execute(format!("run {}", self.texts), text, None)
    }

    /// Checks and binds a model, data or a fine-tune.
    pub fn define(&mut self, definition: &Definition) -> Result<Shown, Error> {
        self.interpreter.cell = None;
        self.execute(definition.name().to_string(), &definition.to_ltune(), None)
    }

    /// Takes optimizer steps and tells `each` of every one; on `Break` training ends at that whole step, as on an
    /// interrupt: everything is kept, and the next call goes on. Gives back the steps it took.
    pub fn step(
        &mut self,
        run: &str,
        count: u64,
        each: impl FnMut(&Step) -> ControlFlow<()> + 'static,
    ) -> Result<Vec<Step>, Error> {
        self.interpreter.cell = None;
        let shown =
            self.execute(format!("step {run}"), &format!("step {run} {count}"), Some(Box::new(each)))?;
        Ok(shown.steps().cloned().collect())
    }

    /// Draws, and shows the figure: `s.plot("loss, lr of a, b")`.
    pub fn plot(&mut self, what: &str) -> Result<Shown, Error> {
        self.run(&format!("plot {what}"))
    }

    /// Adds a schedule: from the moment to the share of `lr`, a number from zero up. `schedule = NAME` in `tune`, `set`
    /// and `fork` goes by it. It must be a pure function: going back takes steps again.
    pub fn own_schedule(&mut self, name: &str, function: Box<dyn Fn(Moment) -> f64>) -> Result<(), Error> {
        self.add(name, OwnFunction::Schedule(Box::new(guarded(function))))
    }

    /// Adds a metric: from what the model wrote for a row, greedily, and what was wanted, to a number; the metric is the
    /// mean over the rows. `eval a { metrics = [loss, NAME] }` measures it, `plot NAME of a` draws it.
    pub fn own_metric(&mut self, name: &str, function: Box<dyn Fn(&Answer) -> f64>) -> Result<(), Error> {
        let one = guarded(move |answer: Answer| function(&answer));
        self.add(name, OwnFunction::Metric(Box::new(move |answer| one(answer.clone()))))
    }

    /// Adds a row transform: from a row as it was read to the row as it is to be understood, or `None` to leave it out.
    /// `transform = NAME` in `data` takes its rows through it before their columns are looked at. It must be a pure
    /// function. Its rows are tokenized once a session: what a closure does is not known to the cache.
    pub fn own_transform(
        &mut self,
        name: &str,
        function: Box<dyn Fn(Row) -> Option<Row>>,
    ) -> Result<(), Error> {
        self.add(name, OwnFunction::each_row(function))
    }

    fn add(&mut self, name: &str, function: OwnFunction) -> Result<(), Error> {
        self.audience.begin(cell(), None);
        let Interpreter { session, out, .. } = &mut self.interpreter;
        let added = session.add_own(vec![(name.to_string(), function)], out);
        self.audience.end();
        added.map_err(Error::of)
    }

    /// The numbers of a run; empty vectors before its first step.
    pub fn metrics(&self, run: &str) -> Result<Metrics, Error> {
        self.must_be(run, &[NameKind::Run])?;
        let record = self.interpreter.session.runs.get(run).map(|run| Metrics::of(&run.record));
        Ok(record.unwrap_or_default())
    }

    /// A tensor of a model or a run, by its name in the checkpoint, as a copy in the kind and on the device it is kept.
    /// A linear is `[out, in]`, a norm `[hidden]`, the embedding `[vocabulary, hidden]`.
    ///
    /// Of a run it is what the run trains where it trains it (fp32), else the base's. With `lora` a weight is therefore
    /// the frozen base's; the adapter is `….q_proj.lora_A.weight` `[rank, in]` and `….q_proj.lora_B.weight`
    /// `[out, rank]`, and [`merged_weight`](Session::merged_weight) is both together.
    pub fn weight(&mut self, name: &str, tensor: &str) -> Result<Tensor, Error> {
        self.look(name, |subject| {
            let policy = subject.policy();
            let own = policy.trainables.and_then(|trainables| trainables.get(tensor));
            let failed = |error: &dyn std::error::Error| Diagnostic::error(codes::TORCH, sentence(error));
            let found = match own {
                Some(own) => Some(own.shallow_clone()),
                None => policy.base.floats(tensor).map_err(|error| failed(&error))?,
            };
            let found = found.ok_or_else(|| no_tensor(subject, tensor))?;
            found.f_detach_copy().map_err(|error| failed(&crate::torch::TorchError::from(error)))
        })
    }

    /// A tensor of a model or a run with everything that was trained on it: `W + scale · B A` where an adapter lies over
    /// it. A copy in the base's kind.
    pub fn merged_weight(&mut self, name: &str, tensor: &str) -> Result<Tensor, Error> {
        self.look(name, |subject| {
            if !subject.base.has(tensor) {
                return Err(no_tensor(subject, tensor));
            }
            merged_weight(&subject.policy(), tensor)
                .map_err(|error| Diagnostic::error(codes::TORCH, sentence(&error)))
        })
    }

    /// The names that [`weight`](Session::weight) knows for a model or a run: the base's, then what the run adds.
    pub fn weight_names(&mut self, name: &str) -> Result<Vec<String>, Error> {
        self.look(name, |subject| Ok(tensor_names(subject)))
    }

    /// Asks the work under way to stop at the next whole step; for signal handlers and other threads.
    pub fn cancel(&self) -> Cancel {
        self.interpreter.out.cancel.clone()
    }

    fn execute(&mut self, name: String, text: &str, watch: Option<Watch>) -> Result<Shown, Error> {
        self.interpreter.out.cancel.clear();
        self.audience.begin(cell(), watch);
        let unit = Unit { name, text: text.to_string(), folder: PathBuf::new() };
        let outcome = self.interpreter.run(vec![unit]);
        let Heard { events, mut errors, watched } = self.audience.end();
        match (watched, outcome) {
            (Watched::Panicked(step), _) => errors.push(panicked(step)),
            (Watched::Through, Outcome::Interrupted) if errors.is_empty() => errors.push(interrupted()),
            _ => {}
        }
        if errors.is_empty() {
            return Ok(Shown { events });
        }
        Err(Error::new(errors, &self.interpreter.out.sources))
    }

    /// Looks at a model or a run, which is loaded if need be.
    fn look<T>(
        &mut self,
        name: &str,
        at: impl FnOnce(&Subject) -> Result<T, Diagnostic>,
    ) -> Result<T, Error> {
        self.must_be(name, &[NameKind::Model, NameKind::Run])?;
        self.audience.begin(cell(), None);
        let Interpreter { session, out, .. } = &mut self.interpreter;
        let found = session.subject(name, out).and_then(|subject| at(&subject));
        self.audience.end();
        found.map_err(Error::of)
    }

    fn must_be(&self, name: &str, kinds: &[NameKind]) -> Result<(), Error> {
        let outline = &self.interpreter.session.outline;
        if outline.kind_of(name).is_some_and(|kind| kinds.contains(&kind)) {
            return Ok(());
        }
        let names = outline.names().into_iter().filter(|(_, kind)| kinds.contains(kind));
        let names: Vec<String> = names.map(|(name, _)| name).collect();
        let wanted = kinds.iter().map(|kind| kind.described()).collect::<Vec<_>>().join(" or ");
        let diagnostic =
            Diagnostic::error(codes::UNKNOWN_NAME, format!("`{name}` is not the name of {wanted}"));
        Err(Error::of(match names.as_slice() {
            [] => diagnostic.note("none is defined yet"),
            names => diagnostic.note(format!("defined are {}", all_of(names))),
        }))
    }
}

/// The names and how far the runs have come.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let session = &self.interpreter.session;
        f.write_str("Session ")?;
        let mut names = f.debug_map();
        for (name, thing) in session.outline.things() {
            let step = session.runs.get(name).map(|run| run.trainer.step_count());
            let at = step.map_or(String::new(), |step| format!(" at step {step}"));
            names.entry(&format_args!("{name}"), &format_args!("{}{at}", thing.kind().described()));
        }
        names.finish()
    }
}

impl Shown {
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.events.iter().filter_map(|event| match event {
            Event::Step(step) => Some(step),
            _ => None,
        })
    }

    pub fn evaluations(&self) -> impl Iterator<Item = &Evaluation> {
        self.events.iter().filter_map(|event| match event {
            Event::Eval(evaluation) => Some(evaluation),
            _ => None,
        })
    }

    pub fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.events.iter().filter_map(|event| match event {
            Event::Generation(generation) => Some(generation),
            _ => None,
        })
    }

    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.events.iter().filter_map(|event| match event {
            Event::Table(table) => Some(table),
            _ => None,
        })
    }

    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.events.iter().filter_map(|event| match event {
            Event::Figure { figure, .. } => Some(figure),
            _ => None,
        })
    }

    /// What evcxr calls for the value that a cell ends with: all of it has been shown.
    pub fn evcxr_display(&self) {}
}

/// Which cell of a notebook this is. Each cell is a library with a copy of ltune in it: where the copy lies tells them
/// apart. Nothing is kept there.
fn cell() -> usize {
    static HERE: u8 = 0;
    (&raw const HERE).addr()
}

fn tensor_names(subject: &Subject) -> Vec<String> {
    let mut names = subject.base.names();
    let own = subject.run.map(|run| run.trainer.trainables().tensors.keys());
    names.extend(own.into_iter().flatten().filter(|name| !subject.base.has(name)).cloned());
    names
}

fn no_tensor(subject: &Subject, name: &str) -> Diagnostic {
    let names = tensor_names(subject);
    let diagnostic =
        Diagnostic::error(codes::UNKNOWN_NAME, format!("`{}` has no tensor `{name}`", subject.name));
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => diagnostic.note(format!("write `{near}`")),
        None => diagnostic.note(format!(
            "it has {} tensors, from `{}` on: `weight_names` lists them",
            names.len(),
            names[0]
        )),
    }
}

fn panicked(step: u64) -> Diagnostic {
    Diagnostic::error(codes::OWN_CODE, format!("the callback of `step` panicked at step {step}"))
        .note("the run is at this whole step, and everything is kept")
}

fn interrupted() -> Diagnostic {
    Diagnostic::error(codes::STOPPED, "the work was asked to stop")
        .note("runs are at whole steps, and everything is kept; what stood behind did not run")
}
