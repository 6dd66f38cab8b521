//! A run's folder `runs/NAME/`: the resolved experiment, metrics, checkpoints and plots. It appears with the first step.

use crate::events::{Diagnostic, Out};
use crate::files::atomic;
use crate::files::lock::FolderLock;
use crate::language::codes;
use crate::session::sentence;
use crate::train::metrics::{Entry, Metrics};
use std::path::{Path, PathBuf};

/// An open run folder; other processes are kept out while this lives.
pub struct RunFolder {
    pub path: PathBuf,
    metrics: Metrics,
    _lock: FolderLock,
}

impl RunFolder {
    /// Where the run of this name lives.
    pub fn path_of(name: &str) -> PathBuf {
        Path::new("runs").join(name)
    }

    /// A fresh folder; an older one is moved aside, and this is said.
    pub fn create(name: &str, experiment: &Experiment, out: &mut Out) -> Result<RunFolder, Diagnostic> {
        let path = RunFolder::path_of(name);
        if path.exists() {
            let aside = move_aside(&path)?;
            out.note(format!("an older `{}` is now `{}`", path.display(), aside.display()));
        }
        std::fs::create_dir_all(&path).map_err(|error| failed(&path, &error))?;
        let folder = RunFolder::open(&path)?;
        atomic::write(&path.join("experiment.ltune"), experiment.script.as_bytes())
            .map_err(|error| file(&error))?;
        let json = serde_json::to_vec_pretty(&experiment.json).map_err(|error| file(&error))?;
        atomic::write(&path.join("experiment.json"), &json).map_err(|error| file(&error))?;
        Ok(folder)
    }

    /// A folder that is there; refused while another process holds it.
    pub fn open(path: &Path) -> Result<RunFolder, Diagnostic> {
        let lock = FolderLock::acquire(path).map_err(|error| file(&error))?;
        let metrics = Metrics::open(path).map_err(|error| file(&error))?;
        Ok(RunFolder { path: path.to_path_buf(), metrics, _lock: lock })
    }

    /// Adds a row to `metrics.jsonl` and `metrics.csv`.
    pub fn record(&mut self, entry: Entry) -> Result<(), Diagnostic> {
        self.metrics.append(entry).map(|_| ()).map_err(|error| file(&error))
    }

    /// The branch of the metrics that rows are written to.
    pub fn branch(&self) -> u64 {
        self.metrics.branch()
    }

    /// Begins a branch of the metrics: what follows goes on from `step` of the branch `parent`.
    pub fn turn(&mut self, event: &str, parent: u64, step: u64, note: &str) -> Result<(), Diagnostic> {
        self.metrics.turn(event, parent, step, note).map(|_| ()).map_err(|error| file(&error))
    }

    /// Takes the folder to where a run of this name lives; an older one there is moved aside.
    pub fn rename(&mut self, name: &str, out: &mut Out) -> Result<(), Diagnostic> {
        let path = RunFolder::path_of(name);
        if path.exists() {
            let aside = move_aside(&path)?;
            out.note(format!("an older `{}` is now `{}`", path.display(), aside.display()));
        }
        std::fs::rename(&self.path, &path).map_err(|error| failed(&path, &error))?;
        self.path = path;
        Ok(())
    }

    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.path.join("checkpoints").join(format!("step-{step}"))
    }

    pub fn best(&self) -> PathBuf {
        self.path.join("checkpoints").join("best")
    }
}

/// What an experiment was, as text that runs again and as data.
pub struct Experiment {
    pub script: String,
    pub json: serde_json::Value,
}

/// `runs/a` becomes `runs/a.1`, or the next number that is free.
fn move_aside(path: &Path) -> Result<PathBuf, Diagnostic> {
    // Whoever holds it is training in it: refuse rather than pull it away.
    drop(FolderLock::acquire(path).map_err(|error| file(&error))?);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let free =
        (1..).map(|number| path.with_file_name(format!("{name}.{number}"))).find(|aside| !aside.exists());
    let aside = free.expect("there is always a free number");
    std::fs::rename(path, &aside).map_err(|error| failed(path, &error))?;
    Ok(aside)
}

fn failed(path: &Path, error: &std::io::Error) -> Diagnostic {
    Diagnostic::error(
        codes::FILE,
        format!("cannot write `{}`: {}", path.display(), crate::files::plain(error)),
    )
}

fn file(error: &dyn std::error::Error) -> Diagnostic {
    Diagnostic::error(codes::FILE, sentence(error))
}
