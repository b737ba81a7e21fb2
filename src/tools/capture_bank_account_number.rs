//! `capture-bank-account-number`: the caller enters the bank account number.

use super::{ToolContext, request_update};
use crate::call::ToolOutcome;
use crate::payment::UpdatePayment;

/// Asks Twilio to capture the bank account number from the keypad: `Capture=bank-account-number`.
pub(super) async fn capture_bank_account_number(context: &ToolContext, update: &UpdatePayment) -> ToolOutcome {
    request_update(context, update).await
}
