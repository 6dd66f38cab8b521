//! Runs the cells that clients send, one after another, and replies to each.

use crate::assist::inspection::about;
use crate::assist::known::Known;
use crate::events::{Diagnostic, Out, SourceId};
use crate::frontends::jupyter::answers::pages;
use crate::frontends::jupyter::capture::{Capture, Stream};
use crate::frontends::jupyter::outbox::Outbox;
use crate::frontends::jupyter::shared::Shared;
use crate::frontends::jupyter::sink::Output;
use crate::frontends::jupyter::sockets::Job;
use crate::interpreter::{Interpreter, Outcome, Unit};
use crate::language::codes;
use crate::language::evaluate::evaluate;
use crate::language::parse::parse_expression;
use jupyter_protocol::{
    ClearOutput, ErrorOutput, ExecuteInput, ExecuteReply, ExecuteRequest, ExecutionCount, ExecutionState,
    ExpressionResult, JupyterMessage, JupyterMessageContent, Media, MediaType, Payload, ReplyError,
    ReplyStatus, Status, StreamContent,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Cells that a client sent together are all here within this time of the first.
const TOGETHER: Duration = Duration::from_millis(5);

pub struct Kernel {
    interpreter: Interpreter,
    output: Output,
    outbox: Outbox,
    shared: Arc<Shared>,
    capture: Option<Capture>,
    count: u64,
}

/// How a cell ended, as its reply says.
#[derive(Default)]
struct Ended {
    error: Option<ErrorOutput>,
    pages: Vec<Payload>,
}

impl Kernel {
    pub fn new(out: Out, output: Output, outbox: Outbox, shared: Arc<Shared>) -> Kernel {
        let mut interpreter = Interpreter::new(out);
        let published = shared.clone();
        interpreter.after = Some(Box::new(move |session| *published.known() = Known::of(session)));
        let capture = captured(outbox.clone(), shared.clone());
        Kernel { interpreter, output, outbox, shared, capture, count: 0 }
    }

    /// Until a client asks to leave.
    pub fn work(mut self, jobs: &Receiver<Job>) {
        let started = JupyterMessage::new(Status { execution_state: ExecutionState::Starting }, None);
        self.outbox.publish(&started, Status { execution_state: ExecutionState::Starting });
        while let Ok(Job::Execute(request)) = jobs.recv() {
            if self.execute(&request, jobs) == Next::Leave {
                break;
            }
        }
        self.outbox.flush();
    }

    fn execute(&mut self, message: &JupyterMessage, jobs: &Receiver<Job>) -> Next {
        let JupyterMessageContent::ExecuteRequest(request) = &message.content else { return Next::Cell };
        self.outbox.busy(message);
        if request.store_history && !request.silent {
            self.count += 1;
        }
        let execution_count = ExecutionCount::new(self.count as usize);
        if !request.silent {
            self.outbox.publish(message, ExecuteInput { code: request.code.clone(), execution_count });
        }
        self.begin(message, request);
        let mut ended = self.run(message, &request.code);
        let result = self.output.end();
        if let Some(capture) = &self.capture {
            capture.drain();
        }
        if let Some(error) = ended.error.as_ref().filter(|_| !request.silent) {
            self.outbox.publish(message, error.clone());
        }
        if request.store_history && !request.silent {
            self.shared.history().add(self.count, &request.code, &result);
        }
        let user_expressions = match ended.error {
            None => self.expressions(request),
            Some(_) => HashMap::new(),
        };
        let (waiting, next) = match ended.error.is_some() && request.stop_on_error {
            true => waiting(jobs),
            false => (vec![], Next::Cell),
        };
        self.shared.parent().is_running = false;
        self.outbox.flush();
        let error = ended.error.take().map(|ErrorOutput { ename, evalue, traceback }| {
            Box::new(ReplyError { ename, evalue, traceback })
        });
        let status = if error.is_some() { ReplyStatus::Error } else { ReplyStatus::Ok };
        let (payload, user_expressions) = (ended.pages, Some(user_expressions));
        let reply = ExecuteReply { status, execution_count, payload, user_expressions, error };
        self.outbox.reply(message, reply);
        self.outbox.idle(message);
        waiting.iter().for_each(|message| self.abort(message));
        next
    }

    fn begin(&mut self, message: &JupyterMessage, request: &ExecuteRequest) {
        self.shared.cancel.clear();
        let mut parent = self.shared.parent();
        parent.message = (!request.silent).then(|| message.clone());
        parent.is_running = true;
        drop(parent);
        self.output.begin((!request.silent).then(|| message.clone()), self.count);
    }

    fn run(&mut self, message: &JupyterMessage, code: &str) -> Ended {
        let line = code.trim();
        match line {
            ":clear" => {
                self.outbox.publish(message, ClearOutput { wait: false });
                return Ended::default();
            }
            ":vars" => return self.run_unit("show"),
            "" => return Ended::default(),
            _ => {}
        }
        match question(line) {
            Some(topic) => self.explain(topic),
            None => self.run_unit(code),
        }
    }

    fn run_unit(&mut self, text: &str) -> Ended {
        self.interpreter.cell = Some(self.count);
        let name = format!("In [{}]", self.count);
        let unit = Unit { name, text: text.to_string(), folder: Default::default() };
        let outcome = self.interpreter.run(vec![unit]);
        *self.shared.known() = Known::of(&self.interpreter.session);
        let error = match outcome {
            Outcome::Done => None,
            _ => self.output.error().or_else(|| Some(interrupted())),
        };
        Ended { error, pages: vec![] }
    }

    /// `name?` opens a page about it.
    fn explain(&mut self, topic: &str) -> Ended {
        let found = about(topic, &self.shared.known());
        let Some(found) = found else {
            self.interpreter.out.diagnostic(
                Diagnostic::error(codes::NO_HELP, format!("nothing is known of `{topic}`"))
                    .note("`:vars` lists the names of this session, `help` the statements"),
            );
            return Ended { error: self.output.error(), pages: vec![] };
        };
        Ended { error: None, pages: vec![Payload::Page { data: pages(&found), start: 0 }] }
    }

    /// What the client wants evaluated once the cell has run.
    fn expressions(&self, request: &ExecuteRequest) -> HashMap<String, ExpressionResult> {
        let outline = &self.interpreter.session.outline;
        let asked = request.user_expressions.iter().flatten();
        asked
            .map(|(name, text)| {
                let value = parse_expression(text, SourceId(0)).and_then(|expr| evaluate(&expr, outline));
                let result = match value {
                    Ok(value) => ExpressionResult::Ok {
                        data: Media::new(vec![MediaType::Plain(value.to_ltune())]),
                        metadata: Default::default(),
                    },
                    Err(found) => ExpressionResult::Error {
                        ename: found.code.into(),
                        evalue: found.message.clone(),
                        traceback: vec![found.message],
                    },
                };
                (name.clone(), result)
            })
            .collect()
    }

    /// A cell behind one that failed is not run.
    fn abort(&self, message: &JupyterMessage) {
        self.outbox.busy(message);
        let reply = ExecuteReply {
            status: ReplyStatus::Aborted,
            execution_count: ExecutionCount::new(self.count as usize),
            user_expressions: Some(HashMap::new()),
            ..ExecuteReply::default()
        };
        self.outbox.reply(message, reply);
        self.outbox.idle(message);
    }
}

/// Whether there is more to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Cell,
    Leave,
}

