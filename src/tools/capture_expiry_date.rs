//! `capture-expiry-date`: the caller enters the expiry date.

use super::{Desk, change};
use crate::call::Outcome;
use crate::payment::Update;

/// Asks Twilio to take the expiry date from the keypad, as MMYY: `Capture=expiration-date`.
pub(super) async fn capture_expiry_date(desk: &Desk, update: &Update) -> Outcome {
    change(desk, update).await
}
