//! Cancels the payments in the background that an earlier server or a broken session left open at Twilio.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tracing::{error, info, warn};

use crate::call::ToolOutcome;
use crate::ids::PaymentSid;
use crate::ledger::{Ledger, OrphanedPayment};
use crate::payment::{PaymentSettings, TwilioResponse};
use crate::server_id::ServerId;
use crate::telemetry::measure_twilio_work;
use crate::tools::{self, ToolContext};
use crate::twilio;

/// The maximum number of payments that are cancelled at the same time.
const MAX_CONCURRENT: usize = 4;

/// How long to wait before each attempt.
const RETRY_DELAYS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(3), Duration::from_secs(15)];

/// Cancels orphaned payments. `settings` supply the terms that the ledger does not store. A payment that cannot be
/// cancelled is abandoned all the same, and logged.
/// `client_of` is the client for payments that Twilio reports to a server.
pub(crate) async fn cancel_orphaned_payments(
    ledger: Ledger,
    client_of: impl Fn(Option<ServerId>) -> Arc<twilio::TwilioClient>,
    settings: PaymentSettings,
    payments: Vec<OrphanedPayment>,
) {
    if payments.is_empty() {
        return;
    }
    warn!(
        event = "recovery.started",
        payments = payments.len(),
        "Payments that an earlier server or a broken session left open are being cancelled."
    );
    let one = async |payment: OrphanedPayment| {
        let twilio = client_of(payment.reported_to);
        let context = ToolContext { twilio, taken_up: None, ledger: ledger.clone(), call: payment.call.clone() };
        Box::pin(cancel_orphaned_payment(&context, &settings, &payment)).await;
        if let Err(error) = ledger.finish_recovery(&payment).await {
            error!(
                event = "recovery.result_lost",
                %error,
                "The end of the recovery of a payment could be neither written nor buffered."
            );
        }
    };
    stream::iter(payments).for_each_concurrent(MAX_CONCURRENT, one).await;
}

async fn cancel_orphaned_payment(context: &ToolContext, settings: &PaymentSettings, payment: &OrphanedPayment) {
    let mut request_id = None;
    for wait in RETRY_DELAYS {
        tokio::time::sleep(wait).await;
        let sid = match &payment.payment_sid {
            Some(sid) => sid.clone(),
            None => match look_up_session(context, settings, payment).await {
                SessionLookup::Sid(sid) => sid,
                SessionLookup::NoSession => {
                    return info!(event = "recovery.no_session", "Twilio has no session for an orphaned payment.");
                }
                SessionLookup::Retry => continue,
            },
        };
        let cancel = payment.cancel_request(sid.clone());
        let (outcome, work) = measure_twilio_work(tools::update_payment(context, &cancel)).await;
        request_id = work.failed_request_id().map(str::to_owned);
        context.twilio.record_call_work(&context.call.call_sid, work);
        match outcome {
            ToolOutcome::Payment(TwilioResponse::Accepted) => {
                return info!(event = "recovery.cancelled", payment_sid = %sid, "An orphaned payment was cancelled.");
            }
            ToolOutcome::Payment(TwilioResponse::Gone) => {
                return info!(event = "recovery.already_ended", payment_sid = %sid, "An orphaned payment had already ended.");
            }
            _ => {}
        }
    }
    error!(
        event = "payment.cancel_unknown",
        call_sid = %context.call.call_sid,
        payment_sid = payment.payment_sid.as_ref().map(tracing::field::display),
        request_id,
        "It is unknown whether the payment was cancelled: look it up at Twilio."
    );
}

/// The result of the repeated create request.
#[derive(Debug, PartialEq, Eq)]
enum SessionLookup {
    Sid(PaymentSid),
    /// There is no session: the call has ended.
    NoSession,
    Retry,
}

impl SessionLookup {
    fn from_outcome(outcome: ToolOutcome) -> Self {
        match outcome {
            ToolOutcome::Payment(TwilioResponse::Created(sid)) => Self::Sid(sid),
            ToolOutcome::Payment(TwilioResponse::Gone) => Self::NoSession,
            // A refusal of the repeated request does not show whether the first one opened a session.
            _ => Self::Retry,
        }
    }
}

/// Repeats the create request with its idempotency key. Twilio returns the same session.
async fn look_up_session(
    context: &ToolContext,
    settings: &PaymentSettings,
    payment: &OrphanedPayment,
) -> SessionLookup {
    match payment.create_request(settings) {
        Ok(create) => {
            let (outcome, work) = measure_twilio_work(tools::open_session(context, &create)).await;
            context.twilio.record_call_work(&context.call.call_sid, work);
            SessionLookup::from_outcome(outcome)
        }
        // The request cannot be built without all of its terms.
        Err(_) => SessionLookup::Retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_call_shows_that_no_session_is_open() {
        let lookup = |response| SessionLookup::from_outcome(ToolOutcome::Payment(response));
        let sid: PaymentSid = "PK1".parse().unwrap();
        assert_eq!(lookup(TwilioResponse::Created(sid.clone())), SessionLookup::Sid(sid));
        assert_eq!(lookup(TwilioResponse::Gone), SessionLookup::NoSession);
        for code in [None, Some(64004), Some(64021)] {
            assert_eq!(lookup(TwilioResponse::Refused { code, reason: "no" }), SessionLookup::Retry, "{code:?}");
        }
        assert_eq!(lookup(TwilioResponse::Unknown), SessionLookup::Retry);
        assert_eq!(SessionLookup::from_outcome(ToolOutcome::NoResult), SessionLookup::Retry);
    }
}
