//! `POST /twilioStatusCallback`: Twilio reports how a call goes on.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::{error, info};

use super::signed::Signed;
use crate::session::{self, Delivery, News};
use crate::sid::CallSid;
use crate::twilio::CallStatus;

/// 204 whether the call is known or not, and however often it is told. 400 if it names no call; 503 if the call's task is
/// stuck.
pub(super) async fn post(State(context): State<Arc<session::Context>>, signed: Signed) -> Response {
    let call = signed.form.filled("CallSid").and_then(|sid| sid.parse::<CallSid>().ok());
    let status = signed.form.filled("CallStatus").and_then(|status| status.parse::<CallStatus>().ok());
    let (Some(call), Some(status)) = (call, status) else {
        return (StatusCode::BAD_REQUEST, "CallSid or CallStatus is missing\n").into_response();
    };
    let sequence: Option<u32> = signed.form.filled("SequenceNumber").and_then(|number| number.parse().ok());
    info!(%call, ?status, sequence, "call status");
    if status.is_terminal() {
        // A call that nobody answered never had a session that could forget it.
        context.requests.ended(&call);
    }
    if context.calls.deliver(&call, News::CallStatus(status)) == Delivery::Full {
        error!(%call, "the call's mailbox is full: its status was not taken");
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}
