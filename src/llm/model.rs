//! The model: one pooled HTTP/2 client, and what was learned of the model's ways.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use async_openai::Client;
use async_openai::middleware::HttpRequestFactory;
use reqwest::redirect;

use super::Limits;
use super::transport::{self, Endpoint};
use crate::config;

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection may say nothing while an answer is due. The limits of a response end it before.
const READ: Duration = Duration::from_secs(60);
/// How long an unused connection is kept: longer than callers pause.
const IDLE: Duration = Duration::from_secs(90);
/// How often an HTTP/2 connection is asked whether it still lives, so that no caller finds out.
const PING: Duration = Duration::from_secs(20);
/// How long the answer to that may take.
const PONG: Duration = Duration::from_secs(5);

/// A model of OpenAI's Responses API. Cheap to clone; all clones share their connections and what they learned.
#[derive(Clone)]
pub struct Model {
    pub(super) inner: Arc<Inner>,
    limits: Limits,
}

/// Why no model can be asked.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// The API key holds what cannot be sent.
    #[error("OPENAI_API_KEY holds a character that no HTTP header may hold, such as a line break: copy it again")]
    ApiKey,
    /// The HTTP client cannot be set up, which is mostly the fault of the machine's certificates.
    #[error("the HTTP client for OpenAI cannot be set up; are root certificates (ca-certificates) installed?")]
    Http(#[source] reqwest::Error),
}

pub(super) struct Inner {
    pub(super) client: Client<Endpoint>,
    pub(super) name: String,
    /// Whether the model reasons: guessed from its name, or seen.
    reasons: AtomicBool,
    /// Whether OpenAI refused to hand out encrypted reasoning.
    keeps_reasoning: AtomicBool,
}

impl Model {
    /// The model that `config` names, asked within `limits`. No connection is made yet.
    pub fn new(config: &config::OpenAi, limits: Limits) -> Result<Self, BadConfig> {
        let http = reqwest::Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            .pool_idle_timeout(IDLE)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PONG)
            .http2_keep_alive_while_idle(true)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(BadConfig::Http)?;
        let endpoint = Endpoint::new(config).ok_or(BadConfig::ApiKey)?;
        let once = {
            let http = http.clone();
            tower::service_fn(move |request: HttpRequestFactory| transport::open(http.clone(), request))
        };
        let inner = Arc::new(Inner {
            client: Client::build(http, endpoint).with_http_service(once),
            name: config.model.clone(),
            reasons: AtomicBool::new(reasons(&config.model)),
            keeps_reasoning: AtomicBool::new(false),
        });
        Ok(Self { inner, limits })
    }

    /// The same model, asked within other limits.
    pub fn within(&self, limits: Limits) -> Self {
        Self { inner: self.inner.clone(), limits }
    }

    /// Within what time it has to answer.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

impl Inner {
    /// Whether to ask for reasoning items that can be sent back.
    pub(super) fn asks_for_reasoning(&self) -> bool {
        self.reasons.load(Relaxed) && !self.keeps_reasoning.load(Relaxed)
    }

    /// A reasoning item came.
    pub(super) fn learn_that_it_reasons(&self) {
        self.reasons.store(true, Relaxed);
    }

    /// Asking for reasoning items was refused: never again.
    pub(super) fn learn_that_it_keeps_its_reasoning(&self) {
        self.keeps_reasoning.store(true, Relaxed);
    }
}

/// Which model, and nothing of its key.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({:?})", self.inner.name)
    }
}

/// Whether a model of this name reasons: the o series and gpt-5 and its successors, but not their chat variants.
fn reasons(model: &str) -> bool {
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
    fn a_reasoning_model_is_known_by_its_name() {
        for model in ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5.1-mini", "openai/gpt-5", "gpt-6-nano"] {
            assert!(reasons(model), "{model}");
        }
        for model in ["gpt-4o", "gpt-4.1", "gpt-5-chat-latest", "gpt-oss-120b", "omni", "ft:gpt-4o:acme", ""] {
            assert!(!reasons(model), "{model}");
        }
    }
}
