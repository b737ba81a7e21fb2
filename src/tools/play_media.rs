//! `play-media`: the caller hears a recording.

use url::Url;

use crate::call::Outcome;
use crate::relay::Outgoing;

/// Plays a recording so many times, after what is being said.
pub(super) async fn play_media(source: Url, times: u16) -> Outcome {
    Outcome::Send(Outgoing::Play { source, times })
}
