//! What is measured: each fact enters the [`Telemetry`] hub once, and goes from there to the log and to whatever else
//! shows it.
//!
//! Records are plain data. They have durations, counts and words of closed sets, and nothing of what was said. Whoever
//! measures reports to the hub, which knows nobody that does: the recorder of turns is in `session/`.
//!
#![doc = include_str!("telemetry/README.md")]

mod call;
mod cost;
mod last_hour;
mod metrics;
mod otlp;
mod traces;
mod turn;
mod twilio_work;

use call::CallWork;
pub(crate) use call::{CallRecord, CallTotals, ChatRecord, LateTool, PaymentEnd};
pub use cost::Cost;
pub(crate) use last_hour::{LastHour, MinuteLatency};
#[cfg(any(feature = "simulator", test))]
pub(crate) use metrics::find_foreign_sample;
pub(crate) use metrics::{
    CONTENT_TYPE, ClaimEvent, ForwardResult, ModelFailure, Snapshot, ToolResult, TwilioOperation, TwilioResult,
    WebhookRefusal,
};
pub(crate) use otlp::TraceExporter;
pub(crate) use traces::{ModelPeer, Peer, TraceBuilder};
pub(crate) use turn::{
    ModelOutage, ResponseReport, ResponseSpan, TokenUsage, ToolSpan, TurnEnd, TurnRecord, TurnTrigger,
};
pub(crate) use twilio_work::{TwilioAttempt, TwilioWork, measure_twilio_work};
use twilio_work::{add_twilio_attempt, add_twilio_time};

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::broadcast;
use tracing::{info, warn};

use crate::config::ModelPrices;
use crate::ids::CallSid;
use crate::payment::{CallbackKind, PaymentLogEntry, PaymentState};
use metrics::Metrics;

/// How many records a subscriber may be behind. Older ones are dropped for it.
const SUBSCRIBER_BACKLOG: usize = 1024;

/// A time that stands for none.
const UNANNOUNCED: i64 = i64::MAX;

/// The log lines that were dropped since the process began. Like standard error, it belongs to the process.
static DROPPED_LOG_LINES: AtomicU64 = AtomicU64::new(0);

/// Counts log lines that were dropped, since nobody read them in time.
pub fn count_dropped_log_lines(lines: u64) {
    DROPPED_LOG_LINES.fetch_add(lines, Ordering::Relaxed);
}

/// The hub of all measurements. Shared by everything that measures; recording never blocks.
#[derive(Debug)]
pub struct Telemetry {
    prices: Option<ModelPrices>,
    metrics: Metrics,
    /// What the tokens of all turns cost, in 10⁻¹² dollars.
    cost: AtomicU64,
    /// When the model is switched off, in seconds since 1970; [`UNANNOUNCED`] if that is not known.
    shutdown: AtomicI64,
    records: broadcast::Sender<TelemetryRecord>,
    last_hour: LastHour,
}

/// The place of the hub in what is built before it or without it. Clones share it; an empty one measures nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct TelemetrySlot(Arc<OnceLock<Arc<Telemetry>>>);

impl TelemetrySlot {
    /// Puts the hub there, unless there is one.
    pub(crate) fn set(&self, telemetry: &Arc<Telemetry>) {
        let _ = self.0.set(telemetry.clone());
    }

    /// Records something, if there is a hub.
    pub(crate) fn record(&self, record: impl FnOnce(&Telemetry)) {
        if let Some(telemetry) = self.0.get() {
            record(telemetry);
        }
    }
}

/// A record, for those who subscribe to all of them.
#[derive(Debug, Clone)]
pub(crate) enum TelemetryRecord {
    /// A turn has ended.
    Turn(Arc<TurnRecord>),
    /// A call has ended.
    Call(Arc<CallRecord>),
    /// A chat has ended.
    Chat(Arc<ChatRecord>),
    /// A tool has finished outside of a turn.
    Tool(Arc<LateTool>),
    /// Twilio was asked for something on behalf of a call, outside of its tools.
    Twilio(Arc<CallWork>),
}

