//! Limits the log lines that anyone can cause: of each kind the first is written at once, and then one a minute with the
//! number of those left out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often a line of one kind is written.
const PERIOD: Duration = Duration::from_secs(60);

/// Counts the log lines of each kind.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter(Mutex<HashMap<&'static str, Kind>>);

/// The lines of one kind.
#[derive(Debug)]
struct Kind {
    written_at: Instant,
    left_out: u64,
}

impl LogLimiter {
    /// Counts a line of a kind. Returns whether it is written and, if so, how many were left out since the last one.
    pub(crate) fn admit(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.lock();
        let Some(known) = kinds.get_mut(kind) else {
            kinds.insert(kind, Kind { written_at: now, left_out: 0 });
            return Some(0);
        };
        if now < known.written_at + PERIOD {
            known.left_out += 1;
            return None;
        }
        known.written_at = now;
        Some(std::mem::take(&mut known.left_out))
    }

    /// Takes the kinds of which lines were left out and none was written for a minute, with their numbers, so that a
    /// burst that has ended is reported as well. Kinds that have become quiet are forgotten.
    pub(crate) fn take_due(&self, now: Instant) -> Vec<(&'static str, u64)> {
        let mut due = Vec::new();
        self.lock().retain(|kind, known| {
            if now < known.written_at + PERIOD {
                return true;
            }
            if known.left_out == 0 {
                return false;
            }
            due.push((*kind, std::mem::take(&mut known.left_out)));
            known.written_at = now;
            true
        });
        due
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, Kind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_once_a_minute_with_the_number_of_lines_left_out() {
        let (limiter, start) = (LogLimiter::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(limiter.admit("signature", start), Some(0));
        assert_eq!(limiter.admit("token", after(1)), Some(0), "kinds are counted apart");
        assert!((0..500).all(|_| limiter.admit("signature", after(59)).is_none()));
        assert_eq!(limiter.admit("signature", after(60)), Some(500));
        assert_eq!(limiter.admit("signature", after(61)), None);
    }

    #[test]
    fn the_end_of_a_burst_is_reported_though_no_line_follows() {
        let (limiter, start) = (LogLimiter::default(), Instant::now());
        for _ in 0..8 {
            limiter.admit("signature", start);
        }
        assert_eq!(limiter.take_due(start + Duration::from_secs(59)), []);
        assert_eq!(limiter.take_due(start + Duration::from_secs(60)), [("signature", 7)]);
        assert_eq!(limiter.take_due(start + Duration::from_secs(61)), []);
        assert_eq!(limiter.admit("signature", start + Duration::from_secs(61)), None, "it counts as written");
        assert_eq!(limiter.take_due(start + Duration::from_secs(300)), [("signature", 1)]);
    }
}
