//! The real server while its disk is full or its ledger is locked, deleted, copied or taken over.

use std::os::unix::fs::symlink;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::time::Instant;

use super::binary::{Home, Running};
use super::server::openai::{OpenAi, Reply};
use super::server::{self, Server, Socket, caller_says};
use super::world::World;
use super::{CALL, FIELDS, REPLIES, Scene, connects, read, report, succeed};

/// The timeout of the checks. It is generous for busy machines.
const SOON: Duration = Duration::from_secs(15);

impl Scene {
    async fn at(home: Home) -> Self {
        Self { world: World::stopping_at(None).await, openai: OpenAi::start(&REPLIES[..9]).await, home }
    }

    /// Runs a call until its payment is submitted. Returns the payment SID.
    async fn submits(&self, server: &Server) -> (Socket, String) {
        let mut socket = connects(server).await;
        caller_says(&mut socket, "I would like to pay 25 dollars.").await;
        self.world.until("opened", |seen| !seen.asked.is_empty()).await;
        let sid = self.world.seen(|seen| seen.asked[0].0.clone());
        for (at, field) in FIELDS.into_iter().enumerate() {
            self.world.until("asked for a field", |seen| seen.asked.iter().any(|(_, what, _)| what == field)).await;
            self.openai.is_asked(3 + 2 * at).await;
            let required = FIELDS[at + 1..].join(",");
            let entered = [("Capture", field), ("PartialResult", "false"), ("Required", &required)];
            report(server, &sid, field, &entered, &mut Vec::new()).await.unwrap();
        }
        self.world.until("completed", |seen| seen.asked.iter().any(|(_, what, _)| what == "complete")).await;
        // The model is called after Twilio's response has been recorded.
        self.openai.is_asked(9).await;
        (socket, sid)
    }

    /// Runs another call on which the model tries to start a payment. Returns the model's input after that.
    async fn tries_to_pay(&self, server: &Server, call: &str) -> String {
        self.openai.will(Reply::Calls("start-capture", "{}"));
        self.openai.will(Reply::Says("I am sorry."));
        let asked = self.openai.asked();
        let about = json!({"callReference": format!("order of {call}"), "amountDue": "30.00"});
        let mut socket = server.connects(call, &about).await;
        caller_says(&mut socket, "I would like to pay.").await;
        self.openai.is_asked(asked + 2).await;
        server::agent_says(&mut socket).await;
        self.openai.shown()
    }

    /// Posts the success callback, which must be answered with 2xx and reach the call.
    async fn is_told_of_success(&self, server: &Server, sid: &str) {
        let asked = self.openai.asked();
        self.openai.will(Reply::Says("All set."));
        let mut answered = Vec::new();
        succeed(server, sid, &mut answered).await.unwrap();
        assert_eq!(answered, ["result"], "the callback is answered with 2xx, because Twilio does not repeat it");
        self.openai.is_asked(asked + 1).await;
        assert!(self.openai.shown().contains("25.00 USD succeeded"), "{}", self.openai.shown());
    }

    async fn connection(&self) -> SqliteConnection {
        SqliteConnection::connect(&format!("sqlite://{}", self.home.ledger().display())).await.unwrap()
    }
}

/// The response of `GET /health`.
async fn health(server: &Server) -> (StatusCode, Value) {
    let answer = server.get("/health").await;
    (answer.status(), answer.json().await.unwrap())
}

