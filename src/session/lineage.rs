//! Where the state of a run comes from: the settings that came into force, and the steps taken under them.
//!
//! Everything a run holds is a pure function of its lineage, on the same model and data. Going back, redoing, forking,
//! resuming and writing a journal are therefore questions about lineages alone, and any state can be reached from any
//! earlier one of the same lineage by taking its steps again.

use crate::language::value::Settings;
use crate::train::recipe::Recipe;
use std::rc::Rc;

/// Settings that came into force after `at` steps.
#[derive(Clone, Debug)]
pub struct Change {
    pub at: u64,
    pub recipe: Recipe,
    /// All settings from there on, with their origins.
    pub settings: Settings,
    /// The verb that made it: `set`, `freeze`, `unfreeze`; empty for the definition itself.
    pub verb: String,
    /// What followed the run's name: `{ lr = 1e-4 }`, `layers 0..3`.
    pub tail: String,
}

impl Change {
    /// The statement that makes this change on a run of that name.
    pub fn statement(&self, run: &str) -> String {
        format!("{} {run} {}", self.verb, self.tail)
    }
}

/// Changes are the same when they change the same numbers from the same step on.
impl PartialEq for Change {
    fn eq(&self, other: &Change) -> bool {
        self.at == other.at && self.recipe == other.recipe
    }
}

/// A definition, the changes to it in order, and the steps taken. Changes at step 5 came after step 5 and before step 6.
#[derive(Clone, Debug)]
pub struct Lineage {
    changes: Vec<Rc<Change>>,
    step: u64,
}

impl PartialEq for Lineage {
    fn eq(&self, other: &Lineage) -> bool {
        self.step == other.step && self.changes.len() == other.changes.len() && self.same_changes(other)
    }
}

impl Lineage {
    /// Step 0 of a run defined so.
    pub fn start(settings: Settings, recipe: Recipe) -> Lineage {
        let definition = Change { at: 0, recipe, settings, verb: String::new(), tail: String::new() };
        Lineage { changes: vec![Rc::new(definition)], step: 0 }
    }

    /// One read back from its parts; `None` when they are no lineage.
    pub fn from_parts(changes: Vec<Change>, step: u64) -> Option<Lineage> {
        let ordered = changes.is_sorted_by_key(|change| change.at);
        let ends = changes.last()?.at <= step && changes.first()?.at == 0;
        (ordered && ends).then(|| Lineage { changes: changes.into_iter().map(Rc::new).collect(), step })
    }

    pub fn step(&self) -> u64 {
        self.step
    }

    /// The definition first, then what changed it.
    pub fn changes(&self) -> &[Rc<Change>] {
        &self.changes
    }

    /// What is in force.
    pub fn last(&self) -> &Change {
        self.changes.last().expect("a lineage begins with a definition")
    }

    pub fn settings(&self) -> &Settings {
        &self.last().settings
    }

    /// How many things happened on it: its steps and its changes.
    pub fn length(&self) -> u64 {
        self.step + self.changes.len() as u64
    }

    /// The same with more steps, or with fewer: then changes after `step` are gone too, and those at `step` stay.
    pub fn at(&self, step: u64) -> Lineage {
        let kept = self.changes.iter().filter(|change| change.at <= step);
        Lineage { changes: kept.cloned().collect(), step }
    }

    /// The same with a change now.
    pub fn changed(&self, change: Change) -> Lineage {
        let mut changes = self.changes.clone();
        changes.push(Rc::new(Change { at: self.step, ..change }));
        Lineage { changes, step: self.step }
    }

    /// Whether `later` came to be by going on from here.
    pub fn leads_to(&self, later: &Lineage) -> bool {
        self.step <= later.step
            && later.changes.len() >= self.changes.len()
            && self.same_changes(later)
            && later.changes[self.changes.len()..].iter().all(|change| change.at >= self.step)
    }

    /// Whether those of the changes that both have are the same.
    fn same_changes(&self, other: &Lineage) -> bool {
        self.changes.iter().zip(&other.changes).all(|(left, right)| Rc::ptr_eq(left, right) || left == right)
    }