impl Telemetry {
    /// Creates the hub. With `prices` each turn has a cost; `tools` are the names of the server's own tools.
    pub fn new(prices: Option<ModelPrices>, tools: &[&'static str]) -> Self {
        Self {
            prices,
            metrics: Metrics::new(tools),
            cost: AtomicU64::new(0),
            shutdown: AtomicI64::new(UNANNOUNCED),
            records: broadcast::Sender::new(SUBSCRIBER_BACKLOG),
            last_hour: LastHour::default(),
        }
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
        self.metrics.calls.record_turn(&turn);
        let cost = turn.cost.map_or(0, Cost::picodollars);
        self.cost.fetch_add(cost, Ordering::Relaxed);
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
        self.metrics.calls.record_call(&call);
        self.publish(|| TelemetryRecord::Call(Arc::new(call)));
    }

    /// Records a chat that has ended. The chat's span names it.
    pub(crate) fn record_chat(&self, chat: ChatRecord) {
        let totals = &chat.totals;
        info!(
            event = "chat.ended",
            seconds = chat.duration.as_secs(),
            turns = totals.turns,
            interrupted = totals.interrupted,
            model_ms = milliseconds(totals.model_time),
            tool_ms = milliseconds(totals.tool_time),
            input_tokens = totals.usage.input,
            cached_tokens = totals.usage.cached,
            output_tokens = totals.usage.output,
            cost_usd = totals.cost.map(tracing::field::display),
            "The chat has ended."
        );
        self.publish(|| TelemetryRecord::Chat(Arc::new(chat)));
    }

    /// Records an answer that the model did not give, and what the caller hears in its place. `request_id` is OpenAI's
    /// identifier of the request.
    pub(crate) fn record_outage(&self, outage: ModelOutage, request_id: Option<&str>) {
        match outage {
            ModelOutage::Apology(reason) => {
                warn!(
                    event = "call.apology",
                    reason, request_id, "The model gave no answer; the server speaks in its place."
                );
            }
            ModelOutage::HandOff(reason) => {
                warn!(
                    event = "call.model_given_up",
                    reason, request_id, "The model gives no answer; the call goes to a person."
                );
            }
        }
        self.metrics.calls.record_outage(outage);
    }

    /// Counts a failed request to the model's server. Its log line says more.
    pub(crate) fn record_model_failure(&self, failure: ModelFailure, is_repeated: bool) {
        self.metrics.services.record_model_failure(failure, is_repeated);
    }

    /// Keeps the day on which the model is switched off; `None` if that is not announced.
    pub(crate) fn record_shutdown(&self, date: Option<Date>) {
        let begin = date.and_then(|date| date.to_zoned(TimeZone::UTC).ok());
        self.shutdown.store(begin.map_or(UNANNOUNCED, |begin| begin.timestamp().as_second()), Ordering::Relaxed);
    }

    /// Records that the model has called a tool: one of the server's own, or `None`.
    pub(crate) fn record_tool_call(&self, tool: Option<&'static str>) {
        if let Some(tool) = tool {
            info!(event = "session.tool_called", tool, "The model has called a tool.");
        }
        self.metrics.services.record_tool_call(tool.unwrap_or("business"));
    }

    /// Counts a request in the name of Twilio that was refused.
    pub(crate) fn record_refused_webhook(&self, reason: WebhookRefusal) {
        self.metrics.services.record_refused_webhook(reason);
    }

    /// Counts a tool that has finished.
    pub(crate) fn record_tool(&self, tool: &ToolSpan) {
        self.metrics.services.record_tool(tool);
    }

    /// Records a tool that belongs to no turn. It was counted when it had finished.
    pub(crate) fn record_late_tool(&self, tool: LateTool) {
        self.publish(|| TelemetryRecord::Tool(Arc::new(tool)));
    }

    /// Records what was asked of Twilio for a call outside of its tools. Each attempt was counted.
    pub(crate) fn record_twilio_work(&self, call_sid: &CallSid, work: TwilioWork) {
        let recorded = (tokio::time::Instant::now().into_std(), Timestamp::now());
        self.publish(|| TelemetryRecord::Twilio(Arc::new(CallWork { call_sid: call_sid.clone(), recorded, work })));
    }

    /// Records an attempt of a request to Twilio's REST API.
    pub(crate) fn record_twilio_attempt(&self, attempt: TwilioAttempt) {
        self.metrics.services.record_twilio_attempt(attempt.operation, attempt.result);
        add_twilio_attempt(attempt);
    }

    /// Records how long a request to Twilio's REST API took, with all its attempts.
    pub(crate) fn record_twilio_request(&self, operation: TwilioOperation, took: Duration) {
        add_twilio_time(took);
        self.metrics.services.record_twilio_request(operation, took);
    }

    /// Records how long a write transaction of the ledger took.
    pub(crate) fn record_ledger_write(&self, took: Duration) {
        self.metrics.services.record_ledger_write(took);
    }

    /// Records what became of a request that was sent on to another server.
    pub(crate) fn record_forward(&self, result: ForwardResult, took: Duration) {
        self.metrics.fleet.record_forward(result, took);
    }

    /// Counts a call that this server has got or lost.
    pub(crate) fn record_claim(&self, event: ClaimEvent) {
        self.metrics.fleet.record_claim(event);
    }

    /// Counts a payment that has reached this state in the ledger.
    pub(crate) fn record_payment_state(&self, state: PaymentState) {
        self.metrics.payments.record_state(state);
    }

    /// Counts a step of a payment on a call.
    pub(crate) fn record_payment_step(&self, entry: &PaymentLogEntry) {
        self.metrics.payments.record_step(entry);
    }

    /// Counts a payment status callback.
    pub(crate) fn record_callback(&self, kind: &CallbackKind) {
        self.metrics.payments.record_callback(kind);
    }

    /// Records how long it took to answer a payment status callback.
    pub(crate) fn record_callback_answer(&self, took: Duration) {
        self.metrics.payments.record_callback_answer(took);
    }

    /// Counts a payment request that a velocity limit of this name stopped.
    pub(crate) fn record_velocity_limit(&self, limit: &'static str) {
        self.metrics.payments.record_limit(limit);
    }

    /// Counts spans that the collector has taken.
    pub(crate) fn record_exported_spans(&self, spans: u64) {
        self.metrics.services.record_spans("exported", spans);
    }

    /// Counts spans that are lost.
    pub(crate) fn record_dropped_spans(&self, spans: u64) {
        self.metrics.services.record_spans("dropped", spans);
    }

    /// Writes all metrics in Prometheus's text format. `snapshot` has what others know; the rest of it is filled in.
    pub(crate) fn metrics_text(&self, mut snapshot: Snapshot) -> String {
        snapshot.dropped_lines = DROPPED_LOG_LINES.load(Ordering::Relaxed);
        snapshot.cost = Cost::from_picodollars(self.cost.load(Ordering::Relaxed));
        let shutdown = self.shutdown.load(Ordering::Relaxed);
        snapshot.shutdown = (shutdown != UNANNOUNCED).then_some(shutdown);
        self.metrics.to_text(&snapshot)
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
        Self::new(None, &[])
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::captured_log::CapturedLog;

    #[test]
    fn a_turn_and_a_call_are_one_line_each_and_reach_whoever_subscribes() {
        let (log, telemetry) = (CapturedLog::start(), Telemetry::default());
        let began_at = jiff::Timestamp::UNIX_EPOCH;
        let turn = TurnRecord::sample(began_at + Duration::from_millis(7), Duration::ZERO, Duration::from_millis(7));
        let mut totals = CallTotals::default();
        totals.add_turn(&turn);
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
                is_handed_off: false,
                totals,
            },
            0,
        );
        assert_eq!(log.count_events("first_frame_ms=7", "turn.finished"), 2);
        assert_eq!(log.count_events("seconds=9", "call.ended"), 1);
        let Ok(TelemetryRecord::Turn(turn)) = records.try_recv() else { panic!("no turn") };
        assert_eq!((turn.call_sid.as_str(), turn.began_at), ("CA1", began_at));
        let Ok(TelemetryRecord::Call(call)) = records.try_recv() else { panic!("no call") };
        assert_eq!((call.call_sid.as_str(), call.totals.turns, call.began_at), ("CA1", 1, began_at));
    }

