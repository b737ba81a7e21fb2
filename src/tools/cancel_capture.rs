//! `cancel-capture`: the payment is given up.

use super::payment;
use crate::call::Outcome;
use crate::payment::{Answer, Update};
use crate::sid::CallSid;
use crate::twilio::Client;

/// Gives the payment up and discards what was entered: `Status=cancel`. To try again needs a new session.
pub(super) async fn cancel_capture(twilio: &Client, call: &CallSid, update: &Update) -> Outcome {
    payment(twilio.update_payment(call, update).await.map(|()| Answer::Accepted))
}
