//! What is measured: each fact enters the [`Telemetry`] hub once, and goes from there to the log and to whatever else
//! shows it.
//!
//! Records are plain data. They have durations, counts and words of closed sets, and nothing of what was said.
//!
#![doc = include_str!("telemetry/README.md")]

mod call;
mod cost;
mod last_hour;
mod turn;
mod twilio_time;

pub(crate) use call::{CallRecord, CallTotals, PaymentEnd};
pub use cost::{Cost, ModelPrices, PriceTable};
pub(crate) use last_hour::{LastHour, MinuteLatency};
pub(crate) use turn::{ToolSpan, TurnRecord, TurnRecorder};
pub(crate) use twilio_time::{add_twilio_time, measure_twilio_time};

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tracing::info;

/// How many records a subscriber may be behind. Older ones are dropped for it.
const SUBSCRIBER_BACKLOG: usize = 1024;

/// The hub of all measurements. Shared by everything that measures; recording never blocks.
#[derive(Debug)]
pub struct Telemetry {
    prices: Option<ModelPrices>,
    records: broadcast::Sender<TelemetryRecord>,
    last_hour: LastHour,
}

/// A record, for those who subscribe to all of them.
#[derive(Debug, Clone)]
#[cfg_attr(not(test), expect(dead_code, reason = "nothing subscribes yet"))]
pub(crate) enum TelemetryRecord {
    /// A turn has ended.
    Turn(Arc<TurnRecord>),
    /// A call has ended.
    Call(Arc<CallRecord>),
}

impl Telemetry {
    /// Creates the hub. With `prices` each turn has a cost.
    pub fn new(prices: Option<ModelPrices>) -> Self {
        Self { prices, records: broadcast::Sender::new(SUBSCRIBER_BACKLOG), last_hour: LastHour::default() }
    }

    /// The prices of the model in use, if they are known.
    pub(crate) fn prices(&self) -> Option<ModelPrices> {
        self.prices
    }

    /// How long callers waited within the last hour.
    pub(crate) fn last_hour(&self) -> &LastHour {
        &self.last_hour
    }

    /// Returns a receiver of all records from now on. One that falls behind loses the oldest, and delays nobody.
    #[cfg_attr(not(test), expect(dead_code, reason = "nothing subscribes yet"))]
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<TelemetryRecord> {
        self.records.subscribe()
    }

    /// Records a turn that has ended. The caller's span names the call.
    pub(crate) fn record_turn(&self, turn: TurnRecord) {
        let usage = turn.usage();
        info!(
            event = "turn.finished",
            turn = turn.number,
            trigger = turn.trigger.as_str(),
            end = turn.end.as_str(),
            request_ms = turn.request_sent().map(milliseconds),
            first_token_ms = turn.first_token().map(milliseconds),
            first_frame_ms = turn.first_frame.map(milliseconds),
            last_frame_ms = turn.last_frame.map(milliseconds),
            speaking_ms = turn.speaking.map(milliseconds),
            requests = turn.responses.len(),
            attempts = turn.attempts(),
            tools = turn.tools.len(),
            tool_ms = milliseconds(turn.tool_time()),
            twilio_ms = milliseconds(turn.twilio_time()),
            input_tokens = usage.input,
            cached_tokens = usage.cached,
            output_tokens = usage.output,
            cost_usd = turn.cost.map(tracing::field::display),
            "A turn of the agent has ended."
        );
        self.last_hour.record(&turn);
        self.publish(|| TelemetryRecord::Turn(Arc::new(turn)));
    }

    /// Records a call that has ended. The caller's span names the call.
    pub(crate) fn record_call(&self, call: CallRecord, live_calls: usize) {
        let totals = &call.totals;
        info!(
            event = "call.ended",
            live_calls,
            seconds = call.duration.as_secs(),
            end = call.end,
            reason = call.reason,
            outbound = call.outbound,
            turns = totals.turns,
            interrupted = totals.interrupted,
            resumes = totals.resumes,
            model_ms = milliseconds(totals.model_time),
            tool_ms = milliseconds(totals.tool_time),
            twilio_ms = milliseconds(totals.twilio_time),
            input_tokens = totals.usage.input,
            cached_tokens = totals.usage.cached,
            output_tokens = totals.usage.output,
            cost_usd = totals.cost.map(tracing::field::display),
            payments = totals.payments,
            payment = totals.payment.map(PaymentEnd::as_str),
            wrong_entries = totals.wrong_entries,
            "The call has ended."
        );
        self.publish(|| TelemetryRecord::Call(Arc::new(call)));
    }

    fn publish(&self, record: impl FnOnce() -> TelemetryRecord) {
        if self.records.receiver_count() > 0 {
            // Fails only if the last subscriber has just left.
            let _ = self.records.send(record());
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new(None)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::call::{Action, AgentState, CallEvent};
    use crate::captured_log::CapturedLog;
    use crate::relay::OutgoingFrame;

    #[test]
    fn a_turn_and_a_call_are_one_line_each_and_reach_whoever_subscribes() {
        let (log, telemetry) = (CapturedLog::start(), Telemetry::default());
        let (now, began_at) = (Instant::now().into_std(), jiff::Timestamp::UNIX_EPOCH);
        let mut turns = TurnRecorder::new("CA1".parse().unwrap(), now, began_at, None);
        turns.record_event(&CallEvent::Tick, now);
        turns.record_action(&Action::SendFrame(OutgoingFrame::utterance("secret")), now);
        let turn = turns.record_state(AgentState::Idle, now).unwrap();
        telemetry.record_turn(turn.clone());
        let mut records = telemetry.subscribe();
        telemetry.record_turn(turn);
        telemetry.record_call(
            CallRecord {
                call_sid: "CA1".parse().unwrap(),
                outbound: false,
                began_at,
                duration: Duration::from_secs(9),
                end: "call_ended",
                reason: "caller-hung-up",
                totals: turns.into_totals(),
            },
            0,
        );
        assert_eq!(log.count_events("first_frame_ms=0", "turn.finished"), 2);
        assert_eq!(log.count_events("seconds=9", "call.ended"), 1);
        assert_eq!(log.count_events("secret", "turn.finished"), 0);
        let Ok(TelemetryRecord::Turn(turn)) = records.try_recv() else { panic!("no turn") };
        assert_eq!((turn.call_sid.as_str(), turn.began_at), ("CA1", began_at));
        let Ok(TelemetryRecord::Call(call)) = records.try_recv() else { panic!("no call") };
        assert_eq!((call.call_sid.as_str(), call.totals.turns, call.began_at), ("CA1", 1, began_at));
    }
}
