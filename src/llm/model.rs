//! The model: one pooled HTTP/2 client, and what was detected about the model's reasoning.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use reqwest::redirect;

use super::ModelLimits;
use super::transport::{OpenAiEndpoint, TransportError};
use crate::config;

/// The time limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit for a read from a connection. The limits of a response are usually shorter.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an idle connection is kept; longer than the usual pause between two requests of a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// The interval of HTTP/2 keep-alive pings, which detect a dead connection before a request uses it.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// The time limit for the reply to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A model of OpenAI's Responses API. Cheap to clone; all clones share their connections and the detected properties of
/// the model.
#[derive(Clone)]
pub struct Model {
    pub(super) inner: Arc<ModelInner>,
    limits: ModelLimits,
}

/// The reason why the client of the model could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildModelError {
    /// The API key is not a valid header value.
    #[error(
        "OPENAI_API_KEY contains a character that is not allowed in an HTTP header, such as a line break: copy it again"
    )]
    ApiKey,
    /// The HTTP client could not be built, usually because root certificates are missing.
    #[error("the HTTP client for OpenAI cannot be set up; are root certificates (ca-certificates) installed?")]
    Http(#[source] reqwest::Error),
}

pub(super) struct ModelInner {
    pub(super) http: reqwest::Client,
    pub(super) endpoint: OpenAiEndpoint,
    pub(super) name: String,
    /// Whether the model reasons: derived from its name, or detected from its responses.
    is_reasoning: AtomicBool,
    /// Whether OpenAI refused to return encrypted reasoning.
    reasoning_refused: AtomicBool,
}

impl Model {
    /// Creates the model of `config` with these limits. Opens no connection.
    pub fn new(config: &config::OpenAiConfig, limits: ModelLimits) -> Result<Self, BuildModelError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(BuildModelError::Http)?;
        let endpoint = OpenAiEndpoint::new(config).ok_or(BuildModelError::ApiKey)?;
        let inner = Arc::new(ModelInner {
            http,
            endpoint,
            name: config.model.clone(),
            is_reasoning: AtomicBool::new(is_reasoning_model(&config.model)),
            reasoning_refused: AtomicBool::new(false),
        });
        Ok(Self { inner, limits })
    }

    /// The same model with other limits.
    pub fn with_limits(&self, limits: ModelLimits) -> Self {
        Self { inner: self.inner.clone(), limits }
    }

    /// The limits of a response.
    pub fn limits(&self) -> ModelLimits {
        self.limits
    }
}

impl ModelInner {
    /// Whether a request asks for reasoning items that can be sent back.
    pub(super) fn requests_reasoning(&self) -> bool {
        self.is_reasoning.load(Relaxed) && !self.reasoning_refused.load(Relaxed)
    }

    /// Records that the model sent a reasoning item.
    pub(super) fn mark_reasoning(&self) {
        self.is_reasoning.store(true, Relaxed);
    }

    /// Learns from an error what the server does not take, and says whether the request is to be repeated without it.
    pub(super) fn learn_refusal(&self, failure: &TransportError) -> bool {
        let Some(info) = failure.error_info().filter(|_| self.requests_reasoning()) else { return false };
        let is_include = info.param.as_deref().is_some_and(|param| param.starts_with("include"));
        let is_refused = is_include || info.mentions(&["reasoningencryptedcontent", "encryptedcontentisnotsupported"]);
        if is_refused {
            self.reasoning_refused.store(true, Relaxed);
        }
        is_refused
    }
}

/// Shows the name of the model, and not the key.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({:?})", self.inner.name)
    }
}

/// Whether a model of this name reasons: the o series, and gpt-5 and later, except for chat variants.
fn is_reasoning_model(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    if name.contains("chat") {
        return false;
    }
    let o_series = name.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let generation = name.strip_prefix("gpt-").and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    o_series || generation.and_then(|digits| digits.parse::<u32>().ok()).is_some_and(|generation| generation >= 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reasoning_model_is_recognized_by_its_name() {
        for model in ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5.1-mini", "openai/gpt-5", "gpt-6-nano"] {
            assert!(is_reasoning_model(model), "{model}");
        }
        for model in ["gpt-4o", "gpt-4.1", "gpt-5-chat-latest", "gpt-oss-120b", "omni", "ft:gpt-4o:acme", ""] {
            assert!(!is_reasoning_model(model), "{model}");
        }
    }
}
