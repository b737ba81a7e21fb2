//! `capture-security-code`: the caller enters the security code.

use super::payment;
use crate::call::Outcome;
use crate::payment::{Answer, Update};
use crate::sid::CallSid;
use crate::twilio::Client;

/// Asks Twilio to take the security code from the keypad: `Capture=security-code`. Only after the card number, whose brand decides on its length.
pub(super) async fn capture_security_code(twilio: &Client, call: &CallSid, update: &Update) -> Outcome {
    payment(twilio.update_payment(call, update).await.map(|()| Answer::Accepted))
}
