//! A phone call as a pure state machine: [`Call::handle`] takes a [`CallEvent`] and the time, and returns [`Action`]s.
//!
//! This module has no I/O, clock, lock, task or log line. The conversation, the payments and the silence detection keep
//! their state here and nowhere else, so that tests can try any order of events.
//!
#![doc = include_str!("call/README.md")]

mod agent_output;
mod business_tools;
mod call_recording;
mod caller_input;
mod caller_language;
mod caller_signals;
mod caller_speech;
mod capture_speech;
mod charge_authorization;
mod compliance_text;
mod consent_lexicon;
mod consent_question;
mod courtesy;
mod ending;
mod event;
mod external_calls;
mod guided_flow;
mod history;
mod input_limit;
mod input_refusal;
mod journal;
mod keypad;
mod known_calls;
mod localized_message;
mod model_response;
mod notices;
mod payment_authorization;
mod payment_window;
mod payments;
mod phase;
mod progress;
mod prompts;
mod receipt;
mod resume;
mod settings;
mod silence;
mod speakable;
mod speech;
mod spoken_amount;
mod spoken_details;
#[cfg(test)]
mod tests;
mod tool;
mod tool_arguments;
mod tool_calls;
mod tool_request;
mod turn;
mod usage;

pub(crate) use compliance_text::{BUSINESS, ComplianceText, FilledText, RECEIPT_PLACEHOLDERS, check_placeholders};
pub(crate) use ending::{CallEnding, ClosingNotes};
pub(crate) use event::{
    Action, AgentState, CallEvent, ExternalCallId, ExternalOutput, ModelEvent, ModelRequest, ModelRequestId, ToolRunId,
};
pub(crate) use guided_flow::{LocalizedTexts, PaymentTexts};
pub(crate) use history::{AgentMessage, ConversationItem, MessagePhase, ToolCall};
pub(crate) use input_refusal::InputRefusal;
pub(crate) use journal::{CallState, ChangedItem, JournalCursor};
pub(crate) use localized_message::LocalizedMessage;
pub(crate) use payment_authorization::{
    AuthorizationSettings, BANK_DEBIT_CONTENTS, BANK_DEBIT_PLACEHOLDERS, STORED_CARD_CONTENTS,
    STORED_CARD_PLACEHOLDERS, WallClock,
};
pub(crate) use progress::{CallProgress, LineStatus, PaymentProgress};
pub(crate) use resume::ResumedCall;
pub(crate) use settings::{
    CallEnvironment, CallMessages, CallSettings, KeypadSettings, RecordingSettings, SilenceSettings,
};
#[cfg(any(fuzzing, test))]
pub(crate) use speakable::make_speakable;
pub(crate) use tool::{
    BusinessAnswer, BusinessToolError, CONTEXT_PARAMETERS, ContextKeys, MANIFEST_PARAMETERS, ReceiptNews, Tool,
    ToolOutcome,
};
pub(crate) use tool_arguments::Argument;
pub(crate) use tool_request::ToolSpec;
pub(crate) use usage::TIME_LIMIT_MARGIN;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::payment::{PaymentIdGenerator, PaymentLogEntry, PriorPayments};
use crate::phone_number::PhoneNumber;
use crate::redact::Redactor;
use crate::relay::{LanguageSwitch, OutgoingFrame, Setup};
use call_recording::CallRecording;
use caller_language::CallerLanguage;
use caller_speech::CallerSpeech;
use charge_authorization::{ChargeAuthorization, ChargeStatus};
use consent_question::ConsentQuestion;
use guided_flow::GuidedFlow;
use history::History;
use keypad::Keypad;
use notices::Notices;
use payment_window::PaymentWindow;
use payments::CallPayments;
use phase::Phase;
use silence::{SilenceAction, SilenceTimer};
use speech::AgentSpeech;
use turn::ModelTurn;
use usage::CallUsage;

