//! `POST /payment-status-callback`: Twilio reports a step of a payment.
//!
//! It is written, or held until it can be, before it is answered, whether the call is live or not; then it goes into the mailbox
//! of the call, and no model is waited for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::{error, warn};

use super::signed::Signed;
use crate::payment::Status;
use crate::session::{self, Delivery, payment_log};

/// 204 whether the call is known or not: Twilio can do nothing about it. 400 if it names no payment; 503 if it could be neither
/// written nor held, or if the call's task is stuck: it may come again.
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
    let limits = context.shelf.library().server.limits.clone();
    let ledger = context.ledger.within(limits, context.environment.payment.currency);
    let written = ledger.reported(&unread).await;
    // The caller hears it even if it is not written.
    match context.calls.deliver(&unread.call, session::News::PaymentStatus(Box::new(status))) {
        Delivery::Delivered => {}
        Delivery::UnknownCall => payment_log::late(&unread),
        Delivery::Full => {
            error!(call = %unread.call, payment = %unread.sid, "the call's mailbox is full: a payment status was not taken");
            payment_log::late(&unread);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    if let Err(error) = written {
        error!(
            event = "ledger.callback_refused",
            call = %unread.call,
            payment = %unread.sid,
            %error,
            "A payment status could be neither written nor held: Twilio is answered 503."
        );
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}
