//! The claim of a server to a call, where several servers share a ledger.

use std::sync::Arc;

use tokio::sync::watch;

use crate::server_id::ServerId;

/// The claim of this server to a call. Clones share it: what the session learns, its tools know.
#[derive(Debug, Clone)]
pub struct CallClaim {
    server: ServerId,
    state: Arc<watch::Sender<ClaimState>>,
}

/// How a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimState {
    /// The ledger could not be asked yet.
    Unclaimed,
    /// This server has the call since this epoch. Epochs begin with 1.
    Held(i64),
    /// Another server has the call.
    Lost,
}

impl CallClaim {
    /// A claim that the ledger does not know yet.
    pub fn new(server: ServerId) -> Self {
        Self { server, state: Arc::new(watch::Sender::new(ClaimState::Unclaimed)) }
    }

    /// The server that claims the call.
    pub fn server(&self) -> ServerId {
        self.server
    }

    /// How the claim stands.
    pub fn state(&self) -> ClaimState {
        *self.state.borrow()
    }

    /// Waits until the ledger was asked.
    pub async fn wait_until_asked(&self) {
        // The sender lives as long as this claim does.
        let _ = self.state.subscribe().wait_for(|state| *state != ClaimState::Unclaimed).await;
    }

    /// Records that the ledger has this server as the owner since an epoch. The newest one counts, and a claim that is lost
    /// stays lost.
    pub fn hold(&self, epoch: i64) {
        self.state.send_if_modified(|state| {
            let is_newer = match *state {
                ClaimState::Unclaimed => true,
                ClaimState::Held(known) => known < epoch,
                ClaimState::Lost => false,
            };
            if is_newer {
                *state = ClaimState::Held(epoch);
            }
            is_newer
        });
    }

    /// Gives the call up to another server. Nothing more is asked of Twilio under this claim.
    pub fn lose(&self) {
        self.state.send_replace(ClaimState::Lost);
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
