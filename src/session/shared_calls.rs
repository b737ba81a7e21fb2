//! What servers that share a ledger let each other know of a call: who has it, what is known of it while it rings, its order,
//! and callbacks that could not be sent on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::warn;

use super::{OutboundCallData, SessionContext};
use crate::fleet::{Fleet, PeerStatus};
use crate::ids::CallSid;
use crate::ledger::{CallOwner, LedgerError};
use crate::payment::{CallbackKind, PaymentCallback, write_left_callback};
use crate::redact::Private;
use crate::server_id::ServerId;

/// How long a request waits for the ledger. Without its answer the call goes on.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(1);

impl SessionContext {
    /// Leaves a callback for the server that has its call, which could not be asked. Key presses need not arrive.
    pub(crate) async fn leave_callback(&self, callback: &PaymentCallback, form: &[(String, String)]) {
        let Some(fleet) = &self.fleet else { return };
        let call = &callback.call_sid;
        if matches!(callback.kind, CallbackKind::EntryInProgress { .. })
            || !self.find_owner(call).await.is_some_and(|owner| fleet.is_elsewhere(&owner))
        {
            return;
        }
        let left =
            timeout(LEDGER_TIMEOUT, self.ledger.leave_callback(call, &write_left_callback(callback, form))).await;
        if let Some(error) = failure(left) {
            warn!(event = "fleet.callback_unheard", call_sid = %call, error, "The server that has the call does not hear of a callback.");
        }
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

    /// Whether a call is live, here or on another server.
    pub(crate) async fn is_live_anywhere(&self, call: &CallSid) -> bool {
        if self.calls.is_live(call) {
            return true;
        }
        let Some(fleet) = &self.fleet else { return false };
        self.find_owner(call).await.is_some_and(|owner| fleet.has_living_owner(&owner))
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
