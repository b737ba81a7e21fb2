//! The transports of responses: sends one request, over a WebSocket or HTTP, and reads until it is known that the server
//! has accepted it. A request that a socket cannot take goes over HTTP. Nothing else is retried here.
//!
//! Of HTTP, async-openai exposes neither the status nor the headers, and its event stream has no limit on the size of an event.

use std::error::Error as _;
use std::iter;
use std::time::Duration;

use axum::body::Bytes;

use async_openai::config::Config;
use reqwest::Response;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::answer_reader::ReadAnswerError;
use super::body::RequestBody;
use super::error_info::ErrorInfo;
use super::model::ModelInner;
use super::refusal::Refusal;
use super::websocket::{Lane, SendError, SocketPool};
use crate::call::InputRefusal;
use crate::config::{self, ApiBaseUrl};
use crate::http_client::{self, ClientLease, ReadBodyError, StreamLease};
use crate::telemetry::ModelFailure;

/// The maximum number of bytes read of a body that is not streamed; OpenAI's errors are below 1 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The header with OpenAI's identifier of a request.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// The base URL and the credentials of the API. Unlike async-openai's own configuration it does not read the
/// environment and builds no header that could fail.
pub(super) struct OpenAiEndpoint {
    base: ApiBaseUrl,
    key: SecretString,
    headers: HeaderMap,
}

impl OpenAiEndpoint {
    /// Returns `None` if the key is not a valid header value.
    pub(super) fn new(config: &config::OpenAiConfig) -> Option<Self> {
        let bearer = SecretString::from(format!("Bearer {}", config.api_key.expose_secret()));
        let mut bearer = HeaderValue::from_str(bearer.expose_secret()).ok()?;
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, bearer),
            (ACCEPT, HeaderValue::from_static("text/event-stream")),
            (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        ]);
        Some(Self { base: config.base_url.clone(), key: config.api_key.clone(), headers })
    }
}

impl Config for OpenAiEndpoint {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        self.base.join(&segments).into()
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        self.base.as_str()
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

/// The reason why there is no response, or why it ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    /// The connection could not be opened, or broke before the response.
    #[error("no response")]
    NoResponse(#[source] reqwest::Error),
    /// The response has an error status.
    #[error("HTTP {status}")]
    ErrorStatus {
        status: u16,
        error_info: Box<ErrorInfo>,
        retry_after: Option<Duration>,
        /// What the server refused in the request.
        refusal: Refusal,
        /// OpenAI's identifier of the request.
        request_id: Option<String>,
    },
    /// The body of the response cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadAnswerError),
    /// A phase has taken longer than its limit.
    #[error("no {0} in time")]
    TimedOut(Phase),
    /// The stream ended before the response did.
    #[error("the stream ended early")]
    StreamClosed,
    /// The response has neither text nor a tool call.
    #[error("the response is empty")]
    EmptyResponse,
    /// The response failed, as reported by an event of the stream.
    #[error("the response failed")]
    ResponseFailed(Box<ErrorInfo>),
    /// The socket of the response was closed, with this code if the server sent one.
    #[error("the WebSocket was closed{}", .0.map(|code| format!(" with the code {code}")).unwrap_or_default())]
    SocketClosed(Option<u16>),
    /// The events of the response arrived faster than the caller's socket took the words.
    #[error("too much of the response waits to be read")]
    ReadTooSlowly,
    /// The request could not be serialized.
    #[error("the request could not be built")]
    BuildRequest,
}

/// A phase of a response, each with a time limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Phase {
    /// Until the connection is open, TLS included.
    #[error("connection")]
    Connect,
    /// Until the headers of the response have arrived.
    #[error("response")]
    Headers,
    /// Until the first text or tool call has arrived, over all attempts.
    #[error("first token")]
    FirstToken,
    /// Between two pieces of the response.
    #[error("further event")]
    Idle,
    /// Until the end of the response.
    #[error("end of the response")]
    End,
}

impl TransportError {
    /// The error of a request that got no response.
    fn of_request(error: reqwest::Error) -> Self {
        if error.is_connect() && error.is_timeout() {
            Self::TimedOut(Phase::Connect)
        } else {
            Self::NoResponse(error.without_url())
        }
    }

