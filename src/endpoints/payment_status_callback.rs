//! `POST /payment-status-callback`: Twilio reports a step of a payment.
//!
//! Written down before it is answered, whether the call is live or not; then the news goes into the mailbox of the call, and
//! nobody waits for a model.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::{error, warn};

use super::signed::Signed;
use crate::payment::Status;
use crate::session::{self, Delivery, payment_log};

/// 204 whether the call is known or not: Twilio can do nothing about it. 400 if it names no payment; 500 if it could not be
/// written down, and 503 if the call's task is stuck: it may come again.
pub(super) async fn post(State(context): State<Arc<session::Context>>, signed: Signed) -> Response {
    let mut status = match Status::from_form(signed.form.fields()) {
        Ok(status) => status,
        Err(bad) => {
            warn!(%bad, "a payment status could not be read");
            return (StatusCode::BAD_REQUEST, format!("{bad}\n")).into_response();
        }
    };
    status.delivery = signed.delivery;
    let unread = status.clone();
    // What adds up to card testing is nothing of one call's: the limits of today decide.
    let limits = context.shelf.library().server.limits;
    let ledger = context.ledger.within(limits, context.environment.payment.currency);
    let written = ledger.reported(&unread).await;
    // The caller is to hear it even if it is not written.
    match context.calls.deliver(&unread.call, session::News::PaymentStatus(status)) {
        Delivery::Delivered => {}
        Delivery::UnknownCall => payment_log::late(&unread),
        Delivery::Full => {
            error!(call = %unread.call, payment = %unread.sid, "the call's mailbox is full: a payment status was not taken");
            payment_log::late(&unread);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    if let Err(error) = written {
        error!(call = %unread.call, payment = %unread.sid, %error, "a payment status was not written down");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}
