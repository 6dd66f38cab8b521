//! `ltune` in a pseudo-terminal, and the screen that a person would see.

use crate::program::Folder;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A running program and its terminal.
pub struct Terminal {
    child: Child,
    keyboard: File,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// Nothing that a test waits for takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

impl Terminal {
    /// Starts `ltune` at a terminal of 80 columns, with a home of its own in the folder.
    pub fn open(folder: &Folder, arguments: &[&str]) -> Terminal {
        Terminal::with(folder, arguments, &[("TERM", "xterm-256color")], (60, 80))
    }

    /// The same with this environment and this many rows and columns.
    pub fn with(
        folder: &Folder,
        arguments: &[&str],
        environment: &[(&str, &str)],
        size: (u16, u16),
    ) -> Terminal {
        let (keyboard, end) = pair(size);
        let stream = || Stdio::from(end.try_clone().expect("handles can be copied"));
        let mut command = folder.command(arguments);
        command
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS")
            .env("HOME", folder.path())
            .env("XDG_STATE_HOME", folder.path().join("state"))
            .envs(environment.iter().copied())
            .stdin(stream())
            .stdout(stream())
            .stderr(stream());
        // SAFETY: between fork and exec only two system calls are made: a session of its own, with this terminal.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().expect("ltune starts");
        drop((command, end));
        let parser = vt100::Parser::new(size.0, size.1, 0);
        let seen = Arc::new(Mutex::new(Seen { parser, bytes: vec![] }));
        let (mut output, shared) = (keyboard.try_clone().expect("handles can be copied"), seen.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let mut seen = shared.lock().expect("nobody panics with it");
                seen.parser.process(&buffer[..count]);
                seen.bytes.extend_from_slice(&buffer[..count]);
            }
        });
        Terminal { child, keyboard, seen }
    }

    /// How many of the program's threads a signal would interrupt, and how many there are.
    #[cfg(target_os = "linux")]
    pub fn threads_hearing(&self, signal: i32) -> (usize, usize) {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let blocked = tasks.flatten().filter_map(|task| {
            let status = std::fs::read_to_string(task.path().join("status")).ok()?;
            let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?.trim().to_string();
            Some(u64::from_str_radix(&mask, 16).expect("a mask") >> (signal - 1) & 1 == 1)
        });
        let blocked: Vec<bool> = blocked.collect();
        (blocked.iter().filter(|blocked| !**blocked).count(), blocked.len())
    }

    /// Types.
    pub fn send(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Types a cell, presses Enter and waits for the next prompt.
    pub fn cell(&mut self, text: &str) {
        let before = self.prompts();
        self.send(text);
        self.send("\r");
        self.wait(&format!("the prompt after `{text}`"), |terminal| terminal.prompts() > before);
    }

    /// How many prompts have been shown.
    fn prompts(&self) -> u64 {
        let screen = self.screen();
        let numbers = screen
            .match_indices("In [")
            .filter_map(|(at, found)| screen[at + found.len()..].split_once("]: ")?.0.parse::<u64>().ok());
        numbers.max().unwrap_or(0)
    }

    /// What stands on the screen.
    pub fn screen(&self) -> String {
        self.seen.lock().expect("nobody panics with it").parser.screen().contents()
    }

    /// The lines that stand on the screen after this text.
    pub fn after(&self, text: &str) -> Vec<String> {
        let screen = self.screen();
        let after = screen.rsplit_once(text).map_or("", |(_, after)| after);
        after.lines().map(String::from).collect()
    }

    /// All bytes that were sent to the terminal.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen.lock().expect("nobody panics with it").bytes.clone()
    }

    /// The line that the cursor stands in.
    pub fn line(&self) -> String {
        let seen = self.seen.lock().expect("nobody panics with it");
        let (row, _) = seen.parser.screen().cursor_position();
        let columns = seen.parser.screen().size().1;
        seen.parser.screen().rows(0, columns).nth(row.into()).unwrap_or_default()
    }

    /// Whether the text stands on the screen in grey.
    pub fn is_grey(&self, text: &str) -> bool {
        let seen = self.seen.lock().expect("nobody panics with it");
        let screen = seen.parser.screen();
        let (rows, columns) = screen.size();
        (0..rows).any(|row| {
            let cells: Vec<&vt100::Cell> =
                (0..columns).filter_map(|column| screen.cell(row, column)).collect();
            let letters: Vec<String> = text.chars().map(String::from).collect();
            cells.windows(letters.len()).any(|window| {
                window.iter().zip(&letters).all(|(cell, letter)| {
                    let shown = if cell.contents().is_empty() { " " } else { cell.contents() };
                    shown == letter && (cell.fgcolor() == vt100::Color::Idx(8) || letter == " ")
                })
            })
        })
    }

    pub fn wait(&self, what: &str, found: impl Fn(&Terminal) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !found(self) {
            assert!(Instant::now() < deadline, "{what} did not come:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the text stands on the screen.
    pub fn wait_for(&self, text: &str) {
        self.wait(&format!("`{text}`"), |terminal| terminal.screen().contains(text));
    }

    /// The window gets another size.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        set_size(&self.keyboard, (rows, columns));
        self.seen.lock().expect("nobody panics with it").parser.screen_mut().set_size(rows, columns);
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = std::process::Command::new("kill").args([name, &id]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    /// Waits until the program ends; its exit code.
    pub fn code(mut self) -> i32 {
        ended(&mut self.child, &self.seen).code().unwrap_or(-1)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ended(child: &mut Child, seen: &Mutex<Seen>) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            return status;
        }
        let screen = || seen.lock().expect("nobody panics with it").parser.screen().contents();
        assert!(Instant::now() < deadline, "it does not end:\n{}", screen());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The two ends of a pseudo-terminal.
fn pair(size: (u16, u16)) -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: the two places are ours; the others may be null.
    let result = unsafe { libc::openpty(&mut ours, &mut theirs, null, null.cast(), null.cast()) };
    assert_eq!(result, 0, "a pseudo-terminal can be opened");
    // SAFETY: both were just opened and belong to nobody else.
    let (ours, theirs) = unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    for handle in [ours.as_raw_fd(), theirs.as_raw_fd()] {
        // SAFETY: a flag of a handle of ours.
        unsafe { libc::fcntl(handle, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    set_size(&ours, size);
    (ours, theirs)
}

fn set_size(terminal: &File, (rows, columns): (u16, u16)) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the size is read before the call returns.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) };
    assert_eq!(result, 0, "a terminal can be resized");
}
