//! Counts what limits have refused, and logs it: of each limit one line a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;
use tracing::warn;

use super::UsageLimit;
use crate::log_limit::LogLimiter;

/// Counts and logs refusals since the server was started.
#[derive(Debug)]
pub(crate) struct UsageMonitor {
    refused: [AtomicU64; UsageLimit::ALL.len()],
    log_limiter: Arc<LogLimiter>,
}

impl UsageMonitor {
    pub(crate) fn new(log_limiter: Arc<LogLimiter>) -> Self {
        Self { refused: Default::default(), log_limiter }
    }

    /// Counts a refusal, and logs it unless one of this limit was logged within the last minute.
    pub(crate) fn report(&self, limit: UsageLimit) {
        for (known, count) in UsageLimit::ALL.iter().zip(&self.refused) {
            if *known == limit {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        let limit = limit.name();
        if let Some(left_out) = self.log_limiter.admit("limit.exceeded", limit, Instant::now()) {
            warn!(
                event = "limit.exceeded",
                limit, left_out, "A limit has refused something; what runs already goes on."
            );
        }
    }

    /// Returns the limits that have refused something, and how often.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        UsageLimit::ALL.iter().map(|limit| limit.name()).zip(counts).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::captured_log::CapturedLog;

    #[tokio::test(start_paused = true)]
    async fn refusals_are_counted_and_logged_once_a_minute() {
        let limiter = Arc::<LogLimiter>::default();
        let (monitor, log) = (UsageMonitor::new(limiter.clone()), CapturedLog::start());
        assert_eq!(monitor.refusals().count(), 0);
        for _ in 0..200 {
            monitor.report(UsageLimit::OrdersPerMinute);
        }
        monitor.report(UsageLimit::Calls);
        assert_eq!(monitor.refusals().collect::<Vec<_>>(), [("calls", 1), ("OUTBOUND_PER_MINUTE", 200)]);
        assert_eq!(log.count_events("WARN", "limit.exceeded"), 2);
        limiter.report_left_out(Instant::now());
        assert_eq!(log.count_events("WARN", "log.repeated"), 0);
        tokio::time::advance(Duration::from_secs(60)).await;
        limiter.report_left_out(Instant::now());
        assert_eq!(log.count_events("WARN", "log.repeated"), 1, "one limit was exceeded once only");
    }
}
