//! Whether a run fits the free memory, and the smallest edits that make it fit: each is planned again.

use crate::data::dataset::Part;
use crate::data::packing::Packing;
use crate::events::Diagnostic;
use crate::language::codes;
use crate::language::value::measure_text;
use crate::model::base::Quantization;
use crate::model::lora::LoraSettings;
use crate::session::definitions::TuneDefinition;
use crate::session::forecast::Forecast;
use crate::torch::memory;
use crate::train::material::Material;
use crate::train::plan::{Circumstances, Plan, plan};
use crate::train::recipe::{Batch, Checkpointing, Method, Recipe};
use crate::units::{Bytes, Unit, counted};
use std::sync::Arc;
use tch::Kind;

/// A change that makes a run fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// As it stands in a script.
    pub text: String,
    /// Where it is to be written, and what it costs.
    pub remark: String,
    /// The peak with it.
    pub bytes: u64,
}

impl Edit {
    pub fn sentence(&self) -> String {
        format!("`{}`{} makes it {}", self.text, self.remark, Bytes(self.bytes))
    }
}

/// What a live run can be set to so that it takes clearly less than it did when memory ran out, smallest changes first.
pub fn live_edits(tune: &TuneDefinition, forecast: &Forecast) -> Vec<Edit> {
    let less = forecast.plan.peak_without_snapshots() / 10 * 9;
    let circumstances = Circumstances { snapshots: 0, ..forecast.circumstances };
    let within = |room| {
        let edits = Edits { tune, forecast, circumstances, room };
        [edits.computed_twice(), edits.smaller_batch()].into_iter().flatten().collect()
    };
    let edits: Vec<Edit> = within(forecast.room.map_or(less, |room| room.min(less)));
    if edits.is_empty() { within(less) } else { edits }
}

/// That there is no room for the run, with what would make it fit.
pub fn complaint(tune: &TuneDefinition, forecast: &Forecast) -> Option<Diagnostic> {
    let room = forecast.room.filter(|_| forecast.lacks_room())?;
    let mut diagnostic = Diagnostic::error(
        codes::NO_ROOM,
        format!(
            "run `{}` takes {} at its peak, and there is room for {} of memory",
            tune.name,
            Bytes(forecast.plan.peak_bytes()),
            Bytes(room)
        ),
    );
    let edits = Edits::new(tune, forecast, room).find();
    for edit in &edits {
        diagnostic = diagnostic.note(edit.sentence());
    }
    if edits.is_empty() {
        diagnostic = diagnostic.note("no setting makes it fit: take a smaller model, or free memory");
    }
    Some(diagnostic)
}

/// Whether it lacks room even if the plan is somewhat too high, nothing is held for going back, and all swap is used.
pub fn surely_lacks_room(forecast: &Forecast) -> bool {
    let least = forecast.plan.peak_without_snapshots() as f64 * 0.9;
    let room = forecast.room.map(|room| room.saturating_add(memory::swap().unwrap_or(0)));
    room.is_some_and(|room| least > room as f64)
}

struct Edits<'a> {
    tune: &'a TuneDefinition,
    forecast: &'a Forecast,
    circumstances: Circumstances,
    room: u64,
}

/// One change to a variant.
type Step = Box<dyn Fn(&mut Variant)>;

/// A run as it might be.
#[derive(Clone)]
struct Variant {
    recipe: Recipe,
    circumstances: Circumstances,
    material: Material,
}