/// The state of one phone call.
pub(crate) struct Call {
    settings: Arc<CallSettings>,
    phase: Phase,
    /// The caller's phone number, if it is a valid one.
    caller_number: Option<PhoneNumber>,
    history: History,
    /// Removes card numbers from the caller's input.
    redactor: Redactor,
    /// Removes card numbers from what the model says and writes over time.
    agent_redactor: Redactor,
    /// Removes card numbers from the tones that the model sends over time.
    tone_redactor: Redactor,
    speech: AgentSpeech,
    caller_speech: CallerSpeech,
    keypad: Keypad,
    turn: ModelTurn,
    authorization: ChargeAuthorization,
    payments: CallPayments,
    payment_window: PaymentWindow,
    guided_flow: GuidedFlow,
    /// The yes/no question that the caller has not answered yet.
    question: Option<ConsentQuestion>,
    silence_timer: SilenceTimer,
    usage: CallUsage,
    notices: Notices,
    recording: CallRecording,
    /// Listen mode is on: the model's text is not spoken.
    listen_only: bool,
    caller_language: CallerLanguage,
    /// The languages set by `switch-language`, or by the caller's own language.
    switched_languages: Option<LanguageSwitch>,
    /// What is reported of the end, once the call has ended.
    ending: CallEnding,
    /// Whether this server placed the call.
    is_outbound: bool,
    clock: WallClock,
    now: Instant,
    actions: Vec<Action>,
}

impl Call {
    /// Begins a call from Twilio's `setup` frame.
    ///
    /// `nonce` is unique to the call; the ids of its payments are derived from it. `request` is the JSON object of the
    /// operator's outbound-call request, if there was one. `known` holds the ledger's earlier payments for the call.
    pub(crate) fn begin(
        settings: Arc<CallSettings>,
        setup: &Setup,
        request: Option<&str>,
        known: &PriorPayments,
        nonce: Uuid,
        clock: WallClock,
    ) -> (Self, Vec<Action>) {
        let mut call = Self::new(settings, setup, request, known, nonce, clock);
        let of_placed_call = call.settings.outbound_greeting.clone().filter(|_| setup.is_outbound());
        let greeting = of_placed_call.or_else(|| call.settings.welcome_greeting.clone());
        match greeting.filter(|_| !setup.is_reconnect()) {
            Some(greeting) => call.record_greeting(&greeting),
            None if call.settings.has_telephone => call.turn.require_response(),
            None => {}
        }
        call.start()
    }

    /// A call of which nothing was said.
    fn new(
        settings: Arc<CallSettings>,
        setup: &Setup,
        request: Option<&str>,
        known: &PriorPayments,
        nonce: Uuid,
        clock: WallClock,
    ) -> Self {
        let now = clock.now;
        let parameters = merge_parameters(setup, request);
        let terms = settings.payment.parse_call_terms(&parameters).map(Arc::new);
        let details = prompts::call_details(setup, request, &terms, settings.confirm_due, known);
        let mut call = Self {
            phase: Phase::Live,
            caller_number: setup.caller(),
            history: History::default(),
            redactor: Redactor::default(),
            agent_redactor: Redactor::default(),
            tone_redactor: Redactor::default(),
            speech: AgentSpeech::default(),
            caller_speech: CallerSpeech::default(),
            keypad: Keypad::default(),
            turn: ModelTurn::default(),
            authorization: ChargeAuthorization::new(parameters, terms),
            payments: CallPayments::new(PaymentIdGenerator::new(nonce), now),
            payment_window: PaymentWindow::default(),
            guided_flow: GuidedFlow::default(),
            question: None,
            silence_timer: SilenceTimer::new(&settings.silence, now),
            usage: CallUsage::new(&settings.usage_limits, settings.has_telephone, now),
            notices: Notices::new(&settings, known),
            recording: CallRecording::default(),
            listen_only: settings.listen_only,
            caller_language: CallerLanguage::default(),
            switched_languages: None,
            ending: CallEnding::default(),
            is_outbound: setup.is_outbound(),
            clock,
            now,
            actions: Vec::new(),
            settings,
        };
        call.history.push(ConversationItem::Developer(details));
        call.record_known_charges(known);
        call.payments.remember(&known.sessions);
        call.payment_window.record_past(known.is_unread);
        call.restore_recording(&known.recording);
        call
    }

