//! Simulates Flowise over real HTTP: checks every request, answers with its events, and fails as configured.
//!
//! As with the real one, going away stops nothing: a prediction runs until it ends or is aborted, and its words go to
//! the last client with the same chat id.

mod events;
mod prediction;
mod request_check;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post, put};
use futures_util::stream;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::transcript::{Transcript, TranscriptEvent, lock};
use super::twilio::call_number;
use prediction::Prediction;
use request_check::PredictionQuery;

/// The flow that the stand-in has.
pub(super) const CHATFLOW_ID: &str = "5c9f8f0e-0b1d-4c6e-9a53-6a0f0e4d7b21";
/// The API key of the flow.
pub(super) const API_KEY: &str = "flowise-simulated";

/// The behaviour of Flowise.
#[derive(Debug, Clone, Default)]
pub(super) struct FlowiseBehaviour {
    /// The predictions that fail, counted from 1.
    pub faults: Vec<(RangeInclusive<usize>, FlowiseFault)>,
    /// Whether it is slow with every token.
    pub is_slow: bool,
}

/// A failure of Flowise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlowiseFault {
    /// Status 200, and an `error` after this many tokens.
    Error(usize),
    /// No response at all, as for a flow that does not exist.
    Hang,
    /// An answer without a token.
    NoWords,
    /// A JSON answer, as of a flow that does not stream.
    Json,
    /// The flow cannot be stopped, and calls its tools late.
    IgnoresAbort,
    /// The connection breaks after this many tokens; the flow runs on.
    ConnectionCut(usize),
}

/// The stand-in. Clones share its state.
#[derive(Debug, Clone)]
pub(super) struct ScriptedFlowise(Arc<FlowiseState>);

#[derive(Debug)]
struct FlowiseState {
    behaviour: FlowiseBehaviour,
    /// The address of the server, whose MCP endpoint gives the flow its tools.
    server: SocketAddr,
    pace: Pace,
    transcript: Transcript,
    memory: Mutex<FlowiseMemory>,
}

#[derive(Debug, Default)]
struct FlowiseMemory {
    request_count: usize,
    /// The chats and sessions so far.
    known_chats: HashSet<String>,
    /// The connection that gets the words of a chat.
    clients: HashMap<String, mpsc::Sender<Bytes>>,
    /// The running predictions, by chat.
    running: HashMap<String, CancellationToken>,
    /// The updates that were recorded, by call.
    known_updates: HashMap<usize, Vec<String>>,
}

/// How many blocks a connection holds before the flow waits.
const CONNECTION_BUFFER: usize = 64;

impl ScriptedFlowise {
    /// Creates the stand-in.
    pub(super) fn new(behaviour: FlowiseBehaviour, server: SocketAddr, pace: Pace, transcript: Transcript) -> Self {
        Self(Arc::new(FlowiseState { behaviour, server, pace, transcript, memory: Mutex::default() }))
    }

