//! The HTTP transport below async-openai: sends one request and reads the status and headers of the response, which
//! async-openai does not expose. Only a stream of events is passed on. Nothing is retried here.

use std::error::Error as _;
use std::iter;
use std::time::Duration;

use async_openai::config::Config;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use reqwest::Response;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret as _, SecretString};

use super::event::OpenAiErrorInfo;
use super::refusal::Refusal;
use crate::config::{self, ApiBaseUrl};

/// The maximum number of bytes read of a body that is not streamed; OpenAI's errors are below 1 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;

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
        let headers =
            HeaderMap::from_iter([(AUTHORIZATION, bearer), (ACCEPT, HeaderValue::from_static("text/event-stream"))]);
        Some(Self { base: config.base_url.clone(), key: config.api_key.clone(), headers })
    }
}

impl Config for OpenAiEndpoint {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        self.base.join(&[path.trim_start_matches('/')]).into()
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

/// The reason why there is no stream of events, or why it ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    /// The connection could not be opened, or broke before the response.
    #[error("no response")]
    NoResponse(#[source] reqwest::Error),
    /// The response has an error status.
    #[error("HTTP {status}")]
    ErrorStatus {
        status: u16,
        error_info: OpenAiErrorInfo,
        retry_after: Option<Duration>,
        /// What the server refused in the request.
        refusal: Refusal,
    },
    /// The response is not a stream of events.
    #[error("the response is not an event stream")]
    NotEventStream,
    /// The headers did not arrive in time.
    #[error("no response in time")]
    Timeout,
    /// The stream ended before the response did.
    #[error("the stream ended early")]
    StreamClosed,
    /// The response failed, as reported by an event of the stream.
    #[error("the response failed")]
    ResponseFailed(OpenAiErrorInfo),
    /// async-openai could not build the request.
    #[error("the request could not be built")]
    BuildRequest,
}

impl TransportError {
    /// Whether a retry of the same request may succeed.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::NoResponse(_) | Self::Timeout | Self::StreamClosed => true,
            Self::ErrorStatus { status: 429, error_info: fault, .. } => !fault.is_one_of(&["insufficient_quota"]),
            Self::ErrorStatus { status, .. } => matches!(status, 408 | 409 | 500..),
            Self::ResponseFailed(fault) => {
                fault.is_one_of(&["server_error", "rate_limit_exceeded", "overloaded_error"])
            }
            Self::NotEventStream | Self::BuildRequest => false,
        }
    }

    /// What the server refused in the request, if it answered with an error status.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::ErrorStatus { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// The root cause, for the log: an unknown host name or an untrusted certificate, for example.
    pub(super) fn root_cause(&self) -> Option<String> {
        iter::successors(self.source(), |error| (*error).source()).last().map(ToString::to_string)
    }

    /// OpenAI's error codes, for the log.
    pub(super) fn error_info(&self) -> Option<&OpenAiErrorInfo> {
        match self {
            Self::ErrorStatus { error_info: fault, .. } | Self::ResponseFailed(fault) => Some(fault),
            _ => None,
        }
    }

    /// The wait that OpenAI asks for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ErrorStatus { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<TransportError> for OpenAIError {
    fn from(failure: TransportError) -> Self {
        Self::Boxed(Box::new(failure))
    }
}

impl From<OpenAIError> for TransportError {
    fn from(error: OpenAIError) -> Self {
        match error {
            OpenAIError::Boxed(error) => error.downcast().map_or(Self::BuildRequest, |failure| *failure),
            OpenAIError::Reqwest(error) => Self::NoResponse(error.without_url()),
            _ => Self::BuildRequest,
        }
    }
}

/// Sends the request once. Succeeds with a stream of events.
pub(super) async fn send(http: reqwest::Client, request: HttpRequestFactory) -> Result<Response, TransportError> {
    let request = request.build().await.map_err(|_| TransportError::BuildRequest)?;
    let response = http.execute(request).await.map_err(|error| TransportError::NoResponse(error.without_url()))?;
    let status = response.status();
    if !status.is_success() {
        let retry_after = retry_after(response.headers());
        let body = read_body(response).await;
        return Err(TransportError::ErrorStatus {
            status: status.as_u16(),
            error_info: OpenAiErrorInfo::parse(&body),
            retry_after,
            refusal: Refusal::parse(status.as_u16(), &body),
        });
    }
    let content_type = response.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if content_type.starts_with(b"text/event-stream") { Ok(response) } else { Err(TransportError::NotEventStream) }
}

/// Reads the body of a response that is not streamed, as far as possible.
pub(super) async fn read_body(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).unwrap_or_default()
}

/// Parses `retry-after-ms`, which OpenAI prefers, or `Retry-After` in seconds. A date is not supported.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
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
            error_info: OpenAiErrorInfo { code: Some(code.to_owned()), ..OpenAiErrorInfo::default() },
            retry_after: None,
            refusal: Refusal::default(),
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
            (TransportError::NotEventStream, false),
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
