//! Settings that would do nothing beside the others: each would look as if it did something.

use crate::events::Diagnostic;
use crate::language::codes;
use crate::statements::tune::rules::Facts;
use crate::train::recipe::{Decay, Method, Optimizer};

pub fn optimizer(facts: &Facts) -> Vec<Diagnostic> {
    let mut found = vec![];
    if let Optimizer::Sgd { momentum, nesterov: true, .. } = facts.recipe.optimizer
        && momentum == 0.0
    {
        found.push(idle(
            facts,
            "optimizer.nesterov",
            "`nesterov` has no effect without `momentum`",
            "write `momentum = 0.9`, or leave `nesterov` out",
        ));
    }
    if facts.recipe.optimizer.weight_decay() == 0.0 && facts.recipe.optimizer.decay() == Decay::All {
        found.push(idle(
            facts,
            "optimizer.decay",
            "`decay = all` has no effect while `weight_decay` is 0",
            "write, for example, `weight_decay = 0.01`, or leave `decay` out",
        ));
    }
    found
}

/// A recording must ask for the same each time. Told where the later of the two was written. `checkpointing` is no mistake
/// beside it: it may have been decided by the free memory, and a journal then says both.
pub fn cuda_graph(facts: &Facts) -> Vec<Diagnostic> {
    let drops = matches!(&facts.recipe.method, Method::Lora { settings, .. } if settings.dropout > 0.0);
    if !facts.recipe.cuda_graph || !drops {
        return vec![];
    }
    let (graph, dropout) = ("cuda_graph", "method.dropout");
    let place = |path: &str| facts.written.place(path);
    let later = if place(dropout) > place(graph) { dropout } else { graph };
    let message = format!("`cuda_graph` has no effect with `{}`", facts.written.entry(dropout));
    vec![idle(facts, later, &message, "write `cuda_graph = off`, or `dropout = 0`")]
}

/// What goes by evaluations needs some.
pub fn evaluations(facts: &Facts) -> Vec<Diagnostic> {
    if facts.recipe.eval_every.is_some() || facts.data.specification.split.len() < 2 {
        return vec![]; // without a part to evaluate on that is told instead
    }
    let wanted =
        [(facts.recipe.keep_best, "keep_best"), (facts.recipe.early_stopping.is_some(), "early_stopping")];
    let diagnostic = |name: &str| {
        let message = format!("`{name}` has no effect without `eval_every`");
        idle(facts, name, &message, "write, for example, `eval_every = 50 steps`")
    };
    wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| diagnostic(name)).collect()
}

fn idle(facts: &Facts, path: &str, message: &str, note: &str) -> Diagnostic {
    facts.written.at(path, Diagnostic::error(codes::NO_EFFECT, message)).note(note)
}
