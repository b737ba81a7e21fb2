//! A deploy: three servers are replaced, one after the other, while callers talk.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RelayClient};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Fleet;
use crate::server::{SOCKET_TOKEN, parameter};
use crate::server_process::ServerProcess;

const CALLERS: usize = 50;

/// What a caller says and hears between two pauses, which are long enough for a hand-over.
const PAUSE: Duration = Duration::from_secs(2);

/// The longest that a caller may wait for an answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// The servers to which the balancer leads callers.
#[derive(Clone, Default)]
struct Balancer(Arc<Mutex<Vec<Arc<ServerProcess>>>>);

impl Balancer {
    /// One of the servers, the same for the same number.
    fn choose(&self, number: usize) -> Arc<ServerProcess> {
        let servers = self.0.lock().unwrap();
        servers[number % servers.len()].clone()
    }

    fn add(&self, server: ServerProcess) {
        self.0.lock().unwrap().push(Arc::new(server));
    }

    fn remove_oldest(&self) -> Arc<ServerProcess> {
        self.0.lock().unwrap().remove(0)
    }
}

/// A caller, and the session of the call.
struct Caller {
    number: usize,
    balancer: Balancer,
    socket: RelayClient,
    /// Where Twilio asks what comes after the session.
    action: String,
    moves: usize,
    /// A server has said that a machine is speaking: the call was handed over before the greeting was over.
    is_told: bool,
}

impl Caller {
    async fn call(number: usize, balancer: Balancer) -> Self {
        let form = [
            ("CallSid", &*format!("CA{number}")),
            ("From", &*format!("+1555012{number:04}")),
            ("CallStatus", "ringing"),
        ];
        let twiml = balancer.choose(number).server.post_as_twilio("/connectConversationRelay", &form).await;
        assert_eq!(twiml.status(), StatusCode::OK);
        let twiml = twiml.text().await.unwrap();
        let (socket, action) = connect(number, &balancer, &twiml).await;
        Self { number, balancer, socket, action, moves: 0, is_told: false }
    }

    /// Talks until it is over. Returns how often the call was handed over.
    async fn talk(mut self, mut is_over: watch::Receiver<bool>) -> usize {
        while !*is_over.borrow_and_update() {
            self.socket.say("Are you there?").await.unwrap();
            let answered = tokio::time::timeout(ANSWERED_WITHIN, self.hear_answer());
            answered.await.unwrap_or_else(|_| panic!("caller {} was not answered", self.number));
            if let Ok(end) = tokio::time::timeout(PAUSE, self.socket.wait_for(|frame| frame["type"] == "end")).await {
                self.follow(&end.unwrap()).await;
            }
        }
        self.socket.close(1000, "").await.unwrap();
        self.moves
    }

    /// Hears the answer, on the next server if the call is handed over before it.
    async fn hear_answer(&mut self) {
        loop {
            let mut text = String::new();
            let is_complete = |frame: &Value| {
                text.push_str(frame["token"].as_str().unwrap_or_default());
                frame["type"] == "end" || frame["last"] == json!(true)
            };
            let frame = self.socket.wait_for(is_complete).await.unwrap();
            if text == "This is an automated AI assistant." {
                assert!(!std::mem::replace(&mut self.is_told, true), "caller {} is told once", self.number);
                continue;
            }
            if frame["type"] != "end" {
                return assert_eq!(text, "Yes, I am.", "caller {} has noticed something", self.number);
            }
            // What is said in the very moment in which the session ends reaches nobody.
            self.follow(&frame).await;
            self.socket.say("Are you there?").await.unwrap();
        }
    }

    /// The session ends, and Twilio asks the action what comes next.
    async fn follow(&mut self, end: &Value) {
        let data = end["handoffData"].as_str().unwrap();
        assert_eq!(data, r#"{"reasonCode":"moved"}"#);
        self.socket.close(1000, "").await.unwrap();
        self.moves += 1;
        let sid = format!("CA{}", self.number);
        let form =
            [("CallSid", &*sid), ("CallStatus", "in-progress"), ("SessionStatus", "ended"), ("HandoffData", data)];
        let answer = self.balancer.choose(self.number).server.post_as_twilio(&self.action, &form).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let twiml = answer.text().await.unwrap();
        assert!(!twiml.contains("welcomeGreeting"), "{twiml}");
        (self.socket, self.action) = connect(self.number, &self.balancer, &twiml).await;
    }
}

/// Connects a call as this TwiML says. Returns the socket, and the path of the action.
async fn connect(number: usize, balancer: &Balancer, twiml: &str) -> (RelayClient, String) {
    let attribute = |name: &str| {
        let (_, rest) = twiml.split_once(&format!("{name}=\"")).unwrap();
        rest.split_once('"').unwrap().0.replace("&amp;", "&")
    };
    let (action, url) = (attribute("action"), attribute("url"));
    let server = balancer.choose(number);
    let signature = server.server.signature(&url, &[]);
    let mut socket = RelayClient::open(server.server.address(), &url, Some(&signature)).await.unwrap();
    let token = parameter(twiml, SOCKET_TOKEN).unwrap();
    let mut parameters = json!({SOCKET_TOKEN: token});
    if let Some(reconnect) = parameter(twiml, "crelayReconnect") {
        parameters["crelayReconnect"] = json!(reconnect);
    }
    let setup = json!({"type": "setup", "callSid": format!("CA{number}"), "accountSid": "AC1", "direction": "inbound",
        "from": format!("+1555012{number:04}"), "customParameters": parameters});
    socket.send(&setup).await.unwrap();
    let path = action.strip_prefix(crate::server::BASE_URL).unwrap().to_owned();
    (socket, path)
}

/// What the model says, which would apologise if it were told that the line broke.
fn reply(request: &Value) -> ModelReply {
    let input = request["input"].to_string();
    let is_broken = input.contains("The connection broke") || input.contains("connection was lost");
    ModelReply::text(if is_broken { "Sorry, the line broke." } else { "Yes, I am." })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_are_replaced_under_fifty_calls_and_nobody_notices() {
    let Some(mut fleet) = Fleet::start(None).await else { return };
    fleet.call.openai = QueuedOpenAi::start_with_rule(reply).await.unwrap();
    let balancer = Balancer::default();
    for _ in 0..3 {
        balancer.add(fleet.serve_draining("8").await);
    }
    let (over, is_over) = watch::channel(false);
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (balancer, is_over) = (balancer.clone(), is_over.clone());
            tokio::spawn(async move { Caller::call(number, balancer).await.talk(is_over).await })
        })
        .collect();
    for _ in 0..3 {
        balancer.add(fleet.serve_draining("8").await);
        let mut old = balancer.remove_oldest();
        old.signal("-TERM");
        // Callers have let go of it once its last call has moved.
        let old = loop {
            match Arc::try_unwrap(old) {
                Ok(old) => break old,
                Err(shared) => old = shared,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let mut old = old;
        assert!(old.wait_for_exit().await);
        assert!(!old.log().contains(" ERROR "), "{}", old.log());
    }
    over.send_replace(true);
    let mut moves = 0;
    for caller in callers {
        moves += caller.await.unwrap();
    }
    assert!(moves >= CALLERS, "each server had calls, and all of them were handed over: {moves}");
}
