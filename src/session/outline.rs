//! The pure half of a session: what every name stands for. Checks read and extend a copy of it, so that line 40 sees
//! line 3 before anything runs.

use crate::language::scope::{NameKind, Scope};
use crate::language::value::{Settings, Value};
use crate::session::definitions::{DataDefinition, ModelDefinition, TuneDefinition, same};
use crate::train::recipe::{Recipe, Schedule};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Thing {
    Variable(Value),
    Model(Rc<ModelDefinition>),
    Data(Rc<DataDefinition>),
    Run(Rc<TuneDefinition>),
    /// A function of a Rust program or a `rust` block; the session has it.
    Own(NameKind),
    /// Its definition has a mistake, which is reported where it stands; what uses the name is not to blame.
    Broken(NameKind),
}

impl Thing {
    pub fn kind(&self) -> NameKind {
        match self {
            Thing::Variable(_) => NameKind::Variable,
            Thing::Model(_) => NameKind::Model,
            Thing::Data(_) => NameKind::Data,
            Thing::Run(_) => NameKind::Run,
            Thing::Own(kind) | Thing::Broken(kind) => *kind,
        }
    }
}

/// Every name in the order of definition, the run last named, and the files that earlier statements will have written.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    things: Vec<(String, Thing)>,
    last_run: Option<String>,
    /// Runs that have taken steps by now, or will have by the place the check has come to, with what they keep.
    started: BTreeMap<String, Recipe>,
    /// Runs whose settings were changed since their definition; `None` where only running can tell to what.
    changed: BTreeMap<String, Option<(Settings, Recipe)>>,
    written: BTreeSet<PathBuf>,
    /// The `rust` blocks of functions, by their names.
    blocks: BTreeMap<String, Rc<str>>,
    /// Plans that earlier statements of this text will have written, or that it has read: file to fine-tune.
    plans: BTreeMap<PathBuf, Rc<TuneDefinition>>,
}

impl Outline {
    pub fn get(&self, name: &str) -> Option<&Thing> {
        self.things.iter().rev().find(|(known, _)| known == name).map(|(_, thing)| thing)
    }

    pub fn things(&self) -> &[(String, Thing)] {
        &self.things
    }

    pub fn model(&self, name: &str) -> Option<Rc<ModelDefinition>> {
        match self.get(name)? {
            Thing::Model(model) => Some(model.clone()),
            _ => None,
        }
    }

    pub fn data(&self, name: &str) -> Option<Rc<DataDefinition>> {
        match self.get(name)? {
            Thing::Data(data) => Some(data.clone()),
            _ => None,
        }
    }

    pub fn run(&self, name: &str) -> Option<Rc<TuneDefinition>> {
        match self.get(name)? {
            Thing::Run(tune) => Some(tune.clone()),
            _ => None,
        }
    }

    pub fn define_variable(&mut self, name: &str, value: Value) {
        self.put(name, Thing::Variable(value));
    }

    /// Entered again, a model stays the very one that runs already hold.
    pub fn define_model(&mut self, model: ModelDefinition) {
        if self.model(&model.name).is_some_and(|earlier| same(&earlier.settings, &model.settings)) {
            return;
        }
        self.put(&model.name.clone(), Thing::Model(Rc::new(model)));
    }

    pub fn define_data(&mut self, data: DataDefinition) {
        let unchanged =
            |earlier: &DataDefinition| same(&earlier.settings, &data.settings) && earlier.block == data.block;
        if self.data(&data.name).is_some_and(|earlier| unchanged(&earlier)) {
            return;
        }
        self.put(&data.name.clone(), Thing::Data(Rc::new(data)));
    }

    pub fn define_run(&mut self, tune: TuneDefinition) {
        let name = tune.name.clone();
        self.changed.remove(&name);
        self.put(&name, Thing::Run(Rc::new(tune)));
        self.last_run = Some(name);
    }

    /// A Rust program has added a function.
    pub fn define_own(&mut self, name: &str, kind: NameKind) {
        self.blocks.remove(name);
        self.put(name, Thing::Own(kind));
    }

    /// A `rust` block defines a function.
    pub fn define_in_block(&mut self, name: &str, kind: NameKind, block: &Rc<str>) {
        self.define_own(name, kind);
        self.blocks.insert(name.to_string(), block.clone());
    }

    /// The text of the `rust` block that defines a function.
    pub fn block(&self, name: &str) -> Option<&Rc<str>> {
        self.blocks.get(name)
    }

