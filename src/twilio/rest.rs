//! Requests to Twilio's REST APIs: authentication, time limits, retries, and the limit on the size of a response.
//!
//! The resources are in the other modules.

use std::fmt;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::error::{TwilioError, UnknownOutcomeCause};
use crate::config;
use crate::http_client::{self, Target, read_body, retry_after};
use crate::ids::Sid;
use crate::redact::Private;
use crate::telemetry::{TelemetrySlot, TwilioAttempt, TwilioOperation, TwilioResult};

/// The time limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait before a retry, even if `Retry-After` asks for more.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(1);

/// One of Twilio's REST APIs, with the credentials of one account. Clones share their connections.
#[derive(Clone)]
pub(super) struct RestClient {
    pub(super) limits: RequestLimits,
    pub(super) origin: Url,
    http: reqwest::Client,
    user: String,
    password: SecretString,
    pub(super) telemetry: TelemetrySlot,
}

/// The limits of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestLimits {
    /// The time limit of one attempt, including connection and response.
    pub(super) attempt_timeout: Duration,
    /// The time limit of a request with all its attempts.
    pub(super) request_timeout: Duration,
    /// The number of retries.
    pub(super) retries: usize,
    /// The maximum size of a response body, in bytes.
    pub(super) max_response_bytes: usize,
}

/// When a failed request may be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryPolicy {
    /// Whenever a retry may succeed: the request is idempotent.
    Always,
    /// Only if Twilio has certainly not processed it: it was not reached, or refused the request because of its rate
    /// limit.
    IfNotProcessed,
}

/// A request.
#[derive(Clone, Copy)]
pub(super) struct RestRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    /// The form in the body; empty for no body.
    pub(super) form: &'a [(&'a str, &'a str)],
    pub(super) retry: RetryPolicy,
    /// What it is measured as.
    pub(super) operation: TwilioOperation,
}

/// The reason why a client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildTwilioClientError {
    /// The origin is malformed.
    #[error("{0:?} is not an origin: set TWILIO_API_BASE_URL to one such as https://api.twilio.com, or leave it unset")]
    Origin(String),
    /// The HTTP client could not be built, usually because root certificates are missing.
    #[error("the HTTP client for Twilio cannot be set up; are root certificates (ca-certificates) installed?")]
    Http(#[source] reqwest::Error),
}

