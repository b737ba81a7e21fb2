//! `finish-capture`: what was entered is submitted.

use super::payment;
use crate::call::Outcome;
use crate::payment::{Answer, Update};
use crate::sid::CallSid;
use crate::twilio::Client;

/// Submits what was entered: `Status=complete`. Accepted is not paid: the result comes by callback.
pub(super) async fn finish_capture(twilio: &Client, call: &CallSid, update: &Update) -> Outcome {
    payment(twilio.update_payment(call, update).await.map(|()| Answer::Accepted))
}
