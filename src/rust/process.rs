//! The process of a block: evcxr compiles the block and loads it in a child, which then answers requests over a socket
//! until the socket is closed. evcxr stands in a thread of its own, for it waits as long as the child runs.

use crate::events::{Cancel, Diagnostic, Refusal};
use crate::files::signals;
use crate::language::codes;
use crate::language::rust_text::Function;
use crate::language::scope::NameKind;
use crate::rust::mistakes::{Program, diagnostics};
use crate::rust::{Absent, Block, Print};
use evcxr::EvalContext;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a wait looks whether it is asked to stop.
const LOOK: Duration = Duration::from_millis(20);
/// How long a function may go on after the first Ctrl-C.
const GRACE: Duration = Duration::from_secs(1);
/// What the child prints before it answers, so that it is known to have told all.
pub const END: &str = "\u{4}";
/// How long a wait for what was printed goes on after an answer, or after the child's end.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub struct Process {
    block: Block,
    functions: Vec<Function>,
    cancel: Cancel,
    print: Print,
    running: Option<Running>,
}

/// A child that answers.
struct Running {
    stream: UnixStream,
    child: Arc<Mutex<Child>>,
    said: Receiver<Said>,
    /// The first line on its standard error since it was asked, which often says why it died.
    complaint: String,
    /// It has told all that it printed before its last answer.
    told: bool,
    /// How it ended, if it did not end well.
    status: String,
    /// evcxr has ended and cleared up.
    ended: bool,
}

/// What evcxr's thread tells.
enum Said {
    /// The child is there.
    Child(Arc<Mutex<Child>>),
    Printed(String),
    Complained(String),
    Ended(Result<(), evcxr::Error>),
}

impl Process {
    pub fn new(block: Block, functions: Vec<Function>, cancel: Cancel, print: Print) -> Process {
        Process { block, functions, cancel, print, running: None }
    }

    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Compiles the block and waits until the child answers.
    pub fn start(&mut self) -> Result<(), Vec<Diagnostic>> {
        let failed = |why: String| {
            vec![Diagnostic::error(codes::NO_RUST, format!("the `rust` block cannot run: {why}"))]
        };
        let folder = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).map_err(|error| failed(error.to_string()))?;
        listener.set_nonblocking(true).map_err(|error| failed(error.to_string()))?;
        let program = Program::new(&self.block.text, &self.functions, &socket);
        let (tell, said) = channel();
        let text = program.text.clone();
        thread::spawn(move || compile_and_run(&text, &tell));
        let (mut child, mut stream, mut complaint) = (None, None, String::new());
        loop {
            stream = stream.or_else(|| listener.accept().ok());
            if let (Some((stream, _)), Some(child)) = (&stream, &child) {
                let stream = stream.try_clone().map_err(|error| failed(error.to_string()))?;
                self.running = Some(Running {
                    stream,
                    child: Arc::clone(child),
                    said,
                    complaint: String::new(),
                    told: false,
                    status: String::new(),
                    ended: false,
                });
                return Ok(());
            }
            match said.recv_timeout(LOOK) {
                Ok(Said::Child(found)) => child = Some(found),
                Ok(Said::Printed(_)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Said::Complained(line)) => complaint = line,
                Ok(Said::Ended(Err(_))) if self.cancel.stop() => {}
                Ok(Said::Ended(Err(error))) => return Err(self.wrong(&program, error, &complaint)),
                Ok(Said::Ended(Ok(()))) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(failed("its process ended at once".into()));
                }
            }
            if self.cancel.stop() {
                child.iter().for_each(kill);
                return Err(vec![
                    Diagnostic::error(codes::STOPPED, "interrupted while the `rust` block was compiled")
                        .note("run it again"),
                ]);
            }
        }
    }

    fn wrong(&self, program: &Program, error: evcxr::Error, complaint: &str) -> Vec<Diagnostic> {
        match error {
            evcxr::Error::CompilationErrors(mistakes) => diagnostics(&self.block, program, &mistakes),
            error if error.to_string().starts_with("Cannot find") => vec![Absent::Cargo.diagnostic()],
            error => {
                let message = format!("the `rust` block cannot run: {}", one_line(&error.to_string()));
                let diagnostic = Diagnostic::error(codes::NO_RUST, message);
                vec![if complaint.is_empty() { diagnostic } else { diagnostic.note(complaint) }]
            }
        }
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, Refusal> {
        if self.running.is_none() {
            self.start().map_err(|found| Refusal::new(found[0].message.clone()))?;
        }
        let Some(running) = &mut self.running else { return Err(Refusal::new("its process is not there")) };
        match running.ask(request, &self.cancel) {
            Ok(answer) => {
                running.listen(&self.print, |running| running.told);
                Ok(answer)
            }
            Err(gone) => {
                let why = self.running.take().map_or(String::new(), |running| running.why(gone, &self.print));
                Err(Refusal::new(why))
            }
        }
    }
}

