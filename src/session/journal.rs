//! What was done in a session, as a script that does it again.
//!
//! Every statement is logged with what it did to the lineages of the runs. The journal keeps what led to where the runs
//! are: stretches that were taken back are left out, an interrupted stretch is as long as it became. Since equal
//! lineages are equal states, the script gives the same numbers.

use crate::language::schema::Role;
use crate::session::Session;
use crate::session::lineage::{Happening, Lineage};
use crate::session::run::Run;
use std::collections::BTreeMap;

/// The log of a session, in order.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    logged: Vec<Logged>,
    /// What the statement under way is to be replayed as, when not as it was written.
    said: Option<String>,
    added: Option<String>,
    before: Vec<String>,
}

/// How a statement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Done,
    Failed,
    Interrupted,
}

/// One run as a statement found it and left it.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    pub id: u64,
    pub name: String,
    /// `None` when the run began in the statement.
    pub before: Option<Lineage>,
    /// `None` when the statement ended the run.
    pub after: Option<Lineage>,
}

#[derive(Clone, Debug)]
struct Logged {
    text: String,
    role: Role,
    ending: Ending,
    effects: Vec<Effect>,
    /// Runs that it named, where they were.
    named: Vec<(u64, Lineage)>,
}

impl Journal {
    /// The statement under way is to be replayed as this text: with a drawn seed, from a named checkpoint.
    pub fn say(&mut self, text: String) {
        self.said = Some(text);
    }

    /// The statement under way is to be replayed with one more setting in its block: a seed that was drawn.
    pub fn say_with(&mut self, setting: &str) {
        self.added = Some(setting.to_string());
    }

    /// The statement under way is to be replayed after this one: what was decided while it was under way.
    pub fn say_before(&mut self, statement: String) {
        self.before.push(statement);
    }

    /// Logs a statement that has ended. What failed is kept only as far as it trained.
    pub fn log(
        &mut self,
        text: &str,
        role: Role,
        ending: Ending,
        named: Vec<(u64, Lineage)>,
        effects: Vec<Effect>,
    ) {
        let mut text = self.said.take().unwrap_or_else(|| text.to_string());
        if let Some(setting) = self.added.take() {
            text = with_setting(&text, &setting);
        }
        let decided = |text| {
            let (effects, named) = (vec![], vec![]);
            Logged { text, role: Role::Binds, ending: Ending::Done, effects, named }
        };
        self.logged.extend(std::mem::take(&mut self.before).into_iter().map(decided));
        let is_nothing = ending == Ending::Failed && (effects.is_empty() || role != Role::Trains);
        if role != Role::Talks && !is_nothing {
            self.logged.push(Logged { text, role, ending, effects, named });
        }
    }

    /// Everything that was done, undone work and its undoing included.
    pub fn all(&self) -> Vec<String> {
        self.logged.iter().flat_map(Logged::as_done).collect()
    }

    /// What led to where the runs are.
    pub fn living(&self) -> Vec<String> {
        let mut living = Living { ends: self.ends(), need: BTreeMap::new(), backwards: vec![] };
        for (id, end) in &living.ends {
            living.need.insert(*id, end.length());
        }
        for logged in self.logged.iter().rev() {
            living.take(logged);
        }
        living.backwards.reverse();
        living.backwards
    }

    /// Where each run is now, or was when it ended.
    fn ends(&self) -> BTreeMap<u64, Lineage> {
        let mut ends = BTreeMap::new();
        for effect in self.logged.iter().flat_map(|logged| &logged.effects) {
            if let Some(after) = &effect.after {
                ends.insert(effect.id, after.clone());
            }
        }
        ends
    }
}

impl Session {
    /// Where every run is: by its number, with the name it has.
    pub fn places(&self) -> BTreeMap<u64, (String, Lineage)> {
        let place = |(name, run): (&String, &Run)| (run.id, (name.clone(), run.lineage.clone()));
        self.runs.iter().map(place).collect()
    }

    /// Logs a statement by what it did to the runs, which were in those places before it.
    pub fn log(
        &mut self,
        text: &str,
        role: Role,
        ending: Ending,
        names: &[String],
        before: &BTreeMap<u64, (String, Lineage)>,
    ) {
        let after = self.places();
        let effects =
            before.keys().chain(after.keys().filter(|id| !before.contains_key(id))).filter_map(|id| {
                let lineage = |places: &BTreeMap<u64, (String, Lineage)>| {
                    places.get(id).map(|(_, lineage)| lineage.clone())
                };
                let name = after.get(id).or(before.get(id)).map(|(name, _)| name.clone()).unwrap_or_default();
                let effect = Effect { id: *id, name, before: lineage(before), after: lineage(&after) };
                (effect.before != effect.after).then_some(effect)
            });
        let effects = effects.collect();
        let named = names.iter().filter_map(|name| {
            let find = |places: &BTreeMap<u64, (String, Lineage)>| {
                let found = places.iter().find(|(_, (known, _))| known == name);
                found.map(|(id, (_, lineage))| (*id, lineage.clone()))
            };
            find(before).or_else(|| find(&after))
        });
        let named = named.collect();
        self.journal.log(text, role, ending, named, effects);
    }
}