impl<'a> Edits<'a> {
    fn new(tune: &'a TuneDefinition, forecast: &'a Forecast, room: u64) -> Edits<'a> {
        Edits { tune, forecast, circumstances: forecast.circumstances, room }
    }

    /// Each edit that is enough alone, those that change the numbers least first; else several together.
    fn find(&self) -> Vec<Edit> {
        let alone: Vec<Edit> = [
            self.fewer_snapshots(),
            self.computed_twice(),
            self.smaller_batch(),
            self.shorter_rows(),
            self.adapters(),
            self.half_precision(),
            self.four_bits(),
        ]
        .into_iter()
        .flatten()
        .collect();
        if alone.is_empty() { self.together().into_iter().collect() } else { alone }
    }

    fn now(&self) -> Variant {
        let Forecast { recipe, material, .. } = self.forecast;
        let circumstances = self.circumstances;
        Variant { recipe: recipe.clone(), circumstances, material: material.clone() }
    }

    /// The peak of a variant, if there is room for it.
    fn fits(&self, variant: &Variant) -> Option<u64> {
        self.fitting(variant).map(|plan| plan.peak_bytes())
    }

    /// The plan of a variant, if there is room for it.
    fn fitting(&self, variant: &Variant) -> Option<Plan> {
        let Variant { recipe, circumstances, material } = variant;
        let planned = plan(&self.forecast.config, *circumstances, material, recipe).ok()?;
        Some(planned).filter(|planned| planned.peak_bytes() <= self.room)
    }

    fn fewer_snapshots(&self) -> Option<Edit> {
        const MIB: u64 = 1 << 20;
        let budget = self.room.checked_sub(self.forecast.plan.peak_without_snapshots())? / MIB * MIB;
        if self.forecast.plan.snapshot.1 == 0 {
            return None;
        }
        let mut variant = self.now();
        variant.circumstances.snapshots = budget;
        let text = snapshots_text(budget);
        Some(Edit { text, remark: " (steps to go back to)".into(), bytes: self.fits(&variant)? })
    }

    fn computed_twice(&self) -> Option<Edit> {
        let mut variant = self.now();
        if variant.recipe.checkpointing == Checkpointing::On {
            return None;
        }
        variant.recipe.checkpointing = Checkpointing::On;
        let plan = self.fitting(&variant)?;
        let more = 100.0 * (plan.flops() / self.forecast.plan.flops() - 1.0);
        let remark = format!(" (the same numbers, {more:.0} % more arithmetic)");
        Some(Edit { text: CHECKPOINTING.into(), remark, bytes: plan.peak_bytes() })
    }

    fn smaller_batch(&self) -> Option<Edit> {
        smaller(self.forecast.recipe.batch).find_map(|batch| {
            let mut variant = self.now();
            variant.recipe.batch = batch;
            Some(Edit {
                text: batch_text(batch),
                remark: " (as many rows a step, the same numbers up to rounding)".into(),
                bytes: self.fits(&variant)?,
            })
        })
    }

    fn shorter_rows(&self) -> Option<Edit> {
        self.lengths().find_map(|length| {
            let mut variant = self.now();
            let longer = longer_than(&variant.material.part, length);
            variant.material = cut(&variant.material, length);
            Some(Edit {
                text: format!("max_len = {}", counted(length as u64, "token")),
                remark: format!(
                    " in `data {}` ({} would be cut)",
                    self.tune.data.name,
                    counted(longer, "example")
                ),
                bytes: self.fits(&variant)?,
            })
        })
    }

    /// Shorter and shorter.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        const SHORTEST: usize = 32;
        let longest = self.forecast.plan.longest as usize;
        (1..8).map(move |halvings| (longest >> halvings) / 8 * 8).filter(|length| *length >= SHORTEST)
    }

    fn adapters(&self) -> Option<Edit> {
        if matches!(self.tune.recipe.method, Method::Lora { .. }) {
            return None;
        }
        let mut variant = self.now();
        variant.recipe.method = Method::lora(LoraSettings::default());
        variant.recipe.freeze.clear();
        Some(Edit {
            text: "method = lora".into(),
            remark: " (adapters instead of whole tensors)".into(),
            bytes: self.fits(&variant)?,
        })
    }

    fn half_precision(&self) -> Option<Edit> {
        let mut variant = self.now();
        if variant.circumstances.storage.dtype == Kind::BFloat16 {
            return None;
        }
        variant.circumstances.storage.dtype = Kind::BFloat16;
        Some(Edit {
            text: "dtype = bf16".into(),
            remark: format!(" in `model {}`", self.tune.model.name),
            bytes: self.fits(&variant)?,
        })
    }

    /// For adapters alone: what is held in 4 bits takes no update.
    fn four_bits(&self) -> Option<Edit> {
        let mut variant = self.now();
        let is_lora =
            matches!(variant.recipe.method, Method::Lora { .. }) && variant.recipe.freeze.is_empty();
        if !is_lora || variant.circumstances.storage.quantization == Quantization::Nf4 {
            return None;
        }
        variant.circumstances.storage.quantization = Quantization::Nf4;
        Some(Edit {
            text: "quantization = nf4".into(),
            remark: format!(" in `model {}`", self.tune.model.name),
            bytes: self.fits(&variant)?,
        })
    }

    /// One edit after the other until it fits.
    fn together(&self) -> Option<Edit> {
        let (mut variant, mut texts) = (self.now(), vec![]);
        let smallest = smaller(variant.recipe.batch).last();
        let mut steps: Vec<(String, Step)> = vec![];
        if variant.recipe.checkpointing != Checkpointing::On {
            let twice = |variant: &mut Variant| variant.recipe.checkpointing = Checkpointing::On;
            steps.push((CHECKPOINTING.into(), Box::new(twice)));
        }
        if let Some(batch) = smallest {
            steps.push((batch_text(batch), Box::new(move |variant| variant.recipe.batch = batch)));
        }
        if !matches!(variant.recipe.method, Method::Lora { .. }) {
            steps.push((
                "method = lora".into(),
                Box::new(|variant| {
                    variant.recipe.method = Method::lora(LoraSettings::default());
                    variant.recipe.freeze.clear();
                }),
            ));
        }
        if variant.circumstances.storage.dtype == Kind::Float {
            let halve = |variant: &mut Variant| variant.circumstances.storage.dtype = Kind::BFloat16;
            steps.push(("dtype = bf16".into(), Box::new(halve)));
        }
        steps.push((snapshots_text(0), Box::new(|variant| variant.circumstances.snapshots = 0)));
        for length in self.lengths() {
            let text = format!("max_len = {}", counted(length as u64, "token"));
            steps.push((text, Box::new(move |variant| variant.material = cut(&variant.material, length))));
        }
        for (text, change) in steps {
            change(&mut variant);
            texts.retain(|earlier: &String| !(earlier.starts_with("max_len") && text.starts_with("max_len")));
            texts.push(text);
            if let Some(bytes) = self.fits(&variant) {
                return Some(Edit { text: texts.join("` with `"), remark: " together".into(), bytes });
            }
        }
        None
    }
}

