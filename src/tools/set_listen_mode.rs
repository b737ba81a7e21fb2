//! `set-listen-mode`: the agent falls silent, or speaks again.

use crate::call::Outcome;

/// Asks the call to keep to itself what the model says, or to speak it.
pub(super) async fn set_listen_mode(enabled: bool) -> Outcome {
    Outcome::ListenMode { enabled }
}
