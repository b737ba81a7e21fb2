//! Logging to standard error: this program at the configured level, other crates at most at WARN.

mod queue;

use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use crelay_payments::alerts::AlertLayer;
use queue::LogQueue;
use tracing::{Level, Metadata, error, warn};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// The level of a log without `RUST_LOG`.
const DEFAULT_LEVEL: &str = "info";

/// The time limit for writing the last lines when the process ends, for a reader that is late.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Writes the lines that wait when it is dropped, for at most three seconds.
#[derive(Debug)]
#[must_use]
pub(crate) struct FlushOnDrop(LogQueue);

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        self.0.flush(FLUSH_TIMEOUT);
    }
}

/// Initializes logging of a server: a line never waits for standard error, see [`LogQueue`]. `rust_log` is the value of
/// `RUST_LOG`.
pub(crate) fn init_queued(rust_log: Option<&str>) -> io::Result<FlushOnDrop> {
    let queue = LogQueue::to_stderr()?;
    init_with(rust_log, queue.clone());
    Ok(FlushOnDrop(queue))
}

/// Initializes logging of a command whose output a person reads: a line is written at once. `rust_log` is the value of
/// `RUST_LOG`.
pub(crate) fn init(rust_log: Option<&str>) {
    init_with(rust_log, io::stderr);
}

/// Initializes logging. A panic is logged with its location only, since its message may contain any data.
fn init_with(rust_log: Option<&str>, writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) {
    let filter = rust_log.map(|filter| EnvFilter::try_new(with_default_level(filter)));
    let is_invalid = matches!(filter, Some(Err(_)));
    let filter = filter.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(DEFAULT_LEVEL));
    let colours = io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(writer).with_ansi(colours).with_target(false);
    // Alerts count whatever the level of the log is.
    let alerts = AlertLayer.with_filter(LevelFilter::WARN);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter).with_filter(filter_fn(is_allowed)))
        .with(alerts)
        .init();
    // Crates that use `log` are others, so they have no more. Else each line that they leave out would be looked at, and the
    // WebSocket has several for each frame.
    log::set_max_level(log::LevelFilter::Warn);
    panic::set_hook(Box::new(|panic| {
        error!(event = "server.panic", location = panic_location(panic), "A task panicked.");
    }));
    if is_invalid {
        warn!(event = "config.warning", warning = "RUST_LOG is invalid", "The log has the default level, info.");
    }
}

/// Adds the default level to directives that name only targets: without it a misspelt level, which is a target to
/// `EnvFilter`, would silence the log.
fn with_default_level(directives: &str) -> String {
    let names_level = directives.split(',').any(|directive| directive.trim().parse::<LevelFilter>().is_ok());
    if names_level { directives.to_owned() } else { format!("{DEFAULT_LEVEL},{directives}") }
}

fn panic_location(panic: &PanicHookInfo<'_>) -> String {
    panic.location().map(ToString::to_string).unwrap_or_default()
}

/// Limits the level of other crates: those that handle network traffic log whole payloads at low levels, and
/// async-openai at high levels. Payloads contain what the caller said, so no `RUST_LOG` enables them.
fn is_allowed(line: &Metadata<'_>) -> bool {
    is_target_allowed(line.target(), *line.level())
}

fn is_target_allowed(target: &str, level: Level) -> bool {
    let is_of = |name: &str| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    is_of("crelay_payments") || (level <= Level::WARN && !is_of("async_openai") && !is_of("tower_http::catch_panic"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn network_crates_are_limited_with_any_filter() {
        for target in
            ["tungstenite", "tokio_tungstenite", "hyper::proto", "h2", "reqwest", "axum", "rustls", "sqlx::query"]
        {
            assert!(is_target_allowed(target, Level::WARN), "{target}");
            for level in [Level::INFO, Level::DEBUG, Level::TRACE] {
                assert!(!is_target_allowed(target, level), "{target} {level}");
            }
        }
        assert!(!is_target_allowed("async_openai::client", Level::ERROR));
        assert!(!is_target_allowed("crelay_payments_like", Level::TRACE));
        assert!(is_target_allowed("crelay_payments::session", Level::TRACE));
        assert!(is_target_allowed("crelay_payments", Level::TRACE));
    }

    #[test]
    fn a_filter_without_a_level_keeps_the_default_one() {
        for (given, used) in [
            ("debug", "debug"),
            ("off", "off"),
            ("WARN,crelay_payments=debug", "WARN,crelay_payments=debug"),
            ("verbose", "info,verbose"),
            ("crelay_payments::session=trace", "info,crelay_payments::session=trace"),
        ] {
            assert_eq!(with_default_level(given), used);
        }
    }

    #[test]
    fn a_panic_is_logged_with_its_location_only() {
        let locations: Arc<Mutex<Vec<String>>> = Arc::default();
        let (ours, usual) = (locations.clone(), panic::take_hook());
        panic::set_hook(Box::new(move |panic| ours.lock().unwrap().push(panic_location(panic))));
        let panicked = panic::catch_unwind(|| panic!("4242 4242 4242 4242"));
        panic::set_hook(usual);
        assert!(panicked.is_err());
        let locations = locations.lock().unwrap();
        assert!(locations.iter().any(|it| it.contains("logging.rs")), "{locations:?}");
        assert!(!locations.concat().contains("4242"), "{locations:?}");
    }
}
