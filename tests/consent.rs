//! The real server charges and submits nothing without the caller's consent.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "not all clients are used")]
mod server;
#[expect(dead_code, reason = "not all stand-ins are used")]
#[path = "ledger/stand_ins.rs"]
mod stand_ins;

use std::time::Duration;
use tempfile::TempDir;

use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RelayClient};
use reqwest::StatusCode;
use serde_json::{Value, json};
use server::{OPERATOR_TOKEN, Server};
use stand_ins::StandIns;

const FIELDS: [&str; 3] = ["payment-card-number", "security-code", "expiration-date"];
const PATIENCE: Duration = Duration::from_secs(20);
const ASSISTANT: &str = r#"{ "Payments": { "flow": "assistant" } }"#;
const GUIDED: &str = r#"{ "Payments": { "flow": "guided" } }"#;
const ASKED_FOR_777: &str = "That is 777 dollars, charged to your card now. Say yes or press 1; say no or press 2.";
const DISCLOSURE: &str = "This is an automated AI assistant.";
const GO_ON: &str = "Shall I go on with the payment? Say yes or press 1; say no or press 2.";

/// A call to a server with the stand-ins for Twilio and the model.
struct Harness {
    server: Server,
    stand_ins: StandIns,
    openai: QueuedOpenAi,
    socket: RelayClient,
    _directory: TempDir,
}

impl Harness {
    async fn new(server_config: &str) -> Self {
        let stand_ins = StandIns::start(None).await;
        let openai = QueuedOpenAi::start(&[]).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("serverConfig.json"), server_config).unwrap();
        let vars = [
            ("ASSETS_DIR", directory.path().to_str().unwrap()),
            ("OPENAI_BASE_URL", openai.base_url()),
            ("TWILIO_API_BASE_URL", &stand_ins.origin),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
        ];
        let server = Server::start(&vars).await;
        openai.queue(ModelReply::text("Hello."));
        let socket = server.connect_call("CA1", &json!({})).await;
        let mut harness = Self { server, stand_ins, openai, socket, _directory: directory };
        harness.wait_for_speech("Hello.").await;
        harness
    }

    /// Queues replies of the model and sends a prompt.
    async fn say(&mut self, words: &str, replies: &[ModelReply]) {
        replies.iter().cloned().for_each(|reply| self.openai.queue(reply));
        self.socket.say(words).await.unwrap();
    }

    async fn press(&mut self, key: &str) {
        self.send(&json!({"type": "dtmf", "digit": key})).await;
    }

    async fn send(&mut self, frame: &Value) {
        self.socket.send(frame).await.unwrap();
    }

    /// Waits until the agent has said this and is silent again. Returns the last frame.
    async fn wait_for_speech(&mut self, words: &str) -> Value {
        let mut said = String::new();
        loop {
            let is_last = |frame: &Value| {
                said.push_str(frame["token"].as_str().unwrap_or_default());
                frame["last"] == json!(true)
            };
            let frame = self.socket.wait_for(is_last).await;
            let frame = frame.unwrap_or_else(|error| panic!("not {words:?}: {said:?}: {error:#}"));
            for speaking in ["on", "off"] {
                self.send(&json!({"type": "info", "name": "agentSpeaking", "value": speaking})).await;
            }
            if said.contains(words) {
                return frame;
            }
        }
    }

    /// Waits until the model's input contains this text.
    async fn wait_for_model_input(&self, words: &str) {
        let waits = async {
            while !self.openai.last_input().contains(words) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waits)
            .await
            .unwrap_or_else(|_| panic!("not {words:?}: {}", self.openai.last_input()));
    }

    /// Waits until Twilio receives this change.
    async fn wait_for_change(&self, what: &str) {
        self.stand_ins
            .wait_until(what, |received| received.twilio_requests.iter().any(|(_, asked, _)| asked == what))
            .await;
    }

    fn check_no_change(&self, what: &str) {
        assert_eq!(self.stand_ins.keys_of(what), Vec::<String>::new(), "{what}");
    }

    /// Waits for the request for a field, an index into `FIELDS`, and posts the callback of its entry.
    async fn enter_field(&self, at: usize) {
        self.wait_for_change(FIELDS[at]).await;
        let sid = self.stand_ins.received(|received| received.twilio_requests[0].0.clone());
        let required = FIELDS[at + 1..].join(",");
        let form = [
            ("CallSid", "CA1"),
            ("Sid", &*sid),
            ("Capture", FIELDS[at]),
            ("PartialResult", "false"),
            ("Required", &required),
            ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
        ];
        let answer = self.server.post_as_twilio("/payment-status-callback", &form).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    async fn payments(&self) -> Vec<Value> {
        let all: Value = self.server.get_as_operator("/payments").await.json().await.unwrap();
        all["payments"].as_array().unwrap().clone()
    }
}

