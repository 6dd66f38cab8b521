//! One message off the wire: its signature is checked, what clients leave out is filled in; what is still wrong is no
//! message at all.

use jupyter_protocol::JupyterMessage;
use jupyter_zmq_client::RawMessage;
use serde_json::{Map, Value, json};

/// The message, or nothing when it is not whole, not signed by the key or not of the protocol.
pub fn parse(raw: RawMessage) -> Option<JupyterMessage> {
    let part = |index: usize| serde_json::from_slice::<Value>(raw.jparts.get(index)?).ok();
    let (header, mut content) = (part(0)?, part(3)?);
    let kind = header.get("msg_type")?.as_str()?.to_string();
    if let Some(object) = content.as_object_mut() {
        fill_in(&kind, object);
    }
    let metadata = part(2).unwrap_or(json!({}));
    let whole = json!({ "header": header, "parent_header": {}, "metadata": metadata, "content": content });
    let mut message = JupyterMessage::from_value(whole).ok()?;
    message.zmq_identities = raw.zmq_identities;
    Some(message)
}

/// What the protocol allows to be left out, or null, and the types of `jupyter-protocol` want.
fn fill_in(kind: &str, content: &mut Map<String, Value>) {
    let defaults: &[(&str, Value)] = match kind {
        "execute_request" => &[
            ("silent", Value::Bool(false)),
            ("store_history", Value::Bool(true)),
            ("user_expressions", json!({})),
            ("allow_stdin", Value::Bool(false)),
            ("stop_on_error", Value::Bool(true)),
        ],
        "history_request" => &[
            ("hist_access_type", json!("tail")),
            ("output", Value::Bool(false)),
            ("raw", Value::Bool(true)),
            ("unique", Value::Bool(false)),
            ("pattern", json!("*")),
            ("n", json!(i32::MAX)),
            ("session", json!(0)),
            ("start", json!(0)),
            ("stop", json!(i32::MAX)),
        ],
        "complete_request" | "inspect_request" => &[("cursor_pos", json!(u32::MAX))],
        "shutdown_request" => &[("restart", Value::Bool(false))],
        _ => &[],
    };
    for (name, value) in defaults {
        if content.get(*name).is_none_or(Value::is_null) {
            content.insert(name.to_string(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jupyter_protocol::JupyterMessageContent;

    fn raw(kind: &str, content: &str) -> RawMessage {
        let header = format!(
            r#"{{"msg_id":"1","username":"u","session":"s","date":"","msg_type":"{kind}","version":"5.3"}}"#
        );
        let jparts = [header.as_str(), "{}", "{}", content].map(|part| part.as_bytes().to_vec().into());
        RawMessage { zmq_identities: vec![], jparts: jparts.to_vec() }
    }

    #[test]
    fn what_clients_leave_out_is_filled_in() {
        let found = parse(raw("history_request", r#"{"hist_access_type":"search","pattern":"a*","n":null}"#));
        assert!(matches!(found.unwrap().content, JupyterMessageContent::HistoryRequest(_)));
        let found = parse(raw("execute_request", r#"{"code":"1"}"#)).unwrap().content;
        assert!(matches!(found, JupyterMessageContent::ExecuteRequest(request) if request.store_history));
    }

    #[test]
    fn nonsense_is_no_message() {
        assert!(parse(raw("execute_request", "[1")).is_none());
        assert!(parse(raw("execute_request", r#"{"code":7}"#)).is_none());
        assert!(parse(RawMessage { zmq_identities: vec![], jparts: vec![] }).is_none());
    }
}
