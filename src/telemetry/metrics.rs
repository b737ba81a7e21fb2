//! The metrics of a server, in Prometheus's text format.
//!
//! A label's value is always a word of this program (`&'static str`), which comes from an enum or a table: nothing from
//! outside can become one, so the number of series is bounded.

mod calls;
mod fleet;
mod gauges;
#[cfg(any(feature = "simulator", test))]
mod labels;
mod payments;
mod services;

pub(crate) use fleet::{ClaimEvent, ForwardResult};
pub(crate) use gauges::Snapshot;
#[cfg(any(feature = "simulator", test))]
pub(crate) use labels::find_foreign_sample;
pub(crate) use services::{ModelFailure, ToolResult, TwilioOperation, TwilioResult, WebhookRefusal};

use std::time::Duration;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use calls::CallMetrics;
use fleet::FleetMetrics;
use gauges::Gauges;
use payments::PaymentMetrics;
use services::ServiceMetrics;

/// The content type of the text format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The prefix of every name.
const PREFIX: &str = "crelay";

/// The names and values of labels.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// A counter for each combination of values of its labels.
type Counters<const N: usize> = Family<Labels<N>, Counter>;

/// A histogram for each value of its label.
type Histograms = Family<Labels<1>, Histogram, Buckets>;

/// Upper bounds of buckets, in seconds.
#[derive(Debug, Clone, Copy)]
struct Buckets(&'static [f64]);

/// From what the server itself takes to what a caller notices and the longest time limits.
const LATENCY: Buckets =
    Buckets(&[0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0]);

/// What people take on a telephone.
const HUMAN: Buckets = Buckets(&[2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// All metrics of a server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    pub(super) calls: CallMetrics,
    pub(super) services: ServiceMetrics,
    pub(super) payments: PaymentMetrics,
    pub(super) fleet: FleetMetrics,
    gauges: Gauges,
}

impl Metrics {
    /// Creates all metrics. `tools` are the names of the server's own tools.
    pub(super) fn new(tools: &[&'static str]) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the server", version);
        let mut registrar = Registrar(&mut registry);
        Self {
            calls: CallMetrics::new(&mut registrar),
            services: ServiceMetrics::new(&mut registrar, tools),
            payments: PaymentMetrics::new(&mut registrar),
            fleet: FleetMetrics::new(&mut registrar),
            gauges: Gauges::new(&mut registrar),
            registry,
        }
    }

    /// Writes all metrics as text, with these values of what is not counted but looked at.
    pub(super) fn to_text(&self, snapshot: &Snapshot) -> String {
        self.gauges.set(snapshot);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry).expect("a String takes any text");
        text
    }
}

/// Creates metrics in a registry.
struct Registrar<'a>(&'a mut Registry);

impl Registrar<'_> {
    fn add<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    /// A counter, which is exported as `name_total`.
    fn counter(&mut self, name: &str, help: &str) -> Counter {
        self.add(name, help, Counter::default())
    }

    /// Counters by one label, all of which begin at zero: an increase from nothing would not be one.
    fn counters(&mut self, name: &str, help: &str, label: &'static str, values: &[&'static str]) -> Counters<1> {
        let counters = self.add(name, help, Counters::default());
        for value in values {
            drop(counters.get_or_create(&[(label, *value)]));
        }
        counters
    }

    /// Histograms by one label, each of which exists from the beginning.
    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        buckets: Buckets,
        label: &'static str,
        values: &[&'static str],
    ) -> Histograms {
        let histograms = self.add(name, help, Family::new_with_constructor(buckets));
        for value in values {
            drop(histograms.get_or_create(&[(label, *value)]));
        }
        histograms
    }
}

/// Adds a duration to the histogram of this label.
fn observe(histograms: &Histograms, label: &'static str, value: &'static str, took: Duration) {
    histograms.get_or_create(&[(label, value)]).observe(took.as_secs_f64());
}

/// Counts an occurrence in the counter of this label.
fn count(counters: &Counters<1>, label: &'static str, value: &'static str) {
    counters.get_or_create(&[(label, value)]).inc();
}

#[cfg(test)]
mod tests;
