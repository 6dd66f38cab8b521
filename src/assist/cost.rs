//! What a setting costs, told while it is written: `epochs = 3` is so many steps and about so long.

use crate::assist::known::{Known, Progress};
use crate::assist::place::{Place, setting};
use crate::events::SourceId;
use crate::language::blocks::fixed;
use crate::language::check::parse_setting;
use crate::language::schema::{Default, Form, Setting};
use crate::language::value::{Settings, Value, plain_number};
use crate::units::{Seconds, Unit, counted, grouped};

/// The cost of the value, or of the statement, that ends at the cursor.
pub fn cost(place: &Place, known: &Known) -> Option<String> {
    match place.value {
        Some((setting, written)) => {
            let value = read(setting, written, known)?;
            Training::around(place, known)?.of(setting.name, &value)
        }
        None => of_statement(place, known),
    }
}

/// The value of a text, if it is a whole one.
fn read(setting: &'static Setting, written: &str, known: &Known) -> Option<Value> {
    let form = Form { settings: std::slice::from_ref(setting), ..Form::NOUN };
    parse_setting(&form, setting.name, written, SourceId(0), known).ok().map(|(_, value)| value)
}

/// What is known of a fine-tune whose settings are being written.
struct Training {
    rows: u64,
    batch: (u64, u64),
    /// Where the plan ends.
    planned: Option<u64>,
    seconds_a_row: Option<f64>,
}

impl Training {
    /// From the settings before the cursor, and for what they leave open from the run that the statement names.
    fn around(place: &Place, known: &Known) -> Option<Training> {
        let form = place.form?;
        let run = place.head.get(1).and_then(|name| known.get(name));
        let settings = run.map(|run| &run.settings);
        let value = |name: &str| given(form, place, name, known).or_else(|| taken(settings, name));
        let Some(Value::Name(data)) = value("data") else { return None };
        let model = match value("model") {
            Some(Value::Name(model)) => model,
            _ => String::new(),
        };
        let batch = value("batch").or_else(|| default(form, "batch"));
        let mut training = Training {
            rows: known.get(&data)?.rows?,
            batch: batch_of(&batch?)?,
            planned: None,
            seconds_a_row: known.seconds_a_row(&model),
        };
        let epochs = value("epochs").and_then(|epochs| number(&epochs));
        training.planned = value("steps")
            .and_then(|steps| number(&steps))
            .or_else(|| Some(training.steps_of_epochs(epochs.unwrap_or(1.0))))
            .map(|steps| steps as u64);
        Some(training)
    }

    /// The last step of an epoch holds what is left.
    fn steps_per_epoch(&self) -> u64 {
        let (micro, accumulate) = self.batch;
        self.rows.div_ceil(micro.max(1)).div_ceil(accumulate.max(1))
    }

    fn steps_of_epochs(&self, epochs: f64) -> f64 {
        (epochs * self.steps_per_epoch() as f64).round().max(1.0)
    }

    fn of(mut self, name: &str, value: &Value) -> Option<String> {
        match (name, value) {
            ("epochs", value) => {
                let steps = self.steps_of_epochs(number(value)?);
                Some(counted(steps as u64, "step") + &self.time(steps))
            }
            ("steps", value) => {
                let steps = number(value)?;
                let epochs = steps / self.steps_per_epoch().max(1) as f64;
                Some(format!("{} epochs{}", plain_number((epochs * 100.0).round() / 100.0), self.time(steps)))
            }
            ("batch", value) => {
                self.batch = batch_of(value)?;
                let rows = counted(self.batch.0 * self.batch.1, "sequence");
                Some(format!("{rows}, {} an epoch", counted(self.steps_per_epoch(), "step")))
            }
            (_, Value::Measure { number, unit: Unit::Percent }) => {
                let steps = number / 100.0 * self.planned? as f64;
                Some(counted(steps.round().max(f64::from(u8::from(steps > 0.0))) as u64, "step"))
            }
            (_, Value::Measure { number, unit: Unit::Epochs }) => {
                Some(counted(self.steps_of_epochs(*number) as u64, "step"))
            }
            _ => None,
        }
    }

    /// `, about 14 min 05 s`, where a run on the model has shown how fast it is.
    fn time(&self, steps: f64) -> String {
        let rows = (self.batch.0 * self.batch.1).min(self.rows) as f64;
        self.seconds_a_row
            .map_or(String::new(), |seconds| format!(", about {}", Seconds(seconds * rows * steps)))
    }
}

