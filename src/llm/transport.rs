//! One HTTP request to OpenAI, below async-openai: what the answer's status and headers say is read here, where it is
//! still to be seen, and only a stream of events is passed on. Nothing is repeated here.

use std::error::Error as _;
use std::iter;
use std::time::Duration;

use async_openai::config::Config;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use reqwest::Response;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret as _, SecretString};

use super::event::Fault;
use crate::config;

/// How much of an error's body is read; OpenAI's are below 1 KiB.
const ERROR_BYTES: usize = 64 * 1024;

/// Where the API is and how it is entered. Unlike async-openai's own configuration it reads nothing from the
/// environment and has no header left to fail on.
pub(super) struct Endpoint {
    base: String,
    key: SecretString,
    headers: HeaderMap,
}

impl Endpoint {
    /// `None` if the key cannot stand in a header.
    pub(super) fn new(config: &config::OpenAi) -> Option<Self> {
        let bearer = SecretString::from(format!("Bearer {}", config.api_key.expose_secret()));
        let mut bearer = HeaderValue::from_str(bearer.expose_secret()).ok()?;
        bearer.set_sensitive(true);
        let headers =
            HeaderMap::from_iter([(AUTHORIZATION, bearer), (ACCEPT, HeaderValue::from_static("text/event-stream"))]);
        Some(Self { base: config.base_url.clone(), key: config.api_key.clone(), headers })
    }
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        &self.base
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

/// Why there is no stream of events, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The connection could not be made, or broke before the answer.
    #[error("no answer")]
    NoAnswer(#[source] reqwest::Error),
    /// The answer is an error.
    #[error("HTTP {status}")]
    Refused {
        status: u16,
        fault: Fault,
        retry_after: Option<Duration>,
        /// Whether it is about the wish for encrypted reasoning.
        of_include: bool,
    },
    /// The answer is no stream of events.
    #[error("the answer is no event stream")]
    NoStream,
    /// The headers did not come in time.
    #[error("no answer in time")]
    Late,
    /// The stream ended before the response did.
    #[error("the stream broke off")]
    Cut,
    /// The response failed, as an event of the stream says.
    #[error("the response failed")]
    Failed(Fault),
    /// async-openai could not make a request of it.
    #[error("no request could be made")]
    Unsent,
}

impl Failure {
    /// Whether the same request may succeed when it is sent again.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::Late | Self::Cut => true,
            Self::Refused { status: 429, fault, .. } => !fault.is(&["insufficient_quota"]),
            Self::Refused { status, .. } => matches!(status, 408 | 409 | 500..),
            Self::Failed(fault) => fault.is(&["server_error", "rate_limit_exceeded", "overloaded_error"]),
            Self::NoStream | Self::Unsent => false,
        }
    }

    /// Whether OpenAI refused the request for asking for encrypted reasoning.
    pub(super) fn refuses_include(&self) -> bool {
        matches!(self, Self::Refused { status: 400, of_include: true, .. })
    }

    /// What lies at the bottom of it, for the log: a name that is not known, a certificate that is not trusted.
    pub(super) fn root_cause(&self) -> Option<String> {
        iter::successors(self.source(), |error| (*error).source()).last().map(ToString::to_string)
    }

    /// OpenAI's words for it, for the log.
    pub(super) fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Refused { fault, .. } | Self::Failed(fault) => Some(fault),
            _ => None,
        }
    }

    /// How long OpenAI asks to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<Failure> for OpenAIError {
    fn from(failure: Failure) -> Self {
        Self::Boxed(Box::new(failure))
    }
}

impl From<OpenAIError> for Failure {
    fn from(error: OpenAIError) -> Self {
        match error {
            OpenAIError::Boxed(error) => error.downcast().map_or(Self::Unsent, |failure| *failure),
            OpenAIError::Reqwest(error) => Self::NoAnswer(error.without_url()),
            _ => Self::Unsent,
        }
    }
}

/// Sends the request once. Success is a stream of events.
pub(super) async fn open(http: reqwest::Client, request: HttpRequestFactory) -> Result<Response, Failure> {
    let request = request.build().await.map_err(|_| Failure::Unsent)?;
    let response = http.execute(request).await.map_err(|error| Failure::NoAnswer(error.without_url()))?;
    let status = response.status();
    if !status.is_success() {
        let retry_after = retry_after(response.headers());
        let body = read(response).await;
        let fault = Fault::read(&body);
        let of_include = fault.param.as_deref().is_some_and(|param| param.starts_with("include"))
            || body.contains("reasoning.encrypted_content")
            || body.contains("ncrypted content is not supported");
        return Err(Failure::Refused { status: status.as_u16(), fault, retry_after, of_include });
    }
    let content_type = response.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if content_type.starts_with(b"text/event-stream") { Ok(response) } else { Err(Failure::NoStream) }
}

/// The body of an error, or what could be had of it.
async fn read(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > ERROR_BYTES {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).unwrap_or_default()
}

/// `retry-after-ms`, which OpenAI prefers, or `Retry-After` in seconds. A date is not understood.
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
    fn milliseconds_come_before_seconds_and_nonsense_is_no_wait() {
        assert_eq!(waits(&[("retry-after", "2"), ("retry-after-ms", "150")]), Some(Duration::from_millis(150)));
        assert_eq!(waits(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        for nonsense in ["-1", "NaN", "inf", "1e99", "Wed, 21 Oct 2026 07:28:00 GMT", ""] {
            assert_eq!(waits(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
    }

    #[test]
    fn only_what_may_pass_is_repeated() {
        let refused = |status, code: &str| Failure::Refused {
            status,
            fault: Fault { code: Some(code.to_owned()), ..Fault::default() },
            retry_after: None,
            of_include: false,
        };
        for (failure, may_pass) in [
            (refused(429, "rate_limit_exceeded"), true),
            (refused(429, "insufficient_quota"), false),
            (refused(500, ""), true),
            (refused(503, ""), true),
            (refused(408, ""), true),
            (refused(400, ""), false),
            (refused(401, "invalid_api_key"), false),
            (refused(404, "model_not_found"), false),
            (Failure::Cut, true),
            (Failure::NoStream, false),
        ] {
            assert_eq!(failure.may_pass(), may_pass, "{failure:?}");
        }
    }

    #[test]
    fn a_key_that_cannot_stand_in_a_header_is_refused() {
        let config = |key: &str| config::OpenAi { api_key: key.into(), model: String::new(), base_url: String::new() };
        assert!(Endpoint::new(&config("sk-1\n")).is_none());
        let headers = Endpoint::new(&config("sk-1")).unwrap().headers();
        assert!(!format!("{headers:?}").contains("sk-1"));
    }
}
