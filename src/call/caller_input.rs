//! The caller's input: speech, keys and interruptions, from ConversationRelay frames.

use std::time::{Duration, Instant};

use super::{Action, Call, ConversationItem, prompts};
use crate::payment::ConsentAnswer;
use crate::redact::{Private, Redacted, RedactionPolicy, redact_card_numbers};
use crate::relay::{IncomingFrame, Info, Interrupt, OutgoingFrame, Prompt};

/// How long the agent waits for the caller's words after an interruption before it resumes a response that is owed.
const INTERRUPT_HOLD: Duration = Duration::from_secs(3);

/// The pause after the last key that completes an answer to a question.
const ANSWER_PAUSE: Duration = Duration::from_secs(1);

/// The maximum number of keys kept of an answer to a question. An answer of more than one key is unclear.
const MAX_ANSWER_KEYS: usize = 2;

/// How long after a payment callback a key or word may still arrive that belongs to the payment.
const LATE_KEY_WINDOW: Duration = Duration::from_secs(3);

impl Call {
    pub(super) fn handle_frame(&mut self, frame: IncomingFrame) {
        if !self.phase.is_in_progress() {
            return;
        }
        match frame {
            IncomingFrame::Prompt(prompt) if prompt.last => self.handle_prompt(&prompt),
            IncomingFrame::Prompt(prompt) => {
                let has_words = !prompt.voice_prompt.reveal().trim().is_empty();
                if has_words && self.payments.is_open() && !self.is_question_asked() {
                    self.guided_flow.record_caller_speech();
                }
                self.record_caller_speech();
            }
            IncomingFrame::Interrupt(interrupt) => self.handle_interrupt(&interrupt),
            IncomingFrame::Info(info) => self.handle_info(info),
            IncomingFrame::Dtmf { digit } if self.is_question_asked() => {
                if self.is_key_an_answer() {
                    self.handle_key(digit.reveal());
                }
            }
            // Any key may be a digit of the card, so the key press leaves no trace.
            IncomingFrame::Dtmf { .. } if self.is_card_entry_possible() => {}
            IncomingFrame::Dtmf { digit } => self.handle_key(digit.reveal()),
            IncomingFrame::Setup(_) | IncomingFrame::Error { .. } | IncomingFrame::Other => {}
        }
    }

    /// Whether input may contain card digits: while a payment is open, and shortly after, since the final callback may
    /// arrive before the last key.
    fn is_card_entry_possible(&self) -> bool {
        self.payments.is_open() || self.payment_closed_at.is_some_and(|closed| self.now < closed + LATE_KEY_WINDOW)
    }

    /// Whether a key that arrives now may belong to the entry that the last payment callback reported.
    pub(super) fn is_just_after_callback(&self) -> bool {
        [self.payment_closed_at, self.last_payment_callback]
            .into_iter()
            .flatten()
            .any(|at| self.now < at + LATE_KEY_WINDOW)
    }

    /// Applies keys as the answer to the question. Only a single key is a clear answer; unclear keys are not shown in
    /// the history.
    fn answer_with_keys(&mut self, keys: &str) {
        let answer = parse_keys_answer(keys);
        let shown = if answer == ConsentAnswer::Unclear { "something else" } else { keys };
        let input = self.shield.redact(&prompts::keypad_input(shown), RedactionPolicy::CardNumbers);
        self.record_input(ConversationItem::Caller, input);
        self.turn.restart_rounds();
        self.apply_answer(answer);
    }

    /// Adds a key to the pending keypad input, outside payments or as the answer to a question.
    fn handle_key(&mut self, digit: &str) {
        self.silence_timer.reset(self.now);
        let (mut keys, _) = self.pending_keys.take().unwrap_or_else(|| (Private::default(), self.now));
        let answers = self.is_question_asked();
        if digit != "#" && !(answers && keys.reveal().len() >= MAX_ANSWER_KEYS) {
            keys = Private::new(keys.into_inner() + digit);
        }
        // No key count completes an answer: the next key would answer the same question when it is repeated.
        let whole = digit == "#" || (!answers && keys.reveal().len() >= self.settings.keypad.max_digits);
        self.pending_keys = Some((keys, self.now));
        if whole {
            self.submit_keys();
        }
    }

    /// When the pending keys become an input, if no further key follows.
    pub(super) fn keys_deadline(&self) -> Option<Instant> {
        let pause = if self.is_question_asked() { ANSWER_PAUSE } else { self.settings.keypad.pause };
        self.pending_keys.as_ref().map(|(_, last)| *last + pause)
    }

    /// Submits the pending keys after the pause. A payment that was opened in the meantime discards them.
    pub(super) fn check_keypad(&mut self) {
        let void = if self.is_question_asked() { !self.is_key_an_answer() } else { self.is_card_entry_possible() };
        if void {
            self.pending_keys = None;
        } else if self.keys_deadline().is_some_and(|due| self.now >= due) {
            self.submit_keys();
        }
    }

    pub(super) fn submit_keys(&mut self) {
        let Some((keys, _)) = self.pending_keys.take() else { return };
        if keys.reveal().is_empty() {
            return;
        }
        if self.is_question_asked() {
            self.answer_with_keys(keys.reveal());
        } else {
            let input = self.shield.redact(&prompts::keypad_input(keys.reveal()), RedactionPolicy::CardNumbers);
            self.accept_input(ConversationItem::Caller, input);
        }
    }

