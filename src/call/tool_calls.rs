//! Tool calls: validates the model's calls against the state of the call, performs them or starts a tool that runs
//! outside of the call, and applies its outcome.

use super::event::ToolRunId;
use super::tool::{Tool, ToolOutcome};
use super::tool_request::{RequestedCharge, ToolRequest, ToolSpec};
use super::turn::{ToolOrigin, WaitingCall};
use super::{Action, Call, CallEnding, ClosingNotes, ToolCall, prompts};
use crate::payment::{
    Amount, CaptureStage, CreatePayment, PaymentLogEntry, TwilioResponse, UpdateAction, UpdatePayment,
};
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::relay::{LanguageSwitch, OutgoingFrame};
use crate::usage_limits::UsageLimit;

/// Why an open payment is cancelled, in the ledger.
const LEDGER_REFUSED: &str = "the ledger refused the submission";

/// Why an open payment is cancelled, in the ledger.
pub(super) const NOT_PAUSED: &str = "the recording could not be paused";

/// How a tool call that is allowed goes on.
enum ToolStep {
    /// The call has acted; this is the output.
    Done(String),
    /// The tool runs outside of the call; its outcome gives the output.
    Run(Tool),
}

impl Call {
    /// Performs the waiting tool calls, one after the other.
    pub(super) fn start_tools(&mut self) {
        while let Some(WaitingCall { origin, call }) = self.turn.take_waiting_call() {
            match self.handle_tool_call(&call) {
                Ok(ToolStep::Run(tool)) => self.run_tool(origin, tool),
                Ok(ToolStep::Done(output)) | Err(output) => {
                    self.deliver_output(origin, &call.name, output);
                    self.waive_response_after_goodbye();
                }
            }
        }
    }

    /// Validates a tool call against the state of the call and performs it. The error is a tool output.
    fn handle_tool_call(&mut self, call: &ToolCall) -> Result<ToolStep, String> {
        let refuse = |reason: String| prompts::refusal(&reason);
        let Some(tool) = ToolSpec::find(&call.name) else { return self.business_tool(call).map(ToolStep::Run) };
        let request = tool.parse(call.arguments.as_str(), &self.settings, self.currency()).map_err(refuse)?;
        if tool.needs_telephone && !self.settings.has_telephone {
            return Err(prompts::refusal(prompts::NO_TELEPHONE));
        }
        self.perform(request)
    }

    /// Performs a tool request, or says which tool to run for it, with everything that the model may not choose. The
    /// error is a tool output.
    fn perform(&mut self, request: ToolRequest) -> Result<ToolStep, String> {
        if let Some(reason) = self.reason_to_refuse(&request) {
            return Err(prompts::refusal(reason));
        }
        Ok(match request {
            ToolRequest::ConfirmAmount { amount } => ToolStep::Done(self.confirm_amount(amount)?),
            ToolRequest::StartCapture { charge } => ToolStep::Run(Tool::StartCapture(self.start_capture(charge)?)),
            ToolRequest::ChangePayment(UpdateAction::Cancel) if self.payments.is_unconfirmed() => {
                self.revoke_consent();
                self.payments.discard_open();
                ToolStep::Done(prompts::success(prompts::NEVER_OPENED))
            }
            ToolRequest::ChangePayment(UpdateAction::Complete) if self.ask_for_authorization()? => {
                ToolStep::Done(prompts::success(prompts::AUTHORIZATION_IS_ASKED))
            }
            ToolRequest::ChangePayment(change) => ToolStep::Run(Tool::UpdatePayment(self.change_payment(change)?)),
            ToolRequest::SetSilenceDetection { enabled } => ToolStep::Done(self.set_silence_detection(enabled)),
            ToolRequest::EndCall { notes } => {
                let ending = CallEnding { reason: Some("agent-ended"), handoff_data: None, notes };
                self.begin_closing(ending, self.turn.has_spoken());
                ToolStep::Done(prompts::success(prompts::SAY_GOODBYE))
            }
            ToolRequest::LiveAgentHandoff { reason, notes } => {
                ToolStep::Done(self.hand_off_to_agent(reason.reveal(), notes))
            }
            ToolRequest::SendDtmf { digits } => {
                self.count_tones(digits.count())?;
                ToolStep::Done(self.play(OutgoingFrame::SendDigits { digits }))
            }
            ToolRequest::SwitchLanguage(languages) => ToolStep::Done(self.switch_language(languages)),
            ToolRequest::PlayMedia { source, times } => {
                self.count_recordings(times)?;
                ToolStep::Done(self.play(OutgoingFrame::Play { source, times }))
            }
            ToolRequest::SetListenMode { enabled } => ToolStep::Done(self.set_listen_mode(enabled)),
            ToolRequest::SendSms { to, body } => {
                let to = self.sms_recipient(to)?;
                self.count_message()?;
                ToolStep::Run(Tool::SendSms { to, body })
            }
            ToolRequest::DoNotCall => {
                let number = self.caller_number.clone().ok_or_else(|| prompts::refusal(prompts::NO_NUMBER_TO_LIST))?;
                ToolStep::Run(Tool::DoNotCall { number })
            }
            ToolRequest::ChangeContext { keys, summary } => ToolStep::Run(Tool::ChangeContext { keys, summary }),
        })
    }

