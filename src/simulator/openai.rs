//! OpenAI's Responses API, played over real HTTP: checks every request, answers in true events, fails to order.

mod agent;
mod check;
mod events;
mod input;
mod live;
mod stream;

use std::collections::HashSet;
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::sync::watch;

pub use agent::Habits;
use check::{Asked, Issued, Ledger};
use events::{Pause, Timed};
use input::Item;
pub use live::Live;

use super::pace::Pace;
use super::tape::{Event, Tape, lock};

/// How the model behaves.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Requests that fail, counted from 1, retries included.
    pub faults: Vec<(RangeInclusive<usize>, Fault)>,
    /// Answers with reasoning items.
    pub reasons: bool,
    /// Takes its time over every token.
    pub drawls: bool,
    /// Its ways.
    pub habits: Habits,
}

/// One way in which the model fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This HTTP status; 429 asks to wait for a moment.
    Status(u16),
    /// Headers come, and then nothing.
    Stalls,
    /// The connection breaks after this many tokens.
    Cut(usize),
    /// `response.failed`.
    Fails,
    /// The stream ends politely after this many tokens, without its last event.
    Ends(usize),
}

/// The stand-in of the model.
#[derive(Debug, Clone)]
pub struct OpenAi(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    key: String,
    model: String,
    behaviour: Behaviour,
    live: Option<Live>,
    pace: Pace,
    tape: Tape,
    memory: Mutex<Memory>,
    in_flight: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Memory {
    ledger: Ledger,
    requests: usize,
    answered: HashSet<String>,
}

/// How long a dropped response may take to be noticed, on the real clock.
const NOTICE: Duration = Duration::from_secs(1);

impl OpenAi {
    /// A model that is asked for as `model` with the API key `key`; with `live`, everything is passed on to the real one.
    pub fn new(key: &str, model: &str, behaviour: Behaviour, live: Option<Live>, pace: Pace, tape: Tape) -> Self {
        Self(Arc::new(Shared {
            key: key.to_owned(),
            model: model.to_owned(),
            behaviour,
            live,
            pace,
            tape,
            memory: Mutex::default(),
            in_flight: watch::Sender::new(0),
        }))
    }

    /// The API as a router; everything else is a violation.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/responses", post(respond))
            .route("/v1/models", get(|| async { Json(json!({"object": "list", "data": []})) }))
            .fallback(nothing_there)
            .with_state(self)
    }

    fn violation(&self, what: impl AsRef<str>) {
        self.0.tape.violation(format!("a request to the model: {}", what.as_ref()));
    }

    /// Reads a request, and tells the tape what is new in it.
    fn read(&self, body: &str) -> (usize, Option<Asked>) {
        let mut memory = lock(&self.0.memory);
        memory.requests += 1;
        let number = memory.requests;
        let mut wrong = Vec::new();
        let mut before = memory.ledger.previous_developer_texts();
        let asked = memory.ledger.read(body, &self.0.model, &mut wrong);
        for what in &wrong {
            self.violation(what);
        }
        self.0.tape.write(Event::Asked);
        for item in asked.iter().flat_map(|asked| &asked.input) {
            match item {
                Item::Output { call_id, output } if memory.answered.insert(call_id.clone()) => {
                    let name = memory.ledger.name_of(call_id).unwrap_or("?").to_owned();
                    self.0.tape.write(Event::ToolAnswered { name, output: output.clone() });
                }
                Item::Developer(text) => match before.iter().position(|it| it == text) {
                    Some(known) => drop(before.swap_remove(known)),
                    None => self.0.tape.write(Event::Update { text: text.clone() }),
                },
                _ => {}
            }
        }
        (number, asked)
    }

    /// One response at a time: a second request may only follow when the first is done or dropped.
    async fn wait_for_the_last_one(&self) {
        let mut in_flight = self.0.in_flight.subscribe();
        let none = in_flight.wait_for(|count| *count == 0);
        if tokio::time::timeout(NOTICE, none).await.is_err() {
            self.violation("it was sent while another response was on its way");
        }
    }

    fn script(&self, asked: &Asked, number: usize, fault: Option<Fault>) -> Vec<Timed> {
        let behaviour = &self.0.behaviour;
        let reply = agent::decide(&asked.input, &asked.names, behaviour.habits);
        let script = events::script(asked, &reply, &self.0.model, number, behaviour.reasons);
        let mut events = script.events;
        match fault {
            Some(Fault::Stalls) => events.clear(),
            Some(Fault::Cut(tokens) | Fault::Ends(tokens)) => {
                let deltas = events.iter().enumerate().filter(|(_, it)| it.pause == Pause::Token).map(|(at, _)| at);
                let end = deltas.skip(tokens).chain([events.len() - 1]).next();
                events.truncate(end.unwrap_or(2));
            }
            Some(Fault::Fails) => {
                events.truncate(2);
                events.push(Timed { pause: Pause::Thinking, event: events::failed(asked, &self.0.model, number, 2) });
            }
            Some(Fault::Status(_)) | None => {}
        }
        let mut memory = lock(&self.0.memory);
        for (call_id, issued) in script.calls {
            memory.ledger.issue(&call_id, issued);
        }
        events
    }

    /// Tells the tape of a finished item, and notes the calls that were made.
    fn tell(&self, item: &Value) {
        let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        match item["type"].as_str() {
            Some("function_call") => {
                let issued = Issued { name: text("name"), arguments: text("arguments"), reasoning: None };
                lock(&self.0.memory).ledger.issue_unknown(&text("call_id"), issued);
                self.0.tape.write(Event::ToolCalled { name: text("name"), arguments: text("arguments") });
            }
            Some("message") => {
                let text = item["content"][0]["text"].as_str().unwrap_or_default().to_owned();
                self.0.tape.write(Event::ModelSaid { text });
            }
            _ => {}
        }
    }
}

