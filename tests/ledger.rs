//! Crash tests of the ledger: the real binary is killed at every step of a payment call and restarted on the same file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "ledger/binary.rs"]
mod binary;
#[path = "ledger/faults.rs"]
mod faults;
#[expect(dead_code, reason = "not all clients are used")]
mod server;
#[expect(dead_code, reason = "not all stand-ins are used")]
#[path = "ledger/world.rs"]
mod world;

use std::time::Duration;

use binary::{Home, Running};
use futures_util::{StreamExt as _, stream};
use reqwest::StatusCode;
use serde_json::{Value, json};
use server::openai::{OpenAi, Reply};
use server::{Server, Socket, caller_says};
use uuid::Uuid;
use world::{Moment, World};

const FIELDS: [&str; 3] = ["payment-card-number", "security-code", "expiration-date"];
const CALL: &str = "CA1";

/// The model's replies in an undisturbed payment call.
const REPLIES: [Reply; 10] = [
    Reply::Calls("start-capture", r#"{"chargeAmount":"25.00"}"#),
    Reply::Calls("capture-card", "{}"),
    Reply::Says("Please enter the card number."),
    Reply::Calls("capture-security-code", "{}"),
    Reply::Says("And the code."),
    Reply::Calls("capture-expiry-date", "{}"),
    Reply::Says("And the date."),
    Reply::Calls("finish-capture", "{}"),
    Reply::Says("One moment."),
    Reply::Says("All set."),
];

/// A payment call with the stand-ins for Twilio, the model and the business.
struct Scene {
    world: World,
    openai: OpenAi,
    home: Home,
}

impl Scene {
    async fn stopping_at(moment: Option<Moment>) -> Self {
        Self { world: World::stopping_at(moment).await, openai: OpenAi::start(&REPLIES).await, home: Home::new() }
    }

    async fn serves(&self) -> Running {
        self.home.serves(&self.world, &self.openai).await
    }

    /// Runs the call from beginning to end. Adds the callbacks that were answered with 2xx to `answered`.
    async fn plays(&self, server: &Server, answered: &mut Vec<String>) -> reqwest::Result<()> {
        let mut socket = connects(server).await;
        caller_says(&mut socket, "I would like to pay 25 dollars.").await;
        self.world.until("opened", |seen| !seen.asked.is_empty()).await;
        let sid = self.world.seen(|seen| seen.asked[0].0.clone());
        report(server, &sid, "exists", &[("ChargeAmount", "25.00")], answered).await?;
        self.world.until("asked for a field", |seen| seen.asked.iter().any(|(_, what, _)| what == FIELDS[0])).await;
        self.world.reaches(Moment::Opened).await;
        for (at, field) in FIELDS.into_iter().enumerate() {
            self.world.until("asked for a field", |seen| seen.asked.iter().any(|(_, what, _)| what == field)).await;
            self.openai.is_asked(3 + 2 * at).await;
            let required = FIELDS[at + 1..].join(",");
            let entered = [("Capture", field), ("PartialResult", "false"), ("Required", &required)];
            report(server, &sid, field, &entered, answered).await?;
            self.world.reaches(Moment::Entered(at)).await;
        }
        self.world.until("completed", |seen| seen.asked.iter().any(|(_, what, _)| what == "complete")).await;
        // The server may or may not have read the response by now.
        self.world.reaches(Moment::Submitted).await;
        succeed(server, &sid, answered).await?;
        self.world.reaches(Moment::Told).await;
        self.world.business_opens();
        self.world.until("delivered", |seen| !seen.told.is_empty()).await;
        self.world.reaches(Moment::Delivered).await;
        Ok(())
    }

    /// Checks the ledger and the stand-ins after the restart. Returns the state of the payment after recovery.
    async fn holds(&self, server: &Server, answered: &[String]) -> String {
        self.world.business_opens();
        let all: Value = server.operator_gets("/payments").await.json().await.unwrap();
        let payments = all["payments"].as_array().unwrap();
        let asked = self.world.seen(|seen| seen.asked.clone());
        let Some(payment) = payments.first() else {
            assert!(
                asked.is_empty() && answered.is_empty(),
                "Twilio received requests, and the ledger is empty: {asked:?}"
            );
            return "none".to_owned();
        };
        assert_eq!(payments.len(), 1, "{all}");
        let id = payment["id"].as_str().unwrap();
        let before = self.settled(server, id).await;
        let payment = read(server, id).await;

        // Every request that Twilio received is in the ledger.
        let events = payment["events"].as_array().unwrap();
        let written: Vec<&str> = events.iter().filter_map(|event| event["data"]["key"].as_str()).collect();
        for (_, what, key) in self.world.seen(|seen| seen.asked.clone()) {
            assert!(written.contains(&key.as_str()), "{what} under {key} is not in {payment}");
        }
        assert!(self.world.keys_of("complete").len() <= 1 && self.world.keys_of("create").len() <= 1);
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
        assert_eq!(self.world.keys_of("cancel").is_empty(), submitted, "{payment}");
        // The final state is delivered to the business.
        let last = payment["state"].clone();
        self.world.until("told", |seen| seen.told.iter().any(|told| told["state"] == last)).await;
        self.world.seen(|seen| assert!(seen.told.iter().all(|told| told["id"] == id && told["minor"] == 2500)));
        before
    }

    /// Waits for the state of the payment after recovery. An unknown one is then settled by a late result or by the
    /// operator.
    async fn settled(&self, server: &Server, id: &str) -> String {
        let mut payment = read(server, id).await;
        while ["opened", "capturing"].contains(&payment["state"].as_str().unwrap()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            payment = read(server, id).await;
        }
        let state = payment["state"].as_str().unwrap().to_owned();
        assert_ne!(state, "submitted");
        if state == "unknown" {
            let sid = payment["paymentSid"].as_str().unwrap();
            if self.world.keys_of("complete").is_empty() {
                let word = json!({"outcome": "cancelled", "note": "Twilio never saw it"});
                let answer = server.operator_posts(&format!("/payments/{id}/settle"), &word).await;
                assert_eq!(answer.status(), StatusCode::OK);
            } else {
                succeed(server, sid, &mut Vec::new()).await.unwrap();
                succeed(server, sid, &mut Vec::new()).await.unwrap();
                assert_eq!(read(server, id).await["state"], "charged");
            }
        }
        state
    }
}

async fn connects(server: &Server) -> Socket {
    server.connects(CALL, &json!({"callReference": "order-7", "amountDue": "25.00"})).await
}

async fn report(
    server: &Server,
    sid: &str,
    what: &str,
    fields: &[(&str, &str)],
    answered: &mut Vec<String>,
) -> reqwest::Result<()> {
    let form = [&[("CallSid", CALL), ("Sid", sid)], fields].concat();
    if server.twilio_tries("/payment-status-callback", &form).await?.status().is_success() {
        answered.push(what.to_owned());
    }
    Ok(())
}

async fn succeed(server: &Server, sid: &str, answered: &mut Vec<String>) -> reqwest::Result<()> {
    let success = [
        ("Result", "success"),
        ("PaymentConfirmationCode", "ch_1"),
        ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
        ("ChargeAmount", "25.00"),
    ];
    report(server, sid, "result", &success, answered).await
}

async fn read(server: &Server, id: &str) -> Value {
    server.operator_gets(&format!("/payments/{id}")).await.json().await.unwrap()
}

/// Runs a call up to a checkpoint, kills and restarts the server. Returns the state of the payment after recovery.
async fn killed_at(moment: Moment) -> String {
    let scene = Scene::stopping_at(Some(moment)).await;
    let running = scene.serves().await;
    let mut answered = Vec::new();
    tokio::select! {
        () = scene.world.stops() => {}
        played = scene.plays(&running.server, &mut answered) => panic!("{moment:?} was not reached: {played:?}"),
    }
    running.dies();
    let running = scene.serves().await;
    scene.holds(&running.server, &answered).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_at_any_step_forgets_nothing_and_charges_nothing_twice() {
    let moments = [
        (Moment::AskedToOpen, "abandoned"),
        (Moment::Opened, "abandoned"),
        (Moment::AskedFor(0), "abandoned"),
        (Moment::Entered(0), "abandoned"),
        (Moment::AskedFor(1), "abandoned"),
        (Moment::Entered(1), "abandoned"),
        (Moment::AskedFor(2), "abandoned"),
        (Moment::AskedToComplete, "unknown"),
        (Moment::Submitted, "unknown"),
        (Moment::Told, "charged"),
        (Moment::Delivered, "charged"),
    ];
    let kills = moments.map(|(moment, state)| Box::pin(async move { (moment, killed_at(moment).await, state) }));
    stream::iter(kills)
        .buffer_unordered(3)
        .for_each(async |(moment, found, state)| assert_eq!(found, state, "{moment:?}"))
        .await;
}

/// Many times, at any moment at all. It takes minutes: `CRELAY_LONG=1`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_at_random_forgets_nothing_and_charges_nothing_twice() {
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the server")]
    let rounds = if std::env::var_os("CRELAY_LONG").is_some() { 400 } else { 3 };
    let round = async |_| {
        let scene = Scene::stopping_at(None).await;
        let running = scene.serves().await;
        let delay = Duration::from_micros(
            u64::from(u16::from_be_bytes([Uuid::new_v4().as_bytes()[0], Uuid::new_v4().as_bytes()[1]])) * 8,
        );
        let mut answered = Vec::new();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            played = scene.plays(&running.server, &mut answered) => played.unwrap(),
        }
        running.dies();
        let running = scene.serves().await;
        scene.holds(&running.server, &answered).await;
    };
    stream::iter(0..rounds).for_each_concurrent(3, round).await;
}

