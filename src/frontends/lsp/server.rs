//! The life of a server: it is greeted, answers, and takes its leave. What it cannot understand it says so of, and goes on.

use crate::frontends::lsp::paths::path_of;
use crate::frontends::lsp::positions::Encoding;
use crate::frontends::lsp::publish::Published;
use crate::frontends::lsp::wire::{Incoming, enveloped};
use crate::frontends::lsp::workspace::{Document, Workspace};
use crate::frontends::lsp::{actions, completion, folding, hints, hover, layout, naming, semantic};
use lsp_server::{ErrorCode, Message, Notification, Request, Response, ResponseError};
use lsp_types::{
    DidChangeTextDocumentParams, DidChangeWorkspaceFoldersParams, DidCloseTextDocumentParams,
    DidOpenTextDocumentParams, Uri,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    New,
    Ready,
    /// Asked to shut down.
    Leaving,
    Gone {
        after_shutdown: bool,
    },
}

#[derive(Default)]
pub struct Server {
    pub state: State,
    /// Messages to be sent.
    pub outbox: Vec<Value>,
    workspace: Workspace,
    published: Published,
    /// Diagnostics may have changed since they were published.
    is_unsettled: bool,
}

type Answer = Result<Value, ResponseError>;

/// How much of a check an answer needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Text,
    /// Some check: names that a moment ago were there are good enough.
    SomeCheck,
    /// The check of the very text.
    Check,
}

