//! The open scripts and what is found in them. A file that an open script includes is read as its editor has it.

use crate::assist::known::{Known, Name};
use crate::assist::names::{Mention, Names};
use crate::frontends::lsp::paths::{identity, path_of, uri_of};
use crate::frontends::lsp::positions::{Encoding, Text};
use crate::interpreter::Unit;
use crate::interpreter::study::{Study, read_script, study};
use crate::language::parse::Parsed;
use lsp_types::{TextDocumentContentChangeEvent, TextDocumentItem, Uri};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// A script that an editor holds.
pub struct Document {
    pub uri: Uri,
    pub version: i32,
    pub text: Text,
    /// Where it lies, or will lie; an unsaved one may have no place yet.
    path: Option<PathBuf>,
    /// The text as it was read, once it was.
    parsed: OnceCell<Rc<Parsed>>,
    /// What the last check found.
    pub study: Study,
    /// The names of the text that was checked last.
    names: Names,
    /// The check is older than the text, or than a file that it includes.
    pub is_stale: bool,
    pub was_checked: bool,
}

/// A text that belongs to a script: the script itself, what it includes, what includes it.
pub struct Member {
    pub uri: Uri,
    pub version: Option<i32>,
    pub text: Text,
    pub parsed: Rc<Parsed>,
}

/// Every open script, and the folders they are worked on in.
#[derive(Default)]
pub struct Workspace {
    pub encoding: Encoding,
    documents: BTreeMap<String, Document>,
    folders: Vec<PathBuf>,
}

impl Workspace {
    /// The working directory of a script is the folder of the workspace that it lies in, so that paths in it mean
    /// what they mean when it is run from there.
    pub fn set_folders(&mut self, folders: Vec<PathBuf>) {
        self.folders = folders;
        self.forget_checks();
    }

    pub fn change_folders(&mut self, added: Vec<PathBuf>, removed: &[PathBuf]) {
        let kept = std::mem::take(&mut self.folders).into_iter().filter(|folder| !removed.contains(folder));
        let folders = kept.chain(added).collect();
        self.set_folders(folders);
    }

    pub fn open(&mut self, item: TextDocumentItem) {
        let document = Document {
            path: path_of(&item.uri).map(|path| identity(&path)),
            version: item.version,
            text: Text::new(item.text, self.encoding),
            parsed: OnceCell::new(),
            study: Study::default(),
            names: Names::default(),
            is_stale: true,
            was_checked: false,
            uri: item.uri,
        };
        let key = document.uri.as_str().to_string();
        self.documents.insert(key.clone(), document);
        self.touched(&key);
    }

    /// Makes the changes of an editor, in order; a change without a range is the whole text.
    pub fn change(&mut self, uri: &Uri, version: i32, changes: Vec<TextDocumentContentChangeEvent>) {
        let Some(document) = self.documents.get_mut(uri.as_str()) else { return };
        for change in changes {
            let text = match change.range {
                None => change.text,
                Some(range) => {
                    let range = document.text.span(range);
                    let before = &document.text.text;
                    [&before[..range.start], &change.text, &before[range.end..]].concat()
                }
            };
            document.text = Text::new(text, self.encoding);
        }
        document.version = version;
        document.parsed.take();
        self.touched(uri.as_str());
    }

    pub fn close(&mut self, uri: &Uri) {
        self.touched(uri.as_str());
        self.documents.remove(uri.as_str());
    }

    /// Files have changed on the disk: every check is older than they are.
    pub fn forget_checks(&mut self) {
        self.documents.values_mut().for_each(|document| document.is_stale = true);
    }

