//! What servers that share a ledger let each other know of a call: who has it, what is known of it while it rings, its order,
//! and callbacks that could not be sent on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, warn};

use super::{OutboundCallData, SessionContext, payment_log};
use crate::call_claim::ClaimState;
use crate::fleet::{Fleet, PeerStatus};
use crate::ids::CallSid;
use crate::ledger::{CallOwner, LedgerError};
use crate::payment::{CallbackKind, PaymentCallback, PaymentLogEntry, write_left_callback};
use crate::redact::Private;
use crate::server_id::ServerId;

/// How long a request waits for the ledger. Without its answer the call goes on.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a request waits to learn whether a call that was taken over has moved on.
const OWNER_TIMEOUT: Duration = Duration::from_millis(200);

/// How long it is tried to leave a callback for another server, and the pause in between.
const LEAVE_TIMEOUT: Duration = Duration::from_mins(1);
const LEAVE_PAUSE: Duration = Duration::from_secs(1);

impl SessionContext {
    /// Leaves a callback for the server that has its call, which could not be asked. Nobody waits for it: while the ledger is
    /// away it is tried again. Key presses need not arrive.
    pub(crate) fn leave_callback(self: &Arc<Self>, callback: &PaymentCallback, form: &[(String, String)]) {
        let Some(fleet) = self.fleet.clone() else { return };
        if matches!(callback.kind, CallbackKind::EntryInProgress { .. }) {
            return;
        }
        let (context, call, text) = (self.clone(), callback.call_sid.clone(), write_left_callback(callback, form));
        let Some(place) = fleet.reserve_left_callback() else {
            return warn_unheard(&call, "too many callbacks wait for the ledger");
        };
        self.tasks.spawn(async move {
            let until = Instant::now() + LEAVE_TIMEOUT;
            while let Err(error) = context.try_leave_callback(&fleet, &call, &text).await {
                if Instant::now() > until {
                    return warn_unheard(&call, &error);
                }
                sleep(LEAVE_PAUSE).await;
            }
            drop(place);
        });
    }

    /// Logs the result of a payment of a call that is not live here, if the call is over. Otherwise it is between two servers, and
    /// the next one tells the caller.
    pub(crate) fn log_late_result(self: &Arc<Self>, callback: &PaymentCallback) {
        if !matches!(callback.kind, CallbackKind::Ended(_)) {
            return;
        }
        let (context, callback) = (self.clone(), callback.clone());
        self.tasks.spawn(async move {
            if context.find_owner(&callback.call_sid).await.is_none() {
                payment_log::log_late_result(&callback);
            }
        });
    }

    /// Logs an entry of a payment's history that holds only while no other server has the call: one that was frozen does not
    /// know that it has lost it.
    pub(super) fn log_unless_moved(self: &Arc<Self>, call: &CallSid, entry: PaymentLogEntry) {
        let (context, call) = (self.clone(), call.clone());
        let log = async move {
            let owner = context.find_owner(&call).await.and_then(|owner| owner.server);
            if owner.is_none_or(|owner| owner == context.server) {
                payment_log::log_entry(&entry, None);
            }
        };
        self.tasks.spawn(log.in_current_span());
    }

    /// Leaves a callback about a call that is live here, and that another server has meanwhile: this one learns it with its next
    /// beat only. Nobody waits for it.
    pub(crate) fn leave_callback_if_moved(self: &Arc<Self>, callback: &PaymentCallback, form: &[(String, String)]) {
        let Some(fleet) = self.fleet.clone() else { return };
        if matches!(callback.kind, CallbackKind::EntryInProgress { .. }) {
            return;
        }
        let (context, call, text) = (self.clone(), callback.call_sid.clone(), write_left_callback(callback, form));
        let Some(place) = fleet.reserve_left_callback() else { return };
        self.tasks.spawn(async move {
            // Without the ledger no other server has got the call.
            let _ = context.try_leave_callback(&fleet, &call, &text).await;
            drop(place);
        });
    }

    async fn try_leave_callback(&self, fleet: &Fleet, call: &CallSid, text: &str) -> Result<(), String> {
        let leave = async {
            match self.ledger.find_owner(call).await? {
                Some(owner) if fleet.is_elsewhere(&owner) => self.ledger.leave_callback(call, text).await,
                _ => Ok(()),
            }
        };
        failure(timeout(LEDGER_TIMEOUT, leave).await).map_or(Ok(()), Err)
    }

