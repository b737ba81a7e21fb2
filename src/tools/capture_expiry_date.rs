//! `capture-expiry-date`: the caller enters the expiry date.

use super::{ToolContext, request_update};
use crate::call::ToolOutcome;
use crate::payment::UpdatePayment;

/// Asks Twilio to capture the expiry date from the keypad, as MMYY: `Capture=expiration-date`.
pub(super) async fn capture_expiry_date(context: &ToolContext, update: &UpdatePayment) -> ToolOutcome {
    request_update(context, update).await
}
