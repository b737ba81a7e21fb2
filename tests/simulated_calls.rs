//! Runs every simulated call over real sockets and checks its expectations.

#![cfg(feature = "simulator")]

use crelay_payments::simulator;
use futures_util::{StreamExt, stream};

/// The number of concurrent calls. A call mostly waits for timers.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_simulated_call_holds() {
    let calls = simulator::list_scenarios().into_iter().map(|(name, _)| simulator::run_scenario(name));
    let broken: Vec<String> = stream::iter(calls)
        .buffer_unordered(AT_ONCE)
        .map(|call| call.expect("the simulator works"))
        .filter_map(async |call| (!call.has_passed()).then(|| call.to_text()))
        .collect()
        .await;
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}
