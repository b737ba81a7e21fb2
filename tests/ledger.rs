//! Crash tests of the ledger: the real binary is killed at every step of a payment call and restarted on the same file.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "ledger/faults.rs"]
mod faults;
#[expect(dead_code, reason = "not all of a call is used")]
#[path = "ledger/payment_call.rs"]
mod payment_call;
#[path = "ledger/receipts.rs"]
mod receipts;
#[expect(dead_code, reason = "not all clients are used")]
mod server;
#[path = "ledger/server_process.rs"]
mod server_process;
#[expect(dead_code, reason = "not all stand-ins are used")]
#[path = "ledger/stand_ins.rs"]
mod stand_ins;

use std::ops::Deref;
use std::time::Duration;

use crelay_payments::simulator::{ModelReply, QueuedOpenAi};
use futures_util::{StreamExt as _, stream};
use payment_call::{PaymentCall, STATES_AFTER_A_FAULT, connect_call, reply_to_state};
use server::Server;
use server_process::{ServerProcess, WorkDir};
use stand_ins::Checkpoint;
use uuid::Uuid;

const SEALING_KEY: &str = "c2ltdWxhdGVkIGtleSBvZiAzMiBieXRlcyBpbiBhbGw=";

/// A payment call, and the directory of its server.
struct Harness {
    call: PaymentCall,
    work_dir: WorkDir,
}

impl Harness {
    async fn start(stop_at: Option<Checkpoint>) -> Self {
        Self { call: PaymentCall::start(stop_at).await, work_dir: WorkDir::new() }
    }

    /// Starts a server that soon puts away what nobody calls again for.
    async fn serve(&self) -> ServerProcess {
        self.serve_with_key(false).await
    }

    /// Starts a server, which keeps conversations if it has a key to seal them.
    async fn serve_with_key(&self, has_key: bool) -> ServerProcess {
        let vars = [("RESUME_SECONDS", "1"), ("SEALING_KEY", SEALING_KEY)];
        self.work_dir.serve_with_vars(&self.call.stand_ins, &self.call.openai, &vars[..=usize::from(has_key)]).await
    }

    async fn run_call(&self, server: &Server, answered: &mut Vec<String>) -> reqwest::Result<()> {
        self.call.run_call(server, server, str::to_owned, answered).await
    }
}

impl Deref for Harness {
    type Target = PaymentCall;

    fn deref(&self) -> &PaymentCall {
        &self.call
    }
}

/// Runs a call up to a checkpoint, kills and restarts the server. The caller is connected anew, and goes on.
async fn restart_at(checkpoint: Checkpoint, has_key: bool) {
    let mut harness = Harness::start(Some(checkpoint)).await;
    harness.call.openai = QueuedOpenAi::start_with_rule(reply_to_state).await.unwrap();
    let running = harness.serve_with_key(has_key).await;
    let mut answered = Vec::new();
    tokio::select! {
        () = harness.stand_ins.wait_for_stop() => {}
        played = harness.run_call(&running.server, &mut answered) => panic!("{checkpoint:?} was not reached: {played:?}"),
    }
    running.kill();
    let running = harness.serve_with_key(has_key).await;
    let mut socket = connect_call(&running.server).await;
    socket.wait_for_speech().await.unwrap();
    harness.finish_call(&running, &mut answered).await;
    harness.check_finished(&running.server, &answered).await;
    // What is said is kept only with a key, and never without.
    let knows = harness.openai.last_input().contains("I would like to pay 25 dollars.");
    assert!(has_key || !knows, "{checkpoint:?}: {}", harness.openai.last_input());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_server_is_restarted_at_any_step_finishes_paying() {
    let restarts =
        STATES_AFTER_A_FAULT.iter().enumerate().map(|(at, (checkpoint, _))| restart_at(*checkpoint, at % 2 == 0));
    stream::iter(restarts).buffer_unordered(3).collect::<Vec<()>>().await;
}

/// Runs a call up to a checkpoint, kills and restarts the server, to which nobody calls again. Returns the state of the payment after recovery.
async fn kill_at(checkpoint: Checkpoint) -> String {
    let harness = Harness::start(Some(checkpoint)).await;
    let running = harness.serve().await;
    let mut answered = Vec::new();
    tokio::select! {
        () = harness.stand_ins.wait_for_stop() => {}
        played = harness.run_call(&running.server, &mut answered) => panic!("{checkpoint:?} was not reached: {played:?}"),
    }
    running.kill();
    let running = harness.serve().await;
    harness.check_recovery(&running.server, &answered).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_at_any_step_forgets_nothing_and_charges_nothing_twice() {
    let kills = STATES_AFTER_A_FAULT
        .map(|(checkpoint, state)| Box::pin(async move { (checkpoint, kill_at(checkpoint).await, state) }));
    stream::iter(kills)
        .buffer_unordered(3)
        .for_each(async |(checkpoint, found, state)| assert_eq!(found, state, "{checkpoint:?}"))
        .await;
}

/// Many times, at any moment at all. It takes minutes: `CRELAY_LONG=1`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_at_random_forgets_nothing_and_charges_nothing_twice() {
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the server")]
    let rounds = if std::env::var_os("CRELAY_LONG").is_some() { 400 } else { 3 };
    let round = async |_| {
        let harness = Harness::start(None).await;
        let running = harness.serve().await;
        let delay = Duration::from_micros(
            u64::from(u16::from_be_bytes([Uuid::new_v4().as_bytes()[0], Uuid::new_v4().as_bytes()[1]])) * 8,
        );
        let mut answered = Vec::new();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            played = harness.run_call(&running.server, &mut answered) => played.unwrap(),
        }
        running.kill();
        let running = harness.serve().await;
        harness.check_recovery(&running.server, &answered).await;
    };
    stream::iter(0..rounds).for_each_concurrent(3, round).await;
}

