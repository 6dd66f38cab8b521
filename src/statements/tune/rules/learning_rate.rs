//! A learning rate about ten times outside what is usual: a warning.

use crate::events::Diagnostic;
use crate::language::codes;
use crate::language::value::plain_number;
use crate::session::definitions::ModelOrigin;
use crate::statements::tune::rules::Facts;
use crate::train::recipe::{Method, Optimizer};

pub fn unusual(facts: &Facts) -> Vec<Diagnostic> {
    let lr = facts.recipe.lr;
    if !facts.written.is_given("lr") {
        return vec![];
    }
    if lr == 0.0 {
        let diagnostic =
            Diagnostic::warning(codes::ODD_LR, "`lr = 0` trains nothing: no step changes a weight");
        return vec![facts.written.at("lr", diagnostic)];
    }
    let usual = usual(facts);
    if (usual.least..=usual.most).contains(&lr) {
        return vec![];
    }
    let message = format!(
        "`lr = {}` is far from what {} usually takes ({:e} to {:e})",
        plain_number(lr),
        usual.of,
        usual.least,
        usual.most
    );
    vec![facts.written.at("lr", Diagnostic::warning(codes::ODD_LR, message))]
}

/// What is no surprise: the usual rates and ten times beyond at both ends.
struct Usual {
    least: f64,
    most: f64,
    of: String,
}

fn usual(facts: &Facts) -> Usual {
    let method = facts.written.settings.maybe_word("method").unwrap_or("full");
    if matches!(facts.recipe.optimizer, Optimizer::Sgd { .. }) {
        return Usual { least: 1e-6, most: 1.0, of: "`sgd`".into() };
    }
    if matches!(facts.model.origin, ModelOrigin::Random { .. }) {
        // What is trained from random weights takes larger steps than what is only tuned.
        return Usual { least: 1e-6, most: 3e-2, of: format!("`{method}` on random weights") };
    }
    match facts.recipe.method {
        Method::Lora { .. } => Usual { least: 1e-5, most: 3e-3, of: format!("`{method}`") },
        _ => Usual { least: 1e-6, most: 5e-4, of: format!("`{method}`") },
    }
}
