//! One event as one line or a few: what a person reads of a step, an evaluation, a generation.

use crate::events::{Evaluation, Generation, Move, Step};
use crate::frontends::color::Look;
use crate::plot::ticks::{measured, number};
use crate::units::{Seconds, counted, grouped};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `step  12/312  loss 2.4312  lr 1.2e-4   norm 0.31  1 024 tok  0.84 s`: columns line up under each other.
pub fn step(step: &Step) -> String {
    let planned = step.planned.to_string();
    let width = planned.len();
    format!(
        "step {:>width$}/{planned}  loss {:>6}  lr {:<7}  norm {:>4}  {:>5} tok  {:>6}",
        step.step,
        fixed(step.loss, 4),
        number(step.lr, 3),
        fixed(step.grad_norm, 2),
        grouped(step.tokens),
        Seconds(step.seconds).to_string(),
    )
}

/// `undo a: step 20 → 15  0.02 s`
pub fn moved(moved: &Move, look: &Look) -> String {
    let Move { run, verb, from, to, note, seconds } = moved;
    if verb == "fork" {
        return format!("{run}: {note}  {}", Seconds(*seconds));
    }
    let arrow = if look.unicode { "→" } else { "->" };
    let place = if from == to { format!("at step {to}") } else { format!("step {from} {arrow} {to}") };
    let note = if note.is_empty() { String::new() } else { format!(", {note}") };
    format!("{verb} {run}: {place}{note}  {}", Seconds(*seconds))
}

/// `eval a (step 20) on wiki  loss 3.2109  perplexity 24.80  token accuracy 41.2 %  5 120 tok  2.31 s`
pub fn evaluation(evaluation: &Evaluation) -> String {
    let Evaluation { model, data, loss, perplexity, token_accuracy, tokens, seconds, step, metrics } =
        evaluation;
    let at = step.map_or(String::new(), |step| format!(" (step {})", grouped(step)));
    let mut line = format!(
        "eval {model}{at} on {data}  loss {}  perplexity {}",
        fixed(*loss, 4),
        measured(*perplexity, 4)
    );
    if token_accuracy.is_finite() {
        line.push_str(&format!("  token accuracy {:.1} %", 100.0 * token_accuracy));
    }
    for (name, value) in metrics {
        line.push_str(&format!("  {name} {}", number(*value, 4)));
    }
    line.push_str(&format!("  {} tok  {}", grouped(*tokens), Seconds(*seconds)));
    line
}

/// Who was asked what, on one line: `a ▸ The capital of France is`.
pub fn prompt(generation: &Generation, look: &Look) -> String {
    let (arrow, ellipsis) = if look.unicode { ("▸", "…") } else { (">", "...") };
    let room = look.width.saturating_sub(generation.model.width() + 3);
    format!("{} {arrow} {}", generation.model, within(&generation.prompt, room, ellipsis))
}

/// `40 tokens in 1.21 s (33 a second), seed 17`
pub fn tail(generation: &Generation) -> String {
    let tokens = generation.tokens.len() as u64;
    let mut line = format!("{} in {}", counted(tokens, "token"), Seconds(generation.seconds));
    if generation.seconds > 0.0 && tokens > 1 {
        line.push_str(&format!(" ({} a second)", number(tokens as f64 / generation.seconds, 2)));
    }
    if let Some(seed) = generation.seed {
        line.push_str(&format!(", seed {seed}"));
    }
    line
}

/// `name = value`, or the value alone.
pub fn value(name: Option<&str>, text: &str) -> String {
    name.map_or(text.into(), |name| format!("{name} = {text}"))
}

/// With so many decimals; small numbers, which they would hide, in their own way.
fn fixed(value: f64, decimals: usize) -> String {
    let least = 0.1f64.powi(decimals as i32);
    match value {
        _ if !value.is_finite() || value != 0.0 && value.abs() < least || value.abs() >= 1e7 => {
            number(value, 3)
        }
        _ => format!("{value:.decimals$}"),
    }
}

/// The line broken between its parts where it is wider than the terminal; what goes on is set in.
pub fn folded(line: &str, columns: usize) -> String {
    let mut folded = String::new();
    let mut used = 0;
    for part in line.split("  ") {
        if used > 0 && used + 2 + part.width() > columns {
            folded.push_str("\n    ");
            used = 4;
        } else if used > 0 {
            folded.push_str("  ");
            used += 2;
        }
        folded.push_str(part);
        used += part.width();
    }
    folded
}

