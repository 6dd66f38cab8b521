//! The functions of a `rust { … }` block: compiled by evcxr, kept in a process of their own, and asked over a socket.
//!
//! ```text
//!  ltune ── text of the block, with the prelude ──► evcxr ── cargo, rustc ──► a library
//!    │                                                                            │
//!    └───── requests and answers, as bytes over a socket ◄──► ltune again, as the child that has loaded it
//! ```
//!
//! The child runs what a person wrote, so it may panic, spin or die; nothing of the session is in it. A process that is
//! gone is made again when it is next asked. Without the cargo feature `rust-cells` all that is left of this is to say so.

#[cfg(feature = "rust-cells")]
mod mistakes;
#[cfg(feature = "rust-cells")]
mod process;

use crate::events::{Cancel, Diagnostic, Refusal, Span};
use crate::language::codes;
use crate::language::rust_text::{Function, functions};
use crate::language::scope::NameKind;

/// A block as it stands in a script, and where its text does.
#[derive(Clone, Debug)]
pub struct Block {
    pub text: String,
    pub at: Span,
}

/// Why no block can be compiled here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It was built without `rust-cells`.
    Feature,
    /// Another program than `ltune` uses the library: its `main` would not know what its children are for.
    Program,
    Cargo,
}

impl Absent {
    /// With what to do about it.
    pub fn diagnostic(self) -> Diagnostic {
        let error = |message: &str| Diagnostic::error(codes::NO_RUST, message);
        match self {
            Absent::Feature => error("this ltune was built without `rust-cells`, so it compiles no Rust")
                .note("build it with them: `cargo build --release --features rust-cells`"),
            Absent::Program => error("a `rust` block is compiled by the program `ltune` alone")
                .note("in a Rust program, add a closure: `own_schedule`, `own_metric`, `own_transform`"),
            Absent::Cargo => error("a `rust` block needs `cargo` and `rustc`, and they are not on the path")
                .note("install Rust from https://rustup.rs, or put the folder of `cargo` on the path"),
        }
    }
}

/// What is missing to compile a block, if anything is.
pub fn absent() -> Option<Absent> {
    if cfg!(not(feature = "rust-cells")) {
        return Some(Absent::Feature);
    }
    if !answers_children() {
        return Some(Absent::Program);
    }
    let is_there = ["cargo", "rustc"].into_iter().all(is_on_the_path);
    (!is_there).then_some(Absent::Cargo)
}

/// On the path, or where rustup puts it.
fn is_on_the_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let rustup = std::env::home_dir().map(|home| home.join(".cargo/bin"));
    let mut folders = std::env::split_paths(&path).chain(rustup);
    folders.any(|folder| folder.join(program).is_file())
}

/// That the `main` of this process has called `answer_children`. A fact about the process, and so a static: a session
/// cannot know what its program does with a child.
#[cfg(feature = "rust-cells")]
static ANSWERS: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[cfg(feature = "rust-cells")]
fn answers_children() -> bool {
    ANSWERS.load(std::sync::atomic::Ordering::Relaxed)
}

#[cfg(not(feature = "rust-cells"))]
fn answers_children() -> bool {
    false
}

/// First thing in `main`: comes back only when this process is none of the children that evcxr makes of its program.
#[cfg(feature = "rust-cells")]
pub fn answer_children() {
    evcxr::runtime_hook();
    ANSWERS.store(true, std::sync::atomic::Ordering::Relaxed);
}

/// The compiled functions of a block.
pub struct Functions {
    #[cfg(feature = "rust-cells")]
    process: std::cell::RefCell<process::Process>,
    named: Vec<(Function, NameKind)>,
}

/// Hears of each line that a function prints.
pub type Print = Box<dyn Fn(String)>;

impl Functions {
    /// Compiles a block and starts its process. What is wrong with the Rust is told with its places in the script.
    #[cfg(feature = "rust-cells")]
    pub fn compile(block: Block, cancel: Cancel, print: Print) -> Result<Functions, Vec<Diagnostic>> {
        let named = named(&block.text);
        let functions: Vec<Function> = named.iter().map(|(function, _)| function.clone()).collect();
        let mut process = process::Process::new(block, functions, cancel, print);
        process.start()?;
        Ok(Functions { process: std::cell::RefCell::new(process), named })
    }

    #[cfg(not(feature = "rust-cells"))]
    pub fn compile(_block: Block, _cancel: Cancel, _print: Print) -> Result<Functions, Vec<Diagnostic>> {
        Err(vec![Absent::Feature.diagnostic()])
    }

    /// The functions that scripts know, with what they are; their index is that of a request.
    pub fn named(&self) -> &[(Function, NameKind)] {
        &self.named
    }

    /// Sends a request and waits for the answer. A process that is gone is made again first.
    #[cfg(feature = "rust-cells")]
    pub fn ask(&self, request: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.process.borrow_mut().ask(request)
    }

    #[cfg(not(feature = "rust-cells"))]
    pub fn ask(&self, _request: &[u8]) -> Result<Vec<u8>, Refusal> {
        Err(Refusal::new("this ltune was built without `rust-cells`"))
    }

    /// A panic, as the child tells it.
    #[cfg(feature = "rust-cells")]
    pub fn panicked(&self, message: &str, line: u64) -> Refusal {
        self.process.borrow().block().panicked(message, line)
    }

    #[cfg(not(feature = "rust-cells"))]
    pub fn panicked(&self, message: &str, _line: u64) -> Refusal {
        Refusal::new(message)
    }
}

/// The functions of a block that scripts know.
pub fn named(text: &str) -> Vec<(Function, NameKind)> {
    functions(text).into_iter().filter_map(|function| function.kind().map(|kind| (function, kind))).collect()
}

impl Block {
    /// A place of the text as a place of the script.
    pub fn span(&self, range: std::ops::Range<usize>) -> Span {
        let start = self.at.start as usize;
        Span::new(self.at.source, start + range.start, start + range.end)
    }

    /// What a panic on this line of the text says; line 0 is none of it.
    pub fn panicked(&self, message: &str, line: u64) -> Refusal {
        let place = self.line(line).map(|range| self.span(range));
        Refusal { why: format!("it panicked: {message}"), at: place }
    }

    /// A line of the text, counted from 1, without the blanks around it.
    fn line(&self, number: u64) -> Option<std::ops::Range<usize>> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let line = self.text.split('\n').nth(index)?;
        let start =
            line.as_ptr() as usize - self.text.as_ptr() as usize + (line.len() - line.trim_start().len());
        Some(start..start + line.trim().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::SourceId;

    #[test]
    fn a_panic_is_placed_at_its_line_of_the_script() {
        let block =
            Block { text: "\n  fn a() {\n    panic!()\n  }\n".into(), at: Span::new(SourceId(3), 106, 140) };
        let refusal = block.panicked("oh", 3);
        assert_eq!(refusal.at, Some(Span::new(SourceId(3), 106 + 16, 106 + 24)));
        assert_eq!(refusal.why, "it panicked: oh");
        assert_eq!((block.panicked("oh", 0).at, block.panicked("oh", 99).at), (None, None));
    }
}
