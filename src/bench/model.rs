//! The model as a load: answers each request over real HTTP with the events of the Responses API, on time, and takes the
//! time of what comes and goes.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::call::Probes;
use super::faults::ModelFaultKind;
use super::measure::{Measurements, Span};
use crate::config::DEFAULT_MODEL;
use crate::simulator::load::{self, ResponsesRequest, ScriptedReply};

/// The largest request: the history of a call is limited to less.
const MAX_REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// What the server tells the model of a call whose earlier part it does not know.
const RESUMED: &str = "going on already";

/// How the model answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelPace {
    /// From the request to the first token.
    pub(super) thinking: Duration,
    /// Between two tokens.
    pub(super) spacing: Duration,
    /// The tokens of an answer that talks.
    pub(super) tokens: usize,
}

/// What the model does in a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModelScript {
    /// Talks.
    Talk,
    /// Calls a tool that takes no time, then talks.
    ToolThenTalk,
    /// Leads through a payment, as the simulator's agent does.
    Payment,
}

/// The stand-in.
#[derive(Debug, Clone)]
pub(super) struct LoadModel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    script: ModelScript,
    pace: ModelPace,
    probes: Arc<Probes>,
    measured: Arc<Measurements>,
    /// The events of an answer that talks are the same for all.
    talk: OnceLock<Arc<Answer>>,
}

/// The chunks of a response.
#[derive(Debug)]
struct Answer {
    chunks: Vec<Chunk>,
    calls_tool: bool,
}

#[derive(Debug)]
struct Chunk {
    /// After the one before.
    pause: Duration,
    bytes: Bytes,
    /// The letters of its token.
    letters: usize,
}

impl LoadModel {
    /// Creates a model with this script and pace.
    pub(super) fn new(script: ModelScript, pace: ModelPace, probes: Arc<Probes>, measured: Arc<Measurements>) -> Self {
        Self(Arc::new(Inner { script, pace, probes, measured, talk: OnceLock::new() }))
    }

    /// Builds the router.
    pub(super) fn router(self) -> Router {
        let model = || async { Json(json!({"id": DEFAULT_MODEL, "object": "model", "shutdown_date": null})) };
        Router::new()
            .route("/v1/responses", post(respond).layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES)))
            .route("/v1/models/{model}", get(model))
            .with_state(self)
    }

    /// Decides the answer to a request of a call. The first request of a call is checked in full.
    fn answer(&self, body: &str, is_first: bool) -> Arc<Answer> {
        let Inner { script, measured, .. } = &*self.0;
        let checked = is_first || *script != ModelScript::Talk;
        let asked = if checked && !self.0.probes.is_floor() { read_request(body, measured) } else { None };
        match (script, asked) {
            (ModelScript::Payment, Some(asked)) => {
                let reply = load::decide(&asked);
                Arc::new(self.write(&asked, &reply))
            }
            (ModelScript::ToolThenTalk, Some(asked)) if !asked.ends_with_output() => {
                let arguments = json!({"enabled": true}).to_string();
                let calls = vec![("set-silence-detection".to_owned(), arguments)];
                Arc::new(self.write(&asked, &ScriptedReply { text: String::new(), calls }))
            }
            _ => self.0.talk.get_or_init(|| Arc::new(self.write(&load::long_request(), &self.talk()))).clone(),
        }
    }

    /// Words of a usual length.
    fn talk(&self) -> ScriptedReply {
        const WORDS: [&str; 12] =
            ["the", "payment", "is", "safe", "because", "your", "card", "never", "leaves", "the", "secure", "keypad"];
        let words: Vec<&str> = WORDS.iter().copied().cycle().take(self.0.pace.tokens).collect();
        ScriptedReply { text: words.join(" "), calls: Vec::new() }
    }

    /// Writes an answer as the Responses API does, every event of it.
    fn write(&self, asked: &ResponsesRequest, reply: &ScriptedReply) -> Answer {
        let mut chunks: Vec<Chunk> = Vec::new();
        for event in load::write_response(asked, reply, DEFAULT_MODEL) {
            let pause = match event.pause {
                load::Pause::None => Duration::ZERO,
                load::Pause::Thinking => self.0.pace.thinking,
                load::Pause::Token => self.0.pace.spacing,
            };
            let letters = event.delta.map_or(0, |delta| count_letters(&delta));
            match chunks.last_mut() {
                // What is due at once goes out at once, but a token is timed on its own.
                Some(last) if pause.is_zero() && (letters == 0 || last.letters == 0) => {
                    last.bytes = [&last.bytes[..], &event.bytes].concat().into();
                    last.letters += letters;
                }
                _ => chunks.push(Chunk { pause, bytes: event.bytes, letters }),
            }
        }
        Answer { chunks, calls_tool: !reply.calls.is_empty() }
    }
}

