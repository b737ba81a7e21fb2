//! The payments of a call: at most one open payment, the closed ones, and the effect of callbacks on the conversation.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::charge_authorization::ChargeStatus;
use super::turn::ToolOrigin;
use super::{Call, ConversationItem, Tool, prompts};
use crate::ids::PaymentSid;
use crate::payment::{
    Amount, CallbackEffect, CallbackKind, Capture, CaptureStage, ConsentRecord, CreatePayment, PaymentCallback,
    PaymentId, PaymentIdGenerator, PaymentLogEntry, PaymentOutcome, PaymentRecord, PaymentSessionResult, PaymentState,
    PaymentTerms, PriorSession, ResultKind, UpdateAction, UpdatePayment, is_decline_code,
};

/// The maximum number of closed payments kept, so that late callbacks are recognised.
const MAX_CLOSED_PAYMENTS: usize = 64;

/// The number of stalls after which the server hands the call off to a person.
const MAX_STALLS: u32 = 3;

/// A payment that is closed for the call. A result that arrives later is still recorded.
struct ClosedPayment {
    sid: PaymentSid,
    /// What is known of it.
    record: PaymentRecord,
    /// The payment method in words: `card` or `bank account`.
    means: &'static str,
    /// Whether a result was reported.
    has_result: bool,
    /// The note about its result may wait for the end of a tool or of a reply.
    is_untold: bool,
}

/// Why the server cancels a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CancelReason {
    /// It is no longer needed.
    Unwanted,
    /// The call did not request it.
    Foreign,
    /// The payment is abandoned, for this reason in the ledger.
    Abandoned(&'static str),
}

/// The payments of one call.
pub(super) struct CallPayments {
    ids: PaymentIdGenerator,
    open: Option<Capture>,
    closed: VecDeque<ClosedPayment>,
    /// The payments that an earlier session of the call had begun.
    earlier: Vec<ClosedPayment>,
    last_progress: Instant,
    stall_count: u32,
    /// Cards that were submitted on this call and did not succeed.
    decline_count: u32,
}

impl CallPayments {
    pub(super) fn new(ids: PaymentIdGenerator, now: Instant) -> Self {
        Self {
            ids,
            open: None,
            closed: VecDeque::new(),
            earlier: Vec::new(),
            last_progress: now,
            stall_count: 0,
            decline_count: 0,
        }
    }

    /// Remembers what an earlier session of the call, on a server that died, had begun: its result may still come. What this
    /// session knows itself stays as it is.
    pub(super) fn remember(&mut self, sessions: &[PriorSession]) {
        for session in sessions {
            let sid = &session.sid;
            if self.is_closed(sid) || self.is_open_session(sid) {
                continue;
            }
            let PaymentRecord { state, intent, .. } = session.record;
            self.earlier.push(ClosedPayment {
                sid: sid.clone(),
                record: session.record,
                means: if session.by_bank_account { "bank account" } else { "card" },
                has_result: !matches!(state, PaymentState::Unknown | PaymentState::Submitted),
                is_untold: false,
            });
            let is_decline = intent.submitted && matches!(state, PaymentState::Declined | PaymentState::Failed);
            self.decline_count += u32::from(is_decline);
        }
    }

    /// The sessions that have ended, and those of an earlier server.
    fn ended(&self) -> impl Iterator<Item = &ClosedPayment> {
        self.closed.iter().chain(&self.earlier)
    }

    /// The sessions whose results the model knows. While the history lacks notes, it does not know those of this server that
    /// were not in it before.
    pub(super) fn told_results(&self, lacks_notes: bool) -> impl Iterator<Item = &PaymentSid> {
        self.ended()
            .filter(move |closed| closed.has_result && !(lacks_notes && closed.is_untold))
            .map(|closed| &closed.sid)
    }

    /// Records that the history has all notes.
    pub(super) fn record_told(&mut self) {
        self.closed.iter_mut().chain(&mut self.earlier).for_each(|closed| closed.is_untold = false);
    }

