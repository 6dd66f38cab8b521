//! What a kernel lives through: floods, nonsense, many restarts.

use crate::kernel::client::Kernel;
use jupyter_protocol::{
    ConnectionInfo, ExecuteRequest, JupyterMessage, JupyterMessageContent, KernelInfoRequest, ReplyStatus,
    UnknownMessage,
};
use jupyter_zmq_client::{create_client_shell_connection_with_identity, peer_identity_for_session};
use serde_json::json;
use std::net::TcpListener;
use std::path::Path;
use zeromq::{SocketSend, ZmqMessage};

#[test]
fn twenty_thousand_messages_arrive_whole_and_in_order() {
    const CELLS: usize = 20;
    const LINES: usize = 1000;
    let mut kernel = Kernel::start();
    let cell = |cell: usize| -> String {
        (0..LINES).map(|line| format!("print \"{}\"\n", cell * LINES + line)).collect()
    };
    // All are sent before anything is read.
    let ids: Vec<String> = (0..CELLS).map(|number| kernel.send(ExecuteRequest::new(cell(number)))).collect();
    let mut next = 0;
    for id in ids {
        let cell = kernel.finish(&id);
        assert_eq!(cell.reply.status, ReplyStatus::Ok);
        for message in cell.messages {
            let JupyterMessageContent::StreamContent(stream) = message else { continue };
            assert_eq!(stream.text, format!("{next}\n"));
            next += 1;
        }
    }
    assert_eq!(next, CELLS * LINES);
}

#[test]
fn a_thousand_requests_get_a_reply_each_in_order() {
    let mut kernel = Kernel::start();
    let ids: Vec<String> = (0..1000).map(|_| kernel.send(KernelInfoRequest {})).collect();
    for id in ids {
        let reply = kernel.runtime.block_on(kernel.shell.read()).unwrap();
        assert_eq!(reply.parent_header.expect("it names its request").msg_id, id);
    }
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
        let answer = tokio::time::timeout(std::time::Duration::from_millis(300), shell.read()).await;
        assert!(answer.is_err(), "a stranger gets no answer");
    };
    kernel.runtime.block_on(flood);
    assert_eq!(kernel.run("intruder + 1").reply.status, ReplyStatus::Error);
    assert_eq!(kernel.run("1 + 1").reply.status, ReplyStatus::Ok);
}

/// Frames that are no message of the protocol: none, too few, no delimiter, no signature, no text.
fn nonsense() -> Vec<ZmqMessage> {
    let frames = |parts: &[&[u8]]| {
        let mut message = ZmqMessage::from(parts[0].to_vec());
        parts[1..].iter().for_each(|part| message.push_back(part.to_vec().into()));
        message
    };
    vec![
        frames(&[b""]),
        frames(&[b"<IDS|MSG>"]),
        frames(&[b"<IDS|MSG>", b"", b"{}", b"{}", b"{}", b"{}"]),
        frames(&[b"<IDS|MSG>", b"00ff", b"not json", b"\xff\xfe", b"", b"[]"]),
        frames(&[b"a", b"b", b"c"]),
        frames(&[&[b'x'; 100_000]]),
    ]
}

#[test]
fn messages_that_are_none_are_passed_over() {
    let mut kernel = Kernel::start();
    let unlike = [
        ("execute_request", json!({ "code": 7 })),
        ("execute_request", json!({})),
        ("complete_request", json!({ "code": "step", "cursor_pos": -4 })),
        ("history_request", json!({ "hist_access_type": "guess" })),
        ("inspect_request", json!({ "code": ["step"] })),
        ("execute_reply", json!({ "status": "ok" })),
        ("no_such_request", json!({ "a": "b" })),
    ];
    for _ in 0..100 {
        let flood = async {
            for message in nonsense() {
                kernel.shell.socket.send(message.clone()).await.unwrap();
                kernel.control.socket.send(message).await.unwrap();
            }
            for (kind, content) in &unlike {
                let content = UnknownMessage { msg_type: kind.to_string(), content: content.clone() };
                kernel.shell.send(JupyterMessage::new(content, None)).await.unwrap();
            }
        };
        kernel.runtime.block_on(flood);
    }
    let id = kernel.send(ExecuteRequest::new("6 * 7".into()));
    // The very next reply is that of the cell.
    let JupyterMessageContent::ExecuteReply(reply) = kernel.replied() else {
        panic!("nothing else is answered")
    };
    assert_eq!(reply.status, ReplyStatus::Ok);
    let heard = std::iter::from_fn(|| Some(kernel.heard()));
    let mut of_cell =
        heard.filter(|message| message.parent_header.as_ref().is_some_and(|parent| parent.msg_id == id));
    assert!(of_cell.any(|message| message.content.message_type() == "execute_result"));
}

#[test]
fn ten_restarts_leave_nothing_behind() {
    let mut kernel = Kernel::start();
    let (mut processes, mut resident) = (vec![], vec![]);
    for _ in 0..10 {
        kernel.run("model m { init = random { preset = tiny } }\ndata r { from = random; rows = 8; length = 8 tokens }
tune a { model = m; data = r }\nstep a");
        processes.push(kernel.child.id());
        resident.push(resident_of(kernel.child.id()));
        // The same ports each time, as a notebook does.
        kernel = kernel.restart();
        assert_eq!(kernel.run("a_name + 1").reply.status, ReplyStatus::Error, "the session is a new one");
    }
    // Memory of a process that has ended is the system's again; the next one must not begin with more.
    assert!(resident[9] < resident[0] + resident[0] / 10, "{resident:?} kB");
    for process in processes {
        assert!(!Path::new(&format!("/proc/{process}")).exists(), "process {process} is gone");
    }
    assert!(children(std::process::id()).iter().all(|child| *child == kernel.child.id()));
    assert!(children(kernel.child.id()).is_empty());
    let connection = kernel.connection.clone();
    drop(kernel);
    for port in [connection.shell_port, connection.iopub_port, connection.control_port, connection.hb_port] {
        TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
    }
}

/// Memory of a process in kB.
fn resident_of(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The processes that the process has begun and that still run.
fn children(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}
