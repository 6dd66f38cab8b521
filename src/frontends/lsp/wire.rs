//! Messages over a pipe. `lsp-server` has the messages; its own reader gives up at the first that is none, this one
//! says so and goes on.

use lsp_server::Message;
use serde_json::{Value, json};
use std::io::{self, BufRead, Read, Write};

/// What came in.
#[derive(Debug)]
pub enum Incoming {
    Message(Message),
    /// Something that is no message; why.
    Malformed(String),
}

/// More than any script and any answer of an editor.
const LONGEST: u64 = 64 << 20;
const LONGEST_HEADER: u64 = 4096;

/// The next message; `None` when the editor is gone.
pub fn read(input: &mut impl BufRead) -> io::Result<Option<Incoming>> {
    let Some(length) = header(input)? else { return Ok(None) };
    let length = match length {
        Err(problem) => return Ok(Some(Incoming::Malformed(problem))),
        Ok(length) if length > LONGEST => {
            io::copy(&mut input.take(length), &mut io::sink())?;
            return Ok(Some(Incoming::Malformed(format!(
                "{length} bytes are more than the {LONGEST} of a message"
            ))));
        }
        Ok(length) => length,
    };
    let mut body = vec![0; length as usize];
    input.read_exact(&mut body)?;
    Ok(Some(understood(&body).map_or_else(Incoming::Malformed, Incoming::Message)))
}

/// Only an object is a message, and what has an identity is a question that waits for its answer.
fn understood(body: &[u8]) -> Result<Message, String> {
    let told = |error: serde_json::Error| format!("this is no message: {error}");
    let value: Value = serde_json::from_slice(body).map_err(told)?;
    let id = value.get("id").cloned();
    if !value.is_object() {
        return Err("this is no message: it is no object".into());
    }
    match (serde_json::from_value(value).map_err(told)?, id) {
        (Message::Notification(_), Some(id)) => {
            Err(format!("`{id}` cannot identify a request: it is neither a text nor a number of 32 bits"))
        }
        (message, _) => Ok(message),
    }
}

/// The length of the next message. A header without one is a problem, lines that are no header are passed over.
fn header(input: &mut impl BufRead) -> io::Result<Option<Result<u64, String>>> {
    let mut length = None;
    let mut is_empty = true;
    loop {
        let mut line = vec![];
        if input.take(LONGEST_HEADER).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() && !is_empty {
            return Ok(Some(length.unwrap_or_else(|| Err("a message needs a `Content-Length`".into()))));
        }
        is_empty &= line.is_empty();
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("Content-Length")
        {
            let value = value.trim();
            length = Some(value.parse().map_err(|_| format!("`{value}` is not a length in bytes")));
        }
    }
}

pub fn write(output: &mut impl Write, message: &Value) -> io::Result<()> {
    let body = message.to_string();
    write!(output, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    output.flush()
}

/// A message as it travels.
pub fn enveloped(message: impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(message).unwrap_or(Value::Null);
    if let Value::Object(fields) = &mut value {
        fields.insert("jsonrpc".into(), json!("2.0"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<String> {
        let mut input = bytes;
        let mut found = vec![];
        while let Ok(Some(incoming)) = read(&mut input) {
            found.push(match incoming {
                Incoming::Message(Message::Request(request)) => request.method,
                Incoming::Message(Message::Notification(notification)) => notification.method,
                Incoming::Message(Message::Response(_)) => "response".into(),
                Incoming::Malformed(why) => why,
            });
        }
        found
    }

    fn framed(body: &str) -> String {
        format!("Content-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn messages_are_read_one_after_the_other() {
        let text = framed(r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#) + &framed(r#"{"method":"é"}"#);
        assert_eq!(all(text.as_bytes()), ["a", "é"]);
    }

    #[test]
    fn what_is_no_message_is_said_and_the_next_one_is_read() {
        let good = framed(r#"{"method":"a"}"#);
        for (bad, why) in [
            (framed("{"), "this is no message"),
            (framed("[1, 2]"), "this is no message"),
            ("Content-Length: many\r\n\r\n".into(), "`many` is not a length"),
            ("Content-Type: x\r\n\r\n".into(), "needs a `Content-Length`"),
            (format!("Content-Length: {}\r\n\r\n", u64::MAX), "more than"),
        ] {
            let found = all((bad.clone() + &good).as_bytes());
            assert!(found[0].contains(why), "{bad}: {found:?}");
            assert_eq!(found.get(1).map_or("a", String::as_str), "a", "{bad}");
        }
        assert_eq!(all(("nonsense\r\n".to_string() + &good).as_bytes()), ["a"]);
    }

    #[test]
    fn a_list_is_no_message_and_a_strange_identity_is_refused() {
        assert!(all(framed(r#"["a method"]"#).as_bytes())[0].contains("no object"));
        for id in ["1.5", "null", "99999999999"] {
            let found = all(framed(&format!(r#"{{"id":{id},"method":"x"}}"#)).as_bytes());
            assert!(found[0].contains("cannot identify a request"), "{found:?}");
        }
    }

    #[test]
    fn half_a_message_is_the_end() {
        assert_eq!(all(b"Content-Length: 100\r\n\r\n{"), [""; 0]);
        assert_eq!(all(b"Content-Le"), [""; 0]);
    }
}