impl Server {
    pub fn accept(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Message(Message::Request(request)) => self.request(request),
            Incoming::Message(Message::Notification(notification)) => self.notification(notification),
            Incoming::Message(Message::Response(_)) => {} // nothing is ever asked of the editor
            Incoming::Malformed(why) => {
                let error = refused(ErrorCode::ParseError, why);
                self.outbox.push(enveloped(json!({ "id": null, "error": error })));
            }
        }
    }

    /// Whether there is something to be done when no message waits.
    pub fn has_work(&self) -> bool {
        self.is_unsettled || self.workspace.has_stale()
    }

    /// A piece of that work: a check, or what all checks have found.
    pub fn work(&mut self) {
        if self.workspace.check_next() {
            self.is_unsettled = true;
            return;
        }
        self.is_unsettled = false;
        for news in self.published.news(&self.workspace) {
            let told = Notification::new("textDocument/publishDiagnostics".into(), news);
            self.outbox.push(enveloped(told));
        }
    }

    fn request(&mut self, Request { id, method, params }: Request) {
        let answer = match (self.state, method.as_str()) {
            (State::New, "initialize") => Ok(self.initialize(&params)),
            (State::New, _) => {
                Err(refused(ErrorCode::ServerNotInitialized, "`initialize` comes first".into()))
            }
            (State::Ready, "initialize") => {
                Err(refused(ErrorCode::InvalidRequest, "`initialize` was answered already".into()))
            }
            (State::Ready, "shutdown") => {
                self.state = State::Leaving;
                Ok(Value::Null)
            }
            (State::Ready, _) => guarded(|| self.answer(&method, params)).unwrap_or_else(|| {
                Err(refused(
                    ErrorCode::InternalError,
                    format!("ltune itself failed at `{method}`; please report this"),
                ))
            }),
            (State::Leaving | State::Gone { .. }, _) => {
                Err(refused(ErrorCode::InvalidRequest, "the server was shut down".into()))
            }
        };
        self.outbox.push(enveloped(Response { id, response_result: answer }));
    }

    fn initialize(&mut self, params: &Value) -> Value {
        let offered = params["capabilities"]["general"]["positionEncodings"].clone();
        let offered: Vec<_> = serde_json::from_value(offered).unwrap_or_default();
        self.workspace.encoding = Encoding::agreed(&offered);
        let path = |value: &Value| path_of(&value.as_str()?.parse::<Uri>().ok()?);
        let folders = params["workspaceFolders"].as_array().map_or(&[][..], Vec::as_slice);
        let mut folders: Vec<PathBuf> = folders.iter().filter_map(|folder| path(&folder["uri"])).collect();
        if folders.is_empty() {
            folders
                .extend(path(&params["rootUri"]).or_else(|| params["rootPath"].as_str().map(PathBuf::from)));
        }
        self.workspace.set_folders(folders);
        self.state = State::Ready;
        json!({
            "capabilities": capabilities(self.workspace.encoding),
            "serverInfo": { "name": "ltune", "version": env!("CARGO_PKG_VERSION") },
        })
    }

    fn answer(&mut self, method: &str, params: Value) -> Answer {
        use Needs::{Check, SomeCheck, Text};
        match method {
            "textDocument/completion" => self.ask(SomeCheck, params, completion::completion),
            "textDocument/hover" => self.ask(SomeCheck, params, hover::hover),
            "textDocument/formatting" => self.ask(Text, params, layout::formatting),
            "textDocument/rangeFormatting" => self.ask(Text, params, layout::range_formatting),
            "textDocument/codeAction" => self.ask(Check, params, actions::actions),
            "textDocument/prepareRename" => self.ask(Check, params, naming::prepare_rename),
            "textDocument/rename" => self.ask(Check, params, naming::rename),
            "textDocument/definition" => self.ask(SomeCheck, params, naming::definition),
            "textDocument/references" => self.ask(SomeCheck, params, naming::references),
            "textDocument/documentHighlight" => self.ask(SomeCheck, params, naming::highlights),
            "textDocument/documentSymbol" => self.ask(SomeCheck, params, naming::symbols),
            "textDocument/semanticTokens/full" => self.ask(Text, params, semantic::tokens),
            "textDocument/foldingRange" => self.ask(Text, params, folding::ranges),
            "textDocument/inlayHint" => self.ask(Check, params, hints::hints),
            other => Err(refused(ErrorCode::MethodNotFound, format!("`{other}` is not served"))),
        }
    }

    /// Answers a request that is about an open script.
    fn ask<P: DeserializeOwned, R: Serialize>(
        &mut self,
        needs: Needs,
        params: Value,
        answer: fn(&Workspace, &Document, P) -> Result<R, String>,
    ) -> Answer {
        let invalid = |why: String| refused(ErrorCode::InvalidParams, why);
        let uri = &params["textDocument"]["uri"];
        let uri: Uri =
            serde_json::from_value(uri.clone()).map_err(|error| invalid(format!("no document: {error}")))?;
        let not_open = || invalid(format!("`{}` is not open", uri.as_str()));
        let params = serde_json::from_value(params).map_err(|error| invalid(error.to_string()))?;
        let document = self.workspace.get(&uri).ok_or_else(not_open)?;
        if needs == Needs::Check || (needs == Needs::SomeCheck && !document.was_checked) {
            self.is_unsettled |= document.is_stale;
            self.workspace.check(&uri);
        }
        let document = self.workspace.get(&uri).ok_or_else(not_open)?;
        self.workspace.enter(document);
        let found = answer(&self.workspace, document, params);
        let found = found.map_err(|why| refused(ErrorCode::RequestFailed, why))?;
        serde_json::to_value(found).map_err(|error| refused(ErrorCode::InternalError, error.to_string()))
    }

    fn notification(&mut self, Notification { method, params }: Notification) {
        match (self.state, method.as_str()) {
            (state, "exit") => self.state = State::Gone { after_shutdown: state == State::Leaving },
            (State::Ready, _) => {
                let taken = guarded(|| self.take(&method, params));
                let problem = match taken {
                    None => format!("ltune itself failed at `{method}`; please report this"),
                    Some(Err(why)) => format!("`{method}`: {why}"),
                    Some(Ok(())) => return,
                };
                const WARNING: u8 = 2;
                let told = json!({ "type": WARNING, "message": problem });
                self.outbox.push(enveloped(Notification::new("window/logMessage".into(), told)));
            }
            _ => {} // as the protocol wants: before `initialize` and after `shutdown` they are dropped
        }
    }

    fn take(&mut self, method: &str, params: Value) -> Result<(), serde_json::Error> {
        self.is_unsettled |= method.starts_with("textDocument/") || method.starts_with("workspace/");
        match method {
            "textDocument/didOpen" => {
                let params: DidOpenTextDocumentParams = serde_json::from_value(params)?;
                self.workspace.open(params.text_document);
            }
            "textDocument/didChange" => {
                let params: DidChangeTextDocumentParams = serde_json::from_value(params)?;
                let document = params.text_document;
                self.workspace.change(&document.uri, document.version, params.content_changes);
            }
            "textDocument/didClose" => {
                let params: DidCloseTextDocumentParams = serde_json::from_value(params)?;
                self.workspace.close(&params.text_document.uri);
            }
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => self.workspace.forget_checks(),
            "workspace/didChangeWorkspaceFolders" => {
                let event = serde_json::from_value::<DidChangeWorkspaceFoldersParams>(params)?.event;
                let paths = |folders: Vec<lsp_types::WorkspaceFolder>| -> Vec<PathBuf> {
                    folders.iter().filter_map(|folder| path_of(&folder.uri)).collect()
                };
                self.workspace.change_folders(paths(event.added), &paths(event.removed));
            }
            _ => {}
        }
        Ok(())
    }
}

