//! `play-media`: plays a recording to the caller.

use url::Url;

use crate::call::ToolOutcome;
use crate::relay::OutgoingFrame;

/// Plays a recording `times` times, after the current speech.
pub(super) async fn play_media(source: Url, times: u16) -> ToolOutcome {
    ToolOutcome::SendFrame(OutgoingFrame::Play { source, times })
}
