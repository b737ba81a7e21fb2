//! The payments of a call: one open at most, those that are over, and what callbacks mean for the conversation.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::agreeing::Paid;
use super::{Action, Call, Item, Phase, Tool, words};
use crate::payment::{
    Agreed, Amount, Capture, Change, Create, Ending, Entry, Ids, Intent, Meaning, News, Outcome, PaymentId, ResultWord,
    Stage, Status, Terms, Update, is_decline,
};
use crate::sid::PaymentSid;

/// How many payments that are over are remembered, so that a late callback is recognised.
const MAX_OVER: usize = 64;

/// Stalls after which the server itself gives the call to a person.
const MAX_STALLS: u32 = 3;

/// A payment that is over for the call. Its result may still come, and is written down then.
struct Over {
    sid: PaymentSid,
    /// What it was to do.
    intent: Intent,
    /// What it was to be paid with.
    means: &'static str,
    /// What its result was, once one came.
    outcome: Option<Outcome>,
}

/// The payments of one call.
pub(super) struct Payments {
    ids: Ids,
    open: Option<Capture>,
    over: VecDeque<Over>,
    moved: Instant,
    stalls: u32,
    /// Cards that were submitted on this call and did not succeed.
    declines: u32,
}

impl Payments {
    pub(super) fn new(ids: Ids, now: Instant) -> Self {
        Self { ids, open: None, over: VecDeque::new(), moved: now, stalls: 0, declines: 0 }
    }

    pub(super) fn open(&self) -> Option<&Capture> {
        self.open.as_ref()
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Capture> {
        self.open.as_mut()
    }

    /// From the wish to open a session until it has ended, however it ends.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn is_submitting(&self) -> bool {
        self.open.as_ref().is_some_and(|capture| capture.stage() == Stage::Submitting)
    }

    pub(super) fn is_over(&self, sid: &PaymentSid) -> bool {
        self.over.iter().any(|over| over.sid == *sid)
    }

    /// Whether a session was asked for, Twilio never answered, and nobody waits for its answer any more.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.open.as_ref().is_some_and(|capture| capture.stage() == Stage::Opening)
    }

    /// Cards that were submitted on this call and did not succeed.
    pub(super) fn declines(&self) -> u32 {
        self.declines
    }

    /// Twilio refused a change: a submission perhaps since the bank refused the card.
    pub(super) fn refused(&mut self, change: Change, code: Option<u32>) {
        self.declines += u32::from(change == Change::Complete && is_decline(code));
    }

    /// Opens a session, or repeats a request for it that was not answered.
    pub(super) fn start(
        &mut self,
        terms: &Arc<Terms>,
        charge: Option<Amount>,
        agreed: Option<Agreed>,
        now: Instant,
    ) -> Result<Create, String> {
        if let Some(capture) = &self.open {
            let again = capture.open_again(charge);
            return again.map_err(|misfit| words::misfit(misfit, self.open.as_ref()));
        }
        let (capture, create) = Capture::open(self.ids.make(), terms, charge, agreed);
        self.open = Some(capture);
        self.stalls = 0;
        self.moved = now;
        Ok(create)
    }

    /// Asks for a change of the open session.
    pub(super) fn change(&mut self, change: Change, now: Instant) -> Result<Update, String> {
        let capture = self.open.as_mut().ok_or_else(words::no_payment)?;
        let update = capture.request(change);
        if update.is_ok() {
            self.moved = now;
        }
        update.map_err(|misfit| words::misfit(misfit, self.open.as_ref()))
    }

    /// Something moved: the stall begins anew.
    pub(super) fn moved(&mut self, now: Instant) {
        self.moved = now;
    }

    /// The caller is there: an entry may wait, but a result that does not come is not the caller's.
    pub(super) fn attended(&mut self, now: Instant) {
        let waits_for_twilio = |capture: &Capture| matches!(capture.stage(), Stage::Submitting | Stage::Cancelling);
        if !self.open.as_ref().is_some_and(waits_for_twilio) {
            self.moved = now;
        }
    }

    pub(super) fn stalls_at(&self, limit: Duration) -> Option<Instant> {
        self.open.is_some().then(|| self.moved + limit)
    }

    /// A session is over: of what is still reported only its result means something.
    pub(super) fn over(&mut self, sid: PaymentSid) {
        let capture = self.open.take_if(|capture| capture.sid() == Some(&sid));
        if self.over.len() == MAX_OVER {
            self.over.pop_front();
        }
        let means = capture.as_ref().map_or("card", Capture::means);
        let never_submitted = Intent { charge: None, bank_debit: false, submitted: false };
        let intent = capture.map_or(never_submitted, |capture| capture.intent());
        self.over.push_back(Over { sid, intent, means, outcome: None });
    }

    /// Takes the result of a session that is over, if it says more than is known: the first one, and a success after anything else.
    fn result(&mut self, sid: &PaymentSid, ending: &Ending) -> Option<(&Over, Outcome)> {
        let over = self.over.iter_mut().find(|over| over.sid == *sid)?;
        let outcome = Outcome::of(ending, &over.intent);
        let says_more = match (over.outcome, outcome) {
            (None, _) => true,
            (Some(Outcome::Succeeded), _) => false,
            (Some(known), outcome) => outcome.is_success_in_any_way() && outcome != known,
        };
        if !says_more {
            return None;
        }
        let first = over.outcome.replace(outcome).is_none();
        self.declines += u32::from(first && over.intent.submitted && !outcome.is_success_in_any_way());
        Some((over, outcome))
    }

    /// The session never was.
    pub(super) fn forget(&mut self) {
        self.open = None;
    }
}

