//! `capture-card`: the caller enters the card number.

use super::{ToolContext, request_update};
use crate::call::ToolOutcome;
use crate::payment::UpdatePayment;

/// Asks Twilio to capture the card number from the keypad: `Capture=payment-card-number`.
pub(super) async fn capture_card(context: &ToolContext, update: &UpdatePayment) -> ToolOutcome {
    request_update(context, update).await
}
