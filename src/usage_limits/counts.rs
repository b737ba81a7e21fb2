//! Counts within a sliding time window. The current time is an argument.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::phone_number::PhoneNumber;

/// The window of orders.
const MINUTE: Duration = Duration::from_secs(60);

/// The window of text messages.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The largest number of callers whose messages are counted. Beyond it no message is sent until an hour has passed for
/// one of them.
const MAX_CALLERS: usize = 100_000;

/// The orders of the last minute.
#[derive(Debug)]
pub(crate) struct OrderRate {
    limit: usize,
    times: Mutex<VecDeque<Instant>>,
}

/// The text messages of each caller within the last hour. They are in memory only.
#[derive(Debug, Default)]
pub(crate) struct MessageCounts(Mutex<HashMap<PhoneNumber, VecDeque<Instant>>>);

/// Too many orders were placed within a minute. The next one is accepted after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrderRateExceeded {
    pub(crate) retry_after: Duration,
}

impl OrderRate {
    /// At most `limit` orders a minute.
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit: limit as usize, times: Mutex::default() }
    }

    /// Counts an order, unless the limit is reached.
    pub(crate) fn take(&self, now: Instant) -> Result<(), OrderRateExceeded> {
        let mut times = lock(&self.times);
        forget_before(&mut times, MINUTE, now);
        match times.front() {
            Some(oldest) if times.len() >= self.limit => {
                Err(OrderRateExceeded { retry_after: (*oldest + MINUTE).saturating_duration_since(now) })
            }
            _ => {
                times.push_back(now);
                Ok(())
            }
        }
    }
}

impl MessageCounts {
    /// Counts a message on a call of this caller; returns whether the limit allows it.
    pub(crate) fn take(&self, caller: &PhoneNumber, limit: Option<u32>, now: Instant) -> bool {
        let Some(limit) = limit else { return true };
        let mut callers = lock(&self.0);
        if callers.len() >= MAX_CALLERS && !callers.contains_key(caller) {
            remove_expired(&mut callers, now);
            if callers.len() >= MAX_CALLERS {
                return false;
            }
        }
        let times = callers.entry(caller.clone()).or_default();
        forget_before(times, HOUR, now);
        let is_allowed = times.len() < limit as usize;
        if is_allowed {
            times.push_back(now);
        }
        is_allowed
    }

    /// Forgets the callers without a message within the last hour.
    pub(crate) fn remove_expired(&self, now: Instant) {
        remove_expired(&mut lock(&self.0), now);
    }
}

fn remove_expired(callers: &mut HashMap<PhoneNumber, VecDeque<Instant>>, now: Instant) {
    callers.retain(|_, times| times.back().is_some_and(|newest| now < *newest + HOUR));
}

fn forget_before(times: &mut VecDeque<Instant>, window: Duration, now: Instant) {
    while times.front().is_some_and(|oldest| *oldest + window <= now) {
        times.pop_front();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_counted_within_a_minute() {
        let (orders, start) = (OrderRate::new(2), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(orders.take(start), Ok(()));
        assert_eq!(orders.take(after(20)), Ok(()));
        let refused = |seconds| Err(OrderRateExceeded { retry_after: Duration::from_secs(seconds) });
        assert_eq!(orders.take(after(25)), refused(35));
        assert_eq!(orders.take(after(59)), refused(1));
        assert_eq!(orders.take(after(60)), Ok(()));
        assert_eq!(orders.take(after(61)), refused(19));
    }

    #[test]
    fn messages_are_counted_for_each_caller_within_an_hour() {
        let (messages, start) = (MessageCounts::default(), Instant::now());
        let [ann, bob] = ["+15550100001", "+15550100003"].map(|number| number.parse::<PhoneNumber>().unwrap());
        let after = |minutes: u64| start + Duration::from_secs(60 * minutes);
        assert!((0..10).all(|minute| messages.take(&ann, Some(10), after(minute))));
        assert!((10..60).all(|minute| !messages.take(&ann, Some(10), after(minute))));
        assert!(messages.take(&bob, Some(10), after(30)));
        assert!(messages.take(&ann, None, after(30)), "without a limit");
        assert!(messages.take(&ann, Some(10), after(60)));
        assert!(!messages.take(&ann, Some(10), after(60)));
        messages.remove_expired(after(119));
        assert_eq!(lock(&messages.0).len(), 1, "ann's last is an hour old a minute later");
    }
}
