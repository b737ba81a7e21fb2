//! What a tool, or other work for a call, asks Twilio's REST API for, and how long it waits. The tools need not know that this is measured.

use std::cell::RefCell;
use std::future::Future;
use std::time::{Duration, Instant};

use super::metrics::{TwilioOperation, TwilioResult};

/// The maximum number of attempts that are kept of one tool.
const MAX_ATTEMPTS: usize = 32;

tokio::task_local! {
    static TWILIO_WORK: RefCell<TwilioWork>;
}

/// The requests to Twilio's REST API within a piece of work.
#[derive(Debug, Clone, Default)]
pub(crate) struct TwilioWork {
    /// How long they took, with the waits between attempts.
    pub(crate) time: Duration,
    /// The first [`MAX_ATTEMPTS`] attempts.
    pub(crate) attempts: Vec<TwilioAttempt>,
}

/// An attempt of a request to Twilio's REST API.
#[derive(Debug, Clone)]
pub(crate) struct TwilioAttempt {
    /// What was asked for.
    pub(crate) operation: TwilioOperation,
    /// The number of the attempt, from 1.
    pub(crate) number: usize,
    /// When it was started.
    pub(crate) started: Instant,
    /// When the response was there, or was given up.
    pub(crate) finished: Instant,
    /// How Twilio answered.
    pub(crate) result: TwilioResult,
    /// Twilio's identifier of the request, for its support; bounded.
    pub(crate) request_id: Option<String>,
}

impl TwilioWork {
    /// Twilio's identifier of the last request, if that has failed.
    pub(crate) fn failed_request_id(&self) -> Option<&str> {
        let last = self.attempts.last()?;
        last.request_id.as_deref().filter(|_| last.result.is_some_and(|(status, _)| status >= 400))
    }
}

/// Runs `work`, and returns its output and the requests to Twilio within it.
pub(crate) async fn measure_twilio_work<F: Future>(work: F) -> (F::Output, TwilioWork) {
    let measured = async { (work.await, TWILIO_WORK.with(RefCell::take)) };
    TWILIO_WORK.scope(RefCell::default(), measured).await
}

/// Adds the time of a request to Twilio. Outside of [`measure_twilio_work`] it has no effect.
pub(super) fn add_twilio_time(took: Duration) {
    let _ = TWILIO_WORK.try_with(|work| work.borrow_mut().time += took);
}

/// Adds an attempt of such a request. Outside of [`measure_twilio_work`] it has no effect.
pub(super) fn add_twilio_attempt(attempt: TwilioAttempt) {
    let _ = TWILIO_WORK.try_with(|work| {
        let attempts = &mut work.borrow_mut().attempts;
        if attempts.len() < MAX_ATTEMPTS {
            attempts.push(attempt);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_asked_for_within_the_work_counts() {
        let (second, now) = (Duration::from_secs(1), tokio::time::Instant::now().into_std());
        let attempt = |number| TwilioAttempt {
            operation: TwilioOperation::CreatePayment,
            number,
            started: now,
            finished: now,
            result: None,
            request_id: None,
        };
        let work = async |attempts| {
            for number in 1..=attempts {
                add_twilio_attempt(attempt(number));
                add_twilio_time(second);
            }
            7
        };
        work(1).await;
        let (output, measured) = measure_twilio_work(work(40)).await;
        assert_eq!((output, measured.time, measured.attempts.len()), (7, 40 * second, MAX_ATTEMPTS));
        assert!(measured.attempts.iter().map(|attempt| attempt.number).eq(1..=MAX_ATTEMPTS));
        let ((), measured) = measure_twilio_work(async {}).await;
        assert!(measured.time.is_zero() && measured.attempts.is_empty());
    }
}
