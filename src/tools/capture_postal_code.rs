//! `capture-postal-code`: the caller enters the postal code.

use super::payment;
use crate::call::Outcome;
use crate::payment::{Answer, Update};
use crate::sid::CallSid;
use crate::twilio::Client;

/// Asks Twilio to take the postal code from the keypad: `Capture=postal-code`.
pub(super) async fn capture_postal_code(twilio: &Client, call: &CallSid, update: &Update) -> Outcome {
    payment(twilio.update_payment(call, update).await.map(|()| Answer::Accepted))
}
