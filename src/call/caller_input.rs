//! The caller's input: speech, keys and interruptions, from ConversationRelay frames.

use std::time::Duration;

use zeroize::Zeroize as _;

use super::history::CardSource;
use super::input_limit::LimitedInput;
use super::{Call, ConversationItem, courtesy, prompts};
use crate::payment::ConsentAnswer;
use crate::redact::{Redacted, RedactionPolicy, redact_card_numbers};
use crate::relay::{IncomingFrame, Info, Interrupt, OutgoingFrame, Prompt};

/// How long the agent waits for the caller's words after an interruption before it resumes a response that is owed.
const INTERRUPT_HOLD: Duration = Duration::from_secs(3);

/// So many digits at once are card data that is being read out. Fewer may be a word such as `one`.
const MIN_SPOKEN_DIGITS: usize = 3;

impl Call {
    pub(super) fn handle_frame(&mut self, frame: IncomingFrame) {
        if !self.phase.is_in_progress() {
            return;
        }
        match frame {
            IncomingFrame::Prompt(mut prompt) if prompt.last => {
                self.handle_prompt(&prompt);
                // A card number may have been in it.
                prompt.voice_prompt.zeroize();
            }
            IncomingFrame::Prompt(mut prompt) => {
                let has_words = !prompt.voice_prompt.reveal().trim().is_empty();
                if has_words && self.payments.is_open() && !self.is_question_asked() {
                    self.guided_flow.record_caller_speech();
                }
                prompt.voice_prompt.zeroize();
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
            IncomingFrame::Setup(_) | IncomingFrame::Error | IncomingFrame::Other => {}
        }
    }

    fn handle_prompt(&mut self, prompt: &Prompt) {
        let limited = LimitedInput::new(prompt.voice_prompt.reveal());
        let text = limited.kept();
        self.caller_speech.end();
        self.silence_timer.reset(self.now);
        if text.is_empty() {
            return;
        }
        let input = limited.redact_with(|text| self.redact_prompt(prompt, text));
        if self.phase.is_closing() && !self.is_question_asked() && !limited.is_cut() && courtesy::is_courtesy(text) {
            return self.accept_courtesy(input);
        }
        let digits_were_spoken = input.digits_removed >= MIN_SPOKEN_DIGITS || !input.cards.is_empty();
        let answers = self.is_question_asked();
        self.record_input(ConversationItem::Caller, input);
        self.follow_caller_language(prompt.lang.as_deref());
        self.speech.record_prompt();
        if digits_were_spoken {
            self.note(prompts::DIGITS_WERE_SPOKEN);
        }
        self.note_cut(&limited);
        self.turn.restart_rounds();
        if answers {
            // What was cut off may take the answer back.
            let answer = self.classify_caller_answer(text);
            let answer = if limited.is_cut() { ConsentAnswer::Unclear } else { answer };
            return self.apply_answer(answer);
        }
        self.turn.require_response();
        if self.can_caller_cancel() && self.settings.texts.is_refusal(text) {
            self.cancel_refused_payment();
        } else if self.payments.is_open() {
            self.guided_flow.record_caller_speech();
        }
    }

    /// Records words of courtesy before the end of the call. They need no response and stop nothing that is being said.
    fn accept_courtesy(&mut self, input: Redacted) {
        self.record_courtesy();
        self.payments.record_caller_activity(self.now);
        self.turn.release_hold();
        self.add_input(ConversationItem::Caller, input);
    }

    /// Classifies the caller's words as an answer. Pending keys with a different answer make it unclear.
    fn classify_caller_answer(&mut self, text: &str) -> ConsentAnswer {
        let answer = self.settings.texts.classify_answer(text);
        match self.keypad.take_answer() {
            Some(other) if other != answer => ConsentAnswer::Unclear,
            _ => answer,
        }
    }

    /// Adds a message of the operator, with the role `developer`, which has precedence over the caller's words.
    pub(super) fn handle_operator_message(&mut self, text: &str) {
        let limited = LimitedInput::new(text);
        if self.phase.is_in_progress() && !limited.kept().is_empty() {
            let input = limited.redact_with(|text| self.redactor.redact(text, RedactionPolicy::CardNumbers));
            self.accept_input(ConversationItem::Developer, input);
            self.note_cut(&limited);
        }
    }

    /// Tells the model that it has the beginning of an input only.
    fn note_cut(&mut self, input: &LimitedInput<'_>) {
        if input.is_cut() {
            self.note(prompts::INPUT_WAS_CUT);
        }
    }

    /// Records an input to which the model has to respond.
    pub(super) fn accept_input(&mut self, item: fn(String) -> ConversationItem, input: Redacted) {
        self.record_input(item, input);
        self.turn.require_response();
    }

    /// Records an input: stops the agent's reply, and removes the parts of a card number that this input completes.
    pub(super) fn record_input(&mut self, item: fn(String) -> ConversationItem, input: Redacted) {
        self.stop_reply();
        self.speech.cut_unplayed(&mut self.history);
        self.cancel_closing();
        self.payments.record_caller_activity(self.now);
        self.drop_repetition();
        self.turn.release_hold();
        self.add_input(item, input);
    }

    /// Adds an input for the model, and removes the parts of a card number that it completes.
    fn add_input(&mut self, item: fn(String) -> ConversationItem, input: Redacted) {
        self.turn.redact_cards(&input.cards, CardSource::Caller, &mut self.history);
        self.speech.redact_cards(&input.cards);
        self.turn.push_note(item(input.text));
    }

    /// Applies an interrupt: stops the reply and keeps only what the caller heard. If the caller then says nothing, the
    /// agent resumes the response that is owed. A pending end stays pending: the interrupt does not say with what.
    ///
    /// An interrupt of what was said before the last prompt, or on an earlier socket, stops nothing: Twilio replays what it
    /// buffered while there was no socket.
    fn handle_interrupt(&mut self, interrupt: &Interrupt) {
        let heard = LimitedInput::new(interrupt.utterance_until_interrupt.reveal());
        let heard = redact_card_numbers(heard.kept());
        if !self.speech.can_have_heard(&heard, self.now) {
            if !self.speech.has_sent() {
                let is_known = self.speech.apply_interrupt(&heard, &mut self.history, self.now);
                self.interrupt_notices(is_known);
            }
            return;
        }
        let unfinished = self.turn.is_reply_unfinished();
        let has_spoken = self.turn.has_spoken();
        self.stop_reply();
        let is_known = self.speech.apply_interrupt(&heard, &mut self.history, self.now);
        self.interrupt_notices(is_known);
        self.guided_flow.record_reply_cut(&mut self.history);
        self.interrupt_question(&heard);
        self.silence_timer.reset(self.now);
        self.turn.hold_until(self.now + INTERRUPT_HOLD);
        if self.phase.is_closing() {
            return self.record_goodbye_cut(unfinished && has_spoken);
        }
        if unfinished {
            self.turn.owe_response();
        }
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
            Info::ClientSpeaking(false) => self.caller_speech.end(),
            Info::TokensPlayed(clause) => self.record_played(LimitedInput::new(clause.reveal()).kept()),
            Info::Other => {}
        }
    }

    fn record_caller_speech(&mut self) {
        self.caller_speech.begin(self.now);
        self.silence_timer.reset(self.now);
    }

    /// Stops the agent's reply. Running tools continue; waiting tool calls are dropped, those of external clients too:
    /// the flow that wanted them began before the caller spoke.
    pub(super) fn stop_reply(&mut self) {
        let is_parked = self.phase.is_parked();
        self.stop_turn(if is_parked { prompts::CALLER_NOT_CONNECTED } else { prompts::CALLER_SPOKE_FIRST });
        self.close_talk_cycle();
    }

    pub(super) fn close_talk_cycle(&mut self) {
        if self.speech.close_cycle() && !self.phase.is_parked() {
            self.send_frame(OutgoingFrame::end_talk_cycle());
        }
    }
}