async fn respond(State(openai): State<OpenAi>, headers: HeaderMap, body: String) -> Response {
    openai.0.tape.keep("a request to the model", body.clone());
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if bearer != Some(&format!("Bearer {}", openai.0.key)) {
        openai.violation("wrong API key");
        return refuse(401, "invalid_api_key");
    }
    let (number, asked) = openai.read(&body);
    openai.wait_for_the_last_one().await;
    let Some(asked) = asked else { return refuse(400, "invalid_request_error") };
    if let Some(live) = &openai.0.live {
        return live.respond(&openai, body).await;
    }
    let fault = openai.0.behaviour.faults.iter().find(|(on, _)| on.contains(&number)).map(|(_, fault)| *fault);
    if let Some(fault) = fault {
        openai.0.tape.write(Event::ModelFault { what: fault.to_string() });
    }
    if let Some(Fault::Status(status)) = fault {
        return refuse(status, if status == 429 { "rate_limit_exceeded" } else { "server_error" });
    }
    let events = openai.script(&asked, number, fault);
    event_stream(stream::scripted(&openai, events, fault))
}

fn event_stream(events: impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], Body::from_stream(events)).into_response()
}

async fn nothing_there(State(openai): State<OpenAi>, method: Method, uri: Uri) -> Response {
    // A HEAD only warms up a connection.
    if method != Method::HEAD {
        openai.violation(format!("{method} {} is not played here", uri.path()));
    }
    refuse(404, "not_found")
}

fn refuse(status: u16, code: &str) -> Response {
    let body = json!({"error": {"message": "refused by the simulator", "type": code, "param": null, "code": code}});
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert("retry-after-ms", header::HeaderValue::from_static("120"));
    }
    response
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "answers {status}"),
            Self::Stalls => f.write_str("says nothing"),
            Self::Cut(tokens) => write!(f, "the connection breaks after {tokens} tokens"),
            Self::Fails => f.write_str("response.failed"),
            Self::Ends(tokens) => write!(f, "the stream ends after {tokens} tokens"),
        }
    }
}
