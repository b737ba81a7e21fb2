//! Twilio's REST API for calls, payments and messages, which accepts every valid request and records it. It reports
//! nothing by itself: the proof and the tests post the callbacks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Json, Response};
use futures_util::future::{self, BoxFuture};
use serde_json::json;
use tokio::sync::watch;
use url::Url;

use super::calls::PlacedCall;
use super::form::{CreateForm, FormError, UpdateForm};
use super::rest::error_response;
use super::{AccountCredentials, PaymentsRequest};
use crate::simulator::local_server::LocalServer;
use crate::simulator::transcript::lock;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TwilioRequestKind {
    /// `POST …/Calls.json`.
    Call,
    /// `POST …/Payments.json` and `POST …/Payments/{payment}.json`.
    Payments(PaymentsRequest),
    /// `POST …/Messages.json`.
    Message,
}

/// A valid request.
#[derive(Debug, Clone)]
pub struct TwilioRequest {
    /// Its kind.
    pub kind: TwilioRequestKind,
    /// The SID of the call, payment or message that it creates or updates.
    pub sid: String,
    /// The fields of the form.
    pub form: Vec<(String, String)>,
}

/// A refusal of requests of one kind.
#[derive(Debug, Clone, Copy)]
pub struct TwilioRefusal {
    /// The kind.
    pub request: TwilioRequestKind,
    /// The HTTP status.
    pub status: u16,
    /// Twilio's error code.
    pub code: u32,
}

/// Gets the URI, the headers and the body of each request.
type RequestObserver = dyn Fn(&Uri, &HeaderMap, &str) + Send + Sync;
/// Delays the response to a valid request.
type ResponseGate = dyn Fn(TwilioRequest) -> BoxFuture<'static, ()> + Send + Sync;

/// The options of a [`RecordingTwilio`].
pub struct RecordingOptions {
    account: AccountCredentials,
    public_url: Url,
    observer: Box<RequestObserver>,
    gate: Box<ResponseGate>,
    routes: Router,
}

/// Twilio. Clones share its state; it takes no requests once all are dropped.
#[derive(Debug, Clone)]
pub struct RecordingTwilio {
    state: Arc<RecordingState>,
    _server: Arc<LocalServer>,
    origin: String,
}

struct RecordingState {
    account: AccountCredentials,
    public_url: Url,
    observer: Box<RequestObserver>,
    gate: Box<ResponseGate>,
    /// The accepted requests.
    requests: watch::Sender<Vec<TwilioRequest>>,
    placed_calls: Mutex<Vec<PlacedCall>>,
    /// Path and body of each request with an idempotency key, and the SID in its response.
    replies_by_key: Mutex<HashMap<String, (String, String)>>,
    /// The number of SIDs, by their first two letters.
    sid_counts: Mutex<HashMap<&'static str, usize>>,
    refusal: Mutex<Option<TwilioRefusal>>,
}

/// How long [`RecordingTwilio::wait_for_request`] waits.
const TIMEOUT: Duration = Duration::from_secs(30);
const MESSAGE_FIELDS: [&str; 3] = ["Body", "From", "To"];

/// The status and the error code of the response to an invalid request.
#[derive(Debug)]
struct Refused {
    status: u16,
    code: u32,
}

const NOT_FOUND: Refused = Refused { status: 404, code: 20404 };
const MALFORMED: Refused = Refused { status: 400, code: 20001 };

impl TwilioRequest {
    /// The value of a form field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl RecordingOptions {
    /// The options for a server with these credentials and this public URL.
    pub fn new(account: AccountCredentials, public_url: Url) -> Self {
        let gate = |_| -> BoxFuture<'static, ()> { Box::pin(future::ready(())) };
        Self { account, public_url, observer: Box::new(|_, _, _| {}), gate: Box::new(gate), routes: Router::new() }
    }

    /// Passes every request, valid or not, to `observer`.
    pub fn observed_by(self, observer: impl Fn(&Uri, &HeaderMap, &str) + Send + Sync + 'static) -> Self {
        Self { observer: Box::new(observer), ..self }
    }

    /// Waits for `gate` before the response to each valid request.
    pub fn gated_by(self, gate: impl Fn(TwilioRequest) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self { gate: Box::new(gate), ..self }
    }

    /// Serves these routes too, without recording them.
    pub fn with_routes(self, routes: Router) -> Self {
        Self { routes: self.routes.merge(routes), ..self }
    }
}

impl RecordingTwilio {
    /// Starts Twilio.
    pub async fn start(options: RecordingOptions) -> anyhow::Result<Self> {
        let RecordingOptions { account, public_url, observer, gate, routes } = options;
        let state = Arc::new(RecordingState {
            account,
            public_url,
            observer,
            gate,
            requests: watch::Sender::default(),
            placed_calls: Mutex::default(),
            replies_by_key: Mutex::default(),
            sid_counts: Mutex::default(),
            refusal: Mutex::default(),
        });
        let server = LocalServer::start(Router::new().fallback(handle).with_state(state.clone()).merge(routes)).await?;
        Ok(Self { state, origin: server.origin().to_owned(), _server: Arc::new(server) })
    }

