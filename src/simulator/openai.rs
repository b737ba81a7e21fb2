//! Simulates OpenAI's Responses API over real HTTP: checks every request, answers with its events, and fails as
//! configured.

mod agent;
mod deviation;
mod events;
mod input;
mod live;
pub(super) mod over_mcp;
mod over_socket;
mod queued;
mod request_check;
mod stream;

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;

pub(crate) use agent::{AgentHabits, ScriptedReply, decide};
pub(super) use deviation::ServerDeviation;
pub(crate) use events::{Pause, TimedEvent, to_server_sent, write_response};
pub(super) use input::ModelInputItem;
pub(super) use live::LiveOpenAi;
pub(super) use over_mcp::ToolsOverMcp;
pub use queued::{ModelReply, QueuedOpenAi};
pub(crate) use request_check::ResponsesRequest;
use request_check::{IssuedCall, RequestChecker};

use super::business::CALL_NUMBER_PARAMETER;
use super::pace::Pace;
use super::transcript::{Transcript, TranscriptEvent, lock};

/// The behaviour of the model.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelBehaviour {
    /// The requests that fail, counted from 1 and including retries.
    pub faults: Vec<(RangeInclusive<usize>, ModelFault)>,
    /// Whether it answers with reasoning items.
    pub uses_reasoning: bool,
    /// Whether it is slow with every token.
    pub is_slow: bool,
    /// The habits of the agent.
    pub habits: AgentHabits,
    /// What its server does otherwise than OpenAI's.
    pub deviation: Option<ServerDeviation>,
    /// The status with which its server refuses WebSockets.
    pub socket_refusal: Option<u16>,
    /// Whether the model is a flow that calls its tools over MCP within its answer, and only speaks to the server.
    pub calls_tools_over_mcp: bool,
}

/// A failure of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModelFault {
    /// This HTTP status; 429 has `retry-after-ms`.
    Status(u16),
    /// This code in an error with the status 400. Over a WebSocket it is an event, nested or flat.
    Error {
        /// The code.
        code: &'static str,
        /// Whether the event has the error as an object.
        is_nested: bool,
    },
    /// Headers, and then no event.
    Stall,
    /// The connection breaks before the first event.
    ConnectionLost,
    /// The connection breaks after this many tokens.
    ConnectionCut(usize),
    /// `response.failed`.
    ResponseFailed,
    /// The stream ends normally after this many tokens, without its last event.
    StreamEndsEarly(usize),
}

/// The scripted model in one conversation.
#[derive(Debug, Clone)]
pub(super) struct ScriptedOpenAi {
    shared: Arc<SharedOpenAi>,
    conversation: Arc<ScriptedConversation>,
    tools: Option<ToolsOverMcp>,
}

#[derive(Debug)]
struct SharedOpenAi {
    api_key: String,
    model: String,
    behaviour: ModelBehaviour,
    live: Option<LiveOpenAi>,
    pace: Pace,
    /// The conversations, by the number of their call.
    conversations: Mutex<HashMap<usize, Arc<ScriptedConversation>>>,
}

/// The conversation of one call.
#[derive(Debug)]
struct ScriptedConversation {
    transcript: Transcript,
    state: Mutex<ConversationState>,
    in_flight: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct ConversationState {
    checker: RequestChecker,
    request_count: usize,
    answered_calls: HashSet<String>,
}

/// How long a dropped response may take to be detected, on the real clock.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

impl ScriptedOpenAi {
    /// Creates a model with this name and API key. With `live`, requests are forwarded to the real API.
    pub(super) fn new(
        key: &str,
        model: &str,
        behaviour: ModelBehaviour,
        live: Option<LiveOpenAi>,
        pace: Pace,
        transcript: Transcript,
    ) -> Self {
        let (key, model, talk) = (key.to_owned(), model.to_owned(), Arc::new(ScriptedConversation::new(transcript)));
        let talks = Mutex::new(HashMap::from([(1, talk.clone())]));
        Self {
            shared: Arc::new(SharedOpenAi { api_key: key, model, behaviour, live, pace, conversations: talks }),
            conversation: talk,
            tools: None,
        }
    }

    /// Lets the agent call tools over MCP, if that is its behaviour.
    pub(super) fn with_tools_over_mcp(self, tools: ToolsOverMcp) -> Self {
        Self { tools: self.shared.behaviour.calls_tools_over_mcp.then_some(tools), ..self }
    }

    /// Returns the conversation of a request. The call's details have the number of the call.
    fn for_conversation(&self, body: &str) -> Self {
        let line = call_number_in(body).unwrap_or(1);
        let mut talks = lock(&self.shared.conversations);
        let talk = talks
            .entry(line)
            .or_insert_with(|| Arc::new(ScriptedConversation::new(self.conversation.transcript.for_call(line))))
            .clone();
        Self { shared: self.shared.clone(), conversation: talk, tools: self.tools.clone() }
    }

