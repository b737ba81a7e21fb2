//! The payments of a call: one open at most, those that are over, and what callbacks mean for the conversation.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Action, Call, Item, Phase, Tool, words};
use crate::payment::{
    Amount, Capture, Change, Create, Ending, Entry, Keys, Meaning, News, Outcome, Settings, Stage, Status, Update,
};
use crate::sid::PaymentSid;

/// How many payments that are over are remembered, so that a late callback is recognised.
const MAX_OVER: usize = 64;

/// Stalls after which the server itself gives the call to a person.
const MAX_STALLS: u32 = 3;

/// The payments of one call.
pub(super) struct Payments {
    keys: Keys,
    open: Option<Capture>,
    over: VecDeque<PaymentSid>,
    moved: Instant,
    stalls: u32,
}

impl Payments {
    pub(super) fn new(keys: Keys, now: Instant) -> Self {
        Self { keys, open: None, over: VecDeque::new(), moved: now, stalls: 0 }
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
        self.over.contains(sid)
    }

    /// Opens a session, or repeats a request for it that was not answered.
    pub(super) fn start(
        &mut self,
        settings: &Settings,
        charge: Option<Amount>,
        now: Instant,
    ) -> Result<Create, String> {
        if let Some(capture) = &mut self.open {
            let again = capture.open_again(charge, &mut self.keys);
            return again.map_err(|misfit| words::misfit(misfit, self.open.as_ref()));
        }
        let (capture, create) = Capture::open(settings.fields(), charge, &mut self.keys);
        self.open = Some(capture);
        self.stalls = 0;
        self.moved = now;
        Ok(create)
    }

    /// Asks for a change of the open session.
    pub(super) fn change(&mut self, change: Change, now: Instant) -> Result<Update, String> {
        let capture = self.open.as_mut().ok_or_else(words::no_payment)?;
        let update = capture.request(change, &mut self.keys);
        self.moved = now;
        update.map_err(|misfit| words::misfit(misfit, self.open.as_ref()))
    }

    /// Something moved: the stall begins anew.
    pub(super) fn moved(&mut self, now: Instant) {
        self.moved = now;
    }

    pub(super) fn stalls_at(&self, limit: Duration) -> Option<Instant> {
        self.open.is_some().then(|| self.moved + limit)
    }

    /// A session is over: what is still reported of it means nothing.
    pub(super) fn over(&mut self, sid: PaymentSid) {
        if self.open.as_ref().is_some_and(|capture| capture.sid() == Some(&sid)) {
            self.open = None;
        }
        if self.over.len() == MAX_OVER {
            self.over.pop_front();
        }
        self.over.push_back(sid);
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
            return;
        }
        if status.unmasked {
            self.actions.push(Action::Record(Entry::Unmasked { sid: sid.clone() }));
        }
        let Some(capture) = self.payments.open.as_mut().filter(|capture| capture.may_be(sid)) else {
            return self.unexpected(status);
        };
        let charge = capture.charge();
        match capture.told(status) {
            Meaning::Nothing => {}
            Meaning::Opened => {
                self.payment_moved();
                self.actions.push(Action::Record(Entry::Opened { sid: sid.clone(), charge }));
                let answer_is_due = self.turn.runs.iter().any(|run| matches!(run.tool, Tool::StartCapture(_)));
                if !answer_is_due {
                    self.payment_step(words::opened());
                }
            }
            Meaning::Progress => self.payment_moved(),
            Meaning::Captured(field) => {
                self.payment_moved();
                self.actions.push(Action::Record(Entry::Captured { sid: sid.clone(), field }));
                if let Some(capture) = self.payments.open() {
                    let step = words::captured(field, capture);
                    self.payment_step(step);
                }
            }
            Meaning::Wrong { field, error, times } => {
                self.payment_moved();
                let step = words::wrong(field, &error, times);
                self.actions.push(Action::Record(Entry::Wrong { sid: sid.clone(), field, error }));
                self.payment_step(step);
            }
            Meaning::Ended(ending) => self.payment_ended(sid, ending),
        }
    }

    fn payment_ended(&mut self, sid: &PaymentSid, ending: Ending) {
        let Some(capture) = self.payments.open() else { return };
        let charge = capture.charge();
        let was_cancelling = capture.stage() == Stage::Cancelling;
        self.payments.over(sid.clone());
        self.turn.forget_steps();
        self.watch.reset(self.now);
        // The answer to cancel-capture tells it.
        if !was_cancelling || ending.outcome == Outcome::Success {
            self.note(words::ended(&ending.outcome, charge.map(|amount| format!("{amount:?}"))));
            self.turn.wake();
        }
        self.actions.push(Action::Record(Entry::Ended { sid: sid.clone(), charge, ending }));
    }

    fn payment_moved(&mut self) {
        self.payments.moved = self.now;
        self.payments.stalls = 0;
    }

    /// Tells the model of a step of the open payment, and wakes it.
    fn payment_step(&mut self, step: String) {
        self.turn.note_step(Item::Developer(step));
        self.turn.wake();
    }

    /// A session that nobody here has open: one that was given up before it was there, or a stranger's.
    fn unexpected(&mut self, status: &Status) {
        if matches!(status.news, News::Ended(_)) {
            self.payments.over(status.sid.clone());
        } else {
            self.cancel_unwanted(status.sid.clone());
        }
    }

    pub(super) fn cancel_unwanted(&mut self, sid: PaymentSid) {
        self.payments.over(sid.clone());
        self.actions.push(Action::Record(Entry::Abandoned { sid: sid.clone() }));
        let key = self.payments.keys.make();
        self.run(None, Tool::CancelCapture(Update { sid, key, change: Change::Cancel }));
    }

    /// The call ends: an open payment is cancelled, unless it was submitted or its cancelling is under way.
    pub(super) fn abandon_payment(&mut self) {
        let Some(capture) = self.payments.open() else { return };
        match (capture.stage(), capture.sid().cloned()) {
            (Stage::Submitting, Some(sid)) => {
                let charge = capture.charge();
                self.actions.push(Action::Record(Entry::Unresolved { sid: sid.clone(), charge }));
                self.payments.over(sid);
            }
            (Stage::Open | Stage::Capturing { .. }, Some(sid)) => self.cancel_unwanted(sid),
            // Its create is running, and its answer is waited for; or there never was an answer.
            (_, None) if self.turn.runs.iter().any(|run| matches!(run.tool, Tool::StartCapture(_))) => {}
            (_, None) => self.payments.forget(),
            (_, Some(sid)) if self.turn.runs.is_empty() => self.payments.over(sid),
            _ => {}
        }
    }

    /// Offers a retry, then a person, when an open payment stands still.
    pub(super) fn watch_payment(&mut self) {
        let due = self.payments.stalls_at(self.settings.stall).is_some_and(|due| due <= self.now);
        if !due || self.farewell.is_some() || self.phase != Phase::Talking {
            return;
        }
        self.payments.moved = self.now;
        self.payments.stalls += 1;
        let times = self.payments.stalls;
        let Some(capture) = self.payments.open() else { return };
        let update = words::stalled(capture, times);
        self.actions.push(Action::Record(Entry::Stalled { sid: capture.sid().cloned(), times }));
        if times >= MAX_STALLS {
            self.hand_over("payment-stalled");
        } else {
            self.payment_step(update);
            self.turn.settle(&mut self.history);
        }
    }
}
