//! The agent's speech, and how much of it the caller heard.
//!
//! Twilio reports what was heard in two ways. An `interrupt` frame carries the utterance up to the interruption. If the
//! TwiML asks for `tokens-played` and `speaker-events`, `info` frames report each clause that was played and when
//! speech begins and ends. Without those frames, the duration of speech is estimated from its length.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::history::{History, MAX_SEARCHED_BYTES};
use crate::redact::{CardParts, DetectedCard};

/// The estimated duration of a spoken character: about 15 per second.
const TIME_PER_CHARACTER: Duration = Duration::from_millis(66);

/// The delay from the first token to the first sound: 320 to 340 ms in recordings.
const SPEECH_ONSET: Duration = Duration::from_millis(400);

/// The shortest time to speak a character, much less than [`TIME_PER_CHARACTER`].
const MIN_TIME_PER_CHARACTER: Duration = Duration::from_millis(20);

/// If Twilio never reports the end of speech, it counts as ended this long after its expected end.
const LOST_EVENT_GRACE: Duration = Duration::from_secs(10);

/// The agent's speech: the utterances that may still be playing, and whether the agent is speaking.
#[derive(Default)]
pub(super) struct AgentSpeech {
    utterances: VecDeque<Utterance>,
    /// A talk cycle is open: tokens were sent and none with `last: true`.
    cycle_open: bool,
    /// When the speech ends, as estimated from its length.
    expected_end: Option<Instant>,
    /// The last `agentSpeaking` value; `None` if Twilio never sent one.
    reported_speaking: Option<bool>,
    /// When Twilio last reported that the agent began and stopped speaking.
    reported_start: Option<Instant>,
    reported_end: Option<Instant>,
    /// Text was sent since Twilio last reported that the agent stopped speaking.
    sent_since_quiet: bool,
    /// Twilio reports which tokens were played.
    reports_played: bool,
    /// When text was first sent since the last prompt, or since the socket was opened.
    first_sent: Option<Instant>,
    socket: SpeechSocket,
}

/// The socket on which the agent speaks.
#[derive(Default, PartialEq, Eq)]
enum SpeechSocket {
    /// The first one of the session.
    #[default]
    First,
    /// A later one, on which Twilio may replay interrupts of earlier speech.
    Resumed,
}

struct Utterance {
    /// The position of its item in the history.
    position: usize,
    /// It begins a talk cycle. The text of an interrupt starts at the beginning of a cycle.
    begins_cycle: bool,
    /// The number of characters played, without whitespace.
    played_characters: usize,
    /// Twilio has reported that the agent is silent, and nothing of this as played.
    outlasted_silence: bool,
    /// Text that was not reported as played when an input arrived. It moves back into the history as it is reported.
    unplayed: String,
}

/// The maximum number of utterances kept, in case Twilio never reports them as played.
const MAX_UTTERANCES: usize = 32;

impl AgentSpeech {
    /// Records that `words` of the item at `position` are sent now.
    pub(super) fn record_sent(&mut self, position: usize, words: &str, now: Instant) {
        if self.utterances.back().is_none_or(|last| last.position != position) {
            let begins_cycle = !self.cycle_open;
            self.utterances.push_back(Utterance {
                position,
                begins_cycle,
                played_characters: 0,
                outlasted_silence: false,
                unplayed: String::new(),
            });
        }
        if self.utterances.len() > MAX_UTTERANCES {
            self.utterances.pop_front();
        }
        self.expected_end = Some(self.next_sound_at(now) + expected_duration(words));
        self.cycle_open = true;
        self.sent_since_quiet = true;
        self.first_sent.get_or_insert(now);
    }

    /// When words that are sent now begin to be heard, as estimated.
    pub(super) fn next_sound_at(&self, now: Instant) -> Instant {
        self.expected_end.filter(|end| *end > now).unwrap_or(now + SPEECH_ONSET)
    }

    /// Whether Twilio reports which tokens were played.
    pub(super) fn reports_played(&self) -> bool {
        self.reports_played
    }

    /// How many characters of the utterance at `position` were reported as played, without whitespace. `None` if it is not
    /// awaited any more.
    pub(super) fn played_characters(&self, position: usize) -> Option<usize> {
        self.utterances.iter().find(|it| it.position == position).map(|it| it.played_characters)
    }

