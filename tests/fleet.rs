//! Several servers on one ledger: the real binary two or three times, PostgreSQL, and stand-ins for Twilio, the model and the
//! business. What Twilio reports lands on any of them, and each may die, freeze or be cut off at any moment.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fleet/deploy.rs"]
mod deploy;
#[path = "fleet/fail_over.rs"]
mod fail_over;
#[expect(dead_code, reason = "not all of a call is used")]
#[path = "ledger/payment_call.rs"]
mod payment_call;
#[path = "fleet/pooler.rs"]
mod pooler;
#[expect(dead_code, reason = "not all clients are used")]
mod server;
#[expect(dead_code, reason = "not all ways to run a server are used")]
#[path = "ledger/server_process.rs"]
mod server_process;
#[expect(dead_code, reason = "not all stand-ins are used")]
#[path = "ledger/stand_ins.rs"]
mod stand_ins;
#[path = "fleet/tls.rs"]
mod tls;

use std::time::Duration;

use crelay_payments::simulator::{DatabaseWire, LocalPostgres, ModelReply, QueuedOpenAi, WireState};
use futures_util::{StreamExt as _, stream};
use payment_call::{
    CALL, PaymentCall, STATES_AFTER_A_FAULT, connect_call, post_success, read_payment, reconnect_call, reply_to_state,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use server::Server;
use server_process::{ServerProcess, WorkDir};
use stand_ins::Checkpoint;
use uuid::Uuid;

const SEALING_KEY: &str = "c2ltdWxhdGVkIGtleSBvZiAzMiBieXRlcyBpbiBhbGw=";

/// Longer than anything may take, a server that is held for dead included.
const PATIENCE: Duration = Duration::from_secs(40);

/// A payment call, and the database of its servers.
struct Fleet {
    call: PaymentCall,
    database: String,
    work_dir: WorkDir,
}

impl Fleet {
    /// `None` where PostgreSQL is not installed.
    async fn start(stop_at: Option<Checkpoint>) -> Option<Self> {
        let database = LocalPostgres::get()?.create_database().await.unwrap();
        Some(Self { call: PaymentCall::start(stop_at).await, database, work_dir: WorkDir::new() })
    }

    /// Starts another server.
    async fn serve(&self) -> ServerProcess {
        self.serve_at(&self.database, "http://127.0.0.1").await
    }

    /// Starts another server, on which a call waits this long for a new socket.
    async fn serve_resuming(&self, seconds: &str) -> ServerProcess {
        let address = [("INSTANCE_ADDRESS", "http://127.0.0.1"), ("RESUME_SECONDS", seconds)];
        let vars = [&[("DATABASE_URL", &*self.database), ("SEALING_KEY", SEALING_KEY)][..], &address].concat();
        self.work_dir.serve_with_vars(&self.call.stand_ins, &self.call.openai, &vars).await
    }

    /// Starts another server, whose calls end or are handed over within this time when it stops.
    async fn serve_draining(&self, seconds: &str) -> ServerProcess {
        let address = [("INSTANCE_ADDRESS", "http://127.0.0.1"), ("DRAIN_SECONDS", seconds)];
        let vars = [&[("DATABASE_URL", &*self.database), ("SEALING_KEY", SEALING_KEY)][..], &address].concat();
        self.work_dir.serve_with_vars(&self.call.stand_ins, &self.call.openai, &vars).await
    }

    /// Starts another server, which reaches the database at this URL and is reached by the others at this address.
    async fn serve_at(&self, database: &str, address: &str) -> ServerProcess {
        let vars = [
            ("DATABASE_URL", database),
            ("SEALING_KEY", SEALING_KEY),
            ("INSTANCE_ADDRESS", address),
            ("RESUME_SECONDS", "10"),
            ("DRAIN_SECONDS", "1"),
        ];
        self.work_dir.serve_with_vars(&self.call.stand_ins, &self.call.openai, &vars).await
    }

    /// A wire to the database, and the URL at its near end.
    async fn wire(&self) -> (DatabaseWire, String) {
        let database = LocalPostgres::get().unwrap().address();
        let wire = DatabaseWire::to(database).await.unwrap();
        let url = self.database.replace(&database.to_string(), &wire.address().to_string());
        (wire, url)
    }

    /// Runs the call up to the checkpoint at which the stand-ins stop, on one server, with the webhooks on another.
    async fn run_to_checkpoint(&self, on: &ServerProcess, to: &ServerProcess, answered: &mut Vec<String>) {
        tokio::select! {
            () = self.call.stand_ins.wait_for_stop() => {}
            played = self.call.run_call(&on.server, &to.server, str::to_owned, answered) => {
                panic!("the checkpoint was not reached: {played:?}")
            }
        }
    }

    /// The caller of a call goes on while the database is away, and once it is back.
    async fn endure_outage(&self, owner: &ServerProcess, wire: &DatabaseWire, mut answered: Vec<String>) {
        wire.set(WireState::Cut);
        let mut socket = reconnect_call(&owner.server).await;
        socket.say("Are you there?").await.unwrap();
        tokio::time::sleep(OUTAGE).await;
        wire.set(WireState::Whole);
        socket.say("And now?").await.unwrap();
        self.call.finish_call(owner, &mut answered).await;
        self.call.check_finished(&owner.server, &answered).await;
        drop(socket);
    }

    /// Cuts the database off once the payment is submitted, and lets Twilio report its success to this server.
    async fn report_success_without_database(&self, server: &Server, wire: &DatabaseWire) {
        let stand_ins = &self.call.stand_ins;
        stand_ins.wait_for_stop().await;
        // The model is asked after Twilio's response has been recorded.
        self.call.openai.wait_for_requests(9).await.unwrap();
        wire.set(WireState::Cut);
        let sid = stand_ins.received(|received| received.twilio_requests[0].0.clone());
        let mut answered = Vec::new();
        post_success(server, &stand_ins.callback_path(), &sid, &mut answered).await.unwrap();
        assert_eq!(answered, ["result"]);
    }

    /// Waits until the only payment is in one of these states. Returns it.
    async fn wait_for_state(&self, server: &Server, states: &[&str]) -> Value {
        let waits = async {
            loop {
                let all: Value = server.get_as_operator("/payments").await.json().await.unwrap();
                let payments = all["payments"].as_array().cloned().unwrap_or_default();
                assert!(payments.len() <= 1, "{all}");
                let is_reached = |payment: &&Value| states.contains(&payment["state"].as_str().unwrap());
                if let Some(payment) = payments.iter().find(is_reached) {
                    return read_payment(server, payment["id"].as_str().unwrap()).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("the payment is not {states:?}"))
    }
}

/// The events of a payment of this kind.
fn events(payment: &Value, kind: &str) -> usize {
    payment["events"].as_array().unwrap().iter().filter(|event| event["kind"] == kind).count()
}

/// The plain path of a callback, as in the configuration of a number.
fn plain(path: &str) -> String {
    let (_, plain) = path.strip_prefix("/at/").unwrap().split_once('/').unwrap();
    format!("/{plain}")
}

/// The path of a callback, which names a server that is not there.
fn of_nobody(path: &str) -> String {
    format!("/at/abcdefghijklmnop{}", plain(path))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_lands_on_another_server_is_heard_and_a_payment_goes_on() {
    for path in [str::to_owned, plain, of_nobody] {
        let Some(fleet) = Fleet::start(None).await else { return };
        let (owner, other) = tokio::join!(fleet.serve(), fleet.serve());
        let mut answered = Vec::new();
        fleet.call.run_call(&owner.server, &other.server, path, &mut answered).await.unwrap();
        assert_eq!(answered.len(), 5, "each is answered: {answered:?}");
        let payment = fleet.wait_for_state(&other.server, &["charged"]).await;
        assert_eq!((events(&payment, "entered"), events(&payment, "ended")), (3, 1), "{payment}");
        let keys = ["create", "complete", "cancel"].map(|what| fleet.call.stand_ins.keys_of(what).len());
        assert_eq!(keys, [1, 1, 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_starts_leaves_the_payments_of_the_others_alone() {
    let Some(fleet) = Fleet::start(None).await else { return };
    let owner = fleet.serve().await;
    let begins = async {
        let reached = |received: &stand_ins::ReceivedRequests| received.reached.contains(&Checkpoint::Entered(0));
        fleet.call.stand_ins.wait_until("entered", reached).await;
        fleet.serve().await
    };
    let mut answered = Vec::new();
    let run = fleet.call.run_call(&owner.server, &owner.server, str::to_owned, &mut answered);
    let (run, other) = tokio::join!(run, begins);
    run.unwrap();
    fleet.wait_for_state(&other.server, &["charged"]).await;
    assert!(fleet.call.stand_ins.keys_of("cancel").is_empty());
}

/// What happens to the server that has the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// `kill -9`.
    Killed,
    /// It is frozen, and wakes once another server has the call.
    Frozen,
    /// It is told to stop, and ends its calls after a second.
    Stopped,
    /// It does not reach the database until another server has the call.
    CutFromDatabase,
    /// All servers are killed, and another one starts.
    AllKilled,
    /// The database is away for three seconds, for all servers. The call stays where it is.
    DatabaseAway,
}

/// How long the database is away.
const OUTAGE: Duration = Duration::from_secs(3);

/// The longest that a caller may hear nobody after the call was connected anew.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// Runs a call up to a checkpoint, at which its server has a fault. The caller is connected anew to another one, and goes on.
async fn disturb_at(checkpoint: Checkpoint, fault: Fault) {
    let Some(mut fleet) = Fleet::start(Some(checkpoint)).await else { return };
    fleet.call.openai = QueuedOpenAi::start_with_rule(reply_to_state).await.unwrap();
    let (wire, database) = fleet.wire().await;
    let through = if fault == Fault::DatabaseAway { &database } else { &fleet.database };
    let (mut owner, mut other) =
        tokio::join!(fleet.serve_at(&database, "http://127.0.0.1"), fleet.serve_at(through, "http://127.0.0.1"));
    let mut answered = Vec::new();
    fleet.run_to_checkpoint(&owner, &other, &mut answered).await;
    match fault {
        Fault::DatabaseAway => return fleet.endure_outage(&owner, &wire, answered).await,
        Fault::AllKilled => {
            owner.kill_now();
            other.kill_now();
            other = fleet.serve().await;
        }
        Fault::Killed => owner.kill_now(),
        Fault::Frozen => owner.signal("-STOP"),
        Fault::Stopped => {
            owner.terminate();
            assert!(owner.wait_for_exit().await);
        }
        Fault::CutFromDatabase => wire.set(WireState::Cut),
    }
    let mut socket = connect_call(&other.server).await;
    other.wait_for_log("call.taken_over").await;
    if fault == Fault::Stopped {
        // After a hand-over that nobody noticed the agent waits for the caller.
        socket.say("Are you there?").await.unwrap();
    }
    tokio::time::timeout(HEARD_WITHIN, socket.wait_for_speech()).await.expect("somebody is heard").unwrap();
    assert!(fleet.call.openai.last_input().contains("I would like to pay 25 dollars."), "the conversation goes on");
    fleet.call.finish_call(&other, &mut answered).await;
    if fault == Fault::Frozen || fault == Fault::CutFromDatabase {
        if fault == Fault::Frozen {
            owner.signal("-CONT");
        } else {
            wire.set(WireState::Whole);
        }
        // Its beat tells it, unless its session has ended before, since the caller's socket is gone.
        owner.wait_for_log("call.ended").await;
        owner.server.wait_for_calls(0).await;
    }
    fleet.call.check_finished(&other.server, &answered).await;
    if matches!(fault, Fault::Killed | Fault::Stopped | Fault::AllKilled) {
        assert!(!other.log().contains(" ERROR "), "nobody is paged: {}", other.log());
    }
}

/// With `CRELAY_LONG=1` at every step; otherwise with each fault but a kill at two of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_server_has_a_fault_at_any_step_finishes_paying_on_another_and_is_charged_once() {
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the server")]
    let is_long = std::env::var_os("CRELAY_LONG").is_some();
    let faults =
        [Fault::Killed, Fault::Frozen, Fault::Stopped, Fault::CutFromDatabase, Fault::AllKilled, Fault::DatabaseAway];
    let all = faults.into_iter().flat_map(|fault| STATES_AFTER_A_FAULT.map(|(checkpoint, _)| (checkpoint, fault)));
    let is_short = |checkpoint| matches!(checkpoint, Checkpoint::Entered(1) | Checkpoint::Submitted);
    let chosen = all.filter(|(checkpoint, fault)| is_long || *fault == Fault::Killed || is_short(*checkpoint));
    let runs = chosen.map(|(checkpoint, fault)| {
        Box::pin(async move {
            println!("{checkpoint:?} {fault:?}");
            disturb_at(checkpoint, fault).await;
        })
    });
    stream::iter(runs).buffer_unordered(2).collect::<Vec<()>>().await;
}

/// Many times, at any moment at all. It takes minutes: `CRELAY_LONG=1`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_server_is_killed_at_random_is_charged_once() {
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the server")]
    let rounds = if std::env::var_os("CRELAY_LONG").is_some() { 100 } else { 2 };
    let round = async |_| {
        let Some(mut fleet) = Fleet::start(None).await else { return };
        fleet.call.openai = QueuedOpenAi::start_with_rule(reply_to_state).await.unwrap();
        let (owner, other) = tokio::join!(fleet.serve(), fleet.serve());
        let random = Uuid::new_v4();
        let delay =
            Duration::from_micros(u64::from(u16::from_be_bytes([random.as_bytes()[0], random.as_bytes()[1]])) * 16);
        let mut answered = Vec::new();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            played = fleet.call.run_call(&owner.server, &other.server, str::to_owned, &mut answered) => played.unwrap(),
        }
        owner.kill();
        let mut socket = connect_call(&other.server).await;
        socket.say("Hello? I would like to pay 25 dollars.").await.unwrap();
        fleet.call.finish_call(&other, &mut answered).await;
        fleet.call.check_finished(&other.server, &answered).await;
    };
    stream::iter(0..rounds).for_each_concurrent(2, round).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_server_had_is_put_away_though_nobody_calls_again() {
    let Some(fleet) = Fleet::start(Some(Checkpoint::Entered(1))).await else { return };
    let (owner, other) = tokio::join!(fleet.serve(), fleet.serve_resuming("1"));
    let mut answered = Vec::new();
    fleet.run_to_checkpoint(&owner, &other, &mut answered).await;
    owner.kill();
    let payment = fleet.wait_for_state(&other.server, &["abandoned"]).await;
    assert_eq!(fleet.call.stand_ins.keys_of("cancel").len(), 1, "{payment}");
    other.wait_for_log("fleet.server_lost").await;
    other.wait_for_log("call.put_away").await;
    // The business learns of the end of a call that no server has any more.
    fleet.call.stand_ins.accept_events();
    let is_ended = |event: &Value| event["type"] == "call.ended" && event["reason"] == "connection-lost";
    fleet.call.stand_ins.wait_until("ended", |received| received.events.iter().any(is_ended)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_sent_to_two_servers_calls_once() {
    let Some(fleet) = Fleet::start(None).await else { return };
    let (one, two) = tokio::join!(fleet.serve(), fleet.serve());
    let order = json!({"properties": {"phoneNumber": "+15550100099", "callReference": "order-7"}});
    let (here, there) = tokio::join!(
        one.server.post_as_operator("/outboundCall", &order),
        two.server.post_as_operator("/outboundCall", &order)
    );
    let mut statuses = [here.status(), there.status()];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::CREATED, StatusCode::CONFLICT]);
    for server in [&one.server, &two.server] {
        assert_eq!(server.post_as_operator("/outboundCall", &order).await.status(), StatusCode::CONFLICT);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_and_a_call_are_found_by_an_operator_on_any_server() {
    let Some(mut fleet) = Fleet::start(None).await else { return };
    let replies = [ModelReply::text("Hello."), ModelReply::text("Again.")];
    fleet.call.openai = QueuedOpenAi::start(&replies).await.unwrap();
    let (one, two) = tokio::join!(fleet.serve(), fleet.serve());
    let say = async |server: &Server, body: Value| -> Value {
        let answer = server.post_as_operator("/conversation", &body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    };
    let first = say(&one.server, json!({"message": "Hi"})).await;
    // Where a server is reached is known with the next beat of the other one.
    let known = async {
        loop {
            let body = json!({"message": "And again", "sessionId": first["sessionId"]});
            let answer = two.server.post_as_operator("/conversation", &body).await;
            if answer.status() == StatusCode::OK {
                return answer.json::<Value>().await.unwrap();
            }
            assert_eq!(answer.status(), StatusCode::NOT_FOUND);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let second = tokio::time::timeout(PATIENCE, known).await.unwrap();
    assert_eq!((second["sessionId"].as_str(), &second["reply"]), (first["sessionId"].as_str(), &json!("Again.")));
    let _socket = connect_call(&one.server).await;
    let keys = json!({"callSid": CALL, "contextKey": "defaultContext"});
    assert_eq!(two.server.post_as_operator("/updateResponseService", &keys).await.status(), StatusCode::NO_CONTENT);
    let unknown = json!({"callSid": "CA404", "contextKey": "defaultContext"});
    assert_eq!(two.server.post_as_operator("/updateResponseService", &unknown).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_database_drops_no_call_and_loses_no_result() {
    let Some(mut fleet) = Fleet::start(Some(Checkpoint::Submitted)).await else { return };
    let (wire, database) = fleet.wire().await;
    fleet.database = database;
    let owner = fleet.serve().await;
    // A server looks for the others when it starts.
    let other = fleet.serve().await;
    let mut answered = Vec::new();
    let socket = async {
        // The path names the owner: no look at the ledger is needed to find it.
        fleet.report_success_without_database(&other.server, &wire).await;
        fleet.call.openai.wait_for_requests(10).await.unwrap();
        assert!(fleet.call.openai.last_input().contains("25.00 USD succeeded"), "{}", fleet.call.openai.last_input());
        owner.server.wait_for_calls(1).await;
        wire.set(WireState::Whole);
        fleet.wait_for_state(&other.server, &["charged"]).await;
    };
    tokio::select! {
        () = socket => {}
        played = fleet.call.run_call(&owner.server, &other.server, str::to_owned, &mut answered) => {
            panic!("the checkpoint was not reached: {played:?}")
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_another_server_sent_on_is_answered_421_where_the_call_is_not() {
    let Some(fleet) = Fleet::start(None).await else { return };
    let server = fleet.serve().await;
    let form = [("CallSid", "CA404"), ("AccountSid", "AC1"), ("CallStatus", "completed")];
    let signature = server.server.signature("https://pay.example.com/twilioStatusCallback", &form);
    let post = || {
        let request = server.server.operator_request("/twilioStatusCallback").form(&form);
        request.header("X-Twilio-Signature", &signature)
    };
    assert_eq!(post().send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let forwarded = post().header("X-Crelay-Forwarded", "abcdefghijklmnop").send().await.unwrap();
    assert_eq!(forwarded.status(), StatusCode::MISDIRECTED_REQUEST);
    let forged = server.server.operator_request("/twilioStatusCallback").form(&form);
    let forged = forged.header("X-Twilio-Signature", "x").header("X-Crelay-Forwarded", "abcdefghijklmnop");
    assert_eq!(forged.send().await.unwrap().status(), StatusCode::FORBIDDEN, "the signature comes first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_cannot_be_sent_on_is_heard_with_the_next_beat() {
    let Some(fleet) = Fleet::start(None).await else { return };
    // Nobody listens at the address of the owner.
    let (owner, other) = tokio::join!(fleet.serve_at(&fleet.database, "http://127.0.0.1:9"), fleet.serve());
    let mut answered = Vec::new();
    fleet.call.run_call(&owner.server, &other.server, str::to_owned, &mut answered).await.unwrap();
    assert_eq!(answered.len(), 5, "each is answered: {answered:?}");
    fleet.wait_for_state(&other.server, &["charged"]).await;
    assert!(owner.log().contains("fleet.callback_heard") && other.log().contains("fleet.unreached"), "{}", owner.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_lands_on_the_old_owner_goes_to_the_new_one() {
    let Some(fleet) = Fleet::start(None).await else { return };
    let (old, new) = tokio::join!(fleet.serve(), fleet.serve());
    let _socket = connect_call(&old.server).await;
    let mut answered = Vec::new();
    // The old owner learns with its next beat only that the call has moved.
    fleet.call.run_call(&new.server, &old.server, str::to_owned, &mut answered).await.unwrap();
    assert_eq!(answered.len(), 5, "each is answered: {answered:?}");
    fleet.wait_for_state(&new.server, &["charged"]).await;
    assert!(fleet.call.stand_ins.keys_of("cancel").is_empty(), "{}", old.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_frozen_until_its_call_was_put_away_lets_go_of_it() {
    let Some(fleet) = Fleet::start(None).await else { return };
    let (owner, other) = tokio::join!(fleet.serve(), fleet.serve_resuming("1"));
    let mut socket = connect_call(&owner.server).await;
    // It is claimed before the agent says anything.
    socket.say("I would like to pay 25 dollars.").await.unwrap();
    fleet.call.openai.wait_for_requests(1).await.unwrap();
    owner.signal("-STOP");
    other.wait_for_log("call.put_away").await;
    owner.signal("-CONT");
    owner.wait_for_log("call.moved").await;
    owner.server.wait_for_calls(0).await;
    assert!(!owner.log().contains("call.claimed"), "{}", owner.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_was_taken_up_goes_on_though_its_callbacks_land_on_its_first_server() {
    let Some(mut fleet) = Fleet::start(Some(Checkpoint::Entered(0))).await else { return };
    fleet.call.openai = QueuedOpenAi::start_with_rule(reply_to_state).await.unwrap();
    let (first, other) = tokio::join!(fleet.serve(), fleet.serve());
    let mut answered = Vec::new();
    fleet.run_to_checkpoint(&first, &first, &mut answered).await;
    let _socket = connect_call(&other.server).await;
    other.wait_for_log("call.taken_up").await;
    // It learns with its next beat only that it has lost the call, and what Twilio reports names it.
    fleet.call.finish_call(&first, &mut answered).await;
    fleet.call.check_finished(&other.server, &answered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_frozen_hears_that_its_call_is_over() {
    let Some(fleet) = Fleet::start(Some(Checkpoint::Entered(1))).await else { return };
    let (owner, other) = tokio::join!(fleet.serve_resuming("60"), fleet.serve_resuming("60"));
    let mut answered = Vec::new();
    fleet.run_to_checkpoint(&owner, &other, &mut answered).await;
    owner.signal("-STOP");
    let ended = [("CallSid", CALL), ("CallStatus", "completed")];
    let answer = other.server.post_as_twilio("/twilioStatusCallback", &ended).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    owner.signal("-CONT");
    owner.server.wait_for_calls(0).await;
    fleet.wait_for_state(&other.server, &["abandoned"]).await;
    assert_eq!(fleet.call.stand_ins.keys_of("cancel").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_came_elsewhere_during_an_outage_is_heard_after_it() {
    let Some(mut fleet) = Fleet::start(Some(Checkpoint::Submitted)).await else { return };
    let (wire, database) = fleet.wire().await;
    fleet.database = database;
    // Nobody listens at the address of the owner.
    let owner = fleet.serve_at(&fleet.database, "http://127.0.0.1:9").await;
    let other = fleet.serve().await;
    let mut answered = Vec::new();
    let report = async {
        fleet.report_success_without_database(&other.server, &wire).await;
        wire.set(WireState::Whole);
        owner.wait_for_log("fleet.callback_heard").await;
        fleet.call.openai.wait_for_requests(10).await.unwrap();
        fleet.wait_for_state(&other.server, &["charged"]).await;
    };
    tokio::select! {
        () = report => {}
        played = fleet.call.run_call(&owner.server, &other.server, str::to_owned, &mut answered) => {
            panic!("the checkpoint was not reached: {played:?}")
        }
    }
}
