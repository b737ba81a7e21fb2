//! What answers the caller: a model of OpenAI's Responses API, or a flow of Flowise.
//!
//! Both give the same [`ModelEvent`]s for the same [`ModelRequest`]s, so that a call does not know which one answers.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use secrecy::SecretString;
use tokio_util::task::TaskTracker;

use crate::call::{ModelEvent, ModelRequest};
use crate::call_identity::CallIdentity;
use crate::config::ResponseServiceConfig;
use crate::flowise::{BuildFlowiseError, Flowise, FlowiseCall};
use crate::llm::{BuildModelError, Model, ModelLimits, Profile};
use crate::telemetry::Telemetry;

/// The response service of all calls. Cheap to clone.
#[derive(Debug, Clone)]
pub enum ResponseService {
    /// `RESPONSE_SERVICE=openai`.
    OpenAi(Model),
    /// `RESPONSE_SERVICE=flowise`.
    Flowise(Flowise),
}

/// The response service of one call.
#[derive(Debug, Clone)]
pub enum CallResponseService {
    /// A model of the Responses API.
    OpenAi(Model),
    /// A flow of Flowise.
    Flowise(FlowiseCall),
}

/// The reason why the client of the response service could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildResponseServiceError {
    /// The client for OpenAI could not be built.
    #[error("the client for OpenAI could not be built")]
    OpenAi(#[source] BuildModelError),
    /// The client for Flowise could not be built.
    #[error("the client for Flowise could not be built")]
    Flowise(#[source] BuildFlowiseError),
}

impl ResponseService {
    /// Creates the service of `config`. Opens no connection. Identifiers of callers are derived from `secret`. What has
    /// to be done after a response was stopped runs in `tasks`.
    pub fn new(
        config: &ResponseServiceConfig,
        secret: &SecretString,
        limits: ModelLimits,
        tasks: &TaskTracker,
    ) -> Result<Self, BuildResponseServiceError> {
        match config {
            ResponseServiceConfig::OpenAi(config) => {
                Model::new(config, secret, limits).map(Self::OpenAi).map_err(BuildResponseServiceError::OpenAi)
            }
            ResponseServiceConfig::Flowise(config) => {
                Flowise::new(config, tasks.clone()).map(Self::Flowise).map_err(BuildResponseServiceError::Flowise)
            }
        }
    }

    /// Reports failures to this hub from now on.
    pub(crate) fn set_telemetry(&self, telemetry: &Arc<Telemetry>) {
        match self {
            Self::OpenAi(model) => model.set_telemetry(telemetry),
            Self::Flowise(flowise) => flowise.set_telemetry(telemetry),
        }
    }

    /// Prepares a model for a call that is about to begin. Nobody waits for it.
    pub fn prewarm(&self, profile: &Arc<Profile>) {
        match self {
            Self::OpenAi(model) => model.prewarm(profile),
            Self::Flowise(_) => {}
        }
    }

    /// Watches the service as long as the server runs.
    pub async fn watch(self) {
        match self {
            Self::OpenAi(model) => model.watch_shutdown().await,
            Self::Flowise(flowise) => flowise.watch_flows().await,
        }
    }

    /// Returns the service for one call, with the limits that apply when the call begins.
    pub fn for_call(&self, limits: ModelLimits, call: CallIdentity) -> CallResponseService {
        match self {
            Self::OpenAi(model) => CallResponseService::OpenAi(model.for_call(limits, call.caller.as_ref())),
            Self::Flowise(flowise) => CallResponseService::Flowise(flowise.for_call(limits, call)),
        }
    }
}

impl CallResponseService {
    /// Requests a response. The last event, and no other, is `Completed` or `Failed`; dropping the stream cancels the
    /// request.
    pub(crate) fn respond(&self, profile: Arc<Profile>, request: ModelRequest) -> BoxStream<'static, ModelEvent> {
        match self {
            Self::OpenAi(model) => model.respond(profile, request),
            Self::Flowise(flowise) => flowise.respond(&profile, &request),
        }
    }

    /// The limits of a response.
    pub fn limits(&self) -> ModelLimits {
        match self {
            Self::OpenAi(model) => model.limits(),
            Self::Flowise(flowise) => flowise.limits(),
        }
    }
}
