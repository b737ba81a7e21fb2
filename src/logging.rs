//! Log lines on standard error: this program's at the level that is asked for, everybody else's capped.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Starts logging; `filter` is the value of `RUST_LOG`.
pub(crate) fn start(filter: Option<&str>) {
    let filter = EnvFilter::try_new(filter.unwrap_or("info")).unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    tracing_subscriber::registry().with(lines.with_filter(filter).with_filter(filter_fn(is_allowed))).init();
}

/// The crates that handle the wire write whole payloads at low levels, and async-openai at high ones: what a caller said
/// stands in them, so no `RUST_LOG` gets them.
fn is_allowed(line: &Metadata<'_>) -> bool {
    let target = line.target();
    target.starts_with("crelay_payments") || (*line.level() <= Level::INFO && !target.starts_with("async_openai"))
}
