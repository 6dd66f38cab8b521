//! The command line: which scripts to run and how; each subcommand is one function.

use crate::events::{Cancel, Diagnostic, Out, Sink};
use crate::files::signals;
use crate::frontends::color::ColorChoice;
use crate::frontends::json::JsonSink;
use crate::frontends::outlet::Outlet;
use crate::frontends::script::{ScriptSink, Volume};
use crate::frontends::{doctor, samples};
use crate::interpreter::{Assignment, Interpreter, Outcome, Unit};
use crate::language::codes;
use crate::language::format::format;
use clap::{Parser, Subcommand};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 parse or check errors, 130 interrupted.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const REJECTED: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Step, inspect, change, fork and exactly undo a local Llama fine-tune.
///
/// Runs .ltune scripts; at a terminal without one, a prompt. Everything is checked before anything runs. `-` or piped
/// standard input is a script too.
#[derive(Parser, Debug)]
#[command(name = "ltune", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 parse or check errors, \
                        130 interrupted.\nIn a script too: `help`, `help step`, `help tune.lr`."
)]
pub struct CommandLine {
    /// Scripts, run in order in one session; `-` is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Run this code (after the files); may be given several times
    #[arg(short = 'c', long = "code", value_name = "CODE")]
    code: Vec<String>,
    /// Open the prompt after the files and the code, in their session
    #[arg(short = 'i', long = "interactive")]
    interactive: bool,
    #[command(flatten)]
    options: Options,
    /// Pass over steps that checkpoints of the same experiment hold, and go on from the last one
    #[arg(long)]
    resume: bool,
    /// Go on with the next statement when one fails (the exit code is still 1)
    #[arg(long)]
    keep_going: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Args, Debug, Clone)]
