//! A client for Flowise: a prediction of a flow as a stream of model events.
//!
#![doc = include_str!("flowise/README.md")]

mod abort;
mod answer;
mod body;
mod event;
#[cfg(any(fuzzing, test))]
mod fuzzing;
mod response;
mod streaming;
#[cfg(test)]
mod tests;

#[cfg(any(fuzzing, test))]
pub use fuzzing::check_flowise_stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::task::TaskTracker;
use tracing::warn;
use uuid::Uuid;

use crate::call::{ModelEvent, ModelRequest};
use crate::call_identity::CallIdentity;
use crate::config::FlowiseConfig;
use crate::http_client::{self, Target};
use crate::llm::{ModelLimits, Profile};
use crate::telemetry::{Telemetry, TelemetrySlot};
use abort::AbortOnDrop;
use body::PredictionRequest;
use response::PredictionStream;
pub(crate) use streaming::ChatflowStreaming;
use streaming::KnownFlows;

/// The time limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection is kept: less than the 5 seconds after which Node.js, under Flowise, closes it. A request
/// on a connection that is being closed may be lost, and a prediction is never repeated.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// A Flowise server with the flows that calls may use. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub struct Flowise(Arc<FlowiseClient>);

struct FlowiseClient {
    http: reqwest::Client,
    config: FlowiseConfig,
    /// The requests that stop predictions.
    tasks: TaskTracker,
    known_flows: KnownFlows,
    telemetry: TelemetrySlot,
}

/// The flow that answers one call.
#[derive(Debug, Clone)]
pub struct FlowiseCall {
    client: Arc<FlowiseClient>,
    limits: ModelLimits,
    identity: CallIdentity,
    chatflow_id: String,
    /// Makes the chat ids of this call different from those of every other one, also after a restart of the server.
    nonce: Uuid,
}

/// The reason why the client of Flowise could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildFlowiseError {
    /// The API key is not a valid header value.
    #[error(
        "FLOWISE_API_KEY contains a character that is not allowed in an HTTP header, such as a line break: copy it again"
    )]
    ApiKey,
    /// The HTTP client could not be built, usually because root certificates are missing.
    #[error("the HTTP client for Flowise cannot be set up; are root certificates (ca-certificates) installed?")]
    Http(#[source] reqwest::Error),
}

impl Flowise {
    /// Reports failures to this hub from now on.
    pub(crate) fn set_telemetry(&self, telemetry: &Arc<Telemetry>) {
        self.0.telemetry.set(telemetry);
    }

    /// Creates the client of `config`. Opens no connection. The requests that stop predictions run in `tasks`.
    pub fn new(config: &FlowiseConfig, tasks: TaskTracker) -> Result<Self, BuildFlowiseError> {
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
        if let Some(key) = &config.api_key {
            let bearer = SecretString::from(format!("Bearer {}", key.expose_secret()));
            let mut bearer = HeaderValue::from_str(bearer.expose_secret()).map_err(|_| BuildFlowiseError::ApiKey)?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let http = http_client::builder(Target::of_text(&config.url))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build()
            .map_err(BuildFlowiseError::Http)?;
        Ok(Self(Arc::new(FlowiseClient {
            http,
            config: config.clone(),
            tasks,
            known_flows: KnownFlows::default(),
            telemetry: TelemetrySlot::default(),
        })))
    }

    /// Returns the flow for one call: the one that the call names, if it is allowed, or the default one.
    pub fn for_call(&self, limits: ModelLimits, identity: CallIdentity) -> FlowiseCall {
        let config = &self.0.config;
        let named = identity.chatflow_id.as_ref().map(|id| id.reveal().as_str());
        let is_allowed = |id: &&str| *id == config.chatflow_id || config.allowed_chatflows.iter().any(|it| it == id);
        let allowed = named.filter(is_allowed);
        if named.is_some() && allowed.is_none() {
            warn!(
                event = "flowise.chatflow_refused",
                "The call names a flow that FLOWISE_ALLOWED_CHATFLOWS does not contain; the default flow answers."
            );
        }
        let chatflow_id = allowed.unwrap_or(&config.chatflow_id).to_owned();
        FlowiseCall { client: self.0.clone(), limits, identity, chatflow_id, nonce: Uuid::new_v4() }
    }
}

impl FlowiseCall {
    /// Requests a prediction. The time limits start now; the request is sent when the stream is first polled.
    ///
    /// The last event, and no other, is `Completed` or `Failed`. A poll may be cancelled without loss of events.
    /// Dropping the stream before its end closes the connection and stops the prediction.
    pub(crate) fn respond(&self, profile: &Profile, request: &ModelRequest) -> BoxStream<'static, ModelEvent> {
        let chat_id = self.chat_id(request);
        let variables = &self.client.config.variables;
        // Bound to the request: what the flow calls after an interruption does not belong to the next answer.
        let token = self.identity.call_token.as_ref().map(|token| token.for_request(request.id));
        let body = PredictionRequest::new(&chat_id, profile, &request.input, variables, &self.identity, token.as_ref());
        let body = body.to_json();
        let abort = AbortOnDrop::new(self.client.clone(), &self.chatflow_id, &chat_id);
        PredictionStream::new(self, request, body, abort).into_events()
    }

    /// The limits of a response.
    pub fn limits(&self) -> ModelLimits {
        self.limits
    }

    /// The chat id of a request. Flowise sends the words of all predictions with the same chat id to the last client
    /// that asked with it, also those of a prediction that was interrupted: so each request has its own.
    fn chat_id(&self, request: &ModelRequest) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let call: String = self.identity.call_sid.as_str().chars().map(plain).collect();
        format!("{call}-{}-{}", self.nonce.simple(), request.id.0)
    }
}

impl FlowiseClient {
    /// The URL of a route of the API. Its parts need no encoding: they are letters, digits, dashes and underscores.
    fn url(&self, route: &str) -> String {
        format!("{}/api/v1/{route}", self.config.url)
    }
}

/// Shows the address, and not the key.
impl fmt::Debug for FlowiseClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowiseClient({:?})", self.config.url)
    }
}
