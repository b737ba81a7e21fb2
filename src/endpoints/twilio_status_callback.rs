//! `POST /twilioStatusCallback`: Twilio reports the status of a call.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::{error, info};

use super::auth::call_webhook::CallWebhook;
use crate::call_stage::CallStage;
use crate::session::{self, DeliveryOutcome, SessionMessage};
use crate::twilio::CallStatus;

/// Responds with 204 even if the call is unknown or the callback is repeated. 400 if `CallStatus` is missing; 503 if the
/// mailbox of the call is full.
pub(super) async fn post(
    State(context): State<Arc<session::SessionContext>>,
    CallWebhook { call, form }: CallWebhook,
) -> Response {
    let status = form.non_empty("CallStatus").and_then(|status| status.parse::<CallStatus>().ok());
    let Some(status) = status else {
        return (StatusCode::BAD_REQUEST, "CallStatus is missing\n").into_response();
    };
    let sequence: Option<u32> = form.non_empty("SequenceNumber").and_then(|number| number.parse().ok());
    info!(event = "twilio.call_status", call_sid = %call, ?status, sequence, "Twilio reported the status of a call.");
    if status.is_terminal() {
        // An unanswered call never had a session that removes its data.
        context.pending_calls.remove_call(&call);
        context.usage.admissions.release(&call);
        context.record_stage(&call, CallStage::Ended).await;
        context.put_away_ended(&call).await;
    }
    let is_machine = !status.is_terminal() && form.is_answered_by_machine();
    let message = if is_machine { SessionMessage::MachineAnswered } else { SessionMessage::CallStatus(status) };
    if context.calls.deliver(&call, message) == DeliveryOutcome::MailboxFull {
        error!(
            event = "session.mailbox_full",
            callback = "call_status",
            call_sid = %call,
            "The mailbox of the session is full: it did not get a callback, and Twilio is answered 503."
        );
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}
