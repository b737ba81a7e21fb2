//! Tool calls: validates the model's calls against the state of the call, starts tools, and applies their outcomes.

use super::event::ToolRunId;
use super::tool::{Tool, ToolOutcome};
use super::tool_request::{RequestedCharge, ToolRequest};
use super::{Action, Call, Closing, Phase, ToolCall, prompts};
use crate::payment::{
    Amount, CaptureStage, CreatePayment, PaymentLogEntry, TwilioResponse, UpdateAction, UpdatePayment,
};
use crate::phone_number::PhoneNumber;
use crate::relay::OutgoingFrame;

impl Call {
    /// Starts the waiting tool calls, one after the other.
    pub(super) fn start_tools(&mut self) {
        while !self.turn.is_tool_running() {
            let Some(call) = self.turn.waiting_calls.pop_front() else { return };
            match self.resolve_tool_call(&call) {
                Ok(tool) => self.run_tool(Some(call.call_id), tool),
                Err(refusal) => self.turn.push_tool_output(call.call_id, refusal),
            }
        }
    }

    /// Turns a tool call into the tool to run, with everything that the model may not choose. The error is a tool
    /// output.
    fn resolve_tool_call(&mut self, call: &ToolCall) -> Result<Tool, String> {
        let request =
            self.parse_tool_request(&call.name, call.arguments.as_str()).map_err(|reason| prompts::refusal(&reason))?;
        if request.needs_telephone() && !self.settings.has_telephone {
            return Err(prompts::refusal(prompts::NO_TELEPHONE));
        }
        match request {
            ToolRequest::ConfirmAmount { amount } => Err(self.confirm_amount(amount).unwrap_or_else(|refusal| refusal)),
            ToolRequest::StartCapture { .. } | ToolRequest::EndCall if self.has_open_question() => {
                Err(prompts::refusal(prompts::QUESTION_PENDING))
            }
            ToolRequest::StartCapture { .. }
            | ToolRequest::ChangePayment(UpdateAction::Capture(_) | UpdateAction::Complete)
                if self.is_server_leading() =>
            {
                Err(prompts::refusal(prompts::SERVER_LEADS))
            }
            ToolRequest::StartCapture { charge } => self.start_capture(charge).map(Tool::StartCapture),
            ToolRequest::ChangePayment(UpdateAction::Cancel) if self.payments.is_unconfirmed() => {
                self.revoke_consent();
                self.payments.discard_open();
                Err(prompts::success(prompts::NEVER_OPENED))
            }
            ToolRequest::ChangePayment(change) => {
                let update = self.payments.request_change(change, self.now)?;
                if change == UpdateAction::Cancel {
                    self.revoke_consent();
                    self.guided_flow.stop();
                }
                self.turn.clear_payment_steps();
                Ok(Tool::from_update(update))
            }
            ToolRequest::SetSilenceDetection { enabled } => Ok(Tool::SetSilenceDetection { enabled }),
            ToolRequest::EndCall if self.payments.is_submitting() => Err(prompts::refusal(prompts::WAIT_FOR_RESULT)),
            ToolRequest::EndCall => Ok(Tool::EndCall),
            ToolRequest::LiveAgentHandoff { reason, summary } => Ok(Tool::LiveAgentHandoff { reason, summary }),
            ToolRequest::SendDtmf { .. } if self.payments.is_open() => {
                Err(prompts::refusal(prompts::NO_DTMF_DURING_PAYMENT))
            }
            ToolRequest::SendDtmf { digits } => Ok(Tool::SendDtmf { digits }),
            ToolRequest::SwitchLanguage(languages) => Ok(Tool::SwitchLanguage(languages)),
            ToolRequest::PlayMedia { source, times } => Ok(Tool::PlayMedia { source, times }),
            ToolRequest::SetListenMode { enabled } => Ok(Tool::SetListenMode { enabled }),
            ToolRequest::ChangeContext { .. } if self.payments.is_open() => {
                Err(prompts::refusal(prompts::NO_CONTEXT_CHANGE_DURING_PAYMENT))
            }
            ToolRequest::ChangeContext { keys, summary } => Ok(Tool::ChangeContext { keys, summary }),
            ToolRequest::SendSms { to, body } => Ok(Tool::SendSms { to: self.sms_recipient(to)?, body }),
        }
    }

