//! The one way to the clients: messages leave in the order in which they were put in, so that what a cell printed has
//! gone before its reply.

use crate::frontends::jupyter::sockets::Outgoing;
use jupyter_protocol::{ExecutionState, JupyterMessage, JupyterMessageContent, Status};
use tokio::sync::mpsc::UnboundedSender;

#[derive(Clone)]
pub struct Outbox(pub UnboundedSender<Outgoing>);

impl Outbox {
    /// To everybody who listens, as a consequence of the request.
    pub fn publish(&self, parent: &JupyterMessage, content: impl Into<JupyterMessageContent>) {
        let content = content.into();
        let topic = content.message_type().to_string().into_bytes().into();
        let message = JupyterMessage::new(content, Some(parent)).with_zmq_identities(vec![topic]);
        self.put(Outgoing::Everybody(message));
    }

    /// The answer to a request on the shell.
    pub fn reply(&self, parent: &JupyterMessage, content: impl Into<JupyterMessageContent>) {
        self.put(Outgoing::Shell(JupyterMessage::new(content, Some(parent))));
    }

    pub fn busy(&self, parent: &JupyterMessage) {
        self.publish(parent, Status { execution_state: ExecutionState::Busy });
    }

    pub fn idle(&self, parent: &JupyterMessage) {
        self.publish(parent, Status { execution_state: ExecutionState::Idle });
    }

    /// Waits until all that was put in has gone.
    pub fn flush(&self) {
        let (done, wait) = std::sync::mpsc::channel();
        self.put(Outgoing::Mark(done));
        let _ = wait.recv_timeout(std::time::Duration::from_secs(1));
    }

    fn put(&self, outgoing: Outgoing) {
        // The thread of the sockets ends with the process only.
        let _ = self.0.send(outgoing);
    }
}
