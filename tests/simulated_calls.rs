//! Runs every simulated call over real sockets and checks its expectations.

#![cfg(feature = "simulator")]

use crelay_payments::simulator::{self, LocalPostgres, ScenarioResult, ScenarioServers};
use futures_util::{Stream, StreamExt, stream};

/// The number of concurrent calls. A call mostly waits for timers.
const AT_ONCE: usize = 4;

/// The calls that are played with PostgreSQL unless all are: of each kind of write, and of each fault, one.
const WITH_POSTGRESQL: [&str; 9] = [
    "happy-path",
    "bank-account",
    "outlives-its-server",
    "decline-then-success",
    "full-disk",
    "guided",
    "card-testing",
    "unknown-outcome",
    "receipt",
];

/// What calls are played on: the binary of this package, where they need it.
fn servers() -> ScenarioServers {
    ScenarioServers { program: Some(env!("CARGO_BIN_EXE_crelay-payments").into()), ..ScenarioServers::default() }
}

/// The same with the ledgers on this server of PostgreSQL.
async fn servers_on(server: &LocalPostgres) -> ScenarioServers {
    let url = server.create_database().await.expect("a database is created");
    let url = url.parse().expect("its URL is valid");
    ScenarioServers { database: Some(url), ..servers() }
}

async fn assert_all_hold(results: impl Stream<Item = anyhow::Result<ScenarioResult>>) {
    let broken: Vec<String> = results
        .map(|call| call.expect("the simulator works"))
        .filter_map(async |call| (!call.has_passed()).then(|| call.to_text()))
        .collect()
        .await;
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_simulated_call_holds() {
    let left_out =
        if LocalPostgres::get().is_some() { Vec::new() } else { simulator::list_scenarios_of_several_servers() };
    let names = simulator::list_scenarios().into_iter().map(|(name, _)| name).filter(|name| !left_out.contains(name));
    let servers = servers();
    let calls = names.map(|name| simulator::run_scenario(name, &servers));
    assert_all_hold(stream::iter(calls).buffer_unordered(AT_ONCE)).await;
}

/// Plays every call with `CRELAY_LONG=1`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the server")]
async fn calls_hold_with_the_ledger_in_postgresql() {
    let Some(server) = LocalPostgres::get() else { return };
    let servers = servers_on(server).await;
    let all: Vec<&str> = simulator::list_scenarios().into_iter().map(|(name, _)| name).collect();
    let names = if std::env::var_os("CRELAY_LONG").is_some() { &all[..] } else { &WITH_POSTGRESQL };
    let calls = names.iter().map(|name| simulator::run_scenario(name, &servers));
    assert_all_hold(stream::iter(calls).buffer_unordered(AT_ONCE)).await;
}

const SOCKETS_ARE_COUNTED: &str = "the server that rings opens WebSockets to the model, too";
const HANDS_OVER: &str = "a server that is stopped at once hands its calls over, where it can";

/// The calls that cannot be played on two servers, with the reason.
const ON_ONE_SERVER: [(&str, &str); 10] = [
    ("outlives-its-server", HANDS_OVER),
    ("outlives-its-server-due", HANDS_OVER),
    ("drain", "the other server takes new calls"),
    ("drain-in-payment", "the other server takes new calls"),
    ("socket-charge", SOCKETS_ARE_COUNTED),
    ("socket-too-old", SOCKETS_ARE_COUNTED),
    ("socket-cut-mid-answer", SOCKETS_ARE_COUNTED),
    ("socket-errors", SOCKETS_ARE_COUNTED),
    ("socket-cut", SOCKETS_ARE_COUNTED),
    ("socket-interruption", SOCKETS_ARE_COUNTED),
];

/// One server gets the sockets, and the other one all that Twilio and operators send. Plays every call with `CRELAY_LONG=1`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the server")]
async fn calls_hold_though_every_request_lands_on_another_server() {
    let Some(server) = LocalPostgres::get() else { return };
    let servers = ScenarioServers { two_servers: true, ..servers_on(server).await };
    let all: Vec<&str> = simulator::list_scenarios().into_iter().map(|(name, _)| name).collect();
    let names = if std::env::var_os("CRELAY_LONG").is_some() { &all[..] } else { &WITH_POSTGRESQL };
    let names = names.iter().filter(|name| ON_ONE_SERVER.iter().all(|(left_out, _)| left_out != *name));
    let calls = names.map(|name| simulator::run_scenario(name, &servers));
    assert_all_hold(stream::iter(calls).buffer_unordered(AT_ONCE)).await;
}
