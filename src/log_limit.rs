//! Limits the log lines that anyone can cause: of each kind the first is written at once, and then one a minute with the
//! number of those left out. The lines of a server have one limiter.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

/// How often a line of one kind is written.
const PERIOD: Duration = Duration::from_secs(60);

/// Counts the log lines of each event and kind.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter(Mutex<HashMap<LineKind, LineCount>>);

/// An event of the log, and what kind of it.
type LineKind = (&'static str, &'static str);

/// The lines of one kind.
#[derive(Debug)]
struct LineCount {
    written_at: Instant,
    left_out: u64,
}

impl LogLimiter {
    /// Counts a line of an event and a kind. Returns whether it is written and, if so, how many were left out since the
    /// last one.
    pub(crate) fn admit(&self, event: &'static str, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.lock();
        let Some(known) = kinds.get_mut(&(event, kind)) else {
            kinds.insert((event, kind), LineCount { written_at: now, left_out: 0 });
            return Some(0);
        };
        if now < known.written_at + PERIOD {
            known.left_out += 1;
            return None;
        }
        known.written_at = now;
        Some(std::mem::take(&mut known.left_out))
    }

    /// Logs how many lines were left out of each kind of which none was written for a minute.
    pub(crate) fn report_left_out(&self, now: Instant) {
        for ((of, kind), left_out) in self.take_due(now) {
            warn!(event = "log.repeated", of, kind, left_out, "Lines of this event and kind were left out.");
        }
    }

    /// Takes the kinds of which lines were left out and none was written for a minute, with their numbers, so that a
    /// burst that has ended is reported as well. Kinds that have become quiet are forgotten.
    fn take_due(&self, now: Instant) -> Vec<(LineKind, u64)> {
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

    fn lock(&self) -> MutexGuard<'_, HashMap<LineKind, LineCount>> {
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
        assert_eq!(limiter.admit("refused", "signature", start), Some(0));
        assert_eq!(limiter.admit("refused", "token", after(1)), Some(0), "kinds are counted apart");
        assert!((0..500).all(|_| limiter.admit("refused", "signature", after(59)).is_none()));
        assert_eq!(limiter.admit("refused", "signature", after(60)), Some(500));
        assert_eq!(limiter.admit("refused", "signature", after(61)), None);
    }

    #[test]
    fn the_end_of_a_burst_is_reported_though_no_line_follows() {
        let (limiter, start) = (LogLimiter::default(), Instant::now());
        for _ in 0..8 {
            limiter.admit("refused", "signature", start);
        }
        assert_eq!(limiter.take_due(start + Duration::from_secs(59)), []);
        assert_eq!(limiter.take_due(start + Duration::from_secs(60)), [(("refused", "signature"), 7)]);
        assert_eq!(limiter.take_due(start + Duration::from_secs(61)), []);
        assert_eq!(
            limiter.admit("refused", "signature", start + Duration::from_secs(61)),
            None,
            "it counts as written"
        );
        assert_eq!(limiter.take_due(start + Duration::from_secs(300)), [(("refused", "signature"), 1)]);
    }
}
