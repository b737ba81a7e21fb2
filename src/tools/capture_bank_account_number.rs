//! `capture-bank-account-number`: the caller enters the number of the bank account.

use super::{Desk, change};
use crate::call::Outcome;
use crate::payment::Update;

/// Asks Twilio to take the number of the bank account from the keypad: `Capture=bank-account-number`.
pub(super) async fn capture_bank_account_number(desk: &Desk, update: &Update) -> Outcome {
    change(desk, update).await
}
