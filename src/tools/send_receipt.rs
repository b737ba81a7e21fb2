//! The receipt of a payment, which the server sends itself.

use super::AgentTools;
use crate::call::ToolOutcome;
use crate::ids::PaymentSid;

/// Sends the receipt of a payment session, unless another process has sent it.
pub(super) async fn send_receipt(agent: &AgentTools, sid: &PaymentSid) -> ToolOutcome {
    ToolOutcome::Receipt(agent.receipts.send(sid).await)
}
