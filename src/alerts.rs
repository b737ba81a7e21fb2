//! The alert table of the manual as data, and which of its events this process has logged lately.
//!
//! The texts stand in one place, the section *Alerts* of `src/README.md`. The console shows them beside the events.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// A row of the alert table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AlertRow {
    /// The field `event` of the log line.
    pub(crate) event: &'static str,
    /// What it means. Markdown.
    pub(crate) meaning: &'static str,
    /// What to do about it. Markdown.
    pub(crate) action: &'static str,
}

/// An event of the table that was logged, and how often since the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoggedAlert {
    /// Its row.
    pub(crate) row: &'static AlertRow,
    /// Whether its last line was an ERROR, not a WARN.
    pub(crate) is_error: bool,
    /// The number of its lines.
    pub(crate) count: u64,
    /// When the last line was written.
    pub(crate) last_at: Timestamp,
}

/// The rows, in the order of the manual.
static TABLE: LazyLock<Vec<AlertRow>> =
    LazyLock::new(|| include_str!("README.md").lines().filter_map(parse_row).collect());

/// The alerts of this process: there is one log, too.
static ALERTS: LazyLock<LoggedAlerts> = LazyLock::new(LoggedAlerts::default);

/// Counts the lines of each event of the table. It has a fixed size.
#[derive(Debug)]
struct LoggedAlerts(Vec<Counter>);

#[derive(Debug, Default)]
struct Counter {
    count: AtomicU64,
    is_error: AtomicBool,
    /// Milliseconds since 1970.
    last_at: AtomicI64,
}

/// Finds the row of an event.
pub(crate) fn find_row(event: &str) -> Option<&'static AlertRow> {
    TABLE.iter().find(|row| row.event == event)
}

/// Returns the events that were logged at this time or later, errors first, then the newest.
pub(crate) fn logged_since(since: Timestamp) -> Vec<LoggedAlert> {
    ALERTS.since(since)
}

/// Counts the lines of the log that the alert table has.
#[derive(Debug)]
pub struct AlertLayer;

impl<S: Subscriber> Layer<S> for AlertLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        ALERTS.record(event, Timestamp::now());
    }
}

impl Default for LoggedAlerts {
    fn default() -> Self {
        Self(TABLE.iter().map(|_| Counter::default()).collect())
    }
}

impl LoggedAlerts {
    fn record(&self, event: &Event<'_>, now: Timestamp) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut found = FindCounter { alerts: self, counter: None };
        event.record(&mut found);
        let Some(counter) = found.counter else { return };
        counter.count.fetch_add(1, Ordering::Relaxed);
        counter.is_error.store(level == Level::ERROR, Ordering::Relaxed);
        counter.last_at.store(now.as_millisecond(), Ordering::Relaxed);
    }

    fn since(&self, since: Timestamp) -> Vec<LoggedAlert> {
        let logged = TABLE.iter().zip(&self.0).filter_map(|(row, counter)| {
            let last_at = Timestamp::from_millisecond(counter.last_at.load(Ordering::Relaxed)).unwrap_or_default();
            let count = counter.count.load(Ordering::Relaxed);
            let is_error = counter.is_error.load(Ordering::Relaxed);
            (count > 0 && last_at >= since).then_some(LoggedAlert { row, is_error, count, last_at })
        });
        let mut logged: Vec<_> = logged.collect();
        logged.sort_by_key(|alert| std::cmp::Reverse((alert.is_error, alert.last_at)));
        logged
    }
}

/// Finds the counter of the event that the field `event` names.
struct FindCounter<'a> {
    alerts: &'a LoggedAlerts,
    counter: Option<&'a Counter>,
}

impl Visit for FindCounter<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            let row = TABLE.iter().position(|row| row.event == value);
            self.counter = row.and_then(|row| self.alerts.0.get(row));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Parses a row of the alert table: the event as code, the level, the meaning and the action.
fn parse_row(line: &'static str) -> Option<AlertRow> {
    let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    let (event, level) = (cells.next()?, cells.next()?);
    let (meaning, action) = (cells.next()?, cells.next()?);
    let event = event.strip_prefix('`')?.strip_suffix('`')?;
    (cells.next().is_none() && ["ERROR", "WARN"].contains(&level)).then_some(AlertRow { event, meaning, action })
}

#[cfg(test)]
mod tests {
    use tracing::{error, info, warn};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Counts into its own table at a fixed time.
    struct At(&'static LoggedAlerts, Timestamp);

    impl<S: Subscriber> Layer<S> for At {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.record(event, self.1);
        }
    }

    fn logged(alerts: &LoggedAlerts, since: i64) -> Vec<(&'static str, bool, u64)> {
        let since = Timestamp::from_second(since).unwrap();
        alerts.since(since).iter().map(|alert| (alert.row.event, alert.is_error, alert.count)).collect()
    }

    #[test]
    fn every_row_of_the_manual_is_read() {
        let rows = include_str!("README.md")
            .lines()
            .filter(|line| line.contains(" | ERROR | ") || line.contains(" | WARN | "));
        assert_eq!(TABLE.len(), rows.count());
        let row = find_row("payment.unresolved").unwrap();
        assert_eq!(row.action, "Look it up at the processor: it may have been charged.");
        assert_eq!(find_row("server.listening"), None);
    }

    #[test]
    fn warnings_and_errors_of_the_table_are_counted_and_nothing_else() {
        let alerts: &'static LoggedAlerts = Box::leak(Box::default());
        let at = |second, log: fn()| {
            let layer = At(alerts, Timestamp::from_second(second).unwrap());
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        };
        at(100, || {
            warn!(event = "call.apology", reason = "stalled", "Sorry.");
            info!(event = "payment.unknown", "Not an alert at this level.");
            warn!(event = "no.such_event", other = "call.apology", "Unknown.");
        });
        at(200, || error!(event = "payment.unknown", "It is unknown."));
        at(300, || warn!(event = "call.apology", "Again."));
        assert_eq!(logged(alerts, 100), [("payment.unknown", true, 1), ("call.apology", false, 2)]);
        assert_eq!(logged(alerts, 201), [("call.apology", false, 2)]);
        assert_eq!(logged(alerts, 301), []);
    }
}
