//! The five sockets of a kernel, all on one thread of their own.

use crate::frontends::jupyter::answers::answer;
use crate::frontends::jupyter::outbox::Outbox;
use crate::frontends::jupyter::shared::Shared;
use crate::frontends::jupyter::{watch, wire};
use jupyter_protocol::{
    ConnectionInfo, InterruptReply, IoPubWelcome, JupyterMessage, JupyterMessageContent, ReplyStatus,
    ShutdownReply,
};
use jupyter_zmq_client::{
    Connection, KernelIoPubXPubConnection, RawMessage, RouterRecvConnection, RouterSendConnection,
    SubscriptionEvent, create_kernel_control_connection, create_kernel_heartbeat_connection,
    create_kernel_iopub_xpub_connection, create_kernel_shell_connection, create_kernel_stdin_connection,
};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use zeromq::{RepSocket, SocketRecv, SocketSend};

/// What leaves the kernel.
pub enum Outgoing {
    /// For every client, on the socket they listen to.
    Everybody(JupyterMessage),
    /// For the one that asked, on the shell.
    Shell(JupyterMessage),
    /// Told once all before it has gone.
    Mark(Sender<()>),
}

/// What the interpreter is to do.
pub enum Job {
    Execute(Box<JupyterMessage>),
    Leave,
}

/// A client that reads nothing for so long misses messages, so that the others get theirs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens from now on: where to put messages for clients, and where cells to run come from.
pub fn begin(connection: ConnectionInfo, shared: Arc<Shared>) -> Result<(Outbox, Receiver<Job>), String> {
    let (outgoing, to_send) = unbounded_channel();
    let (jobs, to_do) = channel();
    let (ready, is_ready) = channel();
    let outbox = Outbox(outgoing);
    let of_thread = outbox.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Err(error) => drop(ready.send(Err(error.to_string()))),
            Ok(runtime) => runtime.block_on(async {
                match Sockets::bind(&connection).await {
                    Err(error) => drop(ready.send(Err(error.to_string()))),
                    Ok(sockets) => {
                        let _ = ready.send(Ok(()));
                        sockets.serve(of_thread, to_send, jobs, shared).await;
                    }
                }
            }),
        }
    });
    is_ready.recv().map_err(|_| "its thread ended".to_string())??;
    Ok((outbox, to_do))
}

struct Sockets {
    shell: (RouterSendConnection, RouterRecvConnection),
    control: (RouterSendConnection, RouterRecvConnection),
    stdin: RouterRecvConnection,
    everybody: KernelIoPubXPubConnection,
    heartbeat: RepSocket,
}

impl Sockets {
    async fn bind(connection: &ConnectionInfo) -> jupyter_zmq_client::Result<Sockets> {
        let session = JupyterMessage::from(InterruptReply::new()).header.session;
        Ok(Sockets {
            shell: create_kernel_shell_connection(connection, &session).await?.split(),
            control: create_kernel_control_connection(connection, &session).await?.split(),
            stdin: create_kernel_stdin_connection(connection, &session).await?.split().1,
            everybody: create_kernel_iopub_xpub_connection(connection, &session).await?,
            heartbeat: create_kernel_heartbeat_connection(connection).await?.socket,
        })
    }

    async fn serve(
        self,
        outbox: Outbox,
        to_send: UnboundedReceiver<Outgoing>,
        jobs: Sender<Job>,
        shared: Arc<Shared>,
    ) {
        let (shell_send, shell) = self.shell;
        let (control_send, control) = self.control;
        tokio::join!(
            send(self.everybody, shell_send, to_send),
            listen(shell, &outbox, &jobs, &shared),
            obey(control, control_send, &outbox, &jobs, &shared),
            beat(self.heartbeat),
            discard(self.stdin),
        );
    }
}

