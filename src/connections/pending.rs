//! The connections on which nothing was authenticated yet, in the order of their arrival, and the sockets that wait for their
//! `setup` frame.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// The pending connections. `C` closes one.
#[derive(Debug)]
pub(super) struct PendingConnections<C> {
    max_total: usize,
    max_per_network: usize,
    next_id: u64,
    by_id: BTreeMap<u64, Pending<C>>,
    by_network: HashMap<IpAddr, BTreeSet<u64>>,
    /// Those of them that make room last.
    sockets: BTreeSet<u64>,
}

/// What a pending connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingKind {
    /// Anybody's.
    Unknown,
    /// A socket whose upgrade was signed, and whose `setup` frame has to come. It makes room after all others, unless sockets
    /// have half of all places: whoever has one signature could take all of them.
    Socket,
}

#[derive(Debug)]
struct Pending<C> {
    network: IpAddr,
    close: C,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FullLimit {
    /// That of the pending connections of one address.
    Address,
    /// That of all pending connections.
    Total,
}

impl<C> PendingConnections<C> {
    pub(super) fn new(max_total: usize, max_per_network: usize) -> Self {
        Self {
            max_total,
            max_per_network,
            next_id: 0,
            by_id: BTreeMap::new(),
            by_network: HashMap::new(),
            sockets: BTreeSet::new(),
        }
    }

    /// Adds a connection. Returns its id and, if a limit was reached, the connection that makes room, which is removed.
    pub(super) fn insert(&mut self, peer: IpAddr, close: C, kind: PendingKind) -> (u64, Option<(FullLimit, C)>) {
        let network = network(peer);
        let of_network = self.by_network.get(&network).filter(|ids| ids.len() >= self.max_per_network);
        let of_network = of_network.and_then(|ids| self.oldest_of(ids.iter()));
        let has_too_many_sockets = kind == PendingKind::Socket && self.sockets.len() >= self.max_sockets();
        let evicted = if let Some(oldest) = of_network {
            self.take(oldest).map(|close| (FullLimit::Address, close))
        } else if has_too_many_sockets {
            self.sockets.first().copied().and_then(|oldest| self.take(oldest)).map(|close| (FullLimit::Total, close))
        } else if self.by_id.len() >= self.max_total {
            self.take_oldest().map(|close| (FullLimit::Total, close))
        } else {
            None
        };
        let id = self.next_id;
        self.next_id += 1;
        if kind == PendingKind::Socket && self.sockets.len() < self.max_sockets() {
            self.sockets.insert(id);
        }
        self.by_id.insert(id, Pending { network, close });
        self.by_network.entry(network).or_default().insert(id);
        (id, evicted)
    }

    /// Removes a connection that was authenticated or closed; nothing if it was removed before.
    pub(super) fn remove(&mut self, id: u64) {
        self.take(id);
    }

    /// Removes and returns the connection that has waited longest; a socket only if there is nothing else.
    pub(super) fn take_oldest(&mut self) -> Option<C> {
        let id = self.oldest_of(self.by_id.keys())?;
        self.take(id)
    }

    fn max_sockets(&self) -> usize {
        self.max_total.div_ceil(2)
    }

    fn oldest_of<'a>(&self, mut ids: impl Iterator<Item = &'a u64> + Clone) -> Option<u64> {
        let first = ids.clone().next();
        ids.find(|id| !self.sockets.contains(id)).or(first).copied()
    }

    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }

    fn take(&mut self, id: u64) -> Option<C> {
        let Pending { network, close } = self.by_id.remove(&id)?;
        self.sockets.remove(&id);
        if let Some(ids) = self.by_network.get_mut(&network) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_network.remove(&network);
            }
        }
        Some(close)
    }
}

/// The network that one peer controls: an IPv4 address, or a `/64` of IPv6.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn peer(host: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, host])
    }

    #[test]
    fn the_oldest_connection_of_the_address_makes_room_and_then_the_oldest_of_all() {
        let mut pending = PendingConnections::new(3, 2);
        let mut insert = |host, close| pending.insert(peer(host), close, PendingKind::Unknown);
        assert_eq!(insert(1, "a"), (0, None));
        assert_eq!(insert(2, "b"), (1, None));
        assert_eq!(insert(2, "c"), (2, None));
        assert_eq!(insert(2, "d"), (3, Some((FullLimit::Address, "b"))));
        assert_eq!(insert(3, "e"), (4, Some((FullLimit::Total, "a"))));
        pending.remove(2);
        pending.remove(2);
        assert_eq!((pending.count(), pending.insert(peer(2), "f", PendingKind::Unknown)), (2, (5, None)));
        assert_eq!((pending.take_oldest(), pending.take_oldest()), (Some("d"), Some("e")));
    }

    #[test]
    fn a_signed_socket_makes_room_last_but_sockets_have_no_more_than_half_of_the_places() {
        let mut pending = PendingConnections::new(4, 4);
        assert_eq!(pending.insert(peer(1), "socket", PendingKind::Socket).1, None);
        for (host, oldest) in [(2, None), (3, None), (4, None), (5, Some("2")), (6, Some("3"))] {
            let name = ["2", "3", "4", "5", "6"][usize::from(host) - 2];
            let evicted = pending.insert(peer(host), name, PendingKind::Unknown).1;
            assert_eq!(evicted, oldest.map(|oldest| (FullLimit::Total, oldest)));
        }
        assert_eq!(pending.insert(peer(7), "second", PendingKind::Socket).1, Some((FullLimit::Total, "4")));
        assert_eq!(pending.insert(peer(8), "third", PendingKind::Socket).1, Some((FullLimit::Total, "socket")));
        let left: Vec<&str> = std::iter::from_fn(|| pending.take_oldest()).collect();
        assert_eq!(left, ["5", "6", "second", "third"]);
    }

    #[test]
    fn a_peer_has_one_address_in_ipv4_and_a_network_in_ipv6() {
        let parse = |text: &str| network(text.parse().unwrap());
        assert_eq!(parse("::ffff:192.0.2.1"), parse("192.0.2.1"));
        assert_ne!(parse("192.0.2.1"), parse("192.0.2.2"));
        assert_eq!(parse("2001:db8:0:1::1"), parse("2001:db8:0:1:ffff::2"));
        assert_ne!(parse("2001:db8:0:1::1"), parse("2001:db8:0:2::1"));
    }

    proptest! {
        #[test]
        fn no_limit_is_ever_exceeded_and_no_entry_is_left_behind(
            steps in prop::collection::vec((0_u8..4, 0_u8..8, 0_u64..64), 1..200)
        ) {
            let mut pending = PendingConnections::new(10, 4);
            for (step, host, id) in steps {
                match step {
                    0 => pending.remove(id),
                    1 => drop(pending.take_oldest()),
                    2 => drop(pending.insert(peer(host), (), PendingKind::Socket)),
                    _ => drop(pending.insert(peer(host), (), PendingKind::Unknown)),
                }
                let mut counted: BTreeMap<IpAddr, usize> = BTreeMap::new();
                for entry in pending.by_id.values() {
                    *counted.entry(entry.network).or_default() += 1;
                }
                let indexed: BTreeMap<IpAddr, usize> =
                    pending.by_network.iter().map(|(network, ids)| (*network, ids.len())).collect();
                prop_assert_eq!(&counted, &indexed);
                prop_assert!(pending.sockets.len() <= 5 && pending.sockets.iter().all(|id| pending.by_id.contains_key(id)));
                prop_assert!(pending.count() <= 10 && counted.values().all(|count| *count <= 4));
            }
        }
    }
}
