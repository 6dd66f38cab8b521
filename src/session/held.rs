//! Snapshots of a run, held in host memory within a budget: dense where it is now, sparser with age.

use crate::session::lineage::Lineage;
use crate::train::plan::{MOST_SNAPSHOTS, SNAPSHOT_EVERY_STEP};
use crate::train::snapshot::Snapshot;
use std::rc::Rc;

/// One state that can be gone back to at once.
#[derive(Clone, Debug)]
pub struct Place {
    pub lineage: Lineage,
    pub snapshot: Rc<Snapshot>,
}

/// The snapshots of a run.
#[derive(Clone, Debug)]
pub struct Held {
    places: Vec<Place>,
    budget: u64,
}

impl Held {
    /// Nothing yet; never more than `budget` bytes.
    pub fn new(budget: u64) -> Held {
        Held { places: vec![], budget }
    }

    pub fn budget(&self) -> u64 {
        self.budget
    }

    pub fn set_budget(&mut self, budget: u64, now: &Lineage) {
        self.budget = budget;
        self.thin(now);
    }

    pub fn bytes(&self) -> u64 {
        self.places.iter().map(|place| place.snapshot.bytes()).sum()
    }

    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Whether a snapshot of `bytes` is to be taken after this step.
    pub fn is_due(&self, step: u64, bytes: u64) -> bool {
        bytes <= self.budget && step.is_multiple_of(bytes.div_ceil(SNAPSHOT_EVERY_STEP).max(1))
    }

    pub fn has(&self, lineage: &Lineage) -> bool {
        self.places.iter().any(|place| place.lineage == *lineage)
    }

    /// Holds a state. When the budget is passed, what is least missed from `now` goes.
    pub fn keep(&mut self, place: Place, now: &Lineage) {
        if self.has(&place.lineage) || place.snapshot.bytes() > self.budget {
            return;
        }
        self.places.push(place);
        self.thin(now);
    }

    /// The latest state that leads to the lineage.
    pub fn nearest(&self, target: &Lineage) -> Option<&Place> {
        let leading = self.places.iter().filter(|place| place.lineage.leads_to(target));
        leading.max_by_key(|place| place.lineage.length())
    }

    /// Those of use to a fork that begins with this lineage; the snapshots themselves are shared.
    pub fn leading_to(&self, lineage: &Lineage) -> Held {
        let leading = self.places.iter().filter(|place| place.lineage.leads_to(lineage));
        Held { places: leading.cloned().collect(), budget: self.budget }
    }

    fn thin(&mut self, now: &Lineage) {
        while self.bytes() > self.budget || self.places.len() as u64 > MOST_SNAPSHOTS {
            let Some(index) = self.least_missed(now) else { return };
            self.places.remove(index);
        }
    }

    /// First what is on no way to `now`, the oldest first; then the one that leaves the smallest gap for its age, so
    /// that what is left lies at ever larger distances towards the past.
    fn least_missed(&self, now: &Lineage) -> Option<usize> {
        let aside = self.places.iter().position(|place| !place.lineage.leads_to(now));
        aside.or_else(|| {
            let mut order: Vec<usize> = (0..self.places.len()).collect();
            order.sort_by_key(|index| self.places[*index].lineage.length());
            let length = |index: usize| self.places[order[index]].lineage.length() as f64;
            let missed = |index: usize| {
                let before = if index == 0 { 0.0 } else { length(index - 1) };
                let after =
                    if index + 1 < order.len() { length(index + 1) } else { now.length() as f64 + 1.0 };
                (after - before) / (now.length() as f64 + 1.0 - length(index)).max(1.0)
            };
            let least = (0..order.len()).min_by(|left, right| missed(*left).total_cmp(&missed(*right)))?;
            Some(order[least])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::value::Settings;
    use crate::train::fixtures::{full, material, trainer};

    fn start() -> Lineage {
        Lineage::start(Settings::new(), full())
    }

    fn steps(held: &Held) -> Vec<u64> {
        held.places.iter().map(|place| place.lineage.step()).collect()
    }

    #[test]
    fn a_full_ring_keeps_the_recent_past_dense_and_the_distant_past_sparse() {
        let snapshot = Rc::new(trainer(material(), full()).snapshot());
        let mut held = Held::new(8 * snapshot.bytes());
        for step in 0..=200 {
            let lineage = start().at(step);
            held.keep(Place { lineage: lineage.clone(), snapshot: snapshot.clone() }, &lineage);
            assert!(held.bytes() <= held.budget());
        }
        let kept = steps(&held);
        assert_eq!(kept.len(), 8);
        assert_eq!(kept[7], 200);
        let gaps: Vec<u64> = kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[0] > 8 * gaps[6], "{kept:?}");
        assert_eq!(held.nearest(&start().at(kept[3] + 1)).map(|place| place.lineage.step()), Some(kept[3]));
    }

    #[test]
    fn what_was_left_behind_goes_first() {
        let snapshot = Rc::new(trainer(material(), full()).snapshot());
        let mut held = Held::new(2 * snapshot.bytes());
        let keep = |held: &mut Held, lineage: &Lineage| {
            held.keep(Place { lineage: lineage.clone(), snapshot: snapshot.clone() }, lineage);
        };
        keep(&mut held, &start().at(9));
        keep(&mut held, &start().at(3));
        keep(&mut held, &start().at(4));
        assert_eq!(steps(&held), [3, 4]);
        held.set_budget(0, &start().at(4));
        assert_eq!(held.bytes(), 0);
    }

    #[test]
    fn large_snapshots_are_taken_less_often_and_too_large_ones_never() {
        let held = Held::new(4 << 30);
        assert!(held.is_due(1, 58 << 20) && held.is_due(2, 58 << 20));
        assert!(!held.is_due(1, 1600 << 20) && held.is_due(25, 1600 << 20));
        assert!(!held.is_due(1000, 5 << 30));
    }
}
