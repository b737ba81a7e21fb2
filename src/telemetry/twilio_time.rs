//! How long a tool waits for Twilio's REST API. The tools need not know that this is measured.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

tokio::task_local! {
    static TWILIO_TIME: Cell<Duration>;
}

/// Runs `work`, and returns its output and how long requests to Twilio within it took.
pub(crate) async fn measure_twilio_time<F: Future>(work: F) -> (F::Output, Duration) {
    let measured = async { (work.await, TWILIO_TIME.get().get()) };
    TWILIO_TIME.scope(Cell::default(), measured).await
}

/// Adds the time of a request to Twilio. Outside of [`measure_twilio_time`] it has no effect.
pub(crate) fn add_twilio_time(took: Duration) {
    let _ = TWILIO_TIME.try_with(|time| time.set(time.get() + took));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_time_within_the_work_counts() {
        let second = Duration::from_secs(1);
        add_twilio_time(second);
        let work = async || {
            add_twilio_time(second);
            add_twilio_time(second);
            7
        };
        assert_eq!(measure_twilio_time(work()).await, (7, 2 * second));
        assert_eq!(measure_twilio_time(async {}).await, ((), Duration::ZERO));
    }
}
