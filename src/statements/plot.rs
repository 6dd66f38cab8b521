//! `plot METRICS [of runs] [to "file"]`: how runs went, as SVG, PNG or a terminal chart.

use crate::events::{Diagnostic, Event, Figure, Out};
use crate::language::codes;
use crate::language::schema::{Bounds, Choice, Clause, Form, Kind, Setting};
use crate::language::scope::NameKind;
use crate::language::value::Settings;
use crate::plot;
use crate::session::curves::{View, curves};
use crate::session::record::Record;
use crate::session::{Session, sentence};
use crate::statements::{Action, Check, Checking, Statement};
use std::path::{Path, PathBuf};

pub const STATEMENT: Statement = Statement { form: &FORM, check: Check::Verb(check) };

const METRICS: &[Choice] = &[
    Choice::new("loss", "training loss, with the validation loss where it was measured"),
    Choice::new("lr", "learning rate"),
    Choice::new("grad_norm", "norm of all gradients before clipping"),
    Choice::new("tokens_per_second", "supervised tokens a second"),
    Choice::new("seconds", "seconds a step"),
    Choice::new("perplexity", "validation perplexity"),
    Choice::new("token_accuracy", "validation token accuracy"),
];

const FORM: Form = Form {
    name: "plot",
    summary: "draws how runs went",
    usage: "plot METRIC, … [of RUN, …] [to \"file.svg\"] [{ by = step; smooth = 0.9 }]",
    details: "SVG or PNG by the file's name; without `to` a chart in the terminal, or inline in a notebook. Metrics of \
              different units get panels of their own.",
    example: "plot loss, lr of a to \"loss.svg\"",
    positional: &[
        Setting::new("metrics", Kind::list(&Kind::Choice(METRICS)), "what to draw").example("plot loss, lr")
    ],
    clauses: &[
        Clause::new(
            "of",
            Setting::new("of", Kind::list(&Kind::Name(&[NameKind::Run])), "the runs")
                .computed("the run last named")
                .example("of a, b"),
        ),
        Clause::new(
            "to",
            Setting::new("to", Kind::Path, "an .svg or .png file").optional().example("to \"loss.svg\""),
        ),
    ],
    settings: &[
        Setting::new(
            "by",
            Kind::Choice(&[
                Choice::new("step", "optimizer steps"),
                Choice::new("tokens", "supervised tokens seen"),
                Choice::new("time", "seconds spent in steps"),
            ]),
            "what runs along the bottom",
        )
        .or("step"),
        Setting::new(
            "smooth",
            Kind::Number(Bounds { min: 0.0, max: 1.0, open_min: false, open_max: true }),
            "weight of the past in a running mean; the plain values stay faintly behind",
        )
        .or("0.0")
        .example("smooth = 0.9"),
        Setting::new("title", Kind::Text, "above the figure").computed("the metrics and runs"),
    ],
    ..Form::VERB
};

/// What to draw.
pub struct Plot {
    pub metrics: Vec<String>,
    pub runs: Vec<String>,
    pub to: Option<PathBuf>,
    pub view: View,
}

impl Action for Plot {
    fn run(&self, session: &mut Session, out: &mut Out) -> Result<(), Diagnostic> {
        let runs: Vec<(&str, &Record)> = self
            .runs
            .iter()
            .filter_map(|name| Some((name.as_str(), &session.runs.get(name)?.record)))
            .collect();
        let metrics: Vec<&str> = self.metrics.iter().map(String::as_str).collect();
        let figure = curves(&metrics, &runs, &self.view)?;
        show(figure, self.to.as_deref(), out)
    }
}

/// Writes a figure to a file, or gives it to the front end to be shown.
pub fn show(figure: Figure, to: Option<&Path>, out: &mut Out) -> Result<(), Diagnostic> {
    if let Some(path) = to {
        plot::write::write(&figure, path, &plot::style::Style::default())
            .map_err(|error| Diagnostic::error(codes::PLOT, sentence(&error)))?;
    }
    let path = to.map(|path| path.display().to_string());
    out.emit(Event::Figure { path, figure });
    Ok(())
}

fn check(settings: Settings, checking: &mut Checking) -> Option<Box<dyn Action>> {
    let mut runs = settings.words("of");
    if runs.is_empty() {
        match crate::language::scope::Scope::last_run(&*checking.outline) {
            Some(run) => runs.push(run),
            None => {
                checking.report(
                    Diagnostic::error(codes::NO_RUN, "there is no run to plot yet")
                        .at(checking.span)
                        .note("define one with `tune a { … }`, train it, then `plot loss of a`"),
                );
                return None;
            }
        }
    }
    let to = picture(&settings, checking)?;
    Some(Box::new(Plot {
        metrics: settings.words("metrics"),
        runs,
        to,
        view: View {
            by: settings.word("by").to_string(),
            smooth: settings.number("smooth"),
            title: settings.maybe_text("title").map(String::from),
        },
    }))
}

/// The picture that `to` names, if it names one; another kind of file is refused.
pub fn picture(settings: &Settings, checking: &mut Checking) -> Option<Option<PathBuf>> {
    let Some(path) = settings.maybe_text("to").map(PathBuf::from) else { return Some(None) };
    if !is_picture(&path) {
        let place = checking.place(settings, "to");
        checking.report(
            Diagnostic::error(
                codes::PLOT,
                format!("`{}` is neither an .svg nor a .png file", path.display()),
            )
            .at(place)
            .note("the file's ending decides what is drawn: `to \"loss.svg\"` or `to \"loss.png\"`"),
        );
        return None;
    }
    checking.outline.write(path.clone());
    Some(Some(path))
}

fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "svg" || extension == "png")
}
