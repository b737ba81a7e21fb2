//! Whether the peer of a socket is still there: it is pinged, and must answer one of two pings.

use std::time::Duration;

use tokio::time::Instant;

/// The time between two pings. Twilio's end and proxies between keep a socket open while something is sent.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// The number of pings in a row after which a peer that sent nothing is gone.
const MAX_UNANSWERED: u8 = 2;

/// What was heard of the peer of a socket.
#[derive(Debug)]
pub(super) struct Liveness {
    next_check: Instant,
    /// Pings since the last input.
    unanswered: u8,
}

/// What follows at the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LivenessCheck {
    /// A ping is sent.
    Ping,
    /// The peer is gone.
    Lost,
}

impl Liveness {
    pub(super) fn new(now: Instant) -> Self {
        Self { next_check: now + PING_INTERVAL, unanswered: 0 }
    }

    /// Records a frame of any kind from the peer.
    pub(super) fn record_input(&mut self) {
        self.unanswered = 0;
    }

    /// When the next ping is due.
    pub(super) fn deadline(&self) -> Instant {
        self.next_check
    }

    /// Decides at the deadline what follows.
    pub(super) fn check(&mut self, now: Instant) -> LivenessCheck {
        if self.unanswered >= MAX_UNANSWERED {
            return LivenessCheck::Lost;
        }
        self.unanswered += 1;
        self.next_check = now + PING_INTERVAL;
        LivenessCheck::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_answers_neither_of_two_pings_is_gone() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        let check = |liveness: &mut Liveness| liveness.check(liveness.deadline());
        assert_eq!(liveness.deadline(), start + Duration::from_secs(20));
        for _ in 0..5 {
            assert_eq!(check(&mut liveness), LivenessCheck::Ping);
            assert_eq!(check(&mut liveness), LivenessCheck::Ping);
            liveness.record_input();
        }
        assert_eq!(check(&mut liveness), LivenessCheck::Ping);
        assert_eq!(check(&mut liveness), LivenessCheck::Ping);
        assert_eq!(liveness.deadline(), start + Duration::from_secs(13 * 20));
        assert_eq!(check(&mut liveness), LivenessCheck::Lost);
    }
}
