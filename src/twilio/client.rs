//! One pooled client for Twilio's REST API: authentication, time limits, retries.

use std::fmt;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::error::{Cause, Error};
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::sid::Sid;
use crate::{config, payment};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(2);
/// How often a request is sent again.
const RETRIES: usize = 2;
/// The longest wait before an attempt, whatever `Retry-After` asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How much of an answer is read. A payment's is below 1 KiB.
const ANSWER_BYTES: usize = 64 * 1024;

/// Twilio's REST API, as one account.
///
/// A request that is repeated repeats its idempotency key, so that Twilio does once what was asked for twice; one that
/// has none is repeated only if Twilio certainly did nothing.
pub struct Client {
    pub(super) settings: payment::Settings,
    pub(super) status_callback: String,
    pub(super) limits: Limits,
    http: reqwest::Client,
    pub(super) origin: Url,
    /// This server's number.
    pub(super) from: PhoneNumber,
    account_sid: String,
    user: String,
    password: SecretString,
}

/// When a request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It carries an idempotency key: sent twice, it is done once.
    Freely,
    /// Done twice it would call somebody twice: only if it was never sent, or Twilio had no time for it.
    IfNotDone,
}

/// How long things may take: a caller is listening to silence.
pub(super) struct Limits {
    /// One attempt, connection and answer included.
    pub(super) attempt: Duration,
    /// A request, with all its attempts.
    pub(super) request: Duration,
}

const LIMITS: Limits = Limits { attempt: Duration::from_secs(5), request: Duration::from_secs(10) };

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

impl Client {
    /// A client for `config`'s account. Payments are made by `settings`, and Twilio reports them to `status_callback`,
    /// an absolute URL.
    pub fn new(
        config: &config::Twilio,
        settings: payment::Settings,
        status_callback: String,
    ) -> Result<Self, BadConfig> {
        let origin = Url::parse(&config.api_base).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let origin = origin.ok_or_else(|| BadConfig::Origin(config.api_base.clone()))?;
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
        Ok(Self {
            settings,
            status_callback,
            limits: LIMITS,
            http,
            origin,
            from: config.from_number.clone(),
            account_sid: config.account_sid.clone(),
            user: user.clone(),
            password: password.clone(),
        })
    }

    /// Posts a form to a resource of the account and returns the body of the answer, at most [`ANSWER_BYTES`] of it.
    /// It may be sent more than once, as `repeat` says.
    pub(super) async fn post(&self, path: &[&str], form: &[(&str, &str)], repeat: Repeat) -> Result<Vec<u8>, Error> {
        let url = self.url(path);
        let give_up = Instant::now() + self.limits.request;
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(RETRIES)
            .with_jitter()
            .build();
        let mut perhaps_done = false;
        let mut attempt = 1;
        loop {
            let limit = self.limits.attempt.min(give_up.saturating_duration_since(Instant::now()));
            let failure = match self.attempt(&url, form, limit, attempt).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            perhaps_done |= matches!(failure.error, Error::Unknown(_));
            let again = failure.again && (repeat == Repeat::Freely || !perhaps_done);
            let wait = waits.next().filter(|_| again);
            let wait = wait.map(|wait| failure.asks_to_wait.unwrap_or_default().max(wait).min(LONGEST_WAIT));
            let Some(wait) = wait.filter(|wait| Instant::now() + *wait < give_up) else {
                return Err(failure.after(perhaps_done));
            };
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.origin.clone();
        // Pushing a segment percent-encodes it. Only a URL without a host has no segments to push to.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["2010-04-01", "Accounts", &self.account_sid]).extend(path);
        }
        url
    }

    async fn attempt(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        limit: Duration,
        attempt: usize,
    ) -> Result<Vec<u8>, Failure> {
        let request = self
            .http
            .post(url.clone())
            .basic_auth(&self.user, Some(self.password.expose_secret()))
            .form(form)
            .timeout(limit);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let failure = Failure::from(error.without_url());
                let cause = failure.error.root_cause();
                tracing::warn!(attempt, failure = %failure.error, cause, "no answer from Twilio");
                return Err(failure);
            }
        };
        let status = response.status();
        let request_id = request_id(&response);
        let asks_to_wait = retry_after(&response);
        let body = read(response).await;
        if status.is_success() {
            tracing::debug!(attempt, status = status.as_u16(), request_id, "Twilio accepted");
            // Twilio has done it. Whether the body is needed is for the caller to say.
            return Ok(body.unwrap_or_default());
        }
        let refusal: Refusal = body.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
        tracing::warn!(attempt, status = status.as_u16(), code = refusal.code, request_id, "Twilio did not accept");
        let error = if status.is_server_error() {
            Error::Unknown(Cause::Failed(status.as_u16()))
        } else {
            Error::Refused { status: status.as_u16(), code: refusal.code, message: refusal.message }
        };
        Err(Failure { error, again: matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504), asks_to_wait })
    }
}

/// Which account, and nothing of its secrets.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("origin", &self.origin.as_str())
            .field("user", &self.user)
            .finish_non_exhaustive()
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

/// The error body of the REST API, which may be empty or no JSON at all.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: Option<u32>,
    message: Private<String>,
}

/// The body, or nothing if it breaks off or is too long to be what was asked for.
async fn read(mut response: Response) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| Unread)? {
        if body.len() + chunk.len() > ANSWER_BYTES {
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
