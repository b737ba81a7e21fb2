//! What the agent said and how much of it the caller heard.
//!
//! Twilio tells what was heard in two ways: an interrupt carries the words up to it, and, where the TwiML asks for
//! `tokens-played` and `speaker-events`, info frames tell each clause that was played and when speech begins and ends.
//! Without those, speech is taken to last as long as its words usually do.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::history::History;
use crate::redact::Card;

/// How long a character of speech takes: some 15 a second.
const CHARACTER: Duration = Duration::from_millis(66);

/// From the first token to the first sound: 320 to 340 ms were recorded.
const ONSET: Duration = Duration::from_millis(400);

/// If Twilio never tells that speech ended, it is taken to have ended this much later than it usually would.
const LOST_EVENT: Duration = Duration::from_secs(10);

/// The agent's speech: utterances whose fate is not yet known, and whether it sounds now.
#[derive(Default)]
pub(super) struct Speech {
    utterances: VecDeque<Utterance>,
    /// A talk cycle has been begun and not closed.
    open: bool,
    /// When the speech would be over if it takes as long as it usually does.
    expected_end: Option<Instant>,
    /// Twilio's last word on whether the agent speaks; `None` as long as it never said.
    speaking: Option<bool>,
    /// When it last said that the agent's speech began, and that it ended.
    began: Option<Instant>,
    ended: Option<Instant>,
    /// Words went out since Twilio last said that the agent is quiet.
    unspoken: bool,
    /// Twilio tells which tokens were played.
    reports_played: bool,
}

struct Utterance {
    /// Its position in the history.
    position: usize,
    /// It begins a talk cycle: what Twilio reports as heard begins with one.
    begins_cycle: bool,
    /// How many characters, without white space, were played.
    played: usize,
    /// What a new prompt cut off before it was played: the history holds only what was played, and grows as more is.
    cut: String,
}

/// How many utterances are kept in mind, should nothing ever tell that they were played.
const MAX_UTTERANCES: usize = 32;

impl Speech {
    /// Notes that these words of the item at `position` go out now.
    pub(super) fn sent(&mut self, position: usize, words: &str, now: Instant) {
        if self.utterances.back().is_none_or(|last| last.position != position) {
            let begins_cycle = !self.open;
            self.utterances.push_back(Utterance { position, begins_cycle, played: 0, cut: String::new() });
        }
        if self.utterances.len() > MAX_UTTERANCES {
            self.utterances.pop_front();
        }
        let characters = u32::try_from(words.chars().count()).unwrap_or(u32::MAX);
        let begin = self.expected_end.filter(|end| *end > now).unwrap_or(now + ONSET);
        self.expected_end = Some(begin + CHARACTER * characters.min(100_000));
        self.open = true;
        self.unspoken = true;
    }

    /// Whether a talk cycle was open; it is closed now.
    pub(super) fn close(&mut self) -> bool {
        std::mem::take(&mut self.open)
    }

    /// When the agent will be, or became, quiet. `None`: it was never heard.
    pub(super) fn quiet_from(&self, now: Instant) -> Option<Instant> {
        let expected = self.expected_end?;
        Some(match self.speaking {
            None => expected,
            Some(false) if !self.unspoken => expected.min(now),
            Some(_) => expected + LOST_EVENT,
        })
    }

    /// Takes Twilio's word that the agent's speech began or ended. `complete`: no more words of the reply will come.
    pub(super) fn speaking(&mut self, speaking: bool, complete: bool, now: Instant) {
        self.speaking = Some(speaking);
        *if speaking { &mut self.began } else { &mut self.ended } = Some(now);
        if speaking {
            self.expected_end = self.expected_end.max(Some(now));
        } else {
            self.unspoken = false;
            self.expected_end = Some(now);
            if complete {
                self.utterances.clear();
            }
        }
    }

    /// Whether the caller can have heard the first half of words that were sent, to a quiet caller, at that time. What a caller
    /// says to it sooner answers something else. Where Twilio does not tell when the agent speaks, it is taken for heard.
    pub(super) fn was_half_heard(&self, words: &str, sent: Instant, now: Instant) -> bool {
        let takes = CHARACTER * u32::try_from(words.chars().count()).unwrap_or(u32::MAX).min(100_000);
        let ended = self.ended.is_some_and(|ended| ended > sent);
        let began = self.began.filter(|began| *began >= sent);
        self.speaking.is_none() || ended || now >= sent + ONSET + takes || began.is_some_and(|at| now >= at + takes / 2)
    }

