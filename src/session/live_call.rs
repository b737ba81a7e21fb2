//! What operators may see of a live call: kept beside its entry in the registry, written by its session.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::call::CallProgress;
use crate::call_claim::CallClaim;
use crate::ids::CallSid;
use crate::phone_number::PhoneNumber;
use crate::relay::Setup;
use crate::telemetry::TurnRecord;

/// A live call, as operators see it. The session writes to it only when something has changed.
#[derive(Debug)]
pub(crate) struct LiveCall {
    sid: CallSid,
    details: OnceLock<CallDetails>,
    /// The claim of this server to the call, where several share a ledger.
    claim: OnceLock<CallClaim>,
    progress: Mutex<CallProgress>,
    last_turn: Mutex<Option<TurnShares>>,
}

/// What the caller waited for in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TurnShares {
    /// The number of the turn in its session, from 1.
    pub(crate) number: u32,
    /// Until the first words; `None` if the agent said nothing.
    pub(crate) first_words: Option<Duration>,
    /// For the first tokens of the model's responses.
    pub(crate) model: Duration,
    /// For tools, without Twilio.
    pub(crate) tools: Duration,
    /// For Twilio's REST API.
    pub(crate) twilio: Duration,
}

/// What is known of a call when it begins.
#[derive(Debug, Clone)]
pub(crate) struct CallDetails {
    /// The number of the person on the line, if it is known.
    pub(crate) caller: Option<PhoneNumber>,
    /// Whether this server placed the call.
    pub(crate) outbound: bool,
    /// When the session began.
    pub(crate) started_at: Timestamp,
}

impl LiveCall {
    pub(super) fn new(sid: CallSid) -> Self {
        Self {
            sid,
            details: OnceLock::new(),
            claim: OnceLock::new(),
            progress: Mutex::default(),
            last_turn: Mutex::default(),
        }
    }

    pub(super) fn describe(&self, setup: &Setup, started_at: Timestamp) {
        let _ = self.details.set(CallDetails { caller: setup.caller(), outbound: setup.is_outbound(), started_at });
    }

    /// Says by which claim this server has the call.
    pub(super) fn set_claim(&self, claim: CallClaim) {
        let _ = self.claim.set(claim);
    }

    /// The claim by which this server has the call. `None` until it is set, and where no other server shares the ledger.
    pub(crate) fn claim(&self) -> Option<&CallClaim> {
        self.claim.get()
    }

    pub(super) fn publish(&self, progress: CallProgress) {
        *lock(&self.progress) = progress;
    }

    pub(super) fn publish_turn(&self, turn: &TurnRecord) {
        *lock(&self.last_turn) = Some(TurnShares::of(turn));
    }

    /// The SID of the call.
    pub(crate) fn sid(&self) -> &CallSid {
        &self.sid
    }

    /// What is known of the call since its beginning; `None` for the moment in which it begins.
    pub(crate) fn details(&self) -> Option<&CallDetails> {
        self.details.get()
    }

    /// Where the call stands.
    pub(crate) fn progress(&self) -> CallProgress {
        *lock(&self.progress)
    }

    /// What the last turn was made of; `None` before one has ended.
    pub(crate) fn last_turn(&self) -> Option<TurnShares> {
        *lock(&self.last_turn)
    }
}

impl TurnShares {
    fn of(turn: &TurnRecord) -> Self {
        let twilio = turn.twilio_time();
        Self {
            number: turn.number,
            first_words: turn.first_frame,
            model: turn.model_time(),
            tools: turn.tool_time().saturating_sub(twilio),
            twilio,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
