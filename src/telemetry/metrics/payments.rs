//! The metrics of payments: the funnel, the entries of callers, and Twilio's callbacks.

use std::time::Duration;

use prometheus_client::metrics::family::MetricConstructor as _;
use prometheus_client::metrics::histogram::Histogram;

use super::{Counters, LATENCY, Registrar, count};
use crate::payment::{CallbackKind, Field, PaymentLogEntry, PaymentState};

/// The values of the label `phase` of callbacks.
pub(super) const PHASES: [&str; 5] = ["session_exists", "entry_in_progress", "entry_ended", "wrong_entry", "ended"];

/// The limits that stop payments.
pub(super) const LIMITS: [&str; 5] = ["wrongEntries", "declines", "payments", "amount", "cardTesting"];

/// What can be wrong with a payment on a call.
pub(super) const PROBLEMS: [&str; 4] = ["stalled", "refused", "cancel_unknown", "unresolved"];

#[derive(Debug)]
pub(in crate::telemetry) struct PaymentMetrics {
    states: Counters<1>,
    fields: Counters<2>,
    callbacks: Counters<1>,
    callback_seconds: Histogram,
    problems: Counters<1>,
    limits: Counters<1>,
}

impl PaymentMetrics {
    pub(super) fn new(registrar: &mut Registrar<'_>) -> Self {
        let states = PaymentState::ALL.map(PaymentState::as_str);
        let metrics = Self {
            states: registrar.counters(
                "payments",
                "Payments that have reached a state in the ledger",
                "state",
                &states,
            ),
            fields: registrar.add("payment_fields", "Entries of callers, by field and result", Counters::default()),
            callback_seconds: registrar.add(
                "payment_callback_seconds",
                "The time until payment status callbacks were answered, with the ledger",
                LATENCY.new_metric(),
            ),
            callbacks: registrar.counters(
                "payment_callbacks",
                "Payment status callbacks of Twilio, by what they report",
                "phase",
                &PHASES,
            ),
            problems: registrar.counters(
                "payment_problems",
                "Payments that need attention, by what is wrong",
                "problem",
                &PROBLEMS,
            ),
            limits: registrar.counters(
                "payment_limits",
                "Payment requests that a velocity limit or card-testing detection stopped",
                "limit",
                &LIMITS,
            ),
        };
        for field in Field::ALL {
            for result in ["captured", "wrong"] {
                drop(metrics.fields.get_or_create(&[("field", field.wire_name()), ("result", result)]));
            }
        }
        metrics
    }

    pub(in crate::telemetry) fn record_state(&self, state: PaymentState) {
        count(&self.states, "state", state.as_str());
    }

    pub(in crate::telemetry) fn record_callback(&self, kind: &CallbackKind) {
        let phase = match kind {
            CallbackKind::SessionExists => "session_exists",
            CallbackKind::EntryInProgress { .. } => "entry_in_progress",
            CallbackKind::EntryEnded { .. } => "entry_ended",
            CallbackKind::WrongEntry { .. } => "wrong_entry",
            CallbackKind::Ended(_) => "ended",
        };
        count(&self.callbacks, "phase", phase);
    }

    pub(in crate::telemetry) fn record_callback_answer(&self, took: Duration) {
        self.callback_seconds.observe(took.as_secs_f64());
    }

    pub(in crate::telemetry) fn record_step(&self, entry: &PaymentLogEntry) {
        let entered = |field: Field, result| {
            self.fields.get_or_create(&[("field", field.wire_name()), ("result", result)]).inc();
        };
        let problem = |word| count(&self.problems, "problem", word);
        match entry {
            PaymentLogEntry::Captured { field, .. } => entered(*field, "captured"),
            PaymentLogEntry::WrongEntry { field, .. } => entered(*field, "wrong"),
            PaymentLogEntry::Stalled { .. } => problem("stalled"),
            PaymentLogEntry::Refused { .. } => problem("refused"),
            PaymentLogEntry::CancelUnconfirmed { .. } => problem("cancel_unknown"),
            PaymentLogEntry::Unresolved { .. } => problem("unresolved"),
            _ => {}
        }
    }

    pub(in crate::telemetry) fn record_limit(&self, limit: &'static str) {
        count(&self.limits, "limit", limit);
    }
}