/// The text with its long lines broken between words; what goes on is set in, two columns deeper than its line.
pub fn wrapped(text: &str, columns: usize) -> String {
    let mut wrapped: Vec<String> = vec![];
    for line in text.split('\n') {
        let indent = line.len() - line.trim_start().len() + 2;
        let mut current = String::new();
        for word in line.split_inclusive(' ') {
            let is_full = current.width() + word.trim_end().width() > columns.max(20);
            if is_full && !current.trim().is_empty() {
                wrapped.push(std::mem::take(&mut current).trim_end().to_string());
                current = " ".repeat(indent);
            }
            current.push_str(word);
        }
        wrapped.push(current);
    }
    wrapped.join("\n")
}

/// The text on one line within so many columns.
fn within(text: &str, columns: usize, ellipsis: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.width() <= columns {
        return line;
    }
    let room = columns.saturating_sub(ellipsis.width());
    let mut used = 0;
    let kept = line.chars().take_while(|character| {
        used += character.width().unwrap_or(0);
        used <= room
    });
    format!("{}{ellipsis}", kept.collect::<String>().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(number: u64, loss: f64, lr: f64) -> Step {
        Step {
            run: "a".into(),
            step: number,
            loss,
            lr,
            grad_norm: 0.3125,
            tokens: 1024,
            seconds: 0.84,
            epoch: 0.04,
            planned: 312,
        }
    }

    #[test]
    fn steps_stand_in_columns() {
        let lines = [step(&sample(12, 2.43119, 1.2e-4)), step(&sample(300, 0.52, 2.22e-5))];
        assert_eq!(lines[0], "step  12/312  loss 2.4312  lr 1.2e-4   norm 0.31  1 024 tok  0.84 s");
        assert_eq!(lines[1], "step 300/312  loss 0.5200  lr 2.22e-5  norm 0.31  1 024 tok  0.84 s");
    }

    #[test]
    fn a_loss_that_is_no_number_says_so() {
        assert!(step(&sample(1, f64::NAN, 0.0)).contains("loss    nan  lr 0 "));
        assert!(step(&sample(1, 3.21e-6, 0.0)).contains("loss 3.21e-6"));
    }

    #[test]
    fn an_evaluation_is_one_line() {
        let mut result = Evaluation {
            model: "base".into(),
            data: "wiki".into(),
            loss: 3.2109,
            perplexity: 24.801,
            token_accuracy: 0.4119,
            tokens: 5120,
            seconds: 2.31,
            step: None,
            metrics: Default::default(),
        };
        let expected =
            "eval base on wiki  loss 3.2109  perplexity 24.80  token accuracy 41.2 %  5 120 tok  2.31 s";
        assert_eq!(evaluation(&result), expected);
        result.step = Some(20);
        result.token_accuracy = f64::NAN;
        result.metrics.insert("exact_match".into(), 0.5);
        let expected =
            "eval base (step 20) on wiki  loss 3.2109  perplexity 24.80  exact_match 0.5  5 120 tok  2.31 s";
        assert_eq!(evaluation(&result), expected);
    }

    #[test]
    fn a_prompt_stays_on_one_line() {
        let mut generation = Generation {
            model: "a".into(),
            prompt: "The capital\nof France is".into(),
            text: " Paris".into(),
            tokens: vec![1; 40],
            seconds: 1.25,
            seed: Some(17),
        };
        assert_eq!(prompt(&generation, &Look::PLAIN), "a ▸ The capital of France is");
        assert_eq!(tail(&generation), "40 tokens in 1.25 s (32 a second), seed 17");
        generation.prompt = "日本 ".repeat(40);
        let line = prompt(&generation, &Look { width: 40, ..Look::PLAIN });
        assert!(line.width() <= 40 && line.ends_with('…'), "{line}");
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrapped("short", 20), "short");
        assert_eq!(wrapped("one two three four five six", 20), "one two three four\n  five six");
        let list = "- one two three four five\n  indented words go on here";
        assert_eq!(wrapped(list, 20), "- one two three four\n  five\n  indented words go\n    on here");
        assert_eq!(wrapped("incomprehensibilities are", 20), "incomprehensibilities\n  are");
    }

    #[test]
    fn a_line_wider_than_the_terminal_is_broken_between_its_parts() {
        assert_eq!(folded("eval a  loss 2.1  100 tok", 80), "eval a  loss 2.1  100 tok");
        assert_eq!(folded("eval a  loss 2.1  100 tok", 16), "eval a  loss 2.1\n    100 tok");
    }
}
