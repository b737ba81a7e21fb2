//! `end-call`: ends the call after a goodbye.

use crate::call::ToolOutcome;

/// Makes the call end once the goodbye was heard.
pub(super) async fn end_call() -> ToolOutcome {
    ToolOutcome::EndCall
}
