//! `POST /updateResponseService`: switches the instructions and tools of a live call. The history stays.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use tracing::info;

use super::auth::operator_token::Operator;
use super::json::{ApiError, JsonBody};
use crate::call::ContextKeys;
use crate::ids::CallSid;
use crate::session::{self, DeliveryOutcome, SessionMessage};

/// The request body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UpdateResponseServiceRequest {
    call_sid: CallSid,
    #[serde(alias = "contextFile")]
    context_key: Option<String>,
    #[serde(alias = "toolManifestFile")]
    manifest_key: Option<String>,
}

/// Responds with 204 once the switch is queued; it applies from the call's next model request on.
pub(super) async fn post(
    Operator(operator): Operator,
    State(context): State<Arc<session::SessionContext>>,
    JsonBody(request): JsonBody<UpdateResponseServiceRequest>,
) -> Result<StatusCode, ApiError> {
    let keys = ContextKeys { context: request.context_key, manifest: request.manifest_key };
    if keys == ContextKeys::default() {
        return Err(ApiError::bad_request("give contextKey, manifestKey or both"));
    }
    let library = context.assets.library();
    library.profile(keys.context.as_deref(), keys.manifest.as_deref()).map_err(ApiError::bad_request)?;
    match context.calls.deliver(&request.call_sid, SessionMessage::Reconfigure { keys, library }) {
        DeliveryOutcome::Delivered => {
            info!(
                event = "operator.call_reconfigured",
                call_sid = %request.call_sid,
                %operator,
                "An operator switched the instructions or tools of a call."
            );
            Ok(StatusCode::NO_CONTENT)
        }
        DeliveryOutcome::UnknownCall => Err(ApiError::new(StatusCode::NOT_FOUND, "no live call has this callSid")),
        DeliveryOutcome::MailboxFull => Err(ApiError::unavailable("the call is busy: try again")),
    }
}
