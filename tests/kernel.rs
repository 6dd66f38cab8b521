//! The kernel, spoken to over its sockets as a notebook does, by a client of our own; and the suite of Jupyter itself.

use crate::program::{Folder, Ran};
use jupyter_protocol::{
    CompleteRequest, ConnectionInfo, ExecuteReply, ExecuteRequest, InspectRequest, InterruptRequest,
    IsCompleteRequest, JupyterMessage, JupyterMessageContent, MediaType, ReplyStatus, ShutdownRequest,
    Transport,
};
use jupyter_zmq_client::{
    ClientControlConnection, ClientIoPubConnection, ClientShellConnection, create_client_control_connection,
    create_client_iopub_connection, create_client_shell_connection_with_identity, peer_identity_for_session,
};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Nothing that a test waits for takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const SESSION: &str = "a-client";

const RUN: &str = r#"
model m { init = random { preset = tiny } }
data r { from = random; rows = 60; length = 24 tokens; split = 80% / 20% }
tune a { model = m; data = r; batch = 3 x 2; epochs = 400; lr = 1e-2; method = lora { rank = 4; dropout = 0.1 } }
"#;

/// A running kernel and its one client.
struct Kernel {
    folder: Folder,
    child: Child,
    connection: ConnectionInfo,
    runtime: Runtime,
    shell: ClientShellConnection,
    everybody: ClientIoPubConnection,
    control: ClientControlConnection,
}

/// What a cell gave.
struct Cell {
    reply: ExecuteReply,
    messages: Vec<JupyterMessageContent>,
}

impl Kernel {
    fn start() -> Kernel {
        let folder = Folder::new();
        let connection = connection();
        let file = folder.write("connection.json", serde_json::to_vec(&connection).unwrap());
        let file = file.display().to_string();
        let child =
            folder.command(&["kernel", "--connection-file", &file]).spawn().expect("the kernel starts");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (shell, everybody, control) = runtime.block_on(clients(&connection));
        let mut kernel = Kernel { folder, child, connection, runtime, shell, everybody, control };
        // The welcome says that nothing will be missed.
        while !matches!(kernel.heard().content, JupyterMessageContent::IoPubWelcome(_)) {}
        kernel
    }

    fn heard(&mut self) -> JupyterMessage {
        let read = async { tokio::time::timeout(PATIENCE, self.everybody.read()).await };
        self.runtime.block_on(read).expect("something is heard in time").expect("it is a message")
    }

    fn send(&mut self, content: impl Into<JupyterMessageContent>) -> String {
        let message = JupyterMessage::new(content, None);
        let id = message.header.msg_id.clone();
        self.runtime.block_on(self.shell.send(message)).expect("it can be sent");
        id
    }

    fn replied(&mut self) -> JupyterMessageContent {
        let read = async { tokio::time::timeout(PATIENCE, self.shell.read()).await };
        self.runtime.block_on(read).expect("a reply comes in time").expect("it is a message").content
    }

    fn ask(&mut self, content: impl Into<JupyterMessageContent>) -> JupyterMessageContent {
        self.send(content);
        self.replied()
    }

    fn command(&mut self, content: impl Into<JupyterMessageContent>) -> JupyterMessageContent {
        let message = JupyterMessage::new(content, None);
        let exchange = async {
            self.control.send(message).await.expect("it can be sent");
            tokio::time::timeout(PATIENCE, self.control.read()).await
        };
        self.runtime.block_on(exchange).expect("a reply comes in time").expect("it is a message").content
    }

    fn run(&mut self, code: &str) -> Cell {
        let id = self.send(ExecuteRequest::new(code.into()));
        self.finish(&id)
    }

    /// The reply of the cell and all that was heard of it.
    fn finish(&mut self, id: &str) -> Cell {
        let reply = loop {
            if let JupyterMessageContent::ExecuteReply(reply) = self.replied() {
                break reply;
            }
        };
        let mut messages = vec![];
        loop {
            let message = self.heard();
            if message.parent_header.as_ref().is_none_or(|parent| parent.msg_id != id) {
                continue;
            }
            if is_idle(&message.content) {
                return Cell { reply, messages };
            }
            messages.push(message.content);
        }
    }

    /// Until a step of training has been printed.
    fn wait_for_a_step(&mut self) {
        loop {
            if let JupyterMessageContent::StreamContent(stream) = self.heard().content
                && stream.text.starts_with("step")
            {
                return;
            }
        }
    }