    /// Builds the router. A request to any other route is a violation.
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/v1/responses", post(respond).get(over_socket::open_socket))
            .route("/v1/models/{model}", get(describe_model))
            .route("/v1/models", get(|| async { Json(json!({"object": "list", "data": []})) }))
            .fallback(reject_unknown_route)
            .with_state(self)
    }

    fn record_violation(&self, what: impl AsRef<str>) {
        self.conversation.transcript.record_violation(format!("a request to the model: {}", what.as_ref()));
    }

    /// Parses and checks a request, and records what is new in it.
    fn read_request(&self, body: &str, over_socket: bool) -> (usize, Option<ResponsesRequest>) {
        let mut memory = lock(&self.conversation.state);
        memory.request_count += 1;
        let number = memory.request_count;
        let mut wrong = Vec::new();
        let mut before = memory.checker.previous_developer_texts();
        let asked = memory.checker.check_request(body, &self.shared.model, &mut wrong);
        for what in &wrong {
            self.record_violation(what);
        }
        self.conversation.transcript.record(TranscriptEvent::ModelRequested { over_socket });
        for item in asked.iter().flat_map(|asked| &asked.input) {
            match item {
                ModelInputItem::Output { call_id, output } if memory.answered_calls.insert(call_id.clone()) => {
                    let name = memory.checker.tool_of(call_id).unwrap_or("?").to_owned();
                    self.conversation.transcript.record(TranscriptEvent::ToolReturned { name, output: output.clone() });
                }
                ModelInputItem::Developer(text) => match before.iter().position(|it| it == text) {
                    Some(known) => drop(before.swap_remove(known)),
                    None => {
                        self.conversation.transcript.record(TranscriptEvent::DeveloperMessage { text: text.clone() });
                    }
                },
                _ => {}
            }
        }
        (number, asked)
    }

    /// Waits for the previous response to end. A request during another response is a violation.
    async fn wait_for_previous_response(&self) {
        let mut in_flight = self.conversation.in_flight.subscribe();
        let none = in_flight.wait_for(|count| *count == 0);
        if tokio::time::timeout(DROP_TIMEOUT, none).await.is_err() {
            self.record_violation("it was sent while another response was in progress");
        }
    }

    /// Whether the request has the right key.
    fn has_key(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        bearer == Some(&format!("Bearer {}", self.shared.api_key))
    }

    /// Answers the request with this number: the events of the response, or the error of one that is refused.
    async fn answer(
        &self,
        number: usize,
        asked: &ResponsesRequest,
    ) -> Result<(Vec<TimedEvent>, Option<ModelFault>), (RefusedRequest, Option<ModelFault>)> {
        let failed = |what: String| self.conversation.transcript.record(TranscriptEvent::ModelFailed { what });
        let behaviour = &self.shared.behaviour;
        let fault = behaviour.faults.iter().find(|(on, _)| on.contains(&number)).map(|(_, fault)| *fault);
        if let Some(fault) = fault {
            failed(fault.to_string());
        }
        match fault {
            Some(ModelFault::Status(429)) => return Err((RefusedRequest::new(429, "rate_limit_exceeded"), fault)),
            Some(ModelFault::Status(status)) => return Err((RefusedRequest::new(status, "server_error"), fault)),
            Some(ModelFault::Error { code, .. }) => return Err((RefusedRequest::new(400, code), fault)),
            _ => {}
        }
        if let Some(refusal) = behaviour.deviation.and_then(|deviation| deviation.refuse(&asked.input)) {
            failed("refuses the input".to_owned());
            return Err((refusal, None));
        }
        let reply = self.decide(asked).await;
        Ok((self.script_response(asked, &reply, number, fault), fault))
    }

    /// Decides the reply to a request. A flow calls its tools meanwhile.
    async fn decide(&self, asked: &ResponsesRequest) -> ScriptedReply {
        match &self.tools {
            Some(tools) => tools.answer(self, asked).await,
            None => agent::decide(&asked.input, &asked.tool_names, self.shared.behaviour.habits),
        }
    }

    fn script_response(
        &self,
        asked: &ResponsesRequest,
        reply: &ScriptedReply,
        number: usize,
        fault: Option<ModelFault>,
    ) -> Vec<TimedEvent> {
        let behaviour = &self.shared.behaviour;
        let script = events::write_response(asked, reply, &self.shared.model, number, behaviour.uses_reasoning);
        let mut events = script.events;
        match fault {
            Some(ModelFault::Stall | ModelFault::ConnectionLost) => events.clear(),
            Some(ModelFault::ConnectionCut(tokens) | ModelFault::StreamEndsEarly(tokens)) => {
                let deltas = events.iter().enumerate().filter(|(_, it)| it.pause == Pause::Token).map(|(at, _)| at);
                let end = deltas.skip(tokens).chain([events.len() - 1]).next();
                events.truncate(end.unwrap_or(2));
            }
            Some(ModelFault::ResponseFailed) => {
                events.truncate(2);
                events.push(TimedEvent {
                    pause: Pause::Thinking,
                    event: events::failed_event(asked, &self.shared.model, number, 2),
                });
            }
            Some(ModelFault::Status(_) | ModelFault::Error { .. }) | None => {}
        }
        if let Some(deviation) = behaviour.deviation {
            deviation.change(&mut events);
        }
        let mut memory = lock(&self.conversation.state);
        for (call_id, issued) in script.calls {
            memory.checker.record_call(&call_id, issued);
        }
        events
    }

