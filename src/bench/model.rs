//! The model as a load: answers each request over real HTTP with the events of the Responses API, on time, and takes the
//! time of what comes and goes.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, Utf8Bytes, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::call::{CallProbe, Probes};
use super::faults::ModelFaultKind;
use super::measure::{Measurements, Span};
use crate::config::DEFAULT_MODEL;
use crate::simulator::load::{self, ResponsesRequest, ScriptedReply};

/// The largest request: the history of a call is limited to less.
const MAX_REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// The events that wait for a socket.
const QUEUE_SIZE: usize = 256;

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

impl Chunk {
    /// The JSON of each of its events.
    fn events(&self) -> impl Iterator<Item = &str> {
        let text = std::str::from_utf8(&self.bytes).unwrap_or_default();
        text.split("\n\n").filter_map(|event| event.split_once("data: ").map(|(_, json)| json))
    }
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
            .route("/v1/responses", post(respond).layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES)).get(open_socket))
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

/// An answer to a request that has begun: its chunks come when they are due.
struct RunningAnswer {
    probe: Arc<CallProbe>,
    answer: Arc<Answer>,
    fault: Option<ModelFaultKind>,
    at: usize,
    due: Instant,
}

/// A request that is refused, or names no call.
struct Refused(StatusCode, &'static str);

impl LoadModel {
    /// Takes the time of a request, and begins its answer.
    fn begin_answer(&self, body: &str) -> Result<RunningAnswer, Refused> {
        let arrived = Instant::now();
        let Inner { probes, measured, .. } = &*self.0;
        let Some(probe) = probes.find_in(body) else {
            if probes.has_faults() && body.contains(RESUMED) {
                // The call was over for the server when its socket broke: the new session has not heard the caller yet.
                return Err(Refused(StatusCode::SERVICE_UNAVAILABLE, "server_error"));
            }
            measured.record_violation(format!("a request to the model names no call: …{}", last_characters(body, 400)));
            return Err(Refused(StatusCode::BAD_REQUEST, "invalid_request_error"));
        };
        if let Some(asked_at) = probe.take_prompt_time() {
            measured.record(Span::PromptToRequest, arrived.saturating_duration_since(asked_at));
        }
        if let Some(called_at) = probe.take_tool_time() {
            measured.record(Span::ToolTurn, arrived.saturating_duration_since(called_at));
        }
        let number = probe.count_request();
        let fault = probe.faults.model.filter(|fault| (fault.at..fault.at + fault.times).contains(&number));
        let fault = fault.map(|fault| fault.kind);
        match fault {
            Some(ModelFaultKind::ServerError) => {
                return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, "server_error"));
            }
            Some(ModelFaultKind::TooManyRequests) => {
                return Err(Refused(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"));
            }
            Some(ModelFaultKind::Stall | ModelFaultKind::Cut) | None => {}
        }
        let answer = self.answer(body, number == 0);
        Ok(RunningAnswer { probe, answer, fault, at: 0, due: Instant::now() })
    }
}

impl RunningAnswer {
    /// Waits until the next chunk is due. An error says that the connection breaks.
    async fn next(&mut self) -> Option<io::Result<&Chunk>> {
        match self.fault {
            Some(ModelFaultKind::Stall) => std::future::pending().await,
            Some(ModelFaultKind::Cut) if self.at > self.answer.chunks.len() => return None,
            Some(ModelFaultKind::Cut) if self.at * 2 >= self.answer.chunks.len() => {
                self.at = usize::MAX;
                return Some(Err(io::ErrorKind::ConnectionReset.into()));
            }
            _ => {}
        }
        let chunk = self.answer.chunks.get(self.at)?;
        self.at += 1;
        self.due += chunk.pause;
        if !chunk.pause.is_zero() {
            sleep_until(self.due).await;
        }
        if chunk.letters > 0 {
            self.probe.record_token(chunk.letters);
        }
        if self.answer.calls_tool && self.at == self.answer.chunks.len() {
            self.probe.begin_tool();
        }
        Some(Ok(chunk))
    }
}

async fn respond(State(model): State<LoadModel>, body: String) -> Response {
    let answer = match model.begin_answer(&body) {
        Ok(answer) => answer,
        Err(Refused(status, code)) => {
            let error = json!({"error": {"type": code, "code": code, "message": "refused by the benchmark"}});
            return (status, Json(error)).into_response();
        }
    };
    let chunks = stream::unfold(answer, async |mut answer| {
        let bytes = answer.next().await?.map(|chunk| chunk.bytes.clone());
        Some((bytes, answer))
    });
    ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], Body::from_stream(chunks)).into_response()
}

/// Opens a WebSocket, on which each request names a lane, and each event the lane of its request.
async fn open_socket(State(model): State<LoadModel>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(MAX_REQUEST_BYTES).max_frame_size(MAX_REQUEST_BYTES).on_upgrade(async move |mut socket| {
        let (sender, mut events) = mpsc::channel::<Message>(QUEUE_SIZE);
        loop {
            tokio::select! {
                message = socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => {
                        let Some(lane) = find_lane(&text) else {
                            model.0.measured.record_violation("a request over the WebSocket names no lane".to_owned());
                            return;
                        };
                        tokio::spawn(answer_lane(model.clone(), lane, text, sender.clone()));
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => return,
                },
                Some(event) = events.recv() => if socket.send(event).await.is_err() {
                    return;
                },
            }
        }
    })
}

/// The lane of a request: the value of its `stream_id`.
fn find_lane(request: &str) -> Option<String> {
    let (_, rest) = request.split_once(r#""stream_id":""#)?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// Answers the only request of a lane.
async fn answer_lane(model: LoadModel, lane: String, request: Utf8Bytes, events: mpsc::Sender<Message>) {
    let mut answer = match model.begin_answer(&request) {
        Ok(answer) => answer,
        Err(Refused(status, code)) => {
            let error = json!({"code": code, "message": "refused by the benchmark"});
            let event = json!({"type": "error", "status": status.as_u16(), "error": error, "stream_id": lane});
            let _ = events.send(Message::text(event.to_string())).await;
            return;
        }
    };
    while let Some(Ok(chunk)) = answer.next().await {
        for event in chunk.events() {
            let event = event.strip_suffix('}').unwrap_or(event);
            if events.send(Message::text(format!(r#"{event},"stream_id":"{lane}"}}"#))).await.is_err() {
                return;
            }
        }
    }
}