/// The value of a setting that stands before the cursor.
fn given(form: &Form, place: &Place, name: &str, known: &Known) -> Option<Value> {
    let wanted = form.settings.iter().find(|setting| setting.name == name)?;
    let is_wanted = |written: &str| setting(form.settings, written).is_some_and(|found| found.name == name);
    let (_, text) = place.entries.iter().rev().find(|(written, _)| is_wanted(written))?;
    read(wanted, text, known)
}

fn taken(settings: Option<&Settings>, name: &str) -> Option<Value> {
    settings?.maybe(name).cloned()
}

fn default(form: &Form, name: &str) -> Option<Value> {
    let setting = form.settings.iter().find(|setting| setting.name == name)?;
    match setting.default {
        Default::Fixed(literal) => Some(fixed(setting, literal)),
        _ => None,
    }
}

fn batch_of(value: &Value) -> Option<(u64, u64)> {
    match value {
        Value::Batch { micro, accumulate } => Some((*micro as u64, *accumulate as u64)),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) | Value::Measure { number, .. } => Some(*number),
        _ => None,
    }
}

/// `step a 20` says where it leads, `run a` how much is left.
fn of_statement(place: &Place, known: &Known) -> Option<String> {
    let (verb, rest) = place.head.split_first()?;
    if !place.written.is_empty() && known.get(place.written).is_none() {
        return None;
    }
    let words = || rest.iter().copied().chain([place.written]);
    let named = words().find_map(|word| known.get(word));
    let run = named.or_else(|| known.get(known.last_run.as_deref()?))?;
    let progress = run.progress.as_ref()?;
    let left = progress.planned.saturating_sub(progress.step);
    match (*verb, rest.last().and_then(|word| word.parse::<u64>().ok())) {
        ("step", Some(count)) => {
            let end = progress.step + count;
            let beyond = if end > progress.planned { ", beyond the planned end" } else { "" };
            let planned = grouped(progress.planned);
            Some(format!("to step {} of {planned}{}{beyond}", grouped(end), time(progress, count)))
        }
        ("run", None) if named.is_some() && words().count() <= 2 => match left {
            0 => Some("it is at its planned end already".into()),
            left => Some(format!("{} left{}", counted(left, "step"), time(progress, left))),
        },
        _ => None,
    }
}

fn time(progress: &Progress, steps: u64) -> String {
    progress.pace.map_or(String::new(), |pace| format!(", about {}", Seconds(pace * steps as f64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assist::place::place;
    use crate::assist::samples::known;

    fn told(text: &str) -> Option<String> {
        cost(&place(text, text.len())?, &known())
    }

    #[test]
    fn epochs_steps_and_batches_are_told_in_each_other() {
        let run = "tune b { model = base; data = chat; batch = 4 x 2; ";
        assert_eq!(told(&format!("{run}epochs = 3")).as_deref(), Some("114 steps, about 45.6 s"));
        assert_eq!(told(&format!("{run}num_train_epochs = 3")).as_deref(), Some("114 steps, about 45.6 s"));
        assert_eq!(told(&format!("{run}steps = 19")).as_deref(), Some("0.5 epochs, about 7.60 s"));
        assert_eq!(
            told("tune b { data = chat; batch = 4 x 4").as_deref(),
            Some("16 sequences, 19 steps an epoch")
        );
        let warmup = format!("{run}epochs = 2; schedule = cosine {{ warmup = 10%");
        assert_eq!(told(&warmup).as_deref(), Some("8 steps"));
        assert_eq!(told("tune b { data = chat; eval_every = 0.5 epochs").as_deref(), Some("10 steps"));
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        assert_eq!(told("tune b { epochs = 3"), None);
        assert_eq!(told("tune b { data = other; epochs = 3"), None);
        assert_eq!(told("tune b { data = chat; epochs = thr"), None);
        assert_eq!(told("tune b { data = chat; lr = 1e-4"), None);
        assert_eq!(told("print 3"), None);
    }

    #[test]
    fn statements_say_where_they_lead() {
        assert_eq!(told("step a 20").as_deref(), Some("to step 32 of 38, about 8.00 s"));
        assert_eq!(
            told("step 30").as_deref(),
            Some("to step 42 of 38, about 12.0 s, beyond the planned end")
        );
        assert_eq!(told("run a").as_deref(), Some("26 steps left, about 10.4 s"));
        assert_eq!(told("run b"), None);
        assert_eq!(told("run a until "), None);
    }
}
