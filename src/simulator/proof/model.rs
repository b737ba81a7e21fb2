//! The model, played over real HTTP: says and calls what it is told to, and shows what it was shown.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::catch::{Catch, Place};
use crate::simulator::tape::lock;

/// What the model does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Says this, in these tokens.
    Says(Vec<String>),
    /// Calls this tool with these arguments.
    Calls(String, String),
}

impl Reply {
    /// Says this, a token a word.
    pub fn words(words: &str) -> Self {
        Self::Says(words.split_inclusive(' ').map(str::to_owned).collect())
    }

    /// Calls this tool.
    pub fn calls(name: &str, arguments: &Value) -> Self {
        Self::Calls(name.to_owned(), arguments.to_string())
    }
}

/// What it says where it was told nothing.
const FILLER: &str = "Mm-hm, go on.";

/// A model with its replies.
#[derive(Debug, Clone)]
pub struct Model {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    /// What it answers as soon as it is shown something.
    answer: Arc<Mutex<Option<(&'static str, Reply)>>>,
    /// The last input, an item a line.
    shown: watch::Sender<String>,
    asked: Arc<Mutex<usize>>,
    catch: Catch,
}

impl Model {
    /// A model whose requests are caught.
    pub fn new(catch: Catch) -> Self {
        Self {
            replies: Arc::default(),
            answer: Arc::default(),
            shown: watch::Sender::default(),
            asked: Arc::default(),
            catch,
        }
    }

    /// The API, as far as the server uses it.
    pub fn router(self) -> Router {
        Router::new().route("/v1/responses", post(respond)).with_state(self)
    }

    /// What it does from now on; whatever it was told before is forgotten.
    pub fn will(&self, replies: impl IntoIterator<Item = Reply>) {
        *lock(&self.replies) = replies.into_iter().collect();
    }

    /// Once it is shown these words it answers this, and until then the usual.
    pub fn answers(&self, words: &'static str, answer: &str) {
        self.will([]);
        *lock(&self.answer) = Some((words, Reply::words(answer)));
    }

    /// Waits until it is shown this.
    pub async fn is_shown(&self, words: &str, limit: Duration) -> anyhow::Result<String> {
        let mut shown = self.shown.subscribe();
        let waits = shown.wait_for(|shown| shown.contains(words));
        let shown = tokio::time::timeout(limit, waits).await;
        Ok(shown.context("the model was not asked after the caller spoke")??.clone())
    }

    /// What it was last shown of the conversation, an item a line.
    pub fn shown(&self) -> String {
        self.shown.borrow().clone()
    }
}

async fn respond(State(model): State<Model>, headers: HeaderMap, body: String) -> Response {
    let request: Value = serde_json::from_str(&body).unwrap_or_default();
    model.catch.keep(Place::Model, format!("{headers:?}\n{body}"));
    let call_id = {
        let mut asked = lock(&model.asked);
        *asked += 1;
        format!("call_{asked}")
    };
    let items = request["input"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = items.iter().fold(String::new(), |mut all, item| {
        let _ = writeln!(all, "{item}");
        all
    });
    let answer = lock(&model.answer).take_if(|(words, _)| shown.contains(*words)).map(|(_, answer)| answer);
    let reply = answer.or_else(|| lock(&model.replies).pop_front()).unwrap_or_else(|| Reply::words(FILLER));
    model.shown.send_replace(shown);
    let mut events: Vec<Value> = match reply {
        Reply::Says(tokens) => {
            tokens.iter().map(|token| json!({"type": "response.output_text.delta", "delta": token})).collect()
        }
        Reply::Calls(name, arguments) => {
            let item = json!({
                "type": "function_call", "id": "fc_1", "call_id": call_id, "name": name, "arguments": arguments,
            });
            vec![json!({"type": "response.output_item.done", "item": item})]
        }
    };
    events.push(json!({"type": "response.completed", "response": {"usage": {}}}));
    let events = events.into_iter().map(|event| {
        let kind = event["type"].as_str().unwrap_or_default();
        Ok::<_, Infallible>(Bytes::from(format!("event: {kind}\ndata: {event}\n\n")))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(stream::iter(events))).into_response()
}
