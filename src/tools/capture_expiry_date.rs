//! `capture-expiry-date`: the caller enters the expiry date.

use super::payment;
use crate::call::Outcome;
use crate::payment::{Answer, Update};
use crate::sid::CallSid;
use crate::twilio::Client;

/// Asks Twilio to take the expiry date from the keypad, as MMYY: `Capture=expiration-date`.
pub(super) async fn capture_expiry_date(twilio: &Client, call: &CallSid, update: &Update) -> Outcome {
    payment(twilio.update_payment(call, update).await.map(|()| Answer::Accepted))
}
