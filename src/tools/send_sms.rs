//! `send-sms`: sends a text message.

use tokio::time::Instant;

use super::{AgentTools, ToolContext};
use crate::call::ToolOutcome;
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::usage_limits::UsageLimit;

/// What the model is told if the caller has got as many messages within an hour as a limit allows.
const TOO_MANY_MESSAGES: &str = "No more text messages can be sent for this caller at the moment. Do not try again: offer to say it \
                                 instead.";

/// Sends a text message, unless the caller has got as many within an hour as the limit allows. Twilio accepts no
/// idempotency key for it, so it is repeated only if the request had no effect.
pub(super) async fn send_sms(
    context: &ToolContext,
    agent: &AgentTools,
    to: &PhoneNumber,
    body: &Private<String>,
) -> ToolOutcome {
    let limit = agent.library.server.usage_limits.messages_per_caller;
    let is_allowed =
        context.call.caller.as_ref().is_none_or(|caller| agent.usage.messages.take(caller, limit, Instant::now()));
    if !is_allowed {
        agent.usage.monitor.report(UsageLimit::MessagesPerCaller);
        return ToolOutcome::Sms(Err(TOO_MANY_MESSAGES));
    }
    let sent = context.twilio.send_message(to, body.reveal()).await;
    ToolOutcome::Sms(sent.map(|_| ()).map_err(|error| error.describe_message_failure()))
}
