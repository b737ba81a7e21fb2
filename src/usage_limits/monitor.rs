//! Counts what limits have refused, and logs it: of each limit one line a minute.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;
use tracing::warn;

use super::UsageLimit;
use crate::log_limit::LogLimiter;

/// Counts and logs refusals since the server was started.
#[derive(Debug, Default)]
pub(crate) struct UsageMonitor {
    refused: [AtomicU64; UsageLimit::ALL.len()],
    log: LogLimiter,
}

impl UsageMonitor {
    /// Counts a refusal, and logs it unless one of this limit was logged within the last minute.
    pub(crate) fn report(&self, limit: UsageLimit) {
        for (known, count) in UsageLimit::ALL.iter().zip(&self.refused) {
            if *known == limit {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(left_out) = self.log.admit(limit.name(), Instant::now()) {
            write(limit.name(), left_out);
        }
    }

    /// Logs the refusals that were left out of the log and that no later one has brought there.
    pub(crate) fn report_left_out(&self) {
        for (limit, left_out) in self.log.take_due(Instant::now()) {
            write(limit, left_out);
        }
    }

    /// Returns the limits that have refused something, and how often.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        UsageLimit::ALL.iter().map(|limit| limit.name()).zip(counts).filter(|(_, count)| *count > 0)
    }
}

fn write(limit: &'static str, left_out: u64) {
    warn!(event = "limit.exceeded", limit, left_out, "A limit has refused something; what runs already goes on.");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::captured_log::CapturedLog;

    #[tokio::test(start_paused = true)]
    async fn refusals_are_counted_and_logged_once_a_minute() {
        let (monitor, log) = (UsageMonitor::default(), CapturedLog::start());
        assert_eq!(monitor.refusals().count(), 0);
        for _ in 0..200 {
            monitor.report(UsageLimit::OrdersPerMinute);
        }
        monitor.report(UsageLimit::Calls);
        assert_eq!(monitor.refusals().collect::<Vec<_>>(), [("calls", 1), ("OUTBOUND_PER_MINUTE", 200)]);
        assert_eq!(log.count_events("WARN", "limit.exceeded"), 2);
        monitor.report_left_out();
        assert_eq!(log.count_events("WARN", "limit.exceeded"), 2);
        tokio::time::advance(Duration::from_secs(60)).await;
        monitor.report_left_out();
        assert_eq!(log.count_events("WARN", "limit.exceeded"), 3);
    }
}
