//! The servers that share a ledger: who lives, who has a call, and how a request gets to the server that has its call.
//!
//! A call follows its socket: the server on which Twilio's newest socket lands has the call, and no socket is passed on. A
//! request about a call that another server has is sent on to it as it came, and that server verifies Twilio's signature
//! itself: there is no trust between servers, and no secret.
//!
#![doc = include_str!("fleet/README.md")]

mod forward;
mod peers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{info, warn};
use url::Url;

use crate::config::PublicUrl;
use crate::http_client::HttpClients;
use crate::ledger::{CallOwner, Ledger, LedgerError};
use crate::server_id::ServerId;
pub(crate) use forward::{FORWARDED, ForwardError, ForwardedRequest};
use peers::Peers;
pub(crate) use peers::{DeadServer, PeerStatus};

/// How often a server says that it lives, and looks at the others.
pub(crate) const BEAT_INTERVAL: Duration = Duration::from_secs(2);

/// How many callbacks may wait to be left for other servers, while the ledger is away.
const MAX_LEFT_CALLBACKS: usize = 1_024;

/// What begins the path of each URL that Twilio gets from a server: it names that server.
pub(crate) const AT_SERVER: &str = "/at/";

/// This server among those that share its ledger.
#[derive(Debug)]
pub struct Fleet {
    id: ServerId,
    /// The public URL of all servers.
    public_url: PublicUrl,
    /// Where the others reach this server.
    address: String,
    clients: HttpClients,
    // A std mutex, since it is held only for a look-up and never across an await.
    peers: Mutex<Peers>,
    /// A place for each callback that is being left for another server.
    left_callbacks: Arc<Semaphore>,
}

impl Fleet {
    /// Creates the fleet of a server that others reach at this address. It fails if no HTTP client can be built.
    pub(crate) fn new(id: ServerId, address: &Url, public_url: PublicUrl) -> Result<Self, reqwest::Error> {
        let address = address.as_str().trim_end_matches('/').to_owned();
        Ok(Self {
            id,
            public_url,
            address,
            clients: forward::clients()?,
            peers: Mutex::default(),
            left_callbacks: Arc::new(Semaphore::new(MAX_LEFT_CALLBACKS)),
        })
    }

    /// This server.
    pub(crate) fn id(&self) -> ServerId {
        self.id
    }

    /// The beginning of the URLs that Twilio gets from a server.
    pub(crate) fn url_of(&self, server: ServerId) -> PublicUrl {
        self.public_url.at_server(server)
    }

    /// Says that this server lives, and looks at the others.
    pub(crate) async fn beat(&self, ledger: &Ledger, is_draining: bool) -> Result<(), LedgerError> {
        let records = ledger.beat(self.id, &self.address, is_draining).await?;
        let changes = self.lock().look(self.id, records, Instant::now());
        for server in changes.lost {
            warn!(
                event = "fleet.server_lost", %server,
                "Another server does not say that it lives: it is held for dead, and its calls go to the others."
            );
        }
        for server in changes.back {
            info!(event = "fleet.server_back", %server, "A server that was held for dead says that it lives.");
        }
        Ok(())
    }

    /// Leaves the fleet when the server stops.
    pub(crate) async fn leave(&self, ledger: &Ledger) {
        if let Err(error) = ledger.remove_server(self.id).await {
            info!(event = "fleet.not_left", %error, "The others will notice by themselves that this server has stopped.");
        }
    }

    /// What is known of another server.
    pub(crate) fn status_of(&self, server: ServerId) -> PeerStatus {
        self.lock().status(server, Instant::now())
    }

    /// The address of another server that lives and answers.
    pub(crate) fn address_of(&self, server: ServerId) -> Option<String> {
        if let PeerStatus::Reached(address) = self.status_of(server) { Some(address) } else { None }
    }

    /// The address of the owner of a call, if it is another server that may answer.
    pub(crate) fn address_of_owner(&self, owner: CallOwner) -> Option<String> {
        match self.status_of(owner.server.filter(|server| *server != self.id)?) {
            PeerStatus::Reached(address) => Some(address),
            PeerStatus::Unreachable => None,
            PeerStatus::Unknown => owner.address,
        }
    }

    /// Whether another server has a call, and lives, whether it answers or not.
    pub(crate) fn is_elsewhere(&self, owner: &CallOwner) -> bool {
        let other = owner.server.filter(|server| *server != self.id);
        other.is_some_and(|server| !self.lock().is_dead(server)) && owner.address.is_some()
    }

    /// Whether another server takes the calls that this one has while it drains.
    pub(crate) fn has_successor(&self) -> bool {
        self.lock().has_one_that_takes_calls(Instant::now())
    }

    /// Remembers that the server at this address did not answer.
    pub(crate) fn avoid(&self, address: &str) {
        self.lock().avoid(address, Instant::now());
    }

    /// The servers that are held for dead.
    pub(crate) fn dead_servers(&self) -> Vec<DeadServer> {
        self.lock().dead()
    }

    /// The number of servers that live, this one among them, and of those that are held for dead.
    pub(crate) fn count_servers(&self) -> (usize, usize) {
        let (others, dead) = self.lock().count();
        (others + 1, dead)
    }

    /// Takes a place for a callback that is being left for another server, if there is one.
    pub(crate) fn reserve_left_callback(&self) -> Option<OwnedSemaphorePermit> {
        self.left_callbacks.clone().try_acquire_owned().ok()
    }

    fn lock(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
