//! What a workload measures: latencies as HDR histograms, counts, and violations of the protocol.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use hdrhistogram::Histogram;

/// The longest latency that is told apart, in microseconds: a minute.
const MAX_MICROS: u64 = 60_000_000;

/// The number of violations that are kept in words.
const KEPT_VIOLATIONS: usize = 10;

/// What is measured as a latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Span {
    /// From the caller's prompt on the socket to the whole request at the model.
    PromptToRequest,
    /// From a token that the model sends to the frame with its last letter.
    TokenToFrame,
    /// From the last event of an answer that calls a tool to the next request at the model, less the time that Twilio took.
    ToolTurn,
    /// From a payment callback to the response to it.
    CallbackToAnswer,
    /// From the callback about a complete field to the next words for the caller.
    FieldToWords,
    /// From a voice webhook to the TwiML.
    WebhookToTwiml,
}

impl Span {
    /// The name in the table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::PromptToRequest => "prompt → model request",
            Self::TokenToFrame => "model token → frame",
            Self::ToolTurn => "tool turn",
            Self::CallbackToAnswer => "callback → answer",
            Self::FieldToWords => "field complete → next words",
            Self::WebhookToTwiml => "voice webhook → TwiML",
        }
    }

    /// The name in the saved results.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::PromptToRequest => "prompt_to_request",
            Self::TokenToFrame => "token_to_frame",
            Self::ToolTurn => "tool_turn",
            Self::CallbackToAnswer => "callback_to_answer",
            Self::FieldToWords => "field_to_words",
            Self::WebhookToTwiml => "webhook_to_twiml",
        }
    }
}

/// The measurements of a workload, shared by everything that takes part in it.
#[derive(Debug, Default)]
pub(super) struct Measurements {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing counts before.
    is_measuring: bool,
    latencies: BTreeMap<Span, Histogram<u64>>,
    turns: u64,
    requests: u64,
    violations: Vec<String>,
    violation_count: usize,
}

impl Measurements {
    /// Forgets what was measured, and measures from now on.
    pub(super) fn start(&self) {
        let mut state = self.lock();
        let violations = std::mem::take(&mut state.violations);
        *state = State { is_measuring: true, violation_count: state.violation_count, violations, ..State::default() };
    }

    /// Measures no more.
    pub(super) fn stop(&self) {
        self.lock().is_measuring = false;
    }

    /// Records a latency that ends now.
    pub(super) fn record_since(&self, span: Span, began: Instant) {
        self.record(span, began.elapsed());
    }

    /// Records a latency.
    pub(super) fn record(&self, span: Span, latency: Duration) {
        let mut state = self.lock();
        if !state.is_measuring {
            return;
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(MAX_MICROS).clamp(1, MAX_MICROS);
        let histogram = state.latencies.entry(span).or_insert_with(|| {
            Histogram::new_with_max(MAX_MICROS, 3).expect("the limits are those of the crate's documentation")
        });
        histogram.saturating_record(micros);
    }

    /// Counts a complete turn.
    pub(super) fn count_turn(&self) {
        let mut state = self.lock();
        state.turns += u64::from(state.is_measuring);
    }

    /// Counts a request to Twilio's REST API.
    pub(super) fn count_request(&self) {
        let mut state = self.lock();
        state.requests += u64::from(state.is_measuring);
    }

    /// The complete turns so far.
    pub(super) fn turns(&self) -> u64 {
        self.lock().turns
    }

    /// The requests to Twilio's REST API so far.
    pub(super) fn requests(&self) -> u64 {
        self.lock().requests
    }

    /// Records what the program under test must not do.
    pub(super) fn record_violation(&self, what: impl Into<String>) {
        let mut state = self.lock();
        state.violation_count += 1;
        if state.violations.len() < KEPT_VIOLATIONS {
            let what = what.into();
            state.violations.push(what);
        }
    }

    /// What the program under test must not have done: the number, and the first of them in words.
    pub(super) fn violations(&self) -> (usize, Vec<String>) {
        let state = self.lock();
        (state.violation_count, state.violations.clone())
    }

    /// A latency at a quantile, in milliseconds. `None` if nothing was measured.
    pub(super) fn quantile(&self, span: Span, quantile: f64) -> Option<f64> {
        let state = self.lock();
        let histogram = state.latencies.get(&span).filter(|histogram| !histogram.is_empty())?;
        #[expect(clippy::cast_precision_loss, reason = "a minute in microseconds is exact in a float")]
        Some(histogram.value_at_quantile(quantile) as f64 / 1000.0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_start_and_after_the_stop_does_not_count() {
        let measured = Measurements::default();
        measured.record(Span::TokenToFrame, Duration::from_millis(500));
        measured.count_turn();
        measured.start();
        measured.record(Span::TokenToFrame, Duration::from_millis(2));
        measured.record(Span::TokenToFrame, Duration::from_millis(4));
        measured.count_turn();
        measured.stop();
        measured.record(Span::TokenToFrame, Duration::from_millis(900));
        measured.count_turn();
        assert_eq!(measured.turns(), 1);
        let near =
            |quantile: f64, ms: f64| (measured.quantile(Span::TokenToFrame, quantile).unwrap() - ms).abs() < ms / 100.0;
        assert!(near(0.5, 2.0) && near(1.0, 4.0));
        assert_eq!(measured.quantile(Span::ToolTurn, 0.5), None);
    }

    #[test]
    fn violations_are_counted_in_full_and_kept_in_part() {
        let measured = Measurements::default();
        (0..100).for_each(|number| measured.record_violation(format!("violation {number}")));
        measured.start();
        let (count, kept) = measured.violations();
        assert_eq!((count, kept.len()), (100, KEPT_VIOLATIONS));
    }
}
