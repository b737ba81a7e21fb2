//! `do-not-call`: puts the number of the person on the line on the list of those that are not called any more.

use tracing::{error, info};

use super::ToolContext;
use crate::call::ToolOutcome;
use crate::phone_number::PhoneNumber;

/// Adds the number to the ledger's list. Nothing is promised before it is there.
pub(super) async fn do_not_call(context: &ToolContext, number: &PhoneNumber) -> ToolOutcome {
    let call_sid = &context.call.call_sid;
    match context.ledger.add_do_not_call(&context.call, number).await {
        Ok(()) => {
            info!(event = "call.do_not_call", %call_sid, "A person asked not to be called again; the number is on the list.");
            ToolOutcome::DoNotCall { is_listed: true }
        }
        Err(error) => {
            error!(event = "ledger.do_not_call_lost", %call_sid, %error, "A person asked not to be called again, and it could not be written.");
            ToolOutcome::DoNotCall { is_listed: false }
        }
    }
}