/// The cells that were sent together with the one that failed.
fn waiting(jobs: &Receiver<Job>) -> (Vec<JupyterMessage>, Next) {
    let mut waiting = vec![];
    while let Ok(job) = jobs.recv_timeout(TOGETHER) {
        match job {
            Job::Execute(message) => waiting.push(*message),
            Job::Leave => return (waiting, Next::Leave),
        }
    }
    (waiting, Next::Cell)
}

fn interrupted() -> ErrorOutput {
    let evalue = "the cell was stopped; everything up to there is kept";
    ErrorOutput {
        ename: "Interrupted".into(),
        evalue: evalue.into(),
        traceback: vec![format!("\x1b[1minterrupted\x1b[0m: {evalue}")],
    }
}

/// What is written past the sink is shown in the cell that runs, or ran last.
fn captured(outbox: Outbox, shared: Arc<Shared>) -> Option<Capture> {
    Capture::begin(Box::new(move |stream, text| {
        let content = match stream {
            Stream::Output => StreamContent::stdout(&text),
            Stream::Error => StreamContent::stderr(&text),
        };
        let parent = shared.parent();
        if let Some(message) = &parent.message {
            outbox.publish(message, content);
        }
    }))
}

/// `name?` and `?name` ask what a name stands for.
fn question(line: &str) -> Option<&str> {
    let topic = line.strip_suffix('?').or_else(|| line.strip_prefix('?'))?.trim_matches('?').trim();
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
    (!topic.is_empty() && topic.chars().all(is_word)).then_some(topic)
}
