//! Work under way as one display each: it is brought up to date in its place. Training ends as a plain line with the loss
//! curve; of other work nothing stays, for what it did is said by the statement itself.

use crate::events::{Progress, Step};
use crate::frontends::html::escaped;
use crate::frontends::progress::tail;
use crate::units::Seconds;
use data_encoding::BASE64;
use jupyter_protocol::{
    DisplayData, JupyterMessage, JupyterMessageContent, Media, MediaType, StreamContent, Transient,
    UpdateDisplayData,
};
use std::time::{Duration, Instant};

/// No display is brought up to date more often.
const BETWEEN: Duration = Duration::from_millis(100);
/// No curve is drawn more often.
const BETWEEN_CURVES: Duration = Duration::from_millis(500);
/// Other work than training is shown once it has taken so long.
const SHORT: Duration = Duration::from_millis(500);
/// The curve of fewer steps than this is not kept: each of them has been printed.
const WORTH_KEEPING: usize = 20;

#[derive(Default)]
pub struct Live {
    tasks: Vec<Task>,
}

struct Task {
    name: String,
    began: Instant,
    /// The display that shows it, once there is one.
    display: Option<String>,
    shown: Instant,
    losses: Vec<(u64, f64)>,
    curve: String,
    drawn: Option<Instant>,
}

impl Live {
    pub fn saw(&mut self, step: &Step) {
        if let Some(task) = self.tasks.iter_mut().find(|task| task.name == step.run) {
            task.losses.push((step.step, step.loss));
        }
    }

    /// The message that shows how far it is by now, if one is due.
    pub fn progress(&mut self, progress: &Progress) -> Option<JupyterMessageContent> {
        let is_known = self.tasks.iter().position(|task| task.name == progress.task);
        let has_ended = progress.done >= progress.total && (progress.total > 0 || progress.done == 0);
        match is_known {
            None if has_ended => None,
            None => {
                self.tasks.push(Task::new(&progress.task));
                let task = self.tasks.last_mut()?;
                (progress.unit == "steps" && progress.total > 1).then(|| task.show(progress))
            }
            Some(index) if has_ended => self.tasks.remove(index).end(progress),
            Some(index) => {
                let task = &mut self.tasks[index];
                let due = match task.display {
                    None => task.began.elapsed() > SHORT,
                    Some(_) => task.shown.elapsed() > BETWEEN,
                };
                due.then(|| task.show(progress))
            }
        }
    }
}

impl Task {
    fn new(name: &str) -> Task {
        let now = Instant::now();
        let (name, curve) = (name.to_string(), String::new());
        Task { name, began: now, display: None, shown: now, losses: vec![], curve, drawn: None }
    }

    fn show(&mut self, progress: &Progress) -> JupyterMessageContent {
        self.shown = Instant::now();
        if self.drawn.is_none_or(|drawn| drawn.elapsed() > BETWEEN_CURVES) {
            self.drawn = Some(self.shown);
            self.curve = curve(&self.losses);
        }
        let line = format!("{}  {}{}", self.name, tail(progress), self.left(progress));
        let bar = match progress.total {
            0 => String::new(),
            total => format!(
                "<progress value=\"{}\" max=\"{total}\" style=\"width:16em;vertical-align:middle\"></progress> ",
                progress.done
            ),
        };
        let html = format!("<div>{bar}{}</div>{}", code(&line), self.curve);
        self.message(line, html)
    }

    /// The last line: what was done and how long it took.
    fn end(mut self, progress: &Progress) -> Option<JupyterMessageContent> {
        self.display.as_ref()?;
        if self.losses.is_empty() {
            return Some(self.message(String::new(), String::new()));
        }
        let took = Seconds(self.began.elapsed().as_secs_f64());
        let losses = match (self.losses.first(), self.losses.last()) {
            (Some((_, first)), Some((_, last))) if self.losses.len() > 1 => {
                format!("  loss {first:.4} → {last:.4}")
            }
            _ => String::new(),
        };
        let done = tail(&Progress { total: 0, note: String::new(), ..progress.clone() });
        let line = format!("{}  {done} in {took}{losses}", self.name);
        let html = format!("<div>{}</div>{}", code(&line), self.kept_curve());
        Some(self.message(line, html))
    }

    /// The curve as a picture: where a notebook is shown and not trusted, what is drawn in HTML itself is left out.
    fn kept_curve(&self) -> String {
        let drawn = curve(&self.losses);
        if drawn.is_empty() || self.losses.len() < WORTH_KEEPING {
            return String::new();
        }
        let data = BASE64.encode(drawn.as_bytes());
        format!("<img alt=\"the loss, step by step\" src=\"data:image/svg+xml;base64,{data}\">")
    }

    /// How long the rest will take, going by what was done so far.
    fn left(&self, progress: &Progress) -> String {
        let spent = self.began.elapsed().as_secs_f64();
        match progress.total.checked_sub(progress.done) {
            Some(rest) if progress.done > 0 && spent > 1.0 => {
                format!("  {} left", Seconds(spent / progress.done as f64 * rest as f64))
            }
            _ => String::new(),
        }
    }