struct Options {
    /// Print one JSON object a line
    #[arg(long, global = true)]
    json: bool,
    /// Change a setting of a definition: `--set a.lr=1e-4`; may be given several times
    #[arg(long = "set", value_name = "NAME.SETTING=VALUE", global = true)]
    set: Vec<String>,
    /// When to color
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto", global = true)]
    color: ColorChoice,
    /// Print results and diagnostics only
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Check scripts and report every mistake; nothing runs
    ///
    /// With --json each is one line: an object with "type": "diagnostic", "severity", "code", "message", "file", "line",
    /// "column", "end_line", "end_column", "notes", "labels" (further places), "fix" (what to do) and "fixes" (edits: put
    /// "replacement" in the place). Lines and columns count from 1, columns in Unicode characters; the end is behind the
    /// last one. Exit code 3 when there is an error.
    Check {
        /// Scripts, checked in order as one session; `-` is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Format scripts in place
    ///
    /// Comments stay, and what stands on one line stays on one line. A script with a syntax error is left as it is.
    Fmt {
        /// Only say which files would change; exit code 1 if any
        #[arg(long)]
        check: bool,
        /// Scripts; `-` is standard input, formatted to standard output
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Serve an editor: the language server, over standard input and output
    #[cfg(feature = "lsp")]
    Lsp {
        /// What some editors say; there is no other way
        #[arg(long, hide = true)]
        stdio: bool,
        /// What some editors say; the end of standard input tells that they are gone
        #[arg(long = "clientProcessId", hide = true)]
        client: Option<u32>,
    },
    /// List the known samples, or fetch some
    Samples {
        /// Samples to fetch now
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Say what ltune runs on: versions, libtorch, devices, threads, cache
    Doctor,
    /// Serve notebooks, or install the kernel for Jupyter
    #[cfg(feature = "jupyter")]
    Kernel(crate::frontends::jupyter::command::KernelArguments),
    /// Explain a diagnostic code
    Explain {
        #[arg(value_name = "CODE")]
        code: String,
    },
    /// Explain the language: a statement, a setting such as `tune.lr`, a code; without a word, list the statements
    Help {
        #[arg(value_name = "WORD")]
        word: Option<String>,
    },
}

impl CommandLine {
    /// Does what the arguments say.
    pub fn execute(self) -> ExitCode {
        let options = &self.options;
        ExitCode::from(match &self.command {
            None => self.run(),
            Some(Command::Check { files }) => check(files, options),
            Some(Command::Fmt { check, files }) => reformat(files, *check, options),
            Some(Command::Samples { names }) => {
                let mut out = options.out();
                succeeded(samples::list_or_fetch(names, &mut out), &mut out)
            }
            Some(Command::Doctor) => {
                let mut out = options.out();
                doctor::report(&mut out);
                0
            }
            #[cfg(feature = "lsp")]
            Some(Command::Lsp { .. }) => serve_editor(options),
            #[cfg(feature = "jupyter")]
            Some(Command::Kernel(arguments)) => {
                let mut out = options.out();
                succeeded(arguments.execute(&mut out), &mut out)
            }
            Some(Command::Explain { code }) => explain(code, options),
            Some(Command::Help { word }) => {
                self.interpret(vec![help(word.as_deref())], vec![], options.out())
            }
        })
    }

    fn run(&self) -> u8 {
        let mut out = self.options.out();
        let at_terminal = std::io::stdin().is_terminal();
        let mut files = self.files.clone();
        let is_empty = files.is_empty() && self.code.is_empty();
        let prompts = at_terminal && (self.interactive || is_empty);
        if !at_terminal && (self.interactive || is_empty) && !files.contains(&"-".into()) {
            files.push("-".into());
        }
        let Some(mut units) = read_all(&files, &mut out) else { return USAGE };
        for (index, code) in self.code.iter().enumerate() {
            units.push(Unit {
                name: format!("-c {}", index + 1),
                text: code.clone(),
                folder: PathBuf::new(),
            });
        }
        let Some(assignments) = self.options.assignments(&mut out) else { return USAGE };
        if prompts {
            return self.prompt(units, assignments, &mut out);
        }
        self.interpret(units, assignments, out)
    }

    fn interpret(&self, units: Vec<Unit>, assignments: Vec<Assignment>, out: Out) -> u8 {
        interrupt_on_signal(&out.cancel);
        let mut interpreter = Interpreter::new(out);
        interpreter.keep_going = self.keep_going;
        interpreter.session.resuming = self.resume;
        interpreter.assignments = assignments;
        exit_code(interpreter.run(units))
    }

    #[cfg(feature = "repl")]
    fn prompt(&self, units: Vec<Unit>, assignments: Vec<Assignment>, out: &mut Out) -> u8 {
        let problem = match (self.options.json, units.is_empty() && !assignments.is_empty()) {
            (true, _) => "`--json` prints the events of a script, and a prompt is asked for",
            (_, true) => "`--set` changes what a script defines, and no script was given",
            _ => {
                let stdout = Outlet::stdout(self.options.color);
                let look = stdout.look;
                let sink = ScriptSink::new(stdout, Outlet::stderr(self.options.color), self.options.volume());
                return crate::frontends::repl::prompt(crate::frontends::repl::Start {
                    sink,
                    look,
                    units,
                    assignments,
                });
            }
        };
        out.diagnostic(Diagnostic::error(codes::USAGE, problem).note("`ltune --help` lists every option"));
        USAGE
    }

    #[cfg(not(feature = "repl"))]
    fn prompt(&self, _: Vec<Unit>, _: Vec<Assignment>, out: &mut Out) -> u8 {
        out.diagnostic(
            Diagnostic::error(codes::USAGE, "this ltune was built without its prompt (feature `repl`)")
                .note("write `ltune FILE.ltune`, `ltune -c 'help'`, or pipe a script in")
                .note("`ltune --help` lists every option"),
        );
        USAGE
    }
}

impl Options {
    fn out(&self) -> Out {
        let cancel = Cancel::default();
        let mut out = Out::new(self.sink(&cancel));
        out.cancel = cancel;
        out.emit(crate::events::Event::Version {
            schema: "1.0",
            ltune: env!("CARGO_PKG_VERSION"),
            libtorch: crate::torch::processor::torch_version(),
        });
        out
    }

    fn sink(&self, cancel: &Cancel) -> Box<dyn Sink> {
        let stdout = Outlet::stdout(self.color).cancelling(cancel.clone());
        if self.json {
            return Box::new(JsonSink::new(stdout));
        }
        Box::new(ScriptSink::new(stdout, Outlet::stderr(self.color), self.volume()))
    }

    fn volume(&self) -> Volume {
        if self.quiet { Volume::Quiet } else { Volume::Normal }
    }

    fn assignments(&self, out: &mut Out) -> Option<Vec<Assignment>> {
        let mut assignments = vec![];
        for text in &self.set {
            match Assignment::parse(text) {
                Ok(assignment) => assignments.push(assignment),
                Err(diagnostic) => out.diagnostic(diagnostic),
            }
        }
        (assignments.len() == self.set.len()).then_some(assignments)
    }
}

fn exit_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Done => 0,
        Outcome::Failed => FAILED,
        Outcome::Rejected => REJECTED,
        Outcome::Interrupted => INTERRUPTED,
    }
}

fn check(files: &[PathBuf], options: &Options) -> u8 {
    let mut out = options.out();
    let Some(units) = read_all(files, &mut out) else { return USAGE };
    let Some(assignments) = options.assignments(&mut out) else { return USAGE };
    let statements = {
        let mut interpreter = Interpreter::new(out);
        interpreter.assignments = assignments;
        let checked = interpreter.check(units);
        out = interpreter.into_out();
        checked
    };
    let Some(statements) = statements else { return REJECTED };
    if !options.json && !options.quiet {
        out.text(format!("{}: nothing wrong", crate::units::counted(statements as u64, "statement")));
    }
    0
}

fn reformat(files: &[PathBuf], only_check: bool, options: &Options) -> u8 {
    let mut out = options.out();
    let Some(units) = read_all(files, &mut out) else { return USAGE };
    let mut code = 0;
    for (unit, path) in units.into_iter().zip(files) {
        out.sources.add(unit.name.clone(), unit.text.clone());
        match format(&unit.text) {
            Err(diagnostics) => {
                diagnostics.into_iter().for_each(|diagnostic| out.diagnostic(diagnostic));
                code = REJECTED;
            }
            Ok(text) if only_check => {
                if text != unit.text {
                    out.text(format!("{} would change", unit.name));
                    code = code.max(FAILED);
                }
            }
            Ok(text) if path == Path::new("-") && text.is_empty() => {}
            Ok(text) if path == Path::new("-") => out.text(text.trim_end_matches('\n')),
            Ok(text) if text == unit.text => {}
            Ok(text) => match crate::files::atomic::write(path, text.as_bytes()) {
                Ok(()) => out.text(format!("{} formatted", unit.name)),
                Err(error) => {
                    out.diagnostic(Diagnostic::error(codes::FILE, error.to_string()));
                    code = code.max(FAILED);
                }
            },
        }
    }
    code
}

#[cfg(feature = "lsp")]
fn serve_editor(options: &Options) -> u8 {
    if !std::io::stdin().is_terminal() {
        return crate::frontends::lsp::serve();
    }
    let mut out = options.out();
    out.diagnostic(
        Diagnostic::error(codes::USAGE, "`ltune lsp` is started by an editor, and this is a terminal")
            .note("the README says how, for VS Code, Neovim and Helix; `ltune` alone opens a prompt"),
    );
    USAGE
}

/// What the prompt would be told.
fn help(word: Option<&str>) -> Unit {
    let text = word.map_or("help".into(), |word| format!("help {word}"));
    Unit { name: "help".into(), text, folder: PathBuf::new() }
}

fn explain(code: &str, options: &Options) -> u8 {
    let mut out = options.out();
    match codes::find(code) {
        Some(found) => {
            out.text(found.page());
            0
        }
        None => {
            out.diagnostic(
                Diagnostic::error(codes::USAGE, format!("there is no diagnostic code `{code}`"))
                    .note("codes look like `L0012` and stand in brackets behind `error` or `warning`"),
            );
            USAGE
        }
    }
}

fn succeeded(result: Result<(), Diagnostic>, out: &mut Out) -> u8 {
    match result {
        Ok(()) => 0,
        Err(diagnostic) => {
            out.diagnostic(diagnostic);
            FAILED
        }
    }
}

/// Every file as a unit to check and run; what cannot be read is said.
fn read_all(files: &[PathBuf], out: &mut Out) -> Option<Vec<Unit>> {
    let units: Vec<Unit> = files.iter().filter_map(|file| read(file, out)).collect();
    (units.len() == files.len()).then_some(units)
}

fn read(file: &Path, out: &mut Out) -> Option<Unit> {
    let (name, bytes) = if file == Path::new("-") {
        let mut bytes = vec![];
        ("standard input".to_string(), std::io::stdin().read_to_end(&mut bytes).map(|_| bytes))
    } else {
        (file.display().to_string(), std::fs::read(file))
    };
    let problem = match bytes.map(String::from_utf8) {
        Ok(Ok(text)) => {
            let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
            return Some(Unit { name, text, folder });
        }
        Ok(Err(error)) => format!(
            "`{name}` is not UTF-8: the first wrong byte is number {}",
            error.utf8_error().valid_up_to() + 1
        ),
        Err(error) => format!("cannot read `{name}`: {}", crate::files::plain(&error)),
    };
    out.diagnostic(Diagnostic::error(codes::FILE, problem));
    None
}

/// Ctrl-C and a polite `kill` ask the work to stop at a whole step; a second one aborts the step, a third the program.
fn interrupt_on_signal(cancel: &Cancel) {
    let cancel = cancel.clone();
    signals::listen(&[signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM], move |_| {
        if cancel.abort() {
            signal_hook::low_level::exit(INTERRUPTED.into());
        }
        cancel.request();
    });
}
