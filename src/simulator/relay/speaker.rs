//! Simulates text-to-speech: takes tokens, plays them clause by clause, and knows at any moment what the caller has
//! heard. Does no I/O; the time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::simulator::pace::Pace;

/// From the first token to the first sound.
const ONSET: Duration = Duration::from_millis(320);
/// The speech time of a letter.
const LETTER_DURATION: Duration = Duration::from_millis(60);

/// Plays tokens clause by clause.
#[derive(Debug)]
pub(super) struct Speaker {
    pace: Pace,
    /// Text that is not a complete clause yet.
    partial: String,
    queue: VecDeque<SpokenClause>,
    playing: Option<PlayingClause>,
    /// The played text of the current utterance.
    heard: String,
}

#[derive(Debug, Clone)]
struct SpokenClause {
    text: String,
    is_last: bool,
    is_interruptible: bool,
}

#[derive(Debug)]
struct PlayingClause {
    clause: SpokenClause,
    starts_at: Instant,
    ends_at: Instant,
}

/// A change of what the caller hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SpeechEvent {
    /// The agent begins to speak.
    Started,
    /// A clause was played.
    ClausePlayed(String),
    /// An utterance was played to its end.
    UtterancePlayed(String),
    /// The agent is silent.
    Stopped,
}

impl Speaker {
    /// Creates a silent speaker.
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, partial: String::new(), queue: VecDeque::new(), playing: None, heard: String::new() }
    }

    /// Adds a token. `last` ends the utterance.
    pub(super) fn push(&mut self, token: &str, last: bool, interruptible: bool) {
        self.partial.push_str(token);
        while let Some(end) = clause_end(&self.partial) {
            let rest = self.partial.split_off(end);
            let text = std::mem::replace(&mut self.partial, rest);
            self.queue.push_back(SpokenClause { text, is_last: false, is_interruptible: interruptible });
        }
        if last {
            let text = std::mem::take(&mut self.partial);
            self.queue.push_back(SpokenClause { text, is_last: true, is_interruptible: interruptible });
        }
    }

    /// Whether a clause is being played or queued.
    pub(super) fn is_speaking(&self) -> bool {
        self.playing.is_some() || !self.queue.is_empty()
    }

    /// Whether a clause is being played.
    pub(super) fn is_audible(&self) -> bool {
        self.playing.is_some()
    }

    /// Whether there is text of an incomplete clause.
    pub(super) fn has_partial_clause(&self) -> bool {
        !self.partial.trim().is_empty()
    }

    /// What the caller has heard of the utterance so far.
    pub(super) fn heard(&self, now: Instant) -> String {
        let mut heard = self.heard.clone();
        if let Some(speaking) = &self.playing {
            heard.push_str(speaking.text_until(now));
        }
        heard
    }

    /// When the clause that is being played ends.
    pub(super) fn next_event_at(&self) -> Option<Instant> {
        self.playing.as_ref().map(|speaking| speaking.ends_at)
    }

    /// Plays the speech that is due.
    pub(super) fn advance(&mut self, now: Instant) -> Vec<SpeechEvent> {
        let mut sounds = Vec::new();
        loop {
            match &self.playing {
                None => {
                    let Some(clause) = self.queue.pop_front() else { break };
                    if clause.text.trim().is_empty() {
                        // An empty clause only ends the utterance.
                        sounds.extend(self.finish(clause));
                        continue;
                    }
                    sounds.push(SpeechEvent::Started);
                    self.begin(clause, now + self.pace.to_real(ONSET));
                }
                Some(speaking) if speaking.ends_at <= now => {
                    let ended = speaking.ends_at;
                    let clause = speaking.clause.clone();
                    self.playing = None;
                    sounds.extend(self.finish(clause));
                    match self.queue.pop_front() {
                        Some(next) => self.begin(next, ended),
                        None => sounds.push(SpeechEvent::Stopped),
                    }
                }
                Some(_) => break,
            }
        }
        sounds
    }

    fn begin(&mut self, clause: SpokenClause, begins: Instant) {
        let letters = u32::try_from(clause.text.chars().count()).unwrap_or(u32::MAX);
        let ends = begins + self.pace.to_real(LETTER_DURATION) * letters;
        self.playing = Some(PlayingClause { clause, starts_at: begins, ends_at: ends });
    }

    fn finish(&mut self, clause: SpokenClause) -> Vec<SpeechEvent> {
        let mut sounds = Vec::new();
        self.heard.push_str(&clause.text);
        if !clause.text.is_empty() {
            sounds.push(SpeechEvent::ClausePlayed(clause.text));
        }
        if clause.is_last {
            let heard = std::mem::take(&mut self.heard);
            if !heard.trim().is_empty() {
                sounds.push(SpeechEvent::UtterancePlayed(heard));
            }
        }
        sounds
    }

    /// Interrupts the speech and clears the queue. Returns the text that was heard, or `None` if nothing is audible or
    /// the clause cannot be interrupted.
    pub(super) fn interrupt(&mut self, now: Instant) -> Option<String> {
        if !self.playing.as_ref()?.clause.is_interruptible {
            return None;
        }
        let heard = self.heard(now);
        self.playing = None;
        self.queue.clear();
        self.partial.clear();
        self.heard.clear();
        Some(heard)
    }
}

