//! Keys that the caller presses outside of a card entry: they answer a question, or are an input like spoken words.

use std::time::{Duration, Instant};

use super::{Call, ConversationItem, KeypadSettings, prompts};
use crate::payment::ConsentAnswer;
use crate::redact::Private;

/// The pause after the last key that completes an answer to a question.
const ANSWER_PAUSE: Duration = Duration::from_secs(1);

/// The maximum number of keys kept of an answer to a question. An answer of more than one key is unclear.
const MAX_ANSWER_KEYS: usize = 2;

/// The keys that are not yet an input, and when the last one was pressed.
#[derive(Default)]
pub(super) struct Keypad {
    keys: Private<String>,
    last_pressed: Option<Instant>,
}

/// When the pressed keys are complete. The hash key always completes them.
#[derive(Clone, Copy)]
pub(super) enum KeypadRule {
    /// They answer a question, complete after [`ANSWER_PAUSE`].
    Answer,
    /// They are an input, complete after the configured pause or number of keys.
    Input(KeypadSettings),
}

impl Keypad {
    /// Adds a key; returns whether the keys are complete.
    fn press(&mut self, key: &str, rule: KeypadRule, now: Instant) -> bool {
        // A frame has one key.
        let key = key.chars().next().map_or("", |first| &key[..first.len_utf8()]);
        let is_hash = key == "#";
        let has_room = match rule {
            KeypadRule::Answer => self.keys.reveal().len() < MAX_ANSWER_KEYS,
            KeypadRule::Input(_) => true,
        };
        if has_room && !is_hash {
            self.keys = Private::new(std::mem::take(&mut self.keys).into_inner() + key);
        }
        self.last_pressed = Some(now);
        match rule {
            // No key count completes an answer: the next key would answer the same question when it is repeated.
            KeypadRule::Answer => is_hash,
            KeypadRule::Input(settings) => is_hash || self.keys.reveal().len() >= settings.max_digits,
        }
    }

    /// Whether no key is pending.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.reveal().is_empty()
    }

    /// When the pending keys are complete, if no further key follows.
    fn deadline(&self, rule: KeypadRule) -> Option<Instant> {
        let pause = match rule {
            KeypadRule::Answer => ANSWER_PAUSE,
            KeypadRule::Input(settings) => settings.pause,
        };
        self.last_pressed.map(|last| last + pause)
    }

    /// Takes the pending keys, if there are any.
    fn take(&mut self) -> Option<Private<String>> {
        Some(std::mem::take(self).keys).filter(|keys| !keys.reveal().is_empty())
    }

    /// Takes the pending keys as an answer, if there are any.
    pub(super) fn take_answer(&mut self) -> Option<ConsentAnswer> {
        self.take().map(|keys| parse_answer(keys.reveal()))
    }

    /// Drops the pending keys.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Call {
    /// Adds a key to the pending ones.
    pub(super) fn handle_key(&mut self, key: &str) {
        self.silence_timer.reset(self.now);
        let rule = self.keypad_rule();
        if self.keypad.press(key, rule, self.now) {
            self.submit_keys();
        }
    }

    /// When the pending keys become an input, if no further key follows.
    pub(super) fn keypad_deadline(&self) -> Option<Instant> {
        self.keypad.deadline(self.keypad_rule())
    }

    /// Submits the pending keys after the pause. A payment that was opened in the meantime discards them.
    pub(super) fn check_keypad(&mut self) {
        let void = if self.is_question_asked() { !self.is_key_an_answer() } else { self.is_card_entry_possible() };
        if void {
            self.keypad.clear();
        } else if self.keypad_deadline().is_some_and(|due| self.now >= due) {
            self.submit_keys();
        }
    }

    /// Makes the pending keys an input, or the answer to the question.
    pub(super) fn submit_keys(&mut self) {
        let Some(keys) = self.keypad.take() else { return };
        if self.is_question_asked() {
            self.answer_with_keys(keys.reveal());
        } else {
            let input = self.redactor.redact_keys(&prompts::keypad_input(keys.reveal()));
            self.accept_input(ConversationItem::Caller, input);
        }
    }

    /// Applies keys as the answer to the question. Only a single key is a clear answer; unclear keys are not shown in
    /// the history.
    fn answer_with_keys(&mut self, keys: &str) {
        let answer = parse_answer(keys);
        let shown = if answer == ConsentAnswer::Unclear { "something else" } else { keys };
        let input = self.redactor.redact_keys(&prompts::keypad_input(shown));
        self.record_input(ConversationItem::Caller, input);
        self.turn.restart_rounds();
        self.apply_answer(answer);
    }

    fn keypad_rule(&self) -> KeypadRule {
        if self.is_question_asked() { KeypadRule::Answer } else { KeypadRule::Input(self.settings.keypad) }
    }
}

fn parse_answer(keys: &str) -> ConsentAnswer {
    match keys {
        "1" => ConsentAnswer::Yes,
        "2" => ConsentAnswer::No,
        _ => ConsentAnswer::Unclear,
    }
}