const CHECKPOINTING: &str = "checkpointing = on";

fn snapshots_text(budget: u64) -> String {
    match budget {
        0 => "snapshots = none".into(),
        _ => format!("snapshots = {}", measure_text(budget as f64, Unit::Bytes)),
    }
}

fn batch_text(batch: Batch) -> String {
    format!("batch = {} x {}", batch.micro, batch.accumulate)
}

/// The same rows a step in smaller and smaller micro-batches.
fn smaller(batch: Batch) -> impl Iterator<Item = Batch> {
    let rows = batch.rows();
    let divides = move |micro: &usize| rows.is_multiple_of(*micro);
    (1..batch.micro).rev().filter(divides).map(move |micro| Batch { micro, accumulate: rows / micro })
}

fn longer_than(part: &Part, length: usize) -> u64 {
    (0..part.len()).filter(|example| part.length(*example) > length).count() as u64
}

fn cut(material: &Material, length: usize) -> Material {
    let packing = match material.packing {
        Packing::Off => Packing::Off,
        Packing::Rows { max_len } => Packing::Rows { max_len: max_len.min(length) },
    };
    Material { part: Arc::new(material.part.cut(length)), packing, shuffle: material.shuffle }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::{Counts, Dataset};
    use crate::data::shape::Shape;
    use crate::data::specification::{From, Specification};
    use crate::language::value::Settings;
    use crate::model::preset::preset;
    use crate::session::definitions::{
        DataDefinition, DataOrigin, ModelDefinition, ModelOrigin, Precision, TokenizerOrigin,
    };
    use crate::train::fixtures::part;
    use std::rc::Rc;

    fn tune(recipe: Recipe) -> TuneDefinition {
        let model = ModelDefinition {
            name: "base".into(),
            origin: ModelOrigin::Random { seed: 1 },
            tokenizer: TokenizerOrigin::Bytes,
            dtype: Precision::F32,
            quantization: Quantization::Off,
            device: "cpu".into(),
            config: None,
            settings: Settings::new(),
        };
        let data = DataDefinition {
            name: "chat".into(),
            origin: DataOrigin::Random,
            specification: Specification::new(From::Random { rows: 1, length: 1, seed: 1 }),
            settings: Settings::new(),
            block: None,
        };
        let (model, data) = (Rc::new(model), Rc::new(data));
        TuneDefinition {
            name: "a".into(),
            model,
            data,
            recipe,
            settings: Settings::new(),
            blocks: vec![],
            family: None,
        }
    }

    fn forecast(tune: &TuneDefinition, room: u64) -> Forecast {
        let config = preset("smollm2-135m").unwrap();
        let circumstances =
            Circumstances { process: 100 << 20, snapshots: 64 << 20, ..Circumstances::default() };
        let material = Material { part: part(&[512; 64]), packing: Packing::Off, shuffle: false };
        let dataset = Dataset::new(vec![], Counts::default(), String::new(), Shape::Text, vec![], None);
        Forecast {
            plan: plan(&config, circumstances, &material, &tune.recipe).unwrap(),
            recipe: tune.recipe.clone(),
            config,
            circumstances,
            dataset: Arc::new(dataset),
            material,
            room: Some(room),
        }
    }

    fn lora(micro: usize, accumulate: usize) -> TuneDefinition {
        let recipe = Recipe::new(Method::lora(LoraSettings { rank: 8, ..LoraSettings::default() }));
        tune(Recipe { batch: Batch { micro, accumulate }, ..recipe })
    }

    fn notes(tune: &TuneDefinition, room: u64) -> Vec<String> {
        complaint(tune, &forecast(tune, room)).map_or(vec![], |diagnostic| diagnostic.notes)
    }

    #[test]
    fn what_fits_is_no_complaint() {
        let tune = lora(4, 2);
        assert!(complaint(&tune, &forecast(&tune, 1 << 40)).is_none());
        assert!(complaint(&tune, &Forecast { room: None, ..forecast(&tune, 0) }).is_none());
    }

    #[test]
    fn edits_that_are_enough_are_named_and_fit() {
        let tune = lora(16, 1);
        let room = 3 << 30;
        let edits = Edits::new(&tune, &forecast(&tune, room), room).find();
        assert!(edits.iter().all(|edit| edit.bytes <= room), "{edits:?}");
        let texts: Vec<&str> = edits.iter().map(|edit| edit.text.as_str()).collect();
        assert_eq!(texts, ["checkpointing = on", "batch = 4 x 4", "max_len = 128 tokens"]);
        let notes = notes(&tune, room);
        assert!(
            notes[0].starts_with("`checkpointing = on` (the same numbers, 43 % more arithmetic)"),
            "{notes:?}"
        );
        assert!(notes[1].starts_with("`batch = 4 x 4` (as many rows a step"));
    }

    #[test]
    fn snapshots_are_given_up_first_where_that_is_enough() {
        let tune = lora(4, 4);
        let all = forecast(&tune, 1 << 40).plan.peak_bytes();
        let edits = notes(&tune, all - (20 << 20));
        assert!(edits[0].starts_with("`snapshots = "), "{edits:?}");
    }

    #[test]
    fn a_full_fine_tune_may_become_adapters_and_several_edits_are_named_together() {
        let full = tune(Recipe { batch: Batch { micro: 1, accumulate: 8 }, ..Recipe::new(Method::Full) });
        let edits = notes(&full, 2 << 30);
        assert!(edits.iter().any(|edit| edit.starts_with("`method = lora`")), "{edits:?}");
        let wide = tune(Recipe { batch: Batch { micro: 16, accumulate: 1 }, ..Recipe::new(Method::Full) });
        let edits = notes(&wide, 1 << 30);
        assert_eq!(edits.len(), 1, "{edits:?}");
        assert!(
            edits[0].starts_with("`checkpointing = on` with `batch = 1 x 16` with `method = lora`"),
            "{edits:?}"
        );
        assert_eq!(notes(&wide, 1), ["no setting makes it fit: take a smaller model, or free memory"]);
    }

    #[test]
    fn only_what_surely_lacks_room_is_refused() {
        let tune = lora(4, 1);
        let peak = forecast(&tune, 0).plan.peak_bytes();
        let lacks = |room| surely_lacks_room(&Forecast { room: Some(room), ..forecast(&tune, 0) });
        assert!(!lacks(peak - (peak >> 5)) && lacks(1));
    }
}