    fn message(&mut self, line: String, html: String) -> JupyterMessageContent {
        let data = Media::new(vec![MediaType::Plain(line), MediaType::Html(html)]);
        match &self.display {
            Some(display) => UpdateDisplayData::new(data, display).into(),
            None => {
                // Each message has an identifier that no other has: that of a throwaway one serves.
                let display = JupyterMessage::from(StreamContent::default()).header.msg_id;
                self.display = Some(display.clone());
                let transient = Some(Transient { display_id: Some(display) });
                DisplayData { data, metadata: Default::default(), transient }.into()
            }
        }
    }
}

/// In the font of code and without its ground; a style that names variables would be dropped where nothing is trusted.
fn code(line: &str) -> String {
    let style = "background:transparent;padding:0;font-size:13px;white-space:pre-wrap";
    format!("<code style=\"{style}\">{}</code>", escaped(line))
}

/// The losses as a small line with its first and last value; nothing for fewer than three.
fn curve(losses: &[(u64, f64)]) -> String {
    const WIDTH: f64 = 360.0;
    const HEIGHT: f64 = 64.0;
    let points: Vec<(f64, f64)> = losses
        .iter()
        .filter(|(_, loss)| loss.is_finite())
        .map(|(step, loss)| (*step as f64, *loss))
        .collect();
    if points.len() < 3 {
        return String::new();
    }
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    let least = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    let stride = points.len().div_ceil(WIDTH as usize);
    let places = points.iter().step_by(stride).chain(points.last());
    let line: Vec<String> = places
        .map(|(step, loss)| {
            let x = (step - first) / (last - first).max(1.0) * WIDTH;
            let y = (most - loss) / (most - least).max(1e-12) * HEIGHT;
            format!("{:.1},{:.1}", x + 2.0, y + 3.0)
        })
        .collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"440\" height=\"70\" viewBox=\"0 0 440 70\" role=\"img\"><title>loss</title>\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#3b74d1\" stroke-width=\"1.8\" stroke-linejoin=\"round\"/>\
         <g font-family=\"monospace\" font-size=\"11\" fill=\"#7a828e\"><text x=\"370\" y=\"12\">{most:.4}</text>\
         <text x=\"370\" y=\"66\">{least:.4}</text></g></svg>",
        line.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64, total: u64, unit: &str) -> Progress {
        Progress { task: "a".into(), done, total, unit: unit.into(), note: String::new() }
    }

    #[test]
    fn a_run_has_one_display_from_its_beginning_to_its_end() {
        let mut live = Live::default();
        let Some(JupyterMessageContent::DisplayData(first)) = live.progress(&progress(0, 20, "steps")) else {
            panic!("training is shown at once")
        };
        assert!(live.progress(&progress(1, 20, "steps")).is_none(), "not more than ten times a second");
        live.saw(&Step {
            run: "a".into(),
            step: 1,
            loss: 2.0,
            lr: 0.1,
            grad_norm: 1.0,
            tokens: 9,
            seconds: 0.1,
            epoch: 0.1,
            planned: 20,
        });
        let Some(JupyterMessageContent::UpdateDisplayData(last)) = live.progress(&progress(20, 20, "steps"))
        else {
            panic!("the end is shown")
        };
        assert_eq!(first.transient.unwrap().display_id, last.transient.display_id);
        let MediaType::Plain(line) = &last.data.content[0] else { panic!("text comes first") };
        assert!(line.starts_with("a  20 steps in "), "{line}");
    }

    #[test]
    fn of_work_that_is_no_training_nothing_stays() {
        let mut live = Live::default();
        assert!(live.progress(&progress(0, 900, "rows")).is_none());
        std::thread::sleep(SHORT);
        assert!(live.progress(&progress(300, 900, "rows")).is_some());
        let Some(JupyterMessageContent::UpdateDisplayData(last)) = live.progress(&progress(900, 900, "rows"))
        else {
            panic!("its end is told")
        };
        assert_eq!(last.data.content[0], MediaType::Plain(String::new()));
    }

    #[test]
    fn short_work_and_a_single_step_have_no_display() {
        let mut live = Live::default();
        assert!(live.progress(&progress(0, 1, "steps")).is_none());
        assert!(live.progress(&progress(1, 1, "steps")).is_none());
        assert!(live.progress(&progress(0, 900, "rows")).is_none());
        assert!(live.progress(&progress(900, 900, "rows")).is_none());
    }

    #[test]
    fn a_curve_passes_over_what_is_no_number() {
        let drawn = curve(&[(1, 3.0), (2, f64::NAN), (3, 2.0), (4, 1.0)]);
        assert!(drawn.contains("points=\"2.0,3.0") && !drawn.contains("NaN"), "{drawn}");
        assert_eq!(curve(&[(1, 3.0)]), "");
    }
}
