//! What `repeat` says of its rounds: where each run was at the end of each.

use crate::events::Table;
use crate::session::{Round, Session};

impl Session {
    /// Notes where the runs are at the beginning of a round.
    pub fn begin_round(&mut self) {
        let round = self.round();
        self.rounds.push(round);
    }

    fn round(&self) -> Round {
        let place = |run: &crate::session::run::Run| (run.lineage.step(), run.record.evaluations.len());
        self.runs.iter().map(|(name, run)| (name.clone(), place(run))).collect()
    }

    /// A row for each round and each run that moved in it; `None` when none did.
    pub fn rounds_table(&mut self, rounds: usize) -> Option<Table> {
        let mut ends = self.rounds.split_off(self.rounds.len().saturating_sub(rounds));
        ends.push(self.round());
        let mut table = Table::new("rounds", &[">round", "run", ">step", ">loss", ">eval loss"]);
        for (index, pair) in ends.windows(2).enumerate() {
            for (name, (step, evaluated)) in &pair[1] {
                let before = pair[0].get(name).copied().unwrap_or_default();
                let Some(run) = self.runs.get(name).filter(|_| before != (*step, *evaluated)) else {
                    continue;
                };
                let number =
                    |number: Option<f64>| number.map_or(String::new(), |number| format!("{number:.4}"));
                let loss = run.record.steps.iter().find(|known| known.step == *step).map(|known| known.loss);
                let evaluations = run.record.evaluations.get(before.1.min(*evaluated)..*evaluated);
                let evaluation = evaluations.and_then(|found| found.last()).map(|found| found.loss);
                table.row([
                    (index + 1).to_string(),
                    name.clone(),
                    step.to_string(),
                    number(loss),
                    number(evaluation),
                ]);
            }
        }
        (!table.rows.is_empty()).then_some(table)
    }
}
