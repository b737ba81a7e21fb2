//! `capture-postal-code`: the caller enters the postal code.

use super::{ToolContext, request_update};
use crate::call::ToolOutcome;
use crate::payment::UpdatePayment;

/// Asks Twilio to capture the postal code from the keypad: `Capture=postal-code`.
pub(super) async fn capture_postal_code(context: &ToolContext, update: &UpdatePayment) -> ToolOutcome {
    request_update(context, update).await
}