    pub fn get(&self, uri: &Uri) -> Option<&Document> {
        self.documents.get(uri.as_str())
    }

    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.documents.values()
    }

    /// The open script at this path.
    pub fn at_path(&self, path: &Path) -> Option<&Document> {
        self.documents().find(|document| document.path.as_deref() == Some(path))
    }

    /// The text was changed: its check and those of the scripts that include it are stale.
    fn touched(&mut self, key: &str) {
        let path = self.documents.get(key).and_then(|document| document.path.clone());
        for (other, document) in &mut self.documents {
            document.is_stale |= other == key || path.as_ref().is_some_and(|path| document.includes(path));
        }
    }

    pub fn has_stale(&self) -> bool {
        self.documents().any(|document| document.is_stale)
    }

    /// Checks one script whose check is stale; false when there is none.
    pub fn check_next(&mut self) -> bool {
        let stale = self.documents().find(|document| document.is_stale).map(|document| document.uri.clone());
        stale.inspect(|uri| self.check(uri)).is_some()
    }

    /// Checks a script unless its check is as new as its text.
    pub fn check(&mut self, uri: &Uri) {
        let Some(document) = self.get(uri).filter(|document| document.is_stale) else { return };
        self.enter(document);
        let names = Names::of([&document.parsed().script]);
        let mut found = self.study(document);
        found.included.iter_mut().for_each(|included| included.file = identity(&included.file));
        if let Some(document) = self.documents.get_mut(uri.as_str()) {
            (document.study, document.names) = (found, names);
            (document.is_stale, document.was_checked) = (false, true);
        }
    }

    fn study(&self, document: &Document) -> Study {
        let path = document.path.as_deref();
        let name = path.map_or(document.uri.as_str().to_string(), |path| path.display().to_string());
        let folder = path.and_then(Path::parent).unwrap_or(Path::new("")).to_path_buf();
        let held = self.documents().filter_map(|open| Some((open.path.clone()?, open.text.text.clone())));
        let held: BTreeMap<PathBuf, Arc<str>> = held.collect();
        let unit = Unit { name, text: document.text.text.to_string(), folder };
        let as_held = move |path: &Path| match held.get(&identity(path)) {
            Some(text) => Ok(text.to_string()),
            None => read(path),
        };
        study(unit, &document.parsed(), Box::new(as_held))
    }

    /// Goes to the folder that a script is worked on in.
    pub fn enter(&self, document: &Document) {
        let holds = |folder: &&PathBuf| document.path.as_ref().is_some_and(|path| path.starts_with(folder));
        let innermost = self.folders.iter().filter(holds).max_by_key(|folder| folder.components().count());
        if let Some(folder) = innermost.or(self.folders.first()) {
            // A folder that is gone is found by the check, as files that are not there.
            let _ = std::env::set_current_dir(folder);
        }
    }

    /// The open scripts that include this one, and are not included themselves by what they include.
    pub fn including(&self, document: &Document) -> Vec<&Document> {
        let Some(path) = &document.path else { return vec![] };
        let is_above = |other: &&Document| {
            let mutual = other.path.as_ref().is_some_and(|other| document.includes(other));
            other.includes(path) && other.uri != document.uri && (!mutual || other.uri < document.uri)
        };
        self.documents().filter(is_above).collect()
    }

    /// The script first, then each text that is read together with it.
    pub fn family(&self, document: &Document) -> Vec<Member> {
        let above = self.including(document);
        let mut files: BTreeSet<&Path> = BTreeSet::new();
        for relative in above.iter().copied().chain([document]) {
            files.extend(relative.path.as_deref());
            files.extend(relative.study.included.iter().map(|included| included.file.as_path()));
        }
        let others = files.into_iter().filter(|file| Some(*file) != document.path.as_deref());
        let mut members = vec![document.member()];
        members.extend(others.filter_map(|file| match self.at_path(file) {
            Some(open) => Some(open.member()),
            None => self.unopened(file),
        }));
        members
    }

    fn unopened(&self, file: &Path) -> Option<Member> {
        let text = Text::new(read(file).ok()?, self.encoding);
        let parsed = Rc::new(read_script(&text.text));
        Some(Member { uri: uri_of(file)?, version: None, text, parsed })
    }

    /// What may be named at a place of a script: what was defined before it, and what surrounding scripts define.
    pub fn known(&self, document: &Document, cursor: usize) -> Known {
        let mut known = Known::from_outline(&document.study.outline);
        for above in self.including(document) {
            for name in Known::from_outline(&above.study.outline).names {
                if known.get(&name.name).is_none() {
                    known.names.push(name);
                }
            }
        }
        let mut first: BTreeMap<&str, &Mention> = BTreeMap::new();
        for mention in document.names.definitions() {
            first.entry(&mention.name).or_insert(mention);
        }
        let is_above = |mention: &Mention| mention.defines.is_none_or(|span| span.start as usize <= cursor);
        known.names.retain(|name| first.get(name.name.as_str()).is_none_or(|mention| is_above(mention)));
        let told: BTreeSet<String> = known.names.iter().map(|name| name.name.clone()).collect();
        for mention in
            first.into_values().filter(|mention| is_above(mention) && !told.contains(&mention.name))
        {
            known.names.push(Name::new(&mention.name, mention.kind, "its definition has a mistake"));
        }
        known
    }
}

impl Document {
    /// The text as a tree; it is read once.
    pub fn parsed(&self) -> Rc<Parsed> {
        self.parsed.get_or_init(|| Rc::new(read_script(&self.text.text))).clone()
    }

    fn member(&self) -> Member {
        let (uri, version) = (self.uri.clone(), Some(self.version));
        Member { uri, version, text: self.text.clone(), parsed: self.parsed() }
    }

    fn includes(&self, path: &Path) -> bool {
        self.study.included.iter().any(|included| included.file == path)
    }
}

/// A plain file of bearable size as text; a device or a pipe would never end.
fn read(path: &Path) -> io::Result<String> {
    const LARGEST: u64 = 16 << 20;
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no file"));
    }
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}
