//! One timer for all deadlines of a task.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Until a deadline is set.
const NEVER: Duration = Duration::from_hours(24);

/// Waits for a deadline that moves with nearly every event, mostly further away. Only an earlier one touches the runtime's
/// timers: otherwise the timer fires too early once, and is set again.
#[derive(Debug)]
pub(crate) struct DeadlineTimer(Pin<Box<Sleep>>);

impl DeadlineTimer {
    /// Creates a timer without a deadline, on the runtime of this task.
    pub(crate) fn new() -> Self {
        Self(Box::pin(sleep(NEVER)))
    }

    /// Waits until the deadline; without one, for ever. May be cancelled and called again with another deadline.
    pub(crate) async fn wait_until(&mut self, deadline: Option<Instant>) {
        match deadline {
            Some(deadline) => poll_fn(|context| self.poll(deadline, context)).await,
            None => std::future::pending().await,
        }
    }

    /// Waits for a future until the deadline. `None` if that comes first.
    pub(crate) async fn limit<T>(&mut self, deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            value = future => Some(value),
            () = self.wait_until(Some(deadline)) => None,
        }
    }

    /// Polls for the deadline, which may be another one each time.
    pub(crate) fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        if deadline < self.0.deadline() {
            self.0.as_mut().reset(deadline);
        }
        while self.0.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test(start_paused = true)]
    async fn the_latest_deadline_counts_whether_it_moved_nearer_or_further_away() {
        let (mut timer, start) = (DeadlineTimer::new(), Instant::now());
        let at = |seconds| Some(start + Duration::from_secs(seconds));
        assert!(timer.wait_until(at(10)).now_or_never().is_none());
        assert!(timer.wait_until(at(5)).now_or_never().is_none());
        timer.wait_until(at(20)).await;
        assert_eq!(start.elapsed().as_secs(), 20);
        timer.wait_until(at(7)).await;
        assert_eq!(start.elapsed().as_secs(), 20, "a deadline that has passed does not wait");
        timer.wait_until(at(30)).await;
        assert_eq!(start.elapsed().as_secs(), 30);
        assert!(timer.wait_until(None).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_at_the_deadline_counts() {
        let (mut timer, start) = (DeadlineTimer::new(), Instant::now());
        let wait = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        assert_eq!(timer.limit(start, std::future::ready(1)).await, Some(1));
        assert_eq!(timer.limit(start + Duration::from_secs(5), wait(3)).await, Some(()));
        assert_eq!(timer.limit(start + Duration::from_secs(9), wait(60)).await, None);
        assert_eq!(start.elapsed().as_secs(), 9);
    }
}
