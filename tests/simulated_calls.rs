//! Whole calls over real sockets: every simulated call, each with everything that has to hold of it.

use crelay_payments::simulator;
use futures_util::{StreamExt, stream};

/// Calls played at once: each waits for clocks most of the time.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_simulated_call_holds() {
    let calls = simulator::list().into_iter().map(|(name, _)| simulator::play(name));
    let broken: Vec<String> = stream::iter(calls)
        .buffer_unordered(AT_ONCE)
        .map(|call| call.expect("the simulator works"))
        .filter_map(async |call| (!call.held()).then(|| call.story()))
        .collect()
        .await;
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}
