//! `live-agent-handoff`: hands the call off to a person.

use crate::call::ToolOutcome;
use crate::redact::Private;

/// Makes the session end with hand-off data, with which `/connectAction` connects a person.
pub(super) async fn live_agent_handoff(reason: Private<String>, summary: Private<String>) -> ToolOutcome {
    ToolOutcome::HandOff { reason, summary }
}