    fn start_capture(&mut self, requested: RequestedCharge) -> Result<CreatePayment, String> {
        let charge = self.authorize_charge(requested)?;
        let terms = self.terms()?.clone();
        let was_open = self.payments.is_open();
        let agreed = charge.and_then(|amount| self.authorization.evidence(amount, self.now));
        let create = self.payments.start(&terms, charge, agreed, self.now)?;
        if !was_open {
            self.begin_guided_flow();
        }
        Ok(create)
    }

    /// Returns the recipient of a text message: the caller or an allowed number only, since a caller may manipulate the
    /// model. The error is a tool output.
    fn sms_recipient(&self, to: Option<PhoneNumber>) -> Result<PhoneNumber, String> {
        let caller = self.caller_number.as_ref();
        match to {
            None => caller.cloned().ok_or_else(|| prompts::refusal(prompts::NO_CALLER_NUMBER)),
            Some(to) if Some(&to) == caller || self.settings.sms_allowed_numbers.contains(&to) => Ok(to),
            Some(_) => Err(prompts::refusal(prompts::NUMBER_NOT_ALLOWED)),
        }
    }

    pub(super) fn run_tool(&mut self, call_id: Option<String>, tool: Tool) {
        let run = self.turn.begin_run(call_id, tool.clone());
        self.actions.push(Action::RunTool { run, tool });
    }

    pub(super) fn finish_tool(&mut self, run: ToolRunId, outcome: ToolOutcome) {
        let Some(at) = self.turn.runs.iter().position(|running| running.id == run) else { return };
        let run = self.turn.runs.remove(at);
        let output = match outcome {
            // The call does not end if the caller spoke after the tool was started.
            ToolOutcome::EndCall | ToolOutcome::HandOff { .. } if run.caller_spoke_since => {
                prompts::refusal(prompts::CALL_CONTINUES)
            }
            outcome => self.apply_outcome(&run.tool, outcome, run.call_id.is_some()),
        };
        if let Some(call_id) = run.call_id {
            self.turn.push_tool_output(call_id, output);
            // The server says the next prompt.
            if matches!(run.tool, Tool::StartCapture(_)) && self.is_server_leading() && !run.caller_spoke_since {
                self.turn.response_owed = false;
            }
        }
        if matches!(self.phase, Phase::Ended { .. }) {
            self.abandon_payment();
        } else if self.closing.as_ref().is_some_and(|closing| closing.goodbye_said) {
            self.turn.response_owed = false;
        }
    }

    fn apply_outcome(&mut self, tool: &Tool, outcome: ToolOutcome, by_model: bool) -> String {
        match (tool, outcome) {
            (Tool::StartCapture(create), outcome) => self.finish_start_capture(create, outcome),
            (
                Tool::CaptureCard(update)
                | Tool::CaptureSecurityCode(update)
                | Tool::CaptureExpiryDate(update)
                | Tool::CapturePostalCode(update)
                | Tool::CaptureBankRoutingNumber(update)
                | Tool::CaptureBankAccountNumber(update)
                | Tool::FinishCapture(update)
                | Tool::CancelCapture(update),
                outcome,
            ) => self.finish_change(update, outcome, by_model),
            (_, ToolOutcome::SilenceDetection { .. }) if self.payments.is_open() => {
                prompts::success(prompts::SILENCE_OFF_DURING_PAYMENT)
            }
            (_, ToolOutcome::SilenceDetection { enabled }) => {
                self.silence_timer.enabled = enabled;
                self.silence_timer.reset(self.now);
                prompts::success(if enabled { "Silence detection is on." } else { "Silence detection is off." })
            }
            (_, ToolOutcome::EndCall) => {
                self.closing = Some(Closing { handoff_data: None, goodbye_said: self.turn.has_spoken });
                prompts::success(prompts::SAY_GOODBYE)
            }
            (_, ToolOutcome::HandOff { reason, summary }) => {
                let mut summary = summary.into_inner();
                if self.payments.is_submitting() {
                    summary = format!("{summary} {}", prompts::RESULT_UNKNOWN);
                }
                let data = prompts::handoff_data("live-agent-handoff", reason.reveal(), summary.trim());
                self.drop_question();
                self.closing = Some(Closing { handoff_data: Some(data), goodbye_said: self.turn.has_spoken });
                prompts::success(prompts::SAY_HAND_OFF)
            }
            (_, ToolOutcome::SendFrame(frame)) => self.send_tool_frame(frame),
            (_, ToolOutcome::Sms(Ok(()))) => prompts::success("The message is on its way. Do not send it again."),
            (_, ToolOutcome::Sms(Err(reason))) => prompts::refusal(reason),
            (Tool::ChangeContext { summary, .. }, ToolOutcome::Context(Ok(keys))) => {
                self.actions.push(Action::ChangeContext(keys));
                prompts::context_changed(summary.reveal())
            }
            (_, ToolOutcome::Context(Err(reason))) => prompts::refusal(&reason),
            (_, ToolOutcome::ListenMode { enabled }) => {
                self.listen_only = enabled;
                self.silence_timer.reset(self.now);
                prompts::success(if enabled {
                    "You only listen now: nothing that you say is spoken. Tools work as before."
                } else {
                    "You are heard again."
                })
            }
            (
                _,
                ToolOutcome::Payment(_)
                | ToolOutcome::LimitExceeded(_)
                | ToolOutcome::OrderHasPayment(_)
                | ToolOutcome::RecentlyPaid { .. }
                | ToolOutcome::Context(_)
                | ToolOutcome::NoResult,
            ) => prompts::no_result(),
        }
    }

