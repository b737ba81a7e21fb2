//! `start-capture`: a payment session is opened on the call.

use super::payment;
use crate::call::Outcome;
use crate::payment::{Answer, Create};
use crate::sid::CallSid;
use crate::twilio::Client;

/// Opens a payment session: with an amount it charges the card, without one it tokenizes it.
pub(super) async fn start_capture(twilio: &Client, call: &CallSid, create: &Create) -> Outcome {
    payment(twilio.create_payment(call, create).await.map(Answer::Created))
}
