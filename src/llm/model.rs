//! The model: its HTTP/2 connections, and what was detected about the model's reasoning.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_openai::Client;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use super::ModelLimits;
use super::capabilities::Capabilities;
use super::model_name::ServerKind;
use super::prewarm::PrewarmState;
use super::transport::OpenAiEndpoint;
use super::websocket::SocketPool;
use crate::config::{self, ApiBaseUrl, ModelTransport};
use crate::http_client::{self, ClientPool, Target};
use crate::phone_number::PhoneNumber;
use crate::telemetry::{Telemetry, TelemetrySlot};

/// The time limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection is kept; longer than the usual pause between two requests of a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// The interval of HTTP/2 keep-alive pings, which detect a dead connection before a request uses it.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// The time limit for the reply to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// The bytes that a server may send of a response before they are read, over HTTP/2.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all responses of a connection. Responses that are read slowly do not hold up the others.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// A model of OpenAI's Responses API. Cheap to clone; all clones share their connections and the detected properties of
/// the model.
#[derive(Clone)]
pub struct Model {
    pub(super) inner: Arc<ModelInner>,
    limits: ModelLimits,
    /// Identifies the caller to OpenAI, which then blocks that caller, and not the key, if its policies are violated.
    safety_identifier: Option<Arc<str>>,
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
    /// async-openai's client, for all but responses, whose streams [`transport`](super::transport) reads.
    pub(super) client: Client<OpenAiEndpoint>,
    pub(super) name: String,
    pub(super) capabilities: Capabilities,
    pub(super) prewarming: PrewarmState,
    /// Whether the server has left out the beginning of reasoning in the text of an answer.
    pub(super) leaves_reasoning_unopened: AtomicBool,
    pub(super) http: ClientPool,
    pub(super) telemetry: TelemetrySlot,
    /// The WebSockets, if responses are to be requested over those.
    pub(super) sockets: Option<SocketPool>,
    base_url: ApiBaseUrl,
    api_key: SecretString,
    /// The key of the identifiers of callers.
    identifier_key: Hmac<Sha256>,
}

impl Model {
    /// Creates the model of `config` with these limits. Opens no connection. Identifiers of callers are derived from
    /// `secret`, which OpenAI must not know: it could otherwise try all telephone numbers.
    pub fn new(
        config: &config::OpenAiConfig,
        secret: &SecretString,
        limits: ModelLimits,
    ) -> Result<Self, BuildModelError> {
        Self::new_at(ServerKind::of_host(config.base_url.host()), config, secret, limits)
    }

    /// Creates the model of a server of this kind, whichever its host is.
    pub(super) fn new_at(
        kind: ServerKind,
        config: &config::OpenAiConfig,
        secret: &SecretString,
        limits: ModelLimits,
    ) -> Result<Self, BuildModelError> {
        let target = Target::of_text(config.base_url.as_str());
        let http = ClientPool::new(move || build_client(target)).map_err(BuildModelError::Http)?;
        let sockets = match config.transport {
            ModelTransport::Http => None,
            ModelTransport::WebSocket => Some(SocketPool::new(config).map_err(BuildModelError::Http)?),
        };
        let endpoint = OpenAiEndpoint::new(config).ok_or(BuildModelError::ApiKey)?;
        let inner = Arc::new(ModelInner {
            client: Client::build(http.first(), endpoint),
            name: config.model.clone(),
            capabilities: Capabilities::new(kind, config),
            prewarming: PrewarmState::default(),
            leaves_reasoning_unopened: AtomicBool::new(false),
            http,
            telemetry: TelemetrySlot::default(),
            sockets,
            base_url: config.base_url.clone(),
            api_key: config.api_key.clone(),
            identifier_key: Hmac::new_from_slice(secret.expose_secret().as_bytes())
                .expect("HMAC takes keys of any length"),
        });
        Ok(Self { inner, limits, safety_identifier: None })
    }

    /// The model for a call with other limits. The caller's number is sent only as its HMAC.
    pub fn for_call(&self, limits: ModelLimits, caller: Option<&PhoneNumber>) -> Self {
        let safety_identifier = caller.map(|caller| self.inner.identify_caller(caller).into());
        Self { inner: self.inner.clone(), limits, safety_identifier }
    }

    /// Reports failures to this hub from now on.
    pub(crate) fn set_telemetry(&self, telemetry: &Arc<Telemetry>) {
        self.inner.telemetry.set(telemetry);
    }

    /// The value of `safety_identifier` of the call.
    pub(super) fn safety_identifier(&self) -> Option<Arc<str>> {
        self.safety_identifier.clone()
    }

    /// The limits of a response.
    pub fn limits(&self) -> ModelLimits {
        self.limits
    }
}

/// Builds a client of the model's server. Each request has a time limit of its own: one for each read would be set anew with each
/// token.
fn build_client(target: Target) -> reqwest::Result<reqwest::Client> {
    http_client::builder(target)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .build()
}

impl ModelInner {
    /// Begins a request other than for a response, on a connection of this client.
    pub(super) fn request(
        &self,
        client: &reqwest::Client,
        method: reqwest::Method,
        path: &[&str],
    ) -> reqwest::RequestBuilder {
        client.request(method, self.base_url.join(path)).bearer_auth(self.api_key.expose_secret())
    }

    /// Computes the identifier of a caller: HMAC-SHA256 in hex, 64 characters. OpenAI takes 128.
    fn identify_caller(&self, caller: &PhoneNumber) -> String {
        // The secret also signs other things; the prefix keeps their HMACs apart.
        let mac = self.identifier_key.clone().chain_update(b"safety_identifier:").chain_update(caller.as_str());
        hex::encode(mac.finalize().into_bytes())
    }
}

/// Shows the name of the model, and not the key.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({:?})", self.inner.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_identified_by_an_hmac_under_a_secret_of_this_server() {
        let limits = ModelLimits { first_token: Duration::ZERO, response: Duration::ZERO, retries: 0 };
        let config = config::OpenAiConfig::new("sk-1".into(), "gpt-6-luna", config::ApiBaseUrl::default());
        let identify = |secret: &str, caller: &str| {
            let model = Model::new(&config, &secret.into(), limits).unwrap();
            model.for_call(limits, caller.parse().ok().as_ref()).safety_identifier()
        };
        let identifier = identify("hush", "+15550001111").unwrap();
        // As computed by `printf safety_identifier:+15550001111 | openssl dgst -sha256 -hmac hush`.
        assert_eq!(&*identifier, "b99ffda3a0f339860cd2cdca64fd4380384ef001753f8ed4eccc0b6f781b0946");
        assert_eq!(identify("hush", "+15550001111"), Some(identifier.clone()));
        assert_ne!(identify("hush", "+15550001112"), Some(identifier.clone()));
        assert_ne!(identify("other", "+15550001111"), Some(identifier));
        assert_eq!(identify("hush", "anonymous"), None);
    }
}
