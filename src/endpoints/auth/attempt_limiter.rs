//! Locks a network out that guesses: after five wrong tokens within a minute, for a minute.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::client_network::ClientNetwork;

/// The number of wrong tokens that lock a network out.
const MAX_WRONG: usize = 5;

/// Within which time the tokens count.
const WINDOW: Duration = Duration::from_mins(1);

/// How long a network is locked out.
const LOCK_OUT: Duration = Duration::from_mins(1);

/// The number of networks that are remembered. If more of them guess within a minute, all are forgotten: who has that many
/// has as many guesses anyway.
const MAX_NETWORKS: usize = 4096;

/// Counts the wrong tokens of each network.
#[derive(Debug, Default)]
pub(super) struct AttemptLimiter(Mutex<HashMap<ClientNetwork, Attempts>>);

/// A network is locked out for this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LockedOut(pub(super) Duration);

#[derive(Debug, Default)]
struct Attempts {
    /// The times of the wrong tokens within the window, fewer than [`MAX_WRONG`].
    wrong_at: VecDeque<Instant>,
    locked_until: Option<Instant>,
}

impl AttemptLimiter {
    /// Counts a request. Also a right token is refused while its network is locked out.
    pub(super) fn admit(&self, network: ClientNetwork, is_wrong: bool, now: Instant) -> Result<(), LockedOut> {
        let mut networks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = networks.get(&network).and_then(|attempts| attempts.locked_until)
            && now < until
        {
            return Err(LockedOut(until - now));
        }
        if is_wrong {
            if networks.len() >= MAX_NETWORKS && !networks.contains_key(&network) {
                networks.retain(|_, attempts| attempts.matter(now));
                if networks.len() >= MAX_NETWORKS {
                    networks.clear();
                }
            }
            networks.entry(network).or_default().record_wrong(now);
        }
        Ok(())
    }

    /// Forgets the networks that did not guess within the last minute.
    pub(super) fn remove_expired(&self, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, attempts| attempts.matter(now));
    }
}

impl Attempts {
    fn record_wrong(&mut self, now: Instant) {
        self.locked_until = None;
        self.wrong_at.retain(|at| now < *at + WINDOW);
        self.wrong_at.push_back(now);
        if self.wrong_at.len() >= MAX_WRONG {
            self.wrong_at.clear();
            self.locked_until = Some(now + LOCK_OUT);
        }
    }

    fn matter(&self, now: Instant) -> bool {
        self.locked_until.is_some_and(|until| now < until) || self.wrong_at.back().is_some_and(|at| now < *at + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn network(number: u32) -> ClientNetwork {
        ClientNetwork::of_address(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    #[test]
    fn five_wrong_tokens_within_a_minute_lock_their_network_out_for_a_minute() {
        let (limiter, start) = (AttemptLimiter::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in [0, 1, 2, 3, 59] {
            assert_eq!(limiter.admit(network(1), true, at(second)), Ok(()), "{second}");
        }
        for is_wrong in [true, false] {
            assert_eq!(limiter.admit(network(1), is_wrong, at(60)), Err(LockedOut(Duration::from_secs(59))));
        }
        assert_eq!(limiter.admit(network(2), true, at(60)), Ok(()), "others are not");
        assert_eq!(limiter.admit(network(1), false, at(119)), Ok(()));
        assert_eq!(limiter.admit(network(1), true, at(119)), Ok(()), "it begins anew");
    }

    #[test]
    fn tokens_that_are_more_than_a_minute_apart_do_not_add_up() {
        let (limiter, start) = (AttemptLimiter::default(), Instant::now());
        for second in 0..100 {
            assert_eq!(limiter.admit(network(1), true, start + Duration::from_secs(second * 15)), Ok(()), "{second}");
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let (limiter, start) = (AttemptLimiter::default(), Instant::now());
        for number in 0..100_000 {
            assert_eq!(limiter.admit(network(number), true, start), Ok(()));
        }
        assert!(limiter.0.lock().unwrap().len() <= MAX_NETWORKS);
        limiter.remove_expired(start + WINDOW);
        assert!(limiter.0.lock().unwrap().is_empty());
    }
}
