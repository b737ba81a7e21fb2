//! A stand-in for OpenAI's Responses API over real HTTP: gives the queued replies in order.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A reply of the model.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Text, with one token per word.
    Text(&'static str),
    /// Text, in these tokens.
    Tokens(Vec<String>),
    /// A tool call: name and arguments.
    ToolCall(&'static str, &'static str),
    /// A tool call with generated name and arguments.
    OwnedToolCall(String, String),
    /// Text, after which the stream stays open without further events.
    Stall(&'static str),
    /// An error response with this HTTP status.
    Error(u16),
}

impl Reply {
    /// Converts the short forms to `Tokens` and `OwnedToolCall`.
    fn into_owned(self) -> Self {
        match self {
            Self::Text(words) | Self::Stall(words) => {
                Self::Tokens(words.split_inclusive(' ').map(str::to_owned).collect())
            }
            Self::ToolCall(name, arguments) => Self::OwnedToolCall(name.to_owned(), arguments.to_owned()),
            full => full,
        }
    }
}

/// A model with queued replies. Without one it responds with HTTP 400.
#[derive(Clone)]
pub struct OpenAi {
    pub base_url: String,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    /// The bodies of all requests.
    pub requests: Arc<Mutex<Vec<Value>>>,
    /// The number of responses that the client dropped before their end.
    dropped: watch::Sender<usize>,
}

impl OpenAi {
    pub async fn start(replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let openai = Self {
            base_url: format!("http://{}/v1", listener.local_addr().unwrap()),
            replies: Arc::default(),
            requests: Arc::default(),
            dropped: watch::Sender::new(0),
        };
        replies.iter().cloned().for_each(|reply| openai.queue(reply));
        let router = Router::new().route("/v1/responses", post(respond)).with_state(openai.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        openai
    }

    /// Queues a reply.
    pub fn queue(&self, reply: Reply) {
        self.replies.lock().unwrap().push_back(reply);
    }

    /// The input of the last request, one item per line.
    pub fn last_input(&self) -> String {
        let asked = self.requests.lock().unwrap();
        let input = asked.last().expect("the model was called")["input"].as_array().unwrap().clone();
        input.iter().map(|item| item.to_string() + "\n").collect()
    }

    /// The number of requests.
    pub fn request_count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Waits for this number of requests.
    pub async fn wait_for_requests(&self, times: usize) {
        let waits = async {
            while self.request_count() < times {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(super::TIMEOUT, waits).await.expect("the model is called");
    }

    /// Waits until a response is dropped before its end.
    pub async fn wait_for_drop(&self) {
        self.dropped.subscribe().wait_for(|count| *count > 0).await.unwrap();
    }
}

async fn respond(State(openai): State<OpenAi>, body: String) -> Response {
    openai.requests.lock().unwrap().push(serde_json::from_str(&body).unwrap());
    let reply = openai.replies.lock().unwrap().pop_front().unwrap_or(Reply::Error(400));
    let stalls = matches!(reply, Reply::Stall(_));
    let reply = reply.into_owned();
    let mut events: Vec<Value> = match reply {
        Reply::Error(status) => {
            let error = json!({"error": {"message": "no", "type": "server_error", "param": null, "code": null}});
            return (StatusCode::from_u16(status).unwrap(), axum::Json(error)).into_response();
        }
        Reply::Tokens(tokens) => {
            tokens.iter().map(|token| json!({"type": "response.output_text.delta", "delta": token})).collect()
        }
        Reply::OwnedToolCall(name, arguments) => {
            let call_id = format!("call_{}", openai.request_count());
            let item = json!({"type": "function_call", "id": "fc_1", "call_id": call_id, "name": name, "arguments": arguments});
            vec![json!({"type": "response.output_item.done", "item": item})]
        }
        short => unreachable!("{short:?} was converted"),
    };
    let mut guard = ResponseGuard { dropped: openai.dropped.clone(), finished: false };
    if !stalls {
        events.push(json!({"type": "response.completed", "response": {"usage": {}}}));
    }
    let last = events.len() - 1;
    let events = stream::iter(events.into_iter().enumerate()).map(move |(at, event)| {
        guard.set_finished(!stalls && at == last);
        let kind = event["type"].as_str().unwrap();
        Ok::<_, Infallible>(Bytes::from(format!("event: {kind}\ndata: {event}\n\n")))
    });
    let rest = stream::pending().take(if stalls { usize::MAX } else { 0 });
    ([("content-type", "text/event-stream")], Body::from_stream(events.chain(rest))).into_response()
}

/// A response in progress, dropped with the connection.
struct ResponseGuard {
    dropped: watch::Sender<usize>,
    finished: bool,
}

impl ResponseGuard {
    fn set_finished(&mut self, the_end: bool) {
        self.finished = the_end;
    }
}

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        if !self.finished {
            self.dropped.send_modify(|count| *count += 1);
        }
    }
}
