//! `set-silence-detection`: turns silence detection on or off.

use crate::call::ToolOutcome;

/// Makes the call turn silence detection on or off.
pub(super) async fn set_silence_detection(enabled: bool) -> ToolOutcome {
    ToolOutcome::SilenceDetection { enabled }
}
