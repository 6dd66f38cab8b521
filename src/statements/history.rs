//! `history [run]`: what happened to a run, at which step.

use crate::events::{Diagnostic, Event, Out, Table};
use crate::language::codes;
use crate::language::schema::{Form, Kind, Role, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::plot::ticks::number;
use crate::session::run::Run;
use crate::session::{Session, sentence};
use crate::statements::run::one_run;
use crate::statements::{Action, Check, Checking, Statement};
use crate::train::metrics::{self, Entry};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const FORM: Form = Form {
    name: "history",
    summary: "lists what happened to a run, at which step",
    usage: "history [run]",
    details: "Steps, changed settings, evaluations, forks, saves and every way back, in the order in which they happened; \
              what was taken back is marked. It is read from the run's `metrics.jsonl`, so it outlives the session.",
    example: "history a",
    positional: &[Setting::new("run", Kind::Name(&[NameKind::Run]), "the run").computed("the run last named")],
    role: Role::Talks,
    ..Form::VERB
};

struct History(String);

impl Action for History {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let run = session.run(&self.0, out)?;
        let mut table = Table::new(
            format!("{}: at step {} of {}", self.0, run.lineage.step(), run.trainer.planned_steps()),
            &[">step", "what", "how", ""],
        );
        happenings(run)?.into_iter().for_each(|line| table.row(line.cells()));
        out.emit(Event::Table(table));
        Ok(())
    }
}

/// A row of the history: steps in a row are one.
struct Line {
    step: u64,
    what: String,
    how: String,
    living: Living,
    losses: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Living {
    Yes,
    TakenBack,
}

impl Line {
    fn cells(self) -> [String; 4] {
        let mark = if self.living == Living::TakenBack { "taken back" } else { "" };
        let (place, how) = match (self.losses.first(), self.losses.last()) {
            (Some(first), Some(last)) => {
                let count = self.losses.len() as u64;
                let from = self.step + 1 - count;
                match count {
                    1 => (self.step.to_string(), format!("loss {last:.4}")),
                    _ => (format!("{from}–{}", self.step), format!("loss {first:.4} → {last:.4}")),
                }
            }
            _ => (self.step.to_string(), self.how),
        };
        [place, self.what, how, mark.to_string()]
    }
}

fn happenings(run: &Run) -> Result<Vec<Line>, Diagnostic> {
    let Some(folder) = &run.folder else {
        return Ok(run.inherited().into_iter().map(|entry| line(&entry, Living::Yes)).fold(vec![], joined));
    };
    let history =
        metrics::read(&folder.path).map_err(|error| Diagnostic::error(codes::FILE, sentence(&error)))?;
    let living: std::collections::BTreeSet<u64> = history.living().iter().map(|row| row.seq).collect();
    let lines = history.rows.iter().map(|row| {
        let is_move = matches!(row.entry, Entry::Branch { .. });
        let is_living = is_move || living.contains(&row.seq);
        line(&row.entry, if is_living { Living::Yes } else { Living::TakenBack })
    });
    Ok(lines.fold(vec![], joined))
}

fn joined(mut lines: Vec<Line>, line: Line) -> Vec<Line> {
    match lines.last_mut() {
        Some(last) if !last.losses.is_empty() && !line.losses.is_empty() && last.living == line.living => {
            last.step = line.step;
            last.losses.extend(line.losses);
        }
        _ => lines.push(line),
    }
    lines
}

fn line(entry: &Entry, living: Living) -> Line {
    let line =
        |what: &str, how: String| Line { step: entry.step(), what: what.into(), how, living, losses: vec![] };
    match entry {
        Entry::Step { loss, .. } => Line { losses: vec![*loss], ..line("steps", String::new()) },
        Entry::Eval { data, loss, perplexity, .. } => {
            line("eval", format!("on {data}: loss {loss:.4}, perplexity {}", number(*perplexity, 4)))
        }
        Entry::Event { event, note, .. } => line(event, note.clone()),
        Entry::Branch { event, step, note, .. } if note.is_empty() => line(event, format!("to step {step}")),
        Entry::Branch { event, step, note, .. } => line(event, format!("to step {step}: {note}")),
    }
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let run = settings.word("run").to_string();
    one_run(&run, checking.place(&settings, "run"), checking)?;
    checking.outline.name_run(&run);
    Some(Box::new(History(run)))
}
