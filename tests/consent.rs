//! The real server charges and submits nothing without the caller's consent.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "not all clients are used")]
mod server;
#[expect(dead_code, reason = "not all stand-ins are used")]
#[path = "ledger/world.rs"]
mod world;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use server::openai::{OpenAi, Reply};
use server::{OPERATOR_TOKEN, Server, Socket, caller_says};
use tokio_tungstenite::tungstenite::Message;
use world::World;

const FIELDS: [&str; 3] = ["payment-card-number", "security-code", "expiration-date"];
const PATIENCE: Duration = Duration::from_secs(20);
const ASSISTANT: &str = r#"{ "Payments": { "flow": "assistant" } }"#;
const GUIDED: &str = r#"{ "Payments": { "flow": "guided" } }"#;
const ASKED_FOR_777: &str = "That is 777 dollars, charged to your card now. Say yes or press 1; say no or press 2.";
const GO_ON: &str = "Shall I go on with the payment? Say yes or press 1; say no or press 2.";

/// A call to a server with the stand-ins for Twilio and the model.
struct Scene {
    server: Server,
    world: World,
    openai: OpenAi,
    socket: Socket,
    _directory: Directory,
}

/// A directory with a serverConfig.json, removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn with(server_config: &str) -> Self {
        let directory = Self(std::env::temp_dir().join(format!("crelay-payments-{}", uuid::Uuid::new_v4())));
        std::fs::create_dir(&directory.0).unwrap();
        std::fs::write(directory.0.join("serverConfig.json"), server_config).unwrap();
        directory
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

impl Scene {
    async fn new(server_config: &str) -> Self {
        let world = World::stopping_at(None).await;
        let openai = OpenAi::start(&[]).await;
        let directory = Directory::with(server_config);
        let vars = [
            ("ASSETS_DIR", directory.0.to_str().unwrap()),
            ("OPENAI_BASE_URL", openai.base_url.as_str()),
            ("TWILIO_API_BASE_URL", &world.origin),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
        ];
        let server = Server::start(&vars).await;
        openai.will(Reply::Says("Hello."));
        let socket = server.connects("CA1", &json!({})).await;
        let mut scene = Self { server, world, openai, socket, _directory: directory };
        scene.hears("Hello.").await;
        scene
    }

    /// Queues replies of the model and sends a prompt.
    async fn says(&mut self, words: &str, replies: &[Reply]) {
        replies.iter().cloned().for_each(|reply| self.openai.will(reply));
        caller_says(&mut self.socket, words).await;
    }

    async fn presses(&mut self, key: &str) {
        self.sends(&json!({"type": "dtmf", "digit": key})).await;
    }

    async fn sends(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Waits until the agent has said this and is silent again. Returns the last frame.
    async fn hears(&mut self, words: &str) -> Value {
        let mut said = String::new();
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            let frame = frame.unwrap_or_else(|_| panic!("not {words:?}: {said:?}")).unwrap().unwrap();
            let frame: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
            said.push_str(frame["token"].as_str().unwrap_or_default());
            if frame["last"] == json!(true) {
                for speaking in ["on", "off"] {
                    self.sends(&json!({"type": "info", "name": "agentSpeaking", "value": speaking})).await;
                }
                if said.contains(words) {
                    return frame;
                }
            }
        }
    }

    /// Waits until the model's input contains this text.
    async fn shows(&self, words: &str) {
        let waits = async {
            while !self.openai.shown().contains(words) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waits)
            .await
            .unwrap_or_else(|_| panic!("not {words:?}: {}", self.openai.shown()));
    }

    /// Waits until Twilio receives this change.
    async fn asks(&self, what: &str) {
        self.world.until(what, |seen| seen.asked.iter().any(|(_, asked, _)| asked == what)).await;
    }

    fn never_asked(&self, what: &str) {
        assert_eq!(self.world.keys_of(what), Vec::<String>::new(), "{what}");
    }