    /// What is known of another server, by the ledger if it has just started.
    pub(crate) async fn find_server(&self, fleet: &Fleet, server: ServerId) -> PeerStatus {
        match fleet.status_of(server) {
            PeerStatus::Unknown => match timeout(LEDGER_TIMEOUT, self.ledger.find_server(server)).await {
                Ok(Ok(Some(address))) => PeerStatus::Reached(address),
                _ => PeerStatus::Unknown,
            },
            known => known,
        }
    }

    /// Who has a call. `None` if nobody has, or while the ledger cannot be read.
    pub(crate) async fn find_owner(&self, call: &CallSid) -> Option<CallOwner> {
        timeout(LEDGER_TIMEOUT, self.ledger.find_owner(call)).await.ok()?.ok()?
    }

    /// Whether this server has taken over a call that is live here, and no other one has it since. While the ledger does not
    /// say, it has it.
    pub(crate) async fn has_taken_over(&self, call: &CallSid) -> bool {
        let claim = self.calls.claim_of(call).map(|claim| claim.state());
        if !matches!(claim, Some(ClaimState::Held(epoch)) if epoch > 1) {
            return false;
        }
        let owner = timeout(OWNER_TIMEOUT, self.ledger.find_owner(call)).await;
        !matches!(owner, Ok(Ok(Some(owner))) if owner.server != Some(self.server))
    }

    /// Whether a call is live, here or on another server.
    pub(crate) async fn is_live_anywhere(&self, call: &CallSid) -> bool {
        if self.calls.is_live(call) {
            return true;
        }
        self.fleet.is_some() && self.find_owner(call).await.is_some_and(|owner| self.has_living_owner(&owner))
    }

    /// Lets every server know what this one knows of a call that rings. A ledger that cannot be written is not waited for.
    pub(crate) async fn share_call(&self, call: &CallSid) {
        let Some(about) = self.pending_calls.about(call).filter(|_| self.fleet.is_some()) else { return };
        warn_unshared(timeout(LEDGER_TIMEOUT, self.ledger.share_call(call, &about)).await, call.as_str());
    }

    /// Lets every server know which call Twilio has placed for an order.
    pub(crate) async fn share_placed(&self, reference: &str, call: &CallSid) {
        if self.fleet.is_some() {
            warn_unshared(
                timeout(LEDGER_TIMEOUT, self.ledger.record_order_placed(reference, call)).await,
                call.as_str(),
            );
        }
    }

    /// Removes an order from the ledger whose call was not placed.
    pub(crate) async fn withdraw_order(&self, reference: &str) {
        if self.fleet.is_some() {
            warn_unshared(timeout(LEDGER_TIMEOUT, self.ledger.remove_order(reference)).await, "");
        }
    }

    /// Takes the order of a call that ends without a session from the ledger.
    pub(super) async fn take_order(&self, call: &CallSid) -> Option<OutboundCallData> {
        let order = timeout(LEDGER_TIMEOUT, self.ledger.take_order_of(call)).await.ok()?.ok()?;
        order.map(|data| Private::new(Arc::from(data)))
    }

    /// The properties of the order of a connecting call, wherever it was taken.
    pub(super) async fn find_order(&self, reference: &str, call: &CallSid) -> Option<OutboundCallData> {
        let order = self.pending_calls.claim(reference, call);
        if order.is_some() || self.fleet.is_none() {
            return order;
        }
        let order = timeout(LEDGER_TIMEOUT, self.ledger.claim_order(reference, call)).await.ok()?.ok()?;
        order.map(|data| Private::new(Arc::from(data)))
    }
}

/// Logs that a call does not hear of a callback.
fn warn_unheard(call: &CallSid, error: &str) {
    warn!(event = "fleet.callback_unheard", call_sid = %call, error, "The server that has the call does not hear of a callback.");
}

/// Logs what the other servers do not know of a call.
fn warn_unshared(shared: Result<Result<(), LedgerError>, Elapsed>, call_sid: &str) {
    if let Some(error) = failure(shared) {
        warn!(
            event = "fleet.unshared",
            call_sid, error, "What is known of a call that rings is known to this server alone."
        );
    }
}

/// Why the ledger was not written, if it was not.
fn failure(written: Result<Result<(), LedgerError>, Elapsed>) -> Option<String> {
    match written {
        Ok(written) => written.err().map(|error| error.to_string()),
        Err(_) => Some("timed out".to_owned()),
    }
}