    #[test]
    fn the_hub_uses_only_modules_below_it() {
        let map = include_str!("README.md").split_once("## The modules").unwrap().1;
        let names =
            map.lines().filter_map(|line| line.split([' ', '/', '.']).next()).skip_while(|name| *name != "telemetry");
        let below: BTreeSet<&str> = names.chain(["ids", "log_limit", "usage_limits"]).collect();
        for source in [
            include_str!("telemetry.rs"),
            include_str!("telemetry/call.rs"),
            include_str!("telemetry/cost.rs"),
            include_str!("telemetry/last_hour.rs"),
            include_str!("telemetry/metrics.rs"),
            include_str!("telemetry/metrics/calls.rs"),
            include_str!("telemetry/metrics/gauges.rs"),
            include_str!("telemetry/metrics/labels.rs"),
            include_str!("telemetry/metrics/payments.rs"),
            include_str!("telemetry/metrics/services.rs"),
            include_str!("telemetry/otlp.rs"),
            include_str!("telemetry/traces.rs"),
            include_str!("telemetry/turn.rs"),
            include_str!("telemetry/twilio_work.rs"),
        ] {
            let used = source.lines().filter_map(|line| line.strip_prefix("use crate::"));
            for module in used.filter_map(|path| path.split([':', ';']).next()) {
                assert!(below.contains(module), "{module}");
            }
        }
    }
}
