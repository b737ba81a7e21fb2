//! Asking the model and saying what it answers.

use std::time::Duration;

use super::event::{ModelEvent, Request, RequestId};
use super::{Action, Call, Farewell, Item, Phase, ToolCall, words};
use crate::relay::Outgoing;

/// Failures in a row after which a person takes over.
const MAX_FAILURES: u32 = 3;

/// Responses without a word from the caller or the payment after which the model is taken to go in circles.
const MAX_ROUNDS: u32 = 12;

/// Tool calls in one response that are run.
const MAX_CALLS: usize = 8;

/// With a payment open nothing but the model would move the call on: after a failure it is asked again this much later.
const FAILURE_HOLD: Duration = Duration::from_secs(3);

impl Call {
    pub(super) fn ask_model(&mut self) {
        let held = self.turn.hold.is_some_and(|until| self.now < until);
        if held || self.is_caller_speaking() {
            return;
        }
        if self.turn.rounds >= MAX_ROUNDS {
            if self.leads() {
                // The payment goes on without it.
                self.turn.owed = false;
                return;
            }
            return self.hand_over("model-unavailable");
        }
        self.watch.stir(self.now);
        let id = self.turn.ask(&self.history);
        let leads = self.leads();
        let progress = self.payments.open().map(|capture| Item::Developer(words::progress(capture, leads)));
        let input = self.history.input(progress);
        self.actions.push(Action::AskModel(Request { id, input }));
    }

    pub(super) fn model(&mut self, request: RequestId, event: ModelEvent) {
        if self.turn.response.as_ref().is_none_or(|response| response.id != request) {
            return;
        }
        match event {
            ModelEvent::Delta(words) => {
                let Some(response) = &mut self.turn.response else { return };
                let words = response.stream.push(words.reveal());
                self.model_said(words);
            }
            ModelEvent::Reasoning(item) => {
                self.history.push(Item::Reasoning(item));
            }
            ModelEvent::Call(call) => self.model_called(call),
            ModelEvent::Done => self.model_done(true),
            ModelEvent::Failed => self.model_done(false),
        }
    }

    /// Says what was held back of the words that have come.
    fn say_the_rest(&mut self) {
        if let Some(response) = &mut self.turn.response {
            let rest = response.stream.finish();
            self.model_said(rest);
        }
    }

    fn model_said(&mut self, token: String) {
        let Some(response) = self.turn.response.as_mut().filter(|_| !token.is_empty()) else { return };
        self.turn.spoke |= !token.trim().is_empty();
        if self.listening {
            return;
        }
        let position = match response.words {
            Some(position) => position,
            None => self.history.push(Item::Agent(String::new())),
        };
        response.words = Some(position);
        response.reply = Some(position);
        if let Some(words) = self.history.agent_mut(position) {
            words.push_str(&token);
        }
        self.speech.sent(position, &token, self.now);
        self.actions.push(Action::Say(Outgoing::token(token)));
    }

    fn model_called(&mut self, call: ToolCall) {
        self.say_the_rest();
        let Some(response) = &mut self.turn.response else { return };
        response.words = None;
        response.calls += 1;
        let is_one_too_many = response.calls > MAX_CALLS;
        self.history.push(Item::ToolCall(call.clone()));
        response.unused_from = self.history.end();
        if is_one_too_many {
            self.turn.answer(call.call_id, words::refused(words::TOO_MANY_CALLS));
        } else {
            self.turn.waiting.push_back(call);
        }
    }

    fn model_done(&mut self, well: bool) {
        self.say_the_rest();
        let Some(response) = self.turn.response.take() else { return };
        self.history.drop_reasoning_since(response.unused_from);
        self.close_cycle();
        let called = response.calls > 0;
        if well && self.turn.spoke {
            self.failures = 0;
            self.guidance.told(response.reply, &mut self.history);
            if let Some(farewell) = &mut self.farewell {
                farewell.said = true;
            }
        } else if well && self.leads() && self.farewell.is_none() {
            // It was only told, and has nothing to add.
        } else if !called {
            self.model_failed();
        }
    }

    /// The model has nothing to say: the server speaks instead, so that the caller never hears silence.
    pub(super) fn model_failed(&mut self) {
        self.turn.owed = false;
        self.turn.rounds = 0;
        if let Some(farewell) = &mut self.farewell {
            farewell.said = true;
            self.tell_result();
            let goodbye = self.settings.messages.goodbye.clone();
            return self.say(&goodbye);
        }
        if !self.settings.telephone {
            // Whoever asked is told that there is no answer; that is not for the chat to say.
            return;
        }
        if self.guide_without_model() {
            return;
        }
        self.failures += 1;
        if self.failures >= MAX_FAILURES {
            return self.hand_over("model-unavailable");
        }
        self.say(&self.settings.messages.model_unavailable.clone());
        if self.payments.is_open() {
            self.turn.owed = true;
            self.turn.hold = Some(self.now + FAILURE_HOLD);
        }
    }

    /// The server itself gives the call to a person.
    pub(super) fn hand_over(&mut self, reason: &'static str) {
        if self.phase != Phase::Talking {
            return;
        }
        self.turn.owed = false;
        self.drop_statement();
        self.say(&self.settings.messages.hand_off.clone());
        let summary = if self.payments.is_submitting() { words::RESULT_UNKNOWN } else { "" };
        self.farewell = Some(Farewell::said(Some(words::handoff_data(reason, reason, summary))));
    }
}