    /// Builds the router. A request to any other route is a violation.
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/api/v1/ping", get(|| async { "pong" }))
            .route("/api/v1/chatflows-streaming/{flow}", get(|| async { Json(json!({"isStreaming": true})) }))
            .route("/api/v1/prediction/{flow}", post(predict))
            .route("/api/v1/chatmessage/abort/{flow}/{chat}", put(abort))
            .fallback(reject_unknown_route)
            .with_state(self)
    }

    fn record_violation(&self, what: impl AsRef<str>) {
        self.0.transcript.record_violation(format!("a request to Flowise: {}", what.as_ref()));
    }

    /// Checks a request, and records what is new in it. `None` if it cannot be answered.
    fn read_query(&self, flow: &str, headers: &HeaderMap, body: &str) -> Option<(usize, PredictionQuery)> {
        self.0.transcript.record_evidence("a request to Flowise", body);
        let mut wrong = Vec::new();
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if bearer != Some(&format!("Bearer {API_KEY}")) {
            wrong.push("wrong API key".to_owned());
        }
        if flow != CHATFLOW_ID {
            wrong.push("there is no such flow".to_owned());
        }
        let query = PredictionQuery::parse(body, &mut wrong);
        let mut memory = lock(&self.0.memory);
        memory.request_count += 1;
        if let Some(query) = &query
            && !memory.known_chats.insert(query.chat_id.clone())
        {
            wrong.push("the chat was used before: words of an earlier answer would mix with this one".to_owned());
        }
        for what in &wrong {
            self.record_violation(what);
        }
        let transcript = query.as_ref().map(|query| self.transcript_of(query));
        if let (Some(query), Some(transcript)) = (&query, transcript) {
            transcript.record(TranscriptEvent::ModelRequested { over_socket: false });
            let known = memory.known_updates.entry(transcript.call_number()).or_default();
            let updates = query.updates.iter().filter(|update| !known.contains(update)).cloned().collect::<Vec<_>>();
            known.extend(updates.iter().cloned());
            for text in updates {
                transcript.record(TranscriptEvent::DeveloperMessage { text });
            }
        }
        Some((memory.request_count, query.filter(|_| flow == CHATFLOW_ID)?))
    }

    fn transcript_of(&self, query: &PredictionQuery) -> Transcript {
        self.0.transcript.for_call(query.call_sid.as_deref().and_then(call_number).unwrap_or(1))
    }
}

/// `POST /api/v1/prediction/{flow}`.
async fn predict(
    State(flowise): State<ScriptedFlowise>,
    Path(flow): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let Some((number, query)) = flowise.read_query(&flow, &headers, &body) else {
        return std::future::pending().await;
    };
    let faults = &flowise.0.behaviour.faults;
    let fault = faults.iter().find(|(on, _)| on.contains(&number)).map(|(_, fault)| *fault);
    if let Some(fault) = fault {
        flowise.transcript_of(&query).record(TranscriptEvent::ModelFailed { what: fault.to_string() });
    }
    let prediction = Prediction::new(&flowise, query, fault);
    if fault == Some(FlowiseFault::Json) {
        return Json(prediction.answer_whole().await).into_response();
    }
    let (client, blocks) = mpsc::channel(CONNECTION_BUFFER);
    prediction.start(client);
    if fault == Some(FlowiseFault::Hang) {
        // The receiver is dropped with the connection.
        let _blocks = blocks;
        return std::future::pending().await;
    }
    let blocks = stream::unfold(blocks, async |mut blocks: mpsc::Receiver<Bytes>| {
        let block = blocks.recv().await?;
        Some((Ok::<_, std::io::Error>(block), blocks))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(blocks)).into_response()
}

/// `PUT /api/v1/chatmessage/abort/{flow}/{chat}`. The response is the same for a chat that does not run.
async fn abort(State(flowise): State<ScriptedFlowise>, Path((flow, chat)): Path<(String, String)>) -> Response {
    if flow != CHATFLOW_ID {
        flowise.record_violation("a flow that does not exist is to be aborted");
    }
    if let Some(running) = lock(&flowise.0.memory).running.get(&chat) {
        running.cancel();
    }
    Json(json!({"status": 200, "message": "Chat message aborted"})).into_response()
}

async fn reject_unknown_route(State(flowise): State<ScriptedFlowise>, method: Method, uri: Uri) -> StatusCode {
    flowise.record_violation(format!("{method} {} is not supported by the simulator", uri.path()));
    StatusCode::NOT_FOUND
}

impl FlowiseBehaviour {
    /// The time between two tokens.
    fn token_pause(&self) -> Duration {
        Duration::from_millis(if self.is_slow { 400 } else { 30 })
    }
}

impl std::fmt::Display for FlowiseFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error(tokens) => write!(f, "error after {tokens} tokens, with status 200"),
            Self::Hang => f.write_str("does not answer"),
            Self::NoWords => f.write_str("answers without a word"),
            Self::IgnoresAbort => f.write_str("cannot be stopped, and calls its tools late"),
            Self::Json => f.write_str("answers in JSON"),
            Self::ConnectionCut(tokens) => write!(f, "the connection breaks after {tokens} tokens"),
        }
    }
}
