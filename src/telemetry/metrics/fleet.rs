//! The metrics of servers that share a ledger.

use std::time::Duration;

use prometheus_client::metrics::family::MetricConstructor as _;
use prometheus_client::metrics::histogram::Histogram;

use super::{Counters, LATENCY, Registrar, count};

#[derive(Debug)]
pub(in crate::telemetry) struct FleetMetrics {
    forwarded: Counters<1>,
    forward_seconds: Histogram,
    claims: Counters<1>,
}

/// What became of a request that was sent on to the server that has its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardResult {
    /// It was answered.
    Answered,
    /// The other server does not have the call.
    NotThere,
    /// The other server could not be reached.
    Unreachable,
    /// The other server did not answer in time.
    Silent,
}

/// How a call got an owner, or lost it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimEvent {
    /// Nobody had the call before.
    New,
    /// Another server had it before.
    TakenOver,
    /// Nobody had it any more, and its payments were cancelled.
    PutAway,
    /// Another server has it now.
    Moved,
}

impl FleetMetrics {
    pub(super) fn new(registrar: &mut Registrar<'_>) -> Self {
        Self {
            forwarded: registrar.counters(
                "forwarded_requests",
                "Requests that were sent on to the server that has their call, by what became of them",
                "answer",
                &ForwardResult::ALL.map(ForwardResult::as_str),
            ),
            forward_seconds: registrar.add(
                "forwarded_request_seconds",
                "The time until a request that was sent on was answered",
                LATENCY.new_metric(),
            ),
            claims: registrar.counters(
                "calls_claimed",
                "Calls that this server has got or lost, by how",
                "claim",
                &ClaimEvent::ALL.map(ClaimEvent::as_str),
            ),
        }
    }

    pub(in crate::telemetry) fn record_forward(&self, result: ForwardResult, took: Duration) {
        count(&self.forwarded, "answer", result.as_str());
        if result == ForwardResult::Answered {
            self.forward_seconds.observe(took.as_secs_f64());
        }
    }

    pub(in crate::telemetry) fn record_claim(&self, event: ClaimEvent) {
        count(&self.claims, "claim", event.as_str());
    }
}

impl ForwardResult {
    pub(super) const ALL: [Self; 4] = [Self::Answered, Self::NotThere, Self::Unreachable, Self::Silent];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NotThere => "not_there",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
        }
    }
}

impl ClaimEvent {
    pub(super) const ALL: [Self; 4] = [Self::New, Self::TakenOver, Self::PutAway, Self::Moved];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::TakenOver => "taken_over",
            Self::PutAway => "put_away",
            Self::Moved => "moved",
        }
    }
}
