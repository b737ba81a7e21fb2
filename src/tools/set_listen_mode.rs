//! `set-listen-mode`: turns listen mode on or off.

use crate::call::ToolOutcome;

/// Makes the call keep the model's text silent, or speak it again.
pub(super) async fn set_listen_mode(enabled: bool) -> ToolOutcome {
    ToolOutcome::ListenMode { enabled }
}
