//! A stand-in for the Responses API over real HTTP: gives the replies that a case sets, and records its input.

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

use super::capture::{OutputCapture, OutputChannel};
use crate::simulator::transcript::lock;

/// A reply of the model.
#[derive(Debug, Clone)]
pub enum ModelReply {
    /// Text, in these tokens.
    Text(Vec<String>),
    /// A tool call: name and arguments.
    ToolCall(String, String),
}

impl ModelReply {
    /// A text reply with one token per word.
    pub fn from_words(words: &str) -> Self {
        Self::Text(words.split_inclusive(' ').map(str::to_owned).collect())
    }

    /// A tool call with JSON arguments.
    pub fn tool_call(name: &str, arguments: &Value) -> Self {
        Self::ToolCall(name.to_owned(), arguments.to_string())
    }
}

/// The reply when none is queued.
const DEFAULT_REPLY: &str = "Mm-hm, go on.";

/// The model stand-in. Clones share their state.
#[derive(Debug, Clone)]
pub struct ModelStandIn {
    queued_replies: Arc<Mutex<VecDeque<ModelReply>>>,
    /// The reply to the first input that contains a text.
    triggered_reply: Arc<Mutex<Option<(&'static str, ModelReply)>>>,
    /// The last input, one item per line.
    last_input: watch::Sender<String>,
    request_count: Arc<Mutex<usize>>,
    capture: OutputCapture,
}

impl ModelStandIn {
    /// Creates a model that records its requests in `capture`.
    pub fn new(capture: OutputCapture) -> Self {
        Self {
            queued_replies: Arc::default(),
            triggered_reply: Arc::default(),
            last_input: watch::Sender::default(),
            request_count: Arc::default(),
            capture,
        }
    }

    /// The routes of the API that the server uses.
    pub fn router(self) -> Router {
        Router::new().route("/v1/responses", post(respond)).with_state(self)
    }

    /// Replaces the queued replies.
    pub fn set_replies(&self, replies: impl IntoIterator<Item = ModelReply>) {
        *lock(&self.queued_replies) = replies.into_iter().collect();
    }

    /// Clears the queue and replies with `answer` once an input contains `words`.
    pub fn reply_when_shown(&self, words: &'static str, answer: &str) {
        self.set_replies([]);
        *lock(&self.triggered_reply) = Some((words, ModelReply::from_words(answer)));
    }

    /// Waits for an input that contains `words`, and returns it.
    pub async fn wait_for_input(&self, words: &str, limit: Duration) -> anyhow::Result<String> {
        let mut shown = self.last_input.subscribe();
        let waits = shown.wait_for(|shown| shown.contains(words));
        let shown = tokio::time::timeout(limit, waits).await;
        Ok(shown.context("the model was not called after the caller spoke")??.clone())
    }

    /// The last input, one item per line.
    pub fn last_input(&self) -> String {
        self.last_input.borrow().clone()
    }
}

async fn respond(State(model): State<ModelStandIn>, headers: HeaderMap, body: String) -> Response {
    let request: Value = serde_json::from_str(&body).unwrap_or_default();
    model.capture.record(OutputChannel::Model, format!("{headers:?}\n{body}"));
    let call_id = {
        let mut count = lock(&model.request_count);
        *count += 1;
        format!("call_{count}")
    };
    let items = request["input"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = items.iter().fold(String::new(), |mut all, item| {
        let _ = writeln!(all, "{item}");
        all
    });
    let answer = lock(&model.triggered_reply).take_if(|(words, _)| shown.contains(*words)).map(|(_, answer)| answer);
    let reply = answer
        .or_else(|| lock(&model.queued_replies).pop_front())
        .unwrap_or_else(|| ModelReply::from_words(DEFAULT_REPLY));
    model.last_input.send_replace(shown);
    let mut events: Vec<Value> = match reply {
        ModelReply::Text(tokens) => {
            tokens.iter().map(|token| json!({"type": "response.output_text.delta", "delta": token})).collect()
        }
        ModelReply::ToolCall(name, arguments) => {
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