    /// Whether a retry of the same request may succeed.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::ErrorStatus { status, error_info, .. } => error_info.is_transient(Some(*status)),
            Self::ResponseFailed(error_info) => error_info.is_transient(None),
            // What is no answer comes from a gateway before the model's server.
            Self::NoResponse(_)
            | Self::TimedOut(_)
            | Self::StreamClosed
            | Self::SocketClosed(_)
            | Self::EmptyResponse
            | Self::Unreadable(ReadAnswerError::NotAnAnswer) => true,
            Self::Unreadable(_) | Self::ReadTooSlowly | Self::BuildRequest => false,
        }
    }

    /// The kind of failure, for the metrics.
    pub(super) fn kind(&self) -> ModelFailure {
        match self {
            Self::NoResponse(_) => ModelFailure::NoResponse,
            Self::ErrorStatus { status, .. } => ModelFailure::of_status(*status),
            Self::TimedOut(_) => ModelFailure::Timeout,
            Self::StreamClosed | Self::SocketClosed(_) => ModelFailure::BrokenOff,
            Self::ResponseFailed(_) => ModelFailure::Reported,
            Self::Unreadable(_) | Self::EmptyResponse | Self::ReadTooSlowly | Self::BuildRequest => {
                ModelFailure::Unusable
            }
        }
    }

    /// Whether the reason is the connection, and not what the server says.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(self, Self::StreamClosed | Self::SocketClosed(_) | Self::TimedOut(_))
    }

    /// What of the conversation the server refuses, if the error is about that.
    pub(super) fn input_refusal(&self) -> Option<InputRefusal> {
        match self {
            Self::ErrorStatus { status, error_info, refusal, .. } => {
                // A refusal without a reason that no field of the request explains.
                let unexplained = || refusal.is_unexplained.then_some(InputRefusal::Other);
                error_info.input_refusal(Some(*status)).or_else(unexplained)
            }
            Self::ResponseFailed(error_info) => error_info.input_refusal(None),
            _ => None,
        }
    }

    /// What the server refused in the request, if it answered with an error status.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::ErrorStatus { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// Whether the connection may be dead although nothing has closed it: a repetition needs another one.
    pub(super) fn may_be_of_dead_connection(&self) -> bool {
        matches!(self, Self::NoResponse(_) | Self::TimedOut(Phase::Headers | Phase::FirstToken | Phase::Idle))
    }

    /// The root cause, for the log: an unknown host name or an untrusted certificate, for example.
    pub(super) fn root_cause(&self) -> Option<String> {
        iter::successors(self.source(), |error| (*error).source()).last().map(ToString::to_string)
    }

    /// The error as the server describes it.
    pub(super) fn error_info(&self) -> Option<&ErrorInfo> {
        match self {
            Self::ErrorStatus { error_info, .. } | Self::ResponseFailed(error_info) => Some(error_info),
            _ => None,
        }
    }

    /// OpenAI's identifier of the request, if it answered with an error status.
    pub(super) fn request_id(&self) -> Option<&str> {
        match self {
            Self::ErrorStatus { request_id, .. } => request_id.as_deref(),
            _ => None,
        }
    }

    /// The wait that the server asks for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ErrorStatus { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A response that the server has accepted.
pub(super) enum OpenResponse {
    Http(Response),
    Socket(Lane),
}

/// A piece of a response.
pub(super) enum Piece {
    /// Bytes of the body, cut anywhere.
    Bytes(Bytes),
    /// An event as JSON.
    Event(Utf8Bytes),
    /// The end of the body.
    End,
}

impl OpenResponse {
    /// OpenAI's identifier of the request. A socket has none for each of its responses.
    pub(super) fn request_id(&self) -> Option<String> {
        match self {
            Self::Http(response) => http_client::request_id(response.headers(), REQUEST_ID),
            Self::Socket(_) => None,
        }
    }

    /// Waits for the next piece. A poll may be cancelled without loss of pieces.
    pub(super) async fn next(&mut self) -> Result<Piece, TransportError> {
        match self {
            Self::Http(response) => match response.chunk().await {
                Ok(chunk) => Ok(chunk.map_or(Piece::End, Piece::Bytes)),
                Err(_) => Err(TransportError::StreamClosed),
            },
            Self::Socket(lane) => lane.next().await.map(Piece::Event),
        }
    }
}

/// Sends the request once: over one of the sockets if there are any, and over HTTP if that does not succeed. Each waits no
/// longer than its limit, and the sockets half of `limit`, so that HTTP is in time. Succeeds with a response that the server
/// has accepted. What is sent over HTTP has a place on a connection, which `place` keeps until the response has been read.
pub(super) async fn send(
    model: &ModelInner,
    sockets: Option<&SocketPool>,
    body: &RequestBody<'_>,
    limit: Duration,
    place: &mut Option<StreamLease>,
) -> Result<OpenResponse, TransportError> {
    if let Some(sockets) = sockets {
        match sockets.send(body, limit / 2).await {
            Ok(lane) => return Ok(OpenResponse::Socket(lane)),
            Err(SendError::Refused(error)) => return Err(error),
            Err(SendError::Unavailable) => {}
        }
    }
    let ClientLease { client, stream } = model.http.lease(Instant::now());
    *place = Some(stream);
    let sent = timeout(limit, send_over_http(&client, model.client.config(), body)).await;
    let sent = sent.unwrap_or(Err(TransportError::TimedOut(Phase::Headers)));
    if let (Some(place), Ok(_) | Err(TransportError::ErrorStatus { .. })) = (&*place, &sent) {
        place.record_heard();
    }
    sent.map(OpenResponse::Http)
}