    /// The longest lineage that leads to both.
    pub fn shared(&self, other: &Lineage) -> Lineage {
        let pairs = self.changes.iter().zip(&other.changes);
        let same = pairs.take_while(|(left, right)| left == right).count();
        let until = |lineage: &Lineage| lineage.changes.get(same).map_or(lineage.step, |change| change.at);
        Lineage { changes: self.changes[..same].to_vec(), step: until(self).min(until(other)) }
    }

    /// The lineage after the first `length` happenings.
    pub fn first(&self, length: u64) -> Lineage {
        let mut changes = 1;
        // Before the change that stands at place i, `at` steps and i changes have happened.
        while let Some(change) = self.changes.get(changes)
            && change.at + (changes as u64) < length
        {
            changes += 1;
        }
        Lineage { changes: self.changes[..changes].to_vec(), step: length - changes as u64 }
    }

    /// What happens on the way from `earlier`, which leads here.
    pub fn since(&self, earlier: &Lineage) -> Vec<Happening> {
        let mut happenings = vec![];
        let mut step = earlier.step;
        for change in &self.changes[earlier.changes.len()..] {
            if change.at > step {
                happenings.push(Happening::Steps(change.at - step));
                step = change.at;
            }
            happenings.push(Happening::Change(change.clone()));
        }
        if self.step > step {
            happenings.push(Happening::Steps(self.step - step));
        }
        happenings
    }
}

/// One stretch of a lineage.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    Steps(u64),
    Change(Rc<Change>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::Method;

    fn start() -> Lineage {
        Lineage::start(Settings::new(), Recipe::new(Method::Full))
    }

    fn set(lineage: &Lineage, lr: f64) -> Lineage {
        let recipe = Recipe { lr, ..Recipe::new(Method::Full) };
        let tail = format!("{{ lr = {lr} }}");
        let settings = Settings::new();
        lineage.changed(Change { at: 0, recipe, settings, verb: "set".into(), tail })
    }

    #[test]
    fn what_leads_where_follows_steps_and_changes() {
        let ten = start().at(10);
        let changed = set(&ten, 1.0);
        let later = changed.at(15);
        assert!(start().leads_to(&later) && ten.leads_to(&later) && changed.leads_to(&later));
        assert!(!start().at(12).leads_to(&later), "the change came before those two steps");
        assert!(!later.leads_to(&changed));
        assert!(ten.leads_to(&ten));
    }

    #[test]
    fn what_is_shared_ends_at_the_first_difference() {
        let left = set(&start().at(10), 1.0).at(20);
        let right = set(&start().at(12), 1.0).at(20);
        assert_eq!(left.shared(&right), start().at(10));
        assert_eq!(left.shared(&left), left);
        assert_eq!(left.shared(&left.at(15)), left.at(15));
        let twice = set(&left, 2.0);
        assert_eq!(twice.shared(&left), left);
    }

    #[test]
    fn going_back_keeps_what_was_changed_at_that_step() {
        let lineage = set(&start().at(10), 1.0).at(20);
        assert_eq!(lineage.at(10).changes().len(), 2);
        assert_eq!(lineage.at(9).changes().len(), 1);
    }

    #[test]
    fn happenings_are_counted_and_cut_in_order() {
        let lineage = set(&set(&start().at(3), 1.0).at(5), 2.0).at(6);
        let mut cut = vec![];
        for length in 1..=lineage.length() {
            let part = lineage.first(length);
            assert_eq!(part.length(), length);
            assert!(part.leads_to(&lineage));
            cut.push((part.step(), part.changes().len()));
        }
        assert_eq!(cut, [(0, 1), (1, 1), (2, 1), (3, 1), (3, 2), (4, 2), (5, 2), (5, 3), (6, 3)]);
        let since = lineage.since(&start().at(2));
        let shape: Vec<u64> =
            since.iter().map(|found| if let Happening::Steps(n) = found { *n } else { 0 }).collect();
        assert_eq!(shape, [1, 0, 2, 0, 1]);
        assert_eq!(lineage.since(&lineage), []);
    }
}
