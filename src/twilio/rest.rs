//! How a request is made to any of Twilio's REST APIs: authentication, time limits, retries, how much of an answer is read.
//!
//! What is asked, and of which resource, is not here.

use std::fmt;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::error::{Cause, Error};
use crate::config;
use crate::redact::Private;
use crate::sid::Sid;

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest wait before an attempt, whatever `Retry-After` asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// One of Twilio's REST APIs, as one account. Clones share their connections.
#[derive(Clone)]
pub(super) struct Rest {
    pub(super) limits: Limits,
    pub(super) origin: Url,
    http: reqwest::Client,
    user: String,
    password: SecretString,
}

/// How far a request may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// One attempt, connection and answer included.
    pub(super) attempt: Duration,
    /// A request, with all its attempts.
    pub(super) request: Duration,
    /// How often it is sent again.
    pub(super) retries: usize,
    /// How much of an answer is read, in bytes.
    pub(super) answer: usize,
}

/// When a request that failed may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Whenever another attempt may succeed: doing it twice is doing it once.
    Freely,
    /// Only where it is certain that nothing was done: Twilio was not reached, or had no time for it.
    IfUndone,
}

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    /// The body; empty for none.
    pub(super) form: &'a [(&'a str, &'a str)],
    pub(super) repeat: Repeat,
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// The origin is not one.
    #[error("{0:?} is no origin: set TWILIO_API_BASE_URL to one such as https://api.twilio.com, or leave it unset")]
    Origin(String),
    /// The HTTP client cannot be set up, which is mostly the fault of the machine's certificates.
    #[error("the HTTP client for Twilio cannot be set up; are root certificates (ca-certificates) installed?")]
    Http(#[source] reqwest::Error),
}

impl Rest {
    /// The API at `origin`, as the account of `config`.
    pub(super) fn new(config: &config::Twilio, origin: &str, limits: Limits) -> Result<Self, BadConfig> {
        let url = Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| BadConfig::Origin(origin.to_owned()))?;
        let (user, password) = match &config.api_key {
            Some(key) => (&key.sid, &key.secret),
            None => (&config.account_sid, &config.auth_token),
        };
        let http = reqwest::Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]))
            .connect_timeout(CONNECT)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(BadConfig::Http)?;
        Ok(Self { limits, origin: url, http, user: user.clone(), password: password.clone() })
    }

    /// The URL of a resource of this API. Each segment is percent-encoded.
    pub(super) fn url<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.origin.clone();
        // Only a URL without a host has no segments to push to.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Asks, and asks again where that is allowed and may help; returns the body of the answer. A body that is longer
    /// than the limit, or breaks off, is returned as an empty one.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Vec<u8>, Error> {
        let give_up = Instant::now() + self.limits.request;
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(self.limits.retries)
            .with_jitter()
            .build();
        let mut perhaps_done = false;
        let mut attempt = 1;
        loop {
            let limit = self.limits.attempt.min(give_up.saturating_duration_since(Instant::now()));
            let failure = match self.attempt(ask, limit, attempt).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            // Looking does nothing.
            perhaps_done |= ask.method != Method::GET && matches!(failure.error, Error::Unknown(_));
            let wait = waits.next().filter(|_| failure.again && (ask.repeat == Repeat::Freely || !perhaps_done));
            let wait = wait.map(|wait| failure.asks_to_wait.unwrap_or_default().max(wait).min(LONGEST_WAIT));
            let Some(wait) = wait.filter(|wait| Instant::now() + *wait < give_up) else {
                return Err(failure.after(perhaps_done));
            };
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, ask: Ask<'_>, limit: Duration, attempt: usize) -> Result<Vec<u8>, Failure> {
        let request = self.http.request(ask.method.clone(), ask.url.clone());
        let request = request.basic_auth(&self.user, Some(self.password.expose_secret())).timeout(limit);
        let request = if ask.form.is_empty() { request } else { request.form(ask.form) };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let failure = Failure::from(error.without_url());
                let cause = failure.error.root_cause();
                // Whoever only looks says so once, however often it looks.
                if ask.method == Method::GET {
                    tracing::debug!(attempt, failure = %failure.error, cause, "no answer from Twilio");
                } else {
                    tracing::warn!(attempt, failure = %failure.error, cause, "no answer from Twilio");
                }
                return Err(failure);
            }
        };
        let status = response.status();
        let request_id = request_id(&response);
        let asks_to_wait = retry_after(&response);
        let body = read(response, self.limits.answer).await;
        if status.is_success() {
            tracing::debug!(attempt, status = status.as_u16(), request_id, "Twilio accepted");
            // Twilio has done it. Whether the body is needed is for the caller to say.
            return Ok(body.unwrap_or_default());
        }
        let refusal: Refusal = body.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
        let (number, code) = (status.as_u16(), refusal.code);
        if ask.method == Method::GET {
            tracing::debug!(attempt, status = number, code, request_id, "Twilio did not accept");
        } else {
            tracing::warn!(attempt, status = number, code, request_id, "Twilio did not accept");
        }
        let error = if status.is_server_error() {
            Error::Unknown(Cause::Failed(number))
        } else {
            Error::Refused { status: number, code, message: refusal.message }
        };
        Err(Failure { error, again: matches!(number, 429 | 500 | 502 | 503 | 504), asks_to_wait })
    }
}

/// Which account, and nothing of its secrets.
impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("origin", &self.origin.as_str()).field("user", &self.user).finish_non_exhaustive()
    }
}

/// An attempt that failed, and whether another may succeed.
struct Failure {
    error: Error,
    again: bool,
    asks_to_wait: Option<Duration>,
}

impl Failure {
    /// The error of the request as a whole: a refusal says nothing about an earlier attempt that may have been done.
    fn after(self, perhaps_done: bool) -> Error {
        match self.error {
            Error::Refused { status, code, .. } if perhaps_done => Error::Unknown(Cause::RefusedLater { status, code }),
            Error::Unreached(error) if perhaps_done => Error::Unknown(Cause::NoAnswer(error)),
            error => error,
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let unsent = error.is_connect() || error.is_builder();
        let again = !error.is_builder();
        let error = if unsent { Error::Unreached(error) } else { Error::Unknown(Cause::NoAnswer(error)) };
        Self { error, again, asks_to_wait: None }
    }
}

/// The error body of the REST APIs, which may be empty or no JSON at all.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: Option<u32>,
    message: Private<String>,
}

/// The body, or nothing if it breaks off or is too long to be what was asked for.
async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| Unread)? {
        if body.len() + chunk.len() > limit {
            return Err(Unread);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

struct Unread;

fn retry_after(response: &Response) -> Option<Duration> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// Twilio's identifier of the request, for its support; bounded, since it comes from outside.
fn request_id(response: &Response) -> Option<String> {
    enum Request {}
    let id: Sid<Request> = response.headers().get("twilio-request-id")?.to_str().ok()?.parse().ok()?;
    Some(id.to_string())
}