    /// Takes Twilio's word that a clause was played.
    pub(super) fn played(&mut self, clause: &str, history: &mut History) {
        self.reports_played = true;
        let mut rest = clause;
        while let Some(utterance) = self.utterances.front_mut() {
            let Some(words) = history.agent_mut(utterance.position) else {
                self.utterances.pop_front();
                continue;
            };
            let missing = (solid(words) + solid(&utterance.cut)).saturating_sub(utterance.played);
            let taken = solid(rest).min(missing);
            utterance.played += taken;
            if !utterance.cut.is_empty() {
                let unheard = after(&utterance.cut, taken).len();
                words.push_str(&utterance.cut[..utterance.cut.len() - unheard]);
                utterance.cut.drain(..utterance.cut.len() - unheard);
            }
            rest = after(rest, taken);
            if taken < missing || self.utterances.len() == 1 {
                return;
            }
            self.utterances.pop_front();
            if solid(rest) == 0 {
                return;
            }
        }
    }

    /// The caller spoke over the agent: everything that was queued is gone, and this is what was heard of it.
    pub(super) fn interrupted(&mut self, heard: &str, history: &mut History, now: Instant) {
        let utterances = std::mem::take(&mut self.utterances);
        for utterance in &utterances {
            if let Some(words) = history.agent_mut(utterance.position) {
                words.push_str(&utterance.cut);
            }
        }
        let mut spoken = |utterance: &Utterance| history.agent_mut(utterance.position).cloned().unwrap_or_default();
        let spoken: Vec<String> = utterances.iter().map(&mut spoken).collect();

        // The talk cycle that was cut: the latest from which on what was said begins with what was heard.
        let mut cycles = (0..spoken.len()).rev().filter(|from| utterances[*from].begins_cycle);
        let cut = cycles.find(|from| begins_with(&spoken[*from..].concat(), heard));
        if let Some(from) = cut {
            let mut left = solid(heard);
            for (utterance, spoken) in utterances.iter().zip(&spoken).skip(from) {
                let kept = left.min(solid(spoken));
                left -= kept;
                if let Some(words) = history.agent_mut(utterance.position) {
                    words.truncate(if kept == 0 { 0 } else { spoken.len() - after(spoken, kept).len() });
                }
            }
        } else if let Some(words) = utterances.back().and_then(|last| history.agent_mut(last.position)) {
            // Twilio normalised the words: its account of what was heard is the better one.
            heard.clone_into(words);
        }
        self.unspoken = false;
        self.expected_end = Some(now);
    }

    /// Cuts what stands of a card number in words that may yet be played.
    pub(super) fn forget(&mut self, card: &Card) {
        for utterance in &mut self.utterances {
            utterance.cut = card.cut_from(&utterance.cut, false).into_owned();
        }
    }

    /// A new prompt came without an interrupt: what Twilio does not report as played, where it reports, is taken as not
    /// heard; it may still be.
    pub(super) fn superseded(&mut self, history: &mut History) {
        if !self.reports_played {
            self.utterances.clear();
        }
        for utterance in &mut self.utterances {
            if let Some(words) = history.agent_mut(utterance.position).filter(|_| utterance.cut.is_empty()) {
                utterance.cut = words.split_off(words.len() - after(words, utterance.played).len());
            }
        }
    }
}

/// How many characters are not white space.
fn solid(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// What follows the first `count` characters that are not white space.
fn after(text: &str, count: usize) -> &str {
    let mut ends = text.char_indices().filter(|(_, c)| !c.is_whitespace()).map(|(at, c)| at + c.len_utf8());
    match count {
        0 => text,
        count => &text[ends.nth(count - 1).unwrap_or(text.len())..],
    }
}

/// Whether `text` begins with `start`, white space aside.
fn begins_with(text: &str, start: &str) -> bool {
    let mut text = text.chars().filter(|c| !c.is_whitespace());
    start.chars().filter(|c| !c.is_whitespace()).all(|c| text.next() == Some(c))
}