    /// Records a finished item, and keeps its tool call.
    fn record_item(&self, item: &Value) {
        let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        match item["type"].as_str() {
            Some("function_call") => {
                let issued = IssuedCall { name: text("name"), arguments: text("arguments"), reasoning: None };
                lock(&self.conversation.state).checker.record_call_if_new(&text("call_id"), issued);
                self.conversation
                    .transcript
                    .record(TranscriptEvent::ToolCalled { name: text("name"), arguments: text("arguments") });
            }
            Some("message") => {
                let text = item["content"][0]["text"].as_str().unwrap_or_default().to_owned();
                self.conversation.transcript.record(TranscriptEvent::ModelSaid { text });
            }
            _ => {}
        }
    }
}

impl ScriptedConversation {
    fn new(transcript: Transcript) -> Self {
        Self { transcript, state: Mutex::default(), in_flight: watch::Sender::new(0) }
    }
}

/// Parses the number of the call from its details, which are the first item of the input.
fn call_number_in(body: &str) -> Option<usize> {
    let request: Value = serde_json::from_str(body).ok()?;
    let details = request["input"][0]["content"].as_str()?;
    let (_, number) = details.split_once(&format!("\"{CALL_NUMBER_PARAMETER}\":\""))?;
    number.split('"').next()?.parse().ok()
}

async fn respond(State(openai): State<ScriptedOpenAi>, headers: HeaderMap, body: String) -> Response {
    let openai = openai.for_conversation(&body);
    openai.conversation.transcript.record_evidence("a request to the model", body.clone());
    if !openai.has_key(&headers) {
        openai.record_violation("wrong API key");
        return error_response(401, "invalid_api_key");
    }
    let (number, asked) = openai.read_request(&body, false);
    openai.wait_for_previous_response().await;
    let Some(asked) = asked else { return error_response(400, "invalid_request_error") };
    if let Some(live) = &openai.shared.live {
        return live.forward(&openai, body).await;
    }
    let (events, fault) = match openai.answer(number, &asked).await {
        Ok(answer) => answer,
        Err((refusal, _)) => return refusal.into_response(),
    };
    let begins_with_mark = openai.shared.behaviour.deviation == Some(ServerDeviation::ByteOrderMark);
    let mark = begins_with_mark.then(|| Ok(Bytes::from_static("\u{feff}".as_bytes())));
    event_stream(futures_util::stream::iter(mark).chain(stream::stream_events(&openai, events, fault)))
}

fn event_stream(events: impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], Body::from_stream(events)).into_response()
}

async fn describe_model(Path(model): Path<String>) -> Json<Value> {
    Json(json!({"id": model, "object": "model", "created": 0, "owned_by": "system", "shutdown_date": null}))
}

async fn reject_unknown_route(State(openai): State<ScriptedOpenAi>, method: Method, uri: Uri) -> Response {
    // A HEAD request only opens a connection in advance.
    if method != Method::HEAD {
        openai.record_violation(format!("{method} {} is not supported by the simulator", uri.path()));
    }
    error_response(404, "not_found")
}

/// Refuses a malformed request.
fn invalid_request(what: &str) -> Response {
    let error = json!({"message": what, "type": "invalid_request_error", "param": null, "code": null});
    (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
}

fn error_response(status: u16, code: &str) -> Response {
    RefusedRequest::new(status, code).into_response()
}

/// How long a client that was refused with status 429 is to wait, in milliseconds.
const RETRY_AFTER_MS: &str = "120";

/// The error of a request that is refused.
#[derive(Debug)]
struct RefusedRequest {
    status: u16,
    /// The error object.
    error: Value,
}

impl RefusedRequest {
    fn new(status: u16, code: &str) -> Self {
        let error = json!({"message": "refused by the simulator", "type": code, "param": null, "code": code});
        Self { status, error }
    }
}

impl IntoResponse for RefusedRequest {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(json!({"error": self.error}))).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert("retry-after-ms", header::HeaderValue::from_static(RETRY_AFTER_MS));
        }
        response
    }
}

impl std::fmt::Display for ModelFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "answers {status}"),
            Self::Error { code, is_nested } => {
                write!(f, "answers {code}{}", if *is_nested { "" } else { ", in a flat event" })
            }
            Self::Stall => f.write_str("says nothing"),
            Self::ConnectionLost => f.write_str("the connection breaks before the first event"),
            Self::ConnectionCut(tokens) => write!(f, "the connection breaks after {tokens} tokens"),
            Self::ResponseFailed => f.write_str("response.failed"),
            Self::StreamEndsEarly(tokens) => write!(f, "the stream ends after {tokens} tokens"),
        }
    }
}
