//! `POST /payment-status-callback`: Twilio reports a step of a payment.
//!
//! Answered at once: the news goes into the mailbox of the call, and nobody waits for a model.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::{error, warn};

use super::signed::Signed;
use crate::payment::Status;
use crate::session::{self, Calls, Delivery, ledger};

/// 204 whether the call is known or not: Twilio can do nothing about it. 400 if it names no payment; 503 if the call's
/// task is stuck.
pub(super) async fn post(State(calls): State<Calls>, signed: Signed) -> Response {
    let mut status = match Status::from_form(signed.form.fields()) {
        Ok(status) => status,
        Err(bad) => {
            warn!(%bad, "a payment status could not be read");
            return (StatusCode::BAD_REQUEST, format!("{bad}\n")).into_response();
        }
    };
    status.delivery = signed.delivery;
    let unread = status.clone();
    match calls.deliver(&unread.call, session::News::PaymentStatus(status)) {
        Delivery::Delivered => {}
        Delivery::UnknownCall => ledger::late(&unread),
        Delivery::Full => {
            error!(call = %unread.call, payment = %unread.sid, "the call's mailbox is full: a payment status was not taken");
            ledger::late(&unread);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    StatusCode::NO_CONTENT.into_response()
}