impl Call {
    pub(super) fn payment_status(&mut self, status: &Status) {
        let sid = &status.sid;
        if self.payments.is_over(sid) {
            // The result of a payment that was cancelled, or handed over, comes after all.
            if let News::Ended(ending) = &status.news {
                self.result(sid, ending, false);
            }
            return;
        }
        if status.unmasked {
            self.actions.push(Action::Record(Entry::Unmasked { sid: sid.clone() }));
        }
        let Some(capture) = self.payments.open.as_mut().filter(|capture| capture.is_meant(status)) else {
            return self.unexpected(status);
        };
        let charge = capture.charge();
        let meaning = capture.told(status);
        if let Some(card) = status.card {
            self.card_recognised(card);
        }
        match meaning {
            Meaning::Nothing => {}
            Meaning::Opened => {
                self.payment_moved();
                self.actions.push(Action::Record(Entry::Opened { sid: sid.clone(), charge }));
                let answer_is_due = self.turn.runs.iter().any(|run| matches!(run.tool, Tool::StartCapture(_)));
                match (answer_is_due, self.leads(), self.payments.open().map(words::opened)) {
                    (true, ..) | (_, false, None) => {}
                    (false, true, _) => self.note(words::opened_and_led()),
                    (false, false, Some(step)) => self.payment_step(step),
                }
            }
            Meaning::Progress => self.payment_moved(),
            Meaning::Captured(field) => {
                self.payment_moved();
                self.actions.push(Action::Record(Entry::Captured { sid: sid.clone(), field }));
                if self.leads() {
                    self.turn.note_step(Item::Developer(words::entered(field)));
                } else if let Some(capture) = self.payments.open() {
                    let step = words::captured(field, capture);
                    self.payment_step(step);
                }
            }
            Meaning::Wrong { field, error, times } => {
                self.payment_moved();
                if !self.guide_again(field, &error, times) {
                    self.payment_step(words::wrong(field, &error, times));
                }
                self.actions.push(Action::Record(Entry::Wrong { sid: sid.clone(), field, error }));
            }
            Meaning::Ended(ending) => self.payment_ended(sid, &ending),
        }
    }

    fn payment_ended(&mut self, sid: &PaymentSid, ending: &Ending) {
        // The answer to cancel-capture, which is still to come, tells it.
        let told = self.turn.runs.iter().any(|run| matches!(&run.tool, Tool::CancelCapture(of) if of.sid == *sid));
        if matches!(ending.result, ResultWord::Star | ResultWord::Cancelled) {
            self.give_agreement_up();
        }
        self.payments.over(sid.clone());
        self.turn.forget_steps();
        self.watch.reset(self.now);
        self.result(sid, ending, !told);
    }

    /// Records what a result says of a session that is over, and tells the model. A goodbye that is under way waits: the caller has to
    /// know.
    fn result(&mut self, sid: &PaymentSid, ending: &Ending, tell: bool) {
        let Some((&Over { intent, means, .. }, outcome)) = self.payments.result(sid, ending) else { return };
        if outcome.is_success_in_any_way() {
            // Believed or not: money may have moved, and the caller agreed to pay once.
            let paid = if outcome == Outcome::Succeeded { Paid::Yes } else { Paid::Perhaps };
            self.agreement.charged(intent.charge, paid);
        }
        // The answer to `cancel-capture` tells of the cancelling; nothing else tells of money that may have moved.
        if tell || !matches!(outcome, Outcome::Cancelled | Outcome::Abandoned | Outcome::Failed | Outcome::Declined) {
            self.guided_payment_ended(outcome, &intent);
            self.note(words::ended(outcome, ending, &intent, means, self.payments.declines));
            self.turn.wake();
            if let Some(farewell) = &mut self.farewell {
                farewell.said = false;
            }
        }
        let (charge, ending) = (intent.charge, ending.clone());
        self.actions.push(Action::Record(Entry::Ended { sid: sid.clone(), charge, ending, outcome }));
    }