    /// Sends a frame that a tool produced. Returns the tool output.
    fn send_tool_frame(&mut self, frame: OutgoingFrame) -> String {
        let done = match &frame {
            OutgoingFrame::Language(languages) => {
                let later = languages.clone();
                self.switched_languages = Some(match self.switched_languages.take() {
                    Some(earlier) => earlier.merge(later),
                    None => later,
                });
                "From now on the other language is spoken or heard. Go on in it."
            }
            _ => "It is played after what you said.",
        };
        self.actions.push(Action::SendFrame(frame));
        prompts::success(done)
    }

    fn finish_start_capture(&mut self, create: &CreatePayment, outcome: ToolOutcome) -> String {
        match outcome {
            ToolOutcome::OrderHasPayment(payment) => {
                self.payments.discard_open();
                prompts::order_has_payment(&payment)
            }
            ToolOutcome::RecentlyPaid { amount, minutes } => self.ask_about_repeated_charge(create, amount, minutes),
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
                self.actions.push(Action::Record(PaymentLogEntry::Opened { sid: sid.clone(), charge: create.charge }));
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

    fn finish_change(&mut self, update: &UpdatePayment, outcome: ToolOutcome, by_model: bool) -> String {
        match outcome {
            ToolOutcome::LimitExceeded(reason) => self.cancel_limited_payment(update, reason, by_model),
            ToolOutcome::OrderHasPayment(payment) => {
                self.cancel_limited_payment(update, &prompts::order_has_payment_text(&payment), by_model)
            }
            outcome => self.apply_update_response(update, twilio_response(outcome), by_model),
        }
    }

    /// Cancels an open payment that exceeded a limit, and tells the model to offer a person.
    fn cancel_limited_payment(&mut self, update: &UpdatePayment, reason: &str, by_model: bool) -> String {
        let Some(capture) = self.payments.open_mut().filter(|capture| capture.sid() == Some(&update.payment_sid))
        else {
            return prompts::session_closed();
        };
        capture.withdraw_update(update);
        if capture.stage() != CaptureStage::Cancelling {
            let id = capture.id();
            self.guided_flow.stop();
            self.turn.clear_payment_steps();
            self.silence_timer.reset(self.now);
            self.cancel_session(id, update.payment_sid.clone(), Some("a limit was exceeded"));
        }
        if by_model {
            return prompts::refusal(&prompts::limit_exceeded(reason));
        }
        self.record_untold_failure();
        self.note(format!("Payment update: {}", prompts::limit_exceeded(reason)));
        self.turn.require_response();
        String::new()
    }

    fn apply_update_response(&mut self, update: &UpdatePayment, answer: TwilioResponse, by_model: bool) -> String {
        let cancelled = update.action == UpdateAction::Cancel;
        if cancelled && !by_model && !answer.confirms_cancellation() {
            self.actions.push(Action::Record(PaymentLogEntry::CancelUnconfirmed { sid: update.payment_sid.clone() }));
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
                let (sid, change, code) = (update.payment_sid.clone(), update.action, *code);
                self.actions.push(Action::Record(PaymentLogEntry::Refused { sid, change, code }));
            }
            TwilioResponse::Accepted if update.action == UpdateAction::Complete => {
                self.actions.push(Action::Record(PaymentLogEntry::Submitted { sid: update.payment_sid.clone() }));
            }
            _ => {}
        }
        if !by_model && !cancelled {
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