    /// Goes on with a payment that another server had begun.
    pub(super) fn take_up(&mut self, capture: Capture, now: Instant) {
        self.earlier.retain(|session| capture.sid() != Some(&session.sid));
        self.open = Some(capture);
        self.last_progress = now;
    }

    pub(super) fn open(&self) -> Option<&Capture> {
        self.open.as_ref()
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Capture> {
        self.open.as_mut()
    }

    /// Takes the open payment out, as another server finds it.
    #[cfg(test)]
    pub(super) fn take_open(&mut self) -> Option<Capture> {
        self.open.take()
    }

    /// Whether a payment is open: from the request for a session until the session ends.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether this is the session of the open payment.
    pub(super) fn is_open_session(&self, sid: &PaymentSid) -> bool {
        self.open.as_ref().is_some_and(|open| open.sid() == Some(sid))
    }

    /// The state of the payment that was closed last.
    pub(super) fn last_state(&self) -> Option<PaymentState> {
        self.closed.back().map(|closed| closed.record.state)
    }

    pub(super) fn is_submitting(&self) -> bool {
        self.open.as_ref().is_some_and(|capture| capture.stage() == CaptureStage::Submitting)
    }

    pub(super) fn is_closed(&self, sid: &PaymentSid) -> bool {
        self.ended().any(|closed| closed.sid == *sid)
    }

    /// Whether a payment was submitted whose result is not known, so that money may have moved.
    pub(super) fn has_unsettled_submission(&self) -> bool {
        let is_unsettled = |closed: &ClosedPayment| {
            closed.record.intent.submitted && !closed.has_result || closed.record.state == PaymentState::Unknown
        };
        self.ended().any(is_unsettled)
    }

    /// Whether a session was requested but Twilio never confirmed it.
    pub(super) fn is_unconfirmed(&self) -> bool {
        self.open.as_ref().is_some_and(|capture| capture.stage() == CaptureStage::Opening)
    }

    /// Cards that were submitted on this call and did not succeed.
    pub(super) fn decline_count(&self) -> u32 {
        self.decline_count
    }

    /// Records that Twilio refused a change. A refused submission counts as a decline if its error code says so.
    pub(super) fn record_refusal(&mut self, change: UpdateAction, code: Option<u32>) {
        self.decline_count += u32::from(change == UpdateAction::Complete && is_decline_code(code));
    }

    /// Requests a session, or repeats the request if Twilio did not respond. The error is a tool output.
    pub(super) fn start(
        &mut self,
        terms: &Arc<PaymentTerms>,
        charge: Option<Amount>,
        agreed: Option<ConsentRecord>,
        now: Instant,
    ) -> Result<CreatePayment, String> {
        if let Some(capture) = &self.open {
            let again = capture.retry_open(charge);
            return again.map_err(|error| prompts::invalid_transition(error, self.open.as_ref()));
        }
        let (capture, create) = Capture::open(self.ids.generate(), terms, charge, agreed);
        self.open = Some(capture);
        self.stall_count = 0;
        self.last_progress = now;
        Ok(create)
    }

    /// Requests a change of the open session. The error is a tool output.
    pub(super) fn request_change(&mut self, change: UpdateAction, now: Instant) -> Result<UpdatePayment, String> {
        let capture = self.open.as_mut().ok_or_else(prompts::no_payment)?;
        let update = capture.request_update(change);
        if update.is_ok() {
            self.last_progress = now;
        }
        update.map_err(|error| prompts::invalid_transition(error, self.open.as_ref()))
    }

    /// Records progress: the stall timeout starts again.
    pub(super) fn record_progress(&mut self, now: Instant) {
        self.last_progress = now;
    }

    /// Records input of the caller, which restarts the stall timeout, unless the payment waits for Twilio.
    pub(super) fn record_caller_activity(&mut self, now: Instant) {
        let waits_for_twilio =
            |capture: &Capture| matches!(capture.stage(), CaptureStage::Submitting | CaptureStage::Cancelling);
        if !self.open.as_ref().is_some_and(waits_for_twilio) {
            self.last_progress = now;
        }
    }

    pub(super) fn stall_deadline(&self, limit: Duration) -> Option<Instant> {
        self.open.is_some().then(|| self.last_progress + limit)
    }

    /// Closes the session. Later callbacks are ignored, except the final result.
    pub(super) fn close(&mut self, sid: PaymentSid) {
        let capture = self.open.take_if(|capture| capture.sid() == Some(&sid));
        if self.closed.len() == MAX_CLOSED_PAYMENTS {
            self.closed.pop_front();
        }
        let means = capture.as_ref().map_or("card", Capture::spoken_method);
        let record = capture.map_or(PaymentRecord::FOUND, |capture| capture.record());
        self.closed.push_back(ClosedPayment { sid, record, means, has_result: false, is_untold: false });
    }

    /// Records the result of a closed session, if it is the first one or changes what is known. Returns `None`
    /// otherwise.
    fn record_result(
        &mut self,
        sid: &PaymentSid,
        ending: &PaymentSessionResult,
    ) -> Option<(&ClosedPayment, PaymentOutcome)> {
        let closed = self.closed.iter_mut().chain(&mut self.earlier).find(|closed| closed.sid == *sid)?;
        let outcome = PaymentOutcome::from_session_result(ending, &closed.record.intent);
        let known = closed.record;
        closed.record = known.after_outcome(outcome);
        let first = !std::mem::replace(&mut closed.has_result, true);
        closed.is_untold = true;
        if !first && known == closed.record {
            return None;
        }
        self.decline_count += u32::from(first && known.intent.submitted && !outcome.is_reported_success());
        Some((closed, outcome))
    }

    /// Drops the open payment: its session does not exist.
    pub(super) fn discard_open(&mut self) {
        self.open = None;
    }
}

impl Call {
    pub(super) fn apply_payment_callback(&mut self, status: &PaymentCallback) {
        let sid = &status.payment_sid;
        if self.payments.is_closed(sid) {
            // A late result of a payment that was cancelled or handed off.
            if let CallbackKind::Ended(ending) = &status.kind {
                self.apply_payment_result(sid, ending, false);
            }
            return;
        }
        let Some(capture) = self.payments.open.as_mut().filter(|capture| capture.matches_callback(status)) else {
            return self.handle_unknown_session(status);
        };
        let charge = capture.charge();
        let meaning = capture.apply_callback(status);
        if let Some(card) = status.card_type {
            self.record_card_type(card);
        }
        match meaning {
            CallbackEffect::NoChange => {}
            CallbackEffect::Opened => {
                self.record_payment_progress();
                self.record(PaymentLogEntry::Opened { sid: sid.clone(), charge });
                let answer_is_due = self.turn.is_start_running();
                match (answer_is_due, self.is_server_leading(), self.payments.open().map(prompts::session_opened)) {
                    (true, ..) | (_, false, None) => {}
                    (false, true, _) => self.note(prompts::session_opened_guided()),
                    (false, false, Some(step)) => self.note_payment_step(step),
                }
            }
            CallbackEffect::Progress => self.record_payment_progress(),
            CallbackEffect::Captured(field) => {
                self.record_payment_progress();
                self.record(PaymentLogEntry::Captured { sid: sid.clone(), field });
                if self.is_server_leading() {
                    self.turn.push_payment_step(ConversationItem::Developer(prompts::field_entered(field)));
                } else if let Some(capture) = self.payments.open() {
                    let step = prompts::field_captured(field, capture);
                    self.note_payment_step(step);
                }
            }
            CallbackEffect::WrongEntry { field, error, wrong_entries: times } => {
                self.record_payment_progress();
                if !self.retry_field(field, &error, times) {
                    self.note_payment_step(prompts::entry_rejected(field, &error, times));
                }
                self.record(PaymentLogEntry::WrongEntry { sid: sid.clone(), field, error });
            }
            CallbackEffect::Ended(ending) => self.close_payment(sid, &ending),
        }
    }

