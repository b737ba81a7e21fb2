//! How long callers waited in each minute of the last hour, in a fixed amount of memory.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::turn::TurnRecord;

/// The minutes that are kept.
const MINUTES: usize = 60;

/// The upper bounds of the buckets grow by an eighth from 1 ms, so that a quantile is wrong by at most that. The last one is
/// above a minute.
const BUCKETS: usize = 96;

/// The waits of each minute of the last hour.
#[derive(Debug)]
pub(crate) struct LastHour(Mutex<Box<[MinuteWaits; MINUTES]>>);

/// The waits of a minute.
#[derive(Debug, Clone)]
struct MinuteWaits {
    /// Minutes since 1970.
    minute: i64,
    first_token: WaitCounts,
    first_frame: WaitCounts,
}

/// How many waits fell into each bucket.
#[derive(Debug, Clone)]
struct WaitCounts([u32; BUCKETS]);

/// What callers waited in a minute, in milliseconds; `None` if nobody did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MinuteLatency {
    /// The median time to the first token of the model.
    pub(crate) first_token_median: Option<u64>,
    /// The median time to the first frame with words.
    pub(crate) first_frame_median: Option<u64>,
    /// The time to the first frame that 95 of 100 turns kept.
    pub(crate) first_frame_p95: Option<u64>,
}

impl Default for LastHour {
    fn default() -> Self {
        Self(Mutex::new(Box::new(std::array::from_fn(|_| MinuteWaits::new(0)))))
    }
}

impl LastHour {
    /// Counts a turn in which the model was asked; in others nobody waited for it.
    pub(super) fn record(&self, turn: &TurnRecord) {
        let Some(first_token) = turn.first_token() else { return };
        let ended_at = turn.began_at.saturating_add(turn.ended).unwrap_or(turn.began_at);
        let minute = minute_of(ended_at);
        let mut minutes = self.lock();
        let waits = &mut minutes[index_of(minute)];
        if waits.minute != minute {
            *waits = MinuteWaits::new(minute);
        }
        waits.first_token.add(first_token);
        if let Some(first_frame) = turn.first_frame {
            waits.first_frame.add(first_frame);
        }
    }

    /// Returns the latency of each of the last 60 minutes, the oldest first, each with the second at which it began; and that
    /// of the hour.
    pub(crate) fn read(&self, now: Timestamp) -> (Vec<(i64, MinuteLatency)>, MinuteLatency) {
        let last = minute_of(now);
        let first = last - i64::try_from(MINUTES).unwrap_or_default() + 1;
        let minutes = self.lock().clone();
        let mut hour = MinuteWaits::new(last);
        let latencies = (first..=last).map(|minute| {
            let waits = &minutes[index_of(minute)];
            let latency = if waits.minute == minute {
                hour.first_token.merge(&waits.first_token);
                hour.first_frame.merge(&waits.first_frame);
                waits.latency()
            } else {
                MinuteLatency::default()
            };
            (minute * 60, latency)
        });
        (latencies.collect(), hour.latency())
    }

    fn lock(&self) -> MutexGuard<'_, Box<[MinuteWaits; MINUTES]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn minute_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

fn index_of(minute: i64) -> usize {
    usize::try_from(minute.rem_euclid(60)).unwrap_or_default()
}

impl MinuteWaits {
    fn new(minute: i64) -> Self {
        Self { minute, first_token: WaitCounts([0; BUCKETS]), first_frame: WaitCounts([0; BUCKETS]) }
    }

    fn latency(&self) -> MinuteLatency {
        MinuteLatency {
            first_token_median: self.first_token.quantile(50),
            first_frame_median: self.first_frame.quantile(50),
            first_frame_p95: self.first_frame.quantile(95),
        }
    }
}

impl WaitCounts {
    fn add(&mut self, wait: Duration) {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let bucket = bounds().position(|bound| wait <= bound).unwrap_or(BUCKETS - 1);
        self.0[bucket] = self.0[bucket].saturating_add(1);
    }

    fn merge(&mut self, other: &Self) {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(other);
        }
    }

    /// Returns the upper bound of the bucket below which so many of 100 waits are.
    fn quantile(&self, percent: u64) -> Option<u64> {
        let all: u64 = self.0.iter().copied().map(u64::from).sum();
        let rank = (all * percent).div_ceil(100);
        let mut seen = 0;
        bounds().zip(self.0).find_map(|(bound, count)| {
            seen += u64::from(count);
            (count > 0 && seen >= rank).then_some(bound)
        })
    }
}

/// The upper bounds of the buckets, in milliseconds: each is an eighth, or 1 ms, above the one before.
fn bounds() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(1), |bound| Some(bound + (bound / 8).max(1))).take(BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn record(hour: &LastHour, ended_at: i64, first_token_ms: u64) {
        let first_token = Duration::from_millis(first_token_ms);
        hour.record(&TurnRecord::sample(at(ended_at), first_token, first_token * 2));
    }

    #[test]
    fn a_quantile_is_at_most_an_eighth_too_high() {
        assert!(bounds().last().unwrap() > 60_000);
        for wait in [0, 1, 7, 8, 9, 100, 412, 3000, 59_999] {
            let mut counts = WaitCounts([0; BUCKETS]);
            counts.add(Duration::from_millis(wait));
            let read = counts.quantile(50).unwrap();
            assert!((wait..=wait + (wait / 8).max(1)).contains(&read), "{wait}: {read}");
            assert_eq!(counts.quantile(99), Some(read));
        }
        assert_eq!(WaitCounts([0; BUCKETS]).quantile(50), None);
    }

    #[test]
    fn each_minute_has_its_own_waits_and_the_hour_all() {
        let hour = LastHour::default();
        for _ in 0..19 {
            record(&hour, 6000, 100);
        }
        record(&hour, 6059, 1000);
        record(&hour, 6060, 400);
        let (minutes, all) = hour.read(at(6070));
        assert_eq!((minutes.len(), minutes[59].0, minutes[0].0), (60, 6060, 6060 - 59 * 60));
        let [older, newer] = [minutes[58].1, minutes[59].1];
        assert!(older.first_token_median.is_some_and(|wait| (100..=113).contains(&wait)), "{older:?}");
        assert!(older.first_frame_p95.is_some_and(|wait| (200..=225).contains(&wait)), "{older:?}");
        assert!(newer.first_frame_median.is_some_and(|wait| (800..=900).contains(&wait)), "{newer:?}");
        assert!(all.first_frame_p95.is_some_and(|wait| (800..=900).contains(&wait)), "{all:?}");
        assert_eq!(minutes[57].1, MinuteLatency::default());
    }

    #[test]
    fn what_is_older_than_an_hour_is_not_shown_and_is_overwritten() {
        let hour = LastHour::default();
        record(&hour, 6000, 100);
        assert!(hour.read(at(6000 + 59 * 60)).1.first_token_median.is_some());
        assert_eq!(hour.read(at(6000 + 60 * 60)).1, MinuteLatency::default());
        record(&hour, 6000 + 60 * 60, 900);
        let (_, all) = hour.read(at(6000 + 60 * 60));
        assert!(all.first_token_median.is_some_and(|wait| wait >= 900), "{all:?}");
    }
}
