//! A call that another server had, and that this one goes on with.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::consent_question::ConsentQuestion;
use super::history::{ConversationItem, History};
use super::journal::{CallState, ChangedItem, JournalCursor};
use super::speech::AgentSpeech;
use super::tool::Tool;
use super::turn::ToolOrigin;
use super::usage::CallUsage;
use super::{Action, Call, CallSettings, WallClock, prompts};
use crate::payment::{
    Capture, CaptureStage, Field, NoticeKind, PaymentState, PriorPayments, PriorSession, RequestKind,
};
use crate::redact::RedactionPolicy;
use crate::relay::{LanguageSwitch, OutgoingFrame, Setup};

/// What the last server of a call has left of it.
#[derive(Debug, Default)]
pub(crate) struct ResumedCall {
    /// What is known of it besides the conversation; the default if nothing is.
    pub(crate) state: CallState,
    /// The conversation, as far as it is known.
    pub(crate) items: Vec<ConversationItem>,
    /// The payment that is in progress.
    pub(crate) payment: Option<Capture>,
    /// How long the call had lasted when its last server wrote something of it.
    pub(crate) age: Duration,
}

impl Call {
    /// Goes on with a call that another server had, from Twilio's `setup` frame on this one. The other arguments are those of
    /// [`begin`](Self::begin).
    pub(crate) fn resume(
        settings: Arc<CallSettings>,
        setup: &Setup,
        request: Option<&str>,
        known: &PriorPayments,
        resumed: ResumedCall,
        nonce: Uuid,
        clock: WallClock,
    ) -> (Self, Vec<Action>) {
        let mut call = Self::new(settings, setup, request, known, nonce, clock);
        call.take_up(resumed, known);
        call.start()
    }

    fn take_up(&mut self, resumed: ResumedCall, known: &PriorPayments) {
        let ResumedCall { state, items, payment, age } = resumed;
        let began = self.now.checked_sub(age).unwrap_or(self.now);
        self.usage = CallUsage::new(&self.settings.usage_limits, self.settings.has_telephone, began);
        let has_journal = !items.is_empty();
        if has_journal {
            self.restore_history(items, state.left_out_turns);
        }
        self.speech = AgentSpeech::resumed();
        self.restore_state(&state);
        if let Some(capture) = payment {
            self.restore_pause(&known.recording);
            self.take_up_payment(capture, state.is_server_leading);
        }
        // Without a journal the details of the call say it.
        let is_news = has_journal && self.tell_results(known, &state);
        if let Some(question) = state.question.as_ref().and_then(ConsentQuestion::from_kept) {
            self.note(prompts::QUESTION_ASKED_AGAIN);
            return self.ask_question(question);
        }
        let is_answered = self.history.ends_with_answer() && !is_news;
        if let Some(step) = self.step_since(&state).filter(|_| is_answered) {
            self.note_payment_step(step);
        }
        if state.is_handed_over {
            // All of it was written, and nobody has noticed anything.
            if !is_answered {
                self.turn.require_response();
            }
            return;
        }
        self.note(prompts::CALL_TAKEN_UP);
        if !(is_answered && self.repeat_prompt(self.now)) {
            self.turn.require_response();
        }
    }

    /// What has become of the field that the caller was asked for, if it was entered while nobody had the call. Where the server
    /// leads, it goes on by itself.
    fn step_since(&self, state: &CallState) -> Option<String> {
        let awaited = Field::from_wire(state.awaited_field.as_deref()?)?;
        let capture = self.payments.open().filter(|_| !self.is_server_leading())?;
        let is_over = capture.stage() == CaptureStage::Open;
        let is_captured = is_over && capture.captured().contains(awaited);
        match (is_captured, is_over) {
            (true, _) => Some(prompts::field_captured(awaited, capture)),
            (false, true) => Some(prompts::entry_broken_off(awaited, capture)),
            (false, false) => None,
        }
    }

    /// Notes the results of payments that came while nobody had the call. The server says the newest one if the model does not.
    /// Returns whether there is any.
    fn tell_results(&mut self, known: &PriorPayments, state: &CallState) -> bool {
        // What was given up was given up by the call, or by the caller.
        let has_result = |state: PaymentState| {
            state.is_reported() && !matches!(state, PaymentState::Abandoned | PaymentState::Cancelled)
        };
        let untold = |session: &&PriorSession| {
            has_result(session.record.state)
                && !state.knows_result_of(&session.sid)
                && !self.payments.is_open_session(&session.sid)
        };
        let Some(newest) = known.sessions.iter().rfind(untold) else { return false };
        let record = newest.record;
        self.note(prompts::payments_of_call(known));
        self.guided_flow.record_known_result(&record);
        self.turn.require_response();
        true
    }

    /// Restores the conversation, and lets the redactors hear again what was said last: a card number may go on.
    fn restore_history(&mut self, items: Vec<ConversationItem>, left_out_turns: usize) {
        for item in &items {
            match item {
                ConversationItem::Caller(text) => drop(self.redactor.redact(text, RedactionPolicy::CardNumbers)),
                ConversationItem::Agent(message) => {
                    self.agent_redactor.find_cards(&message.text);
                    self.agent_redactor.begin_input();
                }
                _ => {}
            }
        }
        self.history = History::restore(items, left_out_turns);
    }