    /// Why the state of the call does not allow a tool, if it does not.
    fn reason_to_refuse(&self, request: &ToolRequest) -> Option<&'static str> {
        match request {
            ToolRequest::StartCapture { .. }
            | ToolRequest::ChangePayment(UpdateAction::Complete)
            | ToolRequest::EndCall { .. }
                if self.has_open_question() =>
            {
                Some(prompts::QUESTION_PENDING)
            }
            ToolRequest::StartCapture { .. }
            | ToolRequest::ChangePayment(UpdateAction::Capture(_) | UpdateAction::Complete)
                if self.is_server_leading() =>
            {
                Some(prompts::SERVER_LEADS)
            }
            ToolRequest::EndCall { .. } if self.payments.is_submitting() => Some(prompts::WAIT_FOR_RESULT),
            ToolRequest::SendDtmf { .. } if self.payments.is_open() => Some(prompts::NO_DTMF_DURING_PAYMENT),
            ToolRequest::ChangeContext { .. } if self.payments.is_open() => {
                Some(prompts::NO_CONTEXT_CHANGE_DURING_PAYMENT)
            }
            _ => None,
        }
    }

    fn start_capture(&mut self, requested: RequestedCharge) -> Result<CreatePayment, String> {
        let charge = self.authorize_charge(requested)?;
        let terms = self.terms()?.clone();
        self.check_bank_account(&terms, charge)?;
        let was_open = self.payments.is_open();
        let agreed = charge.and_then(|amount| self.authorization.evidence(amount, self.now));
        let create = self.payments.start(&terms, charge, agreed, self.now)?;
        if !was_open {
            self.begin_guided_flow();
        }
        Ok(create)
    }

    fn change_payment(&mut self, change: UpdateAction) -> Result<UpdatePayment, String> {
        let update = self.payments.request_change(change, self.now)?;
        if change == UpdateAction::Cancel {
            self.revoke_consent();
            self.guided_flow.stop();
        }
        self.turn.clear_payment_steps();
        Ok(update)
    }

    fn set_silence_detection(&mut self, enabled: bool) -> String {
        if self.payments.is_open() {
            return prompts::success(prompts::SILENCE_OFF_DURING_PAYMENT);
        }
        self.silence_timer.set_enabled(enabled, self.now);
        prompts::success(if enabled { "Silence detection is on." } else { "Silence detection is off." })
    }

    /// Makes the call end with hand-off data, with which `/connectAction` connects a person.
    fn hand_off_to_agent(&mut self, reason: &str, mut notes: ClosingNotes) -> String {
        if self.payments.is_submitting() {
            let summary = format!("{} {}", notes.summary.reveal(), prompts::RESULT_UNKNOWN);
            notes.summary = Private::new(summary.trim().to_owned());
        }
        let data = prompts::handoff_data("live-agent-handoff", reason, &notes);
        let ending = CallEnding { reason: Some("hand-off"), handoff_data: Some(Private::new(data)), notes };
        self.drop_question();
        self.begin_closing(ending, self.turn.has_spoken());
        prompts::success(prompts::SAY_HAND_OFF)
    }

    /// Sends tones or a recording, which Twilio plays after the current speech.
    fn play(&mut self, frame: OutgoingFrame) -> String {
        self.send_frame(frame);
        prompts::success("It is played after what you said.")
    }

    /// Switches languages at the caller's request, for the rest of the call.
    fn switch_language(&mut self, languages: LanguageSwitch) -> String {
        self.caller_language.hold();
        self.apply_language_switch(languages);
        prompts::success("From now on the other language is spoken or heard. Go on in it.")
    }

    fn set_listen_mode(&mut self, enabled: bool) -> String {
        self.listen_only = enabled;
        self.silence_timer.reset(self.now);
        prompts::success(if enabled {
            "You only listen now: nothing that you say is spoken. Tools work as before."
        } else {
            "You are heard again."
        })
    }

    /// Returns the recipient of a text message: the caller or an allowed number only, since a caller may manipulate the
    /// model. The caller's number may be a false one that earns from messages, so it must be one that the server calls. The
    /// error is a tool output.
    fn sms_recipient(&mut self, to: Option<PhoneNumber>) -> Result<PhoneNumber, String> {
        let caller = self.caller_number.as_ref();
        let Some(to) = to.or_else(|| caller.cloned()) else { return Err(prompts::refusal(prompts::NO_CALLER_NUMBER)) };
        if self.settings.sms_allowed_numbers.contains(&to) {
            return Ok(to);
        }
        if Some(&to) != caller {
            return Err(prompts::refusal(prompts::NUMBER_NOT_ALLOWED));
        }
        if self.settings.destinations.check(&to).is_err() {
            self.emit(Action::ReportLimit(UsageLimit::Destinations));
            return Err(prompts::refusal(prompts::NUMBER_NOT_REACHED));
        }
        Ok(to)
    }

    pub(super) fn run_tool(&mut self, origin: ToolOrigin, mut tool: Tool) {
        self.promise_receipt(&mut tool);
        let run = self.turn.begin_run(origin, tool.clone());
        if !self.hold_for_pause(run, &tool) {
            self.emit(Action::RunTool { run, tool });
        }
    }

    pub(super) fn finish_tool(&mut self, run: ToolRunId, outcome: ToolOutcome) {
        let Some(run) = self.turn.finish_run(run) else { return };
        let output = self.apply_outcome(&run.tool, outcome, run.origin != ToolOrigin::Server);
        if matches!(run.origin, ToolOrigin::External(_)) {
            // No response follows, so that the time of the tool would count as silence.
            self.silence_timer.record_activity(self.now);
        }
        let is_model_call = matches!(run.origin, ToolOrigin::Model(_));
        if run.origin == ToolOrigin::Server && matches!(run.tool, Tool::StartCapture(_)) {
            self.report_repeated_start(&output);
        }
        self.deliver_output(run.origin, run.tool.name(), output);
        let is_start = is_model_call && matches!(run.tool, Tool::StartCapture(_));
        // The server says the next prompt.
        if is_start && self.is_server_leading() && !run.caller_spoke_since {
            self.turn.waive_response();
        }
        if self.phase.is_ended() {
            self.abandon_payment();
        } else {
            self.waive_response_after_goodbye();
        }
    }

    /// Gives the output of the tool `name` to the one who called it.
    fn deliver_output(&mut self, origin: ToolOrigin, name: &str, output: String) {
        match origin {
            ToolOrigin::Model(call_id) => self.turn.push_tool_output(call_id, output),
            ToolOrigin::External(id) => {
                self.note(prompts::external_tool_output(name, &output));
                self.return_output(id, &output);
            }
            ToolOrigin::Server => {}
        }
    }

    /// Waives a response to a tool output if the call ends after the goodbye that was sent.
    fn waive_response_after_goodbye(&mut self) {
        if self.phase.is_goodbye_sent() {
            self.turn.waive_response();
        }
    }

    /// Applies the outcome of a tool. Returns the tool output. `is_awaited` says that the model or an external client gets
    /// it; nobody does if the server started the tool.
    fn apply_outcome(&mut self, tool: &Tool, outcome: ToolOutcome, is_awaited: bool) -> String {
        match (tool, outcome) {
            (Tool::StartCapture(create), outcome) => self.finish_start_capture(create, outcome),
            (Tool::UpdatePayment(update), outcome) => self.finish_change(update, outcome, is_awaited),
            (Tool::SendSms { .. }, ToolOutcome::Sms(Ok(()))) => {
                prompts::success("The message is on its way. Do not send it again.")
            }
            (Tool::SendSms { .. }, ToolOutcome::Sms(Err(reason))) => prompts::refusal(reason),
            (Tool::DoNotCall { .. }, ToolOutcome::DoNotCall { is_listed: true }) => {
                prompts::success(prompts::NUMBER_LISTED)
            }
            (Tool::DoNotCall { .. }, _) => prompts::refusal(prompts::NUMBER_NOT_LISTED),
            (Tool::ChangeContext { summary, .. }, ToolOutcome::Context(Ok(keys))) => {
                self.emit(Action::ChangeContext(keys));
                prompts::context_changed(summary.reveal())
            }
            (Tool::ChangeContext { .. }, ToolOutcome::Context(Err(reason))) => prompts::refusal(&reason),
            (Tool::Business { .. }, ToolOutcome::Business(answer)) => self.finish_business_tool(answer),
            (Tool::SendReceipt(_), outcome) => self.finish_receipt(&outcome),
            (Tool::SendSms { .. } | Tool::ChangeContext { .. } | Tool::Business { .. }, _) => prompts::no_result(),
        }
    }

    fn finish_start_capture(&mut self, create: &CreatePayment, outcome: ToolOutcome) -> String {
        match outcome {
            ToolOutcome::OrderHasPayment(payment) => {
                self.payments.discard_open();
                prompts::order_has_payment(&payment)
            }
            ToolOutcome::RecentlyPaid { amount, minutes } => self.ask_about_repeated_charge(create, amount, minutes),
            ToolOutcome::NotPaused => {
                let refused = TwilioResponse::Refused { code: None, reason: prompts::NOT_PAUSED };
                self.apply_create_response(create, &refused)
            }
            outcome => self.apply_create_response(create, &twilio_response(outcome)),
        }
    }

    fn apply_create_response(&mut self, create: &CreatePayment, answer: &TwilioResponse) -> String {
        if let TwilioResponse::Created(sid) = answer {
            if self.payments.is_closed(sid) {
                return prompts::session_closed();
            }
            if !self.payments.open().is_some_and(|capture| capture.may_have_sid(sid)) {
                // The payment was abandoned before its session existed.
                self.cancel_unwanted_session(create.id, sid.clone());
                return prompts::session_closed();
            }
        }
        let Some(capture) = self.payments.open_mut() else { return prompts::session_closed() };
        let was_opening = capture.stage() == CaptureStage::Opening;
        let answer = &capture.apply_create_response(create, answer.clone());
        match (answer, capture.sid().cloned()) {
            (TwilioResponse::Created(sid), _) if was_opening => {
                self.payments.record_progress(self.now);
                self.record(PaymentLogEntry::Opened { sid: sid.clone(), charge: create.charge });
            }
            (TwilioResponse::Refused { .. } | TwilioResponse::Gone | TwilioResponse::Accepted, None) => {
                self.payments.discard_open();
            }
            _ => {}
        }
        let answer = answer.clone();
        self.start_capture_output(&answer)
    }

    /// Asks the caller whether to charge the same amount again, which was paid a few minutes ago. Returns the tool
    /// output.
    fn ask_about_repeated_charge(&mut self, create: &CreatePayment, amount: Amount, minutes: u32) -> String {
        let Some(capture) = self.payments.open_mut() else { return prompts::session_closed() };
        match capture.apply_create_response(create, TwilioResponse::Refused { code: None, reason: "" }) {
            TwilioResponse::Refused { .. } if capture.sid().is_none() => {
                self.payments.discard_open();
                self.guided_flow.stop();
                self.ask_to_pay_again(amount, minutes)
            }
            answer => self.start_capture_output(&answer),
        }
    }

    /// The tool output for a requested session.
    fn start_capture_output(&self, answer: &TwilioResponse) -> String {
        match answer {
            TwilioResponse::Created(_) if self.is_server_leading() => prompts::success(prompts::SERVER_LEADS),
            answer => prompts::start_response(answer, self.payments.open()),
        }
    }

    fn finish_change(&mut self, update: &UpdatePayment, outcome: ToolOutcome, is_awaited: bool) -> String {
        match outcome {
            ToolOutcome::LimitExceeded(reason) => self.cancel_unsent_update(update, LEDGER_REFUSED, reason, is_awaited),
            ToolOutcome::OrderHasPayment(payment) => {
                let reason = prompts::order_has_payment_text(&payment);
                self.cancel_unsent_update(update, LEDGER_REFUSED, &reason, is_awaited)
            }
            ToolOutcome::NotPaused => self.cancel_unsent_update(update, NOT_PAUSED, prompts::NOT_PAUSED, is_awaited),
            outcome => self.apply_update_response(update, twilio_response(outcome), is_awaited),
        }
    }

    /// Cancels an open payment whose update was not sent: a limit is exceeded, another payment of the order blocks it, or the
    /// recording is not paused. Tells the model to offer a person.
    fn cancel_unsent_update(
        &mut self,
        update: &UpdatePayment,
        why: &'static str,
        reason: &str,
        is_awaited: bool,
    ) -> String {
        let Some(capture) = self.payments.open_mut().filter(|capture| capture.sid() == Some(&update.payment_sid))
        else {
            return prompts::session_closed();
        };
        capture.withdraw_update(update);
        if capture.stage() != CaptureStage::Cancelling {
            self.give_up_payment(why);
        }
        if is_awaited {
            return prompts::refusal(&prompts::limit_exceeded(reason));
        }
        self.record_unannounced_failure();
        self.note(format!("Payment update: {}", prompts::limit_exceeded(reason)));
        self.turn.require_response();
        String::new()
    }

    fn apply_update_response(&mut self, update: &UpdatePayment, answer: TwilioResponse, is_awaited: bool) -> String {
        let cancelled = update.action == UpdateAction::Cancel;
        if cancelled && !is_awaited && !answer.confirms_cancellation() {
            self.record(PaymentLogEntry::CancelUnconfirmed { sid: update.payment_sid.clone() });
            self.keep_recording_paused();
        }
        let Some(capture) = self.payments.open_mut().filter(|capture| capture.sid() == Some(&update.payment_sid))
        else {
            return if cancelled { prompts::cancel_response(&TwilioResponse::Gone) } else { prompts::session_closed() };
        };
        let awaited = capture.is_awaiting(update.action);
        let answer = capture.apply_update_response(update, answer);
        match &answer {
            TwilioResponse::Gone => self.payments.close(update.payment_sid.clone()),
            TwilioResponse::Accepted if cancelled => self.payments.close(update.payment_sid.clone()),
            TwilioResponse::Refused { code, .. } => {
                self.payments.record_refusal(update.action, *code);
                // A refusal of the ledger has no code, and the ledger's own log entry.
                if let Some(code) = *code {
                    let (sid, change) = (update.payment_sid.clone(), update.action);
                    self.record(PaymentLogEntry::Refused { sid, change, code });
                }
            }
            TwilioResponse::Accepted if update.action == UpdateAction::Complete => {
                self.record(PaymentLogEntry::Submitted { sid: update.payment_sid.clone() });
            }
            _ => {}
        }
        if !is_awaited && !cancelled {
            if awaited {
                self.apply_guided_response(update.action, &answer);
            }
            return String::new();
        }
        match update.action {
            UpdateAction::Capture(field) => prompts::capture_response(field, &answer),
            UpdateAction::Complete => {
                prompts::finish_response(&answer, self.payments.open(), self.payments.decline_count())
            }
            UpdateAction::Cancel => prompts::cancel_response(&answer),
        }
    }
}

/// Extracts Twilio's response from the outcome of a payment tool. A tool without a result counts as an unknown
/// response.
fn twilio_response(outcome: ToolOutcome) -> TwilioResponse {
    match outcome {
        ToolOutcome::Payment(answer) => answer,
        ToolOutcome::LimitExceeded(reason) => TwilioResponse::Refused { code: None, reason },
        _ => TwilioResponse::Unknown,
    }
}