impl RestClient {
    /// Creates a client for the API at `origin` with the credentials of `config`.
    pub(super) fn new(
        config: &config::TwilioConfig,
        origin: &str,
        limits: RequestLimits,
    ) -> Result<Self, BuildTwilioClientError> {
        let url = Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| BuildTwilioClientError::Origin(origin.to_owned()))?;
        let (user, password) = match &config.api_key {
            Some(key) => (&key.sid, &key.secret),
            None => (&config.account_sid, &config.auth_token),
        };
        let http = http_client::builder(Target::of(&url))
            .default_headers(HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]))
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(BuildTwilioClientError::Http)?;
        Ok(Self {
            limits,
            origin: url,
            http,
            user: user.clone(),
            password: password.clone(),
            telemetry: TelemetrySlot::default(),
        })
    }

    /// The URL of a resource. Each segment is percent-encoded.
    pub(super) fn url<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.origin.clone();
        // Only a URL without a host has no path segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Sends a request, with retries where they are allowed and may succeed, and returns the body of the response. A
    /// body that exceeds the limit or breaks off is returned as an empty one.
    pub(super) async fn send(&self, request: RestRequest<'_>) -> Result<Vec<u8>, TwilioError> {
        let began = Instant::now();
        let answer = self.send_with_retries(request, began + self.limits.request_timeout).await;
        self.telemetry.record(|telemetry| telemetry.record_twilio_request(request.operation, began.elapsed()));
        answer
    }

    async fn send_with_retries(&self, request: RestRequest<'_>, deadline: Instant) -> Result<Vec<u8>, TwilioError> {
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(self.limits.retries)
            .with_jitter()
            .build();
        let mut may_be_processed = false;
        let mut attempt = 1;
        loop {
            let limit = self.limits.attempt_timeout.min(deadline.saturating_duration_since(Instant::now()));
            let failure = match self.send_once(request, limit, attempt).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            // A GET request changes nothing.
            may_be_processed |= request.method != Method::GET && matches!(failure.error, TwilioError::Unknown(_));
            let wait = waits
                .next()
                .filter(|_| failure.is_retryable && (request.retry == RetryPolicy::Always || !may_be_processed));
            let wait = wait.map(|wait| failure.retry_after.unwrap_or_default().max(wait).min(MAX_RETRY_WAIT));
            let Some(wait) = wait.filter(|wait| Instant::now() + *wait < deadline) else {
                return Err(failure.into_request_error(may_be_processed));
            };
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    fn record_attempt(
        &self,
        operation: TwilioOperation,
        number: usize,
        started: Instant,
        result: TwilioResult,
        request_id: Option<&str>,
    ) {
        let (started, finished) = (started.into_std(), Instant::now().into_std());
        self.telemetry.record(|telemetry| {
            let request_id = request_id.map(str::to_owned);
            telemetry.record_twilio_attempt(TwilioAttempt { operation, number, started, finished, result, request_id });
        });
    }

    async fn send_once(
        &self,
        request: RestRequest<'_>,
        limit: Duration,
        attempt: usize,
    ) -> Result<Vec<u8>, FailedAttempt> {
        let started = Instant::now();
        let builder = self.http.request(request.method.clone(), request.url.clone());
        let builder = builder.basic_auth(&self.user, Some(self.password.expose_secret())).timeout(limit);
        let builder = if request.form.is_empty() { builder } else { builder.form(request.form) };
        let response = match builder.send().await {
            Ok(response) => response,
            Err(error) => {
                self.record_attempt(request.operation, attempt, started, None, None);
                let failure = FailedAttempt::from(error.without_url());
                let cause = failure.error.root_cause();
                // Callers of GET requests poll, and log a failure once themselves.
                if request.method == Method::GET {
                    tracing::debug!(
                        event = "twilio.get_unanswered", attempt, error = %failure.error, cause,
                        "Twilio did not respond."
                    );
                } else {
                    tracing::warn!(
                        event = "twilio.no_response", attempt, error = %failure.error, cause,
                        "Twilio did not respond."
                    );
                }
                return Err(failure);
            }
        };
        let status = response.status();
        let request_id = request_id(&response);
        let asks_to_wait = retry_after(response.headers());
        let body = read_body(response, self.limits.max_response_bytes).await;
        if status.is_success() {
            self.record_attempt(
                request.operation,
                attempt,
                started,
                Some((status.as_u16(), None)),
                request_id.as_deref(),
            );
            tracing::debug!(
                event = "twilio.accepted",
                attempt,
                status = status.as_u16(),
                request_id,
                "Twilio accepted the request."
            );
            // Twilio has processed the request. The caller decides whether it needs the body.
            return Ok(body.unwrap_or_default());
        }
        let refusal: ErrorBody = body.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
        let (number, code) = (status.as_u16(), refusal.code);
        self.record_attempt(request.operation, attempt, started, Some((number, code)), request_id.as_deref());
        if request.method == Method::GET {
            tracing::debug!(
                event = "twilio.get_refused",
                attempt,
                status = number,
                error_code = code,
                request_id,
                "Twilio responded with an error."
            );
        } else {
            tracing::warn!(
                event = "twilio.error_response",
                attempt,
                status = number,
                error_code = code,
                request_id,
                "Twilio responded with an error."
            );
        }
        let error = if status.is_server_error() {
            TwilioError::Unknown(UnknownOutcomeCause::ServerError { status: number, request_id })
        } else {
            TwilioError::Refused { status: number, code, message: refusal.message, request_id }
        };
        Err(FailedAttempt {
            error,
            is_retryable: matches!(number, 429 | 500 | 502 | 503 | 504),
            retry_after: asks_to_wait,
        })
    }
}

/// Shows the account, and no secret.
impl fmt::Debug for RestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("origin", &self.origin.as_str()).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A failed attempt, and whether a retry may succeed.
struct FailedAttempt {
    error: TwilioError,
    is_retryable: bool,
    retry_after: Option<Duration>,
}

impl FailedAttempt {
    /// The error of the request as a whole. After an attempt that may have been processed, a refusal or a failed
    /// connection does not mean that nothing was done.
    fn into_request_error(self, may_be_processed: bool) -> TwilioError {
        match self.error {
            TwilioError::Refused { status, code, request_id, .. } if may_be_processed => {
                TwilioError::Unknown(UnknownOutcomeCause::RetryRefused { status, code, request_id })
            }
            TwilioError::Unreachable(error) if may_be_processed => {
                TwilioError::Unknown(UnknownOutcomeCause::NoResponse(error))
            }
            error => error,
        }
    }
}

impl From<reqwest::Error> for FailedAttempt {
    fn from(error: reqwest::Error) -> Self {
        let unsent = error.is_connect() || error.is_builder();
        let again = !error.is_builder();
        let error = if unsent {
            TwilioError::Unreachable(error)
        } else {
            TwilioError::Unknown(UnknownOutcomeCause::NoResponse(error))
        };
        Self { error, is_retryable: again, retry_after: None }
    }
}

/// The error body of the REST APIs. It may be empty, or not JSON.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    code: Option<u32>,
    message: Private<String>,
}

/// Twilio's identifier of the request, for support cases. Its length is limited, since it is untrusted.
fn request_id(response: &Response) -> Option<String> {
    enum Request {}
    let id: Sid<Request> = response.headers().get("twilio-request-id")?.to_str().ok()?.parse().ok()?;
    Some(id.to_string())
}