    /// The state on a new socket of the call, on which nothing was sent yet.
    pub(super) fn resumed() -> Self {
        Self { socket: SpeechSocket::Resumed, ..Self::default() }
    }

    /// Whether anything was sent since the last prompt, or on this socket.
    pub(super) fn has_sent(&self) -> bool {
        self.first_sent.is_some()
    }

    /// Whether the caller can have heard `heard` of what was sent since the last prompt, or on this socket. An interrupt of
    /// anything else is late, or replayed.
    pub(super) fn can_have_heard(&self, heard: &str, now: Instant) -> bool {
        let characters = u32::try_from(heard.chars().count()).unwrap_or(u32::MAX).min(100_000);
        let takes = SPEECH_ONSET / 2 + MIN_TIME_PER_CHARACTER * characters;
        self.first_sent.is_some_and(|sent| self.socket == SpeechSocket::First || now >= sent + takes)
    }

    /// Whether text of a reply was sent that goes on.
    pub(super) fn is_cycle_open(&self) -> bool {
        self.cycle_open
    }

    /// Closes the talk cycle and returns whether one was open.
    pub(super) fn close_cycle(&mut self) -> bool {
        std::mem::take(&mut self.cycle_open)
    }

    /// When the agent stops, or stopped, speaking. `None` if it has never spoken.
    pub(super) fn quiet_from(&self, now: Instant) -> Option<Instant> {
        let expected = self.expected_end?;
        Some(match self.reported_speaking {
            None => expected,
            Some(false) if !self.sent_since_quiet => expected.min(now),
            Some(_) => expected + LOST_EVENT_GRACE,
        })
    }

    /// Applies an `agentSpeaking` event. `complete` says that the response is complete, so no more text follows.
    pub(super) fn record_speaking(&mut self, speaking: bool, complete: bool, now: Instant) {
        self.reported_speaking = Some(speaking);
        *if speaking { &mut self.reported_start } else { &mut self.reported_end } = Some(now);
        if speaking {
            self.expected_end = self.expected_end.max(Some(now));
        } else {
            self.sent_since_quiet = false;
            self.expected_end = Some(now);
            if complete {
                self.drop_spoken();
            }
        }
    }

    /// Forgets what was being spoken, since Twilio says that the agent is silent. What it reports nothing of may be about to begin: it
    /// was sent before Twilio was silent, and arrived after that. It is kept until the next time.
    fn drop_spoken(&mut self) {
        let reports_played = self.reports_played;
        self.utterances.retain_mut(|utterance| {
            let is_unheard = reports_played && utterance.played_characters == 0;
            is_unheard && !std::mem::replace(&mut utterance.outlasted_silence, true)
        });
    }

    /// Whether enough time has passed for the caller to hear the first half of `words`, which were sent at `sent`, when
    /// nothing else was playing. An
    /// answer that comes sooner belongs to something else. Without `agentSpeaking` events this is always true.
    pub(super) fn was_half_heard(&self, words: &str, sent: Instant, now: Instant) -> bool {
        let takes = expected_duration(words);
        let ended = self.reported_end.is_some_and(|ended| ended > sent);
        let began = self.reported_start.filter(|began| *began >= sent);
        self.reported_speaking.is_none()
            || ended
            || now >= sent + SPEECH_ONSET + takes
            || began.is_some_and(|at| now >= at + takes / 2)
    }

    /// Applies a `tokensPlayed` event.
    pub(super) fn record_played(&mut self, clause: &str, history: &mut History) {
        self.reports_played = true;
        let mut rest = clause;
        while let Some(utterance) = self.utterances.front_mut() {
            let Some(words) = history.agent_text_mut(utterance.position) else {
                self.utterances.pop_front();
                continue;
            };
            let missing = (count_non_whitespace(words) + count_non_whitespace(&utterance.unplayed))
                .saturating_sub(utterance.played_characters);
            let taken = count_non_whitespace(rest).min(missing);
            utterance.played_characters += taken;
            if !utterance.unplayed.is_empty() {
                let unheard = skip_non_whitespace(&utterance.unplayed, taken).len();
                words.push_str(&utterance.unplayed[..utterance.unplayed.len() - unheard]);
                utterance.unplayed.drain(..utterance.unplayed.len() - unheard);
            }
            rest = skip_non_whitespace(rest, taken);
            if taken < missing || self.utterances.len() == 1 {
                return;
            }
            self.utterances.pop_front();
            if count_non_whitespace(rest) == 0 {
                return;
            }
        }
    }