    /// The value of `TWILIO_API_BASE_URL`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The accepted requests, in order.
    pub fn requests(&self) -> Vec<TwilioRequest> {
        self.state.requests.borrow().clone()
    }

    /// The accepted requests to place a call, in order.
    pub fn placed_calls(&self) -> Vec<PlacedCall> {
        lock(&self.state.placed_calls).clone()
    }

    /// Refuses requests of a kind from now on, or none.
    pub fn set_refusal(&self, refusal: Option<TwilioRefusal>) {
        *lock(&self.state.refusal) = refusal;
    }

    /// Waits for an accepted request that satisfies the predicate, after the first `skipped` ones. Returns the request
    /// and the number of requests up to it.
    pub async fn wait_for_request(
        &self,
        skipped: usize,
        is: impl Fn(&TwilioRequest) -> bool,
    ) -> anyhow::Result<(TwilioRequest, usize)> {
        let mut requests = self.state.requests.subscribe();
        let find = |all: &[TwilioRequest]| {
            all.iter().skip(skipped).position(&is).map(|at| (all[skipped + at].clone(), skipped + at + 1))
        };
        let waits = requests.wait_for(|all| find(all).is_some());
        let all =
            tokio::time::timeout(TIMEOUT, waits).await.context("the expected request to Twilio did not arrive")??;
        find(&all).context("the requests that ended the wait are the same")
    }
}

impl RecordingState {
    /// Parses a request strictly.
    fn parse(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        body: &str,
    ) -> Result<(TwilioRequest, Option<PlacedCall>), Refused> {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let path: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
        let ["2010-04-01", "Accounts", account, resource @ ..] = &path[..] else { return Err(NOT_FOUND) };
        if authorization != Some(&self.account.authorization()) || *account != self.account.sid {
            return Err(Refused { status: 401, code: 20003 });
        }
        let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let invalid = |error: FormError| Refused { status: 400, code: error.code };
        let (kind, sid, placed) = match resource {
            ["Calls.json"] => {
                let placed = PlacedCall::parse(body, &self.public_url).map_err(|_| MALFORMED)?;
                (TwilioRequestKind::Call, self.new_sid("CA"), Some(placed))
            }
            ["Messages.json"] => {
                let mut names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
                names.sort_unstable();
                if names != MESSAGE_FIELDS {
                    return Err(MALFORMED);
                }
                (TwilioRequestKind::Message, self.new_sid("SM"), None)
            }
            ["Calls", _, "Payments.json"] => {
                let create = CreateForm::parse(body, &self.public_url).map_err(invalid)?;
                let sid = self.sid_for_key(&create.common.idempotency_key, uri, body, || self.new_sid("PK"))?;
                (TwilioRequestKind::Payments(PaymentsRequest::Create), sid, None)
            }
            ["Calls", _, "Payments", payment] => {
                let update = UpdateForm::parse(body, &self.public_url).map_err(invalid)?;
                let payment = payment.strip_suffix(".json").ok_or(NOT_FOUND)?;
                let sid = self.sid_for_key(&update.common.idempotency_key, uri, body, || payment.to_owned())?;
                (TwilioRequestKind::Payments(update.change), sid, None)
            }
            _ => return Err(NOT_FOUND),
        };
        Ok((TwilioRequest { kind, sid, form }, placed))
    }

    /// The next SID: `CA1`, `CA2` and so on.
    fn new_sid(&self, prefix: &'static str) -> String {
        let mut counts = lock(&self.sid_counts);
        let count = counts.entry(prefix).or_default();
        *count += 1;
        format!("{prefix}{count}")
    }

    /// The SID in the response to a request with this idempotency key: that of the first one with the key. The key
    /// must not be used for another path or body.
    fn sid_for_key(&self, key: &str, uri: &Uri, body: &str, sid: impl FnOnce() -> String) -> Result<String, Refused> {
        let request = format!("{uri}\n{body}");
        let mut replies = lock(&self.replies_by_key);
        let (known, sid) = replies.entry(key.to_owned()).or_insert_with(|| (request.clone(), sid()));
        if *known == request { Ok(sid.clone()) } else { Err(Refused { status: 400, code: 64020 }) }
    }
}

impl std::fmt::Debug for RecordingState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingState").field("requests", &self.requests).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RecordingOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingOptions").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

async fn handle(
    State(state): State<Arc<RecordingState>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    (state.observer)(&uri, &headers, &body);
    if method != Method::POST {
        return error_response(404, 20404);
    }
    let (request, placed) = match state.parse(&uri, &headers, &body) {
        Ok(valid) => valid,
        Err(Refused { status, code }) => return error_response(status, code),
    };
    (state.gate)(request.clone()).await;
    let refusal = *lock(&state.refusal);
    if let Some(TwilioRefusal { status, code, .. }) = refusal.filter(|refusal| refusal.request == request.kind) {
        return error_response(status, code);
    }
    let accepted = match request.kind {
        TwilioRequestKind::Payments(change) if change != PaymentsRequest::Create => StatusCode::ACCEPTED,
        _ => StatusCode::CREATED,
    };
    let response = (accepted, Json(json!({"sid": request.sid, "status": "queued"}))).into_response();
    lock(&state.placed_calls).extend(placed);
    state.requests.send_modify(|requests| requests.push(request));
    response
}
