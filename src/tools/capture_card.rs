//! `capture-card`: the caller enters the card number.

use super::payment;
use crate::call::Outcome;
use crate::payment::{Answer, Update};
use crate::sid::CallSid;
use crate::twilio::Client;

/// Asks Twilio to take the card number from the keypad: `Capture=payment-card-number`.
pub(super) async fn capture_card(twilio: &Client, call: &CallSid, update: &Update) -> Outcome {
    payment(twilio.update_payment(call, update).await.map(|()| Answer::Accepted))
}
