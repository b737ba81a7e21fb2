//! `POST /mcp`: the tools of one live call for an external client, by the Model Context Protocol.
//!
//! The transport is streamable HTTP without sessions: each request is complete in itself, and the token says which call it
//! is about. Revisions with the `initialize` handshake and the one without are served alike.

mod json_rpc;
mod methods;
mod revision;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tracing::warn;

use super::auth::call_token::ClientOfCall;
use super::json::{ApiError, read_body};
use crate::config::PublicUrl;
use crate::log_limit::LogLimiter;
use crate::session::CallRegistry;
use json_rpc::{Incoming, Reply, RpcError, RpcMessage};
use methods::Client;
use revision::Revision;

/// The path of the MCP endpoint.
pub(crate) const MCP: &str = "/mcp";

/// The largest request body that is read, in bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// The maximum number of messages in a batch.
const MAX_BATCH: usize = 16;

/// Time limit for the answer to a request. A tool that runs longer finishes without the client.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The origin of this server, the only one from which a browser may send requests.
#[derive(Debug, Clone)]
pub(super) struct OwnOrigin(Arc<str>);

/// A request without the header `Origin`, or with that of this server.
///
/// Only browsers send the header. The check keeps a foreign page from using a browser that can reach the server (DNS
/// rebinding), as the transport requires.
#[derive(Debug)]
pub(super) struct SameOrigin;

/// The form of a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResponseForm {
    /// `application/json`
    Json,
    /// `text/event-stream`, for a client that accepts nothing else.
    EventStream,
}

impl OwnOrigin {
    pub(super) fn new(base_url: &PublicUrl) -> Self {
        Self(base_url.origin().into())
    }

    /// The origin, as a browser writes it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SameOrigin
where
    OwnOrigin: FromRef<S>,
    Arc<LogLimiter>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let own = OwnOrigin::from_ref(state);
        match parts.headers.get(header::ORIGIN) {
            Some(origin) if origin.as_bytes() != own.0.as_bytes() => {
                let limiter = Arc::<LogLimiter>::from_ref(state);
                if let Some(left_out) = limiter.admit("mcp.foreign_origin", "", Instant::now()) {
                    warn!(
                        event = "mcp.foreign_origin",
                        left_out, "A request from a web page of another origin was refused."
                    );
                }
                Err(ApiError::new(StatusCode::FORBIDDEN, "requests from web pages of another origin are refused"))
            }
            _ => Ok(Self),
        }
    }
}

/// Answers one JSON-RPC message, or a batch of them in the revisions that have batches.
pub(super) async fn post(
    _: SameOrigin,
    ClientOfCall(scope): ClientOfCall,
    State(calls): State<CallRegistry>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let form = ResponseForm::accepted_by(&headers)?;
    let body = read_body(body, MAX_MESSAGE_BYTES).await?;
    let client = Client { calls, scope, answer_by: Instant::now() + ANSWER_TIMEOUT };
    Ok(match Incoming::parse(&body) {
        Err(error) => form.respond(&[Reply::error(None, error)]),
        Ok(Incoming::One(message)) => match answer(&client, &headers, message, false).await {
            Some(reply) => form.respond(&[reply]),
            None => StatusCode::ACCEPTED.into_response(),
        },
        Ok(Incoming::Batch(messages)) => match revision::allows_batches(&headers) {
            Err(error) => form.respond(&[Reply::error(None, error)]),
            Ok(()) => answer_batch(&client, &headers, messages, form).await,
        },
    })
}

/// Answers the messages of a batch one after the other.
async fn answer_batch(
    client: &Client,
    headers: &HeaderMap,
    messages: Vec<Result<RpcMessage, RpcError>>,
    form: ResponseForm,
) -> Response {
    let mut replies = Vec::new();
    for message in messages {
        match message {
            Ok(message) => replies.extend(answer(client, headers, message, true).await),
            Err(error) => replies.push(Reply::error(None, error)),
        }
    }
    if replies.is_empty() { StatusCode::ACCEPTED.into_response() } else { form.respond_to_batch(&replies) }
}

/// Answers a message; `None` for a notification or a response, which have no answer.
async fn answer(client: &Client, headers: &HeaderMap, message: RpcMessage, in_batch: bool) -> Option<Reply> {
    let RpcMessage::Request { id, method, params } = message else { return None };
    let result = match Revision::of_request(headers, &method, params.as_deref()) {
        Ok(revision) => client.perform(revision, &method, params.as_deref(), in_batch).await,
        Err(error) => Err(error),
    };
    Some(match result {
        Ok(result) => Reply::result(id, result),
        Err(error) => Reply::error(Some(id), error),
    })
}

impl ResponseForm {
    /// Chooses a form that the client accepts: JSON unless it accepts only an event stream. A client that names no form
    /// accepts all.
    fn accepted_by(headers: &HeaderMap) -> Result<Self, ApiError> {
        let named: Vec<String> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
            .collect();
        let accepts = |forms: &[&str]| named.iter().any(|kind| forms.contains(&kind.as_str()));
        if named.is_empty() || accepts(&["application/json", "application/*", "*/*"]) {
            Ok(Self::Json)
        } else if accepts(&["text/event-stream", "text/*"]) {
            Ok(Self::EventStream)
        } else {
            let error = "accept application/json, text/event-stream, or both";
            Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, error))
        }
    }

    /// Responds with the only reply. An HTTP error is always JSON.
    fn respond(self, replies: &[Reply; 1]) -> Response {
        let [reply] = replies;
        match self {
            Self::EventStream if reply.status() == StatusCode::OK => event_stream(replies),
            _ => (reply.status(), axum::Json(reply)).into_response(),
        }
    }

    /// Responds with the replies to a batch, as an array or one event each.
    fn respond_to_batch(self, replies: &[Reply]) -> Response {
        match self {
            Self::EventStream => event_stream(replies),
            Self::Json => axum::Json(replies).into_response(),
        }
    }
}

/// An event stream with one event for each reply.
fn event_stream(replies: &[Reply]) -> Response {
    let event = |reply| {
        // Compact JSON contains no line break.
        let data = serde_json::to_string(reply).expect("a reply always serialises");
        format!("event: message\ndata: {data}\n\n")
    };
    let headers = [(header::CONTENT_TYPE.as_str(), "text/event-stream"), ("x-accel-buffering", "no")];
    (headers, replies.iter().map(event).collect::<String>()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn form(accept: Option<&'static str>) -> Option<ResponseForm> {
        let headers = accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept)));
        ResponseForm::accepted_by(&headers.into_iter().collect()).ok()
    }

    #[test]
    fn a_response_is_json_unless_the_client_accepts_only_an_event_stream() {
        for json in [None, Some("application/json, text/event-stream"), Some("*/*"), Some("Application/JSON;q=0.5")] {
            assert_eq!(form(json), Some(ResponseForm::Json), "{json:?}");
        }
        assert_eq!(form(Some("text/event-stream")), Some(ResponseForm::EventStream));
        assert_eq!(form(Some("image/png")), None);
    }
}