    fn payment_moved(&mut self) {
        self.payments.moved = self.now;
        self.payments.stalls = 0;
    }

    /// Tells the model of a step of the open payment, and wakes it.
    pub(super) fn payment_step(&mut self, step: String) {
        self.turn.note_step(Item::Developer(step));
        self.turn.wake();
    }

    /// A session that nobody here has open: one that was given up before it was there, or a stranger's.
    fn unexpected(&mut self, status: &Status) {
        if let News::Ended(ending) = &status.news {
            self.payments.over(status.sid.clone());
            self.result(&status.sid, ending, false);
        } else {
            let id = self.payments.ids.make();
            self.cancel_unwanted(id, status.sid.clone());
        }
    }

    pub(super) fn cancel_unwanted(&mut self, id: PaymentId, sid: PaymentSid) {
        self.give_up(id, sid, None);
    }

    /// Cancels a session that is of no use any more; with `why` the ledger says that the server gave the payment up.
    pub(super) fn give_up(&mut self, id: PaymentId, sid: PaymentSid, why: Option<&'static str>) {
        if self.payments.open().is_some_and(|capture| capture.sid() == Some(&sid)) {
            self.give_agreement_up();
        }
        let open = self.payments.open_mut().filter(|capture| capture.sid() == Some(&sid));
        let update = open.and_then(|capture| capture.request(Change::Cancel).ok());
        let key = id.change_key(Change::Cancel, 1);
        let update =
            update.unwrap_or_else(|| Update { id, sid: sid.clone(), key, change: Change::Cancel, given_up: None });
        let update = Update { given_up: why, ..update };
        self.payments.over(sid.clone());
        self.actions.push(Action::Record(Entry::Abandoned { sid }));
        self.run(None, Tool::CancelCapture(update));
    }

    /// The call ends: an open payment is cancelled, unless it was submitted. A cancelling that nobody confirmed is repeated.
    pub(super) fn abandon_payment(&mut self) {
        let Some(capture) = self.payments.open() else { return };
        let id = capture.id();
        match (capture.stage(), capture.sid().cloned()) {
            (Stage::Submitting, Some(sid)) => {
                let charge = capture.charge();
                self.actions.push(Action::Record(Entry::Unresolved { sid: sid.clone(), charge }));
                self.payments.over(sid);
            }
            (Stage::Open | Stage::Capturing { .. }, Some(sid)) => {
                if self.phase == Phase::Talking {
                    self.note(words::CANCELLED_AT_THE_END);
                }
                self.cancel_unwanted(id, sid);
            }
            // Its create is running, and its answer is waited for; or there never was an answer.
            (_, None) if self.turn.runs.iter().any(|run| matches!(run.tool, Tool::StartCapture(_))) => {}
            (_, None) => self.payments.forget(),
            // Nobody knows whether its cancelling was carried out: once more, with the same key.
            (_, Some(sid)) if self.turn.runs.is_empty() => {
                if let Ok(update) = self.payments.change(Change::Cancel, self.now) {
                    self.payments.over(sid);
                    self.run(None, Tool::CancelCapture(update));
                }
            }
            _ => {}
        }
    }

    /// Offers a retry, then a person, when an open payment stands still.
    pub(super) fn watch_payment(&mut self) {
        let due = self.payments.stalls_at(self.settings.stall).is_some_and(|due| due <= self.now);
        if !due || self.is_stating() || self.farewell.is_some() || self.phase != Phase::Talking {
            return;
        }
        self.payments.moved = self.now;
        self.payments.stalls += 1;
        let times = self.payments.stalls;
        let Some(capture) = self.payments.open() else { return };
        let update = words::stalled(capture, times);
        let entering = matches!(capture.stage(), Stage::Capturing { .. });
        self.actions.push(Action::Record(Entry::Stalled { sid: capture.sid().cloned(), times }));
        if times >= MAX_STALLS {
            self.give_stuck_up();
            self.hand_over("payment-stalled");
        } else if !(entering && times == 1 && self.repeat_guidance(self.now)) {
            self.payment_step(update);
            self.turn.settle(&mut self.history);
        }
    }

    /// A payment that stands still is cancelled before a person takes over. What is submitted cannot be, and what is being
    /// cancelled or opened is seen to when the call ends.
    fn give_stuck_up(&mut self) {
        let open = |capture: &&Capture| matches!(capture.stage(), Stage::Open | Stage::Capturing { .. });
        let Some(capture) = self.payments.open().filter(open) else { return };
        let Some((id, sid)) = capture.sid().map(|sid| (capture.id(), sid.clone())) else { return };
        self.guidance.stop();
        self.turn.forget_steps();
        self.watch.reset(self.now);
        self.give_up(id, sid, Some("it stood still"));
        self.note(words::STOOD_STILL);
    }
}
