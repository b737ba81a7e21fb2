//! `send-sms`: sends a text message.

use crate::call::ToolOutcome;
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::twilio::TwilioClient;

/// Sends a text message. Twilio accepts no idempotency key for it, so it is repeated only if the request had no effect.
pub(super) async fn send_sms(twilio: &TwilioClient, to: &PhoneNumber, body: &Private<String>) -> ToolOutcome {
    let sent = twilio.send_message(to, body.reveal()).await;
    ToolOutcome::Sms(sent.map(|_| ()).map_err(|error| error.describe_message_failure()))
}