    fn close_payment(&mut self, sid: &PaymentSid, ending: &PaymentSessionResult) {
        // The pending output of cancel-capture tells the model about the cancellation.
        let is_reported_by_tool = self.turn.is_cancel_running(sid);
        if matches!(ending.result, ResultKind::CallerPressedStar | ResultKind::Cancelled) {
            self.revoke_consent();
        }
        self.payments.close(sid.clone());
        self.turn.clear_payment_steps();
        self.silence_timer.reset(self.now);
        self.apply_payment_result(sid, ending, !is_reported_by_tool);
    }

    /// Records the result of a closed session and tells the model. A pending goodbye is said again, after the result.
    fn apply_payment_result(&mut self, sid: &PaymentSid, ending: &PaymentSessionResult, tell: bool) {
        let Some((&ClosedPayment { record: PaymentRecord { intent, state, .. }, means, .. }, outcome)) =
            self.payments.record_result(sid, ending)
        else {
            return;
        };
        if outcome.is_reported_success() {
            // Even an unconfirmed success uses up the caller's yes: money may have moved.
            let paid = if outcome == PaymentOutcome::Succeeded {
                ChargeStatus::Charged
            } else {
                ChargeStatus::PossiblyCharged
            };
            self.authorization.record_charge(intent.charge, paid);
        }
        // The output of `cancel-capture` covers a cancellation, but not a result with money that may have moved.
        if tell
            || !matches!(
                outcome,
                PaymentOutcome::Cancelled
                    | PaymentOutcome::Abandoned
                    | PaymentOutcome::Failed
                    | PaymentOutcome::Declined
            )
        {
            self.record_unannounced_result(outcome, &intent);
            let mut update = prompts::payment_ended(outcome, ending, &intent, means, self.payments.decline_count);
            if self.send_receipt(sid, state) {
                update.push_str(prompts::RECEIPT_PENDING);
            }
            self.note(update);
            self.turn.require_response();
            self.repeat_goodbye();
        }
        let (charge, ending) = (intent.charge, ending.clone());
        self.record(PaymentLogEntry::Ended { sid: sid.clone(), charge, ending, outcome });
    }

