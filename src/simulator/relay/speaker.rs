//! The agent's voice: tokens go in, clauses are spoken one after the other, and at any moment it is known what the
//! caller has heard. Pure: time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::simulator::pace::Pace;

/// From the first token to the first sound.
const ONSET: Duration = Duration::from_millis(320);
/// How long a letter takes to say.
const LETTER: Duration = Duration::from_millis(60);

/// Speaks what is sent, clause by clause.
#[derive(Debug)]
pub struct Speaker {
    pace: Pace,
    /// Text that is not a whole clause yet.
    partial: String,
    queue: VecDeque<Clause>,
    now: Option<Speaking>,
    /// What was heard of the utterance that is being spoken.
    heard: String,
}

#[derive(Debug, Clone)]
struct Clause {
    text: String,
    closes: bool,
    interruptible: bool,
}

#[derive(Debug)]
struct Speaking {
    clause: Clause,
    begins: Instant,
    ends: Instant,
}

/// What became audible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sound {
    /// The agent begins to speak.
    Began,
    /// A clause was played.
    Clause(String),
    /// An utterance was played to its end.
    Utterance(String),
    /// The agent is silent.
    Silent,
}

impl Speaker {
    /// A silent voice.
    pub fn new(pace: Pace) -> Self {
        Self { pace, partial: String::new(), queue: VecDeque::new(), now: None, heard: String::new() }
    }

    /// Takes a token. The last one of an utterance closes it.
    pub fn push(&mut self, token: &str, last: bool, interruptible: bool) {
        self.partial.push_str(token);
        while let Some(end) = clause_end(&self.partial) {
            let rest = self.partial.split_off(end);
            let text = std::mem::replace(&mut self.partial, rest);
            self.queue.push_back(Clause { text, closes: false, interruptible });
        }
        if last {
            let text = std::mem::take(&mut self.partial);
            self.queue.push_back(Clause { text, closes: true, interruptible });
        }
    }

    /// Whether something is being said or about to be.
    pub fn is_speaking(&self) -> bool {
        self.now.is_some() || !self.queue.is_empty()
    }

    /// Whether a clause is being played.
    pub fn is_audible(&self) -> bool {
        self.now.is_some()
    }

    /// Whether tokens wait for the rest of their clause.
    pub fn is_unfinished(&self) -> bool {
        !self.partial.trim().is_empty()
    }

    /// What the caller has heard of the utterance so far.
    pub fn heard(&self, now: Instant) -> String {
        let mut heard = self.heard.clone();
        if let Some(speaking) = &self.now {
            heard.push_str(speaking.until(now));
        }
        heard
    }

    /// When something will be audible that is not yet.
    pub fn wakes_at(&self) -> Option<Instant> {
        self.now.as_ref().map(|speaking| speaking.ends)
    }

    /// Plays what is due.
    pub fn advance(&mut self, now: Instant) -> Vec<Sound> {
        let mut sounds = Vec::new();
        loop {
            match &self.now {
                None => {
                    let Some(clause) = self.queue.pop_front() else { break };
                    if clause.text.trim().is_empty() {
                        // Nothing to hear: it only closes what was said before.
                        sounds.extend(self.finish(clause));
                        continue;
                    }
                    sounds.push(Sound::Began);
                    self.begin(clause, now + self.pace.real(ONSET));
                }
                Some(speaking) if speaking.ends <= now => {
                    let ended = speaking.ends;
                    let clause = speaking.clause.clone();
                    self.now = None;
                    sounds.extend(self.finish(clause));
                    match self.queue.pop_front() {
                        Some(next) => self.begin(next, ended),
                        None => sounds.push(Sound::Silent),
                    }
                }
                Some(_) => break,
            }
        }
        sounds
    }

    fn begin(&mut self, clause: Clause, begins: Instant) {
        let letters = u32::try_from(clause.text.chars().count()).unwrap_or(u32::MAX);
        let ends = begins + self.pace.real(LETTER) * letters;
        self.now = Some(Speaking { clause, begins, ends });
    }

    fn finish(&mut self, clause: Clause) -> Vec<Sound> {
        let mut sounds = Vec::new();
        self.heard.push_str(&clause.text);
        if !clause.text.is_empty() {
            sounds.push(Sound::Clause(clause.text));
        }
        if clause.closes {
            let heard = std::mem::take(&mut self.heard);
            if !heard.trim().is_empty() {
                sounds.push(Sound::Utterance(heard));
            }
        }
        sounds
    }

    /// The caller speaks over the agent: everything queued is gone. Answers with exactly what was heard, or `None` if
    /// nothing is audible or it may not be interrupted.
    pub fn interrupt(&mut self, now: Instant) -> Option<String> {
        if !self.now.as_ref()?.clause.interruptible {
            return None;
        }
        let heard = self.heard(now);
        self.now = None;
        self.queue.clear();
        self.partial.clear();
        self.heard.clear();
        Some(heard)
    }
}

impl Speaking {
    /// The words that were said until `now`.
    fn until(&self, now: Instant) -> &str {
        let text = self.clause.text.as_str();
        let whole = self.ends.duration_since(self.begins).as_secs_f64();
        let done = now.saturating_duration_since(self.begins).as_secs_f64();
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

/// Where the first whole clause ends: behind a punctuation mark that is followed by a space.
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

    fn play(speaker: &mut Speaker, now: Instant) -> Vec<Sound> {
        let mut sounds = speaker.advance(now);
        while let Some(next) = speaker.wakes_at() {
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
        assert_eq!(play(&mut speaker, now), [Sound::Began, Sound::Clause("Got it,".to_owned()), Sound::Silent]);
        speaker.push("", true, true);
        let utterance = Sound::Utterance("Got it, now the code.".to_owned());
        assert!(play(&mut speaker, now).contains(&utterance));
    }

    #[test]
    fn an_interruption_leaves_exactly_what_was_heard() {
        let (mut speaker, now) = speaker();
        speaker.push("One two three, four five six seven eight.", true, true);
        speaker.advance(now);
        let first_clause_ends = speaker.wakes_at().unwrap();
        speaker.advance(first_clause_ends);
        let middle = first_clause_ends + (speaker.wakes_at().unwrap() - first_clause_ends) / 2;
        assert_eq!(speaker.interrupt(middle).as_deref(), Some("One two three, four five"));
        assert!(!speaker.is_speaking());
        assert_eq!(speaker.interrupt(middle), None);
    }

    #[test]
    fn what_may_not_be_interrupted_goes_on() {
        let (mut speaker, now) = speaker();
        speaker.push("Goodbye.", true, false);
        speaker.advance(now);
        assert_eq!(speaker.interrupt(now), None);
        assert!(speaker.is_speaking());
    }
}