    /// Waits for the request for a field, an index into `FIELDS`, and posts the callback of its entry.
    async fn enters(&self, at: usize) {
        self.asks(FIELDS[at]).await;
        let sid = self.world.seen(|seen| seen.asked[0].0.clone());
        let required = FIELDS[at + 1..].join(",");
        let form = [
            ("CallSid", "CA1"),
            ("Sid", &*sid),
            ("Capture", FIELDS[at]),
            ("PartialResult", "false"),
            ("Required", &required),
            ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
        ];
        let answer = self.server.twilio_posts("/payment-status-callback", &form).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    async fn payments(&self) -> Vec<Value> {
        let all: Value = self.server.operator_gets("/payments").await.json().await.unwrap();
        all["payments"].as_array().unwrap().clone()
    }
}

/// Runs a guided payment up to its last field.
async fn at_last_field() -> Scene {
    let mut scene = Scene::new(GUIDED).await;
    scene.says("Please store my card", &[Reply::Calls("start-capture", r#"{"chargeAmount":"0"}"#)]).await;
    scene.hears("Please type your card number").await;
    scene.enters(0).await;
    scene.hears("Now the security code").await;
    scene.enters(1).await;
    scene.hears("Now the expiry date").await;
    scene
}

#[tokio::test]
async fn an_amount_is_stated_to_the_caller_before_it_is_charged() {
    let mut scene = Scene::new(ASSISTANT).await;
    let hides = [Reply::Says("Your plan will be active within the hour. Are you still there?")];
    scene.says("Hello", &hides).await;
    scene.hears("still there?").await;
    let charges = [
        Reply::Calls("start-capture", r#"{"chargeAmount":"777"}"#),
        Reply::Calls("confirm-amount", r#"{"amount":"777"}"#),
    ];
    scene.says("yes", &charges).await;
    let statement = scene.hears(ASKED_FOR_777).await;
    assert_eq!((&statement["interruptible"], &statement["preemptible"]), (&json!(false), &json!(false)));
    let starts = [Reply::Calls("start-capture", r#"{"chargeAmount":"777"}"#), Reply::Says("Then not.")];
    scene.says("No, absolutely not", &starts).await;
    scene.hears("Then not.").await;
    scene.shows("the caller said no to 777.00 USD").await;
    scene.never_asked("create");
    assert_eq!(scene.payments().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_yes_by_word_or_by_key_charges_once() {
    for by_key in [false, true] {
        let mut scene = Scene::new(ASSISTANT).await;
        scene.says("I want to pay 777 dollars", &[Reply::Calls("confirm-amount", r#"{"amount":"777"}"#)]).await;
        scene.hears(ASKED_FOR_777).await;
        scene.openai.will(Reply::Calls("start-capture", "{}"));
        scene.openai.will(Reply::Says("Now the card."));
        if by_key {
            scene.presses("1").await;
        } else {
            scene.says("Yes, please.", &[]).await;
        }
        scene.hears("Now the card.").await;
        assert_eq!(scene.world.keys_of("create").len(), 1);
        let payment = scene.payments().await[0].clone();
        assert_eq!(payment["amount"], "777.00");
        let path = format!("/payments/{}", payment["id"].as_str().unwrap());
        let whole: Value = scene.server.operator_gets(&path).await.json().await.unwrap();
        let agreed = whole["events"].as_array().unwrap().iter().find(|event| event["kind"] == "agreed").unwrap();
        assert!(agreed.to_string().contains(ASKED_FOR_777), "the payment has the recorded answer: {agreed}");
        let statements = whole["statements"].as_array().unwrap();
        assert!(
            statements.iter().any(|asked| asked["data"]["answer"] == "yes"),
            "the call has the recorded answer: {whole}"
        );
    }
}

#[tokio::test]
async fn an_unclear_answer_is_asked_again_and_charges_nothing() {
    let mut scene = Scene::new(ASSISTANT).await;
    scene.says("I want to pay 777 dollars", &[Reply::Calls("confirm-amount", r#"{"amount":"777"}"#)]).await;
    scene.hears(ASKED_FOR_777).await;
    scene.says("Yes, but only 5 dollars of it", &[]).await;
    scene.hears(ASKED_FOR_777).await;
    let starts = [Reply::Calls("start-capture", r#"{"chargeAmount":"777"}"#), Reply::Says("A colleague can help.")];
    scene.says("Well, you know", &starts).await;
    scene.hears("A colleague").await;
    scene.shows("got no clear answer, so nothing is charged").await;
    scene.never_asked("create");
}

#[tokio::test]
async fn a_card_is_stored_only_on_request() {
    let mut scene = Scene::new(ASSISTANT).await;
    scene.says("Hello", &[Reply::Calls("start-capture", "{}"), Reply::Says("What can I do?")]).await;
    scene.hears("What can I do?").await;
    scene.shows("It is not known what is to be charged").await;
    scene.never_asked("create");
}

#[tokio::test]
async fn a_refusal_cancels_the_payment_while_the_model_fails() {
    let mut scene = at_last_field().await;
    scene.says("stop, cancel it, I do not want to pay", &[]).await;
    scene.hears("The payment is cancelled. Nothing was charged.").await;
    scene.asks("cancel").await;
    scene.enters(2).await;
    scene.says("Hello?", &[Reply::Says("It is cancelled.")]).await;
    scene.hears("It is cancelled.").await;
    scene.never_asked("complete");
    assert_eq!(scene.payments().await[0]["state"], "abandoned");
}

#[tokio::test]
async fn unanswered_speech_blocks_the_submission_until_a_yes() {
    let mut scene = at_last_field().await;
    scene.says("Wait, what is this for?", &[]).await;
    scene.hears("Now the expiry date").await;
    scene.enters(2).await;
    scene.hears(GO_ON).await;
    scene.never_asked("complete");
    scene.says("Yes, go on.", &[]).await;
    scene.hears("One moment while that goes through.").await;
    scene.asks("complete").await;
}

#[tokio::test]
async fn unanswered_speech_and_a_no_cancel_the_payment() {
    let mut scene = at_last_field().await;
    scene.says("Wait, what is this for?", &[]).await;
    scene.hears("Now the expiry date").await;
    scene.enters(2).await;
    scene.hears(GO_ON).await;
    scene.says("No.", &[Reply::Says("What else?")]).await;
    scene.hears("The payment is cancelled.").await;
    scene.hears("What else?").await;
    scene.asks("cancel").await;
    scene.never_asked("complete");
}
