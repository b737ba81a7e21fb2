//! The time by which data is erased. The wall clock may be wrong, and an erasure cannot be undone.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// How much more than the monotonic clock the wall clock may advance between two readings.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// How long the wall clock must stay ahead before it is believed. Until then an operator can correct it, and what waited
/// while a server was stopped can still be delivered.
const ACCEPTED_AFTER: Duration = Duration::from_hours(24);

/// Follows the wall clock as far as the monotonic clock confirms it.
#[derive(Debug)]
pub(super) struct TrustedClock {
    /// The last confirmed time, and when it was read.
    confirmed: (Timestamp, Instant),
    /// When the wall clock was first seen ahead.
    ahead_since: Option<Instant>,
}

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClockReading {
    /// The time that is confirmed.
    pub now: Timestamp,
    /// How far the wall clock is ahead, if that is seen for the first time.
    pub jump: Option<SignedDuration>,
}

impl TrustedClock {
    /// Creates a clock. `last_known` is the newest time that an earlier server recorded.
    pub(super) fn new(last_known: Option<Timestamp>, wall: Timestamp, now: Instant) -> Self {
        Self { confirmed: (last_known.map_or(wall, |known| known.min(wall)), now), ahead_since: None }
    }

    /// Reads the clock. A wall clock that was set back is believed at once, since nothing expires early by it.
    pub(super) fn read(&mut self, wall: Timestamp, now: Instant) -> ClockReading {
        let (confirmed, at) = self.confirmed;
        let expected = confirmed.saturating_add(now.saturating_duration_since(at)).unwrap_or(Timestamp::MAX);
        let ahead = wall.duration_since(expected);
        let is_first = self.ahead_since.is_none();
        if ahead > TOLERANCE {
            let since = *self.ahead_since.get_or_insert(now);
            if now.saturating_duration_since(since) < ACCEPTED_AFTER {
                return ClockReading { now: expected, jump: is_first.then_some(ahead) };
            }
        }
        *self = Self { confirmed: (wall, now), ahead_since: None };
        ClockReading { now: wall, jump: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[expect(clippy::disallowed_methods, reason = "some instant is needed to begin with; only differences count")]
    fn start() -> (Timestamp, Instant) {
        ("2026-11-26T12:00:00Z".parse().unwrap(), Instant::now())
    }

    #[test]
    fn a_jump_ahead_is_believed_after_a_day_and_reported_once() {
        let (wall, now) = start();
        let mut clock = TrustedClock::new(None, wall, now);
        assert_eq!(clock.read(wall + HOUR, now + HOUR), ClockReading { now: wall + HOUR, jump: None });
        let jumped = wall + 100 * HOUR;
        let first = clock.read(jumped + 2 * HOUR, now + 2 * HOUR);
        assert_eq!(first, ClockReading { now: wall + 2 * HOUR, jump: Some(SignedDuration::from_hours(100)) });
        let later = clock.read(jumped + 25 * HOUR, now + 25 * HOUR);
        assert_eq!(later, ClockReading { now: wall + 25 * HOUR, jump: None });
        assert_eq!(clock.read(jumped + 26 * HOUR, now + 26 * HOUR).now, jumped + 26 * HOUR);
        assert_eq!(clock.read(jumped + 27 * HOUR, now + 27 * HOUR).now, jumped + 27 * HOUR);
    }

    #[test]
    fn a_clock_that_is_right_again_is_believed_at_once() {
        let (wall, now) = start();
        let mut clock = TrustedClock::new(None, wall, now);
        clock.read(wall + 24 * HOUR, now);
        assert_eq!(clock.read(wall + HOUR, now + HOUR), ClockReading { now: wall + HOUR, jump: None });
        assert_eq!(clock.read(wall - 10 * HOUR, now + 2 * HOUR).now, wall - 10 * HOUR);
        assert!(clock.read(wall + 2 * HOUR, now + 2 * HOUR).jump.is_some(), "that is a jump ahead");
    }

    #[test]
    fn a_restart_during_a_jump_or_after_an_outage_erases_nothing_for_a_day() {
        let (wall, now) = start();
        let mut clock = TrustedClock::new(Some(wall - 100 * HOUR), wall, now);
        assert_eq!(clock.read(wall, now).now, wall - 100 * HOUR);
        assert_eq!(clock.read(wall + 24 * HOUR, now + 24 * HOUR).now, wall + 24 * HOUR);
        let mut set_back = TrustedClock::new(Some(wall + 24 * HOUR), wall, now);
        assert_eq!(set_back.read(wall, now), ClockReading { now: wall, jump: None });
    }
}
