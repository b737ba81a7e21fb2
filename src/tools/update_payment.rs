//! The capture tools, `finish-capture` and `cancel-capture`: change an open payment session.

use tracing::error;

use super::{ToolContext, log_lost_response, refusal_outcome, to_twilio_response};
use crate::call::ToolOutcome;
use crate::ledger::RecordRequestError;
use crate::payment::{TwilioResponse, UpdateAction, UpdatePayment};

/// Makes Twilio capture a field from the keypad (`Capture`), submit the payment (`Status=complete`) or discard what was
/// entered (`Status=cancel`). The request is recorded in the ledger first, which may refuse it.
///
/// An accepted request only begins the change: fields and results arrive by callback. Another attempt after a
/// cancellation needs a new session.
pub(crate) async fn update_payment(context: &ToolContext, update: &UpdatePayment) -> ToolOutcome {
    match context.ledger.record_update_request(&context.call, update).await {
        Ok(()) => {}
        // Its new owner has cancelled what was open, and may go on with what is open now.
        Err(refusal @ RecordRequestError::Elsewhere) => return refusal_outcome(context, &refusal),
        // A cancellation is sent even if it cannot be recorded: no payment stays open because the ledger fails.
        Err(error) if update.action == UpdateAction::Cancel => error!(
            event = "ledger.cancel_lost",
            payment_sid = %update.payment_sid,
            %error,
            "A payment is cancelled, but the cancellation could be neither written nor buffered."
        ),
        Err(refusal) => return refusal_outcome(context, &refusal),
    }
    let sent = context.client_for(update.id).update_payment(&context.call.call_sid, update).await;
    let answer = to_twilio_response(sent.map(|()| TwilioResponse::Accepted));
    log_lost_response(context.ledger.record_update_response(update, &answer).await);
    ToolOutcome::Payment(answer)
}