async fn is_degraded(server: &Server, why: &str) {
    let (mut last, until) = (None, Instant::now() + SOON);
    while Instant::now() < until {
        let (status, body) = health(server).await;
        if status == StatusCode::SERVICE_UNAVAILABLE && body["ledger"].as_str().unwrap().contains(why) {
            assert_eq!(body["status"], "degraded");
            assert_eq!(server.get("/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
            return;
        }
        last = Some(body);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not degraded: {last:?}");
}

/// Waits until the server is healthy and the submitted payment is charged. Returns how long that took.
async fn is_well_and_charged(server: &Server) -> Duration {
    let began = Instant::now();
    loop {
        let all: Value = server.operator_gets("/payments?state=charged").await.json().await.unwrap();
        let (status, body) = health(server).await;
        if all["payments"].as_array().unwrap().len() == 1 && status == StatusCode::OK {
            assert_eq!(server.get("/ready").await.status(), StatusCode::OK);
            return began.elapsed();
        }
        assert!(began.elapsed() < SOON, "{all} {body}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_no_result_and_payments_resume_when_it_has_room() {
    let Some(home) = Home::with_room_for(2048) else { return };
    let scene = Scene::at(home).await;
    let running = scene.serves().await;
    let (_socket, sid) = scene.submits(&running.server).await;
    scene.home.fill();
    let shown = scene.tries_to_pay(&running.server, "CA2").await;
    assert!(shown.contains("payments cannot be recorded at the moment"), "{shown}");
    scene.is_told_of_success(&running.server, &sid).await;
    is_degraded(&running.server, "the disk is full").await;
    let told = scene.home.runs_with(&[("PORT", &running.port.to_string())], &["health"]).await;
    let words = String::from_utf8(told.stderr).unwrap();
    assert!(!told.status.success() && words.contains("the disk is full"), "{words}");
    let alive = scene.home.runs_with(&[("PORT", &running.port.to_string())], &["health", "--alive"]).await;
    assert!(alive.status.success(), "a container that holds unwritten records must not be restarted");
    assert_eq!(scene.world.keys_of("create").len(), 1);

    scene.home.make_room();
    let took = is_well_and_charged(&running.server).await;
    eprintln!("healthy {took:?} after the disk had room again");
    let told = scene.home.runs_with(&[("PORT", &running.port.to_string())], &["health"]).await;
    assert!(told.status.success());
    scene.world.business_opens();
    scene.world.until("told", |seen| seen.told.iter().any(|told| told["confirmationCode"] == "ch_1")).await;
    scene.tries_to_pay(&running.server, "CA3").await;
    assert_eq!(scene.world.keys_of("create").len(), 2, "payments start again");
    let log = running.log();
    assert!(log.contains("ledger.write_failed") && log.contains("ledger.writable_again"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_during_a_long_lock_is_recorded_and_delivered() {
    let scene = Scene::at(Home::new()).await;
    let running = scene.serves().await;
    let (_socket, sid) = scene.submits(&running.server).await;
    let mut other = scene.connection().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let locked = Instant::now();
    scene.is_told_of_success(&running.server, &sid).await;
    assert!(locked.elapsed() < Duration::from_secs(2), "Twilio does not wait for the lock");
    let shown = scene.tries_to_pay(&running.server, "CA2").await;
    assert!(shown.contains("payments cannot be recorded at the moment"), "{shown}");
    is_degraded(&running.server, "another").await;
    tokio::time::sleep(Duration::from_millis(5_500).saturating_sub(locked.elapsed())).await;
    other.execute("ROLLBACK").await.unwrap();
    let took = is_well_and_charged(&running.server).await;
    eprintln!("healthy {took:?} after the lock was released");
    scene.world.business_opens();
    scene.world.until("told", |seen| seen.told.iter().any(|told| told["state"] == "charged")).await;
    assert_eq!(scene.world.keys_of("create").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_is_refused_the_same_ledger_under_any_name() {
    let scene = Scene::at(Home::new()).await;
    let running = scene.serves().await;
    let (_socket, sid) = scene.submits(&running.server).await;
    let data = scene.home.data();
    let _ = std::fs::remove_file(data.join("crelay-payments.db.lock"));
    symlink(scene.home.ledger(), data.join("symbolic.db")).unwrap();
    std::fs::hard_link(scene.home.ledger(), data.join("hard.db")).unwrap();
    for name in ["crelay-payments.db", "symbolic.db", "hard.db"] {
        let url = format!("sqlite://data/{name}");
        let second = scene.home.starts_in_vain_with(&scene.world, &scene.openai, &[("DATABASE_URL", &url)]).await;
        let told = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(1), "{told}");
        assert!(told.contains(&format!("another server uses the ledger data/{name}")), "{told}");
    }
    assert_eq!(health(&running.server).await.0, StatusCode::OK);
    scene.is_told_of_success(&running.server, &sid).await;
    is_well_and_charged(&running.server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_ledger_is_used_only_with_take_over() {
    let scene = Scene::at(Home::new()).await;
    let running = scene.serves().await;
    let (_socket, sid) = scene.submits(&running.server).await;
    let other = Scene { home: Home::new(), world: scene.world.clone(), openai: OpenAi::start(&[]).await };
    std::fs::create_dir(other.home.data()).unwrap();
    for file in std::fs::read_dir(scene.home.data()).unwrap().flatten() {
        std::fs::copy(file.path(), other.home.data().join(file.file_name())).unwrap();
    }
    let second = other.home.starts_in_vain(&other.world, &other.openai).await;
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(second.status.code() == Some(1) && told.contains("serve --take-over"), "{told}");
    scene.is_told_of_success(&running.server, &sid).await;
    is_well_and_charged(&running.server).await;
    running.dies();
    // After a crash, a server on the same ledger starts at once.
    scene.serves().await.dies();
    let taken = other.home.serves_with(&other.world, &other.openai, &["serve", "--take-over"]).await;
    let unknown: Value = taken.server.operator_gets("/payments?state=unknown").await.json().await.unwrap();
    assert_eq!(unknown["payments"].as_array().unwrap().len(), 1, "{unknown}");
    taken.dies();
    other.serves().await;
}

/// Checks that the server is degraded with this reason, starts no payment, still records callbacks and logs the event
/// once.
async fn takes_no_payments_after(scene: &Scene, running: &Running, sid: &str, why: &str, event: &str) {
    is_degraded(&running.server, why).await;
    let shown = scene.tries_to_pay(&running.server, "CA2").await;
    assert!(shown.contains("no payments can be taken at the moment"), "{shown}");
    assert_eq!(scene.world.keys_of("create").len(), 1);
    scene.is_told_of_success(&running.server, sid).await;
    let log = running.log();
    assert_eq!(log.matches(event).count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_its_lease_takes_no_payments() {
    let scene = Scene::at(Home::new()).await;
    let running = scene.serves().await;
    let (_socket, sid) = scene.submits(&running.server).await;
    let mut other = scene.connection().await;
    other.execute("UPDATE lease SET owner = 'other', epoch = epoch + 1").await.unwrap();
    takes_no_payments_after(&scene, &running, &sid, "another server", "ledger.lease_lost").await;
    let all: Value = running.server.operator_gets("/payments").await.json().await.unwrap();
    let id = all["payments"][0]["id"].as_str().unwrap();
    assert_eq!(read(&running.server, id).await["state"], "charged", "callbacks are recorded without the lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_payment_starts_while_the_database_file_is_missing() {
    let scene = Scene::at(Home::new()).await;
    let running = scene.serves().await;
    let (_socket, sid) = scene.submits(&running.server).await;
    let aside = scene.home.data().join("aside");
    std::fs::rename(scene.home.ledger(), &aside).unwrap();
    let deleted = Instant::now();
    takes_no_payments_after(&scene, &running, &sid, "deleted or replaced", "ledger.file_gone").await;
    eprintln!("detected at most {:?} after the file was deleted", deleted.elapsed());
    std::fs::rename(aside, scene.home.ledger()).unwrap();
    is_well_and_charged(&running.server).await;
    scene.tries_to_pay(&running.server, "CA3").await;
    assert_eq!(scene.world.keys_of("create").len(), 2);
}

#[tokio::test]
async fn held_records_are_written_before_the_server_stops() {
    let scene = Scene::at(Home::new()).await;
    let mut running = scene.serves().await;
    let form = [("CallSid", CALL), ("Sid", "PK1"), ("Result", "success")];
    let mut other = scene.connection().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let answer = running.server.twilio_posts("/payment-status-callback", &form).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    running.is_told_to_stop();
    other.execute("ROLLBACK").await.unwrap();
    assert!(running.stops().await);
    let csv = scene.home.runs(&["payments", "--csv"]).await;
    let csv = String::from_utf8(csv.stdout).unwrap();
    assert!(csv.contains("PK1") && !csv.contains(",submitted,"), "{csv}");
    assert!(!running.log().contains("ledger.held_lost"), "{}", running.log());
}
