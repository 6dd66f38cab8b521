//! `rust { … }`: schedules, metrics and row transforms written in Rust, which scripts then use by name.

use crate::data::row::{Row, read_number, read_text, write_number, write_text};
use crate::evaluate::answer::Answer;
use crate::events::{Diagnostic, Out, Refusal};
use crate::files::hash::sha256;
use crate::language::check::unusable_name;
use crate::language::codes;
use crate::language::rust_text::{Function, SIGNATURES, functions, signature};
use crate::language::schema::Form;
use crate::language::scope::{NameKind, Scope};
use crate::language::tree::Spanned;
use crate::rust::{Block, Functions, absent, named};
use crate::session::Session;
use crate::session::own::{OwnFunction, taken};
use crate::statements::{Action, Check, Checking, Statement};
use crate::train::schedule::Moment;
use crate::units::Seconds;
use std::rc::Rc;
use std::time::Instant;

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Rust(check) };

const FORM: Form = Form {
    name: "rust",
    summary: "defines schedules, metrics and row transforms in Rust",
    usage: "rust { … }",
    details: "What a function takes and gives says what it is; its name is then used like any other.\n\n\
              - `fn NAME(at: Moment) -> f64` is a schedule, for `schedule = NAME`: from `at.step` (from 1), \
              `at.planned_steps` and `at.steps_per_epoch` to the share of `lr`, from zero up.\n\
              - `fn NAME(answer: &Answer) -> f64` is a metric, for `metrics = [NAME]`: from `answer.written` and \
              `answer.wanted` (and `answer.is_right()`) to a number; the metric is the mean over the rows.\n\
              - `fn NAME(row: Row) -> Option<Row>` is a row transform, for `transform = NAME` in `data`: from a row as it \
              was read to the row as it is to be understood, or `None` to leave it out. `row.get(\"column\")`, `has`, \
              `set(\"column\", text)`, `set_json`, `rename(\"column\", \"new\")`, `remove`, `columns()`.\n\n\
              Other functions, types and `use` lines serve the block itself; a block sees no other block, and no crates but \
              `std`. A function must be pure: asked again for the same, it gives the same, for steps are taken again after \
              `undo` and rows are kept prepared. The block is compiled when it runs, which takes about ten seconds on two cores, and its \
              functions run in a process of their own: one that panics, spins (Ctrl-C ends it) or dies costs the session \
              nothing. It needs an `ltune` that was built with `--features rust-cells`, and `cargo`.",
    example: "rust {\n  fn halving(at: Moment) -> f64 {\n    0.5_f64.powi((at.step / 100) as i32)\n  }\n}",
    ..Form::LANGUAGE
};

fn check(text: &Spanned<String>, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let named = named(&text.node);
    let block = Block { text: text.node.clone(), at: text.span };
    let before = checking.diagnostics.len();
    if named.is_empty() {
        checking.report(nothing(&block));
    }
    for (function, kind) in &named {
        let place = block.span(function.place.clone());
        let known = checking.outline.kind_of(&function.name).filter(|known| known != kind);
        let name = Spanned::new(function.name.clone(), place);
        let wrong =
            unusable_name(&name).or_else(|| known.map(|known| taken(&function.name, known).at(place)));
        wrong.into_iter().for_each(|diagnostic| checking.report(diagnostic));
    }
    if let Some(absent) = absent() {
        let word = crate::events::Span { end: checking.span.start + FORM.name.len() as u32, ..checking.span };
        checking.report(absent.diagnostic().at(word));
    }
    let is_good = checking.diagnostics[before..].iter().all(|diagnostic| !diagnostic.is_error());
    // What uses them is not to blame.
    let shared: Rc<str> = text.node.as_str().into();
    for (function, kind) in &named {
        match is_good {
            true => checking.outline.define_in_block(&function.name, *kind, &shared),
            false => checking.outline.define_broken(&function.name, *kind),
        }
    }
    is_good.then(|| Box::new(Compile { block, shared }) as Box<dyn Action>)
}

/// A block in which no function is of a kind that scripts know.
fn nothing(block: &Block) -> Diagnostic {
    let functions = functions(&block.text);
    let near = functions.iter().find(|function| function.nearly().is_some()).or(functions.first());
    let message = "the block defines no schedule, no metric and no row transform";
    let diagnostic = Diagnostic::error(codes::NOTHING_DEFINED, message);
    let Some(near) = near else { return shapes(diagnostic.at(block.at)) };
    let place = block.span(near.signature.clone());
    match near.nearly() {
        Some(kind) => {
            let wanted = signature(kind, &near.name);
            diagnostic.at(place).fix(place, wanted.clone(), format!("write `{wanted}`"))
        }
        None => shapes(diagnostic.label(place, "a function that the block alone can use")),
    }
}

