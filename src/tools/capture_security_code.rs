//! `capture-security-code`: the caller enters the security code.

use super::{ToolContext, request_update};
use crate::call::ToolOutcome;
use crate::payment::UpdatePayment;

/// Asks Twilio to capture the security code from the keypad: `Capture=security-code`. It follows the card number, whose
/// brand determines its length.
pub(super) async fn capture_security_code(context: &ToolContext, update: &UpdatePayment) -> ToolOutcome {
    request_update(context, update).await
}
