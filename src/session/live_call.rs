//! What operators may see of a live call: kept beside its entry in the registry, written by its session.

use std::sync::{Mutex, OnceLock, PoisonError};

use jiff::Timestamp;

use crate::call::CallProgress;
use crate::ids::CallSid;
use crate::phone_number::PhoneNumber;
use crate::relay::Setup;

/// A live call, as operators see it. The session writes to it only when something has changed.
#[derive(Debug)]
pub(crate) struct LiveCall {
    sid: CallSid,
    details: OnceLock<CallDetails>,
    progress: Mutex<CallProgress>,
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
        Self { sid, details: OnceLock::new(), progress: Mutex::default() }
    }

    pub(super) fn describe(&self, setup: &Setup, started_at: Timestamp) {
        let _ = self.details.set(CallDetails { caller: setup.caller(), outbound: setup.is_outbound(), started_at });
    }

    pub(super) fn publish(&self, progress: CallProgress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
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
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
