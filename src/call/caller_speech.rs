//! Whether the caller is speaking, as Twilio reports it.

use std::time::{Duration, Instant};

/// How long the caller counts as speaking after the last partial prompt or `clientSpeaking` event.
const SPEECH_LIMIT: Duration = Duration::from_secs(15);

/// The same limit while a payment is open: the speech recogniser may mistake keypad tones for speech.
const KEYPAD_NOISE_LIMIT: Duration = Duration::from_secs(3);

/// The caller's speech in progress.
#[derive(Default)]
pub(super) struct CallerSpeech {
    /// When Twilio last reported that the caller speaks.
    since: Option<Instant>,
}

impl CallerSpeech {
    /// Records that the caller speaks.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Records that the caller has stopped speaking.
    pub(super) fn end(&mut self) {
        self.since = None;
    }

    /// When the caller counts as quiet, if Twilio reports nothing more.
    pub(super) fn deadline(&self, is_payment_open: bool) -> Option<Instant> {
        self.since.map(|since| since + if is_payment_open { KEYPAD_NOISE_LIMIT } else { SPEECH_LIMIT })
    }
}
