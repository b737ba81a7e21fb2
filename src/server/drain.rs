//! Stopping: live calls may finish within the drain time, and then everything ends within [`STOP_TIMEOUT`].

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::Shutdown;
use crate::session::CallRegistry;

/// The time after the drain time, or after the hard stop, in which the server ends, whatever is open.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a draining server keeps listening after a call came in or ended: Twilio may still open the socket or
/// request the `<Connect>` action.
const POST_CALL_LINGER: Duration = Duration::from_secs(5);

/// When calls that have not ended by themselves at the end of the drain time are ended.
const END_CALLS_AFTER: Duration = Duration::from_secs(2);

/// When the tasks of ended calls, such as the cancellation of a payment, are no longer waited for.
const LEAVE_CALLS_AFTER: Duration = Duration::from_secs(3);

/// How long open requests may take once no call is live. Those that take longer are half-open or hang.
const REQUEST_GRACE: Duration = Duration::from_secs(1);

/// When open requests are cut at the latest.
const CUT_REQUESTS_AFTER: Duration = Duration::from_millis(3500);

/// When buffered records of a ledger that cannot be written are lost.
const LEAVE_BUFFER_AFTER: Duration = Duration::from_millis(4300);

/// When the ledger is left as it is, which the next start repairs. The rest of [`STOP_TIMEOUT`] is for the runtime.
const LEAVE_LEDGER_AFTER: Duration = Duration::from_millis(4600);

/// The steps of a stop, as times after the end of the drain time or the hard stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct StopDeadlines {
    drained: Instant,
}

impl StopDeadlines {
    /// When open requests are cut, if no call is live now.
    pub(super) fn cut_requests_at(self) -> Instant {
        (self.drained + CUT_REQUESTS_AFTER).min(Instant::now() + REQUEST_GRACE)
    }

    /// When the buffered records of the ledger must be written.
    pub(super) fn leave_buffer_at(self) -> Instant {
        self.drained + LEAVE_BUFFER_AFTER
    }

    /// When the ledger must be closed.
    pub(super) fn leave_ledger_at(self) -> Instant {
        self.drained + LEAVE_LEDGER_AFTER
    }
}

/// Completes once a stopping server has no live calls, or their time is up. Until then the server keeps listening,
/// since Twilio must reach it for live calls.
pub(super) async fn wait_until_drained(
    calls: &CallRegistry,
    tasks: &TaskTracker,
    drain: Duration,
    shutdown: &Shutdown,
) -> StopDeadlines {
    tokio::select! {
        () = shutdown.soft.cancelled() => {}
        () = shutdown.hard.cancelled() => {}
    }
    shutdown.soft.cancel();
    tasks.close();
    info!(event = "server.draining", live_calls = calls.count(), "The server is stopping and accepts no new calls.");
    let mut deadlines = StopDeadlines { drained: Instant::now() + drain };
    tokio::select! {
        () = wait_for_calls(calls, tasks) => {}
        () = shutdown.hard.cancelled() => deadlines.drained = deadlines.drained.min(Instant::now()),
        () = sleep_until(deadlines.drained + END_CALLS_AFTER) => {
            // Without a task, only requests of Twilio after the last call were still waited for.
            let (live_calls, open_tasks) = (calls.count(), tasks.len());
            if live_calls > 0 {
                warn!(
                    event = "server.drain_timed_out",
                    live_calls, open_tasks, "Live calls did not finish in time; they are ended now."
                );
            } else if open_tasks > 0 {
                warn!(
                    event = "server.drain_timed_out",
                    live_calls,
                    open_tasks,
                    "No call is live, and sockets without a call, or requests and ledger records of ended calls, did not \
                     finish in time; they are ended now."
                );
            }
        }
    }
    shutdown.hard.cancel();
    if timeout_at(deadlines.drained + LEAVE_CALLS_AFTER, tasks.wait()).await.is_err() {
        let (live_calls, open_tasks) = (calls.count(), tasks.len());
        warn!(event = "server.stop_timed_out", live_calls, open_tasks, "What was cancelled did not end in time.");
    }
    deadlines
}

/// Completes when no call is live and none will come: Twilio has had time to open a socket for the last one.
async fn wait_for_calls(calls: &CallRegistry, tasks: &TaskTracker) {
    loop {
        tasks.wait().await;
        match calls.last_activity().map(|last_activity| last_activity + POST_CALL_LINGER) {
            Some(until) if until > Instant::now() => sleep_until(until).await,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured_log::CapturedLog;

    const DRAIN: Duration = Duration::from_mins(1);

    /// Stops a server with a task that never ends. Returns how long its calls were waited for, and the deadlines.
    async fn stop(hard_after: Option<Duration>) -> (Duration, StopDeadlines) {
        let (calls, tasks, shutdown) = (CallRegistry::default(), TaskTracker::new(), Shutdown::default());
        tasks.spawn(std::future::pending::<()>());
        let began = Instant::now();
        shutdown.soft.cancel();
        if let Some(after) = hard_after {
            let hard = shutdown.hard.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                hard.cancel();
            });
        }
        let deadlines = wait_until_drained(&calls, &tasks, DRAIN, &shutdown).await;
        (began.elapsed(), deadlines)
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_ends_is_left_three_seconds_after_the_drain_time() {
        let (began, log) = (Instant::now(), CapturedLog::start());
        let (waited, deadlines) = stop(None).await;
        assert_eq!(waited.as_secs(), 63);
        assert_eq!(log.count_events("No call is live, and sockets without a call", "server.drain_timed_out"), 1);
        assert!(deadlines.leave_ledger_at() < began + DRAIN + STOP_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hard_stop_does_not_wait_for_the_drain_time() {
        let began = Instant::now();
        let (waited, deadlines) = stop(Some(Duration::from_secs(10))).await;
        assert_eq!(waited.as_secs(), 13);
        assert!(deadlines.leave_ledger_at() < began + Duration::from_secs(10) + STOP_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_calls_stops_at_once() {
        let (calls, tasks, shutdown) = (CallRegistry::default(), TaskTracker::new(), Shutdown::default());
        let began = Instant::now();
        shutdown.soft.cancel();
        wait_until_drained(&calls, &tasks, DRAIN, &shutdown).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
