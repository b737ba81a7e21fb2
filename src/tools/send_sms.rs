//! `send-sms`: the caller gets a text message.

use crate::call::Outcome;
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::twilio::Client;

/// Sends a text message. Twilio takes no idempotency key for it, so it is not repeated unless nothing was done.
pub(super) async fn send_sms(twilio: &Client, to: &PhoneNumber, body: &Private<String>) -> Outcome {
    let sent = twilio.send_message(to, body.reveal()).await;
    Outcome::Message(sent.map(|_| ()).map_err(|error| error.message_reason()))
}
