//! A client of our own: speaks to a running kernel over its sockets, as a notebook does.

use crate::program::Folder;
use jupyter_protocol::{
    ConnectionInfo, ExecuteReply, ExecuteRequest, JupyterMessage, JupyterMessageContent, MediaType,
    ShutdownRequest, Transport,
};
use jupyter_zmq_client::{
    ClientControlConnection, ClientIoPubConnection, ClientShellConnection, create_client_control_connection,
    create_client_iopub_connection, create_client_shell_connection_with_identity, peer_identity_for_session,
};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Nothing that a test waits for takes longer, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
const SESSION: &str = "a-client";

pub const RUN: &str = r#"
model m { init = random { preset = tiny } }
data r { from = random; rows = 60; length = 24 tokens; split = 80% / 20% }
tune a { model = m; data = r; batch = 3 x 2; epochs = 400; lr = 1e-2; method = lora { rank = 4; dropout = 0.1 } }
"#;

/// A running kernel and its one client.
pub struct Kernel {
    pub folder: Folder,
    pub child: Child,
    pub connection: ConnectionInfo,
    pub runtime: Runtime,
    pub shell: ClientShellConnection,
    pub everybody: ClientIoPubConnection,
    pub control: ClientControlConnection,
}

/// What a cell gave.
pub struct Cell {
    pub reply: ExecuteReply,
    pub messages: Vec<JupyterMessageContent>,
}

impl Kernel {
    pub fn start() -> Kernel {
        Kernel::start_in(Folder::new(), connection(), &[])
    }

    /// With more in its environment.
    pub fn start_in(folder: Folder, connection: ConnectionInfo, variables: &[(&str, String)]) -> Kernel {
        let file = folder.write("connection.json", serde_json::to_vec(&connection).unwrap());
        let file = file.display().to_string();
        let mut command = folder.command(&["kernel", "--connection-file", &file]);
        command.env("XDG_STATE_HOME", folder.path()).envs(variables.iter().cloned());
        let child = command.spawn().expect("the kernel starts");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (shell, everybody, control) = runtime.block_on(clients(&connection));
        let mut kernel = Kernel { folder, child, connection, runtime, shell, everybody, control };
        // The welcome says that nothing will be missed.
        while !matches!(kernel.heard().content, JupyterMessageContent::IoPubWelcome(_)) {}
        kernel
    }

    pub fn heard(&mut self) -> JupyterMessage {
        let read = async { tokio::time::timeout(PATIENCE, self.everybody.read()).await };
        self.runtime.block_on(read).expect("something is heard in time").expect("it is a message")
    }

    pub fn send(&mut self, content: impl Into<JupyterMessageContent>) -> String {
        let message = JupyterMessage::new(content, None);
        let id = message.header.msg_id.clone();
        self.runtime.block_on(self.shell.send(message)).expect("it can be sent");
        id
    }

    pub fn replied(&mut self) -> JupyterMessageContent {
        let read = async { tokio::time::timeout(PATIENCE, self.shell.read()).await };
        self.runtime.block_on(read).expect("a reply comes in time").expect("it is a message").content
    }

    pub fn ask(&mut self, content: impl Into<JupyterMessageContent>) -> JupyterMessageContent {
        self.send(content);
        self.replied()
    }

    pub fn command(&mut self, content: impl Into<JupyterMessageContent>) -> JupyterMessageContent {
        let message = JupyterMessage::new(content, None);
        let exchange = async {
            self.control.send(message).await.expect("it can be sent");
            tokio::time::timeout(PATIENCE, self.control.read()).await
        };
        self.runtime.block_on(exchange).expect("a reply comes in time").expect("it is a message").content
    }

    pub fn run(&mut self, code: &str) -> Cell {
        let id = self.send(ExecuteRequest::new(code.into()));
        self.finish(&id)
    }

    /// The reply of the cell and all that was heard of it.
    pub fn finish(&mut self, id: &str) -> Cell {
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

    /// Asks the kernel to leave, and begins one that takes its place, as a restart in a notebook does.
    pub fn restart(mut self) -> Kernel {
        let reply = self.command(ShutdownRequest { restart: true });
        assert!(matches!(reply, JupyterMessageContent::ShutdownReply(reply) if reply.restart));
        assert!(self.ends(), "a kernel that is asked to leave is gone in ten seconds");
        let folder = std::mem::replace(&mut self.folder, Folder::new());
        Kernel::start_in(folder, self.connection.clone(), &[])
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: sends a signal to the child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Until a step of training has been printed.
    pub fn wait_for_a_step(&mut self) {
        loop {
            if let JupyterMessageContent::StreamContent(stream) = self.heard().content
                && stream.text.starts_with("step")
            {
                return;
            }
        }
    }

    /// Whether the process ends by itself.
    pub fn ends(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if self.child.try_wait().expect("it can be asked").is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Whether a run of the folder has recorded a step.
    pub fn has_steps(&self) -> bool {
        let mut metrics = vec![];
        find(self.folder.path(), "metrics.jsonl", &mut metrics);
        !metrics.is_empty() && !self.losses().is_empty()
    }

    /// The losses that the one run of the folder has recorded.
    pub fn losses(&self) -> Vec<f64> {
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
    pub fn printed(&self) -> String {
        let texts = self.messages.iter().filter_map(|message| match message {
            JupyterMessageContent::StreamContent(stream) => Some(stream.text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    pub fn kinds(&self) -> Vec<&str> {
        self.messages.iter().map(JupyterMessageContent::message_type).collect()
    }

    /// The forms of the first display.
    pub fn display(&self) -> Vec<&str> {
        let shown = self.messages.iter().find_map(|message| match message {
            JupyterMessageContent::DisplayData(shown) => Some(&shown.data.content),
            _ => None,
        });
        let mut forms: Vec<&str> = shown.into_iter().flatten().map(MediaType::mime_type).collect();
        forms.sort_unstable();
        forms
    }
}

/// Five ports that nobody listens on.
pub fn connection() -> ConnectionInfo {
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

pub fn is_idle(content: &JupyterMessageContent) -> bool {
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