#[tokio::test]
async fn after_a_crash_no_second_payment_starts_until_the_first_is_settled() {
    let harness = Harness::start(Some(Checkpoint::Submitted)).await;
    let running = harness.serve().await;
    let mut answered = Vec::new();
    tokio::select! {
        () = harness.stand_ins.wait_for_stop() => {}
        _ = harness.run_call(&running.server, &mut answered) => panic!("the payment was not submitted"),
    }
    running.kill();
    let running = harness.serve().await;
    harness.wait_for_state(&running.server, "unknown").await;
    running.kill();
    let starts = || ModelReply::tool_call("start-capture", r#"{"chargeAmount":"25.00"}"#);
    let again = [starts(), ModelReply::text("I am sorry."), starts(), ModelReply::text("It is paid.")];
    let openai = QueuedOpenAi::start(&again).await.unwrap();
    let running = harness.work_dir.serve(&harness.stand_ins, &openai).await;
    let mut socket = connect_call(&running.server).await;
    socket.say("Hello? I was paying.").await.unwrap();
    socket.wait_for_speech().await.unwrap();
    assert!(openai.last_input().contains("An earlier payment of this call was submitted"), "{}", openai.last_input());
    assert_eq!(harness.stand_ins.keys_of("create").len(), 1);

    // The operator settles the payment from the command line while the server runs.
    let list = harness.work_dir.run(&["payments", "--state", "unknown", "--csv"]).await;
    let csv = String::from_utf8(list.stdout).unwrap();
    let mut lines = csv.lines().skip(1);
    let id = lines.next().unwrap().split(',').next().unwrap().to_owned();
    assert!(lines.next().is_none() && csv.contains(",order-7,,25.00,2500,USD,credit-card,"), "{csv}");
    let settled = harness.work_dir.run(&["settle", &id, "--as", "charged", "--confirmation", "ch_9"]).await;
    assert!(settled.status.success(), "{settled:?}");
    let again = harness.work_dir.run(&["settle", &id, "--as", "declined"]).await;
    assert!(!again.status.success() && String::from_utf8(again.stderr).unwrap().contains("the payment is charged"));
    harness.stand_ins.accept_events();
    harness
        .stand_ins
        .wait_until("delivered", |received| received.events.iter().any(|event| event["confirmationCode"] == "ch_9"))
        .await;
    let table = String::from_utf8(harness.work_dir.run(&["payments", "--since", "24h"]).await.stdout).unwrap();
    assert!(table.contains("1 charged; charged 25.00 USD"), "{table}");

    socket.say("Shall I pay again?").await.unwrap();
    socket.wait_for_speech().await.unwrap();
    assert!(openai.last_input().contains("is paid already, so nothing more is charged"), "{}", openai.last_input());
    assert_eq!(harness.stand_ins.keys_of("create").len(), 1);
}