/// The letters of a text. They are counted, and not the characters, since the agent's speech may be spaced otherwise.
pub(super) fn count_letters(text: &str) -> usize {
    text.chars().filter(|char| char.is_alphanumeric()).count()
}

/// The end of a text, which shows what a request is about.
fn last_characters(text: &str, count: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(count))..]
}

fn read_request(body: &str, measured: &Measurements) -> Option<ResponsesRequest> {
    let mut wrong = Vec::new();
    let asked = ResponsesRequest::parse(body, &mut wrong);
    for what in wrong {
        measured.record_violation(format!("a request to the model: {what}"));
    }
    asked
}

async fn respond(State(model): State<LoadModel>, body: String) -> Response {
    let arrived = Instant::now();
    let Some(probe) = model.0.probes.find_in(&body) else {
        if model.0.probes.has_faults() && body.contains(RESUMED) {
            // The call was over for the server when its socket broke: the new session has not heard the caller yet.
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "server_error");
        }
        model
            .0
            .measured
            .record_violation(format!("a request to the model names no call: …{}", last_characters(&body, 400)));
        return StatusCode::BAD_REQUEST.into_response();
    };
    if let Some(asked_at) = probe.take_prompt_time() {
        model.0.measured.record(Span::PromptToRequest, arrived.saturating_duration_since(asked_at));
    }
    if let Some(called_at) = probe.take_tool_time() {
        model.0.measured.record(Span::ToolTurn, arrived.saturating_duration_since(called_at));
    }
    let number = probe.count_request();
    let fault = probe.faults.model.filter(|fault| (fault.at..fault.at + fault.times).contains(&number));
    let fault = fault.map(|fault| fault.kind);
    match fault {
        Some(ModelFaultKind::ServerError) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        Some(ModelFaultKind::TooManyRequests) => return refuse(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
        Some(ModelFaultKind::Stall | ModelFaultKind::Cut) | None => {}
    }
    let answer = model.answer(&body, number == 0);
    let began = Instant::now();
    let chunks = stream::unfold((0, began, answer), move |(at, due, answer)| {
        let probe = probe.clone();
        async move {
            match fault {
                Some(ModelFaultKind::Stall) => std::future::pending().await,
                Some(ModelFaultKind::Cut) if at > answer.chunks.len() => return None,
                Some(ModelFaultKind::Cut) if at * 2 >= answer.chunks.len() => {
                    let broken = io::Error::from(io::ErrorKind::ConnectionReset);
                    return Some((Err(broken), (usize::MAX, due, answer)));
                }
                _ => {}
            }
            let chunk = answer.chunks.get(at)?;
            let due = due + chunk.pause;
            if !chunk.pause.is_zero() {
                sleep_until(due).await;
            }
            let bytes = chunk.bytes.clone();
            if chunk.letters > 0 {
                probe.record_token(chunk.letters);
            }
            if answer.calls_tool && at + 1 == answer.chunks.len() {
                probe.begin_tool();
            }
            Some((Ok::<_, io::Error>(bytes), (at + 1, due, answer)))
        }
    });
    ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], Body::from_stream(chunks)).into_response()
}

fn refuse(status: StatusCode, code: &str) -> Response {
    (status, Json(json!({"error": {"type": code, "code": code, "message": "refused by the benchmark"}})))
        .into_response()
}
