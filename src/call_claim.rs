//! The claim of a server to a call, where several servers share a ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::server_id::ServerId;

/// The claim of this server to a call. Clones share it: what the session learns, its tools know.
#[derive(Debug, Clone)]
pub struct CallClaim(Arc<Claim>);

#[derive(Debug)]
struct Claim {
    server: ServerId,
    /// The epoch, [`NONE`] or [`LOST`].
    epoch: AtomicI64,
}

/// Epochs begin with 1.
const NONE: i64 = 0;
const LOST: i64 = -1;

/// How a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimState {
    /// The ledger could not be asked yet.
    Unclaimed,
    /// This server has the call since this epoch.
    Held(i64),
    /// Another server has the call.
    Lost,
}

impl CallClaim {
    /// A claim that the ledger does not know yet.
    pub fn new(server: ServerId) -> Self {
        Self(Arc::new(Claim { server, epoch: AtomicI64::new(NONE) }))
    }

    /// The server that claims the call.
    pub fn server(&self) -> ServerId {
        self.0.server
    }

    /// How the claim stands.
    pub fn state(&self) -> ClaimState {
        match self.0.epoch.load(Ordering::Acquire) {
            NONE => ClaimState::Unclaimed,
            LOST => ClaimState::Lost,
            epoch => ClaimState::Held(epoch),
        }
    }

    /// Records that the ledger has this server as the owner since an epoch. The newest one counts, and a claim that is lost
    /// stays lost.
    pub fn hold(&self, epoch: i64) {
        let newer = |known: i64| (known != LOST).then_some(known.max(epoch));
        let _ = self.0.epoch.fetch_update(Ordering::AcqRel, Ordering::Acquire, newer);
    }

    /// Gives the call up to another server. Nothing more is asked of Twilio under this claim.
    pub fn lose(&self) {
        self.0.epoch.store(LOST, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_is_lost_stays_lost() {
        let claim = CallClaim::new(ServerId::generate());
        assert_eq!(claim.state(), ClaimState::Unclaimed);
        claim.clone().hold(2);
        claim.hold(1);
        assert_eq!(claim.state(), ClaimState::Held(2));
        claim.lose();
        claim.hold(3);
        assert_eq!(claim.state(), ClaimState::Lost);
    }
}
