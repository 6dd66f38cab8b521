//! Rules that need every row: asked by `plan` and before the first step, each said once in a session.

use crate::data::batch::Schedule;
use crate::data::dataset::{Dataset, Part, PartName};
use crate::data::shared::{shared_rows, unseen_labels};
use crate::events::{Diagnostic, Out};
use crate::language::codes;
use crate::language::suggest::all_of;
use crate::session::Session;
use crate::session::definitions::{DataDefinition, TuneDefinition};
use crate::session::stretches::Stretches;
use crate::session::written::Written;
use crate::train::material::Material;
use crate::units::{counted, grouped};

/// Labels that are named; more are only counted.
const NAMED: usize = 4;

impl Session {
    /// What a fine-tune says about its rows, beyond what the check could tell: rows trained on and evaluated on, labels
    /// never seen, stretches longer than the run. An evaluation that has no rows left is an error.
    pub fn data_rules(
        &mut self,
        tune: &TuneDefinition,
        dataset: &Dataset,
        out: &mut Out,
    ) -> Result<(), Diagnostic> {
        let data = &tune.data;
        let mut warnings = vec![];
        if self.told.insert(format!("rows of {}", dataset.hash)) {
            for part in [PartName::Validation, PartName::Test] {
                warnings.extend(same_rows(data, dataset.part(PartName::Train), part, dataset.part(part)));
                warnings.extend(unseen(data, dataset.part(PartName::Train), part, dataset.part(part)));
            }
        }
        let written = Written { settings: &tune.settings, span: None };
        let material = Material::new(dataset, &data.specification, PartName::Train);
        let schedule = Schedule::new(&material.part, material.layout(&tune.recipe));
        let steps_per_epoch = Some(schedule.steps_per_epoch() as u64);
        let stretches = Stretches { written, recipe: &tune.recipe, steps_per_epoch }.rules();
        warnings.extend(
            stretches
                .into_iter()
                .filter(|warning| self.told.insert(format!("{}: {}", tune.name, warning.message))),
        );
        warnings.into_iter().for_each(|warning| out.diagnostic(warning));
        nothing_left(tune, dataset, &written)
    }

    /// Held-out rows from elsewhere that the run was trained on: what `eval a on other` measures is then too good.
    pub fn trained_on(&mut self, run: &str, dataset: &Dataset, part: &Part, name: &str, out: &mut Out) {
        let Some(run) = self.runs.get(run).filter(|run| run.dataset.hash != dataset.hash) else { return };
        let train = run.dataset.part(PartName::Train);
        let shared = shared_rows(train, part);
        let key = format!("{name} of {} and {}", dataset.hash, run.dataset.hash);
        let Some((row, first)) = shared.first() else { return };
        if self.told.insert(key) {
            let training = format!("the training rows of run `{}`", run.definition.name);
            out.diagnostic(
                Diagnostic::warning(codes::SAME_ROWS, shared_text(shared.len(), part.len(), name, &training))
                    .note(same_text(part, *row, train, *first)),
            );
        }
    }
}

fn same_rows(data: &DataDefinition, train: &Part, name: PartName, held: &Part) -> Option<Diagnostic> {
    let shared = shared_rows(train, held);
    let (row, first) = shared.first()?;
    let name = format!("{}.{}", data.name, name.name());
    let message = shared_text(shared.len(), held.len(), &name, "its training rows");
    let diagnostic = Diagnostic::warning(codes::SAME_ROWS, message);
    let written = Written { settings: &data.settings, span: None };
    Some(written.at("from", diagnostic).note(same_text(held, *row, train, *first)))
}

fn shared_text(shared: usize, all: usize, name: &str, training: &str) -> String {
    let is = if shared == 1 { "is" } else { "are" };
    format!("{} of {} of `{name}` {is} among {training}", grouped(shared as u64), counted(all as u64, "row"))
}

fn same_text(held: &Part, row: usize, train: &Part, first: usize) -> String {
    let (held, train) = (held.place(row), train.place(first));
    let same = match held == train {
        true => format!("the text of `{held}` repeats itself"),
        false => format!("`{held}` becomes the same tokens as `{train}`"),
    };
    format!("{same}: what is measured on such rows was learned by heart; keep them on one side")
}

fn unseen(data: &DataDefinition, train: &Part, name: PartName, held: &Part) -> Option<Diagnostic> {
    let unseen = unseen_labels(train, held);
    if unseen.is_empty() {
        return None;
    }
    let named = all_of(&unseen[..unseen.len().min(NAMED)]);
    let more = unseen.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (labels, occur) = if unseen.len() == 1 { ("label", "occurs") } else { ("labels", "occur") };
    let message =
        format!("{labels} {named}{more} of `{}.{}` {occur} in no training row", data.name, name.name());
    let written = Written { settings: &data.settings, span: None };
    let place = if written.is_given("split") { "split" } else { "from" };
    Some(
        written
            .at(place, Diagnostic::warning(codes::LABEL_SETS, message))
            .note("the model cannot learn them: another `seed` splits otherwise, or give more such rows"),
    )
}

/// Evaluations are asked for, and every row of the part was dropped.
fn nothing_left(tune: &TuneDefinition, dataset: &Dataset, written: &Written) -> Result<(), Diagnostic> {
    if tune.recipe.eval_every.is_none() || !dataset.part(PartName::Validation).is_empty() {
        return Ok(());
    }
    let message =
        format!("`eval_every` has nothing to evaluate on: `{}.validation` has no rows", tune.data.name);
    let note = "its rows were dropped: look at `max_len`, or give `split` a larger share for it";
    Err(written.at("eval_every", Diagnostic::error(codes::NO_VALIDATION, message)).note(note))
}
