//! `POST /updateResponseService`: other instructions and tools for a live call. What was said so far stays.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use tracing::info;

use super::json::{Json, Problem};
use super::operator::Operator;
use crate::call::ContextKeys;
use crate::session::{self, Delivery, News};
use crate::sid::CallSid;

/// The body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Asked {
    call_sid: CallSid,
    context_key: Option<String>,
    manifest_key: Option<String>,
}

/// 204: they are used from the call's next request to the model on.
pub(super) async fn post(
    _: Operator,
    State(context): State<Arc<session::Context>>,
    Json(asked): Json<Asked>,
) -> Result<StatusCode, Problem> {
    let keys = ContextKeys { context: asked.context_key, manifest: asked.manifest_key };
    if keys == ContextKeys::default() {
        return Err(Problem::bad("give contextKey, manifestKey or both"));
    }
    let library = context.shelf.library();
    library.profile(keys.context.as_deref(), keys.manifest.as_deref()).map_err(Problem::bad)?;
    match context.calls.deliver(&asked.call_sid, News::Reconfigure { keys, library }) {
        Delivery::Delivered => {
            info!(call = %asked.call_sid, "a call is reconfigured");
            Ok(StatusCode::NO_CONTENT)
        }
        Delivery::UnknownCall => Err(Problem::new(StatusCode::NOT_FOUND, "no live call has this callSid")),
        Delivery::Full => Err(Problem::unavailable("the call takes no news at the moment: try again")),
    }
}