fn capabilities(encoding: Encoding) -> Value {
    json!({
        "positionEncoding": encoding.kind(),
        "textDocumentSync": { "openClose": true, "change": 2, "save": true },
        "completionProvider": { "triggerCharacters": [" ", "=", ".", "\"", "/"] },
        "hoverProvider": true,
        "documentFormattingProvider": true,
        "documentRangeFormattingProvider": true,
        "codeActionProvider": { "codeActionKinds": ["quickfix", actions::FIX_ALL] },
        "renameProvider": { "prepareProvider": true },
        "definitionProvider": true,
        "referencesProvider": true,
        "documentHighlightProvider": true,
        "documentSymbolProvider": true,
        "semanticTokensProvider": { "legend": semantic::legend(), "full": true },
        "foldingRangeProvider": true,
        "inlayHintProvider": true,
        "workspace": { "workspaceFolders": { "supported": true, "changeNotifications": true } },
    })
}

fn refused(code: ErrorCode, message: String) -> ResponseError {
    ResponseError { code: code as i32, message, data: None }
}

/// `None` when it panicked.
fn guarded<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &mut Server, method: &str, params: Value) -> Value {
        let message = json!({ "id": 1, "method": method, "params": params });
        server.accept(Incoming::Message(serde_json::from_value(message).expect("a request")));
        server.outbox.pop().expect("an answer")
    }

    fn tell(server: &mut Server, method: &str, params: Value) {
        let message = json!({ "method": method, "params": params });
        server.accept(Incoming::Message(serde_json::from_value(message).expect("a notification")));
    }

    #[test]
    fn it_is_greeted_answers_and_takes_its_leave() {
        let mut server = Server::default();
        let early = ask(&mut server, "textDocument/hover", json!({}));
        assert_eq!(early["error"]["code"], -32002);
        let greeted = ask(&mut server, "initialize", json!({}));
        assert_eq!(greeted["result"]["capabilities"]["positionEncoding"], "utf-16");
        assert_eq!(ask(&mut server, "initialize", json!({}))["error"]["code"], -32600);
        assert_eq!(ask(&mut server, "shutdown", Value::Null)["result"], Value::Null);
        assert_eq!(ask(&mut server, "textDocument/hover", json!({}))["error"]["code"], -32600);
        tell(&mut server, "exit", Value::Null);
        assert_eq!(server.state, State::Gone { after_shutdown: true });
    }

    #[test]
    fn bytes_are_counted_where_the_editor_can() {
        let offered = json!({ "capabilities": { "general": { "positionEncodings": ["utf-16", "utf-8"] } } });
        let greeted = ask(&mut Server::default(), "initialize", offered);
        assert_eq!(greeted["result"]["capabilities"]["positionEncoding"], "utf-8");
    }

    #[test]
    fn nonsense_is_refused_and_the_next_question_answered() {
        let mut server = Server::default();
        let _ = ask(&mut server, "initialize", json!({ "workspaceFolders": 7, "rootUri": [] }));
        assert_eq!(ask(&mut server, "no/such/method", json!([]))["error"]["code"], -32601);
        assert_eq!(ask(&mut server, "textDocument/hover", json!("x"))["error"]["code"], -32602);
        let unknown =
            json!({ "textDocument": { "uri": "file:///x" }, "position": { "line": 0, "character": 0 } });
        let refused = ask(&mut server, "textDocument/hover", unknown);
        assert_eq!(refused["error"]["message"], "`file:///x` is not open");
        tell(&mut server, "textDocument/didOpen", json!({ "textDocument": 3 }));
        assert_eq!(server.outbox.pop().expect("it is said")["method"], "window/logMessage");
        tell(&mut server, "$/setTrace", json!({}));
        assert!(server.outbox.is_empty());
    }

    #[test]
    fn an_exit_without_a_shutdown_is_told_apart() {
        let mut server = Server::default();
        tell(&mut server, "exit", Value::Null);
        assert_eq!(server.state, State::Gone { after_shutdown: false });
    }
}
