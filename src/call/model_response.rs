//! Requests to the model, and its responses.

use std::time::Duration;

use super::event::{ModelEvent, ModelRequest, ModelRequestId};
use super::turn::FinishedResponse;
use super::{Action, Call, CallEnding, ClosingNotes, ConversationItem, ToolCall, prompts};
use crate::redact::{Private, StreamedText};
use crate::relay::OutgoingFrame;
use crate::telemetry::ModelOutage;

/// The number of consecutive failures after which the call is handed off to a person.
const MAX_FAILURES: u32 = 3;

/// The delay before the model is asked again after a failure while a payment is open: nothing else would advance the
/// call then.
const FAILURE_HOLD: Duration = Duration::from_secs(3);

impl Call {
    pub(super) fn ask_model(&mut self) {
        if self.turn.is_held(self.now) || self.is_caller_speaking() {
            return;
        }
        if self.turn.is_looping() {
            if self.is_server_leading() {
                // The payment continues without the model.
                self.turn.waive_response();
                return;
            }
            return self.give_up_on_model("the model calls tools in a loop");
        }
        self.say_notices();
        self.silence_timer.record_activity(self.now);
        self.agent_redactor.begin_input();
        let id = self.turn.begin_response(&self.history, self.settings.has_telephone, self.now);
        let leads = self.is_server_leading();
        let progress =
            self.payments.open().map(|capture| ConversationItem::Developer(prompts::payment_progress(capture, leads)));
        let input = self.history.build_input(progress);
        self.emit(Action::AskModel(ModelRequest { id, input, waited: self.turn.waited() }));
    }

    pub(super) fn handle_model_event(&mut self, request: ModelRequestId, event: ModelEvent) {
        if self.turn.current_request() != Some(request) {
            return;
        }
        match event {
            ModelEvent::TextDelta(words) => {
                let words = self.turn.redact_delta(words.reveal());
                self.append_model_text(words);
            }
            ModelEvent::MessagePhase(phase) => {
                self.flush_held_text();
                self.turn.begin_message(phase);
            }
            ModelEvent::Reasoning(item) => self.keep_reasoning(item),
            ModelEvent::ToolCall(call) => self.queue_tool_call(call),
            ModelEvent::Report(_) => {}
            ModelEvent::Completed => self.finish_response(true),
            ModelEvent::Failed => self.finish_response(false),
            ModelEvent::InputRefused(refusal) => self.handle_input_refusal(refusal),
        }
    }

    /// Speaks the text that is still held back, as mark-up or as digits.
    fn flush_held_text(&mut self) {
        let rest = self.turn.take_held_text();
        self.append_model_text(rest);
    }

    fn append_model_text(&mut self, token: StreamedText) {
        if token.text.is_empty() {
            return;
        }
        let token = self.redact_agent_words(token);
        self.turn.record_text(&token);
        if self.listen_only {
            return;
        }
        if !self.speech.is_cycle_open() {
            self.say_notices();
        }
        let Some(position) = self.turn.text_position(&mut self.history) else { return };
        if let Some(words) = self.history.agent_text_mut(position) {
            words.push_str(&token);
        }
        self.speech.record_sent(position, &token, self.now);
        self.send_frame(OutgoingFrame::token(token));
    }

    fn queue_tool_call(&mut self, call: ToolCall) {
        self.flush_held_text();
        let call = self.redact_tool_call(call);
        self.turn.queue_call(call, &mut self.history);
    }

    fn finish_response(&mut self, is_complete: bool) {
        self.flush_held_text();
        let Some(response) = self.turn.finish_response(&mut self.history) else { return };
        self.close_talk_cycle();
        if is_complete && (response.has_text || response.has_calls) {
            self.turn.record_accepted_input();
            self.history.forget_left_out();
        }
        if is_complete && response.has_text {
            self.turn.record_success();
            let is_owed = self.turn.is_response_owed();
            self.guided_flow.record_reply(response.reply_position, is_owed, &mut self.history);
            return self.record_goodbye();
        }
        if response.has_calls || self.may_say_nothing(&response, is_complete) {
            return;
        }
        if is_complete && self.may_ask_for_words(&response) {
            self.note(prompts::ANSWER_IN_WORDS);
            return self.turn.owe_response();
        }
        self.history.restore_left_out();
        let reason = if is_complete { "nothing of the response can be spoken" } else { "the response failed" };
        self.handle_model_failure(reason);
    }

    /// Whether a response without text is no failure: the server speaks next, or a client has called tools within it.
    /// Those have done what the caller wanted, and an apology would ask for it again.
    fn may_say_nothing(&self, response: &FinishedResponse, is_complete: bool) -> bool {
        let has_client = response.has_external_calls;
        let server_speaks = self.is_server_leading() || (has_client && self.has_open_question());
        let is_done = has_client && !response.has_text && !self.payments.is_open();
        !self.phase.is_closing() && (is_done || (server_speaks && (is_complete || has_client)))
    }

    /// Whether the model is asked again after an answer of which nothing can be spoken. One that has called tools is none.
    fn may_ask_for_words(&mut self, response: &FinishedResponse) -> bool {
        self.settings.may_ask_again && !response.has_external_calls && self.turn.may_ask_for_words()
    }

    /// Makes the server speak in place of a model that failed or returned nothing, so that the caller never hears
    /// silence.
    pub(super) fn handle_model_failure(&mut self, reason: &'static str) {
        self.turn.waive_response();
        self.turn.restart_rounds();
        if self.phase.is_closing() {
            self.report_apology(reason);
            self.record_goodbye();
            self.announce_result();
            let goodbye = self.settings.messages.goodbye.clone();
            return self.say(&goodbye);
        }
        if !self.settings.has_telephone {
            // In a chat, the HTTP response reports that there is no answer.
            return;
        }
        if self.prompt_without_model() {
            return self.report_apology(reason);
        }
        if self.turn.record_failure() >= MAX_FAILURES {
            return self.give_up_on_model("the model failed three times in a row");
        }
        self.report_apology(reason);
        self.say(&self.settings.messages.model_unavailable.clone());
        if self.payments.is_open() {
            self.turn.owe_response();
            self.turn.hold_until(self.now + FAILURE_HOLD);
        }
    }

    fn report_apology(&mut self, reason: &'static str) {
        self.emit(Action::ReportModelOutage(ModelOutage::Apology(reason)));
    }

    /// Hands the call off to a person, since the model gives no answer.
    fn give_up_on_model(&mut self, reason: &'static str) {
        self.emit(Action::ReportModelOutage(ModelOutage::HandOff(reason)));
        self.hand_off("model-unavailable");
        // The caller's words could not be answered, so they do not cancel it.
        self.make_closing_final();
    }

    /// Hands the call off to a person on the server's decision.
    pub(super) fn hand_off(&mut self, reason: &'static str) {
        if !self.phase.is_in_progress() {
            return;
        }
        self.turn.waive_response();
        self.drop_question();
        self.say(&self.settings.messages.hand_off.clone());
        let summary = if self.payments.is_submitting() { prompts::RESULT_UNKNOWN } else { "" };
        let notes = ClosingNotes::from_summary(summary);
        let data = prompts::handoff_data(reason, reason, &notes);
        let ending = CallEnding { reason: Some(reason), handoff_data: Some(Private::new(data)), notes };
        self.begin_closing(ending, true);
    }

    /// Hands the call off to a person, whatever the caller says in the meantime: there is no agent to talk to.
    pub(super) fn hand_off_for_good(&mut self, reason: &'static str) {
        self.hand_off(reason);
        self.make_closing_final();
    }
}
