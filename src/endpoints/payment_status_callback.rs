//! `POST /payment-status-callback`: Twilio reports a step of a payment.
//!
//! The callback is recorded in the ledger, or held in memory until it can be, before it is answered, even if the call
//! is not live. It is also put into the mailbox of the call; the response does not wait for the model. The caller hears a
//! result once it is durable, and goes on to the next field without waiting for the ledger.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::join;
use tokio::time::Instant;
use tracing::{error, warn};

use super::auth::call_webhook::PaymentWebhook;
use super::auth::twilio_signature::WebhookForm;
use crate::payment::{CallbackKind, PaymentCallback};
use crate::session::{self, DeliveryOutcome, SessionMessage, payment_log};
use crate::telemetry::WebhookRefusal;

/// Responds with 204 even if the call is unknown, since Twilio cannot act on that. 400 if the callback cannot be
/// parsed. 503 if it could be neither written nor buffered, or if the mailbox of the call is full, so that Twilio may
/// retry.
pub(super) async fn post(
    State(context): State<Arc<session::SessionContext>>,
    PaymentWebhook(form): PaymentWebhook,
) -> Response {
    let began = Instant::now();
    let response = handle(&context, &form).await;
    context.telemetry.record_callback_answer(began.elapsed());
    response
}

async fn handle(context: &Arc<session::SessionContext>, form: &WebhookForm) -> Response {
    let status = match PaymentCallback::from_form(form.fields(), &context.callback_digester) {
        Ok(status) => status,
        Err(error) => {
            context.telemetry.record_refused_webhook(WebhookRefusal::Unreadable);
            warn!(
                event = "twilio.payment_status_unreadable",
                %error,
                "A payment status callback could not be parsed."
            );
            return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
        }
    };
    context.telemetry.record_callback(&status.kind);
    if status.unmasked {
        error!(
            event = "payment.unmasked_card_data",
            call_sid = %status.call_sid,
            payment_sid = %status.payment_sid,
            "Twilio sent unmasked card data; it was dropped."
        );
    }
    let callback = status.clone();
    // Card testing is detected across calls, so the current limits apply and not those of one call.
    let limits = context.assets.library().server.limits.clone();
    let ledger = context.ledger.with_limits(limits, context.environment.payment.currency);
    let record = ledger.record_callback(&callback);
    let deliver = || context.calls.deliver(&callback.call_sid, SessionMessage::PaymentStatus(Box::new(status)));
    // The session gets the callback even if it could not be written, so that the caller hears the result.
    let (recorded, delivered) = match &callback.kind {
        CallbackKind::Ended(_) => {
            let recorded = record.await;
            (recorded, deliver())
        }
        // `join` begins with the first: what the call asks of Twilio now is recorded behind the callback.
        _ => join(record, async { deliver() }).await,
    };
    match delivered {
        DeliveryOutcome::Delivered => context.leave_callback_if_moved(&callback, form.fields()),
        DeliveryOutcome::UnknownCall => {
            context.log_late_result(&callback);
            context.leave_callback(&callback, form.fields());
        }
        DeliveryOutcome::MailboxFull => {
            error!(
                event = "session.mailbox_full",
                callback = "payment_status",
                call_sid = %callback.call_sid,
                payment_sid = %callback.payment_sid,
                "The mailbox of the session is full: it did not get a callback, and Twilio is answered 503."
            );
            payment_log::log_late_result(&callback);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    if let Err(error) = recorded {
        error!(
            event = "ledger.callback_refused",
            call_sid = %callback.call_sid,
            payment_sid = %callback.payment_sid,
            %error,
            "A payment status could be neither written nor buffered; Twilio is answered 503."
        );
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}