    fn record_payment_progress(&mut self) {
        self.payments.last_progress = self.now;
        self.payments.stall_count = 0;
    }

    /// Notes a step of the open payment, to which the model has to respond.
    pub(super) fn note_payment_step(&mut self, step: String) {
        self.turn.push_payment_step(ConversationItem::Developer(step));
        self.turn.require_response();
    }

    /// Handles a callback of an unknown session: records its result, or cancels it.
    fn handle_unknown_session(&mut self, status: &PaymentCallback) {
        if let CallbackKind::Ended(ending) = &status.kind {
            self.payments.close(status.payment_sid.clone());
            self.apply_payment_result(&status.payment_sid, ending, false);
        } else {
            let id = self.payments.ids.generate();
            self.cancel_session(id, status.payment_sid.clone(), CancelReason::Foreign);
        }
    }

    pub(super) fn cancel_unwanted_session(&mut self, id: PaymentId, sid: PaymentSid) {
        self.cancel_session(id, sid, CancelReason::Unwanted);
    }

    /// Cancels a session.
    pub(super) fn cancel_session(&mut self, id: PaymentId, sid: PaymentSid, reason: CancelReason) {
        if self.payments.open().is_some_and(|capture| capture.sid() == Some(&sid)) {
            self.revoke_consent();
        }
        let open = self.payments.open_mut().filter(|capture| capture.sid() == Some(&sid));
        let update = open.and_then(|capture| capture.request_update(UpdateAction::Cancel).ok());
        let key = id.update_key(UpdateAction::Cancel, 1);
        let update = update.unwrap_or_else(|| UpdatePayment::new(id, sid.clone(), key, UpdateAction::Cancel));
        let abandon_reason = if let CancelReason::Abandoned(why) = reason { Some(why) } else { None };
        let needs_claim = reason == CancelReason::Foreign || self.phase.was_lost();
        let update = UpdatePayment { abandon_reason, needs_claim, ..update };
        self.payments.close(sid.clone());
        self.record(PaymentLogEntry::Abandoned { sid });
        self.run_tool(ToolOrigin::Server, Tool::UpdatePayment(update));
    }

