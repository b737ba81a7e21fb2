//! A model that gives queued replies instead of deciding them itself, for the proof and the tests.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::sync::watch;

use super::events::{self, Pause};
use super::request_check::ResponsesRequest;
use super::{error_response, event_stream, invalid_request};
use crate::simulator::local_server::LocalServer;
use crate::simulator::transcript::lock;

/// A reply of the model.
#[derive(Debug, Clone)]
pub enum ModelReply {
    /// Text, with one token per word.
    Text(Cow<'static, str>),
    /// Text, in these tokens.
    Tokens(Vec<String>),
    /// A tool call: name and arguments.
    ToolCall(Cow<'static, str>, Cow<'static, str>),
    /// Text, after which the stream stays open without further events.
    Stall(&'static str),
    /// An error response with this HTTP status.
    Error(u16),
}

/// How long the methods that wait do so.
const TIMEOUT: Duration = Duration::from_secs(30);

/// OpenAI's Responses API with queued replies. It refuses a malformed request with status 400. Clones share its state;
/// it takes no requests once all are dropped.
#[derive(Debug, Clone)]
pub struct QueuedOpenAi {
    state: Arc<QueueState>,
    base_url: String,
    _server: Arc<LocalServer>,
}

/// Makes the reply to a request from its body.
type ReplyRule = dyn Fn(&Value) -> ModelReply + Send + Sync;

/// Gets the headers and the body of each request.
type RequestObserver = dyn Fn(&HeaderMap, &str) + Send + Sync;

struct QueueState {
    replies: Mutex<VecDeque<ModelReply>>,
    /// The reply to the first input that contains a text, before those in the queue.
    triggered_reply: Mutex<Option<(&'static str, ModelReply)>>,
    /// The reply to a request when none is queued.
    default_reply: Box<ReplyRule>,
    observer: Box<RequestObserver>,
    /// The bodies of all requests.
    requests: watch::Sender<Vec<Value>>,
    /// The number of responses that the server dropped before their end.
    dropped: watch::Sender<usize>,
}

impl ModelReply {
    /// A text reply with one token per word.
    pub const fn text(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A tool call.
    pub const fn tool_call(name: &'static str, arguments: &'static str) -> Self {
        Self::ToolCall(Cow::Borrowed(name), Cow::Borrowed(arguments))
    }
}

impl QueuedOpenAi {
    /// Starts a model with these replies. Without one it answers with status 400.
    pub async fn start(replies: &[ModelReply]) -> anyhow::Result<Self> {
        let openai = Self::start_with(ModelReply::Error(400), |_, _| {}).await?;
        openai.set_replies(replies.iter().cloned());
        Ok(openai)
    }

    /// Starts a model that gives `default_reply` when none is queued, and passes headers and body of each request to
    /// `observer`.
    pub async fn start_with(
        default_reply: ModelReply,
        observer: impl Fn(&HeaderMap, &str) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        Self::start_parts(Box::new(move |_| default_reply.clone()), Box::new(observer)).await
    }

    /// Starts a model that makes each reply from the request, when none is queued.
    pub async fn start_with_rule(rule: impl Fn(&Value) -> ModelReply + Send + Sync + 'static) -> anyhow::Result<Self> {
        Self::start_parts(Box::new(rule), Box::new(|_, _| {})).await
    }

    async fn start_parts(default_reply: Box<ReplyRule>, observer: Box<RequestObserver>) -> anyhow::Result<Self> {
        let state = Arc::new(QueueState {
            replies: Mutex::default(),
            triggered_reply: Mutex::default(),
            default_reply,
            observer,
            requests: watch::Sender::default(),
            dropped: watch::Sender::new(0),
        });
        let router = Router::new().route("/v1/responses", post(respond)).with_state(state.clone());
        let server = LocalServer::start(router).await?;
        Ok(Self { state, base_url: format!("{}/v1", server.origin()), _server: Arc::new(server) })
    }

    /// The value of `OPENAI_BASE_URL`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Queues a reply.
    pub fn queue(&self, reply: ModelReply) {
        lock(&self.state.replies).push_back(reply);
    }

    /// Replaces the queued replies.
    pub fn set_replies(&self, replies: impl IntoIterator<Item = ModelReply>) {
        *lock(&self.state.replies) = replies.into_iter().collect();
    }

    /// Clears the queue and gives `reply` once an input contains `text`.
    pub fn reply_when_shown(&self, text: &'static str, reply: ModelReply) {
        self.set_replies([]);
        *lock(&self.state.triggered_reply) = Some((text, reply));
    }

    /// The number of requests.
    pub fn request_count(&self) -> usize {
        self.state.requests.borrow().len()
    }

    /// The input of the last request, one item per line.
    pub fn last_input(&self) -> String {
        self.state.requests.borrow().last().map(input_lines).unwrap_or_default()
    }

    /// Waits for this number of requests.
    pub async fn wait_for_requests(&self, count: usize) -> anyhow::Result<()> {
        self.wait_until(|requests| (requests.len() >= count).then_some(())).await
    }

    /// Waits for a request that satisfies the predicate, after the first `skipped` ones, and returns its body.
    pub async fn wait_for_request(&self, skipped: usize, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.wait_until(|requests| requests.iter().skip(skipped).find(|request| is(request)).cloned()).await
    }

    /// Waits until one of the last inputs contains `text`, and returns that input. A request that the server has given up
    /// may arrive after its next one.
    pub async fn wait_for_input(&self, text: &str) -> anyhow::Result<String> {
        let latest = |requests: &[Value]| {
            requests.iter().rev().take(LATE_REQUESTS).map(input_lines).find(|input| input.contains(text))
        };
        self.wait_until(latest).await
    }

    async fn wait_until<T>(&self, find: impl Fn(&[Value]) -> Option<T>) -> anyhow::Result<T> {
        let mut requests = self.state.requests.subscribe();
        let waits = requests.wait_for(|requests| find(requests).is_some());
        let requests = tokio::time::timeout(TIMEOUT, waits)
            .await
            .context("the expected request to the model did not arrive")??;
        find(&requests).context("the requests that ended the wait are the same")
    }

    /// Waits until a response is dropped before its end.
    pub async fn wait_for_drop(&self) -> anyhow::Result<()> {
        let mut dropped = self.state.dropped.subscribe();
        let waits = dropped.wait_for(|count| *count > 0);
        tokio::time::timeout(TIMEOUT, waits).await.context("no response was dropped")??;
        Ok(())
    }
}

impl std::fmt::Debug for QueueState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueState").field("replies", &self.replies).finish_non_exhaustive()
    }
}

/// The number of requests among which an input is looked for.
const LATE_REQUESTS: usize = 4;

/// The input of a request, one item per line.
fn input_lines(request: &Value) -> String {
    let items = request["input"].as_array().into_iter().flatten();
    items.map(Value::to_string).collect::<Vec<_>>().join("\n")
}

async fn respond(State(state): State<Arc<QueueState>>, headers: HeaderMap, body: String) -> Response {
    (state.observer)(&headers, &body);
    let mut violations = Vec::new();
    let Some(request) = ResponsesRequest::parse(&body, &mut violations).filter(|_| violations.is_empty()) else {
        return invalid_request(&violations.join("; "));
    };
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let input = input_lines(&body);
    let triggered = lock(&state.triggered_reply).take_if(|(text, _)| input.contains(*text)).map(|(_, reply)| reply);
    let queued = || lock(&state.replies).pop_front();
    let reply = triggered.or_else(queued).unwrap_or_else(|| (state.default_reply)(&body));
    state.requests.send_modify(|requests| requests.push(body));
    let number = state.requests.borrow().len();
    let words = |text: &str| text.split_inclusive(' ').map(str::to_owned).collect();
    let (tokens, calls): (Vec<String>, _) = match &reply {
        ModelReply::Text(text) => (words(text), Vec::new()),
        ModelReply::Stall(text) => (words(text), Vec::new()),
        ModelReply::Tokens(tokens) => (tokens.clone(), Vec::new()),
        ModelReply::ToolCall(name, arguments) => (Vec::new(), vec![(name.to_string(), arguments.to_string())]),
        ModelReply::Error(status) => return error_response(*status, "server_error"),
    };
    let mut events = events::write_tokens(&request, &tokens, &calls, &request.model, number, false).events;
    let stalls = matches!(reply, ModelReply::Stall(_));
    if stalls {
        let deltas = events.iter().rposition(|event| event.pause == Pause::Token);
        events.truncate(deltas.map_or(0, |last| last + 1));
    }
    let mut guard = ResponseGuard { state, is_finished: false };
    let last = events.len().saturating_sub(1);
    let events = stream::iter(events.into_iter().enumerate()).map(move |(at, event)| {
        guard.set_finished(!stalls && at == last);
        Ok(events::to_server_sent(&event.event))
    });
    event_stream(events.chain(stream::pending::<Result<_, std::io::Error>>().take(if stalls { usize::MAX } else { 0 })))
}

/// A response in progress. It is dropped with the connection.
struct ResponseGuard {
    state: Arc<QueueState>,
    is_finished: bool,
}

impl ResponseGuard {
    fn set_finished(&mut self, is_finished: bool) {
        self.is_finished = is_finished;
    }
}

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        if !self.is_finished {
            self.state.dropped.send_modify(|count| *count += 1);
        }
    }
}
