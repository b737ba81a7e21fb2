//! Running tools: whether a call of the model's fits the moment, with what it runs, and what its outcome means.

use super::event::RunId;
use super::tool::{Outcome, Tool};
use super::wish::{Wanted, Wish};
use super::{Action, Call, Farewell, Phase, ToolCall, words};
use crate::payment::{Amount, Answer, Change, Create, Entry, Stage, Update};
use crate::phone_number::PhoneNumber;
use crate::relay::Outgoing;

impl Call {
    /// Begins the calls that wait, one after the other.
    pub(super) fn begin_tools(&mut self) {
        while !self.turn.is_running() {
            let Some(call) = self.turn.waiting.pop_front() else { return };
            match self.decide(&call) {
                Ok(tool) => self.run(Some(call.call_id), tool),
                Err(refusal) => self.turn.answer(call.call_id, refusal),
            }
        }
    }

    /// What to run, with everything in it that the model may not choose; or what to do instead.
    fn decide(&mut self, call: &ToolCall) -> Result<Tool, String> {
        let wish = self.read_wish(&call.name, call.arguments.as_str()).map_err(|reason| words::refused(&reason))?;
        if wish.needs_telephone() && !self.settings.telephone {
            return Err(words::refused(words::NO_TELEPHONE));
        }
        match wish {
            Wish::ConfirmAmount { amount } => Err(self.confirm_amount(amount).unwrap_or_else(|refusal| refusal)),
            Wish::StartCapture { .. } | Wish::EndCall if self.is_stating() => Err(words::refused(words::SERVER_ASKS)),
            Wish::StartCapture { .. } | Wish::Change(Change::Capture(_) | Change::Complete) if self.leads() => {
                Err(words::refused(words::SERVER_LEADS))
            }
            Wish::StartCapture { charge } => self.start_capture(charge).map(Tool::StartCapture),
            Wish::Change(Change::Cancel) if self.payments.is_in_doubt() => {
                self.give_agreement_up();
                self.payments.forget();
                Err(words::done(words::NEVER_OPENED))
            }
            Wish::Change(change) => {
                let update = self.payments.change(change, self.now)?;
                if change == Change::Cancel {
                    self.give_agreement_up();
                    self.guidance.stop();
                }
                self.turn.forget_steps();
                Ok(Tool::change(update))
            }
            Wish::SetSilenceDetection { enabled } => Ok(Tool::SetSilenceDetection { enabled }),
            Wish::EndCall if self.payments.is_submitting() => Err(words::refused(words::WAIT_FOR_RESULT)),
            Wish::EndCall => Ok(Tool::EndCall),
            Wish::LiveAgentHandoff { reason, summary } => Ok(Tool::LiveAgentHandoff { reason, summary }),
            Wish::SendDtmf { .. } if self.payments.is_open() => Err(words::refused(words::NO_TONES_NOW)),
            Wish::SendDtmf { digits } => Ok(Tool::SendDtmf { digits }),
            Wish::SwitchLanguage(languages) => Ok(Tool::SwitchLanguage(languages)),
            Wish::PlayMedia { source, times } => Ok(Tool::PlayMedia { source, times }),
            Wish::SetListenMode { enabled } => Ok(Tool::SetListenMode { enabled }),
            Wish::ChangeContext { .. } if self.payments.is_open() => Err(words::refused(words::SAME_CONTEXT_NOW)),
            Wish::ChangeContext { keys, summary } => Ok(Tool::ChangeContext { keys, summary }),
            Wish::SendSms { to, body } => Ok(Tool::SendSms { to: self.recipient(to)?, body }),
        }
    }

    fn start_capture(&mut self, wanted: Wanted) -> Result<Create, String> {
        let charge = self.charge(wanted)?;
        let terms = self.terms()?.clone();
        let was_open = self.payments.is_open();
        let agreed = charge.and_then(|amount| self.agreement.evidence(amount, self.now));
        let create = self.payments.start(&terms, charge, agreed, self.now)?;
        if !was_open {
            self.begin_guidance();
        }
        Ok(create)
    }

    /// Only the caller, and whom the operator allows: the model may have been talked into anything.
    fn recipient(&self, to: Option<PhoneNumber>) -> Result<PhoneNumber, String> {
        let caller = self.caller_number.as_ref();
        match to {
            None => caller.cloned().ok_or_else(|| words::refused(words::NO_NUMBER)),
            Some(to) if Some(&to) == caller || self.settings.sms_allowed.contains(&to) => Ok(to),
            Some(_) => Err(words::refused(words::OTHER_NUMBER)),
        }
    }

    pub(super) fn run(&mut self, call_id: Option<String>, tool: Tool) {
        let run = self.turn.run(call_id, tool.clone());
        self.actions.push(Action::RunTool { run, tool });
    }