/// Why no answer came.
enum Gone {
    Died,
    Interrupted,
}

impl Running {
    fn ask(&mut self, request: &[u8], cancel: &Cancel) -> Result<Vec<u8>, Gone> {
        self.complaint.clear();
        self.told = false;
        let length = (request.len() as u64).to_le_bytes();
        let died = |_| Gone::Died;
        self.stream.write_all(&length).map_err(died)?;
        self.stream.write_all(request).map_err(died)?;
        self.stream.set_read_timeout(Some(LOOK)).map_err(died)?;
        let mut asked_to_stop = None;
        let length = self.read(8, cancel, &mut asked_to_stop)?;
        let length = length.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        self.read(length as usize, cancel, &mut asked_to_stop)
    }

    /// So many bytes; from the first Ctrl-C on only for a moment more.
    fn read(&mut self, count: usize, cancel: &Cancel, stop: &mut Option<Instant>) -> Result<Vec<u8>, Gone> {
        let mut bytes = vec![0; count];
        let mut done = 0;
        while done < count {
            match self.stream.read(&mut bytes[done..]) {
                Ok(0) => return Err(Gone::Died),
                Ok(read) => done += read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone::Died),
            }
            if cancel.stop() && done < count {
                let since = stop.get_or_insert_with(Instant::now);
                if cancel.abort() || since.elapsed() > GRACE {
                    return Err(Gone::Interrupted);
                }
            }
        }
        Ok(bytes)
    }

    /// Passes on what was printed, until this is so.
    fn listen(&mut self, print: &Print, until: fn(&Running) -> bool) {
        let end = Instant::now() + LAST_WORDS;
        while !until(self) {
            match self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(said) => self.hear(said, print),
                Err(_) => break,
            }
        }
    }

    fn hear(&mut self, said: Said, print: &Print) {
        match said {
            // What was printed without an end of its line stands before the mark.
            Said::Printed(line) => {
                let before = line.strip_suffix(END);
                self.told |= before.is_some();
                if before != Some("") {
                    print(before.unwrap_or(&line).to_string());
                }
            }
            Said::Complained(line) if self.complaint.is_empty() => self.complaint = line.trim().to_string(),
            Said::Complained(_) | Said::Child(_) => {}
            Said::Ended(ended) => {
                let error = ended.map_or_else(|error| error.to_string(), |()| String::new());
                let status = error.rsplit_once("status: ").map_or("", |(_, status)| status);
                (self.ended, self.status) = (true, status.trim().to_string());
            }
        }
    }

    /// What became of the child, in words.
    fn why(mut self, gone: Gone, print: &Print) -> String {
        if matches!(gone, Gone::Interrupted) {
            return "it was interrupted, and its process ended".into();
        }
        self.listen(print, |_| false);
        let status = if self.status.is_empty() { String::new() } else { format!(" ({})", self.status) };
        let complaint =
            if self.complaint.is_empty() { String::new() } else { format!(": {}", self.complaint) };
        format!("its process died{status}{complaint}")
    }

    /// Waits until evcxr has ended and cleared up.
    fn has_ended(&mut self, within: Duration) -> bool {
        let until = Instant::now() + within;
        while !self.ended {
            match self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Said::Ended(_)) | Err(RecvTimeoutError::Disconnected) => self.ended = true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
        true
    }
}

impl Drop for Running {
    /// A child that waits ends with its socket; one that spins has to be killed.
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
        if !self.has_ended(Duration::from_millis(500)) {
            kill(&self.child);
            self.has_ended(Duration::from_secs(2));
        }
    }
}

fn kill(child: &Arc<Mutex<Child>>) {
    // It may have ended already.
    let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
}

/// In a thread of its own: comes back when the child has ended.
fn compile_and_run(text: &str, tell: &Sender<Said>) {
    // Nobody may be there to hear of it any more.
    let _ = tell.send(Said::Ended(signals::for_child(|| run_child(text, tell))));
}

fn run_child(text: &str, tell: &Sender<Said>) -> Result<(), evcxr::Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command.process_group(0); // Ctrl-C at a terminal is for ltune, which then asks it to end
    let (mut context, outputs) = EvalContext::with_subprocess_command(command)?;
    let (printed, complained) = (tell.clone(), tell.clone());
    thread::spawn(move || {
        outputs.stdout.iter().all(|line| printed.send(Said::Printed(line)).is_ok());
    });
    thread::spawn(move || {
        outputs.stderr.iter().all(|line| complained.send(Said::Complained(line)).is_ok());
    });
    let _ = tell.send(Said::Child(context.process_handle()));
    context.eval(text).map(drop)
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// How a kind of function is called in the prelude.
pub fn variant(kind: NameKind) -> &'static str {
    match kind {
        NameKind::Metric => "Metric",
        NameKind::Transform => "Transform",
        _ => "Schedule",
    }
}
