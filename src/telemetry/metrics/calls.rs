//! The metrics of calls and of the agent's turns.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::MetricConstructor as _;
use prometheus_client::metrics::histogram::Histogram;

use super::{Counters, HUMAN, Histograms, LATENCY, Registrar, count, observe};
use crate::payment::Field;
use crate::telemetry::{CallRecord, ModelOutage, TurnEnd, TurnRecord, TurnTrigger};

/// Why calls end, as `call.ended` has it.
pub(super) const REASONS: [&str; 13] = [
    "agent-ended",
    "agent-unavailable",
    "answering-machine",
    "caller-hung-up",
    "connection-lost",
    "hand-off",
    "model-unavailable",
    "payment-not-agreed",
    "payment-stalled",
    "server-failed",
    "server-stopped",
    "silence",
    "time-limit",
];

/// The parts of a turn.
pub(super) const SHARES: [&str; 6] = ["request", "model", "first_frame", "twilio_round_trip", "tools", "twilio_rest"];

#[derive(Debug)]
pub(in crate::telemetry) struct CallMetrics {
    ended: Counters<1>,
    handoffs: Counter,
    seconds: Histogram,
    resumes: Counter,
    turns: Counters<2>,
    shares: Histograms,
    responses: Counters<1>,
    tokens: Counters<1>,
    outages: Counters<1>,
    field_seconds: Histograms,
}

impl CallMetrics {
    pub(super) fn new(registrar: &mut Registrar<'_>) -> Self {
        let metrics = Self {
            ended: registrar.counters("calls_ended", "Calls that have ended, by why", "reason", &REASONS),
            handoffs: registrar.counter("call_handoffs", "Calls that ended with a person taking over"),
            seconds: registrar.add("call_seconds", "The length of calls", HUMAN.new_metric()),
            resumes: registrar.counter("call_resumes", "New sockets that took over a call whose socket had failed"),
            turns: registrar.add(
                "turns",
                "Turns of the agent, by what it responded to and by how they ended",
                Counters::default(),
            ),
            shares: registrar.histograms(
                "turn_share_seconds",
                "What the time of turns went into",
                LATENCY,
                "share",
                &SHARES,
            ),
            responses: registrar.counters(
                "model_responses",
                "Responses of the model that turns asked for",
                "end",
                &["reported", "stopped"],
            ),
            tokens: registrar.counters(
                "model_tokens",
                "Tokens of the model",
                "kind",
                &["input", "cached", "output", "reasoning"],
            ),
            outages: registrar.counters(
                "model_outages",
                "Answers that the model did not give",
                "effect",
                &["apology", "hand_off"],
            ),
            field_seconds: registrar.histograms(
                "payment_field_seconds",
                "The time from the request to capture a field until the caller has entered it",
                HUMAN,
                "field",
                &Field::ALL.map(Field::wire_name),
            ),
        };
        for trigger in TurnTrigger::ALL {
            for end in TurnEnd::ALL {
                drop(metrics.turns.get_or_create(&[("trigger", trigger.as_str()), ("end", end.as_str())]));
            }
        }
        metrics
    }

    pub(in crate::telemetry) fn record_turn(&self, turn: &TurnRecord) {
        self.turns.get_or_create(&[("trigger", turn.trigger.as_str()), ("end", turn.end.as_str())]).inc();
        let share = |name, took: Option<Duration>| {
            if let Some(took) = took {
                observe(&self.shares, "share", name, took);
            }
        };
        share("request", turn.request_sent());
        share("first_frame", turn.first_frame);
        share("twilio_round_trip", turn.round_trip());
        for response in &turn.responses {
            share("model", response.first_token.map(|at| at.saturating_sub(response.asked)));
            count(&self.responses, "end", if response.report.is_some() { "reported" } else { "stopped" });
        }
        if !turn.tools.is_empty() {
            share("tools", Some(turn.tool_time()));
        }
        share("twilio_rest", Some(turn.twilio_time()).filter(|time| !time.is_zero()));
        let usage = turn.usage();
        for (kind, tokens) in
            [("input", usage.input), ("cached", usage.cached), ("output", usage.output), ("reasoning", usage.reasoning)]
        {
            self.tokens.get_or_create(&[("kind", kind)]).inc_by(tokens);
        }
    }

    pub(in crate::telemetry) fn record_call(&self, call: &CallRecord) {
        count(&self.ended, "reason", call.reason);
        self.seconds.observe(call.duration.as_secs_f64());
        self.resumes.inc_by(call.totals.resumes.into());
        self.handoffs.inc_by(call.is_handed_off.into());
        for (field, took) in &call.totals.field_times {
            observe(&self.field_seconds, "field", field.wire_name(), *took);
        }
    }

    pub(in crate::telemetry) fn record_outage(&self, outage: ModelOutage) {
        let effect = match outage {
            ModelOutage::Apology(_) => "apology",
            ModelOutage::HandOff(_) => "hand_off",
        };
        count(&self.outages, "effect", effect);
    }
}
