//! The real server while its disk is full or its ledger is locked, deleted, copied or taken over.

use std::os::unix::fs::symlink;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::time::Instant;

use super::Harness;
use super::payment_call::{
    CALL, CALLBACK, PaymentCall, REPLIES, connect_call, post_callback, post_success, read_payment,
};
use super::server::Server;
use super::server_process::{ServerProcess, WorkDir};
use super::stand_ins::{FIELDS, ReceivedRequests, StandIns};
use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RelayClient};

/// The timeout of the checks. It is generous for busy machines.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Reports that the caller has entered this field.
async fn report_field(server: &Server, sid: &str, at: usize) {
    let required = FIELDS[at + 1..].join(",");
    let entered = [("Capture", FIELDS[at]), ("PartialResult", "false"), ("Required", &required)];
    post_callback(server, CALLBACK, sid, FIELDS[at], &entered, &mut Vec::new()).await.unwrap();
}

impl Harness {
    async fn in_dir(work_dir: WorkDir) -> Self {
        let openai = QueuedOpenAi::start(&REPLIES[..9]).await.unwrap();
        Self { call: PaymentCall { stand_ins: StandIns::start(None).await, openai, number: None }, work_dir }
    }

    /// Runs a call until its payment is submitted. Returns the payment SID.
    async fn submit_payment(&self, server: &Server) -> (RelayClient, String) {
        let mut socket = connect_call(server).await;
        socket.say("I would like to pay 25 dollars.").await.unwrap();
        self.stand_ins.wait_until("opened", |received| !received.twilio_requests.is_empty()).await;
        let sid = self.stand_ins.received(|received| received.twilio_requests[0].0.clone());
        for at in 0..FIELDS.len() {
            self.await_capture(at).await;
            report_field(server, &sid, at).await;
        }
        self.stand_ins
            .wait_until("completed", |received| received.twilio_requests.iter().any(|(_, what, _)| what == "complete"))
            .await;
        // The model is called after Twilio's response has been recorded.
        self.openai.wait_for_requests(9).await.unwrap();
        (socket, sid)
    }

    /// Waits until this field is captured, and the model knows.
    async fn await_capture(&self, at: usize) {
        let is_asked =
            |received: &ReceivedRequests| received.twilio_requests.iter().any(|(_, what, _)| what == FIELDS[at]);
        self.stand_ins.wait_until("asked for a field", is_asked).await;
        self.openai.wait_for_requests(3 + 2 * at).await.unwrap();
    }

    /// Runs another call on which the model tries to start a payment. Returns the model's input after that.
    async fn try_to_pay(&self, server: &Server, call: &str) -> String {
        self.openai.queue(ModelReply::tool_call("start-capture", "{}"));
        self.openai.queue(ModelReply::text("I am sorry."));
        let asked = self.openai.request_count();
        let about = json!({"callReference": format!("order of {call}"), "amountDue": "30.00"});
        let mut socket = server.connect_call(call, &about).await;
        socket.say("I would like to pay.").await.unwrap();
        self.openai.wait_for_requests(asked + 2).await.unwrap();
        socket.wait_for_speech().await.unwrap();
        self.openai.last_input()
    }

    /// Posts the success callback, which must be answered with 2xx and reach the call.
    async fn report_success(&self, server: &Server, sid: &str) {
        let asked = self.openai.request_count();
        self.openai.queue(ModelReply::text("All set."));
        let mut answered = Vec::new();
        post_success(server, CALLBACK, sid, &mut answered).await.unwrap();
        assert_eq!(answered, ["result"], "the callback is answered with 2xx, because Twilio does not repeat it");
        self.openai.wait_for_requests(asked + 1).await.unwrap();
        assert!(self.openai.last_input().contains("25.00 USD succeeded"), "{}", self.openai.last_input());
    }

    async fn connection(&self) -> SqliteConnection {
        SqliteConnection::connect(&format!("sqlite://{}", self.work_dir.ledger_path().display())).await.unwrap()
    }
}

/// The response of `GET /health`.
async fn health(server: &Server) -> (StatusCode, Value) {
    let answer = server.get("/health").await;
    (answer.status(), answer.json().await.unwrap())
}

