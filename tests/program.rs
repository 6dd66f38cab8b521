//! Runs the real `ltune` in a folder of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A temporary folder in which scripts run.
pub struct Folder {
    folder: tempfile::TempDir,
}

/// What a run of the program gave.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Folder {
    pub fn new() -> Folder {
        Folder { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, making the folders it stands in.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file stands in a folder"))
            .expect("folders can be made");
        std::fs::write(&path, bytes).expect("files can be written");
        path
    }

    /// A link to a folder of `tests/fixtures`.
    pub fn fixture(&self, name: &str) {
        let target = fixture(name);
        std::os::unix::fs::symlink(target, self.path().join(name)).expect("links can be made");
    }

    pub fn ltune(&self, arguments: &[&str]) -> Ran {
        self.ltune_with(arguments, "")
    }

    /// With text on standard input.
    pub fn ltune_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("ltune starts");
        let mut stdin = child.stdin.take().expect("standard input is piped");
        // A program that does not read its input closes it: that is no failure of the test.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        Ran::from(child.wait_with_output().expect("ltune ends"))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ltune"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env("LTUNE_CACHE", self.path().join("cache"))
            .env("OMP_NUM_THREADS", "1") // tests run beside each other
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The script's events, as `--json` gives them; the script must end with 0.
    pub fn events(&self, script: &str) -> Vec<serde_json::Value> {
        let ran = self.ltune_with(&["--json", "-"], script);
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        ran.events()
    }
}

impl Ran {
    /// The lines of standard output as JSON.
    pub fn events(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A file or folder of `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The events of one type.
pub fn of_type<'a>(events: &'a [serde_json::Value], kind: &str) -> Vec<&'a serde_json::Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// A number of each event.
pub fn numbers(events: &[&serde_json::Value], name: &str) -> Vec<f64> {
    events
        .iter()
        .map(|event| event[name].as_f64().unwrap_or_else(|| panic!("no `{name}` in {event}")))
        .collect()
}
