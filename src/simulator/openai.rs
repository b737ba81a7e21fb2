//! OpenAI's Responses API, played over real HTTP: checks every request, answers in true events, fails to order.

mod agent;
mod check;
mod events;
mod input;
mod live;
mod stream;

use std::collections::{HashMap, HashSet};
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

use super::business::LINE;
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

/// The stand-in of the model, as it is in one conversation.
#[derive(Debug, Clone)]
pub struct OpenAi {
    shared: Arc<Shared>,
    talk: Arc<Talk>,
}

#[derive(Debug)]
struct Shared {
    key: String,
    model: String,
    behaviour: Behaviour,
    live: Option<Live>,
    pace: Pace,
    /// The conversations, by the number of their call.
    talks: Mutex<HashMap<usize, Arc<Talk>>>,
}

/// A conversation.
#[derive(Debug)]
struct Talk {
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
        let (key, model, talk) = (key.to_owned(), model.to_owned(), Arc::new(Talk::new(tape)));
        let talks = Mutex::new(HashMap::from([(1, talk.clone())]));
        Self { shared: Arc::new(Shared { key, model, behaviour, live, pace, talks }), talk }
    }

    /// The conversation that a request belongs to: the business says in the call's details which call it is.
    fn in_talk(&self, body: &str) -> Self {
        let line = call_in(body).unwrap_or(1);
        let mut talks = lock(&self.shared.talks);
        let talk = talks.entry(line).or_insert_with(|| Arc::new(Talk::new(self.talk.tape.on(line)))).clone();
        Self { shared: self.shared.clone(), talk }
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
        self.talk.tape.violation(format!("a request to the model: {}", what.as_ref()));
    }

    /// Reads a request, and tells the tape what is new in it.
    fn read(&self, body: &str) -> (usize, Option<Asked>) {
        let mut memory = lock(&self.talk.memory);
        memory.requests += 1;
        let number = memory.requests;
        let mut wrong = Vec::new();
        let mut before = memory.ledger.previous_developer_texts();
        let asked = memory.ledger.read(body, &self.shared.model, &mut wrong);
        for what in &wrong {
            self.violation(what);
        }
        self.talk.tape.write(Event::Asked);
        for item in asked.iter().flat_map(|asked| &asked.input) {
            match item {
                Item::Output { call_id, output } if memory.answered.insert(call_id.clone()) => {
                    let name = memory.ledger.name_of(call_id).unwrap_or("?").to_owned();
                    self.talk.tape.write(Event::ToolAnswered { name, output: output.clone() });
                }
                Item::Developer(text) => match before.iter().position(|it| it == text) {
                    Some(known) => drop(before.swap_remove(known)),
                    None => self.talk.tape.write(Event::Update { text: text.clone() }),
                },
                _ => {}
            }
        }
        (number, asked)
    }

    /// One response at a time: a second request may only follow when the first is done or dropped.
    async fn wait_for_the_last_one(&self) {
        let mut in_flight = self.talk.in_flight.subscribe();
        let none = in_flight.wait_for(|count| *count == 0);
        if tokio::time::timeout(NOTICE, none).await.is_err() {
            self.violation("it was sent while another response was on its way");
        }
    }

    fn script(&self, asked: &Asked, number: usize, fault: Option<Fault>) -> Vec<Timed> {
        let behaviour = &self.shared.behaviour;
        let reply = agent::decide(&asked.input, &asked.names, behaviour.habits);
        let script = events::script(asked, &reply, &self.shared.model, number, behaviour.reasons);
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
                events.push(Timed {
                    pause: Pause::Thinking,
                    event: events::failed(asked, &self.shared.model, number, 2),
                });
            }
            Some(Fault::Status(_)) | None => {}
        }
        let mut memory = lock(&self.talk.memory);
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
                lock(&self.talk.memory).ledger.issue_unknown(&text("call_id"), issued);
                self.talk.tape.write(Event::ToolCalled { name: text("name"), arguments: text("arguments") });
            }
            Some("message") => {
                let text = item["content"][0]["text"].as_str().unwrap_or_default().to_owned();
                self.talk.tape.write(Event::ModelSaid { text });
            }
            _ => {}
        }
    }
}

impl Talk {
    fn new(tape: Tape) -> Self {
        Self { tape, memory: Mutex::default(), in_flight: watch::Sender::new(0) }
    }
}

/// The number of the call in its details, which are the first item of the input.
fn call_in(body: &str) -> Option<usize> {
    let request: Value = serde_json::from_str(body).ok()?;
    let details = request["input"][0]["content"].as_str()?;
    let (_, number) = details.split_once(&format!("\"{LINE}\":\""))?;
    number.split('"').next()?.parse().ok()
}

async fn respond(State(openai): State<OpenAi>, headers: HeaderMap, body: String) -> Response {
    let openai = openai.in_talk(&body);
    openai.talk.tape.keep("a request to the model", body.clone());
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if bearer != Some(&format!("Bearer {}", openai.shared.key)) {
        openai.violation("wrong API key");
        return refuse(401, "invalid_api_key");
    }
    let (number, asked) = openai.read(&body);
    openai.wait_for_the_last_one().await;
    let Some(asked) = asked else { return refuse(400, "invalid_request_error") };
    if let Some(live) = &openai.shared.live {
        return live.respond(&openai, body).await;
    }
    let fault = openai.shared.behaviour.faults.iter().find(|(on, _)| on.contains(&number)).map(|(_, fault)| *fault);
    if let Some(fault) = fault {
        openai.talk.tape.write(Event::ModelFault { what: fault.to_string() });
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
