//! Which of the other servers live, as this one sees it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::ledger::ServerRecord;
use crate::server_id::ServerId;

/// A server is held for dead after more looks than this at which its beat had not moved. A look that fails counts for nobody:
/// while the ledger cannot be reached nobody can beat either.
const MAX_STILL_LOOKS: u32 = 5;

/// After as many looks at which its beat had not moved, a server is not waited for as long as others.
const QUIET_LOOKS: u32 = 2;

/// The other servers.
#[derive(Debug, Default)]
pub(super) struct Peers(HashMap<ServerId, Peer>);

/// How long a server that lives and did not answer is not asked. A request would wait for it again.
const AVOID_LENGTH: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Peer {
    record: ServerRecord,
    still_looks: u32,
    dead_since: Option<Instant>,
    avoid_until: Option<Instant>,
}

/// What is known of another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PeerStatus {
    /// It lives, and is reached at this address.
    Reached(String),
    /// It lives, or is held for dead, and does not answer.
    Unreachable,
    /// It has just started, or has stopped.
    Unknown,
}

/// What a look has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PeerChanges {
    /// Servers that are held for dead from now on.
    pub(super) lost: Vec<ServerId>,
    /// Servers that were held for dead and beat again.
    pub(super) back: Vec<ServerId>,
}

/// A server that is held for dead.
#[derive(Debug, Clone)]
pub(crate) struct DeadServer {
    /// The server.
    pub(crate) record: ServerRecord,
    /// Since when it is held for dead.
    pub(crate) since: Instant,
}

impl Peers {
    /// Looks at the servers in the ledger, this one among them.
    pub(super) fn look(&mut self, own: ServerId, records: Vec<ServerRecord>, now: Instant) -> PeerChanges {
        self.0.retain(|id, _| records.iter().any(|record| record.id == *id));
        let mut changes = PeerChanges::default();
        for record in records.into_iter().filter(|record| record.id != own) {
            let id = record.id;
            let Some(peer) = self.0.get_mut(&id) else {
                self.0.insert(id, Peer { record, still_looks: 0, dead_since: None, avoid_until: None });
                continue;
            };
            if peer.record.beat != record.beat {
                (peer.record, peer.still_looks) = (record, 0);
                if peer.dead_since.take().is_some() {
                    peer.avoid_until = None;
                    changes.back.push(id);
                }
                continue;
            }
            peer.still_looks += 1;
            if peer.still_looks > MAX_STILL_LOOKS && peer.dead_since.is_none() {
                peer.dead_since = Some(now);
                changes.lost.push(id);
            }
        }
        changes
    }

    /// Where a server is reached, if it is.
    pub(super) fn status(&self, id: ServerId, now: Instant) -> PeerStatus {
        match self.0.get(&id) {
            None => PeerStatus::Unknown,
            Some(peer) if peer.dead_since.is_some() || peer.avoid_until.is_some_and(|until| now < until) => {
                PeerStatus::Unreachable
            }
            Some(peer) => PeerStatus::Reached(peer.record.address.clone()),
        }
    }

    /// Whether the server at this address may be frozen: it has not said for two looks that it lives.
    pub(super) fn is_quiet(&self, address: &str) -> bool {
        self.0.values().any(|peer| peer.record.address == address && peer.still_looks >= QUIET_LOOKS)
    }

    /// Remembers that the server at this address did not answer.
    pub(super) fn avoid(&mut self, address: &str, now: Instant) {
        for peer in self.0.values_mut().filter(|peer| peer.record.address == address) {
            peer.avoid_until = Some(now + AVOID_LENGTH);
        }
    }

    /// Whether a server is held for dead. One that is not known is not.
    pub(super) fn is_dead(&self, id: ServerId) -> bool {
        self.0.get(&id).is_some_and(|peer| peer.dead_since.is_some())
    }

    /// Whether another server takes calls.
    pub(super) fn has_one_that_takes_calls(&self, now: Instant) -> bool {
        let takes_calls = |peer: &Peer| {
            !peer.record.is_draining && peer.dead_since.is_none() && peer.avoid_until.is_none_or(|until| until <= now)
        };
        self.0.values().any(takes_calls)
    }

    /// The number of other servers that live, and of those that are held for dead.
    pub(super) fn count(&self) -> (usize, usize) {
        let dead = self.0.values().filter(|peer| peer.dead_since.is_some()).count();
        (self.0.len() - dead, dead)
    }

    /// The servers that are held for dead.
    pub(super) fn dead(&self) -> Vec<DeadServer> {
        let dead = |peer: &Peer| Some(DeadServer { record: peer.record.clone(), since: peer.dead_since? });
        self.0.values().filter_map(dead).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: ServerId, beat: i64) -> ServerRecord {
        ServerRecord { id, address: "http://10.0.0.2:3001".to_owned(), beat, is_draining: false }
    }

    #[test]
    fn a_server_whose_beat_stands_still_is_held_for_dead_until_it_beats_again() {
        let (own, other, now) = (ServerId::generate(), ServerId::generate(), Instant::now());
        let mut peers = Peers::default();
        let mut look = |beat| {
            let changes = peers.look(own, vec![record(own, 1), record(other, beat)], now);
            (changes, peers.status(other, now) != PeerStatus::Unreachable, peers.is_dead(other))
        };
        assert_eq!(look(7), (PeerChanges::default(), true, false), "it is new");
        for _ in 0..MAX_STILL_LOOKS {
            assert_eq!(look(7), (PeerChanges::default(), true, false));
        }
        assert_eq!(look(7), (PeerChanges { lost: vec![other], back: vec![] }, false, true));
        assert_eq!(look(7), (PeerChanges::default(), false, true), "it is lost once");
        assert_eq!(look(8), (PeerChanges { lost: vec![], back: vec![other] }, true, false));
        assert_eq!(look(8), (PeerChanges::default(), true, false));
    }

    #[test]
    fn a_server_that_has_stopped_is_not_known_any_more() {
        let (own, other, now) = (ServerId::generate(), ServerId::generate(), Instant::now());
        let mut peers = Peers::default();
        peers.look(own, vec![record(other, 1)], now);
        let reached = PeerStatus::Reached("http://10.0.0.2:3001".to_owned());
        assert_eq!(peers.status(other, now), reached);
        assert_eq!(peers.status(own, now), PeerStatus::Unknown, "this server is none of the others");
        peers.avoid("http://10.0.0.2:3001", now);
        assert_eq!((peers.status(other, now), peers.is_dead(other)), (PeerStatus::Unreachable, false));
        assert_eq!(peers.status(other, now + AVOID_LENGTH), reached, "it is asked again");
        peers.look(own, vec![record(own, 1)], now);
        assert_eq!((peers.status(other, now), peers.is_dead(other)), (PeerStatus::Unknown, false));
    }
}
