//! `live-agent-handoff`: a person takes over.

use crate::call::Outcome;
use crate::redact::Private;

/// Asks the call to end with its hand-off data, with which `/connectAction` finds a person.
pub(super) async fn live_agent_handoff(reason: Private<String>, summary: Private<String>) -> Outcome {
    Outcome::HandOff { reason, summary }
}