fn shapes(diagnostic: Diagnostic) -> Diagnostic {
    let shapes = SIGNATURES.iter().map(|(kind, .., written)| format!("{} is `{written}`", kind.described()));
    shapes.fold(diagnostic, Diagnostic::note)
}

struct Compile {
    block: Block,
    /// Its text, as names refer to it.
    shared: Rc<str>,
}

impl Action for Compile {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let named = named(&self.block.text);
        // Notebook cells are run twice.
        if named.iter().all(|(function, _)| session.outline.block(&function.name) == Some(&self.shared)) {
            return Ok(());
        }
        let started = Instant::now();
        let printed = session.own.printed.clone();
        let print = Box::new(move |line| printed.borrow_mut().push(line));
        let functions = Functions::compile(self.block.clone(), out.cancel.clone(), print)
            .map_err(|found| all_but_the_last(found, out))?;
        let functions = Rc::new(functions);
        let own = (0..named.len()).map(|index| own(&functions, index, &self.shared)).collect();
        session.add_own(own, out)?;
        for (function, kind) in &named {
            session.outline.define_in_block(&function.name, *kind, &self.shared);
        }
        let defined: Vec<String> = named
            .iter()
            .map(|(function, kind)| format!("{} is {}", function.name, kind.described()))
            .collect();
        out.note(format!("rust: {}, {}", defined.join(", "), Seconds(started.elapsed().as_secs_f64())));
        Ok(())
    }
}

/// Reports them in order; the last one is the error of the statement.
fn all_but_the_last(mut found: Vec<Diagnostic>, out: &mut Out) -> Diagnostic {
    let last = found.pop();
    found.into_iter().for_each(|diagnostic| out.diagnostic(diagnostic));
    last.unwrap_or_else(|| Diagnostic::error(codes::RUST, "the `rust` block does not compile"))
}

/// The function of this index, asked in its process.
fn own(functions: &Rc<Functions>, index: usize, text: &str) -> (String, OwnFunction) {
    let (Function { name, .. }, kind) = &functions.named()[index];
    let asked = Asked { functions: functions.clone(), index: index as u64 };
    let function = match kind {
        NameKind::Metric => OwnFunction::Metric(Box::new(move |answer| asked.metric(answer))),
        NameKind::Transform => OwnFunction::Transform {
            function: Box::new(move |rows| asked.transform(&rows)),
            fingerprint: Some(sha256(format!("{name}\n{text}"))),
        },
        _ => OwnFunction::Schedule(Box::new(move |at| asked.schedule(at))),
    };
    (name.clone(), function)
}

/// A function of a block: how it is asked is told in `rust/prelude.rs`.
struct Asked {
    functions: Rc<Functions>,
    index: u64,
}

impl Asked {
    fn schedule(&self, at: Moment) -> Result<f64, Refusal> {
        let mut request = self.request();
        [at.step, at.planned_steps, at.steps_per_epoch]
            .into_iter()
            .for_each(|number| write_number(&mut request, number));
        self.number(&request)
    }

    fn metric(&self, answer: &Answer) -> Result<f64, Refusal> {
        let mut request = self.request();
        write_number(&mut request, answer.example as u64);
        write_text(&mut request, &answer.wanted);
        write_text(&mut request, &answer.written);
        self.number(&request)
    }

    fn transform(&self, rows: &[Row]) -> Result<Vec<Option<Row>>, (Option<usize>, Refusal)> {
        let mut request = self.request();
        rows.iter().for_each(|row| row.write(&mut request));
        let answer = self.functions.ask(&request).map_err(|refusal| (None, refusal))?;
        let mut bytes = answer.as_slice();
        let row = |index| {
            self.given(&mut bytes).map_err(|refusal| (Some(index), refusal))?;
            let read = |bytes: &mut &[u8]| match read_number(bytes)? {
                0 => Some(None),
                _ => Row::read(bytes).map(Some),
            };
            read(&mut bytes).ok_or_else(|| (Some(index), garbled()))
        };
        (0..rows.len()).map(row).collect()
    }

    fn request(&self) -> Vec<u8> {
        let mut request = vec![];
        write_number(&mut request, self.index);
        request
    }

    fn number(&self, request: &[u8]) -> Result<f64, Refusal> {
        let answer = self.functions.ask(request)?;
        let mut bytes = answer.as_slice();
        self.given(&mut bytes)?;
        read_number(&mut bytes).map(f64::from_bits).ok_or_else(garbled)
    }

    /// Whether a value follows, or the panic that came instead.
    fn given(&self, bytes: &mut &[u8]) -> Result<(), Refusal> {
        match read_number(bytes).ok_or_else(garbled)? {
            0 => Ok(()),
            _ => {
                let (message, line) = (read_text(bytes), read_number(bytes));
                Err(self.functions.panicked(&message.unwrap_or_default(), line.unwrap_or(0)))
            }
        }
    }
}

fn garbled() -> Refusal {
    Refusal::new("its process gave an answer that cannot be read")
}