async fn wait_until_degraded(server: &Server, why: &str) {
    let (mut last, until) = (None, Instant::now() + TIMEOUT);
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
async fn wait_until_healthy(server: &Server) -> Duration {
    let began = Instant::now();
    loop {
        let all: Value = server.get_as_operator("/payments?state=charged").await.json().await.unwrap();
        let (status, body) = health(server).await;
        if all["payments"].as_array().unwrap().len() == 1 && status == StatusCode::OK {
            assert_eq!(server.get("/ready").await.status(), StatusCode::OK);
            return began.elapsed();
        }
        assert!(began.elapsed() < TIMEOUT, "{all} {body}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_no_result_and_payments_resume_when_it_has_room() {
    let Some(work_dir) = WorkDir::with_size(2048) else { return };
    let harness = Harness::in_dir(work_dir).await;
    let running = harness.serve().await;
    let (_socket, sid) = harness.submit_payment(&running.server).await;
    harness.work_dir.fill();
    let shown = harness.try_to_pay(&running.server, "CA2").await;
    assert!(shown.contains("payments cannot be recorded at the moment"), "{shown}");
    harness.report_success(&running.server, &sid).await;
    wait_until_degraded(&running.server, "the disk is full").await;
    let printed = harness.work_dir.run_with(&[("PORT", &running.port.to_string())], &["health"]).await;
    let words = String::from_utf8(printed.stderr).unwrap();
    assert!(!printed.status.success() && words.contains("the disk is full"), "{words}");
    let alive = harness.work_dir.run_with(&[("PORT", &running.port.to_string())], &["health", "--alive"]).await;
    assert!(alive.status.success(), "a container that holds unwritten records must not be restarted");
    assert_eq!(harness.stand_ins.keys_of("create").len(), 1);

    harness.work_dir.free_space();
    let took = wait_until_healthy(&running.server).await;
    eprintln!("healthy {took:?} after the disk had room again");
    let printed = harness.work_dir.run_with(&[("PORT", &running.port.to_string())], &["health"]).await;
    assert!(printed.status.success());
    harness.stand_ins.accept_events();
    harness
        .stand_ins
        .wait_until("delivered", |received| received.events.iter().any(|event| event["confirmationCode"] == "ch_1"))
        .await;
    harness.try_to_pay(&running.server, "CA3").await;
    assert_eq!(harness.stand_ins.keys_of("create").len(), 2, "payments start again");
    let log = running.log();
    assert!(log.contains("ledger.write_failed") && log.contains("ledger.writable_again"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_during_a_long_lock_is_recorded_and_delivered() {
    let harness = Harness::in_dir(WorkDir::new()).await;
    let running = harness.serve().await;
    let (_socket, sid) = harness.submit_payment(&running.server).await;
    let mut other = harness.connection().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let locked = Instant::now();
    harness.report_success(&running.server, &sid).await;
    assert!(locked.elapsed() < Duration::from_secs(2), "Twilio does not wait for the lock");
    let shown = harness.try_to_pay(&running.server, "CA2").await;
    assert!(shown.contains("payments cannot be recorded at the moment"), "{shown}");
    wait_until_degraded(&running.server, "another").await;
    tokio::time::sleep(Duration::from_millis(5_500).saturating_sub(locked.elapsed())).await;
    other.execute("ROLLBACK").await.unwrap();
    let took = wait_until_healthy(&running.server).await;
    eprintln!("healthy {took:?} after the lock was released");
    harness.stand_ins.accept_events();
    harness
        .stand_ins
        .wait_until("delivered", |received| received.events.iter().any(|event| event["state"] == "charged"))
        .await;
    assert_eq!(harness.stand_ins.keys_of("create").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_on_to_the_next_field_while_the_ledger_is_locked() {
    let harness = Harness::in_dir(WorkDir::new()).await;
    let running = harness.serve().await;
    let mut socket = connect_call(&running.server).await;
    socket.say("I would like to pay 25 dollars.").await.unwrap();
    harness.await_capture(0).await;
    let sid = harness.stand_ins.received(|received| received.twilio_requests[0].0.clone());
    let mut other = harness.connection().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    tokio::select! {
        biased;
        asked = harness.openai.wait_for_requests(4) => asked.unwrap(),
        () = report_field(&running.server, &sid, 0) => panic!("the call did not go on before the ledger was written"),
    }
    other.execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_is_refused_the_same_ledger_under_any_name() {
    let harness = Harness::in_dir(WorkDir::new()).await;
    let running = harness.serve().await;
    let (_socket, sid) = harness.submit_payment(&running.server).await;
    let data = harness.work_dir.data_dir();
    let _ = std::fs::remove_file(data.join("crelay-payments.db.lock"));
    symlink(harness.work_dir.ledger_path(), data.join("symbolic.db")).unwrap();
    std::fs::hard_link(harness.work_dir.ledger_path(), data.join("hard.db")).unwrap();
    for name in ["crelay-payments.db", "symbolic.db", "hard.db"] {
        let url = format!("sqlite://data/{name}");
        let second = harness
            .work_dir
            .start_expecting_exit_with(&harness.stand_ins, &harness.openai, &[("DATABASE_URL", &url)])
            .await;
        let printed = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(1), "{printed}");
        assert!(printed.contains(&format!("another server uses the ledger data/{name}")), "{printed}");
    }
    assert_eq!(health(&running.server).await.0, StatusCode::OK);
    harness.report_success(&running.server, &sid).await;
    wait_until_healthy(&running.server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_ledger_is_used_only_with_take_over() {
    let harness = Harness::in_dir(WorkDir::new()).await;
    let running = harness.serve().await;
    let (_socket, sid) = harness.submit_payment(&running.server).await;
    let openai = QueuedOpenAi::start(&[]).await.unwrap();
    let call = PaymentCall { stand_ins: harness.stand_ins.clone(), openai, number: None };
    let other = Harness { call, work_dir: WorkDir::new() };
    std::fs::create_dir(other.work_dir.data_dir()).unwrap();
    for file in std::fs::read_dir(harness.work_dir.data_dir()).unwrap().flatten() {
        std::fs::copy(file.path(), other.work_dir.data_dir().join(file.file_name())).unwrap();
    }
    let second = other.work_dir.start_expecting_exit(&other.stand_ins, &other.openai).await;
    let printed = String::from_utf8(second.stderr).unwrap();
    assert!(second.status.code() == Some(1) && printed.contains("serve --take-over"), "{printed}");
    harness.report_success(&running.server, &sid).await;
    wait_until_healthy(&running.server).await;
    running.kill();
    // After a crash, a server on the same ledger starts at once.
    harness.serve().await.kill();
    let taken = other.work_dir.serve_with(&other.stand_ins, &other.openai, &["serve", "--take-over"]).await;
    let submitted: Value = taken.server.get_as_operator("/payments?state=submitted").await.json().await.unwrap();
    assert_eq!(submitted["payments"].as_array().unwrap().len(), 1, "its caller may come: {submitted}");
    taken.kill();
    other.serve().await;
}

/// Checks that the server is degraded with this reason, starts no payment, still records callbacks and logs the event
/// once.
async fn check_no_payments(harness: &Harness, running: &ServerProcess, sid: &str, why: &str, event: &str) {
    wait_until_degraded(&running.server, why).await;
    let shown = harness.try_to_pay(&running.server, "CA2").await;
    assert!(shown.contains("no payments can be taken at the moment"), "{shown}");
    assert_eq!(harness.stand_ins.keys_of("create").len(), 1);
    harness.report_success(&running.server, sid).await;
    let log = running.log();
    assert_eq!(log.matches(event).count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_its_lease_takes_no_payments() {
    let harness = Harness::in_dir(WorkDir::new()).await;
    let running = harness.serve().await;
    let (_socket, sid) = harness.submit_payment(&running.server).await;
    let mut other = harness.connection().await;
    other.execute("UPDATE lease SET owner = 'other', epoch = epoch + 1").await.unwrap();
    check_no_payments(&harness, &running, &sid, "another server", "ledger.lease_lost").await;
    let all: Value = running.server.get_as_operator("/payments").await.json().await.unwrap();
    let id = all["payments"][0]["id"].as_str().unwrap();
    assert_eq!(read_payment(&running.server, id).await["state"], "charged", "callbacks are recorded without the lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_payment_starts_while_the_database_file_is_missing() {
    let harness = Harness::in_dir(WorkDir::new()).await;
    let running = harness.serve().await;
    let (_socket, sid) = harness.submit_payment(&running.server).await;
    let aside = harness.work_dir.data_dir().join("aside");
    std::fs::rename(harness.work_dir.ledger_path(), &aside).unwrap();
    let deleted = Instant::now();
    check_no_payments(&harness, &running, &sid, "deleted or replaced", "ledger.file_gone").await;
    eprintln!("detected at most {:?} after the file was deleted", deleted.elapsed());
    std::fs::rename(aside, harness.work_dir.ledger_path()).unwrap();
    wait_until_healthy(&running.server).await;
    harness.try_to_pay(&running.server, "CA3").await;
    assert_eq!(harness.stand_ins.keys_of("create").len(), 2);
}

#[tokio::test]
async fn held_records_are_written_before_the_server_stops() {
    let harness = Harness::in_dir(WorkDir::new()).await;
    let mut running = harness.serve().await;
    let form = [("CallSid", CALL), ("Sid", "PK1"), ("Result", "success")];
    let mut other = harness.connection().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let answer = running.server.post_as_twilio("/payment-status-callback", &form).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    running.terminate();
    other.execute("ROLLBACK").await.unwrap();
    assert!(running.wait_for_exit().await);
    let csv = harness.work_dir.run(&["payments", "--csv"]).await;
    let csv = String::from_utf8(csv.stdout).unwrap();
    assert!(csv.contains("PK1") && !csv.contains(",submitted,"), "{csv}");
    assert!(!running.log().contains("ledger.buffer_lost"), "{}", running.log());
}

#[tokio::test]
async fn unmasked_card_data_is_logged_without_its_digits() {
    let harness = Harness::start(None).await;
    let running = harness.serve().await;
    for (n, field) in [("PaymentCardNumber", "4242424242424242"), ("SecurityCode", "737")].into_iter().enumerate() {
        let sid = format!("PK{n}");
        let form = [("CallSid", "CA404"), ("Sid", &sid), ("Capture", "security-code"), field];
        let answer = running.server.post_as_twilio("/payment-status-callback", &form).await;
        assert_eq!(answer.status(), reqwest::StatusCode::NO_CONTENT);
    }
    let both = async {
        while running.log().matches("payment.unmasked_card_data").count() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), both).await.expect("both callbacks are logged");
    assert!(!running.log().contains("42424242") && !running.log().contains("=737"), "{}", running.log());
}
