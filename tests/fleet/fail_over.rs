//! A fail-over: the primary of PostgreSQL dies in the middle of a payment call, and its standby takes its place.

use std::time::Duration;

use crelay_payments::simulator::{DatabaseWire, LocalPostgres, ModelReply, QueuedOpenAi, RelayClient};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::time::Instant;

use super::{Fleet, WorkDir};
use crate::payment_call::{PaymentCall, connect_call, reply_to_state};
use crate::server_process::ServerProcess;

/// How long nobody takes writes between the death of the primary and the promotion of its standby.
const UNNOTICED: Duration = Duration::from_secs(1);

/// What the caller says.
const WISH: &str = "I would like to pay 25 dollars.";

/// What the model is told of a request that was not made.
const REFUSED: &str = "cannot be recorded at the moment";

/// When the primary dies.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Twilio was asked for this.
    Asked(&'static str),
    /// So long after the call began.
    After(Duration),
}

/// What a model replies that does not repeat at once what could not be recorded, and repeats it when the caller insists.
fn reply(request: &Value) -> ModelReply {
    let input = request["input"].as_array().unwrap();
    let has = |text: &str| input.iter().any(|item| item.to_string().contains(text));
    let is_said = |item: &&Value| item["type"] == "function_call_output" || item["role"] == "user";
    let last = input.iter().rev().find(is_said).unwrap().to_string();
    if last.contains(REFUSED) {
        return ModelReply::text("One moment, please.");
    }
    if last.contains(WISH) && has(REFUSED) && !has("Payment in progress") && !has("succeeded") {
        return ModelReply::tool_call("start-capture", r#"{"chargeAmount":"25.00"}"#);
    }
    reply_to_state(request)
}

/// The caller asks again and again.
async fn insist(socket: &mut RelayClient) {
    loop {
        socket.say(WISH).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The primary dies, and its standby takes writes a second later.
async fn fail_over(moment: Moment, call: &PaymentCall, wire: &DatabaseWire, pair: &(LocalPostgres, LocalPostgres)) {
    match moment {
        Moment::Asked(what) => {
            let is_asked = |(_, asked, _): &(String, String, String)| asked == what;
            call.stand_ins.wait_until("asked", |received| received.twilio_requests.iter().any(is_asked)).await;
        }
        Moment::After(delay) => tokio::time::sleep(delay).await,
    }
    let (primary, standby) = pair;
    primary.kill().unwrap();
    // A standby can be reached before it takes writes.
    wire.lead_to(standby.address());
    tokio::time::sleep(UNNOTICED).await;
    standby.promote().unwrap();
}

/// How long a server could not write, as it says itself.
async fn outage(server: &ServerProcess) -> String {
    server.wait_for_log("ledger.writable_again").await;
    let log = server.log();
    let line = log.lines().find(|line| line.contains("ledger.writable_again")).unwrap();
    line.split_once("after_ms=").unwrap().1.split(' ').next().unwrap().to_owned()
}

async fn fail_over_at(moment: Moment) {
    let Some(pair) = LocalPostgres::start_pair().await.unwrap() else { return };
    let wire = DatabaseWire::to(pair.0.address()).await.unwrap();
    let database = pair.0.create_database().await.unwrap();
    let database = database.replace(&pair.0.address().to_string(), &wire.address().to_string());
    let mut call = PaymentCall::start(None).await;
    call.openai = QueuedOpenAi::start_with_rule(reply).await.unwrap();
    let fleet = Fleet { call, database, work_dir: WorkDir::new() };
    let (owner, other) = tokio::join!(fleet.serve(), fleet.serve());
    let mut socket = connect_call(&owner.server).await;
    let mut answered = Vec::new();
    let began = Instant::now();
    let finish = async {
        let failed = fail_over(moment, &fleet.call, &wire, &pair);
        // Callbacks come all the while, on the server without the call.
        tokio::join!(failed, fleet.call.finish_call(&other, &mut answered));
    };
    tokio::select! {
        () = finish => {}
        () = insist(&mut socket) => {}
    }
    println!("{moment:?}: {:?}, owner {} ms, other {} ms", began.elapsed(), outage(&owner).await, outage(&other).await);
    fleet.call.check_finished(&other.server, &answered).await;
    owner.server.wait_for_calls(1).await;
    socket.say("Thank you.").await.unwrap();
    socket.wait_for_speech().await.unwrap();
    assert!(!owner.log().contains("call.taken_over") && !other.log().contains("call.taken_over"), "{}", owner.log());
}

/// With `CRELAY_LONG=1` at many moments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_forgets_nothing_that_was_acknowledged() {
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the server")]
    let is_long = std::env::var_os("CRELAY_LONG").is_some();
    let random = (0..if is_long { 40 } else { 0 }).map(|n| Moment::After(Duration::from_millis(25 * n)));
    let moments = [Moment::Asked("security-code"), Moment::Asked("complete")].into_iter().chain(random);
    stream::iter(moments).map(fail_over_at).buffer_unordered(2).collect::<Vec<()>>().await;
}