    /// Whether the process ends by itself.
    fn ends(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if self.child.try_wait().expect("it can be asked").is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// The losses that the one run of the folder has recorded.
    fn losses(&self) -> Vec<f64> {
        let mut metrics = vec![];
        find(self.folder.path(), "metrics.jsonl", &mut metrics);
        let text = std::fs::read_to_string(&metrics[0]).expect("the metrics can be read");
        let rows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        rows.filter(|row| row["grad_norm"].is_number()).filter_map(|row| row["loss"].as_f64()).collect()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cell {
    fn printed(&self) -> String {
        let texts = self.messages.iter().filter_map(|message| match message {
            JupyterMessageContent::StreamContent(stream) => Some(stream.text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    fn kinds(&self) -> Vec<&str> {
        self.messages.iter().map(JupyterMessageContent::message_type).collect()
    }

    /// The forms of the first display.
    fn display(&self) -> Vec<&str> {
        let shown = self.messages.iter().find_map(|message| match message {
            JupyterMessageContent::DisplayData(shown) => Some(&shown.data.content),
            _ => None,
        });
        let mut forms: Vec<&str> = shown.into_iter().flatten().map(MediaType::mime_type).collect();
        forms.sort_unstable();
        forms
    }
}

fn connection() -> ConnectionInfo {
    let listeners: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let port = |index: usize| listeners[index].local_addr().unwrap().port();
    ConnectionInfo {
        ip: "127.0.0.1".into(),
        transport: Transport::TCP,
        shell_port: port(0),
        iopub_port: port(1),
        stdin_port: port(2),
        control_port: port(3),
        hb_port: port(4),
        key: "a key".into(),
        signature_scheme: "hmac-sha256".into(),
        kernel_name: None,
    }
}

async fn clients(
    connection: &ConnectionInfo,
) -> (ClientShellConnection, ClientIoPubConnection, ClientControlConnection) {
    let began = Instant::now();
    let identity = peer_identity_for_session(SESSION).unwrap();
    while began.elapsed() < PATIENCE {
        // The heartbeat is bound last: once it listens, all do.
        if tokio::net::TcpStream::connect(("127.0.0.1", connection.hb_port)).await.is_ok() {
            return (
                create_client_shell_connection_with_identity(connection, SESSION, identity).await.unwrap(),
                create_client_iopub_connection(connection, "", SESSION).await.unwrap(),
                create_client_control_connection(connection, SESSION).await.unwrap(),
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the kernel does not listen");
}

fn is_idle(content: &JupyterMessageContent) -> bool {
    matches!(content, JupyterMessageContent::Status(status) if status.execution_state.as_str() == "idle")
}

fn find(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, name, found);
        } else if path.ends_with(name) {
            found.push(path);
        }
    }
}

#[test]
fn a_cell_prints_shows_and_has_a_value() {
    let mut kernel = Kernel::start();
    let cell = kernel.run("print \"hello\"\n6 * 7");
    assert_eq!(cell.reply.status, ReplyStatus::Ok);
    assert_eq!(cell.printed(), "hello\n");
    assert_eq!(cell.kinds(), ["status", "execute_input", "stream", "execute_result"]);
    let cell = kernel.run("let n = 2\nshow");
    assert_eq!(cell.display(), ["text/html", "text/plain"]);
    let mut request = ExecuteRequest::new("_1 + n".into());
    request.user_expressions = Some([("double".to_string(), "n * 2".to_string())].into());
    let id = kernel.send(request);
    let expressions = kernel.finish(&id).reply.user_expressions.expect("they are answered");
    assert_eq!(serde_json::to_value(&expressions["double"]).unwrap()["data"]["text/plain"], "4");
}

#[test]
fn a_failed_cell_is_one_error_and_the_cells_behind_it_are_not_run() {
    let mut kernel = Kernel::start();
    let id = kernel.send(ExecuteRequest::new("step nothing\neval nothing".into()));
    let behind = kernel.send(ExecuteRequest::new("print \"no\"".into()));
    let cell = kernel.finish(&id);
    assert_eq!(cell.reply.status, ReplyStatus::Error);
    assert_eq!(cell.kinds().iter().filter(|kind| **kind == "error").count(), 1);
    assert_eq!(cell.reply.error.expect("it is told").ename, "L0103");
    let aborted = kernel.finish(&behind);
    assert_eq!((aborted.reply.status.clone(), aborted.printed()), (ReplyStatus::Aborted, String::new()));
    assert_eq!(kernel.run("1").reply.status, ReplyStatus::Ok);
}

#[test]
fn an_interrupt_in_the_middle_of_a_step_changes_no_number() {
    let mut kernel = Kernel::start();
    let training = kernel.send(ExecuteRequest::new(format!("{RUN}step a 2000")));
    kernel.wait_for_a_step();
    // What is asked while it trains is answered while it trains.
    let reply = kernel.ask(CompleteRequest { code: "step a".into(), cursor_pos: 6 });
    assert!(
        matches!(reply, JupyterMessageContent::CompleteReply(reply) if reply.matches.contains(&"a".into()))
    );
    let reply = kernel.ask(InspectRequest { code: "a".into(), cursor_pos: 1, detail_level: None });
    assert!(matches!(reply, JupyterMessageContent::InspectReply(reply) if reply.found));
    let reply = kernel.ask(IsCompleteRequest { code: "tune b {".into() });
    assert!(matches!(reply, JupyterMessageContent::IsCompleteReply(reply) if reply.indent == "  "));
    assert!(matches!(kernel.command(InterruptRequest {}), JupyterMessageContent::InterruptReply(_)));
    let cell = kernel.finish(&training);
    assert_eq!(cell.reply.error.expect("it was stopped").ename, "Interrupted");
    let stopped = kernel.losses().len();
    assert!((1..2000).contains(&stopped), "{stopped}");
    let last = stopped + 20;
    assert_eq!(kernel.run("step a 20").reply.status, ReplyStatus::Ok);
    assert_eq!(kernel.losses().len(), last);

    let mut never = Kernel::start();
    let cell = never.run(&format!("{RUN}step a {last}\nplot loss of a"));
    assert_eq!(cell.reply.status, ReplyStatus::Ok, "{}", cell.printed());
    assert!(cell.kinds().contains(&"update_display_data"));
    assert_eq!(never.losses(), kernel.losses());
    assert_eq!(never.run("plot loss of a").display(), ["image/png", "image/svg+xml", "text/plain"]);
}

#[test]
fn messages_that_are_wrongly_signed_are_passed_over() {
    let mut kernel = Kernel::start();
    let stranger = ConnectionInfo { key: "another key".into(), ..kernel.connection.clone() };
    let identity = peer_identity_for_session("stranger").unwrap();
    let flood = async {
        let mut shell =
            create_client_shell_connection_with_identity(&stranger, "stranger", identity).await.unwrap();
        for _ in 0..500 {
            shell.send(ExecuteRequest::new("let intruder = 1".into()).into()).await.unwrap();
        }
    };
    kernel.runtime.block_on(flood);
    assert_eq!(kernel.run("intruder + 1").reply.status, ReplyStatus::Error);
    assert_eq!(kernel.run("1 + 1").reply.status, ReplyStatus::Ok);
}

#[test]
fn a_shutdown_ends_the_process_also_while_it_trains() {
    let mut kernel = Kernel::start();
    let restart = ShutdownRequest { restart: true };
    assert!(matches!(kernel.command(restart), JupyterMessageContent::ShutdownReply(reply) if reply.restart));
    assert!(kernel.ends());
    let mut kernel = Kernel::start();
    kernel.send(ExecuteRequest::new(format!("{RUN}step a 2000")));
    kernel.wait_for_a_step();
    kernel.command(ShutdownRequest { restart: false });
    assert!(kernel.ends());
}

#[test]
fn a_connection_file_that_is_none_is_told() {
    let folder = Folder::new();
    folder.write("c.json", "{}");
    for file in ["c.json", "missing.json"] {
        let ran = folder.ltune(&["kernel", "--connection-file", file]);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("error[L0530]"), "{}", ran.stderr);
    }
}

fn tools(program: &Path, arguments: &[&str]) -> Option<Ran> {
    Command::new(program).args(arguments).env("OMP_NUM_THREADS", "1").output().ok().map(Ran::from)
}

#[test]
#[ignore = "fetches jupyter_kernel_test through pip"]
fn the_kernel_passes_jupyter_kernel_test() {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/jupyter");
    let python = environment.join("bin/python");
    let installed = |ran: Option<Ran>| ran.is_some_and(|ran| ran.code == 0);
    if !installed(tools(&python, &["-c", "import jupyter_kernel_test"])) {
        let place = environment.display().to_string();
        let made = installed(tools(Path::new("python3"), &["-m", "venv", &place]));
        let package = ["-m", "pip", "install", "--quiet", "jupyter_kernel_test==0.7.0", "ipykernel"];
        if !made || !installed(tools(&python, &package)) {
            println!("skipped: jupyter_kernel_test could not be installed (no pip, or no network)");
            return;
        }
    }
    let ltune = Path::new(env!("CARGO_BIN_EXE_ltune"));
    let place = environment.display().to_string();
    assert_eq!(tools(ltune, &["kernel", "install", "--prefix", &place]).unwrap().code, 0);
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/kernel.py");
    let ran = tools(&python, &[&suite.display().to_string()]).unwrap();
    println!("{}", ran.stderr);
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.contains("Ran 13 tests") && !ran.stderr.contains("skipped="), "{}", ran.stderr);
}
