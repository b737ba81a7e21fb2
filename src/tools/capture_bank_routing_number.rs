//! `capture-bank-routing-number`: the caller enters the bank routing number.

use super::{ToolContext, request_update};
use crate::call::ToolOutcome;
use crate::payment::UpdatePayment;

/// Asks Twilio to capture the bank routing number from the keypad: `Capture=bank-routing-number`.
pub(super) async fn capture_bank_routing_number(context: &ToolContext, update: &UpdatePayment) -> ToolOutcome {
    request_update(context, update).await
}
