//! `send-dtmf`: sends DTMF tones to the other party.

use crate::call::ToolOutcome;
use crate::relay::{Digits, OutgoingFrame};

/// Sends tones after the current speech, for example to navigate a phone menu.
pub(super) async fn send_dtmf(digits: Digits) -> ToolOutcome {
    ToolOutcome::SendFrame(OutgoingFrame::SendDigits { digits })
}