    /// Returns the call with what it does first. One without an agent is handed off: only a person can serve the caller, other
    /// instructions or tools must not.
    fn start(mut self) -> (Self, Vec<Action>) {
        if !self.settings.has_agent {
            self.hand_off_for_good("agent-unavailable");
        }
        self.advance();
        let actions = std::mem::take(&mut self.actions);
        (self, actions)
    }

    /// Records what was charged on this call before the server restarted. Payments in state `unknown` are not recorded
    /// here: the ledger refuses a further charge according to their state at that time.
    fn record_known_charges(&mut self, known: &PriorPayments) {
        for payment in known.on_call.iter().filter(|payment| payment.state.holds_money()) {
            self.authorization.record_charge(payment.charge, ChargeStatus::Charged);
        }
    }

    /// Learns what an earlier server of the call had begun, since the ledger could not say it when the call began.
    fn learn_payments(&mut self, known: &PriorPayments) {
        self.record_known_charges(known);
        self.payments.remember(&known.sessions);
        self.payment_window.record_past(known.is_unread);
        self.restore_recording(&known.recording);
        if !known.on_call.is_empty() {
            self.note(prompts::payments_by_now(known));
        }
    }

    /// Applies an event and returns the actions to carry out, in order. `now` must never go backwards.
    pub(crate) fn handle(&mut self, event: CallEvent, now: Instant) -> Vec<Action> {
        self.now = now;
        if self.phase.is_closed() {
            return Vec::new();
        }
        self.note_quiet();
        let (was_open, was_submitted) = (self.payments.is_open(), self.payments.is_submitting());
        match event {
            CallEvent::RelayFrame(frame) => self.handle_frame(frame),
            CallEvent::OperatorMessage(text) => self.handle_operator_message(text.reveal()),
            CallEvent::PaymentStatus(status) => {
                self.payment_window.record_callback(now);
                self.apply_payment_callback(&status);
            }
            CallEvent::Model { request, event } => self.handle_model_event(request, event),
            CallEvent::ExternalToolCall { id, request, call } => self.accept_external_call(id, request, call),
            CallEvent::ExternalCallWithdrawn(id) => self.turn.withdraw_external_call(id),
            CallEvent::ToolFinished { run, outcome } => self.finish_tool(run, outcome),
            CallEvent::RecordingAnswered { step, answer } => self.apply_recording_answer(step, &answer),
            CallEvent::ToolDelayed { run, text } => self.handle_tool_delay(run, text),
            CallEvent::SocketLost => self.handle_socket_lost(),
            CallEvent::SocketResumed => self.handle_socket_resumed(),
            CallEvent::PaymentsKnown(known) => self.learn_payments(&known),
            CallEvent::ReceiptSent(news) => self.learn_receipt(news),
            CallEvent::MachineAnswered => self.end_for_machine(),
            CallEvent::HungUp => self.handle_hang_up(),
            CallEvent::Tick => {}
        }
        if was_open && !self.payments.is_open() {
            self.payment_window.record_closed(was_submitted, now);
        }
        self.advance();
        if was_open && !self.payments.is_open() {
            self.payment_window.record_closed(was_submitted, now);
        }
        if !self.turn.has_notes() {
            self.payments.record_told();
        }
        std::mem::take(&mut self.actions)
    }

    /// Whether the call waits for an external event: no response, tool or question is pending.
    pub(crate) fn is_idle(&self) -> bool {
        !self.turn.is_busy() && !self.turn.is_response_owed() && !self.has_open_question()
    }

    /// Whether nobody says or does anything, and nothing is open, so that the call can go on elsewhere without anyone noticing.
    pub(crate) fn is_quiet(&self) -> bool {
        let is_speaking = self.speech.quiet_from(self.now).is_some_and(|end| end > self.now);
        self.phase.is_live()
            && self.is_idle()
            && !is_speaking
            && !self.is_caller_speaking()
            && !self.is_card_entry_possible()
            && !self.is_notice_pending()
            && !self.is_recording_changing()
            && self.keypad_deadline().is_none()
    }

    /// What the agent does: whether it has anything left to say or do, and the caller has heard what it said. After the
    /// end its last turn ends with the call.
    pub(crate) fn agent_state(&self) -> AgentState {
        if self.turn.is_busy() || !self.phase.is_in_progress() {
            return AgentState::Active;
        }
        if self.turn.is_response_owed() {
            return AgentState::OwesResponse;
        }
        let is_speaking = self.speech.quiet_from(self.now).is_some_and(|end| end > self.now);
        if is_speaking { AgentState::Active } else { AgentState::Idle }
    }

