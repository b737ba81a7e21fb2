//! What is not counted but looked at when metrics are read.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::SignedDuration;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::{Counters, Registrar};
use crate::telemetry::Cost;
use crate::usage_limits::UsageLimit;

/// What is known when metrics are read.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// The live calls.
    pub(crate) calls: usize,
    /// Whether the ledger accepts no payments.
    pub(crate) has_ledger_fault: bool,
    /// The records that wait for a ledger that cannot be written.
    pub(crate) buffered_records: usize,
    /// The events that wait for the webhook, and the age of the oldest; `None` if the outbox cannot be read.
    pub(crate) outbox: Option<(u64, SignedDuration)>,
    /// How often each limit has refused something since the start.
    pub(crate) refusals: Vec<(&'static str, u64)>,
    /// How often the assets were replaced since the start.
    pub(crate) asset_versions: u64,
    /// When the model is switched off, in seconds since 1970, if that is announced.
    pub(crate) shutdown: Option<i64>,
    /// The log lines that were dropped since the start.
    pub(crate) dropped_lines: u64,
    /// What the tokens of all turns cost.
    pub(crate) cost: Cost,
    /// The servers that share the ledger and live, this one among them, and those that are held for dead.
    pub(crate) servers: (usize, usize),
}

type Number = Gauge<f64, AtomicU64>;

#[derive(Debug)]
pub(super) struct Gauges {
    calls: Gauge,
    ledger_fault: Gauge,
    buffered_records: Gauge,
    outbox_events: Number,
    outbox_age: Number,
    refusals: Counters<1>,
    asset_versions: Counter,
    shutdown: Number,
    dropped_lines: Counter,
    cost: Counter<f64, AtomicU64>,
    servers_alive: Gauge,
    servers_dead: Gauge,
}

impl Gauges {
    pub(super) fn new(registrar: &mut Registrar<'_>) -> Self {
        Self {
            calls: registrar.add("calls_live", "Live calls", Gauge::default()),
            ledger_fault: registrar.add("ledger_fault", "1 while the ledger accepts no payments", Gauge::default()),
            buffered_records: registrar.add(
                "ledger_buffered_records",
                "Records that wait in memory for the ledger",
                Gauge::default(),
            ),
            outbox_events: registrar.add(
                "outbox_events",
                "Events that wait for the webhook; NaN if the outbox cannot be read",
                Gauge::default(),
            ),
            outbox_age: registrar.add(
                "outbox_age_seconds",
                "The age of the oldest event that waits for the webhook",
                Gauge::default(),
            ),
            refusals: registrar.counters(
                "limit_refusals",
                "What limits on calls have refused",
                "limit",
                &UsageLimit::ALL.map(UsageLimit::name),
            ),
            asset_versions: registrar
                .counter("asset_versions", "Versions of the assets that were taken into use after the start"),
            shutdown: registrar.add(
                "model_shutdown_timestamp_seconds",
                "When the model is switched off; NaN if that is not announced",
                Gauge::default(),
            ),
            dropped_lines: registrar
                .counter("log_lines_dropped", "Log lines that were dropped, since standard error was not read in time"),
            cost: registrar.add(
                "model_cost_dollars",
                "What the tokens of all turns cost, in US dollars",
                Counter::default(),
            ),
            servers_alive: registrar.add(
                "servers_alive",
                "Servers that share the ledger and live, this one among them",
                Gauge::default(),
            ),
            servers_dead: registrar.add(
                "servers_dead",
                "Servers that share the ledger and are held for dead",
                Gauge::default(),
            ),
        }
    }

    pub(super) fn set(&self, snapshot: &Snapshot) {
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.calls.set(whole(snapshot.calls));
        self.ledger_fault.set(snapshot.has_ledger_fault.into());
        self.buffered_records.set(whole(snapshot.buffered_records));
        #[expect(clippy::cast_precision_loss, reason = "a number of events is far below 2^52")]
        self.outbox_events.set(snapshot.outbox.map_or(f64::NAN, |(events, _)| events as f64));
        self.outbox_age.set(snapshot.outbox.map_or(f64::NAN, |(_, age)| age.as_secs_f64()));
        for (limit, refused) in &snapshot.refusals {
            self.refusals.get_or_create(&[("limit", limit)]).inner().store(*refused, Ordering::Relaxed);
        }
        self.asset_versions.inner().store(snapshot.asset_versions, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a time in seconds is far below 2^52")]
        self.shutdown.set(snapshot.shutdown.map_or(f64::NAN, |at| at as f64));
        self.dropped_lines.inner().store(snapshot.dropped_lines, Ordering::Relaxed);
        let (alive, dead) = snapshot.servers;
        self.servers_alive.set(whole(alive));
        self.servers_dead.set(whole(dead));
        self.cost.inner().store(snapshot.cost.as_dollars().to_bits(), Ordering::Relaxed);
    }
}