#[tokio::test]
async fn after_a_crash_no_second_payment_starts_until_the_first_is_settled() {
    let scene = Scene::stopping_at(Some(Moment::Submitted)).await;
    let running = scene.serves().await;
    let mut answered = Vec::new();
    tokio::select! {
        () = scene.world.stops() => {}
        _ = scene.plays(&running.server, &mut answered) => panic!("the payment was not submitted"),
    }
    running.dies();
    let starts = || Reply::Calls("start-capture", r#"{"chargeAmount":"25.00"}"#);
    let again = [starts(), Reply::Says("I am sorry."), starts(), Reply::Says("It is paid.")];
    let openai = OpenAi::start(&again).await;
    let running = scene.home.serves(&scene.world, &openai).await;
    let mut socket = connects(&running.server).await;
    caller_says(&mut socket, "Hello? I was paying.").await;
    server::agent_says(&mut socket).await;
    assert!(openai.shown().contains("An earlier payment of this call was submitted"), "{}", openai.shown());
    assert_eq!(scene.world.keys_of("create").len(), 1);

    // The operator settles the payment from the command line while the server runs.
    let list = scene.home.runs(&["payments", "--state", "unknown", "--csv"]).await;
    let csv = String::from_utf8(list.stdout).unwrap();
    let mut lines = csv.lines().skip(1);
    let id = lines.next().unwrap().split(',').next().unwrap().to_owned();
    assert!(lines.next().is_none() && csv.contains(",order-7,,25.00,2500,USD,credit-card,"), "{csv}");
    let settled = scene.home.runs(&["settle", &id, "--as", "charged", "--confirmation", "ch_9"]).await;
    assert!(settled.status.success(), "{settled:?}");
    let again = scene.home.runs(&["settle", &id, "--as", "declined"]).await;
    assert!(!again.status.success() && String::from_utf8(again.stderr).unwrap().contains("the payment is charged"));
    scene.world.business_opens();
    scene.world.until("told", |seen| seen.told.iter().any(|told| told["confirmationCode"] == "ch_9")).await;
    let table = String::from_utf8(scene.home.runs(&["payments", "--since", "24h"]).await.stdout).unwrap();
    assert!(table.contains("1 charged; charged 25.00 USD"), "{table}");

    caller_says(&mut socket, "Shall I pay again?").await;
    server::agent_says(&mut socket).await;
    assert!(openai.shown().contains("is paid already, so nothing more is charged"), "{}", openai.shown());
    assert_eq!(scene.world.keys_of("create").len(), 1);
}
