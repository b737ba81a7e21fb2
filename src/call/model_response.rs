//! Requests to the model, and its responses.

use std::time::Duration;

use super::event::{ModelEvent, ModelRequest, ModelRequestId};
use super::{Action, Call, Closing, ConversationItem, Phase, ToolCall, prompts};
use crate::relay::OutgoingFrame;

/// The number of consecutive failures after which the call is handed off to a person.
const MAX_FAILURES: u32 = 3;

/// The maximum number of responses without an input of the caller or a payment event. Beyond it the model is in a loop.
const MAX_ROUNDS: u32 = 12;

/// The maximum number of tool calls in a response. Further ones are refused.
const MAX_TOOL_CALLS: usize = 8;

/// The delay before the model is asked again after a failure while a payment is open: nothing else would advance the
/// call then.
const FAILURE_HOLD: Duration = Duration::from_secs(3);

impl Call {
    pub(super) fn ask_model(&mut self) {
        let held = self.turn.hold_until.is_some_and(|until| self.now < until);
        if held || self.is_caller_speaking() {
            return;
        }
        if self.turn.round_count >= MAX_ROUNDS {
            if self.is_server_leading() {
                // The payment continues without the model.
                self.turn.response_owed = false;
                return;
            }
            return self.hand_off("model-unavailable");
        }
        self.silence_timer.record_activity(self.now);
        let id = self.turn.begin_response(&self.history);
        let leads = self.is_server_leading();
        let progress =
            self.payments.open().map(|capture| ConversationItem::Developer(prompts::payment_progress(capture, leads)));
        let input = self.history.build_input(progress);
        self.actions.push(Action::AskModel(ModelRequest { id, input }));
    }

    pub(super) fn handle_model_event(&mut self, request: ModelRequestId, event: ModelEvent) {
        if self.turn.response.as_ref().is_none_or(|response| response.id != request) {
            return;
        }
        match event {
            ModelEvent::TextDelta(words) => {
                let Some(response) = &mut self.turn.response else { return };
                let words = response.stream.push(words.reveal());
                self.append_model_text(words);
            }
            ModelEvent::Reasoning(item) => {
                self.history.push(ConversationItem::Reasoning(item));
            }
            ModelEvent::ToolCall(call) => self.queue_tool_call(call),
            ModelEvent::Completed => self.finish_response(true),
            ModelEvent::Failed => self.finish_response(false),
        }
    }

    /// Speaks the text that the redaction of the stream still holds back.
    fn flush_held_text(&mut self) {
        if let Some(response) = &mut self.turn.response {
            let rest = response.stream.finish();
            self.append_model_text(rest);
        }
    }

    fn append_model_text(&mut self, token: String) {
        let Some(response) = self.turn.response.as_mut().filter(|_| !token.is_empty()) else { return };
        self.turn.has_spoken |= !token.trim().is_empty();
        if self.listen_only {
            return;
        }
        let position = match response.text_position {
            Some(position) => position,
            None => self.history.push(ConversationItem::Agent(String::new())),
        };
        response.text_position = Some(position);
        response.reply_position = Some(position);
        if let Some(words) = self.history.agent_text_mut(position) {
            words.push_str(&token);
        }
        self.speech.record_sent(position, &token, self.now);
        self.actions.push(Action::SendFrame(OutgoingFrame::token(token)));
    }

    fn queue_tool_call(&mut self, call: ToolCall) {
        self.flush_held_text();
        let Some(response) = &mut self.turn.response else { return };
        response.text_position = None;
        response.call_count += 1;
        let is_one_too_many = response.call_count > MAX_TOOL_CALLS;
        self.history.push(ConversationItem::ToolCall(call.clone()));
        response.unused_reasoning_from = self.history.next_position();
        if is_one_too_many {
            self.turn.push_tool_output(call.call_id, prompts::refusal(prompts::TOO_MANY_TOOL_CALLS));
        } else {
            self.turn.waiting_calls.push_back(call);
        }
    }

    fn finish_response(&mut self, is_complete: bool) {
        self.flush_held_text();
        let Some(response) = self.turn.response.take() else { return };
        self.history.drop_reasoning_since(response.unused_reasoning_from);
        self.close_talk_cycle();
        let called = response.call_count > 0;
        if is_complete && self.turn.has_spoken {
            self.model_failures = 0;
            self.guided_flow.record_reply(response.reply_position, &mut self.history);
            if let Some(closing) = &mut self.closing {
                closing.goodbye_said = true;
            }
        } else if is_complete && self.is_server_leading() && self.closing.is_none() {
            // The server leads; the model may respond without text.
        } else if !called {
            self.handle_model_failure();
        }
    }

    /// Makes the server speak in place of a model that failed or returned nothing, so that the caller never hears
    /// silence.
    pub(super) fn handle_model_failure(&mut self) {
        self.turn.response_owed = false;
        self.turn.round_count = 0;
        if let Some(closing) = &mut self.closing {
            closing.goodbye_said = true;
            self.say_untold_result();
            let goodbye = self.settings.messages.goodbye.clone();
            return self.say(&goodbye);
        }
        if !self.settings.has_telephone {
            // In a chat, the HTTP response reports that there is no answer.
            return;
        }
        if self.prompt_without_model() {
            return;
        }
        self.model_failures += 1;
        if self.model_failures >= MAX_FAILURES {
            return self.hand_off("model-unavailable");
        }
        self.say(&self.settings.messages.model_unavailable.clone());
        if self.payments.is_open() {
            self.turn.response_owed = true;
            self.turn.hold_until = Some(self.now + FAILURE_HOLD);
        }
    }

    /// Hands the call off to a person on the server's decision.
    pub(super) fn hand_off(&mut self, reason: &'static str) {
        if self.phase != Phase::Talking {
            return;
        }
        self.turn.response_owed = false;
        self.drop_question();
        self.say(&self.settings.messages.hand_off.clone());
        let summary = if self.payments.is_submitting() { prompts::RESULT_UNKNOWN } else { "" };
        self.closing = Some(Closing::after_goodbye(Some(prompts::handoff_data(reason, reason, summary))));
    }
}