    fn restore_state(&mut self, state: &CallState) {
        if state.is_language_requested {
            self.caller_language.hold();
        }
        self.switched_languages = state.languages();
        if let Some(languages) = self.switched_languages.clone() {
            self.send_frame(OutgoingFrame::Language(languages));
        }
        self.restore_disclosure(state.is_disclosed);
        self.listen_only = state.listen_only;
        self.silence_timer.set_enabled(state.detects_silence, self.now);
        self.usage.restore(state);
    }

    fn take_up_payment(&mut self, capture: Capture, is_server_leading: bool) {
        self.payments.take_up(capture, self.now);
        // Twilio replays what it buffered between the two sockets, keys of a card among it.
        self.payment_window.record_socket_lost();
        self.payment_window.record_resumed(self.now);
        if is_server_leading {
            self.guided_flow.take_up();
        }
        self.repeat_unconfirmed_request();
    }

    /// Repeats the last request of the open payment, with its key, if nobody knows whether Twilio has carried it out.
    fn repeat_unconfirmed_request(&mut self) {
        let Some(capture) = self.payments.open_mut() else { return };
        let charge = capture.charge();
        let tool = match capture.unconfirmed_request() {
            None => return,
            Some(RequestKind::Create) => capture.retry_open(charge).map(Tool::StartCapture),
            Some(RequestKind::Update(action)) => capture.request_update(action).map(Tool::UpdatePayment),
        };
        if let Ok(tool) = tool {
            self.run_tool(ToolOrigin::Server, tool);
        }
    }

    /// Tells the model how the repeated request for a session ended.
    pub(super) fn report_repeated_start(&mut self, output: &str) {
        if self.is_server_leading() {
            return self.note(prompts::session_opened_guided());
        }
        let step = self.payments.open().filter(|capture| capture.sid().is_some()).map(prompts::session_opened);
        self.note_payment_step(step.unwrap_or_else(|| prompts::repeated_start(output)));
    }

    /// What another server needs to know besides the conversation.
    pub(crate) fn state(&self, is_handed_over: bool) -> CallState {
        let language =
            |of: fn(&LanguageSwitch) -> Option<&str>| self.switched_languages.as_ref().and_then(of).map(str::to_owned);
        let (messages, tones, recordings) = self.usage.counts();
        CallState {
            spoken_language: language(LanguageSwitch::tts_language),
            heard_language: language(LanguageSwitch::transcription_language),
            is_language_requested: self.caller_language.is_requested(),
            listen_only: self.listen_only,
            detects_silence: self.silence_timer.is_enabled(),
            is_server_leading: self.guided_flow.is_leading(),
            left_out_turns: self.history.left_out_turns(),
            messages,
            tones,
            recordings,
            is_handed_over,
            is_disclosed: self.notices.is_heard(NoticeKind::Disclosure),
            question: self.question.as_ref().and_then(ConsentQuestion::to_kept),
            results: self.payments.told_results(self.turn.has_notes()).map(|sid| sid.as_str().to_owned()).collect(),
            awaited_field: self
                .payments
                .open()
                .and_then(Capture::awaited_field)
                .map(|field| field.wire_name().to_owned()),
        }
    }

    /// The state of a call of which only the settings are known.
    pub(crate) fn initial_state(settings: &CallSettings) -> CallState {
        CallState {
            listen_only: settings.listen_only,
            detects_silence: settings.silence.enabled,
            is_server_leading: settings.is_guided,
            ..CallState::default()
        }
    }

    /// Returns what has changed of the conversation since the last time.
    pub(crate) fn take_journal_changes(&self, cursor: &mut JournalCursor) -> Vec<ChangedItem> {
        cursor.take_changes(self.history.items())
    }
}

/// Completes a conversation that broke off: a tool call whose output is missing gets one, and an output without its call goes.
pub(super) fn complete_tool_calls(items: Vec<ConversationItem>) -> Vec<ConversationItem> {
    let mut open = Vec::new();
    let mut complete: Vec<ConversationItem> = Vec::with_capacity(items.len());
    let mut known = HashSet::new();
    for item in items {
        match &item {
            ConversationItem::ToolCall(call) if !known.insert(call.call_id.clone()) => continue,
            ConversationItem::ToolCall(call) => open.push((call.call_id.clone(), is_payment_tool(&call.name))),
            ConversationItem::ToolOutput { call_id, .. } => {
                let Some(at) = open.iter().position(|(open, _)| open == call_id) else { continue };
                open.remove(at);
            }
            _ => {}
        }
        complete.push(item);
    }
    complete.extend(open.into_iter().map(|(call_id, is_of_payment)| {
        let output = if is_of_payment { prompts::request_repeated() } else { prompts::output_lost() };
        ConversationItem::ToolOutput { call_id, output }
    }));
    complete
}

/// Whether a tool asks Twilio for a step of a payment. The server repeats it where nobody knows whether it arrived.
fn is_payment_tool(name: &str) -> bool {
    name.starts_with("capture-") || name.ends_with("-capture")
}