impl PlayingClause {
    /// The complete words that were played until `now`.
    fn text_until(&self, now: Instant) -> &str {
        let text = self.clause.text.as_str();
        let whole = self.ends_at.duration_since(self.starts_at).as_secs_f64();
        let done = now.saturating_duration_since(self.starts_at).as_secs_f64();
        if whole <= 0.0 || done >= whole {
            return text;
        }
        let share = done / whole;
        let letters = text.chars().count();
        let said = (0..letters).take_while(|n| ratio(*n, letters) < share).count();
        let cut = text.char_indices().nth(said).map_or(text.len(), |(at, _)| at);
        text[..cut].rfind(' ').map_or("", |word| &text[..word])
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    f64::from(u32::try_from(part + 1).unwrap_or(u32::MAX)) / f64::from(u32::try_from(whole).unwrap_or(u32::MAX))
}

/// Finds the end of the first complete clause: after a punctuation mark that is followed by a space.
fn clause_end(text: &str) -> Option<usize> {
    let mut marks = text.char_indices().filter(|(_, c)| ".,;:!?".contains(*c));
    marks.find_map(|(at, _)| text[at + 1..].starts_with(char::is_whitespace).then_some(at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker() -> (Speaker, Instant) {
        (Speaker::new(Pace::WATCH), Instant::now())
    }

    fn play(speaker: &mut Speaker, now: Instant) -> Vec<SpeechEvent> {
        let mut sounds = speaker.advance(now);
        while let Some(next) = speaker.next_event_at() {
            sounds.extend(speaker.advance(next));
        }
        sounds
    }

    #[test]
    fn clauses_are_played_as_they_come_and_the_utterance_at_its_end() {
        let (mut speaker, now) = speaker();
        for token in ["Got", " it, now", " the code."] {
            speaker.push(token, false, true);
        }
        assert_eq!(
            play(&mut speaker, now),
            [SpeechEvent::Started, SpeechEvent::ClausePlayed("Got it,".to_owned()), SpeechEvent::Stopped]
        );
        speaker.push("", true, true);
        let utterance = SpeechEvent::UtterancePlayed("Got it, now the code.".to_owned());
        assert!(play(&mut speaker, now).contains(&utterance));
    }

    #[test]
    fn an_interruption_returns_exactly_what_was_heard() {
        let (mut speaker, now) = speaker();
        speaker.push("One two three, four five six seven eight.", true, true);
        speaker.advance(now);
        let first_clause_ends = speaker.next_event_at().unwrap();
        speaker.advance(first_clause_ends);
        let middle = first_clause_ends + (speaker.next_event_at().unwrap() - first_clause_ends) / 2;
        assert_eq!(speaker.interrupt(middle).as_deref(), Some("One two three, four five"));
        assert!(!speaker.is_speaking());
        assert_eq!(speaker.interrupt(middle), None);
    }

    #[test]
    fn a_clause_that_cannot_be_interrupted_continues() {
        let (mut speaker, now) = speaker();
        speaker.push("Goodbye.", true, false);
        speaker.advance(now);
        assert_eq!(speaker.interrupt(now), None);
        assert!(speaker.is_speaking());
    }
}
