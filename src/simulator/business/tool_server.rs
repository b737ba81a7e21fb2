//! Simulates a server of tools by the Model Context Protocol. It is strict: it takes signed requests with the headers of
//! the protocol only, and each within the current session.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::check_signature;
use crate::simulator::transcript::lock;

/// The path of the server.
const PATH: &str = "/mcp";

/// A server of tools. Clones share its state.
#[derive(Debug, Clone)]
pub struct ScriptedToolServer(Arc<ToolServerState>);

#[derive(Debug)]
struct ToolServerState {
    secret: &'static str,
    /// Whether responses are event streams.
    streams: bool,
    tools: Mutex<Vec<Value>>,
    /// The result of each call of a tool, or the JSON-RPC error.
    result: Mutex<Result<Value, Value>>,
    /// The number of the current session.
    session: AtomicUsize,
    /// Whether the next response is preceded by the notification that the list has changed.
    announces_change: AtomicBool,
    /// The messages that were accepted.
    messages: Mutex<Vec<Value>>,
}

impl ScriptedToolServer {
    /// Creates a server that lists these tools and answers every call with this result. `secret` is that of the
    /// signatures.
    pub fn new(secret: &'static str, streams: bool, tools: &[Value], result: Value) -> Self {
        Self(Arc::new(ToolServerState {
            secret,
            streams,
            tools: Mutex::new(tools.to_vec()),
            result: Mutex::new(Ok(result)),
            session: AtomicUsize::new(0),
            announces_change: AtomicBool::new(false),
            messages: Mutex::default(),
        }))
    }

    /// Builds the router.
    pub fn router(&self) -> Router {
        Router::new().route(PATH, post(handle_message)).with_state(self.clone())
    }

    /// Replaces the tools. The next response announces that.
    pub fn change_tools(&self, tools: &[Value]) {
        *lock(&self.0.tools) = tools.to_vec();
        self.0.announces_change.store(true, Ordering::Relaxed);
    }

    /// Replaces the result of calls.
    pub fn set_result(&self, result: Value) {
        *lock(&self.0.result) = Ok(result);
    }

    /// Answers further calls with a JSON-RPC error of this text.
    pub fn set_error(&self, message: &str) {
        *lock(&self.0.result) = Err(json!({"code": -32000, "message": message}));
    }

    /// Forgets the session.
    pub fn end_session(&self) {
        self.0.session.fetch_add(1, Ordering::Relaxed);
    }

    /// The accepted messages with this method.
    pub fn messages(&self, method: &str) -> Vec<Value> {
        lock(&self.0.messages).iter().filter(|message| message["method"] == method).cloned().collect()
    }

    fn session_id(&self) -> String {
        format!("session-{}", self.0.session.load(Ordering::Relaxed))
    }

    fn respond(&self, message: &Value) -> Result<Value, Value> {
        match message["method"].as_str().unwrap_or_default() {
            "initialize" => Ok(json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {"listChanged": true}},
                "serverInfo": {"name": "simulated", "version": "1"},
            })),
            // One tool a page.
            "tools/list" => {
                let at = message["params"]["cursor"].as_str().and_then(|cursor| cursor.parse().ok()).unwrap_or(0_usize);
                let tools = lock(&self.0.tools);
                let page: Vec<&Value> = tools.iter().skip(at).take(1).collect();
                let next = (at + 1 < tools.len()).then(|| (at + 1).to_string());
                Ok(json!({"tools": page, "nextCursor": next}))
            }
            "tools/call" => lock(&self.0.result).clone(),
            _ => Err(json!({"code": -32601, "message": "Method not found"})),
        }
    }

    fn to_response(&self, message: &Value) -> Response {
        let response = match self.respond(message) {
            Ok(result) => json!({"jsonrpc": "2.0", "id": message["id"], "result": result}),
            Err(error) => json!({"jsonrpc": "2.0", "id": message["id"], "error": error}),
        };
        if !self.0.streams {
            return ([(header::CONTENT_TYPE, "application/json")], response.to_string()).into_response();
        }
        let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
        let changed = Some(changed).filter(|_| self.0.announces_change.swap(false, Ordering::Relaxed));
        let events = changed.into_iter().chain([response]);
        let events: Vec<String> = events.map(|event| format!("event: message\ndata: {event}\n\n")).collect();
        let body = format!(": this stream has one response\n\n{}", events.concat());
        ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], body).into_response()
    }
}

async fn handle_message(State(server): State<ScriptedToolServer>, headers: HeaderMap, body: String) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if check_signature(server.0.secret, &headers, body.as_bytes()).is_err() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let accepted = text("accept");
    if !(accepted.contains("application/json") && accepted.contains("text/event-stream")) {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    let Ok(message) = serde_json::from_str::<Value>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    if message["method"] == "initialize" {
        server.end_session();
    } else if text("mcp-session-id") != server.session_id() {
        return StatusCode::NOT_FOUND.into_response();
    } else if text("mcp-protocol-version").is_empty() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    lock(&server.0.messages).push(message.clone());
    if message["id"].is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    let mut response = server.to_response(&message);
    if message["method"] == "initialize"
        && let Ok(id) = server.session_id().parse()
    {
        response.headers_mut().insert("mcp-session-id", id);
    }
    response
}
