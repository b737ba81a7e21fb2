//! `capture-card`: the caller enters the card number.

use super::{Desk, change};
use crate::call::Outcome;
use crate::payment::Update;

/// Asks Twilio to take the card number from the keypad: `Capture=payment-card-number`.
pub(super) async fn capture_card(desk: &Desk, update: &Update) -> Outcome {
    change(desk, update).await
}
