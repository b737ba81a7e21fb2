//! `set-silence-detection`: the watch for a silent caller goes on or off.

use crate::call::Outcome;

/// Asks the call to watch for silence, or not to.
pub(super) async fn set_silence_detection(enabled: bool) -> Outcome {
    Outcome::SilenceDetection { enabled }
}
