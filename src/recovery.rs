//! Cancels the payments in the background that an earlier server or a broken session left open at Twilio.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tracing::{error, info, warn};

use crate::call::ToolOutcome;
use crate::ids::PaymentSid;
use crate::ledger::{Ledger, OrphanedPayment};
use crate::payment::{PaymentSettings, TwilioResponse};
use crate::tools::{self, ToolContext};
use crate::twilio;

/// Most payments that are cancelled at the same time.
const MAX_CONCURRENT: usize = 4;

/// How long to wait before each attempt.
const RETRY_DELAYS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(3), Duration::from_secs(15)];

/// Cancels orphaned payments, with the settings of the server that started them. A payment that cannot be cancelled is
/// abandoned all the same, and logged.
pub async fn cancel_orphaned_payments(
    ledger: Ledger,
    twilio: Arc<twilio::TwilioClient>,
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
        let context = ToolContext { twilio: twilio.clone(), ledger: ledger.clone(), call: payment.call.clone() };
        cancel_orphaned_payment(&context, &settings, &payment).await;
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
        match tools::cancel_capture(context, &payment.cancel_request(sid.clone())).await {
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
        "It is unknown whether the payment was cancelled: look it up at Twilio."
    );
}

/// The result of the repeated create request.
enum SessionLookup {
    Sid(PaymentSid),
    /// There is no session: the call has ended.
    NoSession,
    Retry,
}

/// Repeats the create request with its idempotency key. Twilio returns the same session.
async fn look_up_session(
    context: &ToolContext,
    settings: &PaymentSettings,
    payment: &OrphanedPayment,
) -> SessionLookup {
    // The request cannot be built without all of its terms.
    let Ok(create) = payment.create_request(settings) else { return SessionLookup::Retry };
    match tools::open_session(context, &create).await {
        ToolOutcome::Payment(TwilioResponse::Created(sid)) => SessionLookup::Sid(sid),
        ToolOutcome::Payment(TwilioResponse::Gone) => SessionLookup::NoSession,
        // A refusal of the repeated request does not show whether the first one opened a session.
        _ => SessionLookup::Retry,
    }
}
