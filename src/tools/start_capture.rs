//! `start-capture`: opens a payment session on the call.

use std::time::Duration;

use tokio::time::timeout;

use super::{ToolContext, log_lost_response, refusal_outcome, to_twilio_response};
use crate::call::ToolOutcome;
use crate::payment::{CreatePayment, TwilioResponse};

/// How long the claim of the call, and the recovery of an earlier payment on it that a server left open, may take.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(3);

/// Opens a payment session, recorded in the ledger first. With an amount it charges the card; without one it tokenizes
/// it.
pub(super) async fn start_capture(context: &ToolContext, create: &CreatePayment) -> ToolOutcome {
    let ready = async {
        if let Some(claim) = &context.call.claim {
            claim.wait_until_asked().await;
        }
        context.ledger.wait_until_recovered(&context.call.call_sid).await;
    };
    // If it takes longer, the ledger refuses the payment.
    let _ = timeout(RECOVERY_TIMEOUT, ready).await;
    open_session(context, create).await
}

/// Requests a session from Twilio, or repeats the request for the same session.
pub(crate) async fn open_session(context: &ToolContext, create: &CreatePayment) -> ToolOutcome {
    if let Err(refusal) = context.ledger.record_create_request(&context.call, create).await {
        return refusal_outcome(context, &refusal);
    }
    let answer = to_twilio_response(
        context.client_for(create.id).create_payment(&context.call.call_sid, create).await.map(TwilioResponse::Created),
    );
    log_lost_response(context.ledger.record_create_response(create, &answer).await);
    ToolOutcome::Payment(answer)
}