/// Sends what is in the outbox, in order, and welcomes whoever begins to listen.
async fn send(
    mut everybody: KernelIoPubXPubConnection,
    mut shell: RouterSendConnection,
    mut to_send: UnboundedReceiver<Outgoing>,
) {
    loop {
        tokio::select! {
            event = everybody.recv_subscription() => match event {
                Ok(SubscriptionEvent::Subscribe(topic)) => {
                    let welcome = JupyterMessage::from(IoPubWelcome { subscription: topic.clone() });
                    let welcome = welcome.with_zmq_identities(vec![topic.into_bytes().into()]);
                    let _ = tokio::time::timeout(PATIENCE, everybody.send(welcome)).await;
                }
                Ok(SubscriptionEvent::Unsubscribe(_)) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            },
            outgoing = to_send.recv() => match outgoing {
                Some(Outgoing::Everybody(message)) => {
                    let _ = tokio::time::timeout(PATIENCE, everybody.send(message)).await;
                }
                Some(Outgoing::Shell(message)) => drop(shell.send(message).await),
                Some(Outgoing::Mark(done)) => drop(done.send(())),
                None => return,
            },
        }
    }
}

/// Requests on the shell: cells wait for the interpreter, all else is answered at once.
async fn listen(mut shell: RouterRecvConnection, outbox: &Outbox, jobs: &Sender<Job>, shared: &Shared) {
    loop {
        let message = next(&mut shell).await;
        if matches!(message.content, JupyterMessageContent::ExecuteRequest(_)) {
            let _ = jobs.send(Job::Execute(Box::new(message)));
            continue;
        }
        outbox.busy(&message);
        if let Some(content) = answer(&message.content, shared) {
            outbox.reply(&message, content);
        } else if let JupyterMessageContent::CommOpen(open) = &message.content {
            // Nothing here speaks over comms: the client is told at once.
            let closed =
                jupyter_protocol::CommClose { comm_id: open.comm_id.clone(), data: Default::default() };
            outbox.publish(&message, closed);
        }
        outbox.idle(&message);
        still_busy(outbox, shared);
    }
}

/// Front ends show the state they heard of last: while a cell runs that is not idle.
fn still_busy(outbox: &Outbox, shared: &Shared) {
    let parent = shared.parent();
    if let (true, Some(message)) = (parent.is_running, &parent.message) {
        outbox.busy(message);
    }
}

/// Requests on the control channel are never kept waiting.
async fn obey(
    mut control: RouterRecvConnection,
    mut reply: RouterSendConnection,
    outbox: &Outbox,
    jobs: &Sender<Job>,
    shared: &Arc<Shared>,
) {
    loop {
        let message = next(&mut control).await;
        outbox.busy(&message);
        let content: Option<JupyterMessageContent> = match &message.content {
            JupyterMessageContent::InterruptRequest(_) => {
                shared.interrupt();
                Some(InterruptReply::new().into())
            }
            JupyterMessageContent::ShutdownRequest(request) => {
                let restart = request.restart;
                Some(ShutdownReply { restart, status: ReplyStatus::Ok, error: None }.into())
            }
            other => answer(other, shared),
        };
        if let Some(content) = content {
            let _ = reply.send(JupyterMessage::new(content, Some(&message))).await;
        }
        outbox.idle(&message);
        match message.content {
            JupyterMessageContent::ShutdownRequest(_) => leave(jobs, shared),
            _ => still_busy(outbox, shared),
        }
    }
}

/// The interpreter is asked to leave; a step that does not end in time is no reason to stay.
fn leave(jobs: &Sender<Job>, shared: &Arc<Shared>) {
    let _ = jobs.send(Job::Leave);
    let shared = shared.clone();
    std::thread::spawn(move || {
        // What was just replied must have left the process.
        std::thread::sleep(Duration::from_millis(50));
        watch::leave(&shared)
    });
}

/// The next message that is one. What is not whole or wrongly signed is passed over.
async fn next(connection: &mut RouterRecvConnection) -> JupyterMessage {
    loop {
        let Connection { socket, mac, .. } = &mut *connection;
        match socket.recv().await {
            Ok(raw) => {
                let message = RawMessage::from_multipart(raw, mac).ok().and_then(wire::parse);
                if let Some(message) = message {
                    return message;
                }
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Says the same back: the kernel is alive.
async fn beat(mut heartbeat: RepSocket) {
    loop {
        match heartbeat.recv().await {
            Ok(message) => drop(heartbeat.send(message).await),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// The language never asks for input, so nothing is expected here.
async fn discard(mut stdin: RouterRecvConnection) {
    loop {
        next(&mut stdin).await;
    }
}
