//! `POST /payment-status-callback`: Twilio reports a step of a payment.
//!
//! Answered at once: the news goes into the mailbox of the call, and nobody waits for a model.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::{error, warn};

use super::signed::Signed;
use crate::payment::{News, Outcome, Status};
use crate::session::{self, Calls, Delivery};

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
    let (call, payment) = (status.call.clone(), status.sid.clone());
    let result = match &status.news {
        News::Ended(ending) => Some(ending.outcome.clone()),
        _ => None,
    };
    match calls.deliver(&call, session::News::PaymentStatus(status)) {
        Delivery::Delivered => {}
        Delivery::UnknownCall => match result {
            Some(result @ Outcome::Success) => error!(%call, %payment, %result, "a payment ended after its call"),
            Some(result) => warn!(%call, %payment, %result, "a payment ended after its call"),
            None => {}
        },
        Delivery::Full => {
            error!(%call, %payment, "the call's mailbox is full: a payment status was not taken");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    StatusCode::NO_CONTENT.into_response()
}