    fn handle_prompt(&mut self, prompt: &Prompt) {
        let text = prompt.voice_prompt.reveal().trim();
        self.caller_speaking_since = None;
        self.silence_timer.reset(self.now);
        if text.is_empty() {
            return;
        }
        let strictness =
            if self.is_card_entry_possible() { RedactionPolicy::AnyDigitRun } else { RedactionPolicy::CardNumbers };
        let input = self.shield.redact(text, strictness);
        let digits_were_cut = input.was_redacted;
        let answers = self.is_question_asked();
        self.record_input(ConversationItem::Caller, input);
        if digits_were_cut {
            self.note(prompts::DIGITS_WERE_SPOKEN);
        }
        self.turn.restart_rounds();
        if answers {
            let answer = self.judge_answer(text);
            return self.apply_answer(answer);
        }
        self.turn.require_response();
        if self.can_caller_cancel() && self.settings.texts.is_refusal(text) {
            self.cancel_refused_payment();
        } else if self.payments.is_open() {
            self.guided_flow.record_caller_speech();
        }
    }

    /// Classifies the caller's words as an answer. Pending keys with a different answer make it unclear.
    fn judge_answer(&mut self, text: &str) -> ConsentAnswer {
        let answer = self.settings.texts.judge(text);
        match self.pending_keys.take() {
            Some((keys, _)) if !keys.reveal().is_empty() && parse_keys_answer(keys.reveal()) != answer => {
                ConsentAnswer::Unclear
            }
            _ => answer,
        }
    }

    /// Adds a message of the operator, with the role `developer`, which has precedence over the caller's words.
    pub(super) fn handle_operator_message(&mut self, text: &str) {
        if self.phase.is_in_progress() && !text.trim().is_empty() {
            let input = self.shield.redact(text.trim(), RedactionPolicy::CardNumbers);
            self.accept_input(ConversationItem::Developer, input);
        }
    }

    /// Records an input to which the model has to respond.
    fn accept_input(&mut self, item: fn(String) -> ConversationItem, input: Redacted) {
        self.record_input(item, input);
        self.turn.require_response();
    }

    /// Records an input: stops the agent's reply, and removes the parts of a card number that this input completes.
    fn record_input(&mut self, item: fn(String) -> ConversationItem, input: Redacted) {
        self.stop_reply();
        self.speech.cut_unplayed(&mut self.history);
        for card in &input.cards {
            self.turn.redact_card(card, &mut self.history);
            self.speech.redact_card(card);
        }
        self.cancel_closing();
        self.payments.record_caller_activity(self.now);
        self.drop_repetition();
        self.turn.release_hold();
        self.turn.push_note(item(input.text));
    }

    /// Applies an interrupt: stops the reply and keeps only what the caller heard. If the caller then says nothing, the
    /// agent resumes the response that is owed.
    fn handle_interrupt(&mut self, interrupt: &Interrupt) {
        let unfinished = self.turn.is_reply_unfinished();
        self.stop_reply();
        let heard = redact_card_numbers(interrupt.utterance_until_interrupt.reveal());
        self.speech.apply_interrupt(&heard, &mut self.history, self.now);
        self.guided_flow.record_reply_cut(&mut self.history);
        self.interrupt_question(&heard);
        self.silence_timer.reset(self.now);
        self.cancel_closing();
        if unfinished {
            self.turn.owe_response();
        }
        self.turn.hold_until(self.now + INTERRUPT_HOLD);
        if !self.turn.is_response_owed() {
            self.repeat_prompt(self.now + INTERRUPT_HOLD);
        }
    }

    fn handle_info(&mut self, info: Info) {
        match info {
            Info::AgentSpeaking(speaking) => {
                self.speech.record_speaking(speaking, self.turn.current_request().is_none(), self.now);
            }
            Info::ClientSpeaking(true) => self.record_caller_speech(),
            Info::ClientSpeaking(false) => self.caller_speaking_since = None,
            Info::TokensPlayed(clause) => self.speech.record_played(clause.reveal(), &mut self.history),
            Info::Other => {}
        }
    }

    fn record_caller_speech(&mut self) {
        self.caller_speaking_since = Some(self.now);
        self.silence_timer.reset(self.now);
    }

    /// Stops the agent's reply. Running tools continue; waiting tool calls are dropped.
    pub(super) fn stop_reply(&mut self) {
        if self.turn.stop(&mut self.history) {
            self.actions.push(Action::StopModel);
        }
        self.close_talk_cycle();
    }

    pub(super) fn close_talk_cycle(&mut self) {
        if self.speech.close_cycle() && !self.phase.is_parked() {
            self.actions.push(Action::SendFrame(OutgoingFrame::end_talk_cycle()));
        }
    }
}

fn parse_keys_answer(keys: &str) -> ConsentAnswer {
    match keys {
        "1" => ConsentAnswer::Yes,
        "2" => ConsentAnswer::No,
        _ => ConsentAnswer::Unclear,
    }
}