/// Runs a guided payment up to its last field.
async fn reach_last_field() -> Harness {
    let mut harness = Harness::new(GUIDED).await;
    harness.say("Please store my card", &[ModelReply::tool_call("start-capture", r#"{"chargeAmount":"0"}"#)]).await;
    harness.wait_for_speech("Please type your card number").await;
    harness.enter_field(0).await;
    harness.wait_for_speech("Now the security code").await;
    harness.enter_field(1).await;
    harness.wait_for_speech("Now the expiry date").await;
    harness
}

#[tokio::test]
async fn an_amount_is_stated_to_the_caller_before_it_is_charged() {
    let mut harness = Harness::new(ASSISTANT).await;
    let hides = [ModelReply::text("Your plan will be active within the hour. Are you still there?")];
    harness.say("Hello", &hides).await;
    harness.wait_for_speech("still there?").await;
    let charges = [
        ModelReply::tool_call("start-capture", r#"{"chargeAmount":"777"}"#),
        ModelReply::tool_call("confirm-amount", r#"{"amount":"777"}"#),
    ];
    harness.say("yes", &charges).await;
    let statement = harness.wait_for_speech(ASKED_FOR_777).await;
    assert_eq!((&statement["interruptible"], &statement["preemptible"]), (&json!(false), &json!(false)));
    let starts = [ModelReply::tool_call("start-capture", r#"{"chargeAmount":"777"}"#), ModelReply::text("Then not.")];
    harness.say("No, absolutely not", &starts).await;
    harness.wait_for_speech("Then not.").await;
    harness.wait_for_model_input("the caller said no to 777.00 USD").await;
    harness.check_no_change("create");
    assert_eq!(harness.payments().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_yes_by_word_or_by_key_charges_once() {
    for by_key in [false, true] {
        let mut harness = Harness::new(ASSISTANT).await;
        harness
            .say("I want to pay 777 dollars", &[ModelReply::tool_call("confirm-amount", r#"{"amount":"777"}"#)])
            .await;
        harness.wait_for_speech(ASKED_FOR_777).await;
        harness.openai.queue(ModelReply::tool_call("start-capture", "{}"));
        harness.openai.queue(ModelReply::text("Now the card."));
        if by_key {
            harness.press("1").await;
        } else {
            harness.say("Yes, please.", &[]).await;
        }
        harness.wait_for_speech("Now the card.").await;
        assert_eq!(harness.stand_ins.keys_of("create").len(), 1);
        let payment = harness.payments().await[0].clone();
        assert_eq!(payment["amount"], "777.00");
        let path = format!("/payments/{}", payment["id"].as_str().unwrap());
        let whole: Value = harness.server.get_as_operator(&path).await.json().await.unwrap();
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
async fn that_a_machine_speaks_is_recorded_once_it_was_heard() {
    let mut harness = Harness::new(ASSISTANT).await;
    harness.openai.queue(ModelReply::tool_call("start-capture", r#"{"chargeAmount":"0"}"#));
    harness.say("Keep my card, please", &[ModelReply::text("Now the card.")]).await;
    harness.wait_for_speech("Now the card.").await;
    let path = format!("/payments/{}", harness.payments().await[0]["id"].as_str().unwrap());
    let recorded = async {
        loop {
            let whole: Value = harness.server.get_as_operator(&path).await.json().await.unwrap();
            let statements = whole["statements"].as_array().unwrap().clone();
            if !statements.is_empty() {
                return statements;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let statements = tokio::time::timeout(PATIENCE, recorded).await.unwrap();
    let [statement] = statements.as_slice() else { panic!("{statements:?}") };
    assert_eq!((&statement["kind"], &statement["data"]["purpose"]), (&json!("statement"), &json!("disclosure")));
    assert_eq!((&statement["data"]["text"], &statement["data"]["answer"]), (&json!(DISCLOSURE), &Value::Null));
}

#[tokio::test]
async fn an_unclear_answer_is_asked_again_and_charges_nothing() {
    let mut harness = Harness::new(ASSISTANT).await;
    harness.say("I want to pay 777 dollars", &[ModelReply::tool_call("confirm-amount", r#"{"amount":"777"}"#)]).await;
    harness.wait_for_speech(ASKED_FOR_777).await;
    harness.say("Yes, but only 5 dollars of it", &[]).await;
    harness.wait_for_speech(ASKED_FOR_777).await;
    let starts = [
        ModelReply::tool_call("start-capture", r#"{"chargeAmount":"777"}"#),
        ModelReply::text("A colleague can help."),
    ];
    harness.say("Well, you know", &starts).await;
    harness.wait_for_speech("A colleague").await;
    harness.wait_for_model_input("got no clear answer, so nothing is charged").await;
    harness.check_no_change("create");
}

#[tokio::test]
async fn a_card_is_stored_only_on_request() {
    let mut harness = Harness::new(ASSISTANT).await;
    harness.say("Hello", &[ModelReply::tool_call("start-capture", "{}"), ModelReply::text("What can I do?")]).await;
    harness.wait_for_speech("What can I do?").await;
    harness.wait_for_model_input("It is not known what is to be charged").await;
    harness.check_no_change("create");
}

#[tokio::test]
async fn a_refusal_cancels_the_payment_while_the_model_fails() {
    let mut harness = reach_last_field().await;
    harness.say("stop, cancel it, I do not want to pay", &[]).await;
    harness.wait_for_speech("The payment is cancelled. Nothing was charged.").await;
    harness.wait_for_change("cancel").await;
    harness.enter_field(2).await;
    // A request that is still on its way, about what has happened, must not get the answer to this one.
    harness.openai.reply_when_shown("Hello?", ModelReply::text("It is cancelled."));
    harness.say("Hello?", &[]).await;
    harness.wait_for_speech("It is cancelled.").await;
    harness.check_no_change("complete");
    assert_eq!(harness.payments().await[0]["state"], "abandoned");
}

#[tokio::test]
async fn unanswered_speech_blocks_the_submission_until_a_yes() {
    let mut harness = reach_last_field().await;
    harness.say("Wait, what is this for?", &[]).await;
    harness.wait_for_speech("Now the expiry date").await;
    harness.enter_field(2).await;
    harness.wait_for_speech(GO_ON).await;
    harness.check_no_change("complete");
    harness.say("Yes, go on.", &[]).await;
    harness.wait_for_speech("One moment while that goes through.").await;
    harness.wait_for_change("complete").await;
}

#[tokio::test]
async fn unanswered_speech_and_a_no_cancel_the_payment() {
    let mut harness = reach_last_field().await;
    harness.say("Wait, what is this for?", &[]).await;
    harness.wait_for_speech("Now the expiry date").await;
    harness.enter_field(2).await;
    harness.wait_for_speech(GO_ON).await;
    harness.say("No.", &[ModelReply::text("What else?")]).await;
    harness.wait_for_speech("The payment is cancelled.").await;
    harness.wait_for_speech("What else?").await;
    harness.wait_for_change("cancel").await;
    harness.check_no_change("complete");
}