    /// Applies an interrupt: all queued speech is discarded, and the history keeps only what was heard. Returns whether that
    /// is the beginning of what was said; otherwise Twilio has normalised it.
    pub(super) fn apply_interrupt(&mut self, heard: &str, history: &mut History, now: Instant) -> bool {
        let utterances = std::mem::take(&mut self.utterances);
        for utterance in &utterances {
            if let Some(words) = history.agent_text_mut(utterance.position) {
                words.push_str(&utterance.unplayed);
            }
        }
        let mut spoken =
            |utterance: &Utterance| history.agent_text_mut(utterance.position).cloned().unwrap_or_default();
        let spoken: Vec<String> = utterances.iter().map(&mut spoken).collect();

        // The interrupted talk cycle is the latest one whose text starts with what was heard.
        let mut cycles = (0..spoken.len()).rev().filter(|from| utterances[*from].begins_cycle);
        let cut = cycles.find(|from| starts_with_ignoring_whitespace(&spoken[*from..].concat(), heard));
        if let Some(from) = cut {
            let mut left = count_non_whitespace(heard);
            for (utterance, spoken) in utterances.iter().zip(&spoken).skip(from) {
                let kept = left.min(count_non_whitespace(spoken));
                left -= kept;
                if let Some(words) = history.agent_text_mut(utterance.position) {
                    words.truncate(if kept == 0 { 0 } else { spoken.len() - skip_non_whitespace(spoken, kept).len() });
                }
            }
        } else if let Some(words) = utterances.back().and_then(|last| history.agent_text_mut(last.position)) {
            // Twilio normalised the text, so its version of what was heard replaces ours.
            heard.clone_into(words);
        }
        self.sent_since_quiet = false;
        self.expected_end = Some(now);
        cut.is_some()
    }

    /// Removes the parts of card numbers from what the caller has not heard yet.
    pub(super) fn redact_cards(&mut self, cards: &[DetectedCard]) {
        let parts = CardParts::new(cards, |_| false);
        for utterance in self.utterances.iter_mut().filter(|_| !parts.is_empty()) {
            parts.redact_end(&mut utterance.unplayed, MAX_SEARCHED_BYTES);
        }
    }

    /// Records that the caller spoke. Twilio sends the interrupt before the prompt, so a later one belongs to later
    /// speech. If Twilio reports played tokens, the utterances are kept until they are reported.
    pub(super) fn record_prompt(&mut self) {
        self.first_sent = None;
        if !self.reports_played {
            self.utterances.clear();
        }
    }

    /// Removes unplayed text from the history when an input arrives without an interrupt, if Twilio reports played
    /// tokens. [`AgentSpeech::record_played`] restores what is reported later, and
    /// [`AgentSpeech::apply_interrupt`] what was heard: the interrupt of a key press follows the key.
    pub(super) fn cut_unplayed(&mut self, history: &mut History) {
        if !self.reports_played {
            return;
        }
        for utterance in &mut self.utterances {
            if let Some(words) = history.agent_text_mut(utterance.position).filter(|_| utterance.unplayed.is_empty()) {
                utterance.unplayed =
                    words.split_off(words.len() - skip_non_whitespace(words, utterance.played_characters).len());
            }
        }
    }
}

/// How long it takes to speak these words, as estimated.
pub(super) fn expected_duration(words: &str) -> Duration {
    TIME_PER_CHARACTER * u32::try_from(words.chars().count()).unwrap_or(u32::MAX).min(100_000)
}

/// Counts the characters that are not whitespace.
pub(super) fn count_non_whitespace(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// Returns what follows the first `count` characters that are not whitespace.
fn skip_non_whitespace(text: &str, count: usize) -> &str {
    let mut ends = text.char_indices().filter(|(_, c)| !c.is_whitespace()).map(|(at, c)| at + c.len_utf8());
    match count {
        0 => text,
        count => &text[ends.nth(count - 1).unwrap_or(text.len())..],
    }
}

/// Whether `text` starts with `start`, ignoring whitespace.
fn starts_with_ignoring_whitespace(text: &str, start: &str) -> bool {
    let mut text = text.chars().filter(|c| !c.is_whitespace());
    start.chars().filter(|c| !c.is_whitespace()).all(|c| text.next() == Some(c))
}
