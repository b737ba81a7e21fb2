//! `capture-postal-code`: the caller enters the postal code.

use super::{Desk, change};
use crate::call::Outcome;
use crate::payment::Update;

/// Asks Twilio to take the postal code from the keypad: `Capture=postal-code`.
pub(super) async fn capture_postal_code(desk: &Desk, update: &Update) -> Outcome {
    change(desk, update).await
}
