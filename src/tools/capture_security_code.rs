//! `capture-security-code`: the caller enters the security code.

use super::{Desk, change};
use crate::call::Outcome;
use crate::payment::Update;

/// Asks Twilio to take the security code from the keypad: `Capture=security-code`. Only after the card number, whose brand decides on its length.
pub(super) async fn capture_security_code(desk: &Desk, update: &Update) -> Outcome {
    change(desk, update).await
}