    /// Closes the open payment when the call ends: cancels it, unless it was submitted. An unconfirmed cancellation is
    /// repeated.
    pub(super) fn abandon_payment(&mut self) {
        let Some(capture) = self.payments.open() else { return };
        let id = capture.id();
        match (capture.stage(), capture.sid().cloned()) {
            (CaptureStage::Submitting, Some(sid)) => {
                let charge = capture.charge();
                self.record(PaymentLogEntry::Unresolved { sid: sid.clone(), charge });
                self.payments.close(sid);
            }
            (CaptureStage::Open | CaptureStage::Capturing { .. }, Some(sid)) => {
                if self.phase.is_in_progress() {
                    self.note(prompts::CANCELLED_AT_CALL_END);
                }
                self.cancel_unwanted_session(id, sid);
            }
            // A running create is waited for. Without one, Twilio never responded, and the payment is dropped.
            (_, None) if self.turn.is_start_running() => {}
            (_, None) => self.payments.discard_open(),
            // The cancellation is unconfirmed: repeat it with the same idempotency key.
            (_, Some(sid)) if !self.turn.has_runs() => {
                if let Ok(update) = self.payments.request_change(UpdateAction::Cancel, self.now) {
                    self.payments.close(sid);
                    self.run_tool(ToolOrigin::Server, Tool::UpdatePayment(update));
                }
            }
            _ => {}
        }
    }

    /// Offers a retry, then a person, when an open payment stalls.
    pub(super) fn check_payment_stall(&mut self) {
        let due = self.payments.stall_deadline(self.settings.stall_timeout).is_some_and(|due| due <= self.now);
        if !due || self.has_open_question() || !self.phase.is_live() {
            return;
        }
        self.payments.last_progress = self.now;
        self.payments.stall_count += 1;
        let times = self.payments.stall_count;
        let Some(capture) = self.payments.open() else { return };
        let update = prompts::payment_stalled(capture, times);
        let entering = matches!(capture.stage(), CaptureStage::Capturing { .. });
        self.record(PaymentLogEntry::Stalled { sid: capture.sid().cloned(), times });
        if times >= MAX_STALLS {
            self.cancel_stalled_payment();
            self.hand_off("payment-stalled");
        } else if !(entering && times == 1 && self.repeat_prompt(self.now)) {
            self.note_payment_step(update);
            self.turn.flush_to_history(&mut self.history);
        }
    }

    /// Cancels a stalled payment before a person takes over. A submitted payment cannot be cancelled; one that is being
    /// opened or cancelled is closed when the call ends.
    fn cancel_stalled_payment(&mut self) {
        let open = |capture: &&Capture| matches!(capture.stage(), CaptureStage::Open | CaptureStage::Capturing { .. });
        if self.payments.open().filter(open).is_some_and(|capture| capture.sid().is_some()) {
            self.give_up_payment("the payment stalled");
            self.note(prompts::CANCELLED_AFTER_STALL);
        }
    }

    /// Cancels the open payment and stops what leads through it, for this reason in the ledger.
    pub(super) fn give_up_payment(&mut self, why: &'static str) {
        let Some(capture) = self.payments.open() else { return };
        let Some((id, sid)) = capture.sid().map(|sid| (capture.id(), sid.clone())) else { return };
        self.guided_flow.stop();
        self.turn.clear_payment_steps();
        self.silence_timer.reset(self.now);
        self.cancel_session(id, sid, CancelReason::Abandoned(why));
    }
}