/// The statement with one more setting in its block, which is its end.
fn with_setting(text: &str, setting: &str) -> String {
    let Some(open) = text.trim_end().strip_suffix('}') else { return format!("{text} {{ {setting} }}") };
    let open = open.trim_end();
    match open {
        _ if open.contains('\n') => format!("{open}\n  {setting}\n}}"), // its last line may end with a comment
        _ if open.ends_with('{') => format!("{open} {setting} }}"),
        _ => format!("{open}; {setting} }}"),
    }
}

impl Logged {
    /// As it happened: training that was cut short by the steps that were really taken.
    fn as_done(&self) -> Vec<String> {
        let trained = |effect: &Effect| {
            let (before, after) = effect.stretch()?;
            before.leads_to(&after).then(|| between(&before, &after, &effect.name))
        };
        match (self.role, self.ending) {
            (Role::Trains, Ending::Failed | Ending::Interrupted) => {
                self.effects.iter().filter_map(trained).flatten().collect()
            }
            _ => vec![self.text.clone()],
        }
    }
}

impl Effect {
    /// From where to where it was trained; a run that began in the statement began at step 0.
    fn stretch(&self) -> Option<(Lineage, Lineage)> {
        let after = self.after.clone()?;
        Some((self.before.clone().unwrap_or_else(|| after.first(1)), after))
    }
}

/// The statements that take a run from one place to a later one.
fn between(before: &Lineage, after: &Lineage, name: &str) -> Vec<String> {
    let statement = |happening: Happening| match happening {
        Happening::Steps(count) => format!("step {name} {count}"),
        Happening::Change(change) => change.statement(name),
    };
    after.since(before).into_iter().map(statement).collect()
}

/// The journal as it is put together from its end: `need` is how far each run must have come by there.
struct Living {
    ends: BTreeMap<u64, Lineage>,
    need: BTreeMap<u64, u64>,
    backwards: Vec<String>,
}

impl Living {
    fn take(&mut self, logged: &Logged) {
        match logged.role {
            Role::Trains => logged.effects.iter().for_each(|effect| self.train(effect, logged)),
            Role::Moves | Role::Talks => {}
            Role::Looks => self.look(logged),
            Role::Binds | Role::Forks => self.bind(logged),
        }
    }

    fn needed(&self, id: u64) -> u64 {
        self.need.get(&id).copied().unwrap_or(0)
    }

    /// What of a stretch leads to where the run ended and is not provided by a later stretch.
    fn train(&mut self, effect: &Effect, logged: &Logged) {
        let Some((before, after)) = effect.stretch() else { return };
        let Some(end) = self.ends.get(&effect.id) else { return };
        let needed = end.first(self.needed(effect.id));
        let provided = after.shared(&needed);
        if !before.leads_to(&needed) || before.length() >= needed.length() || provided != needed {
            return;
        }
        self.need.insert(effect.id, before.length());
        if needed == after && logged.ending == Ending::Done {
            return self.backwards.push(logged.text.clone());
        }
        let statements = between(&before, &needed, &effect.name);
        self.backwards.extend(statements.into_iter().rev());
    }

    /// Looking is kept when every run that was looked at is then where it was.
    fn look(&mut self, logged: &Logged) {
        let there = |(id, lineage): &(u64, Lineage)| {
            self.ends.get(id).is_some_and(|end| end.first(self.needed(*id).max(1)) == *lineage)
        };
        if logged.named.iter().all(there) {
            self.backwards.push(logged.text.clone());
        }
    }

    fn bind(&mut self, logged: &Logged) {
        let made = logged.effects.iter().find(|effect| effect.before.is_none() && effect.after.is_some());
        let Some(Effect { id, name, after: Some(made), .. }) = made else {
            self.backwards.push(logged.text.clone());
            return;
        };
        let needed = self.ends.get(id).map_or_else(|| made.clone(), |end| end.first(self.needed(*id).max(1)));
        match logged.named.first().filter(|_| logged.role == Role::Forks) {
            Some((parent, _)) => self.fork(logged, name, made, &needed, *parent),
            None => self.loaded(logged, name, made, &needed),
        }
        self.need.insert(*id, 0);
    }

    /// A fork from what is left of its parent; what that does not provide, the fork does itself.
    fn fork(&mut self, logged: &Logged, name: &str, made: &Lineage, needed: &Lineage, parent: u64) {
        let Some(end) = self.ends.get(&parent) else { return };
        let there = end.first(self.needed(parent).max(1));
        let root = there.shared(made).shared(needed);
        let (_, written_at) = &logged.named[0];
        // A place that the parent had left by then, ahead of it or on another way, is not there when this is done again.
        let is_on_its_way = root.step() == made.step();
        if *needed == *made && *written_at == there && is_on_its_way && root.leads_to(made) {
            self.backwards.push(logged.text.clone());
            return;
        }
        let parent_name = logged.text.split_whitespace().nth(1).unwrap_or_default();
        let statements = between(&root, needed, name);
        self.backwards.extend(statements.into_iter().rev());
        self.backwards.push(format!("fork {parent_name} as {name} at {}", root.step()));
    }

    /// A run taken up from a checkpoint, gone back from it if need be.
    fn loaded(&mut self, logged: &Logged, name: &str, made: &Lineage, needed: &Lineage) {
        let root = made.shared(needed);
        self.backwards.extend(between(&root, needed, name).into_iter().rev());
        if root != *made {
            self.backwards.push(format!("goto {name} {}", root.step()));
        }
        self.backwards.push(logged.text.clone());
    }
}