async fn send_over_http(
    http: &reqwest::Client,
    endpoint: &OpenAiEndpoint,
    body: &RequestBody<'_>,
) -> Result<Response, TransportError> {
    let body = serialize(body, body.estimated_bytes())?;
    let request = http.post(endpoint.url("/responses")).headers(endpoint.headers());
    let request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body);
    let response = request.send().await.map_err(TransportError::of_request)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = retry_after(response.headers());
    let request_id = http_client::request_id(response.headers(), REQUEST_ID);
    let body = read_body(response).await;
    let (error_info, refusal) = (Box::new(ErrorInfo::parse(&body)), Refusal::parse(status.as_u16(), &body));
    Err(TransportError::ErrorStatus { status: status.as_u16(), error_info, retry_after, refusal, request_id })
}

/// Serializes a body of about this size.
pub(super) fn serialize(body: &impl Serialize, estimated_bytes: usize) -> Result<String, TransportError> {
    let mut bytes = Vec::with_capacity(estimated_bytes);
    serde_json::to_writer(&mut bytes, body).map_err(|_| TransportError::BuildRequest)?;
    String::from_utf8(bytes).map_err(|_| TransportError::BuildRequest)
}

/// Reads the body of a response that is not streamed, as far as possible.
pub(super) async fn read_body(response: Response) -> String {
    let body = http_client::read_body(response, MAX_BODY_BYTES).await.unwrap_or_else(ReadBodyError::into_part);
    String::from_utf8(body).unwrap_or_default()
}

/// Parses the headers that [`read_retry_after`] reads.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    read_retry_after(|name| headers.get(name)?.to_str().ok()?.trim().parse().ok())
}

/// Reads `retry-after-ms`, which OpenAI prefers, or `Retry-After` in seconds, from headers of numbers. A date is not
/// supported.
pub(super) fn read_retry_after(number: impl Fn(&str) -> Option<f64>) -> Option<Duration> {
    let seconds = number("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| number(RETRY_AFTER.as_str()))?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        retry_after(&pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect())
    }

    #[test]
    fn milliseconds_take_precedence_over_seconds_and_invalid_values_are_ignored() {
        assert_eq!(waits(&[("retry-after", "2"), ("retry-after-ms", "150")]), Some(Duration::from_millis(150)));
        assert_eq!(waits(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        for invalid in ["-1", "NaN", "inf", "1e99", "Wed, 21 Oct 2026 07:28:00 GMT", ""] {
            assert_eq!(waits(&[("retry-after", invalid)]), None, "{invalid}");
        }
    }

    #[test]
    fn only_temporary_errors_are_retryable() {
        let with_status = |status, code: &str| TransportError::ErrorStatus {
            status,
            error_info: Box::new(ErrorInfo { code: Some(code.to_owned()), ..ErrorInfo::default() }),
            retry_after: None,
            refusal: Refusal::default(),
            request_id: None,
        };
        for (failure, may_pass) in [
            (with_status(429, "rate_limit_exceeded"), true),
            (with_status(429, "insufficient_quota"), false),
            (with_status(500, ""), true),
            (with_status(503, ""), true),
            (with_status(408, ""), true),
            (with_status(400, ""), false),
            (with_status(401, "invalid_api_key"), false),
            (with_status(404, "model_not_found"), false),
            (TransportError::StreamClosed, true),
            (TransportError::EmptyResponse, true),
            (TransportError::Unreadable(ReadAnswerError::NotAnAnswer), true),
            (TransportError::Unreadable(ReadAnswerError::EventTooLarge), false),
        ] {
            assert_eq!(failure.is_retryable(), may_pass, "{failure:?}");
        }
    }

    #[test]
    fn a_key_that_is_no_header_value_is_rejected() {
        let config = |key: &str| config::OpenAiConfig::new(key.into(), "gpt-6-luna", ApiBaseUrl::default());
        assert!(OpenAiEndpoint::new(&config("sk-1\n")).is_none());
        let headers = OpenAiEndpoint::new(&config("sk-1")).unwrap().headers();
        assert!(!format!("{headers:?}").contains("sk-1"));
    }
}
