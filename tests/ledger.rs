//! Crash tests of the ledger: the real binary is killed at every step of a payment call and restarted on the same file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "ledger/faults.rs"]
mod faults;
#[expect(dead_code, reason = "not all clients are used")]
mod server;
#[path = "ledger/server_process.rs"]
mod server_process;
#[expect(dead_code, reason = "not all stand-ins are used")]
#[path = "ledger/stand_ins.rs"]
mod stand_ins;

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::StatusCode;
use serde_json::{Value, json};
use server::openai::{OpenAi, Reply};
use server::{Server, Socket, caller_says};
use server_process::{ServerProcess, WorkDir};
use stand_ins::{Checkpoint, StandIns};
use uuid::Uuid;

const FIELDS: [&str; 3] = ["payment-card-number", "security-code", "expiration-date"];
const CALL: &str = "CA1";

/// The model's replies in an undisturbed payment call.
const REPLIES: [Reply; 10] = [
    Reply::ToolCall("start-capture", r#"{"chargeAmount":"25.00"}"#),
    Reply::ToolCall("capture-card", "{}"),
    Reply::Text("Please enter the card number."),
    Reply::ToolCall("capture-security-code", "{}"),
    Reply::Text("And the code."),
    Reply::ToolCall("capture-expiry-date", "{}"),
    Reply::Text("And the date."),
    Reply::ToolCall("finish-capture", "{}"),
    Reply::Text("One moment."),
    Reply::Text("All set."),
];

/// A payment call with the stand-ins for Twilio, the model and the business.
struct Harness {
    stand_ins: StandIns,
    openai: OpenAi,
    work_dir: WorkDir,
}

impl Harness {
    async fn start(stop_at: Option<Checkpoint>) -> Self {
        Self {
            stand_ins: StandIns::start(stop_at).await,
            openai: OpenAi::start(&REPLIES).await,
            work_dir: WorkDir::new(),
        }
    }

    async fn serve(&self) -> ServerProcess {
        self.work_dir.serve(&self.stand_ins, &self.openai).await
    }

    /// Runs the call from beginning to end. Adds the callbacks that were answered with 2xx to `answered`.
    async fn run_call(&self, server: &Server, answered: &mut Vec<String>) -> reqwest::Result<()> {
        let mut socket = connect_call(server).await;
        caller_says(&mut socket, "I would like to pay 25 dollars.").await;
        self.stand_ins.wait_until("opened", |received| !received.twilio_requests.is_empty()).await;
        let sid = self.stand_ins.received(|received| received.twilio_requests[0].0.clone());
        post_callback(server, &sid, "exists", &[("ChargeAmount", "25.00")], answered).await?;
        self.stand_ins
            .wait_until("asked for a field", |received| {
                received.twilio_requests.iter().any(|(_, what, _)| what == FIELDS[0])
            })
            .await;
        self.stand_ins.reach(Checkpoint::Opened).await;
        for (at, field) in FIELDS.into_iter().enumerate() {
            self.stand_ins
                .wait_until("asked for a field", |received| {
                    received.twilio_requests.iter().any(|(_, what, _)| what == field)
                })
                .await;
            self.openai.wait_for_requests(3 + 2 * at).await;
            let required = FIELDS[at + 1..].join(",");
            let entered = [("Capture", field), ("PartialResult", "false"), ("Required", &required)];
            post_callback(server, &sid, field, &entered, answered).await?;
            self.stand_ins.reach(Checkpoint::Entered(at)).await;
        }
        self.stand_ins
            .wait_until("completed", |received| received.twilio_requests.iter().any(|(_, what, _)| what == "complete"))
            .await;
        // The server may or may not have read the response by now.
        self.stand_ins.reach(Checkpoint::Submitted).await;
        post_success(server, &sid, answered).await?;
        self.stand_ins.reach(Checkpoint::ResultReported).await;
        self.stand_ins.accept_events();
        self.stand_ins.wait_until("delivered", |received| !received.events.is_empty()).await;
        self.stand_ins.reach(Checkpoint::Delivered).await;
        Ok(())
    }

    /// Checks the ledger and the stand-ins after the restart. Returns the state of the payment after recovery.
    async fn check_recovery(&self, server: &Server, answered: &[String]) -> String {
        self.stand_ins.accept_events();
        let all: Value = server.get_as_operator("/payments").await.json().await.unwrap();
        let payments = all["payments"].as_array().unwrap();
        let asked = self.stand_ins.received(|received| received.twilio_requests.clone());
        let Some(payment) = payments.first() else {
            assert!(
                asked.is_empty() && answered.is_empty(),
                "Twilio received requests, and the ledger is empty: {asked:?}"
            );
            return "none".to_owned();
        };
        assert_eq!(payments.len(), 1, "{all}");
        let id = payment["id"].as_str().unwrap();
        let before = self.settle_after_recovery(server, id).await;
        let payment = read_payment(server, id).await;

        // Every request that Twilio received is in the ledger.
        let events = payment["events"].as_array().unwrap();
        let written: Vec<&str> = events.iter().filter_map(|event| event["data"]["key"].as_str()).collect();
        for (_, what, key) in self.stand_ins.received(|received| received.twilio_requests.clone()) {
            assert!(written.contains(&key.as_str()), "{what} under {key} is not in {payment}");
        }
        assert!(self.stand_ins.keys_of("complete").len() <= 1 && self.stand_ins.keys_of("create").len() <= 1);
        // Every callback that was answered with 2xx is in the ledger.
        for what in answered {
            let is_it = |event: &Value| match what.as_str() {
                "exists" => event["kind"] == "opened",
                "result" => event["kind"] == "ended",
                field => event["kind"] == "entered" && event["data"]["field"] == field,
            };
            assert!(events.iter().any(is_it), "{what} was accepted and is not in {payment}");
        }
        // A payment is cancelled at Twilio if and only if it was not submitted.
        let submitted = events.iter().any(|event| event["data"]["change"] == "complete");
        assert_eq!(self.stand_ins.keys_of("cancel").is_empty(), submitted, "{payment}");
        // The final state is delivered to the business.
        let last = payment["state"].clone();
        self.stand_ins
            .wait_until("delivered", |received| received.events.iter().any(|event| event["state"] == last))
            .await;
        self.stand_ins.received(|received| {
            assert!(received.events.iter().all(|event| event["id"] == id && event["minor"] == 2500));
        });
        before
    }

    /// Waits for the state of the payment after recovery. An unknown one is then settled by a late result or by the
    /// operator.
    async fn settle_after_recovery(&self, server: &Server, id: &str) -> String {
        let mut payment = read_payment(server, id).await;
        while ["opened", "capturing"].contains(&payment["state"].as_str().unwrap()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            payment = read_payment(server, id).await;
        }
        let state = payment["state"].as_str().unwrap().to_owned();
        assert_ne!(state, "submitted");
        if state == "unknown" {
            let sid = payment["paymentSid"].as_str().unwrap();
            if self.stand_ins.keys_of("complete").is_empty() {
                let word = json!({"outcome": "cancelled", "note": "Twilio never saw it"});
                let answer = server.post_as_operator(&format!("/payments/{id}/settle"), &word).await;
                assert_eq!(answer.status(), StatusCode::OK);
            } else {
                post_success(server, sid, &mut Vec::new()).await.unwrap();
                post_success(server, sid, &mut Vec::new()).await.unwrap();
                assert_eq!(read_payment(server, id).await["state"], "charged");
            }
        }
        state
    }
}

async fn connect_call(server: &Server) -> Socket {
    server.connect_call(CALL, &json!({"callReference": "order-7", "amountDue": "25.00"})).await
}

async fn post_callback(
    server: &Server,
    sid: &str,
    what: &str,
    fields: &[(&str, &str)],
    answered: &mut Vec<String>,
) -> reqwest::Result<()> {
    let form = [&[("CallSid", CALL), ("Sid", sid)], fields].concat();
    if server.try_post_as_twilio("/payment-status-callback", &form).await?.status().is_success() {
        answered.push(what.to_owned());
    }
    Ok(())
}

async fn post_success(server: &Server, sid: &str, answered: &mut Vec<String>) -> reqwest::Result<()> {
    let success = [
        ("Result", "success"),
        ("PaymentConfirmationCode", "ch_1"),
        ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
        ("ChargeAmount", "25.00"),
    ];
    post_callback(server, sid, "result", &success, answered).await
}

async fn read_payment(server: &Server, id: &str) -> Value {
    server.get_as_operator(&format!("/payments/{id}")).await.json().await.unwrap()
}

/// Runs a call up to a checkpoint, kills and restarts the server. Returns the state of the payment after recovery.
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
    let checkpoints = [
        (Checkpoint::CreateReceived, "abandoned"),
        (Checkpoint::Opened, "abandoned"),
        (Checkpoint::CaptureReceived(0), "abandoned"),
        (Checkpoint::Entered(0), "abandoned"),
        (Checkpoint::CaptureReceived(1), "abandoned"),
        (Checkpoint::Entered(1), "abandoned"),
        (Checkpoint::CaptureReceived(2), "abandoned"),
        (Checkpoint::CompleteReceived, "unknown"),
        (Checkpoint::Submitted, "unknown"),
        (Checkpoint::ResultReported, "charged"),
        (Checkpoint::Delivered, "charged"),
    ];
    let kills =
        checkpoints.map(|(checkpoint, state)| Box::pin(async move { (checkpoint, kill_at(checkpoint).await, state) }));
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
    let starts = || Reply::ToolCall("start-capture", r#"{"chargeAmount":"25.00"}"#);
    let again = [starts(), Reply::Text("I am sorry."), starts(), Reply::Text("It is paid.")];
    let openai = OpenAi::start(&again).await;
    let running = harness.work_dir.serve(&harness.stand_ins, &openai).await;
    let mut socket = connect_call(&running.server).await;
    caller_says(&mut socket, "Hello? I was paying.").await;
    server::wait_for_agent(&mut socket).await;
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

    caller_says(&mut socket, "Shall I pay again?").await;
    server::wait_for_agent(&mut socket).await;
    assert!(openai.last_input().contains("is paid already, so nothing more is charged"), "{}", openai.last_input());
    assert_eq!(harness.stand_ins.keys_of("create").len(), 1);
}
