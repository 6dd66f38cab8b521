//! The one live line of a terminal: how far the work under way has come. Drawn by indicatif on standard error.

use crate::events::Progress;
use crate::units::{Bytes, grouped};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// The live line; absent where lines cannot be redrawn.
#[derive(Default)]
pub struct Live {
    current: Option<(String, ProgressBar)>,
    /// The losses of the last steps, for the small curve at its end.
    losses: Vec<f64>,
}

/// Columns of the small curve.
const CURVE: usize = 12;

impl Live {
    pub fn show(&mut self, progress: &Progress) {
        if progress.total > 0 && progress.done >= progress.total {
            self.clear();
            return;
        }
        if progress.done == 0 {
            self.losses.clear();
        }
        let curve = if progress.unit == "steps" { curve(&self.losses) } else { String::new() };
        let gap = if curve.is_empty() { "" } else { "  " };
        let bar = self.bar(progress);
        bar.set_position(progress.done);
        bar.set_message(format!("{}{gap}{curve}", tail(progress)));
    }

    /// A step had this loss.
    pub fn saw(&mut self, loss: f64) {
        if self.losses.len() >= CURVE {
            self.losses.remove(0);
        }
        self.losses.push(loss);
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if let Some((_, bar)) = self.current.take() {
            bar.finish_and_clear();
        }
    }

    /// Prints while the line is out of the way.
    pub fn around(&self, print: impl FnOnce()) {
        match &self.current {
            Some((_, bar)) => bar.suspend(print),
            None => print(),
        }
    }

    /// The bar of the task, a new one when the task is new.
    fn bar(&mut self, progress: &Progress) -> &ProgressBar {
        if self.current.as_ref().is_some_and(|(task, _)| *task != progress.task) {
            self.clear();
        }
        let (_, bar) = self.current.get_or_insert_with(|| (progress.task.clone(), fresh(progress)));
        bar
    }
}

fn fresh(progress: &Progress) -> ProgressBar {
    let template = match progress.total {
        0 => "{spinner} {prefix}  {msg}",
        _ => "{prefix}  {wide_bar}  {msg}  {eta} left",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar =
        ProgressBar::with_draw_target(Some(progress.total.max(1)), ProgressDrawTarget::stderr_with_hz(10));
    bar.set_style(style.progress_chars("━╸ ").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
    bar.set_prefix(progress.task.clone());
    // Work that goes on after an interruption has its time left told from here on.
    bar.set_position(progress.done);
    bar.reset_eta();
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Numbers as a row of small bars, from the least to the greatest of them; none for fewer than two.
fn curve(numbers: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite = || numbers.iter().copied().filter(|number| number.is_finite());
    if finite().count() < 2 {
        return String::new();
    }
    let (least, most) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let bar = |number: f64| match (number - least) / (most - least) {
        share if share.is_finite() => BARS[(share * 7.0).round() as usize],
        _ => BARS[3],
    };
    numbers.iter().map(|number| if number.is_finite() { bar(*number) } else { '?' }).collect()
}

/// What stands behind the bar: `1 024/20 000 rows  loss 2.43`.
pub fn tail(progress: &Progress) -> String {
    let count = |count: u64| match progress.unit.as_str() {
        "bytes" => Bytes(count).to_string(),
        _ => grouped(count),
    };
    let unit = if progress.unit == "bytes" { String::new() } else { format!(" {}", progress.unit) };
    let total = if progress.total > 0 { format!("/{}", count(progress.total)) } else { String::new() };
    let note = if progress.note.is_empty() { String::new() } else { format!("  {}", progress.note) };
    format!("{}{total}{unit}{note}", count(progress.done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64, total: u64, unit: &str, note: &str) -> Progress {
        Progress { task: "tokenizing".into(), done, total, unit: unit.into(), note: note.into() }
    }

    #[test]
    fn counts_are_grouped_and_bytes_are_readable() {
        assert_eq!(tail(&progress(1024, 20_000, "rows", "")), "1 024/20 000 rows");
        assert_eq!(tail(&progress(98_100_000, 269_000_000, "bytes", "")), "98.1 MB/269.0 MB");
        assert_eq!(tail(&progress(7, 0, "steps", "loss 2.43")), "7 steps  loss 2.43");
    }

    #[test]
    fn losses_are_a_small_curve() {
        assert_eq!(curve(&[8.0, 4.0, 1.0]), "█▄▁");
        assert_eq!(curve(&[1.0, f64::NAN, 2.0]), "▁?█");
        assert_eq!(curve(&[2.0, 2.0]), "▄▄");
        assert_eq!(curve(&[2.0]), "");
    }
}
