//! Log lines on standard error: this program's at the level that is asked for, everybody else's capped.

use std::io::IsTerminal;
use std::panic::{self, PanicHookInfo};

use tracing::{Level, Metadata, error};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Starts logging; `filter` is the value of `RUST_LOG`. From now on a panic says where it was, and not what it says: that may
/// repeat anything.
pub(crate) fn start(filter: Option<&str>) {
    let filter = EnvFilter::try_new(filter.unwrap_or("info")).unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    tracing_subscriber::registry().with(lines.with_filter(filter).with_filter(filter_fn(is_allowed))).init();
    panic::set_hook(Box::new(|panic| error!(place = place(panic), "a task panicked")));
}

fn place(panic: &PanicHookInfo<'_>) -> String {
    panic.location().map(ToString::to_string).unwrap_or_default()
}

/// The crates that handle the wire write whole payloads at low levels, and async-openai at high ones: what a caller said
/// stands in them, so no `RUST_LOG` gets them.
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
    fn the_crates_of_the_wire_are_capped_whatever_is_asked_for() {
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
    fn a_panic_tells_its_place_and_not_what_it_says() {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let (ours, usual) = (told.clone(), panic::take_hook());
        panic::set_hook(Box::new(move |panic| ours.lock().unwrap().push(place(panic))));
        let panicked = panic::catch_unwind(|| panic!("4242 4242 4242 4242"));
        panic::set_hook(usual);
        assert!(panicked.is_err());
        let told = told.lock().unwrap();
        assert!(told.iter().any(|told| told.contains("logging.rs")), "{told:?}");
        assert!(!told.concat().contains("4242"), "{told:?}");
    }
}