    /// The `rust` blocks that a fine-tune stands on.
    pub fn blocks_of(&self, recipe: &Recipe, data: &DataDefinition) -> Vec<Rc<str>> {
        let mut blocks: Vec<Rc<str>> = data.block.iter().cloned().collect();
        if let Schedule::Own { name } = &recipe.schedule {
            blocks.extend(self.block(name).filter(|block| !blocks.contains(block)).cloned());
        }
        blocks
    }

    /// The definition of this name has a mistake; an earlier good one stays.
    pub fn define_broken(&mut self, name: &str, kind: NameKind) {
        if self.get(name).is_none() {
            self.put(name, Thing::Broken(kind));
        }
        if kind == NameKind::Run {
            self.last_run = Some(name.to_string());
        }
    }

    /// The run that a statement names is the one that later statements mean.
    pub fn name_run(&mut self, name: &str) {
        self.last_run = Some(name.to_string());
    }

    /// The settings of a run as they are by now; `None` where only running can tell.
    pub fn settings_of(&self, run: &str) -> Option<(Settings, Recipe)> {
        match self.changed.get(run) {
            Some(changed) => changed.clone(),
            None => self.run(run).map(|tune| (tune.settings.clone(), tune.recipe.clone())),
        }
    }

    /// A statement changes the settings of a run; `None` when only running can tell to what.
    pub fn change_run(&mut self, run: &str, changed: Option<(Settings, Recipe)>) {
        self.changed.insert(run.to_string(), changed);
    }

    /// The name stands for nothing any more.
    pub fn remove(&mut self, name: &str) {
        self.things.retain(|(known, _)| known != name);
        self.started.remove(name);
        self.changed.remove(name);
        if self.last_run.as_deref() == Some(name) {
            self.last_run = None;
        }
    }

    /// The run has another name, and is otherwise as it was.
    pub fn rename_run(&mut self, name: &str, renamed: TuneDefinition) {
        let new = renamed.name.clone();
        let (changed, started) = (self.changed.remove(name), self.started.remove(name));
        self.remove(name);
        self.define_run(renamed);
        if let Some(changed) = changed {
            self.changed.insert(new.clone(), changed);
        }
        if let Some(started) = started {
            self.started.insert(new, started);
        }
    }

    /// A statement makes the run take steps.
    pub fn start(&mut self, run: &str) {
        self.name_run(run);
        let recipe =
            self.settings_of(run).map(|(_, recipe)| recipe).or_else(|| Some(self.run(run)?.recipe.clone()));
        if let Some(recipe) = recipe {
            self.started.entry(run.to_string()).or_insert(recipe);
        }
    }

    pub fn has_started(&self, run: &str) -> bool {
        self.started.contains_key(run)
    }

    /// The recipe with which a run took its first step: what a live run keeps is kept from it.
    pub fn started_with(&self, run: &str) -> Option<&Recipe> {
        self.started.get(run)
    }

    /// A statement writes this file or folder.
    pub fn write(&mut self, path: impl Into<PathBuf>) {
        self.written.insert(path.into());
    }

    /// A statement writes the plan of this run to a file.
    pub fn write_plan(&mut self, path: impl Into<PathBuf>, tune: Rc<TuneDefinition>) {
        let path = path.into();
        self.write(path.clone());
        self.plans.insert(path, tune);
    }

    /// The fine-tune whose plan will be in this file, if an earlier statement writes it.
    pub fn planned(&self, path: &Path) -> Option<Rc<TuneDefinition>> {
        self.plans.get(path).cloned()
    }

    /// Whether a path is there, or will be when the place that the check has come to runs.
    pub fn exists(&self, path: &Path) -> bool {
        path.exists() || self.written.iter().any(|written| path.starts_with(written))
    }

    fn put(&mut self, name: &str, thing: Thing) {
        match self.things.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = thing,
            None => self.things.push((name.to_string(), thing)),
        }
    }
}

impl Scope for Outline {
    fn kind_of(&self, name: &str) -> Option<NameKind> {
        self.get(name).map(Thing::kind)
    }

    fn names(&self) -> Vec<(String, NameKind)> {
        self.things.iter().map(|(name, thing)| (name.clone(), thing.kind())).collect()
    }

    fn variable(&self, name: &str) -> Option<Value> {
        match self.get(name)? {
            Thing::Variable(value) => Some(value.clone()),
            _ => None,
        }
    }

    fn last_run(&self) -> Option<String> {
        self.last_run.clone()
    }

    fn parts(&self, data: &str) -> Option<Vec<String>> {
        Some(self.data(data)?.parts().into_iter().map(String::from).collect())
    }
}