    pub(super) fn tool_finished(&mut self, run: RunId, outcome: Outcome) {
        let Some(at) = self.turn.runs.iter().position(|running| running.id == run) else { return };
        let run = self.turn.runs.remove(at);
        let output = match outcome {
            // What was to be the last word is not, if the caller spoke meanwhile.
            Outcome::EndCall | Outcome::HandOff { .. } if run.overtaken => words::refused(words::CALL_GOES_ON),
            outcome => self.outcome(&run.tool, outcome, run.call_id.is_some()),
        };
        if let Some(call_id) = run.call_id {
            self.turn.answer(call_id, output);
            // What comes next is the server's to say.
            if matches!(run.tool, Tool::StartCapture(_)) && self.leads() && !run.overtaken {
                self.turn.owed = false;
            }
        }
        if matches!(self.phase, Phase::Over { .. }) {
            self.abandon_payment();
        } else if self.farewell.as_ref().is_some_and(|farewell| farewell.said) {
            self.turn.owed = false;
        }
    }

    fn outcome(&mut self, tool: &Tool, outcome: Outcome, by_model: bool) -> String {
        match (tool, outcome) {
            (Tool::StartCapture(create), outcome) => self.start_finished(create, outcome),
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
            ) => self.changed(update, outcome, by_model),
            (_, Outcome::SilenceDetection { .. }) if self.payments.is_open() => words::done(words::SILENCE_BY_ITSELF),
            (_, Outcome::SilenceDetection { enabled }) => {
                self.watch.enabled = enabled;
                self.watch.reset(self.now);
                words::done(if enabled { "Silence detection is on." } else { "Silence detection is off." })
            }
            (_, Outcome::EndCall) => {
                self.farewell = Some(Farewell { handoff_data: None, said: self.turn.spoke });
                words::done(words::SAY_GOODBYE)
            }
            (_, Outcome::HandOff { reason, summary }) => {
                let mut summary = summary.into_inner();
                if self.payments.is_submitting() {
                    summary = format!("{summary} {}", words::RESULT_UNKNOWN);
                }
                let data = words::handoff_data("live-agent-handoff", reason.reveal(), summary.trim());
                self.drop_statement();
                self.farewell = Some(Farewell { handoff_data: Some(data), said: self.turn.spoke });
                words::done(words::SAY_HAND_OFF)
            }
            (_, Outcome::Send(frame)) => self.send(frame),
            (_, Outcome::Message(Ok(()))) => words::done("The message is on its way. Do not send it again."),
            (_, Outcome::Message(Err(reason))) => words::refused(reason),
            (Tool::ChangeContext { summary, .. }, Outcome::Context(Ok(keys))) => {
                self.actions.push(Action::ChangeContext(keys));
                words::context_changed(summary.reveal())
            }
            (_, Outcome::Context(Err(reason))) => words::refused(&reason),
            (_, Outcome::ListenMode { enabled }) => {
                self.listening = enabled;
                self.watch.reset(self.now);
                words::done(if enabled {
                    "You only listen now: nothing that you say is spoken. Tools work as before."
                } else {
                    "You are heard again."
                })
            }
            (
                _,
                Outcome::Payment(_)
                | Outcome::Barred(_)
                | Outcome::OrderTaken(_)
                | Outcome::PaidBefore { .. }
                | Outcome::Context(_)
                | Outcome::Lost,
            ) => words::lost(),
        }
    }

    /// Sends a frame that a tool made.
    fn send(&mut self, frame: Outgoing) -> String {
        let done = match &frame {
            Outgoing::Language(languages) => {
                let later = languages.clone();
                self.languages = Some(match self.languages.take() {
                    Some(earlier) => earlier.then(later),
                    None => later,
                });
                "From now on the other language is spoken or heard. Go on in it."
            }
            _ => "It is played after what you said.",
        };
        self.actions.push(Action::Say(frame));
        words::done(done)
    }

    fn start_finished(&mut self, create: &Create, outcome: Outcome) -> String {
        match outcome {
            Outcome::OrderTaken(payment) => {
                self.payments.forget();
                words::order_taken(&payment)
            }
            Outcome::PaidBefore { amount, minutes } => self.paid_before(create, amount, minutes),
            outcome => self.start_answered(create, &answer(outcome)),
        }
    }

    fn start_answered(&mut self, create: &Create, answer: &Answer) -> String {
        if let Answer::Created(sid) = answer {
            if self.payments.is_over(sid) {
                return words::session_over();
            }
            if !self.payments.open().is_some_and(|capture| capture.may_be(sid)) {
                // It was given up before it was there.
                self.cancel_unwanted(create.id, sid.clone());
                return words::session_over();
            }
        }
        let Some(capture) = self.payments.open_mut() else { return words::session_over() };
        let was_opening = capture.stage() == Stage::Opening;
        let answer = &capture.create_answered(create, answer.clone());
        match (answer, capture.sid().cloned()) {
            (Answer::Created(sid), _) if was_opening => {
                self.payments.moved(self.now);
                self.actions.push(Action::Record(Entry::Opened { sid: sid.clone(), charge: create.charge }));
            }
            // The callback was faster, and the answer got lost: the session is open all the same.
            (Answer::Unknown, Some(sid)) => return self.started(&Answer::Created(sid)),
            (Answer::Refused { .. } | Answer::Gone | Answer::Accepted, None) => self.payments.forget(),
            _ => {}
        }
        let answer = answer.clone();
        self.started(&answer)
    }

    /// The ledger did not let it be asked for: the caller paid the same a few minutes ago.
    fn paid_before(&mut self, create: &Create, amount: Amount, minutes: u32) -> String {
        let Some(capture) = self.payments.open_mut() else { return words::session_over() };
        match capture.create_answered(create, Answer::Refused { code: None, reason: "" }) {
            Answer::Refused { .. } if capture.sid().is_none() => {
                self.payments.forget();
                self.guidance.stop();
                self.ask_to_pay_again(amount, minutes)
            }
            answer => self.started(&answer),
        }
    }

    /// What the model is told of a session that it asked for.
    fn started(&self, answer: &Answer) -> String {
        match answer {
            Answer::Created(_) if self.leads() => words::done(words::SERVER_LEADS),
            answer => words::started(answer, self.payments.open()),
        }
    }

    fn changed(&mut self, update: &Update, outcome: Outcome, by_model: bool) -> String {
        match outcome {
            Outcome::Barred(reason) => self.change_barred(update, reason, by_model),
            Outcome::OrderTaken(payment) => self.change_barred(update, &words::order_is_taken(&payment), by_model),
            outcome => self.change_answered(update, answer(outcome), by_model),
        }
    }

    /// A guard did not let an open payment go on: it is cancelled, and the model is to offer a person.
    fn change_barred(&mut self, update: &Update, reason: &str, by_model: bool) -> String {
        let Some(capture) = self.payments.open_mut().filter(|capture| capture.sid() == Some(&update.sid)) else {
            return words::session_over();
        };
        capture.update_answered(update, Answer::Refused { code: None, reason: "the ledger does not let it go on" });
        if capture.stage() != Stage::Cancelling {
            let id = capture.id();
            self.guidance.stop();
            self.turn.forget_steps();
            self.watch.reset(self.now);
            self.give_up(id, update.sid.clone(), Some("a guard did not let it go on"));
        }
        if by_model {
            return words::refused(&words::barred(reason));
        }
        self.guided_payment_failed();
        self.note(format!("Payment update: {}", words::barred(reason)));
        self.turn.wake();
        String::new()
    }

    fn change_answered(&mut self, update: &Update, answer: Answer, by_model: bool) -> String {
        let cancelled = update.change == Change::Cancel;
        if cancelled && !by_model && !matches!(answer, Answer::Accepted | Answer::Gone) {
            self.actions.push(Action::Record(Entry::NotCancelled { sid: update.sid.clone() }));
        }
        let Some(capture) = self.payments.open_mut().filter(|capture| capture.sid() == Some(&update.sid)) else {
            return if cancelled { words::cancel_answered(&Answer::Gone) } else { words::session_over() };
        };
        let awaited = capture.awaits(update.change);
        let answer = capture.update_answered(update, answer);
        match &answer {
            Answer::Gone => self.payments.over(update.sid.clone()),
            Answer::Accepted if cancelled => self.payments.over(update.sid.clone()),
            Answer::Refused { code, .. } => {
                self.payments.refused(update.change, *code);
                let (sid, change, code) = (update.sid.clone(), update.change, *code);
                self.actions.push(Action::Record(Entry::Refused { sid, change, code }));
            }
            Answer::Accepted if update.change == Change::Complete => {
                self.actions.push(Action::Record(Entry::Submitted { sid: update.sid.clone() }));
            }
            _ => {}
        }
        if !by_model && !cancelled {
            if awaited {
                self.guided_change_answered(update.change, &answer);
            }
            return String::new();
        }
        match update.change {
            Change::Capture(field) => words::capture_answered(field, &answer),
            Change::Complete => words::finish_answered(&answer, self.payments.open(), self.payments.declines()),
            Change::Cancel => words::cancel_answered(&answer),
        }
    }
}

/// A payment tool that broke may or may not have done its work.
fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Payment(answer) => answer,
        Outcome::Barred(reason) => Answer::Refused { code: None, reason },
        _ => Answer::Unknown,
    }
}