    /// When the call needs a [`CallEvent::Tick`], if no other event arrives before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Live | Phase::Closing(_) if self.turn.is_busy() => {
                let ends = self.length_deadline();
                let recording = self.recording_deadline();
                return self
                    .keypad_deadline()
                    .into_iter()
                    .chain(self.tool_delay_deadline())
                    .chain(ends)
                    .chain(recording)
                    .min();
            }
            Phase::Live | Phase::Closing(_) => {}
            Phase::Parked { .. } | Phase::EndSent { .. } | Phase::Ended { .. } => {
                return self.phase.time_limit(self.settings.resume_timeout);
            }
        }
        let keyed = self.keypad_deadline();
        let caller_quiet = self.caller_speech.deadline(self.payments.is_open());
        let quiet = self.speech.quiet_from(self.now);
        let held = self.turn.held_until().filter(|_| {
            self.turn.is_response_owed() || self.has_open_question() || self.phase.is_closing() || self.is_notice_owed()
        });
        let reminder = self.silence_timer.deadline(self.settings.silence.threshold);
        let stall = self.payments.stall_deadline(self.settings.stall_timeout);
        let stall = stall.filter(|_| self.phase.is_live() && !self.has_open_question());
        let (guidance, statement) = (self.guided_flow.prompt_due_at(), self.question_deadline());
        [caller_quiet, keyed, quiet, held, guidance, statement, self.notices.earliest_end(), self.recording_deadline()]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.now)
            .chain(reminder)
            .chain(stall)
            .chain(self.length_deadline())
            .min()
    }

    /// Performs all steps that the current state allows.
    fn advance(&mut self) {
        if self.phase.time_limit(self.settings.resume_timeout).is_some_and(|limit| self.now >= limit) {
            return self.handle_hang_up();
        }
        match self.phase {
            Phase::Ended { .. } => {
                self.drop_held_tools();
                return self.close_if_finished();
            }
            Phase::EndSent { .. } => return,
            Phase::Live | Phase::Closing(_) | Phase::Parked { .. } => {}
        }
        if self.check_length() {
            return;
        }
        self.check_keypad();
        self.check_notices();
        self.start_tools();
        self.check_recording();
        self.drop_void_question();
        self.advance_guided_flow();
        self.yield_to_due_prompt();
        self.say_tool_delay();
        if self.turn.is_busy() {
            return self.silence_timer.record_activity(self.now);
        }
        self.turn.flush_to_history(&mut self.history);
        if self.phase.is_parked() {
            return self.silence_timer.record_activity(self.now);
        }
        self.check_payment_stall();
        if !self.is_pause_awaited() {
            self.say_due_prompt();
        }
        if self.phase.is_closing() {
            self.finish_closing();
        } else {
            self.advance_question();
            self.ask_model_if_owed();
        }
        self.check_silence();
    }

    /// Asks the model if a response is owed, unless the caller has to answer a question first. The model then gets
    /// everything that happened in the meantime.
    fn ask_model_if_owed(&mut self) {
        if self.turn.is_response_owed() && !self.has_open_question() && self.phase.is_live() {
            self.turn.flush_to_history(&mut self.history);
            self.ask_model();
        }
    }

    /// Reminds a silent caller, and ends the call after the last reminder. Time in which anyone speaks, the model
    /// responds, a tool runs or a payment is open does not count as silence.
    fn check_silence(&mut self) {
        let quiet_since = self.speech.quiet_from(self.now).unwrap_or(self.now);
        let active = self.listen_only
            || self.turn.is_busy()
            || self.turn.is_response_owed()
            || self.has_open_question()
            || self.is_notice_owed()
            || !self.phase.is_live();
        if active || self.payments.is_open() || self.is_caller_speaking() || quiet_since > self.now {
            return self.silence_timer.record_activity(self.now);
        }
        self.silence_timer.record_quiet(quiet_since);
        let Some(due) = self.silence_timer.take_due(&self.settings.silence, self.now) else { return };
        self.emit(Action::RecordSilence);
        match due {
            SilenceAction::Reminder(reminder) => self.say(&reminder),
            SilenceAction::EndCall => {
                self.say(&self.settings.messages.goodbye.clone());
                let ending = CallEnding { reason: Some("silence"), ..CallEnding::default() };
                self.begin_closing(ending, true);
            }
        }
    }

    /// Adds an action to carry out.
    fn emit(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Sends a frame to Twilio.
    fn send_frame(&mut self, frame: OutgoingFrame) {
        self.emit(Action::SendFrame(frame));
    }

    /// Writes a payment event to the ledger and the log.
    fn record(&mut self, entry: PaymentLogEntry) {
        self.emit(Action::Record(Box::new(entry)));
    }

    /// Speaks a complete utterance of the server, unless listen mode is on.
    fn say(&mut self, text: &str) {
        if !self.listen_only {
            self.send_utterance(text, OutgoingFrame::utterance(text));
        }
    }

    /// Speaks one of the texts of `Payments.texts`, which are in `language`, unless listen mode is on.
    fn say_text(&mut self, text: &str, language: &str, is_heard_whole: bool) {
        if self.listen_only {
            return;
        }
        let frame = if is_heard_whole { OutgoingFrame::statement(text) } else { OutgoingFrame::utterance(text) };
        let language = self.settings.other_language(language, self.language());
        self.send_utterance(text, frame.in_language(language));
    }

    /// Sends a complete utterance in `frame` and adds it to the history, after the disclosure if that is owed.
    fn send_utterance(&mut self, text: &str, frame: OutgoingFrame) {
        self.say_notices();
        let position = self.history.push(ConversationItem::Agent(text.into()));
        self.send_at(position, text, frame);
    }

    /// Sends a complete utterance in `frame`, which is at `position` in the history.
    fn send_at(&mut self, position: usize, text: &str, frame: OutgoingFrame) {
        self.speech.record_sent(position, text, self.now);
        self.speech.close_cycle();
        self.silence_timer.record_activity(self.now);
        self.send_frame(frame);
    }

    /// Adds the welcome greeting to the history. Twilio speaks it from the TwiML.
    fn record_greeting(&mut self, greeting: &str) {
        let position = self.history.push(ConversationItem::Agent(greeting.into()));
        self.find_notices(greeting, position);
        self.speech.record_sent(position, greeting, self.now);
        self.speech.close_cycle();
    }

    fn is_caller_speaking(&self) -> bool {
        self.caller_speech.deadline(self.payments.is_open()).is_some_and(|quiet| self.now < quiet)
    }

    /// The language that the agent speaks, as a BCP 47 code.
    fn language(&self) -> &str {
        let switched_to = self.switched_languages.as_ref().and_then(LanguageSwitch::tts_language);
        switched_to.unwrap_or(&self.settings.language)
    }

    fn note(&mut self, text: impl Into<String>) {
        self.turn.push_note(ConversationItem::Developer(text.into()));
    }

    /// Takes what is known of the end of a call that has ended.
    pub(crate) fn take_ending(&mut self) -> CallEnding {
        std::mem::take(&mut self.ending)
    }

    /// Whether a payment is open. Such a call must not be disconnected.
    pub(crate) fn has_open_payment(&self) -> bool {
        self.payments.is_open()
    }
}

/// Returns the parameters of a call. The operator's request overrides the custom parameters of the call.
pub(crate) fn merge_parameters(setup: &Setup, request: Option<&str>) -> BTreeMap<String, String> {
    let request: HashMap<String, Box<RawValue>> =
        request.and_then(|request| serde_json::from_str(request).ok()).unwrap_or_default();
    // A JSON string gives its text; any other value gives its JSON text, so that numbers stay exact.
    let text = |value: &RawValue| serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned());
    let ordered =
        request.into_iter().filter(|(_, value)| value.get() != "null").map(|(name, value)| (name, text(&value)));
    let mut parameters = setup.custom_parameters.reveal().clone();
    parameters.extend(ordered);
    parameters
}

/// Shows the phase only, never the conversation.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("phase", &self.phase).finish_non_exhaustive()
    }
}
