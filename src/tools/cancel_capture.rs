//! `cancel-capture`: cancels the payment.

use tracing::error;

use super::{ToolContext, send_update};
use crate::call::ToolOutcome;
use crate::payment::UpdatePayment;

/// Cancels the payment and discards what was entered: `Status=cancel`. Another attempt needs a new session.
pub(crate) async fn cancel_capture(context: &ToolContext, update: &UpdatePayment) -> ToolOutcome {
    // A cancellation is sent even if it cannot be recorded: no payment stays open because the ledger fails.
    if let Err(error) = context.ledger.record_update_request(&context.call, update).await {
        error!(
            event = "ledger.cancel_lost",
            payment_sid = %update.payment_sid,
            %error,
            "A payment is cancelled, but the cancellation could be neither written nor queued."
        );
    }
    ToolOutcome::Payment(send_update(context, update).await)
}
